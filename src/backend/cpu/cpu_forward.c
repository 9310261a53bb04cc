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
    int64_t blocks; /* of the output that lie side by side in a pixel of the input: 1 if both have the same order */
    size_t pixel;   /* bytes of the input that lie together */
    size_t block;   /* of the output */
};

static void gather_rows(void *arg, int thread, int threads)
{
    const struct gather *g = arg;
    for (int64_t row = g->rows * thread / threads; row < g->rows * (thread + 1) / threads; row++) {
        int64_t plane = row / g->oh, line = plane / g->blocks * g->h + row % g->oh * g->stride;
        const char *from = g->from + (size_t)(line * g->w) * g->pixel + (size_t)(plane % g->blocks) * g->block;
        char *to = g->to + (size_t)(row * g->ow) * g->block;
        for (int64_t x = 0; x < g->ow; x++)
            memcpy(to + (size_t)x * g->block, from + (size_t)(x * g->stride) * g->pixel, g->block);
    }
}

/* The input densely and in the order of the output: every stride-th pixel of it for a 1 x 1 convolution. */
void cpu_gather(const struct be_plan *plan, const struct node *node, const void *from, void *to)
{
    struct kern_map in = cpu_value_map(plan, node->in), out = cpu_value_map(plan, node->out);
    int strided = cpu_conv_gathers(node->op),
        same = cpu_value_order(plan, node->in) == cpu_value_order(plan, node->out);
    int64_t bytes = in.bf16 ? 2 : 4, block = same ? in.block : out.block, oh = strided ? out.h : in.h;
    struct gather g = {.from = from,
                       .to = to,
                       .rows = (int64_t)in.n * (in.c / block) * oh,
                       .h = in.h,
                       .w = in.w,
                       .oh = oh,
                       .ow = strided ? out.w : in.w,
                       .stride = strided ? node->op->stride : 1,
                       .blocks = same ? 1 : in.c / block,
                       .pixel = (size_t)(in.block * bytes),
                       .block = (size_t)(block * bytes)};
    parallel_run(plan->dev->team.threads, gather_rows, &g);
}

moco_status cpu_run_conv(const struct be_plan *plan, const struct node *node, const void *weights, struct err *err)
{
    char *scratch = cpu_buffer(plan, node->scratch);
    void *at[SHIM_SLOTS] = {[SHIM_SCRATCH] = scratch};
    void *src = cpu_value(plan, node->in);
    if (node->conv.order.primitive != NULL && plan->spec.pass != BE_INFER) {
        at[SHIM_SRC] = (void *)weights;
        at[SHIM_DST] = scratch + node->conv.ordered;
        TRY(shim_run(&node->conv.order, at, err));
        weights = scratch + node->conv.ordered;
    }
    if (node->conv.own) {
        kern_conv_forward(&plan->dev->team, &node->conv.kern, src, weights, cpu_value(plan, node->out));
        return MOCO_OK;
    }
    if (node->dense != NONE) {
        cpu_gather(plan, node, src, cpu_buffer(plan, node->dense));
        src = cpu_buffer(plan, node->dense);
    }
    at[SHIM_SRC] = src;
    at[SHIM_WEIGHTS] = (void *)weights;
    at[SHIM_BIAS] = cpu_buffer(plan, node->bias);
    at[SHIM_DST] = cpu_value(plan, node->out);
    return shim_run(&node->conv.run, at, err);
}

moco_status cpu_run_linear(const struct be_plan *plan, const struct node *node, const float *weights, struct err *err)
{
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = cpu_value(plan, node->in),
                            [SHIM_WEIGHTS] = (void *)weights,
                            [SHIM_DST] = cpu_value(plan, node->out),
                            [SHIM_SCRATCH] = cpu_buffer(plan, node->scratch)};
    return shim_run(&node->product, at, err);
}

/* Images in bytes: those of this slice, which may take the end of the first array and the beginning of the second. */
static void input_bytes(const struct be_plan *plan, const struct node *node, const struct be_forward *io)
{
    const struct graph *g = plan->spec.graph;
    struct kern_map map = cpu_value_map(plan, node->out);
    size_t image = (size_t)map.c * (size_t)map.h * (size_t)map.w, bytes = cpu_value_bytes(plan, node->out);
    char *out = cpu_value(plan, node->out);
    int plain = cpu_value_order(plan, node->out) != SHIM_NHWC;
    int first = plan->at, end = plan->at + plan->n, half = io->second == NULL ? plan->spec.n : plan->spec.n / 2;
    while (first < end) {
        int in_second = first >= half;
        const uint8_t *from = in_second ? io->second : io->images;
        if (io->index == NULL)
            from += (size_t)(in_second ? first - half : first) * image;
        map.n = (in_second || end < half ? end : half) - first;
        kern_input(&plan->dev->team, &map, plain, from, io->index == NULL ? NULL : io->index + first, g->mean, g->std,
                   out);
        out += bytes / (size_t)plan->n * (size_t)map.n;
        first += map.n;
    }
}

static moco_status forward_input(const struct be_plan *plan, const struct node *node, const struct be_forward *io,
                                 struct err *err)
{
    if (!plan->spec.f32_input) {
        input_bytes(plan, node, io);
        return MOCO_OK;
    }
    const struct graph_value *image = &plan->spec.graph->values[node->out];
    size_t first = (size_t)plan->at * (size_t)image->c * (size_t)image->h * (size_t)image->w;
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = (float *)(void *)io->images + first,
                            [SHIM_DST] = cpu_value(plan, node->out),
                            [SHIM_SCRATCH] = cpu_buffer(plan, node->scratch)};
    return shim_run(&node->convert, at, err);
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
        kern_bias(&plan->dev->team, plan->n, plan->spec.graph->values[node->out].c, bias, node->relu, y);
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
        kern_l2norm(team, plan->n, out->c, x, y);
        break;
    }
    return MOCO_OK;
}

static moco_status forward_slice(struct be_plan *plan, const struct segment *segment, const struct be_forward *io,
                                 struct err *err)
{
    for (int i = segment->first; i < segment->end; i++) {
        double began = cpu_clock(plan);
        TRY(cpu_poll(io->cancel, err));
        TRY(forward_node(plan, &plan->nodes[i], io, err));
        cpu_profile(plan, i, began);
    }
    return MOCO_OK;
}

static moco_status forward_segment(struct be_plan *plan, const struct segment *segment, const struct be_forward *io,
                                   struct err *err)
{
    moco_status status = MOCO_OK;
    plan->n = segment->n;
    for (plan->at = 0; plan->at < plan->spec.n && status == MOCO_OK; plan->at += plan->n)
        status = forward_slice(plan, segment, io, err);
    plan->n = plan->spec.n;
    plan->at = 0;
    return status;
}

moco_status cpu_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    if (plan->slab == NULL)
        return err_set(err, MOCO_ESTATE, "cpu: the plan is not bound to memory");
    struct parallel_scope scope;
    TRY(cpu_enter(plan->dev, &scope, err));
    moco_status status = MOCO_OK;
    for (int i = 0; i < plan->segment_count && status == MOCO_OK; i++)
        status = forward_segment(plan, &plan->segments[i], io, err);
    if (status == MOCO_OK)
        memcpy(io->out, cpu_value(plan, plan->spec.output), cpu_value_bytes(plan, plan->spec.output));
    parallel_leave(&scope);
    return status;
}
