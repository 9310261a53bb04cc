/* SPDX-License-Identifier: MIT
 *
 * loss: what the kernels of losses share. */
#ifndef MOCO_BACKEND_CUDA_LOSS_CUH
#define MOCO_BACKEND_CUDA_LOSS_CUH

#include "backend/cuda/kernels/kernel.cuh"

/* The part of m places that the positive takes if ties are broken by chance. */
static __device__ __forceinline__ double within(double m, double larger, double equal)
{
    double part = (m - larger) / (equal + 1);
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

/* For every thread. */
static __device__ __forceinline__ double spread(double value)
{
    SHARED(double, all, [1]);
    __syncthreads();
    if (threadIdx.x == 0)
        all[0] = value;
    __syncthreads();
    return all[0];
}

static __device__ __forceinline__ float block_max(float value)
{
    SHARED(float, most, [CUDA_BLOCK]);
    most[threadIdx.x] = value;
    __syncthreads();
    for (int i = 0; i < CUDA_BLOCK; i++)
        value = most[i] > value ? most[i] : value;
    return value;
}

/* What a query has come to, in the order in which the step adds it up. */
static __device__ __forceinline__ void write_result(double *result, double loss, float positive, double larger,
                                                    double equal, double negatives, double count)
{
    result[0] = loss;
    result[1] = within(1, larger, equal);
    result[2] = within(5, larger, equal);
    result[3] = positive;
    result[4] = count > 0 ? negatives / count : 0;
}

#endif
