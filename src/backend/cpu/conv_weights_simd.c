/* SPDX-License-Identifier: MIT
 *
 * conv_weights_simd: the two inner loops of a convolution's weight gradient in bf16: pixels packed into pairs, and the
 * product of packed panels, 16 channels of x by 16 or 32 of dy, with the instruction that multiplies pairs. Only the
 * level that has it fills its table; elsewhere oneDNN's primitive stays. What a reader would get wrong: a tile also
 * fetches what is packed next, one line a step, because a product that waits for memory at every stretch of pixels
 * loses a quarter of its rate where maps are large. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd_table.h"

#if defined(__AVX512BF16__)

enum { ROWS = 8, VECTORS = 2 }; /* of a tile that stays in registers: channels of x, vectors of dy */

/* Numbers 0 and 16 and up of a and b in turn: a0 b0 a1 b1 ... */
static const uint16_t turn_low[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                      8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};

static void pack(const uint16_t *const *pixels, size_t pairs, size_t channels, size_t panel, uint32_t *out)
{
    __m512i low = _mm512_loadu_si512(turn_low), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
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

/* A line further through what is packed next. */
INLINE void fetch_one(struct conv_fetch *fetch)
{
    _mm_prefetch(fetch->row + fetch->at, _MM_HINT_T1);
    fetch->at += 64;
    if (fetch->at >= fetch->width) {
        fetch->at = 0;
        fetch->row += fetch->stride;
    }
}

/* Eight channels of x by `vectors` vectors of dy, at out[i * 16 + v * out_step]. */
INLINE void product(const struct conv_tile *tile, size_t first, size_t vectors)
{
    vf sum[ROWS][VECTORS];
    float *out = tile->out + first * 16;
    size_t fetches = tile->fetches < tile->fetch->lines ? tile->fetches : tile->fetch->lines;
    struct conv_fetch fetch = *tile->fetch;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t v = 0; v < vectors; v++)
            sum[i][v] = tile->add ? load_vf(out + i * 16 + v * tile->out_step) : (vf){0};
    fetch.lines -= fetches;
    for (size_t r = 0; r < tile->run_count; r++) {
        const uint32_t *x = tile->x + (size_t)tile->runs[r].x * 16 + first,
                       *dy = tile->dy + (size_t)tile->runs[r].dy * 16;
        for (size_t pairs = tile->runs[r].pairs; pairs > 0; pairs--, x += tile->stride, dy += 16) {
            __m512bh right[VECTORS];
            for (size_t v = 0; v < vectors; v++)
                right[v] = (__m512bh)_mm512_load_si512(dy + v * tile->panel);
            for (size_t i = 0; i < ROWS; i++) {
                __m512bh left = (__m512bh)_mm512_set1_epi32((int)x[i]);
                for (size_t v = 0; v < vectors; v++)
                    sum[i][v] = (vf)_mm512_dpbf16_ps((__m512)sum[i][v], left, right[v]);
            }
            if (fetches > 0) {
                fetch_one(&fetch);
                fetches--;
            }
        }
    }
    fetch.lines += fetches; /* more than there were pairs */
    *tile->fetch = fetch;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t v = 0; v < vectors; v++)
            store_vf(out + i * 16 + v * tile->out_step, sum[i][v]);
}

static void multiply(const struct conv_tile *tile)
{
    for (size_t first = 0; first < 16; first += ROWS)
        if (tile->vectors == 2)
            product(tile, first, 2);
        else
            product(tile, first, 1);
}

const struct conv_loops SIMD_NAME(conv_loops) = {pack, multiply};

#else

const struct conv_loops SIMD_NAME(conv_loops) = {NULL, NULL};

#endif
