/* SPDX-License-Identifier: MIT
 *
 * kernel: what every kernel's source begins with. Kernels are the common part of C++ and CUDA: where nvcc is not the
 * compiler, whoever compiles them puts a header in front that says what blocks and threads are
 * (tests/support/cudasim/simt.h). What a reader would get wrong: sums are written as fma where they are to be fused, since
 * a flag forbids the compiler to fuse by itself; a result then is the same bits in two kernels, and in the simulator. */
#ifndef MOCO_BACKEND_CUDA_KERNEL_CUH
#define MOCO_BACKEND_CUDA_KERNEL_CUH

#include "backend/cuda/kernels/args.h"

#ifdef __CUDACC__
#define SHARED(type, name, dims) __shared__ type name dims
#define UNROLL _Pragma("unroll") /* of loops over arrays that are to stay in registers */
#define MAY_ALIAS
#else
#define UNROLL
#define MAY_ALIAS __attribute__((may_alias))
#endif

#define KERNEL(name, args)                                                                                             \
    extern "C" __global__ void __launch_bounds__(CUDA_BLOCK) moco_##name(const struct args##_args a)

/* One that needs so many registers that no more than two of its blocks are to share a multiprocessor. */
#define WIDE_KERNEL(name, args)                                                                                        \
    extern "C" __global__ void __launch_bounds__(CUDA_BLOCK, 2) moco_##name(const struct args##_args a)

/* What one load or store of 16 bytes moves. */
struct alignas(16) quad {
    float v[4];
};

/* Numbers [c, c + 4) of a row; beyond its end 0. `wide`: the row begins, and c is, at a multiple of 16 bytes. */
static __device__ __forceinline__ struct quad four_of(const float *row, int c, int count, bool wide)
{
    struct quad out = {};
    if (wide && c + 4 <= count)
        return *(const struct quad *)(const void *)(row + c);
    UNROLL for (int j = 0; j < 4; j++)
        if (c + j < count)
            out.v[j] = row[c + j];
    return out;
}

/* The number of this thread in the grid, and how many there are; in one dimension. */
static __device__ __forceinline__ int64_t first_item()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ __forceinline__ int64_t item_step()
{
    return (int64_t)gridDim.x * blockDim.x;
}

static __device__ __forceinline__ bool is_finite(double x)
{
    return x - x == 0;
}

/* BE_BAD of the contract. */
static __device__ __forceinline__ void finding(struct cuda_step *step, uint32_t what, int64_t index)
{
    atomicMin(&step->bad, (unsigned long long)what << 48 | (unsigned long long)index);
}

/* The sum over the block's CUDA_BLOCK threads, for thread 0 alone; in an order that is always the same. */
static __device__ __forceinline__ double block_sum(double value)
{
    SHARED(double, sums, [CUDA_BLOCK]);
    unsigned t = threadIdx.x;
    __syncthreads(); /* of a call before this one */
    sums[t] = value;
    for (unsigned half = CUDA_BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half)
            sums[t] += sums[t + half];
    }
    return t == 0 ? sums[0] : 0;
}

#endif
