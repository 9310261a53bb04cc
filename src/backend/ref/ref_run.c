/* SPDX-License-Identifier: MIT
 *
 * ref_run: a launch: the graph's ops in order, and backward in reverse. What a reader would get wrong: a gradient that
 * comes from two readers is the sum of two rounded numbers, and is rounded again only where the op before it has to
 * read it from memory, as pooling and convolutions do; BN adds the two by itself. */
#include "backend/ref/ref_plan.h"

#include <math.h>
#include <string.h>

static const double *param_at(const struct be_plan *plan, const void *slab, int param)
{
    return param < 0 ? NULL : (const double *)slab + plan->layout->offset[param];
}

static double *value_at(const struct be_plan *plan, int value)
{
    return value < 0 ? NULL : ref_at(plan, plan->values[value].buffer);
}

static moco_status check_cancel(be_cancel *cancel, struct err *err)
{
    if (cancel != NULL && atomic_load_explicit(cancel, memory_order_relaxed) != 0)
        return err_set(err, MOCO_ECANCELED, "ref: the launch was cancelled");
    return MOCO_OK;
}

static moco_status check_bound(const struct be_plan *plan, struct err *err)
{
    if (plan->slab == NULL)
        return err_set(err, MOCO_ESTATE, "ref: the plan runs before it was bound to memory");
    return MOCO_OK;
}

/* ---- inference: weights with BN folded in ---- */

/* Where a BN's shift stands: in place of its bias, or apart if it has none. */
static double *shift_at(const struct be_plan *plan, int op, double *weights)
{
    int bias = plan->graph->ops[op].param[1];
    return bias < 0 ? ref_at(plan, plan->nodes[op].kept) : weights + plan->layout->offset[bias];
}

moco_status ref_plan_fold(struct be_plan *plan, const void *masters, const void *stats, struct err *err)
{
    const struct graph *g = plan->graph;
    TRY(check_bound(plan, err));
    if (plan->pass != BE_INFER)
        return err_set(err, MOCO_ESTATE, "ref: only a plan for inference folds statistics into weights");
    double *weights = ref_at(plan, plan->folded_weights);
    memcpy(weights, masters, ref_layout_bytes(plan->layout));
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (op->kind != OP_BN || !plan->nodes[i].used) /* of a head that features do without */
            continue;
        double *scale = weights + plan->layout->offset[op->param[0]];
        double *shift = shift_at(plan, i, weights);
        const struct graph_stat *stat = &g->stats[op->stat];
        const double *mean = (const double *)stats + stat->offset, *var = mean + stat->channels;
        for (int c = 0; c < stat->channels; c++) {
            double bias = op->param[1] < 0 ? 0 : shift[c];
            scale[c] /= sqrt(var[c] + op->eps);
            shift[c] = ref_round(ref_master(plan->precision), bias - mean[c] * scale[c]);
        }
        if (!plan->nodes[i].folded)
            continue;
        int param = g->ops[g->values[op->in[0]].producer].param[0];
        int64_t each = g->params[param].count / stat->channels;
        double *weight = weights + plan->layout->offset[param];
        for (int c = 0; c < stat->channels; c++)
            for (int64_t k = 0; k < each; k++)
                weight[c * each + k] *= scale[c];
    }
    for (int p = 0; p < plan->layout->count; p++)
        ref_round_all(plan->layout->conv[p] ? plan->precision : ref_master(plan->precision),
                      weights + plan->layout->offset[p], (size_t)plan->layout->length[p]);
    plan->has_weights = 1;
    return MOCO_OK;
}

/* ---- forward ---- */

struct forward_run {
    const struct be_forward *io;
    const void *weights, *masters;
};

static void run_input(struct be_plan *plan, const struct graph_op *op, const struct be_forward *io)
{
    const struct ref_shape *shape = &plan->values[op->out].shape;
    if (plan->f32_input)
        ref_input_planes(shape, (const float *)(const void *)io->images, value_at(plan, op->out));
    else if (io->second == NULL)
        ref_input(shape, io->images, io->index, plan->graph->mean, plan->graph->std, value_at(plan, op->out));
    else
        for (int half = 0; half < 2; half++) {
            struct ref_shape part = {shape->n / 2, shape->c, shape->h, shape->w};
            ref_input(&part, half ? io->second : io->images, io->index == NULL ? NULL : io->index + half * part.n,
                      plan->graph->mean, plan->graph->std, value_at(plan, op->out) + (size_t)half * ref_count(&part));
        }
}

/* Statistics are rounded as they are stored: the saved ones and the staged sums. */
static void run_bn(struct be_plan *plan, int i, const struct forward_run *run)
{
    const struct graph_op *op = &plan->graph->ops[i];
    const struct ref_shape *shape = &plan->values[op->out].shape;
    const double *gamma = param_at(plan, run->masters, op->param[0]);
    const double *beta = param_at(plan, run->masters, op->param[1]);
    const double *x = value_at(plan, op->in[0]);
    double *y = value_at(plan, op->out);
    if (plan->pass == BE_INFER) {
        beta = shift_at(plan, i, ref_at(plan, plan->folded_weights));
        ref_affine(shape, x, plan->nodes[i].folded ? NULL : gamma, beta, y);
        return;
    }
    enum be_precision rounding = ref_master(plan->precision);
    double *saved = ref_at(plan, plan->nodes[i].kept);
    double *stage = run->io->stage == NULL ? NULL : (double *)run->io->stage + plan->graph->stats[op->stat].offset;
    ref_bn_stats(shape, plan->groups, x, op->eps, saved, stage);
    ref_round_all(rounding, saved, 2 * (size_t)shape->c * (size_t)plan->groups);
    if (stage != NULL)
        ref_round_all(rounding, stage, 2 * (size_t)shape->c);
    ref_bn_apply(shape, plan->groups, x, saved, gamma, beta, y);
}

static void run_op(struct be_plan *plan, int i, const struct forward_run *run)
{
    const struct graph_op *op = &plan->graph->ops[i];
    const struct ref_value *out = &plan->values[op->out];
    const struct ref_shape *in = op->in[0] < 0 ? NULL : &plan->values[op->in[0]].shape;
    const double *a = value_at(plan, op->in[0]), *b = value_at(plan, op->in[1]);
    double *y = value_at(plan, op->out);
    switch (op->kind) {
    case OP_INPUT:
        run_input(plan, op, run->io);
        break;
    case OP_CONV:
    case OP_LINEAR: {
        const struct ref_conv conv = ref_window_of(plan, op);
        ref_conv_forward(&conv, a, param_at(plan, run->weights, op->param[0]), y, ref_at(plan, plan->nodes[i].scratch));
        if (op->kind == OP_LINEAR && op->param[1] >= 0)
            ref_bias(&out->shape, param_at(plan, run->masters, op->param[1]), y);
        break;
    }
    case OP_BN:
        run_bn(plan, i, run);
        break;
    case OP_RELU:
        ref_relu(out->count, a, y);
        break;
    case OP_ADD:
        ref_add(out->count, a, b, y);
        break;
    case OP_MAXPOOL: {
        const struct ref_conv pool = ref_window_of(plan, op);
        ref_maxpool(&pool, a, y, ref_at(plan, plan->nodes[i].kept));
        break;
    }
    case OP_GAP:
        ref_gap(in, a, y);
        break;
    case OP_L2NORM:
        ref_l2norm(in->n, in->c, a, y);
        break;
    case OP_KINDS:
        break;
    }
    if (out->stored)
        ref_round_all(out->rounding, y, out->count);
}

moco_status ref_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    TRY(check_bound(plan, err));
    struct forward_run run = {.io = io, .weights = io->weights, .masters = io->masters};
    if (plan->pass == BE_INFER) {
        if (!plan->has_weights)
            return err_set(err, MOCO_ESTATE, "ref: inference runs before its weights were folded");
        run.weights = ref_at(plan, plan->folded_weights);
    }
    if (run.masters == NULL || plan->pass == BE_INFER)
        run.masters = run.weights; /* a key encoder's block holds them all */
    for (int i = 0; i < plan->graph->op_count; i++) {
        if (!plan->nodes[i].used)
            continue;
        TRY(check_cancel(io->cancel, err));
        run_op(plan, i, &run);
    }
    const struct ref_value *output = &plan->values[plan->output];
    memcpy(io->out, value_at(plan, plan->output), output->count * sizeof(double));
    return MOCO_OK;
}

/* ---- backward ---- */

/* Where to write the gradient of input k: its own place, or aside to be added. NULL: nobody asks for it. */
static double *gradient_place(const struct be_plan *plan, int i, int k)
{
    int value = plan->graph->ops[i].in[k];
    if (value < 0 || plan->values[value].gradient < 0)
        return NULL;
    return ref_at(plan, plan->nodes[i].adds[k] ? plan->nodes[i].d_in : plan->values[value].gradient);
}

static void gradient_done(struct be_plan *plan, int i, int k)
{
    const struct ref_value *value = &plan->values[plan->graph->ops[i].in[k]];
    double *place = gradient_place(plan, i, k), *sum = ref_at(plan, value->gradient);
    if (value->stored)
        ref_round_all(value->rounding, place, value->count);
    if (plan->nodes[i].adds[k])
        ref_add(value->count, sum, place, sum);
}

/* Adds this launch's gradient, rounded as it leaves the op, to the slab, and tells that parameter `param` is final. */
static void add_gradient(const struct be_plan *plan, const struct be_backward *io, int param, double *values)
{
    enum be_precision rounding = ref_master(plan->precision);
    double *sum = (double *)io->gradients + plan->layout->offset[param];
    for (int64_t i = 0; i < plan->layout->length[param]; i++)
        sum[i] = ref_round(rounding, sum[i] + ref_round(rounding, values[i]));
    if (io->on_grad != NULL)
        io->on_grad(io->user, param, 1);
}

static void back_conv(struct be_plan *plan, int i, const struct be_backward *io, const double *dy, double *dx)
{
    const struct graph_op *op = &plan->graph->ops[i];
    const struct ref_conv conv = ref_window_of(plan, op);
    double *d_param = ref_at(plan, plan->nodes[i].d_param), *scratch = ref_at(plan, plan->nodes[i].scratch_back);
    if (op->kind == OP_LINEAR && op->param[1] >= 0) {
        double *d_bias = d_param + plan->layout->length[op->param[0]];
        ref_bias_backward(&conv.out, dy, d_bias);
        add_gradient(plan, io, op->param[1], d_bias);
    }
    ref_conv_backward_weight(&conv, value_at(plan, op->in[0]), dy, d_param, scratch);
    add_gradient(plan, io, op->param[0], d_param);
    if (dx != NULL)
        ref_conv_backward_data(&conv, param_at(plan, io->weights, op->param[0]), dy, dx, scratch);
}

static void back_bn(struct be_plan *plan, int i, const struct be_backward *io, const double *dy, double *dx)
{
    const struct graph_op *op = &plan->graph->ops[i];
    double *d_gamma = ref_at(plan, plan->nodes[i].d_param), *d_beta = d_gamma + plan->layout->length[op->param[0]];
    ref_bn_backward(&plan->values[op->out].shape, plan->groups, value_at(plan, op->in[0]),
                    ref_at(plan, plan->nodes[i].kept), param_at(plan, io->masters, op->param[0]), dy, dx, d_gamma,
                    d_beta, ref_at(plan, plan->nodes[i].scratch_back));
    if (op->param[1] >= 0)
        add_gradient(plan, io, op->param[1], d_beta);
    add_gradient(plan, io, op->param[0], d_gamma);
}

static void back_op(struct be_plan *plan, int i, const struct be_backward *io)
{
    const struct graph_op *op = &plan->graph->ops[i];
    const struct ref_value *out = &plan->values[op->out];
    const struct ref_shape *in = op->in[0] < 0 ? NULL : &plan->values[op->in[0]].shape;
    double *dy = ref_at(plan, out->gradient), *dx = gradient_place(plan, i, 0);
    if (op->kind != OP_BN && op->kind != OP_RELU && op->kind != OP_ADD)
        ref_round_all(out->rounding, dy, out->count);
    switch (op->kind) {
    case OP_CONV:
    case OP_LINEAR:
        back_conv(plan, i, io, dy, dx);
        break;
    case OP_BN:
        back_bn(plan, i, io, dy, dx != NULL ? dx : dy);
        break;
    case OP_RELU:
        ref_relu_backward(out->count, value_at(plan, op->out), dy, dx);
        break;
    case OP_MAXPOOL: {
        const struct ref_conv pool = ref_window_of(plan, op);
        ref_maxpool_backward(&pool, ref_at(plan, plan->nodes[i].kept), dy, dx);
        break;
    }
    case OP_GAP:
        ref_gap_backward(in, dy, dx);
        break;
    case OP_L2NORM:
        ref_l2norm_backward(in->n, in->c, value_at(plan, op->in[0]), dy, dx);
        break;
    case OP_ADD: /* both inputs at the end, below */
    case OP_INPUT:
    case OP_KINDS:
        break;
    }
    for (int k = 0; k < 2; k++) {
        double *place = gradient_place(plan, i, k);
        if (place == NULL)
            continue;
        if (op->kind == OP_ADD)
            memcpy(place, dy, out->count * sizeof *dy);
        gradient_done(plan, i, k);
    }
}

/* Parameters that the output does not depend on: their gradient is zero, and final at once. */
static void finish_unused(const struct be_plan *plan, const struct be_backward *io)
{
    for (int i = 0; i < plan->graph->op_count && io->on_grad != NULL; i++)
        for (int k = 0; k < 2; k++)
            if (!plan->nodes[i].used && plan->graph->ops[i].param[k] >= 0)
                io->on_grad(io->user, plan->graph->ops[i].param[k], 1);
}

moco_status ref_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    TRY(check_bound(plan, err));
    if (plan->pass != BE_TRAIN)
        return err_set(err, MOCO_ESTATE, "ref: only a plan for training runs backward");
    if (!io->accumulate)
        memset(io->gradients, 0, ref_layout_bytes(plan->layout));
    finish_unused(plan, io);
    const struct ref_value *output = &plan->values[plan->output];
    if (output->gradient < 0)
        return MOCO_OK;
    double *d_out = ref_at(plan, output->gradient);
    memcpy(d_out, io->d_out, output->count * sizeof *d_out);
    for (int i = plan->graph->op_count - 1; i >= 0; i--) {
        if (!plan->nodes[i].used || plan->values[plan->graph->ops[i].out].gradient < 0)
            continue;
        TRY(check_cancel(io->cancel, err));
        back_op(plan, i, io);
    }
    return MOCO_OK;
}
