/* SPDX-License-Identifier: MIT
 *
 * kernels_conv: convolutions forward, and backward to the data, which is the same work: every pixel of the map that
 * is written is a sum over the taps of the kernel that have a partner pixel in the other map. What a reader would
 * get wrong: samples, not neighbouring pixels, go through the loops together. They agree on which taps are inside
 * the picture, so that padding costs nothing; backward with a stride they also agree on which taps have a partner at
 * all. */
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd_table.h"

enum {
    MOST_TAPS = 49,
    NEAR_BYTES = 512 << 10 /* of weights that the second cache holds beside the maps */
};

struct side {
    int c, h, w;
    size_t pixel, block, sample; /* bytes from one to the next */
};

struct conv_work {
    const struct kern_team *team;
    const struct kern_conv *conv;
    int back;
    struct side from, to;
    const char *x;
    const uint32_t *weights;
    char *y;
    int groups; /* of samples */
};

int kern_conv_fits(const struct kern_team *team, const struct kern_conv *conv)
{
    const struct conv_loops *loops = team->simd->conv;
    return loops->of[!!conv->bf16].place != NULL && conv->ci % loops->lanes == 0 && conv->co % loops->lanes == 0 &&
           conv->kernel * conv->kernel <= MOST_TAPS;
}

static struct side side_of(const struct kern_conv *conv, int lanes, int c, int h, int w)
{
    size_t number = conv->bf16 ? 2 : 4, pixels = (size_t)h * (size_t)w, block = (size_t)lanes * number;
    struct side side = {.c = c, .h = h, .w = w, .sample = pixels * (size_t)c * number};
    side.pixel = conv->bf16 ? (size_t)c * number : block;
    side.block = conv->bf16 ? block : pixels * block;
    return side;
}

/* Where a place meets the other map under a tap; 0: nowhere. */
static int meets(const struct conv_work *work, int place, int tap, int size, int *at)
{
    const struct kern_conv *conv = work->conv;
    *at = work->back ? place + conv->pad - tap : place * conv->stride + tap - conv->pad;
    if (work->back && *at >= 0) {
        if (*at % conv->stride != 0)
            return 0;
        *at /= conv->stride;
    }
    return *at >= 0 && *at < size;
}

static size_t list_taps(const struct conv_work *work, int y, int x, size_t words, struct conv_tap *taps)
{
    size_t count = 0;
    int kernel = work->conv->kernel, row, column;
    for (int ky = 0; ky < kernel; ky++)
        for (int kx = 0; kx < kernel && meets(work, y, ky, work->from.h, &row); kx++)
            if (meets(work, x, kx, work->from.w, &column)) {
                size_t pixel = (size_t)row * (size_t)work->from.w + (size_t)column;
                taps[count++] = (struct conv_tap){.x = pixel * work->from.pixel / sizeof(uint32_t),
                                                  .weights = (size_t)(ky * kernel + kx) * words};
            }
    return count;
}

/* Places [begin, end) of all groups of samples, blocks [first, first + count) of outputs. */
static void do_places(const struct conv_work *work, size_t begin, size_t end, size_t first, size_t count)
{
    const struct conv_loops *loops = work->team->simd->conv;
    const struct kern_conv *conv = work->conv;
    size_t lanes = (size_t)loops->lanes, rows = (size_t)loops->rows, area = (size_t)(conv->kernel * conv->kernel);
    size_t words = lanes * lanes / (conv->bf16 ? 2 : 1), map = (size_t)work->to.h * (size_t)work->to.w;
    struct conv_tap taps[MOST_TAPS];
    struct conv_place place = {.taps = taps,
                               .blocks = (size_t)work->from.c / lanes,
                               .sample = work->from.sample / sizeof(uint32_t),
                               .block = work->from.block / sizeof(uint32_t),
                               .weights_block = area * words,
                               .outputs = count,
                               .y_sample = work->to.sample,
                               .y_block = work->to.block};
    place.weights_output = place.blocks * place.weights_block;
    if (work->back && !conv->bf16) { /* blocks of co are the outer index */
        place.weights_output = place.weights_block;
        place.weights_block *= (size_t)work->to.c / lanes;
    }
    place.weights = work->weights + first * place.weights_output;
    for (size_t i = begin; i < end; i++) {
        size_t sample = i / map * rows, left = (size_t)conv->n - sample, pixel = i % map;
        place.samples = left < rows ? left : rows;
        place.x = (const uint32_t *)(const void *)(work->x + sample * work->from.sample);
        place.y = work->y + sample * work->to.sample + pixel * work->to.pixel + first * work->to.block;
        place.tap_count =
            list_taps(work, (int)(pixel / (size_t)work->to.w), (int)(pixel % (size_t)work->to.w), words, taps);
        loops->of[!!conv->bf16].place(&place);
    }
}

/* Weights that the second cache holds stay there, and a place is finished at once; of larger ones a slice is taken
 * through all places before the next. */
static void do_part(void *arg, int thread, int threads)
{
    const struct conv_work *work = arg;
    const struct conv_loops *loops = work->team->simd->conv;
    const struct kern_conv *conv = work->conv;
    size_t begin, end, blocks = (size_t)(work->to.c / loops->lanes), slice = (size_t)loops->vectors;
    size_t bytes = (size_t)conv->ci * (size_t)conv->co * (size_t)(conv->kernel * conv->kernel) * (conv->bf16 ? 2 : 4);
    kern_share((size_t)work->groups * (size_t)work->to.h * (size_t)work->to.w, thread, threads, &begin, &end);
    if (bytes <= NEAR_BYTES)
        slice = blocks;
    for (size_t first = 0; first < blocks; first += slice)
        do_places(work, begin, end, first, blocks - first < slice ? blocks - first : slice);
}

static void run(struct conv_work *work)
{
    int rows = work->team->simd->conv->rows;
    work->groups = (work->conv->n + rows - 1) / rows;
    parallel_run(work->team->threads, do_part, work);
}

void kern_conv_forward(const struct kern_team *team, const struct kern_conv *conv, const void *x, const void *weights,
                       void *y)
{
    int lanes = team->simd->conv->lanes;
    struct conv_work work = {.team = team,
                             .conv = conv,
                             .from = side_of(conv, lanes, conv->ci, conv->h, conv->w),
                             .to = side_of(conv, lanes, conv->co, conv->out_h, conv->out_w),
                             .x = x,
                             .weights = weights,
                             .y = y};
    run(&work);
}

void kern_conv_back_data(const struct kern_team *team, const struct kern_conv *conv, const void *dy,
                         const void *weights, void *dx)
{
    int lanes = team->simd->conv->lanes;
    struct conv_work work = {.team = team,
                             .conv = conv,
                             .back = 1,
                             .from = side_of(conv, lanes, conv->co, conv->out_h, conv->out_w),
                             .to = side_of(conv, lanes, conv->ci, conv->h, conv->w),
                             .x = dy,
                             .weights = weights,
                             .y = dx};
    run(&work);
}
