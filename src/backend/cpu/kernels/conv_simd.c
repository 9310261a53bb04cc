/* SPDX-License-Identifier: MIT
 *
 * conv_simd: the inner loops of convolutions. One loop computes one pixel of an output map for several samples at
 * once; these agree on which part of the kernel is inside the picture, so that nothing outside is multiplied. The
 * other is the product of two panels, for the gradient of the weights. All of it works on words of four bytes: a
 * float, or a pair of bf16 with the instruction that multiplies pairs. A level without that instruction has no loops
 * for bf16; oneDNN's primitives are used. What a reader would get wrong: the product of panels also prefetches what
 * comes next, one line a step. A product that waits for memory at every new stretch loses a quarter of its rate on
 * large maps. */
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/simd_table.h"

/* What stays in registers: samples, or channels of x, by vectors of outputs. */
#if defined(__AVX512F__)
enum { ROWS = 8, VECTORS = 2 };
#else
enum { ROWS = 4, VECTORS = 3 };
#endif

#if defined(__AVX2__) /* lower levels have no loops, and nothing that these need */

INLINE vf multiply_add(int bf16, uint32_t word, vu right, vf sum)
{
#if defined(__AVX512BF16__)
    if (bf16)
        return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)word), (__m512bh)right);
#endif
    (void)bf16;
    return fma_vf((vf)(word - (vu){0}), (vf)right, sum);
}

INLINE vu load_words(const uint32_t *at)
{
    vu v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* ---- places of an output map ---- */

INLINE void put_outputs(int bf16, char *y, vf sum)
{
#if defined(__AVX512BF16__)
    if (bf16) {
        __m256bh half = _mm512_cvtneps_pbh((__m512)sum);
        memcpy(y, &half, sizeof half);
        return;
    }
#endif
    (void)bf16;
    memcpy(y, &sum, sizeof sum);
}

/* `rows` samples by `vectors` blocks of outputs. */
INLINE void place_tile(const struct conv_place *p, int bf16, size_t rows, size_t vectors, const uint32_t *x,
                       const uint32_t *weights, char *y)
{
    vf sum[ROWS][VECTORS];
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < vectors; v++)
            sum[i][v] = (vf){0};
    for (size_t t = 0; t < p->tap_count; t++) {
        const uint32_t *from = x + p->taps[t].x, *w = weights + p->taps[t].weights;
        for (size_t b = 0; b < p->blocks; b++, from += p->block, w += p->weights_block)
            for (size_t c = 0; c < (bf16 ? LANES / 2 : LANES); c++) {
                vu right[VECTORS];
                for (size_t v = 0; v < vectors; v++)
                    right[v] = load_words(w + v * p->weights_output + c * LANES);
                for (size_t i = 0; i < rows; i++)
                    for (size_t v = 0; v < vectors; v++)
                        sum[i][v] = multiply_add(bf16, from[i * p->sample + c], right[v], sum[i][v]);
            }
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < vectors; v++)
            put_outputs(bf16, y + i * p->y_sample + v * p->y_block, sum[i][v]);
}

INLINE void place_rows(const struct conv_place *p, int bf16, size_t rows, size_t first)
{
    const uint32_t *x = p->x + first * p->sample, *weights = p->weights;
    char *y = (char *)p->y + first * p->y_sample;
    size_t left = p->outputs;
    for (; left >= VECTORS; left -= VECTORS, weights += VECTORS * p->weights_output, y += VECTORS * p->y_block)
        place_tile(p, bf16, rows, VECTORS, x, weights, y);
    if (VECTORS == 3 && left == 2)
        place_tile(p, bf16, rows, 2, x, weights, y);
    else if (left > 0)
        place_tile(p, bf16, rows, 1, x, weights, y);
}

INLINE void place_samples(const struct conv_place *p, int bf16)
{
    size_t at = 0;
    for (; at + ROWS <= p->samples; at += ROWS)
        place_rows(p, bf16, ROWS, at);
    if (ROWS > 4 && at + 4 <= p->samples) {
        place_rows(p, bf16, 4, at);
        at += 4;
    }
    if (at + 2 <= p->samples) {
        place_rows(p, bf16, 2, at);
        at += 2;
    }
    if (at < p->samples)
        place_rows(p, bf16, 1, at);
}

/* ---- products of panels ---- */

INLINE void fetch_one(struct conv_fetch *fetch)
{
    __builtin_prefetch(fetch->row + fetch->at, 0, 2);
    fetch->at += 64;
    if (fetch->at >= fetch->width) {
        fetch->at = 0;
        fetch->row += fetch->stride;
    }
}

/* ROWS channels of x, from `first`, by `vectors` blocks of dy. */
INLINE void panel_tile(const struct conv_tile *tile, int bf16, size_t first, size_t vectors)
{
    vf sum[ROWS][VECTORS];
    float *out = tile->out + first * LANES;
    size_t fetches = tile->fetches < tile->fetch->lines ? tile->fetches : tile->fetch->lines;
    struct conv_fetch fetch = *tile->fetch;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t v = 0; v < vectors; v++)
            sum[i][v] = tile->add ? load_vf(out + i * LANES + v * tile->out_step) : (vf){0};
    fetch.lines -= fetches;
    for (size_t r = 0; r < tile->run_count; r++) {
        const struct conv_run *run = &tile->runs[r];
        const uint32_t *x = tile->x + run->x * LANES + first, *dy = tile->dy + run->dy * LANES;
        for (size_t steps = run->steps; steps > 0; steps--, x += tile->stride, dy += LANES) {
            vu right[VECTORS];
            for (size_t v = 0; v < vectors; v++)
                right[v] = load_words(dy + v * tile->panel);
            for (size_t i = 0; i < ROWS; i++)
                for (size_t v = 0; v < vectors; v++)
                    sum[i][v] = multiply_add(bf16, x[i], right[v], sum[i][v]);
            if (fetches > 0) {
                fetch_one(&fetch);
                fetches--;
            }
        }
    }
    fetch.lines += fetches; /* more than there were steps */
    *tile->fetch = fetch;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t v = 0; v < vectors; v++)
            store_vf(out + i * LANES + v * tile->out_step, sum[i][v]);
}

INLINE void multiply_panels(const struct conv_tile *tile, int bf16)
{
    for (size_t first = 0; first < LANES; first += ROWS)
        if (tile->vectors == VECTORS)
            panel_tile(tile, bf16, first, VECTORS);
        else if (VECTORS == 3 && tile->vectors == 2)
            panel_tile(tile, bf16, first, 2);
        else
            panel_tile(tile, bf16, first, 1);
}

static void place_f32(const struct conv_place *p)
{
    place_samples(p, 0);
}

static void multiply_f32(const struct conv_tile *tile)
{
    multiply_panels(tile, 0);
}

#define F32_LOOPS place_f32, multiply_f32
#else
#define F32_LOOPS NULL, NULL
#endif

#if defined(__AVX512BF16__)

static void place_bf16(const struct conv_place *p)
{
    place_samples(p, 1);
}

static void multiply_bf16(const struct conv_tile *tile)
{
    multiply_panels(tile, 1);
}

/* Numbers 0 and up of a and b in turn: a0 b0 a1 b1 ... */
static const uint16_t in_turn[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                     8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};

static void pack(const uint16_t *const *pixels, size_t pairs, size_t channels, size_t panel, uint32_t *out)
{
    __m512i low = _mm512_loadu_si512(in_turn), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    for (size_t t = 0; t < pairs; t++, out += 16) {
        const uint16_t *a = pixels[2 * t], *b = pixels[2 * t + 1];
        uint32_t *to = out;
        size_t c = 0;
        for (; c + 32 <= channels; c += 32, to += 2 * panel) {
            __m512i x = _mm512_loadu_si512(a + c), y = _mm512_loadu_si512(b + c);
            _mm512_store_si512(to, _mm512_permutex2var_epi16(x, low, y));
            _mm512_store_si512(to + panel, _mm512_permutex2var_epi16(x, high, y));
        }
        if (c < channels) { /* 16 left */
            __m512i x = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(a + c)));
            __m512i y = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(b + c)));
            _mm512_store_si512(to, _mm512_permutex2var_epi16(x, low, y));
        }
    }
}

#define BF16_LOOPS place_bf16, multiply_bf16, pack
#else
#define BF16_LOOPS NULL, NULL, NULL
#endif

const struct conv_loops SIMD_NAME(conv_loops) = {LANES, ROWS, VECTORS, {{F32_LOOPS, NULL}, {BF16_LOOPS}}};
