/* SPDX-License-Identifier: MIT
 *
 * cuda_params: a plan of this device, as its ops see it: its program, as the shared compiler makes it, its buffers, and where
 * parameters are. Feature maps are [n][h][w][c] of f32, bf16 or fp16, vectors are f32. What a reader would get wrong: ops run
 * within cuda_enter, and only queue. */
#ifndef MOCO_BACKEND_CUDA_PARAMS_H
#define MOCO_BACKEND_CUDA_PARAMS_H

#include "backend/cuda/cuda.h"
#include "backend/program/program.h"

struct be_plan {
    struct program program;
    struct be_device *dev;
    size_t
        timed_weight; /* bytes of the largest weight of a convolution that has engines to be timed; 0: there is none */
};

struct be_weights {
    struct be_device *dev;
    const struct graph *graph;
    const struct be_layout *layout;
    enum be_precision precision;
    void *copies;            /* of the folded weights, in 16-bit numbers */
    struct be_memory memory; /* the parameters in the slab's layout; behind them the shifts of batch norms without a
                                bias, each where the graph has its statistics */
    int folded;
};

/* cuda_plan.c */
extern const struct program_op *const cuda_program_ops[OP_KINDS];
moco_status cuda_layout_check(const struct be_layout *layout, const struct graph *graph, struct err *err);

static inline const struct graph_value *cuda_value(const struct be_plan *plan, int value)
{
    return &plan->program.spec.graph->values[value];
}

static inline void *cuda_buffer(const struct be_plan *plan, int buffer)
{
    return program_at(&plan->program, buffer, 0);
}

static inline void *cuda_value_at(const struct be_plan *plan, int value)
{
    return program_value_at(&plan->program, value, 0);
}

/* Of the three kernels `kernel` (CUDA_STORED), the one for this value's numbers. */
static inline enum cuda_kernel cuda_stored(const struct be_plan *plan, enum cuda_kernel kernel, int value)
{
    return plan->program.value_vector[value] ? kernel : kernel + cuda_storage(plan->program.spec.precision);
}

/* Channels of a map as it is stored: a picture's may be padded. */
static inline int cuda_channels(const struct be_plan *plan, int value)
{
    const struct program *p = &plan->program;
    return value == p->spec.graph->input ? p->picture_channels : p->spec.graph->values[value].c;
}

/* A parameter of an op in a slab of a layout, and of the plan's; NULL: the op has none. */
float *cuda_param_of(const struct be_layout *layout, const void *slab, const struct graph_op *op, int which);
float *cuda_param_in(const struct be_plan *plan, const void *slab, const struct graph_op *op, int which);

/* What a run reads: a convolution's weight, as maps are stored; and every other parameter, which is f32. */
const void *cuda_conv_weight(const struct program_forward *run, const struct graph_op *op);
const void *cuda_conv_weight_back(const struct program_backward *run, const struct graph_op *op);
const float *cuda_other_param(const struct program_forward *run, const struct graph_op *op, int which);

/* INFER: the shift of a batch norm. */
const float *cuda_shift(const struct program_forward *run, const struct graph_op *bn);

/* A batch norm's weight and bias become scale and shift in folded weights. args gets what is common with the weights of a
 * convolution. */
moco_status cuda_fold_bn(struct be_weights *weights, const struct graph_op *bn, const void *stats,
                         struct fold_args *args, struct err *err);

#endif
