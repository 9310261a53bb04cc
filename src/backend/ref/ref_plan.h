/* SPDX-License-Identifier: MIT
 *
 * ref_plan: what a plan of the reference backend knows: which ops run, where their values lie, and for how long. The
 * program is the graph's ops in order and, for backward, in reverse: op i runs forward at step i, backward at step
 * 2 * ops - 1 - i; buffers live over steps of that one count. */
#ifndef MOCO_BACKEND_REF_PLAN_H
#define MOCO_BACKEND_REF_PLAN_H

#include "backend/memplan.h"
#include "backend/ref/ref.h"
#include "backend/ref/ref_ops.h"

struct ref_value {
    struct ref_shape shape;
    size_t count;               /* numbers of a launch */
    enum be_precision rounding; /* how it and its gradient are stored */
    int stored;                 /* 0: only ever inside a fused result, so never rounded */
    int readers;                /* ops of this plan that read it; the caller counts for the output */
    int needs_gradient;         /* a parameter lies before it */
    int buffer, gradient;       /* buffer numbers; -1: none. Values computed in place share one */
};

struct ref_node {
    int used;    /* the output depends on it */
    int folded;  /* INFER: a convolution whose weight holds the BN after it; or that BN, which only shifts */
    int adds[2]; /* the gradient of this input exists already: backward adds to it */
    /* buffers; -1: none */
    int kept; /* BN's saved statistics (INFER: the shift of one without bias), pooling's winners */
    int scratch, scratch_back;
    int d_param; /* this launch's gradient of the parameters, one after the other */
    int d_in;    /* gradient of an input before it is added */
};

struct be_plan {
    struct ctx *ctx;
    const struct graph *graph;
    const struct be_layout *layout;
    enum be_precision precision;
    enum be_pass pass;
    int n, groups, output, f32_input;
    struct ref_value *values;
    struct ref_node *nodes;
    struct memplan_buffer *buffers;
    int buffer_count;
    int folded_weights; /* buffer: INFER's own copy of the parameters, in the slab's layout; -1 */
    int has_weights;    /* plan_fold was called since plan_bind */
    struct be_plan_bytes bytes;
    char *slab;
};

static inline void *ref_at(const struct be_plan *plan, int buffer)
{
    return buffer < 0 ? NULL : plan->slab + plan->buffers[buffer].offset;
}

static inline struct ref_conv ref_window_of(const struct be_plan *plan, const struct graph_op *op)
{
    int linear = op->kind == OP_LINEAR;
    return (struct ref_conv){plan->values[op->in[0]].shape, plan->values[op->out].shape,
                             linear ? (struct ref_window){1, 1, 0}
                                    : (struct ref_window){op->kernel, op->stride, op->pad}};
}

#endif
