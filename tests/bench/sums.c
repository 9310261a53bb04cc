/* SPDX-License-Identifier: MIT
 *
 * sums: how long an engine of ranks takes for the sums of a step while nothing is computed, as one JSON object.
 *
 *   mpirun -np R build/bench/sums build/libmoco_mpi.so [--mb 112] [--bucket 25] [--times 5] [--gbit 0.2]
 *
 * As in a step all buckets are begun at once, and asked about every 0.2 ms. ideal_ms is what the least number of bytes
 * takes, 2 (R - 1) / R of them from each rank, on links of so many Gb/s, of which TCP leaves 95.7 %. What a reader would get
 * wrong: the best of several counts, since two directions of one shaped link disturb each other. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/support/timing.h"
#include "moco/moco.h"

enum { BUCKETS = 64 };

static char why[256];

static void must(int failed)
{
    if (!failed)
        return;
    fprintf(stderr, "sums: %s\n", why);
    exit(1);
}

static void wait_for(const moco_comm_engine *e, void *request)
{
    const struct timespec pause = {0, 200000};
    int32_t done = 0;
    for (must(e->test(e->user, request, &done, why, sizeof why)); !done;
         must(e->test(e->user, request, &done, why, sizeof why)))
        nanosleep(&pause, NULL);
}

static void meet(const moco_comm_engine *e, char *blocks)
{
    void *request;
    must(e->gather(e->user, blocks, 1, &request, why, sizeof why));
    wait_for(e, request);
}

static double sum_ms(const moco_comm_engine *e, float *data, int64_t count, int64_t bucket)
{
    void *request[BUCKETS];
    int buckets = 0;
    double begun = now_ms();
    for (int64_t at = 0; at < count; at += bucket) {
        int64_t here = count - at < bucket ? count - at : bucket;
        must(e->sum(e->user, data + at, here, MOCO_F32, &request[buckets++], why, sizeof why));
    }
    for (int i = 0; i < buckets; i++)
        wait_for(e, request[i]);
    return now_ms() - begun;
}

int main(int argc, char **argv)
{
    double mb = 112, bucket_mb = 25, gbit = 0, ms[TIMING_MAX], best = 0;
    int times = 5;
    for (int i = 2; i + 1 < argc; i += 2) {
        double value = atof(argv[i + 1]);
        if (strcmp(argv[i], "--mb") == 0)
            mb = value;
        else if (strcmp(argv[i], "--bucket") == 0)
            bucket_mb = value;
        else if (strcmp(argv[i], "--times") == 0)
            times = (int)value;
        else if (strcmp(argv[i], "--gbit") == 0)
            gbit = value;
        else
            return fprintf(stderr, "sums: no option %s\n", argv[i]), 2;
    }
    if (argc < 2 || argc % 2 != 0 || times < 1 || times > TIMING_MAX || mb > BUCKETS * bucket_mb)
        return fprintf(stderr, "usage: see the head of tests/bench/sums.c\n"), 2;
    moco_comm_engine e;
    moco_comm_engine_init(&e);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    const moco_comm_module *module = library != NULL ? dlsym(library, "moco_comm_module_entry") : NULL;
    if (module == NULL)
        return fprintf(stderr, "sums: %s\n", dlerror()), 1;
    must(module->open(NULL, &e, why, sizeof why));
    int64_t count = (int64_t)(mb * 1e6 / sizeof(float));
    float *data = calloc((size_t)count, sizeof *data);
    char *blocks = calloc((size_t)e.ranks, 1);
    if (data == NULL || blocks == NULL)
        return 1;
    sum_ms(&e, data, count, count); /* connections are made */
    for (int i = 0; i < times; i++) {
        meet(&e, blocks);
        ms[i] = sum_ms(&e, data, count, (int64_t)(bucket_mb * 1e6 / sizeof(float)));
        best = i == 0 || ms[i] < best ? ms[i] : best;
    }
    meet(&e, blocks);
    if (e.rank == 0) {
        double ideal = gbit > 0 ? 2e3 * (e.ranks - 1) / e.ranks * mb * 8e6 / (gbit * 0.957e9) : 0;
        printf("{\"bench\":\"sums\",\"engine\":\"%s\",\"ranks\":%d,\"mb\":%g,\"bucket_mb\":%g,\"best_ms\":%.1f,"
               "\"median_ms\":%.1f,\"ideal_ms\":%.1f}\n",
               e.name, e.ranks, mb, bucket_mb, best, median(ms, times), ideal);
    }
    e.close(e.user, 0);
    free(data);
    free(blocks);
    return 0;
}
