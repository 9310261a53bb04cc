/* SPDX-License-Identifier: MIT
 *
 * kernels_conv: a convolution's weight gradient as products of matrices: for every tap of the kernel, the pixels of x
 * that the tap meets against dy, both packed in stretches of pixels that stay in the second cache. Threads divide the
 * channels of the wider side, or the pixels, with a copy of the gradient each that is added up at the end, whichever
 * costs less. What a reader would get wrong: pixels outside the picture and the odd one out of a last pair point at
 * zeros, which cost no test in the loops. */
#include <string.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd_table.h"

enum {
    BLOCK = 16,
    STRETCH = 256,             /* pixels of a stretch at most: the packed dy of a tile stays in the first cache */
    STRETCH_BYTES = 512 << 10, /* of the wider side, packed */
    STRETCH_LEAST = 64,
    REDUCED = 8 /* adding up a number costs as much as packing so many */
};

/* How the work is divided, the same for every thread. */
struct conv_split {
    int pixels, channels;                 /* parts; their product is at most the number of threads */
    int by_input;                         /* the channels are those of x */
    int stretch;                          /* pixels */
    size_t list_bytes, x_bytes, dy_bytes; /* of one thread's list of pixels and packed panels */
};

struct conv_job {
    const struct kern_team *team;
    const struct kern_conv *conv;
    struct conv_split split;
    const uint16_t *x, *dy, *zeros;
    int accumulate;
    float *dw, *copies; /* copies: [split.pixels - 1], of the other parts of the pixels */
    char *panels;       /* of the threads */
};

static size_t pad64(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static int64_t pixel_count(const struct kern_conv *conv)
{
    return (int64_t)conv->n * conv->out_h * conv->out_w;
}

static size_t weight_count(const struct kern_conv *conv)
{
    return (size_t)conv->ci * (size_t)conv->co * (size_t)conv->kernel * (size_t)conv->kernel;
}

/* Pairs from one panel to the next: one more than there are, or panels would share the sets of a cache. */
static size_t panel_of(size_t pairs)
{
    return (pairs + 1) * BLOCK;
}

int kern_conv_weights_fits(const struct kern_team *team, const struct kern_conv *conv)
{
    return team->simd->conv->pack != NULL && conv->ci % BLOCK == 0 && conv->co % BLOCK == 0 && pixel_count(conv) > 0;
}

/* Work of one thread beside the products, which are the same however they are divided. */
static double cost(const struct kern_conv *conv, int pixels, int channels, int by_input)
{
    double x = conv->ci * (double)(conv->kernel * conv->kernel), dy = conv->co;
    double packed = (double)pixel_count(conv) / pixels * (by_input ? x / channels + dy : x + dy / channels);
    return packed + (pixels > 1 ? (double)weight_count(conv) * (pixels + 1) / (pixels * channels) * REDUCED : 0);
}

static struct conv_split choose(const struct kern_team *team, const struct kern_conv *conv)
{
    struct conv_split split = {.by_input = conv->ci > conv->co};
    int wide = split.by_input ? conv->ci : conv->co, narrow = split.by_input ? conv->co : conv->ci;
    double least = 0;
    for (int channels = 1; channels <= team->threads && channels <= wide / BLOCK; channels++) {
        int pixels = team->threads / channels;
        if (pixels > pixel_count(conv))
            pixels = (int)pixel_count(conv);
        else if (pixels * channels != team->threads && channels != wide / BLOCK)
            continue;
        double its = cost(conv, pixels, channels, split.by_input);
        if (split.pixels == 0 || its < least) {
            least = its;
            split.pixels = pixels;
            split.channels = channels;
        }
    }
    int64_t most = (pixel_count(conv) + split.pixels - 1) / split.pixels + 1;
    split.stretch = STRETCH;
    while (split.stretch > STRETCH_LEAST && (size_t)split.stretch * (size_t)wide * 2 > STRETCH_BYTES)
        split.stretch /= 2;
    if (split.stretch > most)
        split.stretch = (int)((most + 1) / 2 * 2);
    size_t panel = panel_of((size_t)split.stretch / 2) * sizeof(uint32_t), own = (size_t)(wide / BLOCK);
    own = (own + (size_t)split.channels - 1) / (size_t)split.channels;
    split.x_bytes = panel * (split.by_input ? own : (size_t)(narrow / BLOCK));
    split.dy_bytes = panel * (split.by_input ? (size_t)(narrow / BLOCK) : own);
    split.list_bytes = pad64((size_t)split.stretch * sizeof(uint16_t *));
    return split;
}

static size_t thread_bytes(const struct conv_split *split)
{
    return split->list_bytes + split->x_bytes + split->dy_bytes;
}

static size_t zero_bytes(const struct kern_conv *conv)
{
    return pad64((size_t)(conv->ci > conv->co ? conv->ci : conv->co) * sizeof(uint16_t));
}

size_t kern_conv_weights_scratch(const struct kern_team *team, const struct kern_conv *conv)
{
    struct conv_split split = choose(team, conv);
    return zero_bytes(conv) + (size_t)(split.pixels * split.channels) * thread_bytes(&split) +
           (size_t)(split.pixels - 1) * weight_count(conv) * sizeof(float);
}

/* What one thread works on. */
struct conv_part {
    const struct conv_job *job;
    int64_t begin, end;        /* pixels of dy */
    size_t x_from, x_count;    /* channels */
    size_t dy_from, dy_count;  /* channels */
    const uint16_t **pixels;   /* [stretch] */
    uint32_t *x, *dy;          /* packed */
    float *out;                /* [co / 16][ci / 16][taps][16][16] */
    struct conv_fetch next[2]; /* x and dy of the next stretch */
    size_t fetches;            /* lines of them for each half of a tile */
};

/* The pixels of x that a tap of the kernel meets with pixels [at, at + count) of dy. */
static void list_tap(const struct conv_part *part, int64_t at, int count, int ky, int kx)
{
    const struct kern_conv *conv = part->job->conv;
    int ox = (int)(at % conv->out_w), oy = (int)(at / conv->out_w % conv->out_h);
    int64_t sample = at / conv->out_w / conv->out_h;
    const uint16_t *zeros = part->job->zeros, **to = part->pixels;
    for (int i = 0; i < count;) {
        int run = conv->out_w - ox < count - i ? conv->out_w - ox : count - i;
        int y = oy * conv->stride + ky - conv->pad, x = ox * conv->stride + kx - conv->pad;
        const uint16_t *row = part->job->x + part->x_from;
        if (y < 0 || y >= conv->h)
            x = conv->w; /* zeros all along */
        else
            row += ((sample * conv->h + y) * conv->w) * conv->ci;
        for (int k = 0; k < run; k++, x += conv->stride)
            *to++ = x < 0 || x >= conv->w ? zeros : row + (ptrdiff_t)x * conv->ci;
        i += run;
        ox = 0;
        if (++oy == conv->out_h) {
            oy = 0;
            sample++;
        }
    }
    if (count % 2 != 0)
        *to = zeros;
}

static void list_dy(const struct conv_part *part, int64_t at, int count)
{
    const struct kern_conv *conv = part->job->conv;
    for (int i = 0; i < count; i++)
        part->pixels[i] = part->job->dy + part->dy_from + (at + i) * conv->co;
    if (count % 2 != 0)
        part->pixels[count] = part->job->zeros;
}

static struct conv_fetch fetch_of(const uint16_t *map, int64_t pixel, int64_t count, int channels, size_t from,
                                  size_t width)
{
    return (struct conv_fetch){.row = (const char *)(map + pixel * channels + from),
                               .width = width * sizeof(uint16_t),
                               .stride = (size_t)channels * sizeof(uint16_t),
                               .lines = (size_t)count * ((width * sizeof(uint16_t) + 63) / 64)};
}

/* What the next stretch will read, spread over the tiles of this one. */
static void plan_fetch(struct conv_part *part, int64_t at, int64_t count)
{
    const struct kern_conv *conv = part->job->conv;
    int64_t in = (int64_t)conv->h * conv->w, out = (int64_t)conv->out_h * conv->out_w;
    part->next[0] = fetch_of(part->job->x, at * in / out, count * in / out, conv->ci, part->x_from, part->x_count);
    part->next[1] = fetch_of(part->job->dy, at, count, conv->co, part->dy_from, part->dy_count);
    size_t tiles = part->x_count / BLOCK * ((part->dy_count / BLOCK + 1) / 2);
    size_t halves = 2 * tiles * (size_t)(conv->kernel * conv->kernel);
    part->fetches = (part->next[0].lines + part->next[1].lines) / halves + 1;
}

/* All tiles of one tap and one stretch. */
static void multiply_tap(struct conv_part *part, size_t pairs, int tap, int add)
{
    const struct kern_conv *conv = part->job->conv;
    size_t taps = (size_t)(conv->kernel * conv->kernel), inputs = (size_t)conv->ci / BLOCK;
    size_t x_blocks = part->x_count / BLOCK, dy_blocks = part->dy_count / BLOCK;
    struct conv_tile tile = {.pairs = pairs,
                             .panel = panel_of(pairs),
                             .add = add,
                             .out_step = inputs * taps * BLOCK * BLOCK,
                             .fetches = part->fetches};
    for (size_t o = 0; o < dy_blocks; o += 2) {
        tile.vectors = dy_blocks - o < 2 ? 1 : 2;
        tile.dy = part->dy + o * tile.panel;
        for (size_t i = 0; i < x_blocks; i++) {
            size_t block = (part->dy_from / BLOCK + o) * inputs + part->x_from / BLOCK + i;
            tile.x = part->x + i * tile.panel;
            tile.out = part->out + (block * taps + (size_t)tap) * BLOCK * BLOCK;
            tile.fetch = part->next[0].lines > 0 ? &part->next[0] : &part->next[1];
            part->job->team->simd->conv->multiply(&tile);
        }
    }
}

static void run_part(struct conv_part *part, int add)
{
    const struct conv_job *job = part->job;
    const struct kern_conv *conv = job->conv;
    const struct conv_loops *loops = job->team->simd->conv;
    int64_t length = part->end - part->begin, stretches = (length + job->split.stretch - 1) / job->split.stretch;
    for (int64_t s = 0; s < stretches; s++) {
        int64_t at = part->begin + length * s / stretches, end = part->begin + length * (s + 1) / stretches;
        int64_t after = s + 2 <= stretches ? part->begin + length * (s + 2) / stretches : end;
        int count = (int)(end - at);
        size_t pairs = (size_t)(count + 1) / 2, panel = panel_of(pairs);
        plan_fetch(part, end, after - end);
        list_dy(part, at, count);
        loops->pack(part->pixels, pairs, part->dy_count, panel, part->dy);
        for (int tap = 0; tap < conv->kernel * conv->kernel; tap++) {
            list_tap(part, at, count, tap / conv->kernel, tap % conv->kernel);
            loops->pack(part->pixels, pairs, part->x_count, panel, part->x);
            multiply_tap(part, pairs, tap, add || s > 0);
        }
    }
}

static void multiply_part(void *arg, int thread, int threads)
{
    const struct conv_job *job = arg;
    const struct kern_conv *conv = job->conv;
    const struct conv_split *split = &job->split;
    (void)threads;
    if (thread >= split->pixels * split->channels)
        return;
    int copy = thread / split->channels;
    struct conv_part part = {.job = job, .x_count = (size_t)conv->ci, .dy_count = (size_t)conv->co};
    size_t begin, end;
    kern_share((size_t)pixel_count(conv), copy, split->pixels, &begin, &end);
    part.begin = (int64_t)begin;
    part.end = (int64_t)end;
    kern_share((split->by_input ? part.x_count : part.dy_count) / BLOCK, thread % split->channels, split->channels,
               &begin, &end);
    *(split->by_input ? &part.x_from : &part.dy_from) = begin * BLOCK;
    *(split->by_input ? &part.x_count : &part.dy_count) = (end - begin) * BLOCK;
    char *at = job->panels + (size_t)thread * thread_bytes(split);
    part.pixels = (const uint16_t **)(void *)at;
    part.x = (uint32_t *)(void *)(at + split->list_bytes);
    part.dy = (uint32_t *)(void *)(at + split->list_bytes + split->x_bytes);
    part.out = copy == 0 ? job->dw : job->copies + (size_t)(copy - 1) * weight_count(conv);
    run_part(&part, copy == 0 && job->accumulate);
}

void kern_conv_weights(const struct kern_team *team, const struct kern_conv *conv, const uint16_t *x,
                       const uint16_t *dy, int accumulate, float *dw, void *scratch)
{
    struct conv_job job = {.team = team,
                           .conv = conv,
                           .split = choose(team, conv),
                           .x = x,
                           .dy = dy,
                           .zeros = scratch,
                           .accumulate = accumulate,
                           .dw = dw,
                           .panels = (char *)scratch + zero_bytes(conv)};
    int parts = job.split.pixels * job.split.channels;
    job.copies = (float *)(void *)(job.panels + (size_t)parts * thread_bytes(&job.split));
    memset(scratch, 0, zero_bytes(conv));
    parallel_run(team->threads, multiply_part, &job);
    for (int copy = 1; copy < job.split.pixels; copy++)
        kern_add_floats(team, weight_count(conv), job.copies + (size_t)(copy - 1) * weight_count(conv), dw);
}
