/* SPDX-License-Identifier: MIT
 *
 * cpu_nodes: ops become nodes: batch norm takes the ADD and ReLU behind it, a linear layer its ReLU, and for inference
 * a convolution its batch norm and what follows that. What a reader would get wrong: an ADD goes to the operand that is
 * computed last, whichever of the two that is. */
#include <string.h>

#include "backend/cpu/cpu_plan.h"

struct build {
    struct be_plan *plan;
    const struct graph *graph;
    unsigned char *needed, *done; /* per op */
    unsigned char *ready;         /* per value */
};

static void mark_needed(struct build *b)
{
    const struct graph *g = b->graph;
    struct be_plan *plan = b->plan;
    b->needed[g->values[plan->spec.output].producer] = 1;
    plan->value_readers[plan->spec.output]++;
    for (int i = g->op_count - 1; i >= 0; i--) {
        if (!b->needed[i])
            continue;
        for (int j = 0; j < 2; j++)
            if (g->ops[i].in[j] >= 0) {
                b->needed[g->values[g->ops[i].in[j]].producer] = 1;
                plan->value_readers[g->ops[i].in[j]]++;
            }
    }
}

/* The op that alone reads `value`, if it is of this kind and not part of a node yet. */
static const struct graph_op *sole_reader(const struct build *b, int value, enum op_kind kind)
{
    if (b->plan->value_readers[value] != 1 || value == b->plan->spec.output)
        return NULL;
    for (int i = 0; i < b->graph->op_count; i++) {
        const struct graph_op *op = &b->graph->ops[i];
        if (b->needed[i] && (op->in[0] == value || op->in[1] == value))
            return op->kind == kind && !b->done[i] ? op : NULL;
    }
    return NULL;
}

static void take(struct build *b, struct node *node, const struct graph_op *op)
{
    b->done[op - b->graph->ops] = 1;
    node->out = op->out;
}

static void take_relu(struct build *b, struct node *node)
{
    const struct graph_op *relu = sole_reader(b, node->out, OP_RELU);
    if (relu != NULL) {
        take(b, node, relu);
        node->relu = 1;
    }
}

/* Has everyone else who reads `value` done so? Then the sum may be written over it. */
static int read_by_all_but(const struct build *b, int value, const struct graph_op *last)
{
    if (value == b->graph->input || value == b->plan->spec.output)
        return 0;
    for (int i = 0; i < b->graph->op_count; i++) {
        const struct graph_op *op = &b->graph->ops[i];
        if (b->needed[i] && !b->done[i] && op != last && (op->in[0] == value || op->in[1] == value))
            return 0;
    }
    return 1;
}

static void take_add_relu(struct build *b, struct node *node, int overwrite)
{
    const struct graph_op *add = sole_reader(b, node->out, OP_ADD);
    if (add != NULL) {
        int other = add->in[0] == node->out ? add->in[1] : add->in[0];
        if (!b->ready[other] || (overwrite && !read_by_all_but(b, other, add)))
            return;
        take(b, node, add);
        node->other = other;
    }
    take_relu(b, node);
}

static moco_status check_vectors(const struct build *b, const struct graph_op *op, struct err *err)
{
    int wants_vector = op->kind == OP_LINEAR || op->kind == OP_L2NORM;
    int wants_map = op->kind == OP_CONV || op->kind == OP_MAXPOOL || op->kind == OP_GAP;
    int vector = op->in[0] >= 0 && b->plan->value_vector[op->in[0]];
    if ((wants_vector && !vector) || (wants_map && vector))
        return err_set(err, MOCO_ENOTSUP, "cpu: %s wants %s", op->name,
                       vector ? "a feature map, not a vector" : "a vector behind global pooling");
    if (op->kind == OP_MAXPOOL && op->kernel * op->kernel > KERN_POOL_WINDOW)
        return err_set(err, MOCO_ENOTSUP, "cpu: %s has a window of %d x %d; at most %d pixels are supported", op->name,
                       op->kernel, op->kernel, KERN_POOL_WINDOW);
    b->plan->value_vector[op->out] =
        (unsigned char)(wants_vector || op->kind == OP_GAP || (op->kind != OP_INPUT && !wants_map && vector));
    return MOCO_OK;
}

static const enum node_kind kinds[OP_KINDS] = {
    [OP_INPUT] = NODE_INPUT, [OP_CONV] = NODE_CONV,     [OP_BN] = NODE_BN,
    [OP_RELU] = NODE_RELU,   [OP_ADD] = NODE_ADD,       [OP_MAXPOOL] = NODE_MAXPOOL,
    [OP_GAP] = NODE_GAP,     [OP_LINEAR] = NODE_LINEAR, [OP_L2NORM] = NODE_L2NORM};

static void add_node(struct build *b, const struct graph_op *op)
{
    struct be_plan *plan = b->plan;
    struct node *node = &plan->nodes[plan->node_count++];
    node->kind = kinds[op->kind];
    node->op = op;
    node->in = op->in[0];
    node->other = op->kind == OP_ADD ? op->in[1] : NONE;
    node->saved = node->mask = node->index = node->dense = node->folded = node->bias = node->scratch = NONE;
    take(b, node, op);
    if (op->kind == OP_CONV && plan->spec.pass == BE_INFER) {
        node->bn = sole_reader(b, node->out, OP_BN);
        if (node->bn != NULL) {
            take(b, node, node->bn);
            take_add_relu(b, node, 1);
        }
    } else if (op->kind == OP_BN) {
        take_add_relu(b, node, 0);
    } else if (op->kind == OP_LINEAR || op->kind == OP_ADD) {
        take_relu(b, node);
    }
    b->ready[node->out] = 1;
}

/* Inference may hold wide maps in another order than narrow ones if only convolutions lead from wide to narrow, and
 * none of those reads images. */
static int mixes(const struct build *b)
{
    const struct graph *g = b->graph;
    if (b->plan->spec.pass != BE_INFER)
        return 0;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (!b->needed[i] || op->kind == OP_INPUT || b->plan->value_vector[op->out])
            continue;
        int from = cpu_is_wide(&g->values[op->in[0]]), to = cpu_is_wide(&g->values[op->out]);
        if (from != to && (to || op->kind != OP_CONV || op->in[0] == g->input))
            return 0;
    }
    return 1;
}

/* Channel-blocked activations are fastest in f32 training, but every map must divide into whole blocks; images never
 * do, and only convolutions read them as they come. */
static void choose_order(struct build *b)
{
    struct be_plan *plan = b->plan;
    const struct graph *g = b->graph;
    int block = cpu_block(plan->dev);
    plan->order = SHIM_NHWC;
    plan->type = plan->spec.precision == BE_BF16 ? SHIM_BF16 : SHIM_F32;
    if (plan->type == SHIM_BF16)
        return;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (!b->needed[i])
            continue;
        if (op->in[0] == g->input && op->kind != OP_CONV)
            return;
        if (op->out != g->input && !plan->value_vector[op->out] && g->values[op->out].c % block != 0)
            return;
    }
    plan->order = block == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8;
    plan->wide_nhwc = block == 16 && mixes(b);
}

static moco_status build(struct build *b, struct err *err)
{
    const struct graph *g = b->graph;
    mark_needed(b);
    for (int i = 0; i < g->op_count; i++) {
        if (!b->needed[i])
            continue;
        TRY(check_vectors(b, &g->ops[i], err));
    }
    if (!b->plan->value_vector[b->plan->spec.output])
        return err_set(err, MOCO_EINVAL, "cpu: a plan's output must be a vector behind global pooling");
    choose_order(b);
    for (int i = 0; i < g->op_count; i++)
        if (b->needed[i] && !b->done[i])
            add_node(b, &g->ops[i]);
    return MOCO_OK;
}

moco_status cpu_nodes_build(struct be_plan *plan, struct err *err)
{
    struct ctx *ctx = plan->dev->ctx;
    const struct graph *g = plan->spec.graph;
    size_t ops = (size_t)g->op_count, values = (size_t)g->value_count;
    struct build b = {.plan = plan, .graph = g};
    moco_status status = MOCO_ENOMEM;
    plan->nodes = mem_array(ctx, ops, sizeof *plan->nodes, err);
    plan->value_buffer = mem_array(ctx, values, sizeof *plan->value_buffer, err);
    plan->value_readers = mem_array(ctx, values, sizeof *plan->value_readers, err);
    plan->value_vector = mem_zalloc(ctx, values, err);
    plan->value_depth = mem_zalloc(ctx, values, err);
    b.needed = mem_zalloc(ctx, ops, err);
    b.done = mem_zalloc(ctx, ops, err);
    b.ready = mem_zalloc(ctx, values, err);
    if (plan->nodes != NULL && plan->value_buffer != NULL && plan->value_readers != NULL &&
        plan->value_vector != NULL && plan->value_depth != NULL && b.needed != NULL && b.done != NULL &&
        b.ready != NULL) {
        for (size_t i = 0; i < values; i++)
            plan->value_buffer[i] = NONE;
        status = build(&b, err);
    }
    mem_free(ctx, b.needed);
    mem_free(ctx, b.done);
    mem_free(ctx, b.ready);
    return status;
}
