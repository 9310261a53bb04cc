/* SPDX-License-Identifier: MIT
 *
 * simd_table: the inner loops that exist once per instruction set, as tables of functions filled in by *_simd.c.
 * Each works on one contiguous run of numbers on one thread; the callers (kernels_*.c) divide the work. What a
 * reader would get wrong: parameters per channel are passed as arrays of `period + unit` floats in which the
 * channels repeat. A vector may therefore start at any channel, and no block size needs its own code. */
#ifndef MOCO_CPU_SIMD_TABLE_H
#define MOCO_CPU_SIMD_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* One run of a map through batch norm. Pointers are to the run's first number; NULL where a kernel has no use for them.
 */
struct bn_run {
    size_t count;
    int bf16, relu, period; /* period: a multiple of the block, at least a unit */
    int stream;             /* y goes past the caches */
    const void *x, *dy, *dy2;
    void *y, *dz;  /* of backward: y is dx */
    uint8_t *mask; /* written forward, read backward */
    const float *mean, *scale, *slope, *shift;
    float *sum, *product; /* [period + unit], added to */
};

struct bn_loops {
    /* sum += x - mean, product += (x - mean)^2 for any `mean` near the true one */
    void (*stats)(const struct bn_run *run);
    /* y = [relu]((x - mean) * scale + shift [+ dy]); `dy` is what is added */
    void (*apply)(const struct bn_run *run);
    /* d = (dy [+ dy2]) under mask; sum += d, product += d * (x - mean); dz = d unless NULL */
    void (*back_sums)(const struct bn_run *run);
    /* y = d * scale + (x - mean) * slope + shift, with d as above */
    void (*back_write)(const struct bn_run *run);
};

/* One row of outputs of a pooling (forward), or of inputs (backward), of one plane [h][w][block]. */
struct pool_row {
    int block, h, w, out_h, out_w, kernel, stride, pad, bf16, row;
    const void *from; /* the plane of x, or of dy */
    void *to;         /* the plane of y, or of dx */
    uint8_t *index;   /* the plane of winners */
};

struct map_loops {
    /* `count` bytes, channel i % 3: to = byte * scale + shift */
    void (*bytes)(const uint8_t *from, size_t count, int bf16, const float scale[3], const float shift[3], void *to);
    /* one channel of `count` pixels of three bytes */
    void (*byte_plane)(const uint8_t *from, size_t count, int bf16, float scale, float shift, void *to);
    void (*maxpool)(const struct pool_row *row);
    void (*maxpool_back)(const struct pool_row *row);
    /* to[i] = sum over `rows` of from[row * stride + i] * scale, i < count */
    void (*sum_rows)(const void *from, size_t rows, size_t stride, size_t count, int bf16, float scale, float *to);
    /* to[row * count + i] = from[i] * scale */
    void (*spread)(const float *from, size_t rows, size_t count, int bf16, float scale, void *to);
};

struct slab_loops {
    void (*add)(size_t count, int bf16, const void *a, const void *b, int relu, void *out);
    void (*relu_back)(size_t count, int bf16, const void *dy, const void *y, void *out);
    void (*bias)(size_t count, const float *bias, int relu, float *y);
    void (*scale)(size_t count, const float *x, float scale, float *y);
    /* y = (a - b * along) * scale */
    void (*project)(size_t count, const float *a, const float *b, float along, float scale, float *y);
    double (*dot)(size_t count, const float *a, const float *b); /* in double */
    void (*ema)(size_t count, double m, const float *k, const float *q, float *out);
    void (*sgd)(size_t count, float lr, float momentum, float decay, float *p, const float *g, float *v);
    double (*pull)(size_t count, float decay, const float *p, const float *g); /* sum of (g + decay * p)^2, in double */
    void (*lars)(size_t count, float lr, float momentum, float decay, float *p, const float *g, float *v);
    void (*to_bf16)(size_t count, const float *from, uint16_t *to);
    int (*finite)(size_t count, const float *x); /* are all of them? */
    /* A tile of weights [16 inputs][16 outputs] in bf16 and in pairs along one kind of channel: line j of 8 holds
     * channels 2 j and 2 j + 1 of that kind for each of the other's 16. Lines are `line` numbers apart and each a
     * cache line; the writing goes past the caches. */
    void (*tile)(const float *from, int pairs_of_outputs, uint16_t *to, size_t line);
};

enum { SLAB_TILE = 256 }; /* numbers */

enum { INFONCE_TILE = 288 }; /* rows of the queue handled at once */

/* InfoNCE of `blocks` units of queries with one stretch of the queue. Arrays have a number per query. */
struct infonce_part {
    const float *queue; /* [rows][dim] */
    size_t rows;
    int dim, width, blocks; /* width: dim in whole vectors */
    float inverse_temperature;
    const float *queries;    /* [blocks][dim][unit] */
    const float *positive;   /* cosines */
    float *max;              /* cosine; at the start the positive's */
    double *sum;             /* of e^((cosine - max) / temperature) */
    double *cosines;         /* sum */
    int32_t *larger, *equal; /* than, to the positive's */
    float *out;              /* [][width]: sum of e^((cosine - max) / temperature) * row */
    float *tile, *padded;    /* [INFONCE_TILE][unit], [INFONCE_TILE][width] to work with */
};

struct infonce_loops {
    void (*positives)(const float *queries, const float *keys, int dim, float *positive); /* of one unit */
    void (*stretch)(const struct infonce_part *part);
    void (*exponentials)(size_t count, const float *x, float *y); /* x <= 0 */
    /* tile[row][lane] = cosine of row and query, of one unit of queries [dim][unit] and at most INFONCE_TILE rows */
    void (*cosines)(const float *queries, const float *rows, size_t count, int dim, float *tile);
    /* out[lane] += sum over the rows ([count][width], whole vectors) of tile[row][lane] * row */
    void (*sums)(const float *tile, const float *rows, size_t count, int width, float *out);
};

/* ---- convolutions: in words of four bytes, a float or a pair of bf16; a block is as many channels as a vector has
 * lanes, LANES ---- */

/* What one tap of the kernel adds to a place: words from the sample's first, and from the weights' first. */
struct conv_tap {
    size_t x, weights;
};

/* One place of an output map, for `samples` samples and `outputs` blocks of output channels. Weights are
 * [outputs][blocks][taps][words of a block of x][LANES]. */
struct conv_place {
    const struct conv_tap *taps;
    size_t tap_count, blocks;
    const uint32_t *x, *weights;
    size_t sample, block;                 /* of x: from one sample, one block of channels, to the next */
    size_t weights_block, weights_output; /* from one block of x, one block of outputs, to the next */
    size_t samples, outputs;
    void *y;
    size_t y_sample, y_block; /* bytes */
};

/* Rows of memory that will be read soon: `lines` cache lines are left of them, from byte `at` of `row`. */
struct conv_fetch {
    const char *row;
    size_t at, width, stride, lines;
};

/* Steps of x and dy that meet, from these places in the panels. */
struct conv_run {
    size_t x, dy, steps;
};

/* out[v][i][o] [+]= sum over the runs' steps of x[step][i] . dy[v][step][o]: a block of channels i by `vectors` blocks
 * of channels o. A panel is [steps][LANES] words. */
struct conv_tile {
    const uint32_t *x, *dy;
    const struct conv_run *runs;
    size_t run_count;
    size_t stride, panel; /* from one step of x to the next that a run takes; from dy[0] to dy[1] */
    size_t vectors;
    float *out;
    size_t out_step; /* from out[0] to out[1] */
    int add;         /* 1: adds to the old numbers */
    struct conv_fetch *fetch;
    size_t fetches; /* lines to fetch for each pass over the runs; there are lanes / rows of them */
};

struct conv_loops {
    int lanes, rows, vectors; /* rows: samples that a place handles at once; vectors: of a tile at most */
    struct {                  /* NULL: this level has none */
        void (*place)(const struct conv_place *place);
        void (*multiply)(const struct conv_tile *tile);
        /* bf16: pixels 2t and 2t + 1 become step t of `channels` / 16 panels */
        void (*pack)(const uint16_t *const *pixels, size_t pairs, size_t channels, size_t panel, uint32_t *out);
    } of[2]; /* f32, bf16 */
};

/* ---- Winograd's convolutions: a map has vectors of LANES channels side by side; distances are in floats ---- */

/* A patch of a map that a tile reads, or the tile of a map that it writes. */
struct winograd_patch {
    size_t pixel, block;   /* from one pixel, one block of LANES channels to the next */
    int h, w, row, column; /* the map's; the patch's first pixel, which may be outside */
};

struct winograd_output {
    struct winograd_patch patch;
    const float *from; /* of the first position */
    size_t step;       /* from one position to the next */
    const float *bias; /* of these channels */
    int sum, relu;
    float *y; /* the sample's, from these channels on */
};

/* to[count][vectors * LANES] [+]= the first `count` of `rows` rows of [blocks][rows][LANES] times
 * [blocks * LANES][vectors * LANES]; every sum goes from the first channel to the last. */
struct winograd_product {
    const float *rows, *weights;
    size_t count, blocks;
    float *to;
    int add;            /* to what is there */
    const float *fetch; /* what is read soon: a line of it for each channel, and the one `also` floats behind that */
    size_t also;
};

struct winograd_loops {
    int lanes, rows, vectors; /* of a product: tiles at most, vectors of outputs */
    /* `blocks` blocks of channels of a patch, what is outside being zeros, become one row of each position's factor:
     * to[position * step + block * rows * LANES + lane]. */
    void (*input)(const struct winograd_patch *patch, const float *x, size_t blocks, float *to, size_t step);
    void (*multiply)(const struct winograd_product *product);
    void (*output)(const struct winograd_output *out); /* vectors * LANES channels of a tile */
};

struct simd_table {
    const char *name;
    int unit; /* numbers handled at once */
    const struct bn_loops *bn;
    const struct map_loops *map;
    const struct slab_loops *slab;
    const struct infonce_loops *infonce;
    const struct conv_loops *conv;
    const struct winograd_loops *winograd; /* of 2 x 2 outputs a tile, and of 4 x 4: [2]; `input` NULL: none */
};

/* The levels that this build has and this CPU can run, slowest first; NULL past the end. */
const struct simd_table *kern_level(int index);

/* The stretch of `count` pieces of work that is one thread's. */
static inline void kern_share(size_t count, int thread, int threads, size_t *begin, size_t *end)
{
    *begin = count * (size_t)thread / (size_t)threads;
    *end = count * ((size_t)thread + 1) / (size_t)threads;
}

#endif
