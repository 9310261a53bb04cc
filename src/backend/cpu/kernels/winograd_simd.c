/* SPDX-License-Identifier: MIT
 *
 * winograd_simd: the inner loops of Winograd's convolutions F(m x m, 3 x 3) (Lavin and Gray, 2015): a patch of
 * (m + 2)^2 pixels becomes as many numbers by sums alone, each of these positions is multiplied with weights that were
 * brought into the same form, and sums alone make m^2 outputs of the products. For m = 2 that takes 16
 * multiplications where the definition takes 36, for m = 4 it takes 36 instead of 144. What a reader would get wrong:
 * every product is summed in the order of the channels, whatever the number of rows, so that a tile's bits do not
 * depend on which others are computed beside it. */
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/simd_table.h"

/* What stays in registers. */
#if defined(__AVX512F__)
enum { ROWS = 14, VECTORS = 2 };
#else
enum { ROWS = 6, VECTORS = 2 };
#endif

#if defined(__AVX2__)

enum { MOST = 6, LINE = 16 /* floats of a cache line */ }; /* pixels of a patch each way */

/* ---- sums: one line of a patch, or of products ---- */

INLINE void input_line(int m, const vf d[MOST], vf to[MOST])
{
    if (m == 2) {
        to[0] = d[0] - d[2];
        to[1] = d[1] + d[2];
        to[2] = d[2] - d[1];
        to[3] = d[1] - d[3];
        return;
    }
    vf two = all_vf(2), four = all_vf(4), five = all_vf(5);
    vf even = fma_vf(-four, d[2], d[4]), odd = fma_vf(-four, d[1], d[3]);
    vf near = d[4] - d[2], far = two * (d[3] - d[1]);
    to[0] = fma_vf(four, d[0], fma_vf(-five, d[2], d[4]));
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = near + far;
    to[4] = near - far;
    to[5] = fma_vf(four, d[1], fma_vf(-five, d[3], d[5]));
}

INLINE void output_line(int m, const vf p[MOST], vf to[MOST])
{
    vf sum = p[1] + p[2], difference = p[1] - p[2];
    if (m == 2) {
        to[0] = p[0] + sum;
        to[1] = difference - p[3];
        return;
    }
    vf sum2 = p[3] + p[4], difference2 = p[3] - p[4];
    to[0] = p[0] + sum + sum2;
    to[1] = fma_vf(all_vf(2), difference2, difference);
    to[2] = fma_vf(all_vf(4), sum2, sum);
    to[3] = fma_vf(all_vf(8), difference2, difference) + p[5];
}

/* ---- patches ---- */

/* Transforms one patch of (m + 2) x (m + 2) pixels, columns and then rows. Pixels outside of the map are 0. */
INLINE void input_block(int m, const struct winograd_patch *p, const float *x, float *to, size_t step, int inside)
{
    const int side = m + 2;
    vf lines[MOST][MOST], d[MOST], line[MOST];
    for (int j = 0; j < side; j++) {
        for (int i = 0; i < side; i++) {
            int row = p->row + i, column = p->column + j;
            if (inside || (row >= 0 && row < p->h && column >= 0 && column < p->w))
                d[i] = load_vf(x + ((size_t)row * (size_t)p->w + (size_t)column) * p->pixel);
            else
                d[i] = (vf){0};
        }
        input_line(m, d, line);
        for (int i = 0; i < side; i++)
            lines[i][j] = line[i];
    }
    for (int i = 0; i < side; i++) {
        input_line(m, lines[i], line);
        for (int j = 0; j < side; j++)
            store_vf(to + (size_t)(i * side + j) * step, line[j]);
    }
}

INLINE void input(int m, const struct winograd_patch *p, const float *x, size_t blocks, float *to, size_t step)
{
    int inside = p->row >= 0 && p->column >= 0 && p->row + m + 2 <= p->h && p->column + m + 2 <= p->w;
    for (size_t b = 0; b < blocks; b++, x += p->block, to += ROWS * LANES)
        if (inside)
            input_block(m, p, x, to, step, 1);
        else
            input_block(m, p, x, to, step, 0);
}

/* Transforms products back to m x m pixels. Bias, the other branch and ReLU follow while these are in registers. */
INLINE void output(int m, const struct winograd_output *o)
{
    const int side = m + 2;
    const struct winograd_patch *p = &o->patch;
    for (size_t v = 0; v < VECTORS; v++) {
        vf lines[MOST][MOST], d[MOST], line[MOST], bias = load_vf(o->bias + v * LANES);
        for (int j = 0; j < side; j++) {
            for (int i = 0; i < side; i++)
                d[i] = load_vf(o->from + (size_t)(i * side + j) * o->step + v * LANES);
            output_line(m, d, line);
            for (int i = 0; i < m; i++)
                lines[i][j] = line[i];
        }
        for (int i = 0; i < m && p->row + i < p->h; i++) {
            float *y = o->y + v * p->block + ((size_t)(p->row + i) * (size_t)p->w + (size_t)p->column) * p->pixel;
            output_line(m, lines[i], line);
            for (int j = 0; j < m && p->column + j < p->w; j++, y += p->pixel) {
                vf sum = line[j] + bias;
                if (o->sum)
                    sum += load_vf(y);
                store_vf(y, o->relu ? relu_vf(sum) : sum);
            }
        }
    }
}

/* ---- products ---- */

/* Multiplies `count` rows by a panel of weights, with all sums in registers. It prefetches what is read soon. */
INLINE void product(const struct winograd_product *p, size_t count)
{
    const float *rows = p->rows, *weights = p->weights, *fetch = p->fetch;
    const size_t also = p->also;
    float *to = p->to;
    vf sum[ROWS][VECTORS];
#pragma GCC unroll 16
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < VECTORS; v++)
            sum[i][v] = p->add ? load_vf(to + (i * VECTORS + v) * LANES) : (vf){0};
    for (size_t b = 0; b < p->blocks; b++, rows += ROWS * LANES)
        for (size_t c = 0; c < LANES; c++, weights += VECTORS * LANES) {
            vf right[VECTORS];
            for (size_t v = 0; v < VECTORS; v++)
                right[v] = load_vf(weights + v * LANES);
            __builtin_prefetch(fetch, 0, 2);
            __builtin_prefetch(fetch + also, 0, 2);
            fetch += LINE;
#pragma GCC unroll 16
            for (size_t i = 0; i < count; i++) {
                vf left = all_vf(rows[i * LANES + c]);
                for (size_t v = 0; v < VECTORS; v++)
                    sum[i][v] = fma_vf(left, right[v], sum[i][v]);
            }
        }
#pragma GCC unroll 16
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < VECTORS; v++)
            store_vf(to + (i * VECTORS + v) * LANES, sum[i][v]);
}

#define ROWS_OF(n)                                                                                                     \
    case n:                                                                                                            \
        product(p, n);                                                                                                 \
        return;

static void multiply(const struct winograd_product *p)
{
    switch (p->count) {
        ROWS_OF(1)
        ROWS_OF(2)
        ROWS_OF(3)
        ROWS_OF(4)
        ROWS_OF(5)
        ROWS_OF(6)
#if defined(__AVX512F__)
        ROWS_OF(7)
        ROWS_OF(8)
        ROWS_OF(9)
        ROWS_OF(10)
        ROWS_OF(11)
        ROWS_OF(12)
        ROWS_OF(13)
        ROWS_OF(14)
#endif
    default:
        return;
    }
}

static void input_2(const struct winograd_patch *p, const float *x, size_t blocks, float *to, size_t step)
{
    input(2, p, x, blocks, to, step);
}

static void input_4(const struct winograd_patch *p, const float *x, size_t blocks, float *to, size_t step)
{
    input(4, p, x, blocks, to, step);
}

static void output_2(const struct winograd_output *o)
{
    output(2, o);
}

static void output_4(const struct winograd_output *o)
{
    output(4, o);
}

#define LOOPS(m) input_##m, multiply, output_##m
#else
#define LOOPS(m) NULL, NULL, NULL
#endif

const struct winograd_loops SIMD_NAME(winograd_loops)[2] = {{LANES, ROWS, VECTORS, LOOPS(2)},
                                                            {LANES, ROWS, VECTORS, LOOPS(4)}};
