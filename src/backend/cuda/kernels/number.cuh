/* SPDX-License-Identifier: MIT
 *
 * number: how feature maps and the copies of convolutions' weights are stored: as f32, bf16 or fp16. Kernels compute in
 * f32 (sums of many numbers in double) whatever the storage, and round once, when they store: to nearest, ties to even.
 * A kernel over maps is a template of which there are three (STORED_KERNEL). What a reader would get wrong: a number that
 * is too large for fp16 becomes infinite, so that the step's checks see it. */
#ifndef MOCO_BACKEND_CUDA_NUMBER_CUH
#define MOCO_BACKEND_CUDA_NUMBER_CUH

#include "backend/cuda/kernels/kernel.cuh"

struct bf16 {
    uint16_t bits;
};

struct f16 {
    uint16_t bits;
};

#ifdef __CUDACC__
static __device__ __forceinline__ float bf16_to_float(uint16_t bits)
{
    return __uint_as_float((uint32_t)bits << 16);
}

static __device__ __forceinline__ uint16_t bf16_from_float(float value)
{
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

static __device__ __forceinline__ float f16_to_float(uint16_t bits)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

static __device__ __forceinline__ uint16_t f16_from_float(float value)
{
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#else
#include "half.h" /* the same numbers: only the payload of a NaN may be another */
#endif

static __device__ __forceinline__ float widened(float value)
{
    return value;
}

static __device__ __forceinline__ float widened(struct bf16 value)
{
    return bf16_to_float(value.bits);
}

static __device__ __forceinline__ float widened(struct f16 value)
{
    return f16_to_float(value.bits);
}

static __device__ __forceinline__ void store(float *to, float value)
{
    *to = value;
}

static __device__ __forceinline__ void store(struct bf16 *to, float value)
{
    to->bits = bf16_from_float(value);
}

static __device__ __forceinline__ void store(struct f16 *to, float value)
{
    to->bits = f16_from_float(value);
}

/* Number i of an array of them. */
template <class T> static __device__ __forceinline__ float get(const void *at, int64_t i)
{
    return widened(((const T *)at)[i]);
}

template <class T> static __device__ __forceinline__ void put(void *at, int64_t i, float value)
{
    store((T *)at + i, value);
}

/* What one load or store of 16, 8 or 4 bytes moves, whatever the numbers are. */
struct alignas(16) words16 {
    uint32_t w[4];
} MAY_ALIAS;
typedef uint64_t word8 MAY_ALIAS;
typedef uint32_t word4 MAY_ALIAS; /* a pair of 16 bits each */

/* Number j of 16 bits of words that were 0. */
template <class T> static __device__ __forceinline__ void pack(uint32_t *words, int j, float value)
{
    T one;
    store(&one, value);
    words[j / 2] |= (uint32_t)one.bits << j % 2 * 16;
}

/* How many numbers that is. */
template <class T> struct many {
    enum { N = (int)(16 / sizeof(T)) };
};

/* Numbers [i, i + N) of an array, at a multiple of 16 bytes; N numbers are a multiple of it, too. */
template <class T, int N> static __device__ __forceinline__ void get_many(float (&out)[N], const void *at, int64_t i)
{
    UNROLL for (int m = 0; m < N; m += many<T>::N) {
        if constexpr (sizeof(T) == sizeof(float)) {
            const struct quad in = *(const struct quad *)(const void *)((const float *)at + i + m);
            UNROLL for (int j = 0; j < 4; j++)
                out[m + j] = in.v[j];
        } else {
            const struct words16 in = *(const struct words16 *)(const void *)((const T *)at + i + m);
            UNROLL for (int j = 0; j < 8; j++)
                out[m + j] = widened(T{(uint16_t)(in.w[j / 2] >> j % 2 * 16)});
        }
    }
}

template <class T, int N> static __device__ __forceinline__ void put_many(void *at, int64_t i, const float (&in)[N])
{
    UNROLL for (int m = 0; m < N; m += many<T>::N) {
        if constexpr (sizeof(T) == sizeof(float)) {
            const struct quad out = {in[m], in[m + 1], in[m + 2], in[m + 3]};
            *(struct quad *)(void *)((float *)at + i + m) = out;
        } else {
            struct words16 out = {};
            UNROLL for (int j = 0; j < 8; j++)
                pack<T>(out.w, j, in[m + j]);
            *(struct words16 *)(void *)((T *)at + i + m) = out;
        }
    }
}

/* Three kernels of one body: `name` of T = float, and name_bf16, name_f16 (CUDA_STORED). */
#define STORED_KERNEL_AS(KIND, name, args)                                                                             \
    template <class T> static __device__ __forceinline__ void name(const struct args##_args &a);                       \
    KIND(name, args)                                                                                                   \
    {                                                                                                                  \
        name<float>(a);                                                                                                \
    }                                                                                                                  \
    KIND(name##_bf16, args)                                                                                            \
    {                                                                                                                  \
        name<struct bf16>(a);                                                                                          \
    }                                                                                                                  \
    KIND(name##_f16, args)                                                                                             \
    {                                                                                                                  \
        name<struct f16>(a);                                                                                           \
    }                                                                                                                  \
    template <class T> static __device__ __forceinline__ void name(const struct args##_args &a)
#define STORED_KERNEL(name, args) STORED_KERNEL_AS(KERNEL, name, args)
#define STORED_WIDE_KERNEL(name, args) STORED_KERNEL_AS(WIDE_KERNEL, name, args)

#endif
