/* SPDX-License-Identifier: MIT
 *
 * kernels_winograd: 3 x 3 convolutions of inference as sums and matrix products of a fraction of the multiplications
 * (winograd_simd.c). Tiles are taken in groups whose factors the second cache holds; of each group first the patches,
 * then for each panel of outputs the products of all positions and from these the outputs. What a reader would get
 * wrong: threads divide the tiles where weights are small, and the panels of outputs where they are large, so that each
 * thread reads only its part of them; the bits are the same. */
#include <string.h>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd_table.h"

enum {
    AREA = 9,
    MOST_SIDE = 6,
    MOST_POSITIONS = MOST_SIDE * MOST_SIDE,
    MOST_LANES = 16,
    STRETCH = 128,           /* channels whose weights the first cache holds */
    GROUP_BYTES = 768 << 10, /* of a group's factors */
    WEIGHTS_BYTES = 1 << 20  /* from here on panels are divided among threads */
};

struct winograd_work {
    const struct kern_team *team;
    const struct kern_winograd *conv;
    const struct kern_winograd_io *io;
    const struct winograd_loops *loops;
    size_t lanes, panel, positions; /* panel: channels */
    size_t blocks, panels;          /* of ci, of co */
    size_t across, tiles, all;      /* tiles in a row, of a sample, of the launch */
    size_t group;                   /* tiles of one */
    size_t factor_step, factors;    /* floats: from one position to the next, of all */
    size_t product_step, products;
    int divide_panels;
    size_t first, count; /* the group that panels are divided of */
};

/* Tiles that stand in one block of rows: as many as there are registers for, evenly. */
static size_t row_blocks(const struct winograd_work *work, size_t count)
{
    return (count + (size_t)work->loops->rows - 1) / (size_t)work->loops->rows;
}

static const struct winograd_loops *loops_of(const struct kern_team *team, const struct kern_winograd *conv)
{
    return &team->simd->winograd[conv->tile == 4];
}

/* Divides the work. Threads share the tiles; if the weights are too large for their caches, they share the panels
 * instead. A group is as many tiles as keep their factors in cache. */
static struct winograd_work work_of(const struct kern_team *team, const struct kern_winograd *conv)
{
    const struct winograd_loops *loops = loops_of(team, conv);
    size_t side = (size_t)conv->tile + 2, tile = (size_t)conv->tile, rows = (size_t)loops->rows;
    struct winograd_work work = {.team = team,
                                 .conv = conv,
                                 .loops = loops,
                                 .lanes = (size_t)loops->lanes,
                                 .panel = (size_t)(loops->lanes * loops->vectors),
                                 .positions = side * side};
    size_t channels = (size_t)conv->ci;
    work.blocks = channels / work.lanes;
    work.panels = (size_t)conv->co / work.panel;
    work.across = ((size_t)conv->w + tile - 1) / tile;
    work.tiles = work.across * (((size_t)conv->h + tile - 1) / tile);
    work.all = work.tiles * (size_t)conv->n;
    work.divide_panels = team->threads > 1 && kern_winograd_weights_bytes(conv) >= WEIGHTS_BYTES;
    size_t most = GROUP_BYTES / (work.positions * channels * sizeof(float)) / rows * rows;
    most = most < rows ? rows : most;
    size_t share = work.divide_panels ? work.all : (work.all + (size_t)team->threads - 1) / (size_t)team->threads;
    size_t groups = (share + most - 1) / most;
    work.group = (share + groups - 1) / groups;
    size_t held = row_blocks(&work, work.group) * rows;
    /* One line more, or all positions would fall into the same sets of the first cache. */
    work.factor_step = held * channels + work.lanes;
    work.factors = work.factor_step * work.positions;
    work.product_step = held * work.panel + work.lanes;
    work.products = work.product_step * work.positions;
    return work;
}

int kern_winograd_fits(const struct kern_team *team, const struct kern_winograd *conv)
{
    const struct winograd_loops *loops = loops_of(team, conv);
    return loops->input != NULL && conv->ci % loops->lanes == 0 && conv->co % (loops->lanes * loops->vectors) == 0;
}

size_t kern_winograd_scratch(const struct kern_team *team, const struct kern_winograd *conv)
{
    struct winograd_work work = work_of(team, conv);
    size_t threads = (size_t)team->threads, factors = work.divide_panels ? 1 : threads;
    return (kern_pad64(work.factors * sizeof(float))) * factors + kern_pad64(work.products * sizeof(float)) * threads;
}

size_t kern_winograd_weights_bytes(const struct kern_winograd *conv)
{
    size_t side = (size_t)conv->tile + 2;
    return (size_t)conv->ci * (size_t)conv->co * side * side * sizeof(float);
}

/* ---- weights: [panel][position][ci][channels of a panel] ---- */

/* Rows of G: what a line of three weights becomes. */
static const double to_2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
static const double to_4[6][3] = {{1.0 / 4, 0, 0},
                                  {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                  {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                  {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                  {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                  {0, 0, 1}};

struct weights_work {
    struct winograd_work work;
    const float *from, *scale;
    float *to;
};

/* One input channel, a vector of outputs: nine vectors, `step` floats apart. */
static void turn_kernels(const struct winograd_work *work, const float *from, size_t step, const float *scale,
                         float *to, size_t to_step)
{
    const double(*g)[3] = work->conv->tile == 4 ? to_4 : to_2;
    int side = work->conv->tile + 2;
    double half[MOST_SIDE][3][MOST_LANES];
    for (int i = 0; i < side; i++)
        for (int x = 0; x < 3; x++)
            for (size_t o = 0; o < work->lanes; o++)
                half[i][x][o] = g[i][0] * (double)from[(size_t)x * step + o] +
                                g[i][1] * (double)from[(size_t)(3 + x) * step + o] +
                                g[i][2] * (double)from[(size_t)(6 + x) * step + o];
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++)
            for (size_t o = 0; o < work->lanes; o++)
                to[(size_t)(i * side + j) * to_step + o] =
                    (float)((g[j][0] * half[i][0][o] + g[j][1] * half[i][1][o] + g[j][2] * half[i][2][o]) *
                            (scale == NULL ? 1.0 : (double)scale[o]));
}

static void turn_part(void *arg, int thread, int threads)
{
    const struct weights_work *turn = arg;
    const struct winograd_work *work = &turn->work;
    size_t lanes = work->lanes, ci = (size_t)work->conv->ci, begin, end;
    kern_share((size_t)work->conv->co / lanes, thread, threads, &begin, &end);
    for (size_t output = begin; output < end; output++)
        for (size_t c = 0; c < ci; c++) {
            const float *from = turn->from + (output * ci + c / lanes * lanes) * AREA * lanes + c % lanes * lanes;
            size_t first = output * lanes;
            float *to = turn->to + first / work->panel * work->positions * ci * work->panel + c * work->panel +
                        first % work->panel;
            turn_kernels(work, from, lanes * lanes, turn->scale == NULL ? NULL : turn->scale + first, to,
                         ci * work->panel);
        }
}

void kern_winograd_weights(const struct kern_team *team, const struct kern_winograd *conv, const float *from,
                           const float *scale, float *to)
{
    struct weights_work turn = {.work = work_of(team, conv), .from = from, .scale = scale, .to = to};
    parallel_run(team->threads, turn_part, &turn);
}

/* ---- maps ---- */

static struct winograd_patch patch_of(const struct winograd_work *work, int channels, size_t tile)
{
    const struct kern_winograd *conv = work->conv;
    size_t lanes = work->lanes, map = (size_t)conv->h * (size_t)conv->w;
    return (struct winograd_patch){.pixel = conv->blocked ? lanes : (size_t)channels,
                                   .block = conv->blocked ? map * lanes : lanes,
                                   .h = conv->h,
                                   .w = conv->w,
                                   .row = (int)(tile / work->across) * conv->tile,
                                   .column = (int)(tile % work->across) * conv->tile};
}

/* Block of rows `block` of `count` tiles from `first` on. */
static void do_patches(const struct winograd_work *work, size_t first, size_t count, size_t block, float *factors)
{
    const struct kern_winograd *conv = work->conv;
    size_t begin, end, rows = (size_t)work->loops->rows, blocks = row_blocks(work, count);
    size_t sample = (size_t)conv->ci * (size_t)conv->h * (size_t)conv->w;
    kern_share(count, (int)block, (int)blocks, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t tile = first + i;
        struct winograd_patch patch = patch_of(work, conv->ci, tile % work->tiles);
        patch.row--;
        patch.column--;
        float *to = factors + block * rows * (size_t)conv->ci + (i - begin) * work->lanes;
        work->loops->input(&patch, work->io->x + tile / work->tiles * sample, work->blocks, to, work->factor_step);
    }
}

/* Transforms the products of one panel of channels back to pixels, tile by tile. */
static void do_outputs(const struct winograd_work *work, size_t first, size_t count, size_t panel,
                       const float *products)
{
    const struct kern_winograd *conv = work->conv;
    size_t rows = (size_t)work->loops->rows, blocks = row_blocks(work, count), map = (size_t)conv->h * (size_t)conv->w;
    for (size_t block = 0; block < blocks; block++) {
        size_t begin, end;
        kern_share(count, (int)block, (int)blocks, &begin, &end);
        for (size_t i = begin; i < end; i++) {
            size_t tile = first + i;
            struct winograd_output out = {.patch = patch_of(work, conv->co, tile % work->tiles),
                                          .from = products + (block * rows + i - begin) * work->panel,
                                          .step = work->product_step,
                                          .bias = work->io->bias + panel * work->panel,
                                          .sum = work->io->sum,
                                          .relu = work->io->relu};
            out.y = work->io->y + tile / work->tiles * map * (size_t)conv->co +
                    panel * (work->panel / work->lanes) * out.patch.block;
            work->loops->output(&out);
        }
    }
}

/* Of each position a stretch of channels at a time, whose weights stay in the first cache for all tiles of the group
 * while the next ones are fetched. */
static void do_panel(const struct winograd_work *work, size_t first, size_t count, size_t panel, const float *factors,
                     float *products)
{
    size_t ci = (size_t)work->conv->ci, rows = (size_t)work->loops->rows, blocks = row_blocks(work, count);
    size_t most = STRETCH / work->lanes, stretch;
    const float *weights = work->io->weights + panel * work->positions * ci * work->panel;
    for (size_t p = 0; p < work->positions; p++)
        for (size_t c = 0; c < work->blocks; c += stretch, weights += stretch * work->lanes * work->panel) {
            stretch = work->blocks - c < most ? work->blocks - c : most;
            size_t floats = stretch * work->lanes * work->panel;
            int last = panel + 1 == work->panels && p + 1 == work->positions && c + stretch == work->blocks;
            for (size_t block = 0; block < blocks; block++) {
                size_t begin, end;
                kern_share(count, (int)block, (int)blocks, &begin, &end);
                struct winograd_product product = {
                    .rows = factors + p * work->factor_step + (block * ci + c * work->lanes) * rows,
                    .weights = weights,
                    .count = end - begin,
                    .blocks = stretch,
                    .to = products + p * work->product_step + block * rows * work->panel,
                    .add = c > 0,
                    .fetch = weights + (last ? 0 : floats + (block == 1 ? floats / 2 : 0)),
                    .also = blocks == 1 ? floats / 2 : 0};
                if (block > 1)
                    product.fetch = weights;
                work->loops->multiply(&product);
            }
        }
    do_outputs(work, first, count, panel, products);
}

static float *factors_of(const struct winograd_work *work, int thread)
{
    return (float *)(void *)((char *)work->io->scratch + (size_t)thread * kern_pad64(work->factors * sizeof(float)));
}

static float *products_of(const struct winograd_work *work, int thread)
{
    char *products = (char *)(void *)factors_of(work, work->divide_panels ? 1 : work->team->threads);
    return (float *)(void *)(products + (size_t)thread * kern_pad64(work->products * sizeof(float)));
}

/* ---- threads ---- */

static void tiles_part(void *arg, int thread, int threads)
{
    const struct winograd_work *work = arg;
    float *factors = factors_of(work, thread), *products = products_of(work, thread);
    size_t begin, end, count;
    kern_share(work->all, thread, threads, &begin, &end);
    for (size_t first = begin; first < end; first += count) {
        count = end - first < work->group ? end - first : work->group;
        for (size_t block = 0; block < row_blocks(work, count); block++)
            do_patches(work, first, count, block, factors);
        for (size_t panel = 0; panel < work->panels; panel++)
            do_panel(work, first, count, panel, factors, products);
    }
}

static void patches_part(void *arg, int thread, int threads)
{
    const struct winograd_work *work = arg;
    size_t begin, end;
    kern_share(row_blocks(work, work->count), thread, threads, &begin, &end);
    for (size_t block = begin; block < end; block++)
        do_patches(work, work->first, work->count, block, factors_of(work, 0));
}

static void panels_part(void *arg, int thread, int threads)
{
    const struct winograd_work *work = arg;
    size_t begin, end;
    kern_share(work->panels, thread, threads, &begin, &end);
    for (size_t panel = begin; panel < end; panel++)
        do_panel(work, work->first, work->count, panel, factors_of(work, 0), products_of(work, thread));
}

void kern_winograd_forward(const struct kern_team *team, const struct kern_winograd *conv,
                           const struct kern_winograd_io *io)
{
    struct winograd_work work = work_of(team, conv);
    work.io = io;
    if (!work.divide_panels) {
        parallel_run(team->threads, tiles_part, &work);
        return;
    }
    for (; work.first < work.all; work.first += work.count) {
        work.count = work.all - work.first < work.group ? work.all - work.first : work.group;
        parallel_run(team->threads, patches_part, &work);
        parallel_run(team->threads, panels_part, &work);
    }
}
