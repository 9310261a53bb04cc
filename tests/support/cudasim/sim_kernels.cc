/* SPDX-License-Identifier: MIT
 *
 * sim_kernels: see sim_kernels.h. The source is the one that nvcc is given. */
#include "support/cudasim/sim_kernels.h"

#include "support/cudasim/simt.h"

#include "backend/cuda/kernels/all.cu"

#define RUN(name, args)                                                                                                \
    static void run_##name(const void *a)                                                                              \
    {                                                                                                                  \
        moco_##name(*(const struct args##_args *)a);                                                                   \
    }
CUDA_KERNELS(RUN)

#define ROW(name, args) {"moco_" #name, sizeof(struct args##_args), run_##name},
extern "C" const struct sim_kernel sim_kernels[] = {CUDA_KERNELS(ROW)};
extern "C" const int sim_kernel_count = CUDA_KERNEL_COUNT;
