/* SPDX-License-Identifier: MIT
 *
 * kernels_map: pictures to floats, pooling and global averages over whole maps. What a reader would get wrong: the
 * unit of work of pooling, in both directions, is a row of one channel block, because rows do not depend on each
 * other. */
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd_table.h"

struct map_job {
    const struct kern_team *team;
    const struct kern_map *map;
    const void *from;
    void *to;
    uint8_t *index;
    /* input */
    int plain;
    const int32_t *image;
    float scale[3], shift[3];
    /* pooling */
    struct pool_row pool;
    int back;
};

static size_t number_bytes(const struct kern_map *map)
{
    return map->bf16 ? sizeof(uint16_t) : sizeof(float);
}

/* ---- pictures ---- */

/* Converts the rows of this thread's share, pixel by pixel or into three planes. */
static void input_rows(void *arg, int thread, int threads)
{
    const struct map_job *job = arg;
    const struct map_loops *loops = job->team->simd->map;
    size_t h = (size_t)job->map->h, w = (size_t)job->map->w, begin, end;
    kern_share((size_t)job->map->n * h, thread, threads, &begin, &end);
    for (size_t row = begin; row < end; row++) {
        size_t sample = row / h, y = row % h;
        size_t image = job->image == NULL ? sample : (size_t)job->image[sample];
        const uint8_t *from = (const uint8_t *)job->from + (image * h + y) * w * 3;
        char *to = job->to;
        if (!job->plain) {
            loops->bytes(from, w * 3, job->map->bf16, job->scale, job->shift,
                         to + row * w * 3 * number_bytes(job->map));
            continue;
        }
        for (size_t c = 0; c < 3; c++)
            loops->byte_plane(from + c, w, job->map->bf16, job->scale[c], job->shift[c],
                              to + ((sample * 3 + c) * h + y) * w * number_bytes(job->map));
    }
}

void kern_input(const struct kern_team *team, const struct kern_map *map, int plain, const uint8_t *images,
                const int32_t *index, const double mean[3], const double std[3], void *out)
{
    struct map_job job = {.team = team, .map = map, .from = images, .to = out, .plain = plain, .image = index};
    for (int c = 0; c < 3; c++) {
        job.scale[c] = (float)(1 / (255 * std[c]));
        job.shift[c] = (float)(-mean[c] / std[c]);
    }
    parallel_run(team->threads, input_rows, &job);
}

/* ---- max pooling ---- */

/* Runs forward over rows of the output, backward over rows of the input: each number is written by one thread. */
static void pool_rows(void *arg, int thread, int threads)
{
    const struct map_job *job = arg;
    const struct map_loops *loops = job->team->simd->map;
    struct pool_row row = job->pool;
    size_t planes = (size_t)job->map->n * (size_t)(job->map->c / job->map->block);
    size_t inside = (size_t)row.h * (size_t)row.w * (size_t)row.block;
    size_t outside = (size_t)row.out_h * (size_t)row.out_w * (size_t)row.block;
    size_t rows = (size_t)(job->back ? row.h : row.out_h), begin, end;
    kern_share(planes * rows, thread, threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t plane = i / rows, size = number_bytes(job->map);
        row.row = (int)(i % rows);
        row.from = (const char *)job->from + plane * (job->back ? outside : inside) * size;
        row.to = (char *)job->to + plane * (job->back ? inside : outside) * size;
        row.index = job->index == NULL ? NULL : job->index + plane * outside;
        if (job->back)
            loops->maxpool_back(&row);
        else
            loops->maxpool(&row);
    }
}

static struct map_job pool_job(const struct kern_team *team, const struct kern_map *in, const struct kern_pool *pool)
{
    return (struct map_job){.team = team,
                            .map = in,
                            .pool = {.block = in->block,
                                     .h = in->h,
                                     .w = in->w,
                                     .out_h = pool->out_h,
                                     .out_w = pool->out_w,
                                     .kernel = pool->kernel,
                                     .stride = pool->stride,
                                     .pad = pool->pad,
                                     .bf16 = in->bf16}};
}

void kern_maxpool(const struct kern_team *team, const struct kern_map *in, const struct kern_pool *pool, const void *x,
                  void *y, uint8_t *index)
{
    struct map_job job = pool_job(team, in, pool);
    job.from = x;
    job.to = y;
    job.index = index;
    parallel_run(team->threads, pool_rows, &job);
}

void kern_maxpool_back(const struct kern_team *team, const struct kern_map *in, const struct kern_pool *pool,
                       const void *dy, const uint8_t *index, void *dx)
{
    struct map_job job = pool_job(team, in, pool);
    job.from = dy;
    job.to = dx;
    job.index = (uint8_t *)index;
    job.back = 1;
    parallel_run(team->threads, pool_rows, &job);
}

/* ---- global averages ---- */

static void average_planes(void *arg, int thread, int threads)
{
    const struct map_job *job = arg;
    const struct kern_map *map = job->map;
    const struct map_loops *loops = job->team->simd->map;
    size_t pixels = (size_t)map->h * (size_t)map->w, block = (size_t)map->block, begin, end;
    kern_share((size_t)map->n * (size_t)(map->c / map->block), thread, threads, &begin, &end);
    for (size_t plane = begin; plane < end; plane++) {
        size_t at = plane * pixels * block * number_bytes(map);
        if (job->back)
            loops->spread((const float *)job->from + plane * block, pixels, block, map->bf16, 1 / (float)pixels,
                          (char *)job->to + at);
        else
            loops->sum_rows((const char *)job->from + at, pixels, block, block, map->bf16, 1 / (float)pixels,
                            (float *)job->to + plane * block);
    }
}

void kern_gap(const struct kern_team *team, const struct kern_map *in, const void *x, float *y)
{
    struct map_job job = {.team = team, .map = in, .from = x, .to = y};
    parallel_run(team->threads, average_planes, &job);
}

void kern_gap_back(const struct kern_team *team, const struct kern_map *in, const float *dy, void *dx)
{
    struct map_job job = {.team = team, .map = in, .from = dy, .to = dx, .back = 1};
    parallel_run(team->threads, average_planes, &job);
}
