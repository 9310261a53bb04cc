/* SPDX-License-Identifier: MIT
 *
 * index: what a data set of many files costs before the first picture is read, as JSON objects, one a kind.
 *
 *   build/bench/index [--files 1281167] [--classes 1000] [--only folder|list|tar] DIR
 *
 * Below DIR (best a tmpfs) it makes class folders of empty files named as ImageNet's, all links to a few, a list of
 * them and a tar shard for each hundred thousand, opens each as a data set and removes everything again.
 * bytes_per_image is what stays, peak_bytes_per_image the most that was taken meanwhile, both as the allocator saw it,
 * headers and all; files_per_s is of the opening alone. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/dataset/dataset.h"

enum { LINKS = 50000, SHARD = 100000, SHARDS_MAX = 100, BLOCK = 512 };

struct options {
    const char *folder, *only;
    int64_t files, classes;
};

/* An allocator that counts. */
struct count {
    _Atomic long long live, peak;
};

static void *count_alloc(void *user, size_t size, size_t align)
{
    struct count *c = user;
    void *memory = NULL;
    if (posix_memalign(&memory, align, size) != 0)
        return NULL;
    long long live = atomic_fetch_add(&c->live, (long long)size) + (long long)size;
    if (live > c->peak)
        c->peak = live;
    return memory;
}

static void count_release(void *user, void *memory, size_t size)
{
    atomic_fetch_sub(&((struct count *)user)->live, (long long)size);
    free(memory);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* n01440764/n01440764_10026.JPEG: 31 bytes, 21 of them below the class. */
static void name_of(const struct options *o, int64_t i, char text[64])
{
    int64_t class = i % o->classes;
    snprintf(text, 64, "n%08lld/n%08lld_%05lld.JPEG", (long long)(1440764 + 7 * class),
             (long long)(1440764 + 7 * class), (long long)(i / o->classes * 7919 % 100003));
}

static int make_tree(const struct options *o, const char *root)
{
    char path[4400], name[64], original[4400];
    if (mkdir(root, 0700) != 0)
        return fail(root);
    for (int64_t c = 0; c < o->classes; c++) {
        name_of(o, c, name);
        *strchr(name, '/') = 0;
        snprintf(path, sizeof path, "%s/%s", root, name);
        if (mkdir(path, 0700) != 0)
            return fail(path);
    }
    for (int64_t i = 0; i < o->files; i++) {
        name_of(o, i, name);
        snprintf(path, sizeof path, "%s/%s", root, name);
        if (i % LINKS == 0) {
            int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
            if (fd < 0)
                return fail(path);
            close(fd);
            strcpy(original, path);
        } else if (link(original, path) != 0) {
            return fail(path);
        }
    }
    return 0;
}

static int make_list(const struct options *o, const char *path)
{
    char name[64];
    FILE *out = fopen(path, "w");
    if (out == NULL)
        return fail(path);
    for (int64_t i = 0; i < o->files; i++) {
        name_of(o, i, name);
        fprintf(out, "tree/%s\t%lld\n", name, (long long)(i % o->classes));
    }
    return fclose(out) == 0 ? 0 : fail(path);
}

static void put_header(FILE *out, const char *name, int size)
{
    char block[BLOCK] = {0};
    unsigned sum = 0;
    snprintf(block, 100, "%s", name);
    snprintf(block + 124, 12, "%011o", (unsigned)size);
    block[156] = '0';
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    memset(block + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    fwrite(block, 1, BLOCK, out);
}

/* Samples of an empty picture and a label. */
static int make_shard(const struct options *o, const char *path, int64_t first, int64_t end)
{
    char name[64], label[BLOCK] = {0};
    FILE *out = fopen(path, "wb");
    if (out == NULL)
        return fail(path);
    for (int64_t i = first; i < end; i++) {
        name_of(o, i, name);
        put_header(out, name, 0);
        strcpy(strrchr(name, '.'), ".cls");
        int length = snprintf(label, sizeof label, "%lld", (long long)(i % o->classes));
        put_header(out, name, length);
        fwrite(label, 1, BLOCK, out);
    }
    memset(label, 0, sizeof label);
    fwrite(label, 1, BLOCK, out);
    fwrite(label, 1, BLOCK, out);
    return fclose(out) == 0 ? 0 : fail(path);
}

static int measure(const struct options *o, const char *kind, const char *const *paths, int count)
{
    struct count memory = {0};
    struct ctx *ctx;
    struct dataset *ds = NULL;
    struct err err = {0};
    if (ctx_create(&ctx,
                   &(struct ctx_options){.alloc = count_alloc, .release = count_release, .user = &memory, .threads = 1},
                   &err) != MOCO_OK)
        return 1;
    long long before = memory.live;
    memory.peak = before;
    double begun = now();
    moco_status status = strcmp(kind, "tar") == 0    ? dataset_open_tar(&ds, ctx, paths, count, &err)
                         : strcmp(kind, "list") == 0 ? dataset_open_list(&ds, ctx, paths[0], &err)
                                                     : dataset_open_folder(&ds, ctx, paths[0], NULL, NULL, &err);
    double seconds = now() - begun;
    if (status != MOCO_OK)
        fprintf(stderr, "%s: %s\n", kind, err.text);
    else
        printf("{\"bench\": \"index\", \"kind\": \"%s\", \"images\": %lld, \"classes\": %d, \"seconds\": %.2f, "
               "\"files_per_s\": %.0f, \"bytes_per_image\": %.1f, \"peak_bytes_per_image\": %.1f}\n",
               kind, (long long)ds->count, ds->classes, seconds, (double)ds->count / seconds,
               (double)(memory.live - before) / (double)ds->count, (double)(memory.peak - before) / (double)ds->count);
    fflush(stdout);
    int wrong = status != MOCO_OK || ds->count != o->files;
    dataset_free(ds);
    ctx_unref(ctx);
    return wrong;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int wanted(const struct options *o, const char *kind)
{
    return o->only == NULL || strcmp(o->only, kind) == 0;
}

static int run(const struct options *o)
{
    char base[4096], path[4300];
    static char shard[SHARDS_MAX][4300];
    const char *paths[SHARDS_MAX] = {path};
    int failed = 0, shards = 0;
    snprintf(base, sizeof base, "%s/moco-index-XXXXXX", o->folder);
    if (mkdtemp(base) == NULL)
        return fail(base);
    if (wanted(o, "folder")) {
        snprintf(path, sizeof path, "%s/tree", base);
        failed = make_tree(o, path) || measure(o, "folder", paths, 1) || measure(o, "folder", paths, 1);
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    if (!failed && wanted(o, "list")) {
        snprintf(path, sizeof path, "%s/list.txt", base);
        failed = make_list(o, path) || measure(o, "list", paths, 1);
    }
    if (!failed && wanted(o, "tar")) {
        for (int64_t first = 0; first < o->files && !failed; first += SHARD, shards++) {
            int64_t end = first + SHARD < o->files ? first + SHARD : o->files;
            snprintf(shard[shards], sizeof shard[shards], "%s/%06d.tar", base, shards);
            paths[shards] = shard[shards];
            failed = make_shard(o, shard[shards], first, end);
        }
        failed = failed || measure(o, "tar", paths, shards);
    }
    nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}

int main(int argc, char **argv)
{
    struct options o = {.files = 1281167, .classes = 1000};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--files") == 0)
            o.files = atoll(value), i++;
        else if (strcmp(argv[i], "--classes") == 0)
            o.classes = atoll(value), i++;
        else if (strcmp(argv[i], "--only") == 0)
            o.only = value, i++;
        else if (argv[i][0] != '-')
            o.folder = argv[i];
        else
            o.folder = NULL, i = argc;
    }
    if (o.folder == NULL || o.classes < 1 || o.files < o.classes || o.files > (int64_t)SHARD * SHARDS_MAX ||
        o.files / o.classes > 100000) {
        fprintf(stderr, "usage: index [--files N] [--classes N] [--only folder|list|tar] DIR\n");
        return 2;
    }
    return run(&o);
}
