/* SPDX-License-Identifier: MIT
 *
 * cuda_product: convolutions and products of matrices (kernels/product.cu). What a reader would get wrong: how many
 * parts a sum is split into depends on the shape alone, never on the GPU, so that a product has the same bits on all. */
#ifndef MOCO_BACKEND_CUDA_PRODUCT_H
#define MOCO_BACKEND_CUDA_PRODUCT_H

#include "backend/cuda/cuda.h"

/* The shape of a product of matrices, in args: forward: out [m][n] = A [m][k] B [n][k]^T; data: A [m][k] B [k][n];
 * weights: A [k][m]^T B [k][n]. */
struct product_args cuda_matrix(enum cuda_kernel kernel, int m, int n, int k);

/* Chooses args->splits; the bytes of device memory that it wants as args->parts (0: none). */
size_t cuda_product_split(enum cuda_kernel kernel, struct product_args *args);

/* Queues it; within cuda_enter. `storage` of the factors: cuda_storage. */
moco_status cuda_product(struct be_device *dev, enum cuda_kernel kernel, int storage, const struct product_args *args,
                         struct err *err);

/* Slots: of host arrays, by way of device memory. They wait. */
moco_status cuda_gemm_nt(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                         float *c, struct err *err);
moco_status cuda_gemm_tn(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                         float *c, struct err *err);

#endif
