/* SPDX-License-Identifier: MIT
 *
 * infonce: loss, gradient and ranks of queries against positives and a queue, in one pass over the queue. The
 * softmax is computed online, as in attention whose keys and values are both the queue: there is no matrix of all
 * logits and no copy of the queue. What a reader would get wrong: each thread takes a part of the queue, for all
 * queries. The parts are merged in their order, so that results depend on the number of threads only by rounding.
 * Inputs that are not finite give a loss that is not finite. */
#ifndef MOCO_CPU_INFONCE_H
#define MOCO_CPU_INFONCE_H

#include "backend/cpu/kernels/kernels.h"
#include "backend/host_program.h"

/* Bytes, whatever the queue's length: at most 16 MB on 16 threads for up to 512 dimensions, or 2048 that fill whole
 * vectors. The block is aligned to 64. */
size_t cpu_infonce_scratch(const struct kern_team *team, int n, int dim);

/* Between parallel_enter and parallel_leave. Reals are f32. */
void cpu_infonce(const struct kern_team *team, const struct be_infonce *io, double temperature, void *scratch,
                 struct host_sums *out);

#endif
