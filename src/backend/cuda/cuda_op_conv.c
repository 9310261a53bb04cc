/* SPDX-License-Identifier: MIT
 *
 * cuda_op_conv: convolutions, and linear layers, which are convolutions of 1 x 1 maps, by kernels of our own in f32. */
#include "backend/cuda/cuda_params.h"
#include "backend/cuda/cuda_product.h"
#include "backend/program/program_buffers.h"

struct cuda_conv_back {
    int parts; /* WEIGHTS: of a product that is split */
};

static struct product_args shape_of(const struct be_plan *plan, const struct program_node *node)
{
    const struct graph_op *op = node->op;
    const struct graph_value *in = cuda_value(plan, node->in), *out = cuda_value(plan, op->out);
    struct product_args args = {.n = plan->program.spec.n,
                                .h = in->h,
                                .w = in->w,
                                .ci = in->c,
                                .oh = out->h,
                                .ow = out->w,
                                .co = out->c,
                                .kernel = op->kernel,
                                .stride = op->stride,
                                .pad = op->pad,
                                .splits = 1};
    if (op->kind == OP_LINEAR) {
        args.kernel = args.stride = 1;
        args.pad = 0;
    }
    return args;
}

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct cuda_conv_back *state = step->state;
    struct product_args args = shape_of(plan, step->node);
    state->parts = NONE;
    if (step->kind != STEP_WEIGHTS)
        return MOCO_OK;
    return program_buffer(&plan->program, &state->parts, cuda_product_split(CUDA_product_weights, &args), CLASS_SCRATCH,
                          moment, err);
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct product_args args = shape_of(plan, node);
    args.a = cuda_value_at(plan, node->in);
    args.b = cuda_weight(run, node->op);
    args.out = cuda_value_at(plan, node->out);
    args.other = cuda_value_at(plan, node->other);
    args.relu = node->relu;
    if (node->op->kind == OP_LINEAR)
        args.bias = cuda_other_param(run, node->op, 1);
    if (node->bn != NULL)
        args.bias = cuda_shift(run, node->bn);
    return cuda_product(plan->dev, CUDA_product_forward, &args, err);
}

static moco_status run_weights(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct cuda_conv_back *state = step->state;
    const struct graph_op *op = step->node->op;
    struct product_args args = shape_of(plan, step->node);
    args.a = cuda_buffer(plan, step->in[0]);
    if (op->param[1] >= 0) {
        struct map_args bias = {
            .dy = args.a, .y = cuda_param_in(plan, run->io->gradients, op, 1), .n = args.n, .c = args.co};
        TRY(cuda_launch_items(plan->dev, CUDA_bias_back, bias.c, &bias, err));
    }
    args.b = cuda_buffer(plan, step->in[1]);
    args.out = cuda_param_in(plan, run->io->gradients, op, 0);
    args.accumulate = 1;
    cuda_product_split(CUDA_product_weights, &args);
    args.parts = cuda_buffer(plan, state->parts);
    return cuda_product(plan->dev, CUDA_product_weights, &args, err);
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    if (step->kind == STEP_WEIGHTS)
        return run_weights(run, step, err);
    struct product_args args = shape_of(plan, step->node);
    args.a = cuda_buffer(plan, step->in[0]);
    args.b = cuda_param_in(plan, run->io->weights, step->node->op, 0);
    args.out = cuda_buffer(plan, step->out[0]);
    return cuda_product(plan->dev, CUDA_product_data, &args, err);
}

static moco_status fold(struct be_weights *weights, const struct graph_op *op, const struct graph_op *bn,
                        const void *masters, const void *stats, struct err *err)
{
    struct fold_args args = {0};
    (void)masters; /* the copy is queued already */
    if (bn == NULL)
        return MOCO_OK;
    TRY(cuda_fold_bn(weights, bn, stats, &args, err));
    args.weight = cuda_param_of(weights->layout, weights->memory.at, op, 0);
    args.count = weights->graph->params[op->param[0]].count;
    args.each = (int32_t)(args.count / args.c);
    return cuda_launch_items(weights->dev, CUDA_fold_weights, args.count, &args, err);
}

const struct program_op cuda_op_conv = {.back = sizeof(struct cuda_conv_back),
                                        .compile_back = compile_back,
                                        .run = run,
                                        .run_back = run_back,
                                        .fold = fold};

const struct program_op cuda_op_linear = {
    .back = sizeof(struct cuda_conv_back), .compile_back = compile_back, .run = run, .run_back = run_back};
