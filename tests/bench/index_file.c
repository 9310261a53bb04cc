/* SPDX-License-Identifier: MIT
 *
 * index_file: what an index file of very many pictures costs to write, to open and to use, as one JSON object.
 *
 *   build/bench/index_file [--pictures 10000000] [--ranks 2] [--looks 1000000] DIR
 *
 * Below DIR it makes empty shards of 1 GB that take no room, 10,000 pictures each, writes an index of them, and opens it
 * in so many processes at once. Each looks at pictures all over the set, as a permuted epoch does. own_bytes is what one
 * process then has to itself, beside what it had before: everything else is pages of the file, which processes share.
 * look_us is an entry's check, with the page fault that it may cost. What a reader would get wrong: the pages are in memory
 * here, since they have just been written. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <fcntl.h>
#include <ftw.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/support/timing.h"
#include "data/dataset/dataset_index.h"
#include "permute.h"

enum { SHARD = 10000, PICTURE = 100000 };

struct options {
    const char *folder;
    int64_t pictures, ranks, looks;
};

struct result {
    double open_s, look_us, own_bytes, label_sum;
};

static void must(moco_status status, const struct err *err)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "index_file: %s\n", err->text);
    exit(1);
}

static void entry(const void *user, int64_t id, struct index_entry *e)
{
    (void)user;
    e->offset = id % SHARD * PICTURE;
    e->size = PICTURE;
    e->shard = (uint32_t)(id / SHARD);
    e->label = (int32_t)(id % 1000);
}

static void make_shards(struct ctx *ctx, const struct options *o, const char *base, struct names *names)
{
    struct err err = {0};
    for (int64_t first = 0; first < o->pictures; first += SHARD) {
        char path[4200];
        snprintf(path, sizeof path, "%s/%08lld.tar", base, (long long)(first / SHARD));
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (fd < 0 || ftruncate(fd, (off_t)SHARD * PICTURE) != 0 || close(fd) != 0) {
            perror(path);
            exit(1);
        }
        must(names_add(ctx, names, path, &err), &err);
    }
}

/* Bytes of this process that no other has: not those of a file that is mapped. */
static double own_bytes(void)
{
    char line[256];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Anonymous: %lf", &kilobytes) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return 1024 * kilobytes;
}

static struct result use(const struct options *o, const char *index, int rank)
{
    struct result r = {0};
    struct permute order;
    struct ctx *ctx;
    struct dataset *ds;
    struct err err = {0};
    must(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err), &err);
    double before = own_bytes(), begun = now_ms();
    must(dataset_open_index(&ds, ctx, index, &err), &err);
    r.open_s = (now_ms() - begun) / 1e3;
    permute_init(&order, 1, (uint64_t)rank, (uint64_t)o->pictures);
    double spent = 0;
    for (int64_t i = 0; i < o->looks; i++) {
        int64_t id = (int64_t)permute_at(&order, (uint64_t)i);
        begun = now_ms();
        r.label_sum += ds->ops->label(ds, id);
        spent += now_ms() - begun;
    }
    r.look_us = 1e3 * spent / (double)o->looks;
    r.own_bytes = own_bytes() - before;
    dataset_free(ds);
    ctx_unref(ctx);
    return r;
}

/* The worst of several processes. */
static struct result use_by_ranks(const struct options *o, const char *index)
{
    struct result worst = {0};
    int ends[2];
    if (pipe(ends) != 0)
        exit(1);
    for (int rank = 0; rank < o->ranks; rank++)
        if (fork() == 0) {
            struct result r = use(o, index, rank);
            _exit(write(ends[1], &r, sizeof r) != sizeof r);
        }
    for (int rank = 0; rank < o->ranks; rank++) {
        struct result r;
        int status = 1;
        wait(&status);
        if (status != 0 || read(ends[0], &r, sizeof r) != sizeof r)
            exit(1);
        worst.open_s = r.open_s > worst.open_s ? r.open_s : worst.open_s;
        worst.look_us = r.look_us > worst.look_us ? r.look_us : worst.look_us;
        worst.own_bytes = r.own_bytes > worst.own_bytes ? r.own_bytes : worst.own_bytes;
    }
    return worst;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat, (void)kind, (void)walk;
    return remove(path);
}

static void run(const struct options *o)
{
    char base[4096], index[4200];
    struct names names = {0};
    struct stat stat_of;
    struct ctx *ctx;
    struct err err = {0};
    snprintf(base, sizeof base, "%s/moco-index-XXXXXX", o->folder);
    if (mkdtemp(base) == NULL) {
        perror(base);
        exit(1);
    }
    snprintf(index, sizeof index, "%s/index", base);
    must(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err), &err);
    make_shards(ctx, o, base, &names);
    double begun = now_ms();
    must(dataset_index_write(ctx, index, &(struct index_source){&names, o->pictures, 1000, entry, NULL}, &err), &err);
    double write_s = (now_ms() - begun) / 1e3;
    names_free(ctx, &names);
    ctx_unref(ctx);
    malloc_trim(0); /* what is free here would hide what the ranks take */
    struct result r = use_by_ranks(o, index);
    stat(index, &stat_of);
    printf("{\"bench\":\"index_file\",\"pictures\":%lld,\"shards\":%lld,\"ranks\":%lld,\"file_bytes\":%lld,"
           "\"file_bytes_per_picture\":%.2f,\"write_s\":%.2f,\"open_s\":%.3f,\"look_us\":%.2f,\"own_bytes\":%.0f}\n",
           (long long)o->pictures, (long long)((o->pictures + SHARD - 1) / SHARD), (long long)o->ranks,
           (long long)stat_of.st_size, (double)stat_of.st_size / (double)o->pictures, write_s, r.open_s, r.look_us,
           r.own_bytes);
    nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    struct options o = {.pictures = 10000000, .ranks = 2, .looks = 1000000};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--pictures") == 0)
            o.pictures = atoll(value), i++;
        else if (strcmp(argv[i], "--ranks") == 0)
            o.ranks = atoll(value), i++;
        else if (strcmp(argv[i], "--looks") == 0)
            o.looks = atoll(value), i++;
        else
            o.folder = argv[i];
    }
    if (o.folder == NULL || o.folder[0] == '-' || o.pictures < 1 || o.ranks < 1 || o.looks < 1 || o.looks > o.pictures)
        return fprintf(stderr, "usage: index_file [--pictures N] [--ranks N] [--looks N] DIR\n"), 2;
    run(&o);
    return 0;
}
