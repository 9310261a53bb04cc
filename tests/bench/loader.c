/* SPDX-License-Identifier: MIT
 *
 * loader: how fast views come, as one JSON object. tests/bench/pil_loader.py measures the torchvision pipeline with the
 * same keys.
 *
 *   build/bench/loader [--workers N] [--preset moco-v2] [--size 224] [--seconds 5] [--batch 32] [--rounds R]
 *                      [--encoded] DIR
 *
 * With --rounds, 1 worker and N are measured in turn R times: "scaling" is the median of the ratios, "rounds" are they.
 * With --encoded as well, it is the folder and a callback that hands over the bytes of its files, with N workers each:
 * "encoded_of_folder" is the median. "cpu" is the median of the ratios of images a second of processor time, which a
 * busy machine disturbs less.
 * DIR: class folders or images. img_per_s counts images, each of which gives two views. decode_ms (no more than the two
 * views show), full_decode_ms and view_ms (both views together) are of one thread, taken in turn. of_decode is what the
 * bare decoding of what the views show would take of the loader's time per image and core. bytes_per_image is what the
 * index of the data set takes, loader_bytes the most that a loader took: its ring of prefetch + 1 batches, and what
 * each worker needs for a picture. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/support/encoded_files.h"
#include "data/loader.h"
#include "data/view/view_kernels.h"
#include "moco/moco.h"

enum { ROUNDS_MAX = 99 };

struct options {
    const char *preset, *folder;
    int workers, size, batch, rounds, encoded;
    double seconds;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of all threads. */
static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    return 1;
}

/* Epoch after epoch until the time is over; the first batch, which pays for pages and caches, is not counted. */
static int measure_loader(struct ctx *ctx, const struct dataset *ds, const struct loader_options *o, double seconds,
                          double *img_per_s, double *img_per_cpu_s, int64_t *bytes)
{
    int64_t before = ctx->live_bytes;
    ctx->peak_bytes = before;
    struct loader *loader;
    struct err err = {0};
    moco_batch batch = {0};
    if (loader_create(&loader, ctx, ds, o, &err) != MOCO_OK)
        return fail("loader", &err);
    int64_t images = 0;
    double begun = 0, cpu = 0;
    moco_status status = MOCO_EEND;
    for (int64_t epoch = -1; status == MOCO_OK || status == MOCO_EEND;) {
        if (status == MOCO_EEND && (status = loader_start(loader, ++epoch, 0, &err)) != MOCO_OK)
            break;
        status = loader_next(loader, &batch, &err);
        if (begun == 0) {
            begun = now();
            cpu = cpu_now();
        } else
            images += status == MOCO_OK ? batch.n : 0;
        if (begun > 0 && now() - begun >= seconds)
            break;
    }
    *img_per_s = (double)images / (now() - begun);
    *img_per_cpu_s = (double)images / (cpu_now() - cpu);
    *bytes = ctx->peak_bytes - before;
    loader_free(loader);
    return status == MOCO_OK || status == MOCO_EEND ? 0 : fail("loader", &err);
}

/* Seconds of one thread, summed over images. */
struct parts {
    int64_t images;
    double full, decode, views;
};

/* The two views of an image, drawn when its size is known, and the part of it that they show. */
struct drawing {
    const struct loader_options *options;
    int64_t sample;
    struct augment_params params[2];
};

static moco_status draw_views(void *user, int w, int h, struct image_box *box, struct err *err)
{
    struct drawing *d = user;
    for (int v = 0; v < 2; v++) {
        struct rng rng;
        rng_init(&rng, 0, 0, (uint64_t)d->sample, (unsigned)v, RNG_AUGMENT);
        TRY(augment_draw(&d->options->recipe[v], w, h, &rng, &d->params[v], err));
    }
    *box = augment_shown(d->params, 2);
    return MOCO_OK;
}

static int measure_parts(struct ctx *ctx, const struct dataset *ds, const struct loader_options *o, double seconds,
                         struct parts *parts)
{
    struct decoder decoder;
    struct augment_scratch scratch;
    struct err err = {0};
    size_t bytes = (size_t)o->recipe[0].size * (size_t)o->recipe[0].size * 3;
    uint8_t *view = malloc(bytes);
    double begun = now();
    moco_status status = view != NULL ? MOCO_OK : MOCO_ENOMEM;
    decoder_init(&decoder, ctx, DECODE_MAX_PIXELS, NULL);
    augment_scratch_init(&scratch, ctx);
    struct drawing drawing = {.options = o};
    decoder.wish_user = &drawing;
    for (*parts = (struct parts){0}; status == MOCO_OK && now() - begun < seconds; parts->images++) {
        struct image image;
        struct image_box box;
        drawing.sample = parts->images;
        double start = now();
        decoder.wish = NULL;
        status = ds->ops->read(ds, parts->images % ds->count, &decoder, &image, &err);
        double whole = now();
        decoder.wish = draw_views;
        if (status == MOCO_OK)
            status = ds->ops->read(ds, parts->images % ds->count, &decoder, &image, &err);
        if (status == MOCO_OK) /* a codec that decodes everything does not ask */
            status = draw_views(&drawing, image.w, image.h, &box, &err);
        double part = now();
        for (int v = 0; v < 2 && status == MOCO_OK; v++)
            status = augment_apply(&drawing.params[v], &image, o->recipe[v].size, &scratch, view, &err);
        parts->full += whole - start;
        parts->decode += part - whole;
        parts->views += now() - part;
    }
    augment_scratch_free(&scratch);
    decoder_free(&decoder);
    free(view);
    return status == MOCO_OK ? 0 : fail("views", &err);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of `first` and `second`, each a data set and options: in turn, since a neighbour on the machine disturbs both. */
struct contender {
    const struct dataset *ds;
    struct loader_options options;
};

static int measure_ratio(struct ctx *ctx, const struct contender *first, const struct contender *second,
                         const struct options *given, const char *what)
{
    double ratio[ROUNDS_MAX], cpu_ratio[ROUNDS_MAX], one, other, cpu_one, cpu_other;
    int64_t bytes;
    for (int r = 0; r < given->rounds; r++) {
        if (measure_loader(ctx, first->ds, &first->options, given->seconds, &one, &cpu_one, &bytes) ||
            measure_loader(ctx, second->ds, &second->options, given->seconds, &other, &cpu_other, &bytes))
            return 1;
        ratio[r] = other / one;
        cpu_ratio[r] = cpu_other / cpu_one;
    }
    qsort(ratio, (size_t)given->rounds, sizeof *ratio, ascending);
    qsort(cpu_ratio, (size_t)given->rounds, sizeof *cpu_ratio, ascending);
    printf(", \"%s\": %.3f, \"cpu\": %.3f, \"rounds\": [", what, ratio[given->rounds / 2],
           cpu_ratio[given->rounds / 2]);
    for (int r = 0; r < given->rounds; r++)
        printf("%s%.3f", r > 0 ? ", " : "", ratio[r]);
    printf("]");
    return 0;
}

static int measure_scaling(struct ctx *ctx, const struct dataset *ds, const struct loader_options *o,
                           const struct options *given)
{
    struct contender one = {ds, *o}, many = one;
    one.options.workers = 1;
    return measure_ratio(ctx, &one, &many, given, "scaling");
}

static int measure_encoded(struct ctx *ctx, const struct dataset *ds, const struct loader_options *o,
                           const struct options *given)
{
    struct encoded_files *files;
    struct dataset *encoded;
    struct err err = {0};
    int failed = encoded_files_open(&files, &encoded, ctx, ds, &err) != MOCO_OK
                     ? fail("encoded", &err)
                     : measure_ratio(ctx, &(struct contender){ds, *o}, &(struct contender){encoded, *o}, given,
                                     "encoded_of_folder");
    dataset_free(encoded);
    encoded_files_free(files);
    return failed;
}

static int measure(const struct options *given)
{
    struct ctx *ctx;
    struct dataset *ds;
    struct err err = {0};
    if (ctx_create(&ctx, &(struct ctx_options){0}, &err) != MOCO_OK)
        return fail("context", &err);
    int64_t before = ctx->live_bytes;
    if (dataset_open_folder(&ds, ctx, given->folder, NULL, NULL, &err) != MOCO_OK) {
        ctx_unref(ctx);
        return fail(given->folder, &err);
    }
    double per_image = (double)(ctx->live_bytes - before) / (double)ds->count;
    struct loader_options o = {
        .batch_size = given->batch, .workers = given->workers, .prefetch = 2, .permuted = 1, .max_bad = -1, .views = 2};
    double rate = 0, cpu_rate;
    int64_t bytes = 0;
    struct parts parts;
    int failed = augment_recipe(&o.recipe[0], given->preset, given->size, &err) != MOCO_OK;
    if (failed)
        fail("preset", &err);
    o.recipe[1] = o.recipe[0];
    failed = failed || measure_parts(ctx, ds, &o, given->seconds / 2, &parts) ||
             measure_loader(ctx, ds, &o, given->seconds, &rate, &cpu_rate, &bytes);
    if (!failed) {
        double images = (double)parts.images / 1e3, per_core = rate / (given->workers > 0 ? given->workers : 1);
        printf(
            "{\"bench\": \"loader\", \"preset\": \"%s\", \"workers\": %d, \"img_per_s\": %.1f, "
            "\"img_per_s_per_core\": %.1f, \"decode_ms\": %.3f, \"view_ms\": %.3f, \"full_decode_ms\": %.3f, "
            "\"of_decode\": %.3f, \"bytes_per_image\": %.1f, \"loader_bytes\": %lld, \"size\": %d, \"images\": %lld, "
            "\"isa\": \"%s\"",
            given->preset, given->workers, rate, per_core, parts.decode / images, parts.views / images,
            parts.full / images, per_core * parts.decode / images / 1e3, per_image, (long long)bytes, given->size,
            (long long)ds->count, view_kernels_best()->name);
        if (given->rounds > 0)
            failed = given->encoded ? measure_encoded(ctx, ds, &o, given) : measure_scaling(ctx, ds, &o, given);
        printf("}\n");
    }
    dataset_free(ds);
    ctx_unref(ctx);
    return failed;
}

int main(int argc, char **argv)
{
    struct options o = {.preset = "moco-v2", .workers = 1, .batch = 32, .seconds = 5};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--workers") == 0)
            o.workers = atoi(value), i++;
        else if (strcmp(argv[i], "--preset") == 0)
            o.preset = value, i++;
        else if (strcmp(argv[i], "--size") == 0)
            o.size = atoi(value), i++;
        else if (strcmp(argv[i], "--batch") == 0)
            o.batch = atoi(value), i++;
        else if (strcmp(argv[i], "--seconds") == 0)
            o.seconds = atof(value), i++;
        else if (strcmp(argv[i], "--rounds") == 0)
            o.rounds = atoi(value), i++;
        else if (strcmp(argv[i], "--encoded") == 0)
            o.encoded = 1;
        else if (argv[i][0] != '-')
            o.folder = argv[i];
        else
            o.folder = NULL, i = argc;
    }
    if (o.size == 0)
        o.size = strncmp(o.preset, "moco", 4) == 0 || strcmp(o.preset, "simclr") == 0 ? 224 : 32;
    if (o.folder == NULL || o.seconds <= 0 || o.rounds < 0 || o.rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: loader [--workers N] [--preset NAME] [--size N] [--seconds S] [--batch N] [--rounds R] "
                        "[--encoded] DIR\n");
        return 2;
    }
    return measure(&o);
}
