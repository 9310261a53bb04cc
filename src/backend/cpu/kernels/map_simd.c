/* SPDX-License-Identifier: MIT
 *
 * map_simd: pictures to floats, pooling in both directions, and global averages, over rows and planes of a map;
 * compiled once per instruction set. Vectors run along the channel block. What a reader would get wrong: the
 * backward pass of max pooling gathers from the few windows that contain a pixel. Rows therefore need no order, and
 * bf16 is rounded once. */
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/simd_table.h"

/* ---- pictures ---- */

/* n bytes, the lanes behind them 0. */
INLINE vi get_bytes(const uint8_t *from, size_t n)
{
    if (n >= LANES)
        return from_bytes(from);
    uint8_t some[LANES] = {0};
    memcpy(some, from, n);
    return from_bytes(some);
}

INLINE vf get_byte_floats(const uint8_t *from, size_t n)
{
    return __builtin_convertvector(get_bytes(from, n), vf);
}

INLINE void bytes_typed(const uint8_t *from, size_t count, int bf16, const float scale[3], const float shift[3],
                        void *to)
{
    float scales[3 * LANES], shifts[3 * LANES];
    for (int i = 0; i < 3 * LANES; i++) {
        scales[i] = scale[i % 3];
        shifts[i] = shift[i % 3];
    }
    size_t at = 0;
    for (; at + 3 * LANES <= count; at += 3 * LANES)
        for (size_t i = 0; i < 3 * LANES; i += LANES)
            put(to, at + i, fma_vf(get_byte_floats(from + at + i, LANES), load_vf(scales + i), load_vf(shifts + i)),
                LANES, bf16);
    for (size_t i = 0; at < count; i += LANES, at += LANES)
        put(to, at, fma_vf(get_byte_floats(from + at, count - at), load_vf(scales + i), load_vf(shifts + i)),
            count - at, bf16);
}

static void bytes(const uint8_t *from, size_t count, int bf16, const float scale[3], const float shift[3], void *to)
{
    if (bf16)
        bytes_typed(from, count, 1, scale, shift, to);
    else
        bytes_typed(from, count, 0, scale, shift, to);
}

/* One channel out of three, picked through a small buffer. */
static void byte_plane(const uint8_t *from, size_t count, int bf16, float scale, float shift, void *to)
{
    uint8_t picked[LANES] = {0};
    for (size_t at = 0; at < count; at += LANES) {
        size_t n = count - at < LANES ? count - at : LANES;
        for (size_t i = 0; i < n; i++)
            picked[i] = from[3 * (at + i)];
        put(to, at, fma_vf(get_byte_floats(picked, LANES), all_vf(scale), all_vf(shift)), n, bf16);
    }
}

/* ---- max pooling ---- */

INLINE void put_bytes(uint8_t *to, vi value, size_t n)
{
    vb narrow = __builtin_convertvector(value, vb);
    memcpy(to, &narrow, n >= LANES ? sizeof narrow : n);
}

/* What one pixel meets across the pooling, along one axis: of the input in one window, or of the output whose windows
 * it is in. Found once a pixel: divisions in the inner loops cost more than the channels. */
struct pool_range {
    int first, end;
};

INLINE struct pool_range pool_inside(const struct pool_row *r, int out, int inputs)
{
    int first = out * r->stride - r->pad, end = first + r->kernel;
    return (struct pool_range){first < 0 ? 0 : first, end > inputs ? inputs : end};
}

INLINE struct pool_range pool_windows(const struct pool_row *r, int in, int outputs)
{
    int low = in + r->pad - r->kernel + 1, end = (in + r->pad) / r->stride + 1;
    return (struct pool_range){low <= 0 ? 0 : (low + r->stride - 1) / r->stride, end > outputs ? outputs : end};
}

/* n channels of one output. A NaN wins and stays. */
INLINE void pool_vector(const struct pool_row *r, struct pool_range rows, struct pool_range columns, int out_x,
                        size_t channel, size_t n, int bf16)
{
    int top = r->row * r->stride - r->pad, left = out_x * r->stride - r->pad, first = 1;
    vf best = {0};
    vi winner = {0};
    for (int y = rows.first; y < rows.end; y++) {
        size_t at = ((size_t)y * (size_t)r->w + (size_t)columns.first) * (size_t)r->block + channel;
        int place = (y - top) * r->kernel + columns.first - left;
        for (int x = columns.first; x < columns.end; x++, at += (size_t)r->block, place++) {
            vf value = get(r->from, at, n, bf16);
            vi better = first ? (vi){0} - 1 : (value > best) | (value != value);
            best = choose_vf(better, value, best);
            winner = (better & place) | (~better & winner);
            first = 0;
        }
    }
    size_t at = ((size_t)r->row * (size_t)r->out_w + (size_t)out_x) * (size_t)r->block + channel;
    put(r->to, at, best, n, bf16);
    if (r->index != NULL)
        put_bytes(r->index + at, winner, n);
}

/* n channels of one input: the sum over the windows in which it won, from top to bottom, left to right. */
INLINE void pool_back_vector(const struct pool_row *r, struct pool_range rows, struct pool_range columns, int in_x,
                             size_t channel, size_t n, int bf16)
{
    vf sum = {0};
    for (int y = rows.first; y < rows.end; y++) {
        size_t at = ((size_t)y * (size_t)r->out_w + (size_t)columns.first) * (size_t)r->block + channel;
        int place = (r->row + r->pad - y * r->stride) * r->kernel + in_x + r->pad - columns.first * r->stride;
        for (int x = columns.first; x < columns.end; x++, at += (size_t)r->block, place -= r->stride) {
            vi won = get_bytes(r->index + at, n) == place;
            sum += (vf)(won & (vi)get(r->from, at, n, bf16));
        }
    }
    put(r->to, ((size_t)r->row * (size_t)r->w + (size_t)in_x) * (size_t)r->block + channel, sum, n, bf16);
}

/* Pools a row by vectors of channels. n is a constant in the frequent case, which lets the compiler drop the tails. */
INLINE void pool_typed(const struct pool_row *given, int back, int bf16)
{
    const struct pool_row local = *given, *r = &local;
    size_t block = (size_t)r->block;
    int width = back ? r->w : r->out_w;
    struct pool_range rows = back ? pool_windows(r, r->row, r->out_h) : pool_inside(r, r->row, r->h);
    for (int x = 0; x < width; x++) {
        struct pool_range columns = back ? pool_windows(r, x, r->out_w) : pool_inside(r, x, r->w);
        for (size_t channel = 0; channel < block; channel += LANES) {
            size_t n = block - channel;
            if (back && n >= LANES)
                pool_back_vector(r, rows, columns, x, channel, LANES, bf16);
            else if (back)
                pool_back_vector(r, rows, columns, x, channel, n, bf16);
            else if (n >= LANES)
                pool_vector(r, rows, columns, x, channel, LANES, bf16);
            else
                pool_vector(r, rows, columns, x, channel, n, bf16);
        }
    }
}

static void maxpool(const struct pool_row *row)
{
    if (row->bf16)
        pool_typed(row, 0, 1);
    else
        pool_typed(row, 0, 0);
}

static void maxpool_back(const struct pool_row *row)
{
    if (row->bf16)
        pool_typed(row, 1, 1);
    else
        pool_typed(row, 1, 0);
}

/* ---- global averages ---- */

/* Up to four vectors side by side; each sums 64 rows in f32 before it goes on in double. */
INLINE void sum_columns(const void *from, size_t rows, size_t stride, size_t n, int bf16, float scale, float *to)
{
    vd low[4] = {{0}}, high[4] = {{0}};
    for (size_t row = 0; row < rows;) {
        vf sum[4] = {{0}};
        for (size_t end = rows - row < 64 ? rows : row + 64; row < end; row++)
            for (size_t v = 0; v < 4 && v * LANES < n; v++)
                sum[v] += get(from, row * stride + v * LANES, n - v * LANES, bf16);
        for (size_t v = 0; v < 4; v++) {
            vd a, b;
            halves(sum[v], &a, &b);
            low[v] += a;
            high[v] += b;
        }
    }
    for (size_t v = 0; v < 4 && v * LANES < n; v++) {
        vf_half part[2] = {__builtin_convertvector(low[v] * (double)scale, vf_half),
                           __builtin_convertvector(high[v] * (double)scale, vf_half)};
        vf sum;
        memcpy(&sum, part, sizeof sum);
        store_some(to + v * LANES, sum, n - v * LANES);
    }
}

INLINE void sum_rows_typed(const void *from, size_t rows, size_t stride, size_t count, int bf16, float scale, float *to)
{
    size_t at = 0;
    for (; at + UNIT <= count; at += UNIT)
        sum_columns((const char *)from + at * (bf16 ? 2 : 4), rows, stride, UNIT, bf16, scale, to + at);
    if (at < count)
        sum_columns((const char *)from + at * (bf16 ? 2 : 4), rows, stride, count - at, bf16, scale, to + at);
}

static void sum_rows(const void *from, size_t rows, size_t stride, size_t count, int bf16, float scale, float *to)
{
    if (bf16)
        sum_rows_typed(from, rows, stride, count, 1, scale, to);
    else
        sum_rows_typed(from, rows, stride, count, 0, scale, to);
}

INLINE void spread_typed(const float *from, size_t rows, size_t count, int bf16, float scale, void *to)
{
    for (size_t row = 0; row < rows; row++) {
        size_t at = 0;
        for (; at + LANES <= count; at += LANES)
            put(to, row * count + at, load_vf(from + at) * scale, LANES, bf16);
        if (at < count)
            put(to, row * count + at, load_some(from + at, count - at) * scale, count - at, bf16);
    }
}

static void spread(const float *from, size_t rows, size_t count, int bf16, float scale, void *to)
{
    if (bf16)
        spread_typed(from, rows, count, 1, scale, to);
    else
        spread_typed(from, rows, count, 0, scale, to);
}

extern const struct map_loops SIMD_NAME(map_loops);
const struct map_loops SIMD_NAME(map_loops) = {bytes, byte_plane, maxpool, maxpool_back, sum_rows, spread};
