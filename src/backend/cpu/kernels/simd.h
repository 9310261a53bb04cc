/* SPDX-License-Identifier: MIT
 *
 * simd: vectors of floats as wide as the level that a *_simd.c is compiled for, with loads and stores in f32 and
 * bf16. Only those files include it. What a reader would get wrong: a partial vector goes through the same
 * instructions as a full one (its unused lanes are zero), so that a number's result never depends on where a slab or
 * a thread's part ends. vcvtneps2bf16 turns denormals into zero, so that it is used only where there are none. */
#ifndef MOCO_CPU_SIMD_H
#define MOCO_CPU_SIMD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define SIMD_PASTE_(a, b) a##b
#define SIMD_PASTE(a, b) SIMD_PASTE_(a, b)
#define SIMD_NAME(x) SIMD_PASTE(SIMD_PASTE(x, _), SIMD_LEVEL) /* x_<level> */

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#define UNIT (4 * LANES) /* numbers handled at once: four vectors, a whole number of mask bytes */

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef uint16_t vh __attribute__((vector_size(LANES * 2)));
typedef uint8_t vb __attribute__((vector_size(LANES)));
typedef double vd __attribute__((vector_size(LANES * 4))); /* half as many doubles */
typedef float vf_half __attribute__((vector_size(LANES * 2)));

/* a * b + c, rounded once where the level has the instruction. */
INLINE vf fma_vf(vf a, vf b, vf c)
{
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

INLINE vf all_vf(float x)
{
    return x - (vf){0};
}

/* yes where the lane of mask is -1, no where it is 0. */
INLINE vf choose_vf(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

/* NaN stays NaN, and -0 stays -0: the instructions give the second operand where there is no larger one. */
INLINE vf relu_vf(vf x)
{
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x);
#elif defined(__AVX2__)
    return (vf)_mm256_max_ps(_mm256_setzero_ps(), (__m256)x);
#else
    return choose_vf(x < 0, (vf){0}, x);
#endif
}

INLINE vf load_vf(const float *at)
{
    vf v;
    memcpy(&v, at, sizeof v);
    return v;
}

INLINE void store_vf(float *at, vf v)
{
    memcpy(at, &v, sizeof v);
}

INLINE vf load_some(const float *at, size_t n)
{
    vf v = {0};
    memcpy(&v, at, n >= LANES ? sizeof v : n * sizeof *at);
    return v;
}

INLINE void store_some(float *at, vf v, size_t n)
{
    memcpy(at, &v, n >= LANES ? sizeof v : n * sizeof *at);
}

/* GCC 12 takes a plain conversion apart into halves here. */
INLINE vf from_bf16(vh half)
{
#if defined(__AVX512F__)
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)half), 16);
#elif defined(__AVX2__)
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)half), 16);
#else
    return (vf)(__builtin_convertvector(half, vu) << 16);
#endif
}

/* In the low half of each lane. */
INLINE vu bf16_bits(vf x)
{
    vu bits = (vu)x, high = bits >> 16, nan = (vu)(x != x);
    vu rounded = (bits + 0x7fff + (high & 1)) >> 16;
    return (nan & (high | 0x40)) | (~nan & rounded);
}

INLINE vh round_bf16(vf x)
{
    return __builtin_convertvector(bf16_bits(x), vh);
}

#if defined(__AVX512BF16__)
INLINE uint32_t denormals(vf x) /* a bit per lane */
{
    return _mm512_fpclass_ps_mask((__m512)x, 0x20);
}

/* Two vectors into one; 0 if there are denormals, and nothing is done. */
INLINE int pair_to_bf16(vi *out, vf a, vf b)
{
    *out = (vi)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
    return __builtin_expect((denormals(a) | denormals(b)) == 0, 1);
}
#endif

INLINE vh to_bf16(vf x)
{
#if defined(__AVX512BF16__)
    if (__builtin_expect(denormals(x) == 0, 1))
        return (vh)_mm512_cvtneps_pbh((__m512)x);
#endif
    return round_bf16(x);
}

/* n numbers (at most a vector of them) from place i of a map in f32 or bf16. */
INLINE vf get(const void *map, size_t i, size_t n, int bf16)
{
    if (!bf16)
        return load_some((const float *)map + i, n);
    vh half = {0};
    memcpy(&half, (const uint16_t *)map + i, n >= LANES ? sizeof half : n * sizeof(uint16_t));
    return from_bf16(half);
}

INLINE void put(void *map, size_t i, vf v, size_t n, int bf16)
{
    if (!bf16) {
        store_some((float *)map + i, v, n);
        return;
    }
    vh half = to_bf16(v);
    memcpy((uint16_t *)map + i, &half, n >= LANES ? sizeof half : n * sizeof(uint16_t));
}

/* One vector past the caches, to a multiple of its size. Other threads see it after streams_end(). */
INLINE void stream_vf(void *at, vf v)
{
#if defined(__AVX512F__)
    _mm512_stream_ps(at, (__m512)v);
#elif defined(__AVX2__)
    _mm256_stream_ps(at, (__m256)v);
#else
    memcpy(at, &v, sizeof v);
#endif
}

INLINE void streams_end(void)
{
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

/* n numbers, at most a unit of them. `stream`: past the caches, where the level can. */
INLINE void put_unit(void *map, size_t i, const vf v[4], size_t n, int bf16, int stream)
{
#if defined(__AVX512BF16__)
    vi low, high;
    if (bf16 && n >= UNIT && pair_to_bf16(&low, v[0], v[1]) && pair_to_bf16(&high, v[2], v[3])) {
        uint16_t *to = (uint16_t *)map + i;
        if (stream) {
            stream_vf(to, (vf)low);
            stream_vf(to + 2 * LANES, (vf)high);
        } else {
            memcpy(to, &low, sizeof low);
            memcpy(to + 2 * LANES, &high, sizeof high);
        }
        return;
    }
#endif
    for (size_t k = 0; k < 4 && k * LANES < n; k++) {
        if (stream && !bf16 && n >= UNIT)
            stream_vf((float *)map + i + k * LANES, v[k]);
        else
            put(map, i + k * LANES, v[k], n - k * LANES, bf16);
    }
}

/* LANES bytes, 0 to 255. GCC 12 takes __builtin_convertvector apart into single bytes here. */
INLINE vi from_bytes(const uint8_t *at)
{
#if defined(__AVX512F__)
    return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)at));
#elif defined(__AVX2__)
    return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)at));
#else
    vb bytes;
    memcpy(&bytes, at, sizeof bytes);
    return __builtin_convertvector(bytes, vi);
#endif
}

/* One bit per lane. */
INLINE uint32_t bits_of(vi mask)
{
#if defined(__AVX512F__)
    return (uint32_t)_mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps((__m256)mask);
#else
    uint32_t bits = 0;
    for (int lane = 0; lane < LANES; lane++)
        bits |= (uint32_t)(mask[lane] & 1) << lane;
    return bits;
#endif
}

/* The lanes where x > 0. */
INLINE uint32_t positive(vf x)
{
#if defined(__AVX512F__)
    return (uint32_t)_mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_GT_OQ);
#else
    return bits_of(x > 0);
#endif
}

/* x where the lane's bit is 1, else 0. */
INLINE vf keep_lanes(vf x, uint32_t bits)
{
#if defined(__AVX512F__)
    return (vf)_mm512_maskz_mov_ps((__mmask16)bits, (__m512)x);
#else
    vi lane_bit;
    for (int lane = 0; lane < LANES; lane++)
        lane_bit[lane] = 1 << lane;
    return (vf)((vi)x & ((((int32_t)bits - (vi){0}) & lane_bit) != 0));
#endif
}

/* The lanes in a fixed order, in double. */
INLINE double sum_vd(vd v)
{
    double sum = 0;
    for (int lane = 0; lane < LANES / 2; lane++)
        sum += v[lane];
    return sum;
}

INLINE void halves(vf v, vd *low, vd *high)
{
    vf_half part[2];
    memcpy(part, &v, sizeof part);
    *low = __builtin_convertvector(part[0], vd);
    *high = __builtin_convertvector(part[1], vd);
}

#endif
