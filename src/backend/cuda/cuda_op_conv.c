/* SPDX-License-Identifier: MIT
 *
 * cuda_op_conv: convolutions, by cuDNN where there is one and it has an engine for the shape, else by a kernel of our own;
 * and linear layers, which are convolutions of 1 x 1 maps of f32, by that kernel always. What a reader would get wrong:
 * which engine cuDNN takes depends on the number of samples, so that a plan that promises the same bits at any number does
 * without. And our kernel's gradient of weights is f32, whatever the maps are, while cuDNN's is rounded to 16 bits. */
#include "backend/cuda/cuda_params.h"
#include "backend/cuda/cuda_product.h"
#include "backend/cuda/tune/dnn_fastest.h"
#include "backend/program/program_buffers.h"

/* One pass of a convolution: by cuDNN, or by our own kernel. */
struct pass {
    struct dnn_plan plan;
    int chosen;    /* 0: by our own kernel */
    int workspace; /* buffer; NONE */
};

struct cuda_conv {
    struct pass pass;
};

struct cuda_conv_back {
    struct pass pass;
    int gradient; /* WEIGHTS: this launch's, before it is added: cuDNN's, or with padding; NONE: it is added as it comes */
    int parts;    /* WEIGHTS by our own kernel: of a product that is split */
};

static int storage_of(const struct be_plan *plan, const struct graph_op *op)
{
    return op->kind == OP_LINEAR ? 0 : cuda_storage(plan->program.spec.precision);
}

static struct product_args shape_of(const struct be_plan *plan, const struct program_node *node)
{
    const struct graph_op *op = node->op;
    const struct graph_value *in = cuda_value(plan, node->in), *out = cuda_value(plan, op->out);
    struct product_args args = {.n = plan->program.spec.n,
                                .h = in->h,
                                .w = in->w,
                                .ci = cuda_channels(plan, node->in),
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

static int64_t weights_of(const struct product_args *a)
{
    return (int64_t)a->co * a->kernel * a->kernel * a->ci;
}

/* ---- choosing ---- */

static int may_use_dnn(const struct be_plan *plan, const struct graph_op *op)
{
    const struct be_plan_spec *spec = &plan->program.spec;
    return plan->dev->dnn.lib != NULL && op->kind == OP_CONV && !(spec->pass == BE_INFER && spec->steady);
}

static moco_status choose_dnn(struct be_plan *plan, const struct program_node *node, enum dnn_pass pass,
                              struct pass *out, int moment, struct err *err)
{
    const struct product_args a = shape_of(plan, node);
    struct err why = {0};
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
    if (dnn_fastest_choose(&out->plan, plan->dev, &conv, &why) != MOCO_OK) {
        ctx_log(plan->dev->ctx, LOG_WARN, "%s: %.60s runs on a kernel of our own, slowly: %.300s", plan->dev->name,
                node->op->name, why.text);
        return MOCO_OK;
    }
    out->chosen = 1;
    size_t weight = (size_t)weights_of(&a) * (storage_of(plan, node->op) > 0 ? sizeof(uint16_t) : sizeof(float));
    if (out->plan.count > 1 && weight > plan->timed_weight)
        plan->timed_weight = weight;
    return program_buffer(&plan->program, &out->workspace, out->plan.workspace, CLASS_SCRATCH, moment, err);
}

/* Chooses an engine for a pass. That there is none is no failure. */
static moco_status choose(struct be_plan *plan, const struct program_node *node, enum dnn_pass pass, struct pass *out,
                          int moment, struct err *err)
{
    *out = (struct pass){.workspace = NONE};
    return may_use_dnn(plan, node->op) ? choose_dnn(plan, node, pass, out, moment, err) : MOCO_OK;
}

static void forget(struct pass *pass)
{
    if (pass->chosen)
        dnn_plan_free(&pass->plan);
}

static void free_node(struct program_node *node)
{
    forget(&((struct cuda_conv *)node->state)->pass);
}

static void free_step(struct program_step *step)
{
    forget(&((struct cuda_conv_back *)step->state)->pass);
}

/* ---- taking the fastest engine, when the plan is bound ---- */

static moco_status take(const struct be_plan *plan, struct pass *pass, const void *x, const void *w, const void *y,
                        struct err *err)
{
    if (!pass->chosen)
        return MOCO_OK;
    return dnn_fastest_take(plan->dev, &pass->plan, x, w, y, cuda_buffer(plan, pass->workspace), err);
}

static moco_status warm(const struct program_forward *run, const struct program_node *node, void *zeros,
                        struct err *err)
{
    const struct be_plan *plan = run->plan;
    return take(plan, &((struct cuda_conv *)node->state)->pass, cuda_value_at(plan, node->in), zeros,
                cuda_value_at(plan, node->out), err);
}

static moco_status warm_back(const struct program_backward *run, const struct program_step *step, void *zeros,
                             struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct cuda_conv_back *state = step->state;
    const void *dy = cuda_buffer(plan, step->in[0]);
    if (step->kind == STEP_WEIGHTS)
        return take(plan, &state->pass, cuda_buffer(plan, step->in[1]), cuda_buffer(plan, state->gradient), dy, err);
    return take(plan, &state->pass, cuda_buffer(plan, step->out[0]), zeros, dy, err);
}

/* ---- running ---- */

static moco_status run_dnn(const struct be_plan *plan, struct pass *pass, const void *x, const void *w, const void *y,
                           struct err *err)
{
    return cuda_dnn_run(plan->dev, &pass->plan, x, w, y, cuda_buffer(plan, pass->workspace), err);
}

/* ---- forward ---- */

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    (void)n; /* this device has no slices: it is the launch's */
    return choose(plan, node, DNN_FORWARD, &((struct cuda_conv *)node->state)->pass, moment, err);
}

/* By our own kernel, with what comes behind: a batch norm's shift, what is added, the ReLU. */
static moco_status run_own(const struct be_plan *plan, const struct program_node *node, const struct map_args *behind,
                           const void *x, const void *w, struct err *err)
{
    struct product_args args = shape_of(plan, node);
    args.a = x;
    args.b = w;
    args.out = behind->y;
    args.bias = behind->bias;
    args.other = behind->other;
    args.relu = behind->relu;
    return cuda_product(plan->dev, CUDA_product_forward, storage_of(plan, node->op), &args, err);
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct pass *pass = &((struct cuda_conv *)node->state)->pass;
    const struct product_args shape = shape_of(plan, node);
    const void *x = cuda_value_at(plan, node->in);
    struct map_args behind = {.y = cuda_value_at(plan, node->out),
                              .other = cuda_value_at(plan, node->other),
                              .count = (int64_t)shape.n * shape.oh * shape.ow * shape.co,
                              .c = shape.co,
                              .relu = node->relu};
    if (node->bn != NULL)
        behind.bias = cuda_shift(run, node->bn);
    if (node->op->kind == OP_LINEAR) {
        behind.bias = cuda_other_param(run, node->op, 1);
        return run_own(plan, node, &behind, x, cuda_other_param(run, node->op, 0), err);
    }
    const void *w = cuda_conv_weight(run, node->op);
    if (!pass->chosen)
        return run_own(plan, node, &behind, x, w, err);
    TRY(run_dnn(plan, pass, x, w, behind.y, err));
    if (behind.bias == NULL && behind.other == NULL && !behind.relu)
        return MOCO_OK;
    behind.x = behind.y;
    return cuda_launch_items(plan->dev, CUDA_map_add + storage_of(plan, node->op), behind.count, &behind, err);
}

/* ---- backward ---- */

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct cuda_conv_back *state = step->state;
    const struct program_node *node = step->node;
    struct product_args args = shape_of(plan, node);
    state->parts = state->gradient = NONE;
    TRY(choose(plan, node, step->kind == STEP_WEIGHTS ? DNN_WEIGHTS : DNN_DATA, &state->pass, moment, err));
    if (step->kind != STEP_WEIGHTS)
        return MOCO_OK;
    size_t number = state->pass.chosen && storage_of(plan, node->op) > 0 ? sizeof(uint16_t) : sizeof(float);
    if (state->pass.chosen || args.ci != cuda_value(plan, node->in)->c)
        TRY(program_buffer(&plan->program, &state->gradient, (size_t)weights_of(&args) * number, CLASS_SCRATCH, moment,
                           err));
    if (state->pass.chosen)
        return MOCO_OK;
    return program_buffer(&plan->program, &state->parts, cuda_product_split(CUDA_product_weights, &args), CLASS_SCRATCH,
                          moment, err);
}

/* Adds a launch's gradient of the weight to the slab. */
static moco_status add_gradient(const struct be_plan *plan, const struct program_step *step, float *sum, int storage,
                                struct err *err)
{
    const struct cuda_conv_back *state = step->state;
    const struct graph_op *op = step->node->op;
    struct map_args add = {.y = sum,
                           .other = cuda_buffer(plan, state->gradient),
                           .count = plan->program.spec.graph->params[op->param[0]].count,
                           .c = cuda_value(plan, step->node->in)->c,
                           .w = cuda_channels(plan, step->node->in)};
    return cuda_launch_items(plan->dev, CUDA_map_gradient + storage, add.count, &add, err);
}

static moco_status weights_by_own(const struct be_plan *plan, const struct program_step *step, const void *x,
                                  const void *dy, float *sum, struct err *err)
{
    const struct cuda_conv_back *state = step->state;
    struct product_args args = shape_of(plan, step->node);
    int apart = state->gradient != NONE;
    args.a = dy;
    args.b = x;
    cuda_product_split(CUDA_product_weights, &args);
    args.out = apart ? cuda_buffer(plan, state->gradient) : sum;
    args.accumulate = !apart;
    args.parts = cuda_buffer(plan, state->parts);
    TRY(cuda_product(plan->dev, CUDA_product_weights, storage_of(plan, step->node->op), &args, err));
    return apart ? add_gradient(plan, step, sum, 0, err) : MOCO_OK;
}

static moco_status run_weights(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct pass *pass = &((struct cuda_conv_back *)step->state)->pass;
    const struct graph_op *op = step->node->op;
    const struct product_args shape = shape_of(plan, step->node);
    const void *dy = cuda_buffer(plan, step->in[0]), *x = cuda_buffer(plan, step->in[1]);
    float *sum = cuda_param_in(plan, run->io->gradients, op, 0);
    if (op->param[1] >= 0) {
        struct map_args bias = {
            .dy = dy, .y = cuda_param_in(plan, run->io->gradients, op, 1), .n = shape.n, .c = shape.co};
        TRY(cuda_launch_items(plan->dev, CUDA_bias_back, bias.c, &bias, err));
    }
    if (!pass->chosen)
        return weights_by_own(plan, step, x, dy, sum, err);
    TRY(run_dnn(plan, pass, x, cuda_buffer(plan, ((const struct cuda_conv_back *)step->state)->gradient), dy, err));
    return add_gradient(plan, step, sum, storage_of(plan, op), err);
}

static moco_status data_by_own(const struct be_plan *plan, const struct program_step *step, const void *dy,
                               const void *w, void *dx, struct err *err)
{
    struct product_args args = shape_of(plan, step->node);
    args.a = dy;
    args.b = w;
    args.out = dx;
    return cuda_product(plan->dev, CUDA_product_data, storage_of(plan, step->node->op), &args, err);
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct pass *pass = &((struct cuda_conv_back *)step->state)->pass;
    const struct graph_op *op = step->node->op;
    if (step->kind == STEP_WEIGHTS)
        return run_weights(run, step, err);
    const void *dy = cuda_buffer(plan, step->in[0]);
    const void *w =
        op->kind == OP_LINEAR ? cuda_param_in(plan, run->io->masters, op, 0) : cuda_conv_weight_back(run, op);
    void *dx = cuda_buffer(plan, step->out[0]);
    return pass->chosen ? run_dnn(plan, pass, dx, w, dy, err) : data_by_own(plan, step, dy, w, dx, err);
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
                                        .warm = warm,
                                        .warm_back = warm_back,
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
