/* SPDX-License-Identifier: MIT
 *
 * cuda_loss: InfoNCE and NT-Xent. Rows of up to 128 numbers are done in one pass over the candidates, and one over the
 * queries if candidates have a gradient (kernels/nce.cu); longer ones are similarities by a product, softmax, gradients by
 * products (kernels/loss.cu). What a reader would get wrong: such a batch is done some queries at a time, so that its
 * similarities take at most 16 MiB, or one row. */
#ifndef MOCO_BACKEND_CUDA_LOSS_H
#define MOCO_BACKEND_CUDA_LOSS_H

#include "backend/cuda/cuda.h"

size_t cuda_infonce_scratch(struct be_device *dev, int n, int dim, int64_t length);
moco_status cuda_infonce(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err);
size_t cuda_batch_loss_scratch(struct be_device *dev, int n, int keys, int dim);
moco_status cuda_batch_loss(struct be_program *program, const struct be_batch_loss *io, void *scratch, struct err *err);

#endif
