/* SPDX-License-Identifier: MIT
 *
 * packed: would a file of decoded pictures, their shorter side 256, pay? Makes one of a folder's pictures, then reads
 * both in turn with one worker and prints the rates, as one JSON object.
 *
 *   build/bench/packed [--preset moco-v2] [--size 224] [--side 256] [--seconds 2] [--rounds 5] DIR OUT
 *
 * OUT is written, read through the page cache (the best case) and removed. The pixels are the nearest ones: this
 * measures time and space, and is no cache. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/loader.h"

enum { ROUNDS_MAX = 99 };

struct options {
    const char *preset, *folder, *out;
    int size, side, rounds;
    double seconds;
};

struct packed_image {
    int64_t offset;
    int32_t w, h;
};

struct packed {
    int fd;
    int64_t count, bytes;
    struct packed_image *image;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    return 1;
}

static int put(struct packed *p, int64_t id, const struct image *from, int side)
{
    int shorter = from->w < from->h ? from->w : from->h;
    int w = shorter > side ? from->w * side / shorter : from->w,
        h = shorter > side ? from->h * side / shorter : from->h;
    uint8_t *to = malloc((size_t)w * (size_t)h * 3);
    if (to == NULL)
        return 1;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            memcpy(to + ((size_t)y * (size_t)w + (size_t)x) * 3,
                   from->pixels + (size_t)(y * from->h / h) * from->stride + (size_t)(x * from->w / w) * 3, 3);
    ssize_t bytes = (ssize_t)w * h * 3;
    p->image[id] = (struct packed_image){p->bytes, w, h};
    int failed = pwrite(p->fd, to, (size_t)bytes, (off_t)p->bytes) != bytes;
    p->bytes += bytes;
    free(to);
    return failed;
}

static int pack(struct packed *p, struct ctx *ctx, const struct dataset *ds, const struct options *o)
{
    struct decoder decoder;
    struct err err = {0};
    int failed = 0;
    p->count = ds->count;
    p->image = calloc((size_t)ds->count, sizeof *p->image);
    p->fd = open(o->out, O_CREAT | O_TRUNC | O_RDWR, 0600);
    if (p->image == NULL || p->fd < 0) {
        perror(o->out);
        return 1;
    }
    decoder_init(&decoder, ctx, DECODE_MAX_PIXELS, NULL);
    for (int64_t id = 0; id < ds->count && !failed; id++) {
        struct image image;
        if (ds->ops->read(ds, id, &decoder, &image, &err) != MOCO_OK)
            failed = fail("picture", &err);
        else
            failed = put(p, id, &image, o->side);
    }
    decoder_free(&decoder);
    return failed;
}

static moco_status read_packed(void *user, int64_t id, const uint8_t **pixels, int32_t *w, int32_t *h)
{
    const struct packed *p = user;
    static _Thread_local uint8_t *room; /* one a thread, for the program's life */
    static _Thread_local size_t have;
    size_t bytes = (size_t)p->image[id].w * (size_t)p->image[id].h * 3;
    if (have < bytes) {
        free(room);
        room = malloc(have = bytes);
    }
    if (room == NULL || pread(p->fd, room, bytes, (off_t)p->image[id].offset) != (ssize_t)bytes)
        return MOCO_EIO;
    *pixels = room;
    *w = p->image[id].w;
    *h = p->image[id].h;
    return MOCO_OK;
}

static int rate(struct ctx *ctx, const struct dataset *ds, const struct loader_options *o, double seconds, double *out)
{
    struct loader *loader;
    struct err err = {0};
    moco_batch batch = {0};
    int64_t images = 0, epoch = 0;
    if (loader_create(&loader, ctx, ds, o, &err) != MOCO_OK)
        return fail("loader", &err);
    moco_status status = loader_start(loader, 0, 0, &err);
    double begun = 0;
    while (status == MOCO_OK && (begun == 0 || now() - begun < seconds)) {
        status = loader_next(loader, &batch, &err);
        if (status == MOCO_EEND)
            status = loader_start(loader, ++epoch, 0, &err);
        else if (begun == 0) /* the first batch pays for pages and caches */
            begun = now();
        else
            images += batch.n;
    }
    *out = (double)images / (now() - begun);
    loader_free(loader);
    return status == MOCO_OK ? 0 : fail("loader", &err);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int compare(struct ctx *ctx, const struct dataset *files, struct packed *p, const struct options *given)
{
    struct loader_options o = {.batch_size = 32, .workers = 1, .prefetch = 2, .permuted = 1, .max_bad = -1, .views = 2};
    struct dataset_source source = {.count = p->count, .read = read_packed, .user = p};
    struct dataset *packed;
    struct err err = {0};
    double from_files[ROUNDS_MAX], from_packed[ROUNDS_MAX];
    if (augment_recipe(&o.recipe[0], given->preset, given->size, &err) != MOCO_OK)
        return fail("preset", &err);
    o.recipe[1] = o.recipe[0];
    if (dataset_from_callback(&packed, ctx, &source, &err) != MOCO_OK)
        return fail("packed", &err);
    int failed = 0;
    for (int r = 0; r < given->rounds && !failed; r++)
        failed = rate(ctx, files, &o, given->seconds, &from_files[r]) ||
                 rate(ctx, packed, &o, given->seconds, &from_packed[r]);
    dataset_free(packed);
    if (failed)
        return 1;
    int64_t file_bytes = 0;
    for (int64_t id = 0; id < files->count; id++) {
        char path[4096];
        struct stat stat_of;
        if (files->ops->path(files, id, path, sizeof path) == MOCO_OK && stat(path, &stat_of) == 0)
            file_bytes += (int64_t)stat_of.st_size;
    }
    qsort(from_files, (size_t)given->rounds, sizeof *from_files, ascending);
    qsort(from_packed, (size_t)given->rounds, sizeof *from_packed, ascending);
    printf("{\"bench\": \"packed\", \"preset\": \"%s\", \"images\": %lld, \"files_img_per_s\": %.1f, "
           "\"packed_img_per_s\": %.1f, \"files_bytes_per_image\": %.0f, \"packed_bytes_per_image\": %.0f}\n",
           given->preset, (long long)p->count, from_files[given->rounds / 2], from_packed[given->rounds / 2],
           (double)file_bytes / (double)p->count, (double)p->bytes / (double)p->count);
    return 0;
}

static int measure(const struct options *o)
{
    struct ctx *ctx;
    struct dataset *ds;
    struct err err = {0};
    struct packed p = {.fd = -1};
    if (ctx_create(&ctx, &(struct ctx_options){0}, &err) != MOCO_OK)
        return fail("context", &err);
    if (dataset_open_folder(&ds, ctx, o->folder, NULL, NULL, &err) != MOCO_OK) {
        ctx_unref(ctx);
        return fail(o->folder, &err);
    }
    int failed = pack(&p, ctx, ds, o) || compare(ctx, ds, &p, o);
    if (p.fd >= 0) {
        close(p.fd);
        unlink(o->out);
    }
    free(p.image);
    dataset_free(ds);
    ctx_unref(ctx);
    return failed;
}

int main(int argc, char **argv)
{
    struct options o = {.preset = "moco-v2", .size = 224, .side = 256, .rounds = 5, .seconds = 2};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--preset") == 0)
            o.preset = value, i++;
        else if (strcmp(argv[i], "--size") == 0)
            o.size = atoi(value), i++;
        else if (strcmp(argv[i], "--side") == 0)
            o.side = atoi(value), i++;
        else if (strcmp(argv[i], "--rounds") == 0)
            o.rounds = atoi(value), i++;
        else if (strcmp(argv[i], "--seconds") == 0)
            o.seconds = atof(value), i++;
        else if (o.folder == NULL)
            o.folder = argv[i];
        else
            o.out = argv[i];
    }
    if (o.out == NULL || o.rounds < 1 || o.rounds > ROUNDS_MAX || o.side < 8 || o.seconds <= 0) {
        fprintf(stderr, "usage: packed [--preset NAME] [--size N] [--side N] [--seconds S] [--rounds R] DIR OUT\n");
        return 2;
    }
    return measure(&o);
}
