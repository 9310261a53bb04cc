/* SPDX-License-Identifier: MIT
 *
 * cpu_forward: runs a plan's nodes in order. What a reader would get wrong: where weights are depends on the pass: a
 * query encoder reads masters (f32) or readers (bf16), a key encoder one block, inference what plan_fold has left in
 * the slab. */
#include <string.h>

#include "backend/cpu/cpu_plan.h"

const void *cpu_conv_weights(const struct be_plan *plan, const struct node *node, const void *weights, int backward)
{
    if (plan->spec.pass == BE_INFER)
        return cpu_buffer(plan, node->folded);
    const struct cpu_param *p = &plan->spec.layout->params[node->op->param[0]];
    if (plan->type == SHIM_BF16)
        return (const char *)weights + p->reader_at[backward];
    return (const float *)weights + p->offset;
}

/* Batch norm's and linear layers' parameters; NULL: it has none. */
static const float *vector_param(const struct be_plan *plan, const struct be_forward *io, const struct graph_op *op,
                                 int which)
{
    if (op->param[which] < 0)
        return NULL;
    const struct cpu_param *p = &plan->spec.layout->params[op->param[which]];
    if (plan->spec.pass == BE_KEY)
        return (const float *)(const void *)((const char *)io->weights + p->key);
    return (const float *)io->masters + p->offset;
}

struct gather {
    const char *from;
    char *to;
    int64_t rows; /* of the output: samples x channel blocks x height */
    int64_t h, w, oh, ow, stride;
    size_t pixel; /* bytes that lie together: a block of channels */
};

static void gather_rows(void *arg, int thread, int threads)
{
    const struct gather *g = arg;
    for (int64_t row = g->rows * thread / threads; row < g->rows * (thread + 1) / threads; row++) {
        const char *from = g->from + (size_t)((row / g->oh * g->h + row % g->oh * g->stride) * g->w) * g->pixel;
        char *to = g->to + (size_t)(row * g->ow) * g->pixel;
        for (int64_t x = 0; x < g->ow; x++)
            memcpy(to + (size_t)x * g->pixel, from + (size_t)(x * g->stride) * g->pixel, g->pixel);
    }
}

/* Every stride-th pixel of the input, densely. */
static void gather(const struct be_plan *plan, const struct node *node)
{
    struct kern_map map = cpu_value_map(plan, node->in);
    const struct graph_value *out = &plan->spec.graph->values[node->out];
    struct gather g = {.from = cpu_value(plan, node->in),
                       .to = cpu_buffer(plan, node->dense),
                       .rows = (int64_t)map.n * (map.c / map.block) * out->h,
                       .h = map.h,
                       .w = map.w,
                       .oh = out->h,
                       .ow = out->w,
                       .stride = node->op->stride,
                       .pixel = (size_t)map.block * (map.bf16 ? 2 : 4)};
    parallel_run(plan->dev->team.threads, gather_rows, &g);
}

moco_status cpu_run_conv(const struct be_plan *plan, const struct node *node, const void *weights, struct err *err)
{
    struct shim_engine *engine = plan->dev->engine;
    char *scratch = cpu_buffer(plan, node->scratch);
    void *at[SHIM_SLOTS] = {0};
    void *src = cpu_value(plan, node->in);
    at[SHIM_SCRATCH] = scratch;
    if (node->dense != NONE) {
        gather(plan, node);
        src = cpu_buffer(plan, node->dense);
    }
    if (node->conv.order.primitive != NULL && plan->spec.pass != BE_INFER) {
        at[SHIM_SRC] = (void *)weights;
        at[SHIM_DST] = scratch + node->conv.ordered;
        TRY(shim_run(engine, &node->conv.order, at, err));
        weights = scratch + node->conv.ordered;
    }
    at[SHIM_SRC] = src;
    at[SHIM_WEIGHTS] = (void *)weights;
    at[SHIM_BIAS] = cpu_buffer(plan, node->bias);
    at[SHIM_DST] = cpu_value(plan, node->out);
    return shim_run(engine, &node->conv.run, at, err);
}

moco_status cpu_run_linear(const struct be_plan *plan, const struct node *node, const float *weights, struct err *err)
{
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = cpu_value(plan, node->in),
                            [SHIM_WEIGHTS] = (void *)weights,
                            [SHIM_DST] = cpu_value(plan, node->out),
                            [SHIM_SCRATCH] = cpu_buffer(plan, node->scratch)};
    return shim_run(plan->dev->engine, &node->product, at, err);
}

static moco_status forward_input(const struct be_plan *plan, const struct node *node, const struct be_forward *io,
                                 struct err *err)
{
    const struct graph *g = plan->spec.graph;
    if (plan->spec.f32_input) {
        void *at[SHIM_SLOTS] = {[SHIM_SRC] = (void *)io->images,
                                [SHIM_DST] = cpu_value(plan, node->out),
                                [SHIM_SCRATCH] = cpu_buffer(plan, node->scratch)};
        return shim_run(plan->dev->engine, &node->convert, at, err);
    }
    struct kern_map map = cpu_value_map(plan, node->out);
    char *out = cpu_value(plan, node->out);
    int plain = plan->order != SHIM_NHWC;
    if (io->second != NULL)
        map.n /= 2;
    kern_input(&plan->dev->team, &map, plain, io->images, io->index, g->mean, g->std, out);
    if (io->second != NULL)
        kern_input(&plan->dev->team, &map, plain, io->second, io->index == NULL ? NULL : io->index + map.n, g->mean,
                   g->std, out + cpu_value_bytes(plan, node->out) / 2);
    return MOCO_OK;
}

static void forward_bn(const struct be_plan *plan, const struct node *node, const struct be_forward *io)
{
    const struct kern_team *team = &plan->dev->team;
    struct kern_map map = cpu_value_map(plan, node->in);
    const void *x = cpu_value(plan, node->in);
    float *saved = cpu_buffer(plan, node->saved);
    const float *gamma, *beta;
    if (plan->spec.pass == BE_INFER) {
        gamma = saved + (size_t)2 * (size_t)map.c;
        beta = gamma + map.c;
    } else {
        gamma = vector_param(plan, io, node->op, 0);
        beta = vector_param(plan, io, node->op, 1);
        float *mean = (float *)io->stage + plan->spec.graph->stats[node->op->stat].offset;
        kern_bn_stats(team, &map, x, node->op->eps, saved, mean, mean + map.c, cpu_buffer(plan, node->scratch));
    }
    kern_bn_apply(team, &map, x, saved, gamma, beta, cpu_value(plan, node->other), node->relu,
                  cpu_value(plan, node->out), cpu_buffer(plan, node->mask));
}

static moco_status forward_linear(const struct be_plan *plan, const struct node *node, const struct be_forward *io,
                                  struct err *err)
{
    int infer = plan->spec.pass == BE_INFER;
    const float *weights = infer ? cpu_buffer(plan, node->folded) : vector_param(plan, io, node->op, 0);
    const float *bias = infer ? cpu_buffer(plan, node->bias) : vector_param(plan, io, node->op, 1);
    TRY(cpu_run_linear(plan, node, weights, err));
    float *y = cpu_value(plan, node->out);
    if (bias != NULL)
        kern_bias(&plan->dev->team, plan->spec.n, plan->spec.graph->values[node->out].c, bias, node->relu, y);
    else if (node->relu)
        kern_relu_back(&plan->dev->team, cpu_value_count(plan, node->out), 0, y, y, y);
    return MOCO_OK;
}

static moco_status forward_node(const struct be_plan *plan, const struct node *node, const struct be_forward *io,
                                struct err *err)
{
    const struct kern_team *team = &plan->dev->team;
    const struct graph_value *out = &plan->spec.graph->values[node->out];
    struct kern_map in = {0};
    if (node->in >= 0)
        in = cpu_value_map(plan, node->in);
    const void *x = cpu_value(plan, node->in);
    void *y = cpu_value(plan, node->out);
    switch (node->kind) {
    case NODE_INPUT:
        return forward_input(plan, node, io, err);
    case NODE_CONV:
        return cpu_run_conv(plan, node, cpu_conv_weights(plan, node, io->weights, 0), err);
    case NODE_LINEAR:
        return forward_linear(plan, node, io, err);
    case NODE_BN:
        forward_bn(plan, node, io);
        break;
    case NODE_RELU:
        kern_relu_back(team, cpu_value_count(plan, node->out), in.bf16, x, x, y);
        break;
    case NODE_ADD:
        kern_add(team, cpu_value_count(plan, node->out), in.bf16, x, cpu_value(plan, node->other), node->relu, y);
        break;
    case NODE_MAXPOOL:
        kern_maxpool(team, &in, node->op->kernel, node->op->stride, node->op->pad, out->h, out->w, x, y,
                     cpu_buffer(plan, node->index));
        break;
    case NODE_GAP:
        kern_gap(team, &in, x, y);
        break;
    case NODE_L2NORM:
        kern_l2norm(team, plan->spec.n, out->c, x, y);
        break;
    }
    return MOCO_OK;
}

moco_status cpu_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    if (plan->slab == NULL)
        return err_set(err, MOCO_ESTATE, "cpu: the plan is not bound to memory");
    struct parallel_scope scope;
    TRY(cpu_enter(plan->dev, &scope, err));
    moco_status status = MOCO_OK;
    for (int i = 0; i < plan->node_count && status == MOCO_OK; i++) {
        double began = cpu_clock(plan);
        status = cpu_poll(io->cancel, err);
        if (status == MOCO_OK)
            status = forward_node(plan, &plan->nodes[i], io, err);
        cpu_profile(plan, i, began);
    }
    if (status == MOCO_OK)
        memcpy(io->out, cpu_value(plan, plan->spec.output), cpu_value_bytes(plan, plan->spec.output));
    parallel_leave(&scope);
    return status;
}
