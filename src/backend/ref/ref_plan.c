/* SPDX-License-Identifier: MIT
 *
 * ref_plan: laying out a launch: which ops run, which results are rounded, which buffers exist and when each is alive.
 * What a reader would get wrong: a value is overwritten in place only where nobody needs it any more, its own
 * producer's backward included. */
#include "backend/ref/ref_plan.h"

#include <string.h>

static int step_forward(int op)
{
    return op;
}

static int step_backward(const struct be_plan *plan, int op)
{
    return 2 * plan->graph->op_count - 1 - op;
}

static int last_step(const struct be_plan *plan)
{
    return 2 * plan->graph->op_count;
}

/* ---- what is asked for ---- */

static moco_status check_spec(const struct be_plan_spec *spec, struct err *err)
{
    const struct graph *g = spec->graph;
    if (!g->frozen)
        return err_set(err, MOCO_ESTATE, "ref: a plan needs a frozen graph");
    if (spec->n < 1 || spec->groups < 1 || spec->n % spec->groups != 0)
        return err_set(err, MOCO_EINVAL, "ref: a launch of %d samples cannot be cut into %d BN groups", spec->n,
                       spec->groups);
    if (spec->output < 0 || spec->output >= g->value_count || g->values[spec->output].h != 1 ||
        g->values[spec->output].w != 1)
        return err_set(err, MOCO_EINVAL, "ref: value %d of the graph is not a vector that a plan could give out",
                       spec->output);
    if (spec->precision < BE_F32 || spec->precision > BE_F64)
        return err_set(err, MOCO_EINVAL, "ref: there is no precision number %d", (int)spec->precision);
    if (spec->f32_input && spec->pass != BE_INFER)
        return err_set(err, MOCO_EINVAL, "ref: only inference takes normalised f32 images");
    if (spec->pass == BE_INFER && spec->groups != 1)
        return err_set(err, MOCO_EINVAL, "ref: inference has no BN groups, but the plan asks for %d", spec->groups);
    return ref_layout_check(spec->layout, g, err);
}

/* ---- what runs, and what is rounded ---- */

static void mark_used(struct be_plan *plan)
{
    const struct graph *g = plan->graph;
    plan->values[plan->output].readers = 1;
    for (int i = g->op_count - 1; i >= 0; i--) {
        const struct graph_op *op = &g->ops[i];
        plan->nodes[i].used = plan->values[op->out].readers > 0;
        for (int k = 0; plan->nodes[i].used && k < 2; k++)
            if (op->in[k] >= 0)
                plan->values[op->in[k]].readers++;
    }
}

static int kind_of(const struct be_plan *plan, int value)
{
    return (int)plan->graph->ops[plan->graph->values[value].producer].kind;
}

/* The input of an addition that the addition is fused with, as in the cpu backend: a BN's output that nobody else reads
 * and that is computed after the other input. -1: none. */
static int fused_input(const struct be_plan *plan, const struct graph_op *add)
{
    const struct graph_value *values = plan->graph->values;
    int last = values[add->in[0]].producer > values[add->in[1]].producer ? add->in[0] : add->in[1];
    return kind_of(plan, last) == OP_BN && plan->values[last].readers == 1 ? last : -1;
}

static void mark_values(struct be_plan *plan)
{
    const struct graph *g = plan->graph;
    for (int v = 0; v < g->value_count; v++) {
        struct ref_value *value = &plan->values[v];
        value->shape = (struct ref_shape){plan->n, g->values[v].c, g->values[v].h, g->values[v].w};
        value->count = ref_count(&value->shape);
        value->stored = 1;
        value->buffer = value->gradient = -1;
    }
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        struct ref_value *out = &plan->values[op->out];
        out->rounding = plan->precision;
        out->needs_gradient = op->param[0] >= 0;
        for (int k = 0; k < 2; k++)
            if (op->in[k] >= 0 && plan->values[op->in[k]].needs_gradient)
                out->needs_gradient = 1;
        /* From the pooling over all pixels on, vectors are f32 in bf16 too. */
        if (op->kind == OP_GAP || op->kind == OP_LINEAR || op->kind == OP_L2NORM)
            out->rounding = ref_master(plan->precision);
        if (op->kind == OP_BN || op->kind == OP_RELU || op->kind == OP_ADD)
            out->rounding = plan->values[op->in[0]].rounding;
        if (!plan->nodes[i].used)
            continue;
        if (op->kind == OP_ADD && fused_input(plan, op) >= 0)
            plan->values[fused_input(plan, op)].stored = 0;
        int before = op->in[0] < 0 || plan->values[op->in[0]].readers != 1 ? -1 : kind_of(plan, op->in[0]);
        if (op->kind == OP_RELU && (before == OP_BN || before == OP_ADD))
            plan->values[op->in[0]].stored = 0;
        if (op->kind == OP_BN && before == OP_CONV && plan->pass == BE_INFER) {
            plan->values[op->in[0]].stored = 0;
            plan->nodes[i].folded = plan->nodes[g->values[op->in[0]].producer].folded = 1;
        }
    }
}

/* ---- buffers ---- */

static int add_buffer(struct be_plan *plan, size_t bytes, int first, int last)
{
    plan->buffers[plan->buffer_count] = (struct memplan_buffer){.bytes = bytes, .first = first, .last = last};
    return plan->buffer_count++;
}

static void extend(struct be_plan *plan, int buffer, int step)
{
    if (plan->buffers[buffer].last < step)
        plan->buffers[buffer].last = step;
}

/* Which input this op may overwrite with its output; -1: none. */
static int in_place(const struct be_plan *plan, const struct graph_op *op)
{
    int candidate = -1;
    if (op->kind == OP_RELU || (op->kind == OP_BN && plan->pass != BE_TRAIN))
        candidate = op->in[0];
    else if (op->kind == OP_ADD)
        candidate = fused_input(plan, op);
    return candidate >= 0 && plan->values[candidate].readers == 1 ? candidate : -1;
}

/* Values: alive from their op to their last reader, and in training to the backward step that reads them. */
static void add_values(struct be_plan *plan)
{
    const struct graph *g = plan->graph;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        struct ref_value *out = &plan->values[op->out];
        if (!plan->nodes[i].used)
            continue;
        int over = in_place(plan, op), back = step_backward(plan, i), train = plan->pass == BE_TRAIN;
        out->buffer = over >= 0 ? plan->values[over].buffer
                                : add_buffer(plan, out->count * sizeof(double), step_forward(i), step_forward(i));
        extend(plan, out->buffer, step_forward(i));
        for (int k = 0; k < 2; k++)
            if (op->in[k] >= 0)
                extend(plan, plan->values[op->in[k]].buffer, step_forward(i));
        if (train && (op->kind == OP_CONV || op->kind == OP_BN || op->kind == OP_LINEAR || op->kind == OP_L2NORM))
            extend(plan, plan->values[op->in[0]].buffer, back);
        if (train && op->kind == OP_RELU)
            extend(plan, out->buffer, back);
    }
    /* Forward reads the output once more, after its last op. */
    extend(plan, plan->values[plan->output].buffer, step_forward(g->op_count - 1));
}

/* Gradients: alive from the backward step of the last reader to that of the producer. */
static void add_gradients(struct be_plan *plan)
{
    const struct graph *g = plan->graph;
    struct ref_value *output = &plan->values[plan->output];
    if (output->needs_gradient) {
        int first = step_backward(plan, g->op_count - 1);
        output->gradient = add_buffer(plan, output->count * sizeof(double), first, first);
    }
    for (int i = g->op_count - 1; i >= 0; i--) {
        const struct graph_op *op = &g->ops[i];
        int step = step_backward(plan, i);
        struct ref_node *node = &plan->nodes[i];
        if (!node->used || plan->values[op->out].gradient < 0)
            continue;
        extend(plan, plan->values[op->out].gradient, step);
        for (int k = 0; k < 2; k++) {
            if (op->in[k] < 0 || !plan->values[op->in[k]].needs_gradient)
                continue;
            struct ref_value *in = &plan->values[op->in[k]];
            node->adds[k] = in->gradient >= 0;
            if (!node->adds[k])
                in->gradient = add_buffer(plan, in->count * sizeof(double), step, step);
            else if (node->d_in < 0)
                node->d_in = add_buffer(plan, in->count * sizeof(double), step, step);
        }
        if (op->param[0] >= 0) {
            size_t count = (size_t)g->params[op->param[0]].count, biases = 0;
            if (op->param[1] >= 0 || op->kind == OP_BN) /* BN computes its bias's even if it has none */
                biases = (size_t)g->values[op->out].c;
            node->d_param = add_buffer(plan, (count + biases) * sizeof(double), step, step);
        }
    }
}

/* What ops need besides values and gradients. */
static void add_extras(struct be_plan *plan)
{
    const struct graph *g = plan->graph;
    if (plan->pass == BE_INFER)
        plan->folded_weights = add_buffer(plan, ref_layout_bytes(plan->layout), 0, last_step(plan));
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        struct ref_node *node = &plan->nodes[i];
        int step = step_forward(i), back = step_backward(plan, i), train = plan->pass == BE_TRAIN;
        size_t scratch = 0;
        if (!node->used)
            continue;
        if (op->kind == OP_CONV || op->kind == OP_LINEAR) {
            const struct ref_conv conv = ref_window_of(plan, op);
            scratch = ref_conv_scratch(&conv);
            node->scratch = add_buffer(plan, scratch * sizeof(double), step, step);
        }
        if (op->kind == OP_BN && plan->pass != BE_INFER) {
            scratch = 2 * (size_t)plan->values[op->out].shape.c;
            node->kept = add_buffer(plan, scratch * (size_t)plan->groups * sizeof(double), step, train ? back : step);
        }
        if (op->kind == OP_BN && plan->pass == BE_INFER && op->param[1] < 0)
            node->kept = add_buffer(plan, (size_t)plan->values[op->out].shape.c * sizeof(double), 0, last_step(plan));
        if (op->kind == OP_MAXPOOL && train)
            node->kept = add_buffer(plan, plan->values[op->out].count * sizeof(uint16_t), step, back);
        if (train && scratch > 0)
            node->scratch_back = add_buffer(plan, scratch * sizeof(double), back, back);
    }
}

/* Parts of the slab, for reports: what is alive between forward and backward, what ops compute with, and the rest. */
static void count_bytes(struct be_plan *plan, size_t total)
{
    struct be_plan_bytes *bytes = &plan->bytes;
    int turn = step_backward(plan, plan->graph->op_count - 1);
    bytes->slab = (total + 4095) / 4096 * 4096;
    for (int b = 0; b < plan->buffer_count && plan->pass == BE_TRAIN; b++)
        if (plan->buffers[b].first < turn && plan->buffers[b].last >= turn)
            bytes->activations += plan->buffers[b].bytes;
    for (int i = 0; i < plan->graph->op_count; i++)
        if (plan->nodes[i].scratch >= 0 && plan->buffers[plan->nodes[i].scratch].bytes > bytes->scratch)
            bytes->scratch = plan->buffers[plan->nodes[i].scratch].bytes;
    if (plan->folded_weights >= 0)
        bytes->scratch += plan->buffers[plan->folded_weights].bytes;
    if (plan->pass == BE_TRAIN && bytes->slab > bytes->activations + bytes->scratch)
        bytes->gradients = bytes->slab - bytes->activations - bytes->scratch;
}

static moco_status lay_out(struct be_plan *plan, struct err *err)
{
    size_t total = 0;
    mark_used(plan);
    mark_values(plan);
    add_values(plan);
    add_extras(plan);
    if (plan->pass == BE_TRAIN)
        add_gradients(plan);
    TRY(memplan_solve(plan->ctx, plan->buffers, plan->buffer_count, &total, err));
    count_bytes(plan, total);
    return MOCO_OK;
}

moco_status ref_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                            struct err *err)
{
    *out = NULL;
    TRY(check_spec(spec, err));
    const struct graph *g = spec->graph;
    struct be_plan *plan = mem_zalloc(dev->ctx, sizeof *plan, err);
    if (plan == NULL)
        return MOCO_ENOMEM;
    *plan = (struct be_plan){.ctx = dev->ctx,
                             .graph = g,
                             .layout = spec->layout,
                             .precision = spec->precision,
                             .pass = spec->pass,
                             .n = spec->n,
                             .groups = spec->groups,
                             .output = spec->output,
                             .f32_input = spec->f32_input,
                             .folded_weights = -1};
    moco_status status = MOCO_ENOMEM;
    plan->values = mem_array(dev->ctx, (size_t)g->value_count, sizeof *plan->values, err);
    plan->nodes = mem_array(dev->ctx, (size_t)g->op_count, sizeof *plan->nodes, err);
    /* At most: value, gradient, kept, two scratches and two temporaries an op, and the folded weights. */
    plan->buffers = mem_array(dev->ctx, (size_t)g->op_count * 7 + 1, sizeof *plan->buffers, err);
    if (plan->values == NULL || plan->nodes == NULL || plan->buffers == NULL)
        goto fail;
    for (int i = 0; i < g->op_count; i++)
        plan->nodes[i] = (struct ref_node){.kept = -1, .scratch = -1, .scratch_back = -1, .d_param = -1, .d_in = -1};
    TRY_GOTO(status, lay_out(plan, err), fail);
    *out = plan;
    return MOCO_OK;
fail:
    ref_plan_free(plan);
    return status;
}

void ref_plan_free(struct be_plan *plan)
{
    if (plan == NULL)
        return;
    mem_free(plan->ctx, plan->values);
    mem_free(plan->ctx, plan->nodes);
    mem_free(plan->ctx, plan->buffers);
    mem_free(plan->ctx, plan);
}

void ref_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes)
{
    *bytes = plan->bytes;
}

moco_status ref_plan_bind(struct be_plan *plan, void *slab, struct err *err)
{
    if ((uintptr_t)slab % 64 != 0)
        return err_set(err, MOCO_EINVAL, "ref: a plan is bound to an address that is no multiple of 64");
    plan->slab = slab;
    plan->has_weights = 0;
    return MOCO_OK;
}
