/* SPDX-License-Identifier: MIT
 *
 * infonce: divides the queue among threads and merges their results; the loop over the queue is in infonce_simd.c.
 * More than QUERIES queries are processed in chunks, each with its own pass over the queue, so that scratch is
 * bounded. What a reader would get wrong: maxima and sums are of cosines (not yet divided by the temperature), and
 * start with the positive. */
#include "backend/cpu/kernels/infonce.h"

#include <math.h>
#include <string.h>

#include "backend/cpu/kernels/simd_table.h"

enum { BUDGET = 15 << 20 }; /* bytes of tiles, and of the transposed and accumulated rows of a pass's queries */

struct infonce_plan {
    const struct kern_team *team;
    const struct be_infonce *io;
    double temperature;
    int chunk, width;      /* queries of a pass at most (whole units); floats of an accumulated row */
    int first, count;      /* this pass: queries first .. first + count - 1 */
    float *queries, *keys; /* transposed: [chunk / unit][dim][unit] */
    float *positive;       /* [chunk] */
    char *parts;           /* of the threads */
    size_t part_bytes;
    double (*sums)[5]; /* [threads]: loss, top1, top5, pos, neg */
};

static int round_up(int value, int unit)
{
    return (value + unit - 1) / unit * unit;
}

/* Pieces of `at` (NULL: only their sizes) as one thread's state. */
static size_t lay_out_part(const struct infonce_plan *plan, int dim, char *at, struct infonce_part *part)
{
    size_t n = (size_t)plan->chunk, unit = (size_t)plan->team->simd->unit, width = (size_t)plan->width;
    size_t sizes[] = {n * sizeof(float),
                      n * sizeof(double),
                      n * sizeof(double),
                      n * sizeof(int32_t),
                      n * sizeof(int32_t),
                      n * width * sizeof(float),
                      INFONCE_TILE * unit * sizeof(float),
                      plan->width == dim ? 0 : INFONCE_TILE * width * sizeof(float)};
    void *places[sizeof sizes / sizeof *sizes];
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        places[i] = at == NULL ? NULL : at + bytes;
        bytes += kern_pad64(sizes[i]);
    }
    *part = (struct infonce_part){.dim = dim,
                                  .width = plan->width,
                                  .blocks = (plan->count + plan->team->simd->unit - 1) / plan->team->simd->unit,
                                  .queries = plan->queries,
                                  .positive = plan->positive,
                                  .max = places[0],
                                  .sum = places[1],
                                  .cosines = places[2],
                                  .larger = places[3],
                                  .equal = places[4],
                                  .out = places[5],
                                  .tile = places[6],
                                  .padded = places[7]};
    return bytes;
}

/* Lays out all of scratch; returns its bytes. */
static size_t lay_out(struct infonce_plan *plan, const struct kern_team *team, int n, int dim, char *scratch)
{
    int unit = team->simd->unit;
    *plan = (struct infonce_plan){.team = team, .width = round_up(dim, unit / 4)};
    int64_t tiles = (int64_t)team->threads * INFONCE_TILE * (unit + (plan->width == dim ? 0 : plan->width)) * 4;
    int64_t fit = (BUDGET - tiles) / (((int64_t)plan->width * 4 + 32) * (team->threads + 2)) / unit * unit;
    plan->chunk = round_up(n > 1 ? n : 1, unit);
    if (plan->chunk > fit)
        plan->chunk = fit > unit ? (int)fit : unit;
    struct infonce_part part;
    size_t panel = kern_pad64(sizeof(float) * (size_t)plan->chunk * (size_t)dim);
    size_t row = kern_pad64(sizeof(float) * (size_t)plan->chunk),
           sums = kern_pad64(sizeof(double[5]) * (size_t)team->threads);
    plan->part_bytes = lay_out_part(plan, dim, NULL, &part);
    if (scratch != NULL) {
        plan->queries = (float *)(void *)scratch;
        plan->keys = (float *)(void *)(scratch + panel);
        plan->positive = (float *)(void *)(scratch + 2 * panel);
        plan->sums = (double(*)[5])(void *)(scratch + 2 * panel + row);
        plan->parts = scratch + 2 * panel + row + sums;
    }
    return 2 * panel + row + sums + (size_t)team->threads * plan->part_bytes;
}

size_t cpu_infonce_scratch(const struct kern_team *team, int n, int dim)
{
    struct infonce_plan plan;
    return lay_out(&plan, team, n, dim, NULL);
}

/* [count][dim] -> [count / unit][dim][unit], with zeros for queries that are not there. */
static void transpose(const float *from, int count, int dim, int unit, float *to)
{
    for (int block = 0; block < count; block += unit, to += (size_t)dim * (size_t)unit)
        for (int lane = 0; lane < unit; lane++)
            for (int d = 0; d < dim; d++)
                to[(size_t)d * (size_t)unit + (size_t)lane] =
                    block + lane < count ? from[(size_t)(block + lane) * (size_t)dim + (size_t)d] : 0;
}

/* ---- one thread's stretch of the queue ---- */

static void run_part(void *arg, int thread, int threads)
{
    const struct infonce_plan *plan = arg;
    const struct be_infonce *io = plan->io;
    struct infonce_part part;
    lay_out_part(plan, io->dim, plan->parts + (size_t)thread * plan->part_bytes, &part);
    size_t padded = (size_t)part.blocks * (size_t)plan->team->simd->unit, begin, end;
    kern_share((size_t)io->length, thread, threads, &begin, &end);
    part.queue = (const float *)io->queue + begin * (size_t)io->dim;
    part.rows = end - begin;
    part.inverse_temperature = (float)(1 / plan->temperature);
    memcpy(part.max, plan->positive, sizeof(float) * padded);
    memset(part.sum, 0, sizeof(double) * padded);
    memset(part.cosines, 0, sizeof(double) * padded);
    memset(part.larger, 0, sizeof(int32_t) * padded);
    memset(part.equal, 0, sizeof(int32_t) * padded);
    memset(part.out, 0, sizeof(float) * padded * (size_t)plan->width);
    plan->team->simd->infonce->stretch(&part);
}

/* ---- merging ---- */

/* The share of orders, all equally likely among equals, in which the positive is among the first m. */
static double among_first(double m, double larger, double equal)
{
    double share = (m - larger) / (equal + 1);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

/* Query i of the pass: its loss and measures are added to sums, its gradient is written. */
static void merge_query(const struct infonce_plan *plan, int i, double sums[5])
{
    const struct be_infonce *io = plan->io;
    int threads = plan->team->threads;
    size_t dim = (size_t)io->dim, row = (size_t)(plan->first + i);
    const float *k = (const float *)io->k + row * dim;
    float *d_q = (float *)io->d_q + row * dim;
    double positive = (double)plan->positive[i], top = positive, sum, larger = 0, equal = 0, cosines = 0;
    struct infonce_part part;
    for (int t = 0; t < threads; t++) {
        lay_out_part(plan, io->dim, plan->parts + (size_t)t * plan->part_bytes, &part);
        top = (double)part.max[i] > top ? (double)part.max[i] : top;
        larger += (double)part.larger[i];
        equal += (double)part.equal[i];
        cosines += part.cosines[i];
    }
    double own = exp((positive - top) / plan->temperature);
    sum = own;
    for (int t = 0; t < threads; t++) {
        lay_out_part(plan, io->dim, plan->parts + (size_t)t * plan->part_bytes, &part);
        sum += part.sum[i] * exp(((double)part.max[i] - top) / plan->temperature);
    }
    double unit = io->scale / plan->temperature, own_weight = (own / sum - 1) * unit;
    for (size_t d = 0; d < dim; d++)
        d_q[d] = (float)(own_weight * (double)k[d]);
    for (int t = 0; t < threads; t++) {
        lay_out_part(plan, io->dim, plan->parts + (size_t)t * plan->part_bytes, &part);
        float weight = (float)(exp(((double)part.max[i] - top) / plan->temperature) / sum * unit);
        const float *out = part.out + (size_t)i * (size_t)plan->width;
        for (size_t d = 0; d < dim; d++)
            d_q[d] += weight * out[d];
    }
    /* A cosine of minus infinity would vanish in the softmax. */
    double loss =
        isfinite(positive) && isfinite(cosines) ? (top - positive) / plan->temperature + log(sum) : (double)NAN;
    sums[0] += loss;
    sums[1] += among_first(1, larger, equal);
    sums[2] += among_first(5, larger, equal);
    sums[3] += positive;
    sums[4] += io->length > 0 ? cosines / (double)io->length : 0;
}

static void merge_queries(void *arg, int thread, int threads)
{
    const struct infonce_plan *plan = arg;
    size_t begin, end;
    kern_share((size_t)plan->count, thread, threads, &begin, &end);
    for (size_t i = begin; i < end; i++)
        merge_query(plan, (int)i, plan->sums[thread]);
}

/* For each chunk of queries: the cosines of the positives; then every thread runs over its part of the queue; then
 * the parts are merged query by query. */
void cpu_infonce(const struct kern_team *team, const struct be_infonce *io, double temperature, void *scratch,
                 struct host_sums *out)
{
    struct infonce_plan plan;
    int unit = team->simd->unit;
    lay_out(&plan, team, io->n, io->dim, scratch);
    plan.io = io;
    plan.temperature = temperature;
    memset(plan.sums, 0, sizeof(double[5]) * (size_t)team->threads);
    for (plan.first = 0; plan.first < io->n; plan.first += plan.chunk) {
        plan.count = io->n - plan.first < plan.chunk ? io->n - plan.first : plan.chunk;
        size_t skipped = (size_t)plan.first * (size_t)io->dim;
        transpose((const float *)io->q + skipped, plan.count, io->dim, unit, plan.queries);
        transpose((const float *)io->k + skipped, plan.count, io->dim, unit, plan.keys);
        for (int at = 0; at < plan.count; at += unit)
            team->simd->infonce->positives(plan.queries + (size_t)at * (size_t)io->dim,
                                           plan.keys + (size_t)at * (size_t)io->dim, io->dim, plan.positive + at);
        parallel_run(team->threads, run_part, &plan);
        parallel_run(team->threads, merge_queries, &plan);
    }
    double sums[5] = {0};
    for (int thread = 0; thread < team->threads; thread++)
        for (int i = 0; i < 5; i++)
            sums[i] += plan.sums[thread][i];
    *out = (struct host_sums){sums[0], sums[1], sums[2], sums[3], sums[4]};
}
