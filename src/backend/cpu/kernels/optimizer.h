/* SPDX-License-Identifier: MIT
 *
 * optimizer: SGD, LARS and the check of gradients over slabs of f32, as the layout code calls them piece by piece
 * (kern_ema is in kernels.h). What a reader would get wrong: the sum of squares does not depend on the number of
 * threads, since the slab is always cut into the same parts. Between parallel_enter and parallel_leave, like every
 * kernel. */
#ifndef MOCO_CPU_OPTIMIZER_H
#define MOCO_CPU_OPTIMIZER_H

#include "backend/cpu/kernels/kernels.h"

struct slab_range {
    size_t first, count; /* numbers of one parameter */
};

/* v = momentum * v + (g + weight_decay * p); p -= lr * v. */
void slab_sgd(const struct kern_team *team, size_t count, double lr, double momentum, double weight_decay, float *p,
              const float *g, float *v);

/* |p| and |g + weight_decay * p|, the same whatever the number of threads. */
void slab_norms(const struct kern_team *team, size_t count, double weight_decay, const float *p, const float *g,
                double *weight, double *pull);
/* v = momentum * v + lr * (g + weight_decay * p); p -= v. */
void slab_lars(const struct kern_team *team, size_t count, double lr, double momentum, double weight_decay, float *p,
               const float *g, float *v);

/* The same numbers in bf16, for readers in the masters' order. */
void slab_to_bf16(const struct kern_team *team, size_t count, const float *from, uint16_t *to);

/* Sum of squares of `count` numbers in double (infinite or NaN as they make it); *bad: the first of `ranges` that holds
 * a number that is not finite, or -1. */
void slab_check(const struct kern_team *team, size_t count, const float *g, const struct slab_range *ranges,
                int range_count, double *sum_squares, int *bad);

#endif
