/* SPDX-License-Identifier: MIT
 *
 * cuda_op_conv: convolutions, by cuDNN where there is one and it has an engine for the shape, else by a kernel of our own;
 * and linear layers, which are convolutions of 1 x 1 maps, by that kernel always. What a reader would get wrong: which
 * engine cuDNN takes depends on the number of samples, so that a plan that promises the same bits at any number does
 * without. */
#include "backend/cuda/cuda_params.h"
#include "backend/cuda/cuda_product.h"
#include "backend/program/program_buffers.h"

/* One pass of a convolution by cuDNN. */
struct by_dnn {
    struct dnn_plan plan;
    int chosen;    /* 0: by our own kernel */
    int workspace; /* buffer; NONE */
};

struct cuda_conv {
    struct by_dnn dnn;
};

struct cuda_conv_back {
    struct by_dnn dnn;
    int gradient; /* WEIGHTS by cuDNN: this launch's, before it is added */
    int parts;    /* WEIGHTS by our own kernel: of a product that is split */
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
                                .splits = 1,
                                .tf32 = plan->program.spec.precision == BE_TF32};
    if (op->kind == OP_LINEAR) {
        args.kernel = args.stride = 1;
        args.pad = 0;
    }
    return args;
}

/* ---- cuDNN ---- */

static int may_use_dnn(const struct be_plan *plan, const struct graph_op *op)
{
    const struct be_plan_spec *spec = &plan->program.spec;
    return plan->dev->dnn.lib != NULL && op->kind == OP_CONV && !(spec->pass == BE_INFER && spec->steady);
}

/* Chooses an engine for a pass. That there is none is no failure. */
static moco_status choose(struct be_plan *plan, const struct program_node *node, enum dnn_pass pass, struct by_dnn *out,
                          int moment, struct err *err)
{
    const struct product_args a = shape_of(plan, node);
    struct err why = {0};
    *out = (struct by_dnn){.workspace = NONE};
    if (!may_use_dnn(plan, node->op))
        return MOCO_OK;
    const struct dnn_conv conv = {.pass = pass,
                                  .precision = plan->program.spec.precision,
                                  .n = a.n,
                                  .h = a.h,
                                  .w = a.w,
                                  .ci = a.ci,
                                  .oh = a.oh,
                                  .ow = a.ow,
                                  .co = a.co,
                                  .kernel = a.kernel,
                                  .stride = a.stride,
                                  .pad = a.pad};
    if (dnn_choose(&out->plan, &plan->dev->dnn, &conv, &why) != MOCO_OK) {
        ctx_log(plan->dev->ctx, LOG_WARN, "%s: %.60s runs on a kernel of our own, slowly: %.300s", plan->dev->name,
                node->op->name, why.text);
        return MOCO_OK;
    }
    out->chosen = 1;
    return program_buffer(&plan->program, &out->workspace, out->plan.workspace, CLASS_SCRATCH, moment, err);
}

static void forget(struct by_dnn *dnn)
{
    if (dnn->chosen)
        dnn_plan_free(&dnn->plan);
}

static void free_node(struct program_node *node)
{
    forget(&((struct cuda_conv *)node->state)->dnn);
}

static void free_step(struct program_step *step)
{
    forget(&((struct cuda_conv_back *)step->state)->dnn);
}

static moco_status run_dnn(const struct be_plan *plan, struct by_dnn *dnn, const float *x, const float *w,
                           const float *y, struct err *err)
{
    return cuda_dnn_run(plan->dev, &dnn->plan, x, w, y, cuda_buffer(plan, dnn->workspace), err);
}

/* ---- forward ---- */

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    (void)n; /* this device has no slices: it is the launch's */
    return choose(plan, node, DNN_FORWARD, &((struct cuda_conv *)node->state)->dnn, moment, err);
}

/* What comes behind a convolution: a batch norm's shift, what is added, the ReLU. */
static moco_status finish(const struct be_plan *plan, const struct product_args *a, struct err *err)
{
    struct map_args args = {.x = a->out, .y = a->out, .other = a->other, .bias = a->bias, .c = a->co, .relu = a->relu};
    args.count = (int64_t)a->n * a->oh * a->ow * a->co;
    if (a->bias == NULL && a->other == NULL && !a->relu)
        return MOCO_OK;
    return cuda_launch_items(plan->dev, CUDA_map_add, args.count, &args, err);
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct by_dnn *dnn = &((struct cuda_conv *)node->state)->dnn;
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
    if (!dnn->chosen)
        return cuda_product(plan->dev, CUDA_product_forward, &args, err);
    TRY(run_dnn(plan, dnn, args.a, args.b, args.out, err));
    return finish(plan, &args, err);
}

/* ---- backward ---- */

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct cuda_conv_back *state = step->state;
    const struct program_node *node = step->node;
    struct product_args args = shape_of(plan, node);
    const struct graph_param *weight = &plan->program.spec.graph->params[node->op->param[0]];
    state->parts = state->gradient = NONE;
    TRY(choose(plan, node, step->kind == STEP_WEIGHTS ? DNN_WEIGHTS : DNN_DATA, &state->dnn, moment, err));
    if (step->kind != STEP_WEIGHTS)
        return MOCO_OK;
    if (state->dnn.chosen)
        return program_buffer(&plan->program, &state->gradient, (size_t)weight->count * sizeof(float), CLASS_SCRATCH,
                              moment, err);
    return program_buffer(&plan->program, &state->parts, cuda_product_split(CUDA_product_weights, &args), CLASS_SCRATCH,
                          moment, err);
}

static moco_status weights_by_dnn(const struct program_backward *run, const struct program_step *step, const float *dy,
                                  const float *x, float *sum, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct cuda_conv_back *state = step->state;
    struct map_args add = {.x = sum, .y = sum, .other = cuda_buffer(plan, state->gradient)};
    add.count = plan->program.spec.graph->params[step->node->op->param[0]].count;
    TRY(run_dnn(plan, &state->dnn, x, add.other, dy, err));
    return cuda_launch_items(plan->dev, CUDA_map_add, add.count, &add, err);
}

static moco_status run_weights(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct cuda_conv_back *state = step->state;
    const struct graph_op *op = step->node->op;
    struct product_args args = shape_of(plan, step->node);
    args.a = cuda_buffer(plan, step->in[0]);
    args.b = cuda_buffer(plan, step->in[1]);
    args.out = cuda_param_in(plan, run->io->gradients, op, 0);
    if (op->param[1] >= 0) {
        struct map_args bias = {
            .dy = args.a, .y = cuda_param_in(plan, run->io->gradients, op, 1), .n = args.n, .c = args.co};
        TRY(cuda_launch_items(plan->dev, CUDA_bias_back, bias.c, &bias, err));
    }
    if (state->dnn.chosen)
        return weights_by_dnn(run, step, args.a, args.b, args.out, err);
    args.accumulate = 1;
    cuda_product_split(CUDA_product_weights, &args);
    args.parts = cuda_buffer(plan, state->parts);
    return cuda_product(plan->dev, CUDA_product_weights, &args, err);
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct by_dnn *dnn = &((struct cuda_conv_back *)step->state)->dnn;
    if (step->kind == STEP_WEIGHTS)
        return run_weights(run, step, err);
    struct product_args args = shape_of(plan, step->node);
    args.a = cuda_buffer(plan, step->in[0]);
    args.b = cuda_param_in(plan, run->io->weights, step->node->op, 0);
    args.out = cuda_buffer(plan, step->out[0]);
    if (dnn->chosen)
        return run_dnn(plan, dnn, args.out, args.b, args.a, err);
    return cuda_product(plan->dev, CUDA_product_data, &args, err);
}

/* ---- inference ---- */

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

const struct program_op cuda_op_conv = {.state = sizeof(struct cuda_conv),
                                        .back = sizeof(struct cuda_conv_back),
                                        .compile = compile,
                                        .compile_back = compile_back,
                                        .run = run,
                                        .run_back = run_back,
                                        .fold = fold,
                                        .free = free_node,
                                        .free_back = free_step};

const struct program_op cuda_op_linear = {.state = sizeof(struct cuda_conv),
                                          .back = sizeof(struct cuda_conv_back),
                                          .compile = compile,
                                          .compile_back = compile_back,
                                          .run = run,
                                          .run_back = run_back,
                                          .free = free_node,
                                          .free_back = free_step};
