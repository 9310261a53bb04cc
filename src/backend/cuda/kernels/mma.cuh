/* SPDX-License-Identifier: MIT
 *
 * mma: products by tensor cores, of one warp: 16 x 8 numbers, each the sum of 8 products. Lane 4 g + t has, of the left
 * factor, rows g and g + 8 of columns t and t + 4; of the right one, rows t and t + 4 of column g; and of the result, rows g
 * and g + 8 of columns 2 t and 2 t + 1. Of factors of 16 bits it is the sum of 16 products, and where a number stood there are
 * two: columns 2 t and 2 t + 1 for t, and 8 more for t + 4 (rows of the right factor likewise).
 *
 * What a reader would get wrong: tensor cores read 11 bits of a float (TF32) and cut off what a sum has too much. What is
 * to be as good as f32 is therefore three products of halves (x = big + small up to 2^-23 of it), summed from 0 each time
 * and added to the result by ordinary additions. Products of 16 bits are exact, so that one is enough. */
#ifndef MOCO_BACKEND_CUDA_MMA_CUH
#define MOCO_BACKEND_CUDA_MMA_CUH

#include "backend/cuda/kernels/number.cuh"

#ifdef __CUDACC__
static __device__ __forceinline__ float to_tf32(float x)
{
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

/* x; what is made of it is made here, not before the loop around it, where it would take registers all the while. */
static __device__ __forceinline__ float not_before(float x)
{
    asm volatile("" : "+f"(x));
    return x;
}

static __device__ __forceinline__ int not_before(int x)
{
    asm volatile("" : "+r"(x));
    return x;
}

static __device__ __forceinline__ void mma_16x8x8(float (&d)[4], const float (&a)[4], const float (&b)[2])
{
    /* volatile: all lanes do it, so that it must not move into a branch that needs its result */
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
                   "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

#define MMA_16(name, type)                                                                                             \
    static __device__ __forceinline__ void name(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])         \
    {                                                                                                                  \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, " \
                     "{%8, %9}, {%0, %1, %2, %3};"                                                                     \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                  \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                              \
    }
MMA_16(mma_16x8x16_bf16, "bf16")
MMA_16(mma_16x8x16_f16, "f16")
#endif

/* What a lane has of N numbers of a factor. */
template <int N> struct halves {
    float big[N], small[N]; /* small: only of what is exact */
};

template <int N> static __device__ __forceinline__ void split(struct halves<N> &out, const float (&x)[N], bool exact)
{
    UNROLL for (int i = 0; i < N; i++)
    {
        out.big[i] = to_tf32(x[i]);
        out.small[i] = exact ? to_tf32(x[i] - out.big[i]) : 0.0f;
    }
}

/* d += a b, as good as f32 or in TF32; by all lanes of a warp. */
static __device__ __forceinline__ void multiply(float (&d)[4], const struct halves<4> &a, const struct halves<2> &b,
                                                bool exact)
{
    if (!exact) {
        mma_16x8x8(d, a.big, b.big);
        return;
    }
    float sum[4] = {};
    mma_16x8x8(sum, a.small, b.big);
    mma_16x8x8(sum, a.big, b.small);
    mma_16x8x8(sum, a.big, b.big);
    UNROLL for (int i = 0; i < 4; i++)
        d[i] += sum[i];
}

/* d += a b of numbers of 16 bits, two in a word, the first of them in its lower half. */
template <class T>
static __device__ __forceinline__ void multiply_16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
__device__ __forceinline__ void multiply_16<struct bf16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    mma_16x8x16_bf16(d, a, b);
}

template <>
__device__ __forceinline__ void multiply_16<struct f16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    mma_16x8x16_f16(d, a, b);
}

#endif
