/* SPDX-License-Identifier: MIT
 *
 * kernels_slab: operations on maps, vectors and slabs, number by number. What a reader would get wrong: threads
 * divide a slab at whole cache lines, so that no two write to the same line. */
#include "backend/cpu/kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "backend/cpu/kernels/simd_table.h"

enum { LINE = 64 }; /* numbers: a cache line at least, in f32 and bf16 */

struct slab_job {
    const struct kern_team *team;
    size_t count;
    int bf16, relu;
    const void *a, *b;
    void *out;
    double m;
};

/* The stretch of a thread. */
static size_t stretch(const struct slab_job *job, int thread, int threads, size_t *begin)
{
    size_t end;
    kern_share((job->count + LINE - 1) / LINE, thread, threads, begin, &end);
    *begin *= LINE;
    end = end * LINE < job->count ? end * LINE : job->count;
    return end > *begin ? end - *begin : 0;
}

static void add_part(void *arg, int thread, int threads)
{
    const struct slab_job *job = arg;
    size_t begin, count = stretch(job, thread, threads, &begin), at = begin * (job->bf16 ? 2 : 4);
    job->team->simd->slab->add(count, job->bf16, (const char *)job->a + at, (const char *)job->b + at, job->relu,
                               (char *)job->out + at);
}

void kern_add(const struct kern_team *team, size_t count, int bf16, const void *a, const void *b, int relu, void *out)
{
    struct slab_job job = {.team = team, .count = count, .bf16 = bf16, .relu = relu, .a = a, .b = b, .out = out};
    parallel_run(team->threads, add_part, &job);
}

void kern_add_floats(const struct kern_team *team, size_t count, const float *from, float *to)
{
    kern_add(team, count, 0, to, from, 0, to);
}

static void relu_back_part(void *arg, int thread, int threads)
{
    const struct slab_job *job = arg;
    size_t begin, count = stretch(job, thread, threads, &begin), at = begin * (job->bf16 ? 2 : 4);
    job->team->simd->slab->relu_back(count, job->bf16, (const char *)job->a + at, (const char *)job->b + at,
                                     (char *)job->out + at);
}

void kern_relu_back(const struct kern_team *team, size_t count, int bf16, const void *dy, const void *y, void *out)
{
    struct slab_job job = {.team = team, .count = count, .bf16 = bf16, .a = dy, .b = y, .out = out};
    parallel_run(team->threads, relu_back_part, &job);
}

static void ema_part(void *arg, int thread, int threads)
{
    const struct slab_job *job = arg;
    size_t begin, count = stretch(job, thread, threads, &begin);
    job->team->simd->slab->ema(count, job->m, (const float *)job->a + begin, (const float *)job->b + begin,
                               (float *)job->out + begin);
}

void kern_ema(const struct kern_team *team, size_t count, double m, const float *k, const float *q, float *out)
{
    struct slab_job job = {.team = team, .count = count, .a = k, .b = q, .out = out, .m = m};
    parallel_run(team->threads, ema_part, &job);
}

static void zero_part(void *arg, int thread, int threads)
{
    const struct slab_job *job = arg;
    size_t begin, count = stretch(job, thread, threads, &begin);
    memset((char *)job->out + begin, 0, count);
}

void kern_zero(const struct kern_team *team, void *at, size_t bytes)
{
    struct slab_job job = {.team = team, .count = bytes, .out = at};
    parallel_run(team->threads, zero_part, &job);
}

/* ---- vectors: [n][c] ---- */

struct vector_job {
    const struct kern_team *team;
    int n, c, flag; /* flag: relu, or accumulate */
    const float *a, *b;
    float *out;
};

static void bias_rows(void *arg, int thread, int threads)
{
    const struct vector_job *job = arg;
    size_t c = (size_t)job->c, begin, end;
    kern_share((size_t)job->n, thread, threads, &begin, &end);
    for (size_t row = begin; row < end; row++)
        job->team->simd->slab->bias(c, job->a, job->flag, job->out + row * c);
}

void kern_bias(const struct kern_team *team, int n, int c, const float *bias, int relu, float *y)
{
    struct vector_job job = {.team = team, .n = n, .c = c, .flag = relu, .a = bias, .out = y};
    parallel_run(team->threads, bias_rows, &job);
}

static void bias_columns(void *arg, int thread, int threads)
{
    const struct vector_job *job = arg;
    size_t c = (size_t)job->c, begin, end;
    kern_share((c + LINE - 1) / LINE, thread, threads, &begin, &end);
    for (size_t column = begin * LINE; column < end * LINE && column < c; column += LINE) {
        float sum[LINE];
        size_t count = c - column < LINE ? c - column : LINE;
        job->team->simd->map->sum_rows(job->a + column, (size_t)job->n, c, count, 0, 1, sum);
        for (size_t i = 0; i < count; i++)
            job->out[column + i] = job->flag ? job->out[column + i] + sum[i] : sum[i];
    }
}

void kern_bias_back(const struct kern_team *team, int n, int c, const float *dy, float *d_bias, int accumulate)
{
    struct vector_job job = {.team = team, .n = n, .c = c, .flag = accumulate, .a = dy, .out = d_bias};
    parallel_run(team->threads, bias_columns, &job);
}

static const double least_norm = 1e-12;

static void norm_rows(void *arg, int thread, int threads)
{
    const struct vector_job *job = arg;
    const struct slab_loops *loops = job->team->simd->slab;
    size_t c = (size_t)job->c, begin, end;
    kern_share((size_t)job->n, thread, threads, &begin, &end);
    for (size_t row = begin; row < end; row++) {
        const float *x = job->a + row * c;
        double norm = sqrt(loops->dot(c, x, x));
        loops->scale(c, x, (float)(1 / (norm > least_norm ? norm : least_norm)), job->out + row * c);
    }
}

void kern_l2norm(const struct kern_team *team, int n, int c, const float *x, float *y)
{
    struct vector_job job = {.team = team, .n = n, .c = c, .a = x, .out = y};
    parallel_run(team->threads, norm_rows, &job);
}

/* dx = (dy - x (x . dy) / |x|^2) / |x|; below the least norm y is linear in x. */
static void norm_back_rows(void *arg, int thread, int threads)
{
    const struct vector_job *job = arg;
    const struct slab_loops *loops = job->team->simd->slab;
    size_t c = (size_t)job->c, begin, end;
    kern_share((size_t)job->n, thread, threads, &begin, &end);
    for (size_t row = begin; row < end; row++) {
        const float *x = job->a + row * c, *dy = job->b + row * c;
        double squares = loops->dot(c, x, x), norm = sqrt(squares);
        if (norm > least_norm)
            loops->project(c, dy, x, (float)(loops->dot(c, x, dy) / squares), (float)(1 / norm), job->out + row * c);
        else
            loops->scale(c, dy, (float)(1 / least_norm), job->out + row * c);
    }
}

void kern_l2norm_back(const struct kern_team *team, int n, int c, const float *x, const float *dy, float *dx)
{
    struct vector_job job = {.team = team, .n = n, .c = c, .a = x, .b = dy, .out = dx};
    parallel_run(team->threads, norm_back_rows, &job);
}
