/* SPDX-License-Identifier: MIT
 *
 * cpu_backward: runs a plan's backward steps. What a reader would get wrong: a gradient of weights may come out of its
 * primitive in another layout than the slab's, or have to be added to what is there; both go through the step's
 * scratch. */
#include <string.h>

#include "backend/cpu/cpu_plan.h"

static moco_status conv_weights(const struct be_plan *plan, const struct back *back, float *gradient, int accumulate,
                                struct err *err)
{
    const struct node *node = &plan->nodes[back->node];
    char *scratch = cpu_buffer(plan, back->scratch);
    if (back->conv.own) {
        kern_conv_weights(&plan->dev->team, &back->conv.kern, cpu_buffer(plan, back->src), cpu_buffer(plan, back->dy),
                          accumulate, gradient, scratch);
        return MOCO_OK;
    }
    float *result = accumulate ? (float *)(void *)(scratch + back->master) : gradient;
    int reorders = back->conv.order.primitive != NULL;
    void *at[SHIM_SLOTS] = {0};
    at[SHIM_SRC] = cpu_buffer(plan, back->src);
    at[SHIM_WEIGHTS] = reorders ? (void *)(scratch + back->conv.ordered) : result;
    at[SHIM_DST] = cpu_buffer(plan, back->dy);
    at[SHIM_SCRATCH] = scratch;
    TRY(shim_run(&back->conv.run, at, err));
    if (reorders) {
        at[SHIM_SRC] = at[SHIM_WEIGHTS];
        at[SHIM_DST] = result;
        TRY(shim_run(&back->conv.order, at, err));
    }
    if (accumulate)
        kern_add_floats(&plan->dev->team, (size_t)plan->spec.layout->params[node->op->param[0]].count, result,
                        gradient);
    return MOCO_OK;
}

static moco_status conv_data(const struct be_plan *plan, const struct back *back, const void *weights, struct err *err)
{
    char *scratch = cpu_buffer(plan, back->scratch);
    void *at[SHIM_SLOTS] = {[SHIM_SCRATCH] = scratch};
    if (back->conv.order.primitive != NULL) {
        at[SHIM_SRC] = (void *)weights;
        at[SHIM_DST] = scratch + back->conv.ordered;
        TRY(shim_run(&back->conv.order, at, err));
        weights = scratch + back->conv.ordered;
    }
    if (back->conv.own) {
        kern_conv_back_data(&plan->dev->team, &back->conv.kern, cpu_buffer(plan, back->dy), weights,
                            cpu_buffer(plan, back->dx));
        return MOCO_OK;
    }
    at[SHIM_SRC] = cpu_buffer(plan, back->dx);
    at[SHIM_WEIGHTS] = (void *)weights;
    at[SHIM_DST] = cpu_buffer(plan, back->dy);
    return shim_run(&back->conv.run, at, err);
}

static moco_status linear_weights(const struct be_plan *plan, const struct back *back, float *gradient, int accumulate,
                                  struct err *err)
{
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = cpu_buffer(plan, back->dy),
                            [SHIM_WEIGHTS] = cpu_value(plan, plan->nodes[back->node].in),
                            [SHIM_DST] = gradient,
                            [SHIM_SCRATCH] = cpu_buffer(plan, back->scratch)};
    return shim_run(accumulate ? &back->added : &back->product, at, err);
}

static moco_status linear_data(const struct be_plan *plan, const struct back *back, const void *weights,
                               struct err *err)
{
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = cpu_buffer(plan, back->dy),
                            [SHIM_WEIGHTS] = (void *)weights,
                            [SHIM_DST] = cpu_buffer(plan, back->dx),
                            [SHIM_SCRATCH] = cpu_buffer(plan, back->scratch)};
    return shim_run(&back->product, at, err);
}

moco_status cpu_run_back(const struct be_plan *plan, const struct back *back, const void *weights, float *gradient,
                         int accumulate, struct err *err)
{
    switch (back->kind) {
    case BACK_CONV_WEIGHTS:
        return conv_weights(plan, back, gradient, accumulate, err);
    case BACK_CONV_DATA:
        return conv_data(plan, back, weights, err);
    case BACK_LINEAR_WEIGHTS:
        return linear_weights(plan, back, gradient, accumulate, err);
    case BACK_LINEAR_DATA:
        return linear_data(plan, back, weights, err);
    default:
        return MOCO_OK;
    }
}

/* NULL: the layer has no such parameter. */
static float *gradient_of(const struct be_plan *plan, const struct be_backward *io, const struct node *node, int which)
{
    int param = node->op->param[which];
    return param < 0 ? NULL : (float *)io->gradients + plan->spec.layout->params[param].offset;
}

/* NULL: it has none. */
static const float *master_of(const struct be_plan *plan, const struct be_backward *io, const struct node *node,
                              int which)
{
    int param = node->op->param[which];
    return param < 0 ? NULL : (const float *)io->masters + plan->spec.layout->params[param].offset;
}

static void back_bn(const struct be_plan *plan, const struct back *back, const struct be_backward *io)
{
    const struct node *node = &plan->nodes[back->node];
    struct kern_map map = cpu_value_map(plan, node->in);
    const float *gamma = master_of(plan, io, node, 0);
    kern_bn_backward(&plan->dev->team, &map, cpu_value(plan, node->in), cpu_buffer(plan, back->dy),
                     cpu_buffer(plan, back->dy2), cpu_buffer(plan, node->mask), cpu_buffer(plan, node->saved), gamma,
                     cpu_buffer(plan, back->dz), cpu_buffer(plan, back->dx), gradient_of(plan, io, node, 0),
                     gradient_of(plan, io, node, 1), io->accumulate, cpu_buffer(plan, back->scratch));
}

/* As forward has applied it. */
static void recompute(const struct be_plan *plan, const struct back *back, const struct be_backward *io)
{
    const struct node *node = &plan->nodes[back->node];
    struct kern_map map = cpu_value_map(plan, node->in);
    kern_bn_apply(&plan->dev->team, &map, cpu_buffer(plan, back->dy), cpu_buffer(plan, node->saved),
                  master_of(plan, io, node, 0), master_of(plan, io, node, 1), cpu_buffer(plan, back->dy2), node->relu,
                  cpu_buffer(plan, back->dx), NULL);
}

/* Steps of kernels alone. */
static void back_kernel(const struct be_plan *plan, const struct back *back, const struct be_backward *io)
{
    const struct kern_team *team = &plan->dev->team;
    const void *dy = back->dy == NONE ? io->d_out : cpu_buffer(plan, back->dy);
    void *dx = cpu_buffer(plan, back->dx);
    if (back->kind == BACK_SUM) {
        kern_add(team, cpu_value_count(plan, back->value), cpu_value_bf16(plan, back->value), dy,
                 cpu_buffer(plan, back->dy2), 0, dx);
        return;
    }
    if (back->kind == BACK_COPY) {
        memcpy(dx, dy, cpu_value_bytes(plan, back->value));
        return;
    }
    const struct node *node = &plan->nodes[back->node];
    const struct graph_value *out = &plan->spec.graph->values[node->out];
    struct kern_map in = cpu_value_map(plan, node->in);
    switch (back->kind) {
    case BACK_RELU:
        kern_relu_back(team, cpu_value_count(plan, back->value), cpu_value_bf16(plan, back->value), dy,
                       cpu_value(plan, back->value), dx);
        break;
    case BACK_GAP:
        kern_gap_back(team, &in, dy, dx);
        break;
    case BACK_MAXPOOL:
        kern_maxpool_back(team, &in, node->op->kernel, node->op->stride, node->op->pad, out->h, out->w, dy,
                          cpu_buffer(plan, node->index), dx);
        break;
    case BACK_L2NORM:
        kern_l2norm_back(team, plan->spec.n, out->c, cpu_value(plan, node->in), dy, dx);
        break;
    default:
        break;
    }
}

static void announce(const struct be_backward *io, const struct node *node)
{
    if (io->on_grad == NULL)
        return;
    for (int which = 0; which < 2; which++)
        if (node->op->param[which] >= 0)
            io->on_grad(io->user, node->op->param[which], 1);
}

static moco_status back_step(const struct be_plan *plan, const struct back *back, const struct be_backward *io,
                             struct err *err)
{
    if (back->kind == BACK_SUM || back->kind == BACK_COPY) {
        back_kernel(plan, back, io);
        return MOCO_OK;
    }
    const struct node *node = &plan->nodes[back->node];
    const struct cpu_param *params = plan->spec.layout->params;
    switch (back->kind) {
    case BACK_BN:
        back_bn(plan, back, io);
        announce(io, node);
        break;
    case BACK_RECOMPUTE:
        recompute(plan, back, io);
        break;
    case BACK_GATHER:
        cpu_gather(plan, node, cpu_buffer(plan, back->dy), cpu_buffer(plan, back->dx));
        break;
    case BACK_CONV_WEIGHTS:
        TRY(cpu_run_back(plan, back, NULL, gradient_of(plan, io, node, 0), io->accumulate, err));
        announce(io, node);
        break;
    case BACK_LINEAR_WEIGHTS:
        TRY(cpu_run_back(plan, back, NULL, gradient_of(plan, io, node, 0), io->accumulate, err));
        if (node->op->param[1] >= 0)
            kern_bias_back(&plan->dev->team, plan->spec.n, plan->spec.graph->values[node->out].c,
                           cpu_buffer(plan, back->dy), gradient_of(plan, io, node, 1), io->accumulate);
        announce(io, node);
        break;
    case BACK_CONV_DATA:
        return cpu_run_back(plan, back, cpu_conv_weights(plan, node, io->weights, 1), NULL, 0, err);
    case BACK_LINEAR_DATA:
        return cpu_run_back(plan, back, (const float *)io->masters + params[node->op->param[0]].offset, NULL, 0, err);
    default:
        back_kernel(plan, back, io);
        break;
    }
    return MOCO_OK;
}

moco_status cpu_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    if (plan->slab == NULL)
        return err_set(err, MOCO_ESTATE, "cpu: the plan is not bound to memory");
    if (plan->spec.pass != BE_TRAIN)
        return err_set(err, MOCO_EINVAL, "cpu: only a plan for training runs backward");
    struct parallel_scope scope;
    TRY(cpu_enter(plan->dev, &scope, err));
    moco_status status = MOCO_OK;
    for (int i = 0; i < plan->back_count && status == MOCO_OK; i++) {
        double began = cpu_clock(plan);
        status = cpu_poll(io->cancel, err);
        if (status == MOCO_OK)
            status = back_step(plan, &plan->backs[i], io, err);
        cpu_profile(plan, plan->node_count + i, began);
    }
    parallel_leave(&scope);
    return status;
}
