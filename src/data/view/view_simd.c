/* SPDX-License-Identifier: MIT
 *
 * view_simd: the inner loops of a view, compiled once per instruction set. The arithmetic of a pixel is in pixel.h,
 * which other devices share; here it is put in an order that vectors can take. */
#include <string.h>

#include "view_kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

/* One row at a time: for levels without the vectors below, and for boxes wider than RESAMPLE_SPAN. */
static void resample_row_by_row(const uint8_t *in, size_t in_stride, int rows, const int *bounds, const int32_t *taps,
                                int tap_stride, int width, int flip, uint8_t *out, size_t out_stride)
{
    for (int row = 0; row < rows; row++) {
        const uint8_t *line = in + (size_t)row * in_stride;
        uint8_t *to = out + (size_t)row * out_stride;
        for (int o = 0; o < width; o++) {
            const uint8_t *from = line + (size_t)bounds[2 * o] * 3;
            const int32_t *tap = taps + (size_t)o * (size_t)tap_stride;
            int32_t r = PIXEL_HALF, g = r, b = r;
            for (int t = 0; t < bounds[2 * o + 1]; t++) {
                r += from[3 * t] * tap[t];
                g += from[3 * t + 1] * tap[t];
                b += from[3 * t + 2] * tap[t];
            }
            uint8_t *pixel = to + (size_t)(flip ? width - 1 - o : o) * 3;
            pixel[0] = pixel_clip(r);
            pixel[1] = pixel_clip(g);
            pixel[2] = pixel_clip(b);
        }
    }
}

/* ---- sixteen rows at a time: columns become vectors by a transposition, and no lane ever needs another ---- */

#if defined(__AVX2__)
#define LANES RESAMPLE_LANES
typedef uint8_t bytes16 __attribute__((vector_size(LANES)));

#if defined(__AVX512F__)
#define WORDS 16
typedef __m512i words;
#define words_set(x) _mm512_set1_epi32(x)
#define words_load(at) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(at)))
#define words_add_scaled(sum, x, tap) _mm512_add_epi32((sum), _mm512_mullo_epi32((x), (tap)))

static inline void words_store(uint8_t *to, words sum)
{
    words value = _mm512_max_epi32(_mm512_srai_epi32(sum, PIXEL_BITS), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtusepi32_epi8(value));
}
#else
#define WORDS 8
typedef __m256i words;
#define words_set(x) _mm256_set1_epi32(x)
#define words_load(at) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(at)))
#define words_add_scaled(sum, x, tap) _mm256_add_epi32((sum), _mm256_mullo_epi32((x), (tap)))

static inline void words_store(uint8_t *to, words sum)
{
    words value = _mm256_srai_epi32(sum, PIXEL_BITS);
    __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    _mm_storel_epi64((__m128i *)(void *)to, _mm_packus_epi16(halves, halves)); /* both packings clip */
}
#endif

/* Four rounds of interleaving row i with row i + 8 transpose sixteen rows of sixteen bytes. */
static inline void transpose16(const uint8_t *in, size_t in_stride, uint8_t *out, size_t out_stride)
{
    bytes16 a[LANES], b[LANES];
    for (int i = 0; i < LANES; i++)
        memcpy(&a[i], in + (size_t)i * in_stride, LANES);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            b[2 * i + 1] =
                __builtin_shufflevector(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        for (int i = 0; i < LANES / 2; i++) {
            a[2 * i] = __builtin_shufflevector(b[i], b[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            a[2 * i + 1] =
                __builtin_shufflevector(b[i], b[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
    }
    for (int i = 0; i < LANES; i++)
        memcpy(out + (size_t)i * out_stride, &a[i], LANES);
}

/* columns[c][lane] = in[lane][c] for `bytes` columns; lanes from `rows` on are not defined but written. */
static void to_columns(const uint8_t *in, size_t stride, int rows, size_t bytes, uint8_t *columns)
{
    uint8_t square[LANES * LANES] = {0};
    for (size_t c = 0; c < bytes; c += LANES) {
        if (rows == LANES && c + LANES <= bytes) {
            transpose16(in + c, stride, columns + c * LANES, LANES);
            continue;
        }
        size_t part = bytes - c < LANES ? bytes - c : LANES; /* nothing beyond the box is read */
        for (int row = 0; row < rows; row++)
            memcpy(square + row * LANES, in + (size_t)row * stride + c, part);
        transpose16(square, LANES, columns + c * LANES, LANES);
    }
}

static void from_columns(const uint8_t *columns, size_t bytes, int rows, uint8_t *out, size_t stride)
{
    uint8_t square[LANES * LANES];
    for (size_t c = 0; c < bytes; c += LANES) {
        if (rows == LANES && c + LANES <= bytes) {
            transpose16(columns + c * LANES, LANES, out + c, stride);
            continue;
        }
        size_t part = bytes - c < LANES ? bytes - c : LANES;
        transpose16(columns + c * LANES, LANES, square, LANES);
        for (int row = 0; row < rows; row++)
            memcpy(out + (size_t)row * stride + c, square + row * LANES, part);
    }
}

/* One output pixel of WORDS rows. */
static inline void resample_pixel(const uint8_t *from, const int32_t *taps, int count, uint8_t *to)
{
    words r = words_set(PIXEL_HALF), g = r, b = r;
    for (int t = 0; t < count; t++, from += 3 * LANES) {
        words tap = words_set(taps[t]);
        r = words_add_scaled(r, words_load(from), tap);
        g = words_add_scaled(g, words_load(from + LANES), tap);
        b = words_add_scaled(b, words_load(from + 2 * LANES), tap);
    }
    words_store(to, r);
    words_store(to + LANES, g);
    words_store(to + 2 * LANES, b);
}

/* Resamples LANES rows at a time, turned so that a vector has one pixel of each. Rows with a larger span do not fit the
 * work memory, and are resampled one by one. */
static void resample_rows(const uint8_t *in, size_t in_stride, int rows, const int *bounds, const int32_t *taps,
                          int tap_stride, int width, int flip, uint8_t *out, size_t out_stride, uint8_t *work)
{
    int start = bounds[0], end = bounds[2 * width - 2] + bounds[2 * width - 1];
    if (end - start > RESAMPLE_SPAN) {
        resample_row_by_row(in, in_stride, rows, bounds, taps, tap_stride, width, flip, out, out_stride);
        return;
    }
    uint8_t *made = work + (size_t)(RESAMPLE_SPAN + LANES) * 3 * LANES;
    for (int row = 0; row < rows; row += LANES) {
        int lanes = rows - row < LANES ? rows - row : LANES;
        to_columns(in + (size_t)row * in_stride + (size_t)start * 3, in_stride, lanes, (size_t)(end - start) * 3, work);
        for (int o = 0; o < width; o++) {
            const uint8_t *from = work + (size_t)(bounds[2 * o] - start) * 3 * LANES;
            uint8_t *to = made + (size_t)(flip ? width - 1 - o : o) * 3 * LANES;
            for (int part = 0; part < LANES; part += WORDS)
                resample_pixel(from + part, taps + (size_t)o * (size_t)tap_stride, bounds[2 * o + 1], to + part);
        }
        from_columns(made, (size_t)width * 3, lanes, out + (size_t)row * out_stride, out_stride);
    }
}

#else
static void resample_rows(const uint8_t *in, size_t in_stride, int rows, const int *bounds, const int32_t *taps,
                          int tap_stride, int width, int flip, uint8_t *out, size_t out_stride, uint8_t *work)
{
    (void)work;
    resample_row_by_row(in, in_stride, rows, bounds, taps, tap_stride, width, flip, out, out_stride);
}
#endif

#define SPAN 64 /* bytes or pixels handled at once: the partial sums stay in registers or the first cache */

static void resample_span(const uint8_t *in, size_t in_stride, int count, const int32_t *taps, size_t bytes,
                          uint8_t *out)
{
    int32_t sum[SPAN];
    for (size_t i = 0; i < bytes; i++)
        sum[i] = PIXEL_HALF;
    for (int t = 0; t < count; t++) {
        const uint8_t *row = in + (size_t)t * in_stride;
        for (size_t i = 0; i < bytes; i++)
            sum[i] += row[i] * taps[t];
    }
    for (size_t i = 0; i < bytes; i++)
        out[i] = pixel_clip(sum[i]);
}

static void resample_column(const uint8_t *in, size_t in_stride, int count, const int32_t *taps, size_t bytes,
                            uint8_t *out)
{
    size_t at = 0;
    for (; at + SPAN <= bytes; at += SPAN)
        resample_span(in + at, in_stride, count, taps, SPAN, out + at);
    if (at < bytes)
        resample_span(in + at, in_stride, count, taps, bytes - at, out + at);
}

/* ---- colour: SPAN pixels at a time as three planes of integers 0..255 ---- */

struct planes {
    int32_t r[SPAN], g[SPAN], b[SPAN];
};

static void blend_constant(struct planes *p, int32_t constant, float factor)
{
    for (int i = 0; i < SPAN; i++) {
        p->r[i] = pixel_blend(constant, p->r[i], factor);
        p->g[i] = pixel_blend(constant, p->g[i], factor);
        p->b[i] = pixel_blend(constant, p->b[i], factor);
    }
}

static void blend_luma(struct planes *p, float factor)
{
    for (int i = 0; i < SPAN; i++) {
        int32_t grey = pixel_luma(p->r[i], p->g[i], p->b[i]);
        p->r[i] = pixel_blend(grey, p->r[i], factor);
        p->g[i] = pixel_blend(grey, p->g[i], factor);
        p->b[i] = pixel_blend(grey, p->b[i], factor);
    }
}

static void grey(struct planes *p)
{
    for (int i = 0; i < SPAN; i++)
        p->r[i] = p->g[i] = p->b[i] = pixel_luma(p->r[i], p->g[i], p->b[i]);
}

static void turn_hue(struct planes *p, int32_t turn)
{
    for (int i = 0; i < SPAN; i++) {
        struct pixel_rgb c = pixel_turn_hue((struct pixel_rgb){p->r[i], p->g[i], p->b[i]}, turn);
        p->r[i] = c.r;
        p->g[i] = c.g;
        p->b[i] = c.b;
    }
}

/* Applies all colour steps to a few pixels as planes, and returns the sum of their luma, which the contrast of a
 * later step needs. */
static uint64_t colour_span(uint8_t *rgb, int pixels, const struct pixel_step *steps, int count)
{
    struct planes p;
    for (int i = 0; i < pixels; i++) {
        p.r[i] = rgb[3 * i];
        p.g[i] = rgb[3 * i + 1];
        p.b[i] = rgb[3 * i + 2];
    }
    for (int s = 0; s < count; s++) {
        if (steps[s].kind == PIXEL_BLEND)
            blend_constant(&p, steps[s].constant, steps[s].factor);
        else if (steps[s].kind == PIXEL_LUMA)
            blend_luma(&p, steps[s].factor);
        else if (steps[s].kind == PIXEL_HUE)
            turn_hue(&p, steps[s].constant);
        else
            grey(&p);
    }
    for (int i = 0; i < pixels; i++) {
        rgb[3 * i] = (uint8_t)p.r[i];
        rgb[3 * i + 1] = (uint8_t)p.g[i];
        rgb[3 * i + 2] = (uint8_t)p.b[i];
    }
    int32_t sum = 0;
    for (int i = 0; i < pixels; i++)
        sum += pixel_luma(p.r[i], p.g[i], p.b[i]);
    return (uint64_t)sum;
}

static uint64_t colour(uint8_t *rgb, size_t pixels, const struct pixel_step *steps, int count)
{
    uint64_t sum = 0;
    for (; pixels >= SPAN; pixels -= SPAN, rgb += (size_t)SPAN * 3)
        sum += colour_span(rgb, SPAN, steps, count);
    if (pixels > 0) {
        uint8_t rest[SPAN * 3] = {0};
        memcpy(rest, rgb, pixels * 3);
        sum += colour_span(rest, SPAN, steps, count);
        for (size_t i = pixels; i < SPAN; i++)
            sum -= (uint64_t)pixel_luma(rest[3 * i], rest[3 * i + 1], rest[3 * i + 2]);
        memcpy(rgb, rest, pixels * 3);
    }
    return sum;
}

/* ---- blur ---- */

/* Blurs a row by a box of 2 radius + 1 pixels with fractional ends. Small radii need no running sum. */
static void blur_row(const uint8_t *in, int pixels, int radius, uint32_t ww, uint32_t fw, uint8_t *out)
{
    ptrdiff_t bytes = (ptrdiff_t)pixels * 3;
    if (radius == 0) { /* sigma below 1.42 */
        for (ptrdiff_t i = 0; i < bytes; i++)
            out[i] = pixel_box(in[i], (uint32_t)in[i - 3] + in[i + 3], ww, fw);
    } else if (radius == 1) { /* below 2.45 */
        for (ptrdiff_t i = 0; i < bytes; i++)
            out[i] = pixel_box((uint32_t)in[i - 3] + in[i] + in[i + 3], (uint32_t)in[i - 6] + in[i + 6], ww, fw);
    } else {
        ptrdiff_t reach = (ptrdiff_t)radius * 3;
        for (ptrdiff_t channel = 0; channel < 3; channel++) {
            uint32_t sum = 0; /* of the box around the pixel before the first */
            for (ptrdiff_t i = channel - 3 - reach; i <= channel - 3 + reach; i += 3)
                sum += in[i];
            for (ptrdiff_t i = channel; i < bytes; i += 3) {
                sum += (uint32_t)in[i + reach] - in[i - reach - 3];
                out[i] = pixel_box(sum, (uint32_t)in[i - reach - 3] + in[i + reach + 3], ww, fw);
            }
        }
    }
}

static void blur_column(uint32_t *sums, const uint8_t *enter, const uint8_t *leave, const uint8_t *before,
                        const uint8_t *after, size_t bytes, uint32_t ww, uint32_t fw, uint8_t *restrict out)
{
    for (size_t i = 0; i < bytes; i++) {
        sums[i] += (uint32_t)enter[i] - leave[i];
        out[i] = pixel_box(sums[i], (uint32_t)before[i] + after[i], ww, fw);
    }
}

extern const struct view_kernels PASTE(view_kernels_, SIMD_LEVEL);
const struct view_kernels PASTE(view_kernels_, SIMD_LEVEL) = {
    STRING(SIMD_LEVEL), resample_rows, resample_column, colour, blur_row, blur_column,
};
