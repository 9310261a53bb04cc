/* SPDX-License-Identifier: MIT
 *
 * view_simd: the inner loops of a view, compiled once per instruction set. The arithmetic is Pillow's to the bit.
 * Which product is rounded to float and which stays double is part of it (-ffp-contract=off), and so is every
 * truncation. */
#include <math.h>
#include <string.h>

#include "view_kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

static inline uint8_t clip8(int32_t sum)
{
    int32_t value = sum >> RESAMPLE_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

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
            int32_t r = 1 << (RESAMPLE_BITS - 1), g = r, b = r;
            for (int t = 0; t < bounds[2 * o + 1]; t++) {
                r += from[3 * t] * tap[t];
                g += from[3 * t + 1] * tap[t];
                b += from[3 * t + 2] * tap[t];
            }
            uint8_t *pixel = to + (size_t)(flip ? width - 1 - o : o) * 3;
            pixel[0] = clip8(r);
            pixel[1] = clip8(g);
            pixel[2] = clip8(b);
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
    words value = _mm512_max_epi32(_mm512_srai_epi32(sum, RESAMPLE_BITS), _mm512_setzero_si512());
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
    words value = _mm256_srai_epi32(sum, RESAMPLE_BITS);
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
    words r = words_set(1 << (RESAMPLE_BITS - 1)), g = r, b = r;
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
        sum[i] = 1 << (RESAMPLE_BITS - 1);
    for (int t = 0; t < count; t++) {
        const uint8_t *row = in + (size_t)t * in_stride;
        for (size_t i = 0; i < bytes; i++)
            sum[i] += row[i] * taps[t];
    }
    for (size_t i = 0; i < bytes; i++)
        out[i] = clip8(sum[i]);
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

static inline int32_t luma(int32_t r, int32_t g, int32_t b)
{
    return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
}

static inline int32_t blend(int32_t from, int32_t to, float factor)
{
    int32_t value = (int32_t)((float)from + factor * (float)(to - from));
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

static void blend_constant(struct planes *p, int32_t constant, float factor)
{
    for (int i = 0; i < SPAN; i++) {
        p->r[i] = blend(constant, p->r[i], factor);
        p->g[i] = blend(constant, p->g[i], factor);
        p->b[i] = blend(constant, p->b[i], factor);
    }
}

static void blend_luma(struct planes *p, float factor)
{
    for (int i = 0; i < SPAN; i++) {
        int32_t grey = luma(p->r[i], p->g[i], p->b[i]);
        p->r[i] = blend(grey, p->r[i], factor);
        p->g[i] = blend(grey, p->g[i], factor);
        p->b[i] = blend(grey, p->b[i], factor);
    }
}

static void grey(struct planes *p)
{
    for (int i = 0; i < SPAN; i++)
        p->r[i] = p->g[i] = p->b[i] = luma(p->r[i], p->g[i], p->b[i]);
}

/* yes if mask is -1, no if it is 0: a choice the compiler makes no branch of. */
static inline int32_t choose(int32_t mask, int32_t yes, int32_t no)
{
    return (yes & mask) | (no & ~mask);
}

/* RGB -> 8-bit HSV -> hue + turn (mod 256) -> RGB as Pillow's Convert.c does it, which mixes float and double. Here all
 * is float: every step was compared with Pillow's over all its inputs and gives the same bytes. On the way forward the
 * order of roundings matters: h is one float sum, h / 6 and its wrap are two more, and the product with 255, which
 * Pillow forms exactly, is corrected where rounding lifted it to the next integer. */
static void turn_hue(struct planes *p, int32_t turn)
{
    for (int i = 0; i < SPAN; i++) {
        int32_t r = p->r[i], g = p->g[i], b = p->b[i];
        int32_t most = r > g ? r : g, least = r < g ? r : g;
        most = most > b ? most : b;
        least = least < b ? least : b;
        int32_t range = most - least, flat = -(range == 0), middle = r + g + b - most - least;
        float m = (float)(most - middle) / (float)(range - flat);
        /* red on top: h = m - 1 over blue, 1 - m over green; green: 1 + m, 3 - m; blue: 3 + m, 5 - m */
        int32_t red = -(r == most), green = -(g == most) & ~red;
        int32_t plus = choose(red, -(g == least), choose(green, -(b == least), -(r == least)));
        int32_t base = choose(red, 1, choose(green, 3, 5)) + (plus & -2);
        float h = (float)base + m * (float)(1 | ~plus), sixth = h / 6.0f;
        float wrap = (float)(h < 0.0f), whole = sixth + wrap;
        int32_t uh = (int32_t)(whole * 255.0f);
        uh -= whole * 256.0f - (float)uh < whole;
        uh = ((uh & ~flat) + turn) & 255;
        float fs = (float)(int32_t)((float)range / (float)(most + (most == 0)) * 255.0f) / 255.0f;

        int32_t position = uh * 6; /* uh 255 is the end of the last sector, which is the start of the first */
        int32_t sector =
            (position >= 255) + (position >= 510) + (position >= 765) + (position >= 1020) + (position >= 1275);
        float f = (float)(position - 255 * sector) / 255.0f, v = (float)most;
        int32_t lo = (int32_t)(v * (1.0f - fs) + 0.5f);
        int32_t fall = (int32_t)(v * (1.0f - fs * f) + 0.5f);
        int32_t rise = (int32_t)(v * (1.0f - fs * (1.0f - f)) + 0.5f);
        int32_t s0 = -(sector == 0), s1 = -(sector == 1), s2 = -(sector == 2), s3 = -(sector == 3), s4 = -(sector == 4);
        int32_t s5 = -(sector == 5);
        p->r[i] = (most & (s0 | s5)) | (fall & s1) | (lo & (s2 | s3)) | (rise & s4);
        p->g[i] = (most & (s1 | s2)) | (fall & s3) | (lo & (s4 | s5)) | (rise & s0);
        p->b[i] = (most & (s3 | s4)) | (fall & s5) | (lo & (s0 | s1)) | (rise & s2);
    }
}

/* Applies all colour steps to a few pixels as planes, and returns the sum of their luma, which the contrast of a
 * later step needs. */
static uint64_t colour_span(uint8_t *rgb, int pixels, const struct colour_step *steps, int count)
{
    struct planes p;
    for (int i = 0; i < pixels; i++) {
        p.r[i] = rgb[3 * i];
        p.g[i] = rgb[3 * i + 1];
        p.b[i] = rgb[3 * i + 2];
    }
    for (int s = 0; s < count; s++) {
        if (steps[s].kind == COLOUR_BLEND)
            blend_constant(&p, steps[s].constant, steps[s].factor);
        else if (steps[s].kind == COLOUR_LUMA)
            blend_luma(&p, steps[s].factor);
        else if (steps[s].kind == COLOUR_HUE)
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
        sum += luma(p.r[i], p.g[i], p.b[i]);
    return (uint64_t)sum;
}

static uint64_t colour(uint8_t *rgb, size_t pixels, const struct colour_step *steps, int count)
{
    uint64_t sum = 0;
    for (; pixels >= SPAN; pixels -= SPAN, rgb += (size_t)SPAN * 3)
        sum += colour_span(rgb, SPAN, steps, count);
    if (pixels > 0) {
        uint8_t rest[SPAN * 3] = {0};
        memcpy(rest, rgb, pixels * 3);
        sum += colour_span(rest, SPAN, steps, count);
        for (size_t i = pixels; i < SPAN; i++)
            sum -= (uint64_t)luma(rest[3 * i], rest[3 * i + 1], rest[3 * i + 2]);
        memcpy(rgb, rest, pixels * 3);
    }
    return sum;
}

/* ---- blur ---- */

static inline uint8_t box(uint32_t sum, uint32_t ends, uint32_t ww, uint32_t fw)
{
    return (uint8_t)((sum * ww + ends * fw + (UINT32_C(1) << 23)) >> 24);
}

/* Blurs a row by a box of 2 radius + 1 pixels with fractional ends. Small radii need no running sum. */
static void blur_row(const uint8_t *in, int pixels, int radius, uint32_t ww, uint32_t fw, uint8_t *out)
{
    ptrdiff_t bytes = (ptrdiff_t)pixels * 3;
    if (radius == 0) { /* sigma below 1.42 */
        for (ptrdiff_t i = 0; i < bytes; i++)
            out[i] = box(in[i], (uint32_t)in[i - 3] + in[i + 3], ww, fw);
    } else if (radius == 1) { /* below 2.45 */
        for (ptrdiff_t i = 0; i < bytes; i++)
            out[i] = box((uint32_t)in[i - 3] + in[i] + in[i + 3], (uint32_t)in[i - 6] + in[i + 6], ww, fw);
    } else {
        ptrdiff_t reach = (ptrdiff_t)radius * 3;
        for (ptrdiff_t channel = 0; channel < 3; channel++) {
            uint32_t sum = 0; /* of the box around the pixel before the first */
            for (ptrdiff_t i = channel - 3 - reach; i <= channel - 3 + reach; i += 3)
                sum += in[i];
            for (ptrdiff_t i = channel; i < bytes; i += 3) {
                sum += (uint32_t)in[i + reach] - in[i - reach - 3];
                out[i] = box(sum, (uint32_t)in[i - reach - 3] + in[i + reach + 3], ww, fw);
            }
        }
    }
}

static void blur_column(uint32_t *sums, const uint8_t *enter, const uint8_t *leave, const uint8_t *before,
                        const uint8_t *after, size_t bytes, uint32_t ww, uint32_t fw, uint8_t *restrict out)
{
    for (size_t i = 0; i < bytes; i++) {
        sums[i] += (uint32_t)enter[i] - leave[i];
        out[i] = box(sums[i], (uint32_t)before[i] + after[i], ww, fw);
    }
}

extern const struct view_kernels PASTE(view_kernels_, SIMD_LEVEL);
const struct view_kernels PASTE(view_kernels_, SIMD_LEVEL) = {
    STRING(SIMD_LEVEL), resample_rows, resample_column, colour, blur_row, blur_column,
};
