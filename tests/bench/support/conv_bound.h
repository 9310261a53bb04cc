/* SPDX-License-Identifier: MIT
 *
 * conv_bound: what the convolutions of a network would take by themselves: each at oneDNN's best time in its best
 * layout, over the whole launch at once or in the slices that the plan takes, whichever is faster. What a reader would
 * get wrong: it is measured in the memory that the measured code works in, so that both see the same pages. */
#ifndef MOCO_BENCH_CONV_BOUND_H
#define MOCO_BENCH_CONV_BOUND_H

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/cpu_program.h"

#define CONV_BOUND_SHAPES 64
#define CONV_BOUND_WAYS 4 /* two layouts, slices and the whole launch */

/* How often a launch runs each convolution; the first one, which reads images, has no backward data. */
struct conv_bound_passes {
    int forward, data, weights;
};

struct conv_bound_part {
    struct shim_prim prim[CONV_BOUND_WAYS];
    int repeats[CONV_BOUND_WAYS]; /* that make a launch */
    int count;
    double best; /* milliseconds of a launch, over all sweeps so far */
};

struct conv_bound {
    const struct be_device *dev; /* its threads run the convolutions */
    struct conv_bound_part part[3 * CONV_BOUND_SHAPES];
    int count, bf16, block;
    struct be_memory memory;
};

/* 0: a convolution has no fast implementation or no room, or there are too many shapes. */
int conv_bound_make(struct conv_bound *bound, const struct be_plan *plan, const struct conv_bound_passes *passes,
                    const struct be_memory *memory);
/* Milliseconds of all convolutions of a launch: the better of two runs of the best way for each. */
double conv_bound_sweep(struct conv_bound *bound);
/* The same from each convolution's best of all sweeps so far: what remains of a busy machine's noise is least. */
double conv_bound_best(const struct conv_bound *bound);
void conv_bound_free(struct conv_bound *bound);

#endif
#endif
