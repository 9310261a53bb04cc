/* SPDX-License-Identifier: MIT
 *
 * all: every kernel, as one source for the compiler. */
#include "backend/cuda/kernels/bn.cu"
#include "backend/cuda/kernels/loss.cu"
#include "backend/cuda/kernels/map.cu"
#include "backend/cuda/kernels/nce.cu"
#include "backend/cuda/kernels/nearest.cu"
#include "backend/cuda/kernels/product.cu"
#include "backend/cuda/kernels/slab.cu"
#include "backend/cuda/kernels/step.cu"
#include "backend/cuda/kernels/view.cu"
