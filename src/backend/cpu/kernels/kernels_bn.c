/* SPDX-License-Identifier: MIT
 *
 * kernels_bn: batch norm over whole maps: it divides them into runs, merges sums, and turns sums into the
 * coefficients of the writing pass. Statistics are sums of x - pivot, where the pivot of a channel is the mean of a
 * few numbers of the map, so that a large mean causes no cancellation. Sums are f32 for at most FOLD numbers and
 * double beyond. What a reader would get wrong: the second pass goes over the runs backwards, because the caches
 * still hold the end of the map. */
#include <math.h>
#include <string.h>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd_table.h"

enum {
    WIDEST = 2048,         /* channels of a run whose parameters fit on a thread's stack; wider pixels are a run each */
    FOLD = 64,             /* numbers of a channel summed in f32 */
    PIVOTS = 8,            /* numbers of a channel averaged into its pivot */
    MOST_UNITS = 64,       /* the largest unit of a level */
    STRETCH = 64 << 10,    /* numbers read forwards at least, where a pass goes backwards */
    STREAM_BYTES = 8 << 20 /* of a map that goes past the caches */
};

/* How a map falls into runs of `run` contiguous numbers that start with channel `first_channel` each. */
struct bn_shape {
    size_t runs, run;
    int blocks, pixels, period, groups, c, block, runs_per_sample, samples_per_group;
};

static struct bn_shape shape_of(const struct kern_map *map, int unit)
{
    struct bn_shape s = {.groups = map->groups, .c = map->c, .block = map->block};
    s.blocks = map->c / map->block;
    s.pixels = map->h * map->w;
    s.samples_per_group = map->n / map->groups;
    int wide = map->block > WIDEST;
    s.run = (size_t)map->block * (size_t)(wide ? 1 : s.pixels);
    s.runs_per_sample = wide ? s.blocks * s.pixels : s.blocks;
    s.runs = (size_t)map->n * (size_t)s.runs_per_sample;
    /* The shortest multiple of both block and vector keeps every vector at the same places in each period. */
    int vector = unit / 4, period = map->block;
    while (period % vector != 0 && period <= WIDEST)
        period += map->block;
    if (period > WIDEST)
        period = map->block;
    s.period = period * ((unit + period - 1) / period);
    return s;
}

static int first_channel(const struct bn_shape *s, size_t run)
{
    size_t in_sample = run % (size_t)s->runs_per_sample;
    return s->block > WIDEST ? (int)(in_sample / (size_t)s->pixels) * s->block : (int)in_sample * s->block;
}

static int group_of(const struct bn_shape *s, size_t run)
{
    return (int)(run / (size_t)s->runs_per_sample / (size_t)s->samples_per_group);
}

static size_t mask_run(const struct bn_shape *s)
{
    return (s->run + 7) / 8;
}

size_t kern_mask_bytes(const struct kern_map *map)
{
    struct bn_shape s = shape_of(map, MOST_UNITS);
    return s.runs * mask_run(&s);
}

static const void *number(const void *map, size_t i, int bf16)
{
    return map == NULL ? NULL : (const char *)map + i * (bf16 ? sizeof(uint16_t) : sizeof(float));
}

/* to[i] = from[i % block], i < count; `from` may be `to`. */
static void repeat(const float *from, int block, int count, float *to)
{
    for (int i = from == to ? block : 0; i < count; i += block)
        memcpy(to + i, from, sizeof *to * (size_t)(count - i < block ? count - i : block));
}

/* ---- scratch ---- */

struct bn_scratch {
    float *channels[4]; /* [groups][c]: pivots, or mean, scale, slope, shift of the writing pass */
    double *partial;    /* of one thread: [groups][2][c] */
    float *periods[6];  /* of one thread: [period + unit] */
};

/* Fills *out for a thread and returns the bytes of all threads together. */
static size_t lay_out(const struct bn_shape *s, int unit, int thread, int threads, char *scratch,
                      struct bn_scratch *out)
{
    size_t channels = kern_pad64(sizeof(float) * (size_t)s->groups * (size_t)s->c);
    size_t partial = kern_pad64(sizeof(double) * 2 * (size_t)s->groups * (size_t)s->c);
    size_t period = kern_pad64(sizeof(float) * (size_t)(s->period + unit));
    size_t own = partial + 6 * period;
    if (out != NULL) {
        for (int i = 0; i < 4; i++)
            out->channels[i] = (float *)(void *)(scratch + (size_t)i * channels);
        char *at = scratch + 4 * channels + (size_t)thread * own;
        out->partial = (double *)(void *)at;
        for (int i = 0; i < 6; i++)
            out->periods[i] = (float *)(void *)(at + partial + (size_t)i * period);
    }
    return 4 * channels + (size_t)threads * own;
}

size_t kern_bn_scratch(const struct kern_team *team, const struct kern_map *map)
{
    struct bn_shape s = shape_of(map, team->simd->unit);
    return lay_out(&s, team->simd->unit, 0, team->threads, NULL, NULL);
}

/* ---- both sums ---- */

struct bn_job {
    const struct kern_team *team;
    const struct kern_map *map;
    struct bn_shape shape;
    const void *x, *dy, *dy2;
    const float *saved;
    void *y, *dz;
    uint8_t *mask;
    char *scratch;
    int backward;
};

/* into[i % block] += from[i], and from is zero again. */
static void fold(float *from, int count, int block, double *into)
{
    for (int i = 0; i < count; i += block) {
        int n = count - i < block ? count - i : block;
        for (int k = 0; k < n; k++)
            into[k] += (double)from[i + k];
    }
    memset(from, 0, sizeof *from * (size_t)count);
}

/* Sums of one run about `centre` ([block]), in pieces short enough for f32. */
static void sum_run(const struct bn_job *job, const struct bn_scratch *scratch, size_t run, const float *centre)
{
    const struct bn_shape *s = &job->shape;
    const struct simd_table *simd = job->team->simd;
    int bf16 = job->map->bf16, padded = s->period + simd->unit;
    repeat(centre, s->block, padded, scratch->periods[0]);
    double *partial = scratch->partial + 2 * (size_t)group_of(s, run) * (size_t)s->c + first_channel(s, run);
    size_t piece = FOLD * (size_t)s->period;
    for (size_t at = 0; at < s->run; at += piece) {
        size_t from = run * s->run + at;
        struct bn_run part = {
            .count = s->run - at < piece ? s->run - at : piece,
            .bf16 = bf16,
            .period = s->period,
            .x = number(job->x, from, bf16),
            .dy = number(job->dy, from, bf16),
            .dy2 = number(job->dy2, from, bf16),
            .dz = (void *)number(job->dz, from, bf16),
            .mask = job->mask == NULL ? NULL : job->mask + run * mask_run(s) + at / 8,
            .mean = scratch->periods[0],
            .sum = scratch->periods[1],
            .product = scratch->periods[2],
        };
        if (job->backward)
            simd->bn->back_sums(&part);
        else
            simd->bn->stats(&part);
        fold(part.sum, padded, s->block, partial);
        fold(part.product, padded, s->block, partial + s->c);
    }
}

/* Pass 1, one thread: its runs' sums in its `partial`, about the pivots or, backward, the saved means. */
static void sum_runs(void *arg, int thread, int threads)
{
    const struct bn_job *job = arg;
    const struct bn_shape *s = &job->shape;
    struct bn_scratch scratch;
    lay_out(s, job->team->simd->unit, thread, threads, job->scratch, &scratch);
    memset(scratch.partial, 0, sizeof(double) * 2 * (size_t)s->groups * (size_t)s->c);
    for (int i = 1; i <= 2; i++)
        memset(scratch.periods[i], 0, sizeof(float) * (size_t)(s->period + job->team->simd->unit));
    size_t begin, end;
    kern_share(s->runs, thread, threads, &begin, &end);
    for (size_t run = begin; run < end; run++) {
        size_t group = (size_t)group_of(s, run), c = (size_t)s->c;
        const float *centres = job->backward ? job->saved + 2 * group * c : scratch.channels[0] + group * c;
        sum_run(job, &scratch, run, centres + first_channel(s, run));
    }
}

/* All threads' sums in the first one's `partial`, added in their order. */
static void merge(const struct bn_job *job)
{
    int unit = job->team->simd->unit, threads = job->team->threads;
    struct bn_scratch all, one;
    lay_out(&job->shape, unit, 0, threads, job->scratch, &all);
    for (int thread = 1; thread < threads; thread++) {
        lay_out(&job->shape, unit, thread, threads, job->scratch, &one);
        for (size_t i = 0; i < 2 * (size_t)job->shape.groups * (size_t)job->shape.c; i++)
            all.partial[i] += one.partial[i];
    }
}

/* ---- statistics ---- */

static float read_number(const void *map, size_t i, int bf16)
{
    if (!bf16)
        return ((const float *)map)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)map)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Numbers spread over samples and pixels: one alone could be an outlier, and a corner often is. */
static void choose_pivots(const struct kern_map *map, const struct bn_shape *s, const void *x, float *pivots)
{
    size_t plane = (size_t)s->pixels * (size_t)s->block;
    for (int group = 0; group < s->groups; group++) {
        for (int block = 0; block < s->blocks; block++) {
            size_t at[PIVOTS];
            for (int i = 0; i < PIVOTS; i++) {
                int sample = group * s->samples_per_group + i * s->samples_per_group / PIVOTS;
                size_t pixel = (size_t)(2 * i + 1) * (size_t)s->pixels / (2 * PIVOTS);
                at[i] = ((size_t)sample * (size_t)s->blocks + (size_t)block) * plane + pixel * (size_t)s->block;
            }
            float *pivot = pivots + (size_t)group * (size_t)s->c + (size_t)block * (size_t)s->block;
            for (int c = 0; c < s->block; c++) {
                double sum = 0;
                for (int i = 0; i < PIVOTS; i++)
                    sum += (double)read_number(x, at[i] + (size_t)c, map->bf16);
                pivot[c] = (float)(sum / PIVOTS);
            }
        }
    }
}

/* Statistics of each group and channel in one pass. The sums are of x - pivot; the mean is put back at the end.
 * Staged variances are unbiased, saved ones are not, as in PyTorch. */
void kern_bn_stats(const struct kern_team *team, const struct kern_map *map, const void *x, double eps, float *saved,
                   float *stage_mean, float *stage_var, void *scratch)
{
    struct bn_job job = {
        .team = team, .map = map, .shape = shape_of(map, team->simd->unit), .x = x, .scratch = scratch};
    struct bn_scratch place;
    lay_out(&job.shape, team->simd->unit, 0, team->threads, scratch, &place);
    choose_pivots(map, &job.shape, x, place.channels[0]);
    parallel_run(team->threads, sum_runs, &job);
    merge(&job);

    double count = (double)job.shape.samples_per_group * job.shape.pixels;
    for (int group = 0; group < map->groups; group++) {
        float *mean = saved + 2 * (size_t)group * (size_t)map->c, *invstd = mean + map->c;
        const float *pivot = place.channels[0] + (size_t)group * (size_t)map->c;
        const double *sum = place.partial + 2 * (size_t)group * (size_t)map->c, *product = sum + map->c;
        for (int c = 0; c < map->c; c++) {
            double off = sum[c] / count, squares = product[c] - off * sum[c]; /* about the mean */
            squares = squares < 0 ? 0 : squares;
            mean[c] = (float)((double)pivot[c] + off);
            invstd[c] = (float)(1 / sqrt(squares / count + eps));
            if (stage_mean != NULL)
                stage_mean[c] += mean[c];
            if (stage_var != NULL)
                stage_var[c] += (float)(squares / (count > 1 ? count - 1 : 1));
        }
    }
}

/* ---- the passes that write ---- */

/* Runs [begin, end) backwards, but by stretches that are long enough for the hardware to see where reading goes: the
 * `i`th of them. */
static size_t backwards(const struct bn_shape *s, size_t begin, size_t end, size_t i)
{
    size_t stretch = STRETCH / s->run + 1, last = end - i / stretch * stretch;
    size_t first = last - begin < stretch ? begin : last - stretch;
    return first + i % stretch;
}

/* A large map that is not read by the pass that writes it: an ordinary store would fetch each line first, and keep it
 * no longer than the map lasts. */
static int streams(const struct bn_job *job)
{
    size_t bytes = job->shape.runs * job->shape.run * (job->map->bf16 ? sizeof(uint16_t) : sizeof(float));
    return bytes >= STREAM_BYTES && job->y != job->x && job->y != job->dy && job->y != job->dy2;
}

struct apply_job {
    struct bn_job bn;
    const float *gamma, *beta;
    int relu;
};

/* One thread's runs, or of too wide pixels one stretch of channels after another. */
static void apply_runs(void *arg, int thread, int threads)
{
    const struct apply_job *job = arg;
    const struct bn_shape *s = &job->bn.shape;
    const struct simd_table *simd = job->bn.team->simd;
    float mean[WIDEST + MOST_UNITS], scale[WIDEST + MOST_UNITS], shift[WIDEST + MOST_UNITS];
    int bf16 = job->bn.map->bf16, width = s->block > WIDEST ? WIDEST : s->block;
    int period = s->block > WIDEST ? WIDEST : s->period, last_group = -1, last_channel = -1;
    size_t begin, end;
    kern_share(s->runs, thread, threads, &begin, &end);
    for (int column = 0; column < s->block; column += width) {
        int n = s->block - column < width ? s->block - column : width;
        for (size_t i = 0; i < end - begin; i++) {
            size_t run = backwards(s, begin, end, i);
            int group = group_of(s, run), first = first_channel(s, run) + column;
            if (group != last_group || first != last_channel) {
                const float *saved = job->bn.saved + 2 * (size_t)group * (size_t)s->c;
                for (int c = 0; c < n; c++) {
                    mean[c] = saved[first + c];
                    scale[c] = saved[s->c + first + c] * job->gamma[first + c];
                    shift[c] = job->beta != NULL ? job->beta[first + c] : 0;
                }
                repeat(mean, n, period + simd->unit, mean);
                repeat(scale, n, period + simd->unit, scale);
                repeat(shift, n, period + simd->unit, shift);
                last_group = group;
                last_channel = first;
            }
            size_t at = run * s->run + (size_t)column;
            struct bn_run one = {
                .count = s->block > WIDEST ? (size_t)n : s->run,
                .bf16 = bf16,
                .relu = job->relu,
                .stream = streams(&job->bn),
                .period = period,
                .x = number(job->bn.x, at, bf16),
                .dy = number(job->bn.dy, at, bf16),
                .y = (void *)number(job->bn.y, at, bf16),
                .mask = job->bn.mask == NULL ? NULL : job->bn.mask + run * mask_run(s) + (size_t)column / 8,
                .mean = mean,
                .scale = scale,
                .shift = shift,
            };
            simd->bn->apply(&one);
        }
    }
}

void kern_bn_apply(const struct kern_team *team, const struct kern_map *map, const struct kern_bn_forward *io)
{
    struct apply_job job = {.bn = {.team = team,
                                   .map = map,
                                   .shape = shape_of(map, team->simd->unit),
                                   .x = io->x,
                                   .dy = io->add,
                                   .saved = io->saved,
                                   .y = io->y,
                                   .mask = io->mask},
                            .gamma = io->gamma,
                            .beta = io->beta,
                            .relu = io->relu};
    parallel_run(team->threads, apply_runs, &job);
}

/* The writing pass of backward over the runs of one thread. The parameters of a channel block are repeated only when
 * the block or the group changes. */
static void back_runs(void *arg, int thread, int threads)
{
    const struct bn_job *job = arg;
    const struct bn_shape *s = &job->shape;
    const struct simd_table *simd = job->team->simd;
    struct bn_scratch scratch;
    lay_out(s, simd->unit, thread, threads, job->scratch, &scratch);
    int bf16 = job->map->bf16, last_group = -1, last_channel = -1;
    size_t begin, end;
    kern_share(s->runs, thread, threads, &begin, &end);
    for (size_t i = 0; i < end - begin; i++) {
        size_t run = backwards(s, begin, end, i);
        int group = group_of(s, run), first = first_channel(s, run);
        if (group != last_group || first != last_channel) {
            for (int k = 0; k < 4; k++)
                repeat(scratch.channels[k] + (size_t)group * (size_t)s->c + first, s->block, s->period + simd->unit,
                       scratch.periods[k]);
            last_group = group;
            last_channel = first;
        }
        size_t at = run * s->run;
        struct bn_run one = {
            .count = s->run,
            .bf16 = bf16,
            .stream = streams(job),
            .period = s->period,
            .x = number(job->x, at, bf16),
            .dy = number(job->dy, at, bf16),
            .dy2 = number(job->dy2, at, bf16),
            .y = (void *)number(job->y, at, bf16),
            .mask = job->mask == NULL ? NULL : job->mask + run * mask_run(s),
            .mean = scratch.periods[0],
            .scale = scratch.periods[1],
            .slope = scratch.periods[2],
            .shift = scratch.periods[3],
        };
        simd->bn->back_write(&one);
    }
}

/* Sums -> gradients of the parameters, and dx = d * scale + (x - mean) * slope + shift; with frozen statistics the last
 * two are 0. */
static void back_coefficients(const struct bn_job *job, const struct kern_bn_back *io)
{
    const struct bn_shape *s = &job->shape;
    struct bn_scratch scratch;
    lay_out(s, job->team->simd->unit, 0, job->team->threads, job->scratch, &scratch);
    double count = (double)s->samples_per_group * s->pixels;
    for (int c = 0; c < s->c; c++) {
        double sum = 0, product = 0;
        for (int group = 0; group < s->groups; group++) {
            const float *saved = job->saved + 2 * (size_t)group * (size_t)s->c;
            size_t at = (size_t)group * (size_t)s->c + (size_t)c;
            const double *sums = scratch.partial + 2 * (size_t)group * (size_t)s->c + c;
            double invstd = (double)saved[s->c + c], scale = (double)io->gamma[c] * invstd;
            sum += sums[0];
            product += sums[s->c] * invstd;
            scratch.channels[0][at] = saved[c];
            scratch.channels[1][at] = (float)scale;
            scratch.channels[2][at] = io->frozen ? 0 : (float)(-scale * invstd * invstd * sums[s->c] / count);
            scratch.channels[3][at] = io->frozen ? 0 : (float)(-scale * sums[0] / count);
        }
        io->d_gamma[c] = (float)((io->accumulate ? (double)io->d_gamma[c] : 0) + product);
        if (io->d_beta != NULL)
            io->d_beta[c] = (float)((io->accumulate ? (double)io->d_beta[c] : 0) + sum);
    }
}

/* Two passes: the sums that the gradients need, then their coefficients, then dx. If `dz` is wanted, the first pass
 * writes it, and the second reads it in place of dy, dy2 and mask. */
void kern_bn_backward(const struct kern_team *team, const struct kern_map *map, const struct kern_bn_back *io)
{
    struct bn_job job = {
        .team = team,
        .map = map,
        .shape = shape_of(map, team->simd->unit),
        .x = io->x,
        .dy = io->dy,
        .dy2 = io->dy2,
        .saved = io->saved,
        .dz = io->dz,
        .mask = (uint8_t *)io->mask,
        .scratch = io->scratch,
        .backward = 1,
    };
    parallel_run(team->threads, sum_runs, &job);
    merge(&job);
    back_coefficients(&job, io);
    job.y = io->dx;
    if (io->dz != NULL) { /* holds what the mask and the second gradient made of dy */
        job.dy = io->dz;
        job.dy2 = NULL;
        job.mask = NULL;
    }
    parallel_run(team->threads, back_runs, &job);
}
