/* SPDX-License-Identifier: MIT
 *
 * cpu_weights: folded weights: of each convolution one copy or more, in the orders that plans read, and its bias; of
 * linear layers, and of batch norms that are not folded, their vectors. What a reader would get wrong: oneDNN chooses
 * the order of a convolution's weights with the shape of its input. A plan is first offered the order that is there;
 * only where oneDNN would fall back to another implementation for it is a second copy made. A convolution whose first
 * plan takes Winograd's kernel has one copy, and all later plans take that kernel by the same tiles, because masters may
 * be gone when a plan for images of another size is made. */
#ifndef MOCO_CPU_WEIGHTS_H
#define MOCO_CPU_WEIGHTS_H

#include "backend/cpu/cpu_conv.h"
#include "backend/cpu/cpu_param.h"

struct cpu_weights_copy {
    struct kern_winograd
        wino; /* tile 0: the copy has an order; else it is of this form, and order and fill are empty */
    struct shim_md order;
    struct shim_prim fill; /* from the master's order; empty: they are one */
    struct be_memory memory;
    struct cpu_weights_copy *next;
};

struct cpu_weights_of {
    struct cpu_weights_copy *copies; /* of a convolution: the one that plans are offered is first */
    struct be_memory vector; /* convolution: bias [co]; linear: weight, bias; batch norm: mean, 1 / deviation, weight,
                                bias, [4][c] */
};

struct be_weights {
    struct be_device *dev;
    const struct graph *graph;
    const struct be_layout *layout;
    enum be_precision precision;
    struct cpu_weights_of *of; /* [layout->count]: those of an op, at its first parameter */
    size_t scratch_bytes; /* of a fold: a convolution's folded weights in the master's order, what a reorder takes */
    int folded;
};

/* Without copies: plans make them. */
moco_status cpu_weights_make(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                             const struct be_layout *layout, enum be_precision precision, struct err *err);
/* Slots of the device; the others are in cpu_plan.h. */
void cpu_weights_free(struct be_weights *weights);
size_t cpu_weights_bytes(const struct be_weights *weights);

/* Makes the convolution as cpu_conv_create does, and sees to a copy of its weights in the order that it reads, whose
 * address is *at. */
moco_status cpu_weights_conv(struct be_weights *weights, const struct graph_op *op, const struct shim_conv_spec *spec,
                             struct cpu_conv *conv, const void **at, struct err *err);

const float *cpu_weights_vector(const struct be_weights *weights, const struct graph_op *op);
const float *cpu_weights_bias(const struct be_weights *weights, const struct graph_op *op); /* linear; NULL: none */

/* What an op's fold gets as its masters. */
struct cpu_masters {
    const float *slab;      /* or NULL: */
    const float *const *at; /* [layout->count]: where those of this op are, in the slab's order */
    char *scratch;          /* be_weights.scratch_bytes of it */
};
const float *cpu_weights_master(const struct be_weights *weights, const void *masters, const struct graph_op *op,
                                int which); /* NULL: the op has none */

#endif
