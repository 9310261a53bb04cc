/* SPDX-License-Identifier: MIT
 *
 * optimizer: norms for LARS, and the check of gradients over slabs of f32. Updates are loops of simd_table.h, which
 * cpu_update calls piece by piece (kern_ema is in kernels.h). What a reader would get wrong: the sum of squares does
 * not depend on the number of threads, because the slab is always cut into the same parts. Like every kernel, these
 * must be called between parallel_enter and parallel_leave. */
#ifndef MOCO_CPU_OPTIMIZER_H
#define MOCO_CPU_OPTIMIZER_H

#include "backend/cpu/kernels/kernels.h"

struct slab_range {
    size_t first, count; /* numbers of one parameter */
};

/* |p| and |g + weight_decay * p|, the same whatever the number of threads. */
void slab_norms(const struct kern_team *team, size_t count, double weight_decay, const float *p, const float *g,
                double *weight, double *pull);
/* Sum of squares of `count` numbers in double (infinite or NaN as they make it); *bad: the first of `ranges` that holds
 * a number that is not finite, or -1. */
void slab_check(const struct kern_team *team, size_t count, const float *g, const struct slab_range *ranges,
                int range_count, double *sum_squares, int *bad);

#endif
