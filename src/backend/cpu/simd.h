/* SPDX-License-Identifier: MIT
 *
 * simd: vectors of floats as wide as the level that a *_simd.c is compiled for, and their loads and stores in f32 and
 * bf16. Only those files include it. What a reader would get wrong: a partial vector goes through the same instructions
 * as a full one (its unused lanes are zero), so that a number's result never depends on where a slab or thread ends.
 * bf16 is rounded with integers: vcvtneps2bf16 would turn denormals into zero, and memory is slower than either. */
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

/* NaN stays NaN, and is what max(0, x) would lose. */
INLINE vf relu_vf(vf x)
{
    return choose_vf(x < 0, (vf){0}, x);
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

INLINE vf from_bf16(vh half)
{
    return (vf)(__builtin_convertvector(half, vu) << 16);
}

INLINE vh to_bf16(vf x)
{
    vu bits = (vu)x, high = bits >> 16, nan = (vu)(x != x);
    vu rounded = (bits + 0x7fff + (high & 1)) >> 16;
    return __builtin_convertvector((nan & (high | 0x40)) | (~nan & rounded), vh);
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

/* One bit per lane, and back. */
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

INLINE vi lanes_of(uint32_t bits)
{
#if defined(__AVX512F__)
    return (vi)_mm512_movm_epi32((__mmask16)bits);
#else
    vi lane_bit;
    for (int lane = 0; lane < LANES; lane++)
        lane_bit[lane] = 1 << lane;
    return (((int32_t)bits - (vi){0}) & lane_bit) != 0;
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
