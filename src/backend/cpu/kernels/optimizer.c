/* SPDX-License-Identifier: MIT
 *
 * optimizer: norms for LARS, and the check of gradients over slabs. What a reader would get wrong: squares are
 * summed in double, where no f32 overflows, so that the sum is finite exactly if every number is. Only a sum that is
 * not finite is searched for the number that caused it. */
#include "backend/cpu/kernels/optimizer.h"

#include <math.h>

#include "backend/cpu/kernels/simd_table.h"

enum {
    LINE = 64,  /* numbers: threads divide a slab at whole cache lines */
    PARTS = 256 /* sums of a slab, whatever the number of threads */
};

struct optimizer_job {
    const struct kern_team *team;
    size_t count;
    float decay;
    const float *p, *g;
    double sums[PARTS], pulls[PARTS];
};

/* Numbers of `part` out of `parts`. */
static size_t stretch(size_t count, int part, int parts, size_t *begin)
{
    size_t end;
    kern_share((count + LINE - 1) / LINE, part, parts, begin, &end);
    *begin *= LINE;
    end = end * LINE < count ? end * LINE : count;
    return end > *begin ? end - *begin : 0;
}

static void norm_parts(void *arg, int thread, int threads)
{
    struct optimizer_job *job = arg;
    const struct slab_loops *loops = job->team->simd->slab;
    size_t begin, end;
    kern_share(PARTS, thread, threads, &begin, &end);
    for (size_t part = begin; part < end; part++) {
        size_t at, count = stretch(job->count, (int)part, PARTS, &at);
        job->sums[part] = loops->dot(count, job->p + at, job->p + at);
        job->pulls[part] = loops->pull(count, job->decay, job->p + at, job->g + at);
    }
}

void slab_norms(const struct kern_team *team, size_t count, double weight_decay, const float *p, const float *g,
                double *weight, double *pull)
{
    struct optimizer_job job = {.team = team, .count = count, .decay = (float)weight_decay, .p = p, .g = g};
    parallel_run(team->threads, norm_parts, &job);
    *weight = *pull = 0;
    for (int part = 0; part < PARTS; part++) {
        *weight += job.sums[part];
        *pull += job.pulls[part];
    }
    *weight = sqrt(*weight);
    *pull = sqrt(*pull);
}

static void check_parts(void *arg, int thread, int threads)
{
    struct optimizer_job *job = arg;
    size_t begin, end;
    kern_share(PARTS, thread, threads, &begin, &end);
    for (size_t part = begin; part < end; part++) {
        size_t at, count = stretch(job->count, (int)part, PARTS, &at);
        job->sums[part] = job->team->simd->slab->dot(count, job->g + at, job->g + at);
    }
}

void slab_check(const struct kern_team *team, size_t count, const float *g, const struct slab_range *ranges,
                int range_count, double *sum_squares, int *bad)
{
    struct optimizer_job job = {.team = team, .count = count, .g = g};
    parallel_run(team->threads, check_parts, &job);
    *sum_squares = 0;
    for (int part = 0; part < PARTS; part++)
        *sum_squares += job.sums[part];
    *bad = -1;
    for (int i = 0; i < range_count && *bad < 0 && !isfinite(*sum_squares); i++)
        if (!isfinite(team->simd->slab->dot(ranges[i].count, g + ranges[i].first, g + ranges[i].first)))
            *bad = i;
}
