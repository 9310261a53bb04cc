/* SPDX-License-Identifier: MIT
 *
 * infonce: how long InfoNCE of the cpu device takes, as one JSON object.
 *
 *   build/bench/infonce [--n 256] [--dim 128] [--queue 65536] [--threads N] [--runs 15]
 *
 * ms is the median of the runs. gemm_floor_ms is the best time of two matrix products of that size through oneDNN,
 * whole or in pieces that stay in the caches, whichever is faster; of_floor is the median of the ratios of runs that
 * took turns. extra_bytes is the scratch, which does not grow with the queue. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/dnnl_shim.h"
#include "backend/cpu/infonce.h"
#include "backend/cpu/simd_table.h"
#include "ctx.h"

#define WHOLE                                                                                                          \
    (1L << 18) /* queue rows: a longer product is made in such pieces, or its result would fill the memory   \
                          */

struct options {
    int n, dim, threads, runs;
    long queue;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + 1e-6 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *unit_rows(size_t rows, size_t dim)
{
    float *at = aligned_alloc(64, (rows * dim * sizeof *at + 63) / 64 * 64);
    uint32_t state = 1;
    for (size_t row = 0; at != NULL && row < rows; row++) {
        float squares = 0;
        for (size_t d = 0; d < dim; d++) {
            state = state * 1664525u + 1013904223u;
            float x = (float)(state >> 8) / 8388608.0f - 1;
            at[row * dim + d] = x;
            squares += x * x;
        }
        for (size_t d = 0; d < dim; d++)
            at[row * dim + d] /= squares; /* shorter than 1: the softmax is then far from a single winner */
    }
    return at;
}

/* Time of two products q queue^T through oneDNN, in pieces of `rows` queue rows that go to the same place. */
static double products_ms(const struct options *o, const float *q, const float *queue, long rows, float *cosines,
                          int *failed)
{
    struct err err = {0};
    double begun = now_ms();
    for (long row = 0; row < o->queue && !*failed; row += rows) {
        long count = o->queue - row < rows ? o->queue - row : rows;
        if (shim_gemm_nt(o->n, count, o->dim, q, queue + row * o->dim, cosines, &err) != MOCO_OK) {
            fprintf(stderr, "%s\n", err.text);
            *failed = 1;
        }
    }
    return 2 * (now_ms() - begun);
}

static int read_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        long value = strtol(argv[i + 1], NULL, 10);
        if (value < 1 || value > 1L << 26)
            return -1;
        if (strcmp(argv[i], "--n") == 0)
            o->n = (int)value;
        else if (strcmp(argv[i], "--dim") == 0)
            o->dim = (int)value;
        else if (strcmp(argv[i], "--queue") == 0)
            o->queue = value;
        else if (strcmp(argv[i], "--threads") == 0)
            o->threads = (int)value;
        else if (strcmp(argv[i], "--runs") == 0)
            o->runs = (int)value;
        else
            return -1;
    }
    return argc % 2 == 1 ? 0 : -1;
}

static int measure(const struct options *o, const struct kern_team *team)
{
    float *q = unit_rows((size_t)o->n, (size_t)o->dim), *k = unit_rows((size_t)o->n, (size_t)o->dim);
    float *queue = unit_rows((size_t)o->queue, (size_t)o->dim), *d_q = unit_rows((size_t)o->n, (size_t)o->dim);
    size_t bytes = cpu_infonce_scratch(team, o->n, o->dim);
    void *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    long at_once = o->queue < WHOLE ? o->queue : WHOLE;
    float *cosines = malloc((size_t)o->n * (size_t)at_once * sizeof *cosines);
    double *times = malloc(3 * (size_t)o->runs * sizeof *times), *floors = times + o->runs, *ratios = floors + o->runs;
    int failed =
        q == NULL || k == NULL || queue == NULL || d_q == NULL || scratch == NULL || times == NULL || cosines == NULL;
    struct be_infonce io = {.q = q,
                            .k = k,
                            .queue = queue,
                            .n = o->n,
                            .dim = o->dim,
                            .length = o->queue,
                            .temperature = 0.2,
                            .scale = 1,
                            .d_q = d_q};
    for (int run = -1; run < o->runs && !failed; run++) { /* the first pays for pages and caches */
        double begun = now_ms();
        cpu_infonce(team, &io, scratch);
        double ms = now_ms() - begun, whole = products_ms(o, q, queue, at_once, cosines, &failed);
        double pieces = products_ms(o, q, queue, 2048, cosines, &failed);
        if (run < 0)
            continue;
        times[run] = ms;
        floors[run] = whole < pieces ? whole : pieces;
        ratios[run] = floors[run] / ms;
    }
    if (!failed) {
        size_t count = (size_t)o->runs;
        qsort(times, count, sizeof *times, by_value);
        qsort(floors, count, sizeof *times, by_value);
        qsort(ratios, count, sizeof *times, by_value);
        printf("{\"bench\":\"infonce\",\"n\":%d,\"dim\":%d,\"queue\":%ld,\"threads\":%d,\"isa\":\"%s\",\"ms\":%.3f,"
               "\"best_ms\":%.3f,\"gemm_floor_ms\":%.3f,\"of_floor\":%.3f,\"extra_bytes\":%zu}\n",
               o->n, o->dim, o->queue, team->threads, team->simd->name, times[count / 2], times[0], floors[0],
               ratios[count / 2], bytes);
    }
    free(q);
    free(k);
    free(queue);
    free(d_q);
    free(scratch);
    free(cosines);
    free(times);
    return failed;
}

int main(int argc, char **argv)
{
    struct options o = {.n = 256, .dim = 128, .threads = ctx_default_threads(), .runs = 15, .queue = 65536};
    if (read_options(argc, argv, &o) != 0) {
        fprintf(stderr, "infonce [--n N] [--dim N] [--queue N] [--threads N] [--runs N]\n");
        return 2;
    }
    struct kern_team team = {kern_table((int)shim_isa()), o.threads};
    struct parallel_scope scope;
    struct err err = {0};
    if (parallel_enter(&scope, o.threads, &err) != MOCO_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int failed = measure(&o, &team);
    parallel_leave(&scope);
    return failed;
}

#else
int main(void)
{
    fprintf(stderr, "infonce: built without the cpu device\n");
    return 1;
}
#endif
