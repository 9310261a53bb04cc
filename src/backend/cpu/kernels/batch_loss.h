/* SPDX-License-Identifier: MIT
 *
 * batch_loss: InfoNCE against the keys of the batch, and NT-Xent: loss, gradients to queries and keys, and ranks.
 * What a reader would get wrong: there are two passes over all pairs, because the gradient of a key needs the
 * softmax of every query. Cosines are computed twice rather than kept, so that memory grows with the batch and not
 * with its square. */
#ifndef MOCO_CPU_BATCH_LOSS_H
#define MOCO_CPU_BATCH_LOSS_H

#include "backend/cpu/kernels/kernels.h"
#include "backend/host_program.h"

/* Bytes; keys 0: NT-Xent. The block is aligned to 64. */
size_t cpu_batch_loss_scratch(const struct kern_team *team, int n, int keys, int dim);

/* Between parallel_enter and parallel_leave. Reals are f32. */
void cpu_batch_loss(const struct kern_team *team, const struct be_batch_loss *io, double temperature, void *scratch,
                    struct host_sums *out);

#endif
