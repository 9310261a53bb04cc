/* SPDX-License-Identifier: MIT
 *
 * infonce_simd: InfoNCE's pass over one part of the queue, compiled once per instruction set. It works on tiles of
 * queue rows that stay in the second-level cache: cosines of a unit of queries with a tile, exponentials in place,
 * then the weighted sum of the tile's rows. Vectors run along the queries for cosines and along the dimensions for
 * sums, so that the queue is read in its own order. What a reader would get wrong: every cosine is one chain of
 * products in the order of the dimensions, also the positive's. Equal vectors must give equal bits, or ties would
 * not be seen. */
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/simd_table.h"

/* Accumulators that fit the registers: queue rows x vectors of queries, queries x vectors of dimensions. */
#if defined(__AVX512F__)
enum { COS_ROWS = 6, COS_VECTORS = 4, OUT_ROWS = 8, OUT_VECTORS = 2 };
#else
enum { COS_ROWS = 6, COS_VECTORS = 2, OUT_ROWS = 4, OUT_VECTORS = 2 };
#endif

/* e^x for x <= 0, within 2 units in the last place; below -87 zero. NaN stays NaN. e^x = 2^n e^r with |r| <= ln 2 / 2,
 * where seven terms of the series leave less than a tenth of a unit. */
INLINE vf exp_vf(vf x)
{
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, and leaves that in the low bits */
    vf shifted = fma_vf(x, all_vf(1.44269504f), all_vf(magic)), n = shifted - magic;
    vf r = fma_vf(n, all_vf(-0x1.62e4p-1f), x); /* ln 2 in two parts; n times the first is exact */
    r = fma_vf(n, all_vf(-0x1.7f7d1cp-20f), r);
    vf p = all_vf(1.98412698e-4f);
    p = fma_vf(p, r, all_vf(1.38888889e-3f));
    p = fma_vf(p, r, all_vf(8.33333333e-3f));
    p = fma_vf(p, r, all_vf(4.16666667e-2f));
    p = fma_vf(p, r, all_vf(1.66666667e-1f));
    p = fma_vf(p, r, all_vf(0.5f));
    p = fma_vf(p * r, r, r) + 1;
    vf power = (vf)(((vu)shifted << 23) + 0x3f800000);
    return (vf)(~(x < -87.0f) & (vi)(p * power));
}

static void exponentials(size_t count, const float *x, float *y)
{
    for (size_t at = 0; at < count; at += LANES)
        store_some(y + at, exp_vf(load_some(x + at, count - at)), count - at);
}

static void positives(const float *queries, const float *keys, int dim, float *positive)
{
    vf sum[4] = {{0}};
    for (size_t d = 0; d < (size_t)dim; d++)
        for (size_t v = 0; v < 4; v++)
            sum[v] = fma_vf(load_vf(keys + d * UNIT + v * LANES), load_vf(queries + d * UNIT + v * LANES), sum[v]);
    for (size_t v = 0; v < 4; v++)
        store_vf(positive + v * LANES, sum[v]);
}

/* What is gathered per query while cosines are made. */
struct seen {
    vf max[4], sum[4];
    vi larger[4], equal[4];
};

/* Cosines of `rows` queue rows with `vectors` vectors of queries, from vector `v0`. */
INLINE void cosines(const struct infonce_part *part, const float *queries, const float *queue, size_t rows, size_t v0,
                    size_t vectors, const float *positive, float *tile, struct seen *seen)
{
    vf sum[COS_ROWS][COS_VECTORS];
    size_t dim = (size_t)part->dim, width = (size_t)part->dim;
    for (size_t j = 0; j < rows; j++)
        for (size_t v = 0; v < vectors; v++)
            sum[j][v] = (vf){0};
    for (size_t d = 0; d < dim; d++) {
        vf q[COS_VECTORS];
        for (size_t v = 0; v < vectors; v++)
            q[v] = load_vf(queries + d * UNIT + (v0 + v) * LANES);
        for (size_t j = 0; j < rows; j++) {
            vf x = all_vf(queue[j * width + d]);
            for (size_t v = 0; v < vectors; v++)
                sum[j][v] = fma_vf(x, q[v], sum[j][v]);
        }
    }
    for (size_t v = 0; v < vectors; v++) {
        vf own = load_vf(positive + (v0 + v) * LANES), max = seen->max[v0 + v], all = seen->sum[v0 + v];
        for (size_t j = 0; j < rows; j++) {
            vf x = sum[j][v];
            store_vf(tile + j * UNIT + (v0 + v) * LANES, x);
            max = choose_vf(x > max, x, max);
            all += x;
            seen->larger[v0 + v] -= x > own;
            seen->equal[v0 + v] -= x == own;
        }
        seen->max[v0 + v] = max;
        seen->sum[v0 + v] = all;
    }
}

INLINE void tile_cosines(const struct infonce_part *part, const float *queries, const float *queue, size_t rows,
                         const float *positive, struct seen *seen)
{
    for (size_t v = 0; v < 4; v += COS_VECTORS) {
        size_t j = 0;
        for (; j + COS_ROWS <= rows; j += COS_ROWS)
            cosines(part, queries, queue + j * (size_t)part->dim, COS_ROWS, v, COS_VECTORS, positive,
                    part->tile + j * UNIT, seen);
        for (; j < rows; j++)
            cosines(part, queries, queue + j * (size_t)part->dim, 1, v, COS_VECTORS, positive, part->tile + j * UNIT,
                    seen);
    }
}

/* Cosines of the tile become weights e^((cosine - max) / temperature); their sums are added to the part's. */
INLINE void tile_weights(const struct infonce_part *part, size_t rows, size_t query, const vf max[4])
{
    vf sum[4] = {{0}}, inverse = all_vf(part->inverse_temperature);
    for (size_t j = 0; j < rows; j++) {
        for (size_t v = 0; v < 4; v++) {
            float *at = part->tile + j * UNIT + v * LANES;
            vf weight = exp_vf((load_vf(at) - max[v]) * inverse);
            store_vf(at, weight);
            sum[v] += weight;
        }
    }
    for (size_t v = 0; v < 4; v++)
        for (size_t lane = 0; lane < LANES; lane++)
            part->sum[query + v * LANES + lane] += (double)sum[v][lane];
}

/* out[query] += sum over the tile's rows of weight * row, for `queries` queries and `vectors` vectors of dimensions. */
INLINE void weighted_rows(const float *weights, const float *queue, size_t width, size_t rows, size_t vectors,
                          float *out, size_t out_width)
{
    vf sum[OUT_ROWS][OUT_VECTORS];
    for (size_t i = 0; i < OUT_ROWS; i++)
        for (size_t v = 0; v < vectors; v++)
            sum[i][v] = (vf){0};
    for (size_t j = 0; j < rows; j++) {
        vf x[OUT_VECTORS];
        for (size_t v = 0; v < vectors; v++)
            x[v] = load_vf(queue + j * width + v * LANES);
        for (size_t i = 0; i < OUT_ROWS; i++) {
            vf weight = all_vf(weights[j * UNIT + i]);
            for (size_t v = 0; v < vectors; v++)
                sum[i][v] = fma_vf(weight, x[v], sum[i][v]);
        }
    }
    for (size_t i = 0; i < OUT_ROWS; i++)
        for (size_t v = 0; v < vectors; v++) {
            float *at = out + i * out_width + v * LANES;
            store_vf(at, load_vf(at) + sum[i][v]);
        }
}

/* Rows of `queue` are `width` apart and as long as the padded dimensions. */
INLINE void tile_sums(const struct infonce_part *part, const float *queue, size_t rows, float *out)
{
    size_t width = (size_t)part->width, d = 0;
    for (; d + OUT_VECTORS * LANES <= width; d += OUT_VECTORS * LANES)
        for (size_t i = 0; i < UNIT; i += OUT_ROWS)
            weighted_rows(part->tile + i, queue + d, width, rows, OUT_VECTORS, out + i * width + d, width);
    for (; d < width; d += LANES)
        for (size_t i = 0; i < UNIT; i += OUT_ROWS)
            weighted_rows(part->tile + i, queue + d, width, rows, 1, out + i * width + d, width);
}

/* New maxima of a unit of queries: what was summed so far counts less. */
INLINE void rescale(const struct infonce_part *part, size_t query, const vf old[4], const vf max[4])
{
    size_t width = (size_t)part->width;
    for (size_t v = 0; v < 4; v++) {
        if (bits_of(max[v] > old[v]) == 0)
            continue;
        vf factor = exp_vf((old[v] - max[v]) * all_vf(part->inverse_temperature));
        for (size_t lane = 0; lane < LANES; lane++) {
            size_t i = query + v * LANES + lane;
            if (factor[lane] == 1)
                continue;
            part->sum[i] *= (double)factor[lane];
            for (size_t d = 0; d < width; d += LANES)
                store_vf(part->out + i * width + d, load_vf(part->out + i * width + d) * factor[lane]);
        }
    }
}

/* One unit of queries against one tile. `padded`: the tile with rows of whole vectors. */
static void tile(const struct infonce_part *part, size_t query, const float *queue, const float *padded, size_t rows)
{
    vf old[4];
    struct seen seen = {.sum = {{0}}};
    for (size_t v = 0; v < 4; v++) {
        size_t i = query + v * LANES;
        old[v] = seen.max[v] = load_vf(part->max + i);
        memcpy(&seen.larger[v], part->larger + i, sizeof seen.larger[v]);
        memcpy(&seen.equal[v], part->equal + i, sizeof seen.equal[v]);
    }
    tile_cosines(part, part->queries + query * (size_t)part->dim, queue, rows, part->positive + query, &seen);
    rescale(part, query, old, seen.max);
    tile_weights(part, rows, query, seen.max);
    tile_sums(part, padded, rows, part->out + query * (size_t)part->width);
    for (size_t v = 0; v < 4; v++) {
        size_t i = query + v * LANES;
        store_vf(part->max + i, seen.max[v]);
        memcpy(part->larger + i, &seen.larger[v], sizeof seen.larger[v]);
        memcpy(part->equal + i, &seen.equal[v], sizeof seen.equal[v]);
        for (size_t lane = 0; lane < LANES; lane++)
            part->cosines[i + lane] += (double)seen.sum[v][lane];
    }
}

static void stretch(const struct infonce_part *part)
{
    size_t dim = (size_t)part->dim, width = (size_t)part->width;
    if (width != dim)
        memset(part->padded, 0, sizeof(float) * INFONCE_TILE * width);
    for (size_t row = 0; row < part->rows; row += INFONCE_TILE) {
        size_t rows = part->rows - row < INFONCE_TILE ? part->rows - row : INFONCE_TILE;
        const float *queue = part->queue + row * dim, *padded = queue;
        if (width != dim) {
            for (size_t j = 0; j < rows; j++)
                memcpy(part->padded + j * width, queue + j * dim, sizeof(float) * dim);
            padded = part->padded;
        }
        for (size_t block = 0; block < (size_t)part->blocks; block++)
            tile(part, block * UNIT, queue, padded, rows);
    }
}

/* ---- the same, piece by piece, for losses within a batch ---- */

static void cosines_of_tile(const float *queries, const float *rows, size_t count, int dim, float *tile_)
{
    const struct infonce_part part = {.dim = dim, .tile = tile_};
    const float nobody[UNIT] = {0};
    struct seen seen = {.sum = {{0}}};
    tile_cosines(&part, queries, rows, count, nobody, &seen);
}

static void sums_of_tile(const float *tile_, const float *rows, size_t count, int width, float *out)
{
    const struct infonce_part part = {.width = width, .tile = (float *)tile_};
    tile_sums(&part, rows, count, out);
}

extern const struct infonce_loops SIMD_NAME(infonce_loops);
const struct infonce_loops SIMD_NAME(infonce_loops) = {positives, stretch, exponentials, cosines_of_tile, sums_of_tile};
