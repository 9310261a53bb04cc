/* SPDX-License-Identifier: MIT
 *
 * cpu_compile_back: backward's steps, primitives and buffers. A value's gradient is the sum of one contribution per
 * reader; batch norm adds two of them itself, so that residual branches cost no pass of their own. What a reader would
 * get wrong: a contribution belongs to one value alone and is free to be overwritten by the step that consumes it;
 * weights come before data, so that a layer's input is dead, and its memory free, when its gradient is written. */
#include "backend/cpu/cpu_plan.h"

struct compile {
    struct be_plan *plan;
    int (*parts)[2]; /* per value: buffers of its gradient's contributions */
};

static int step_of(const struct be_plan *plan, const struct back *back)
{
    return plan->node_count + (int)(back - plan->backs);
}

/* A new last step; it reads dy and dy2. */
static moco_status emit(struct be_plan *plan, struct back **out, enum back_kind kind, int node, int dy, int dy2,
                        struct err *err)
{
    if (plan->back_count == plan->back_capacity) {
        int capacity = plan->back_capacity == 0 ? 128 : 2 * plan->back_capacity;
        struct back *backs = mem_grow(plan->dev->ctx, plan->backs, (size_t)capacity * sizeof *backs, err);
        if (backs == NULL)
            return MOCO_ENOMEM;
        plan->backs = backs;
        plan->back_capacity = capacity;
    }
    struct back *back = &plan->backs[plan->back_count++];
    *back = (struct back){.kind = kind, .node = node, .dy = dy, .dy2 = dy2};
    back->dz = back->src = back->dx = back->value = back->scratch = NONE;
    cpu_buffer_use(plan, dy, step_of(plan, back));
    cpu_buffer_use(plan, dy2, step_of(plan, back));
    *out = back;
    return MOCO_OK;
}

static moco_status gradient_new(struct be_plan *plan, struct back *back, int *out, int value, struct err *err)
{
    return cpu_buffer_new(plan, out, cpu_value_bytes(plan, value), CLASS_GRADIENT, step_of(plan, back), err);
}

static moco_status scratch_of(struct be_plan *plan, struct back *back, int *out, size_t bytes, struct err *err)
{
    return cpu_buffer_new(plan, out, bytes, CLASS_SCRATCH, step_of(plan, back), err);
}

static moco_status scratch_new(struct be_plan *plan, struct back *back, size_t bytes, struct err *err)
{
    return scratch_of(plan, back, &back->scratch, bytes, err);
}

/* a += b */
static moco_status sum(struct be_plan *plan, int value, int a, int b, struct err *err)
{
    struct back *back;
    TRY(emit(plan, &back, BACK_SUM, NONE, a, b, err));
    back->value = value;
    back->dx = a;
    return MOCO_OK;
}

static moco_status contribute(struct compile *c, int value, int buffer, struct err *err)
{
    int *parts = c->parts[value];
    if (parts[0] == NONE)
        parts[0] = buffer;
    else if (parts[1] == NONE)
        parts[1] = buffer;
    else
        return sum(c->plan, value, parts[0], buffer, err);
    return MOCO_OK;
}

/* A step that writes the gradient of the node's input into a new buffer. */
static moco_status emit_data(struct compile *c, struct back **out, enum back_kind kind, int node, int dy,
                             struct err *err)
{
    int value = c->plan->nodes[node].in;
    TRY(emit(c->plan, out, kind, node, dy, NONE, err));
    int number = (int)(*out - c->plan->backs);
    TRY(gradient_new(c->plan, *out, &(*out)->dx, value, err));
    TRY(contribute(c, value, (*out)->dx, err));
    *out = &c->plan->backs[number]; /* a sum may have moved the steps */
    return MOCO_OK;
}

static moco_status emit_relu(struct compile *c, int node, int dy, struct err *err)
{
    struct back *back;
    int value = c->plan->nodes[node].out;
    TRY(emit(c->plan, &back, BACK_RELU, node, dy, NONE, err));
    back->value = value;
    back->dx = dy;
    cpu_buffer_use(c->plan, c->plan->value_buffer[value], step_of(c->plan, back));
    return MOCO_OK;
}

static moco_status back_bn(struct compile *c, int i, int dy, int dy2, struct err *err)
{
    struct be_plan *plan = c->plan;
    struct node *node = &plan->nodes[i];
    struct kern_map map = cpu_value_map(plan, node->in);
    struct back *back;
    TRY(emit(plan, &back, BACK_BN, i, dy, dy2, err));
    int step = step_of(plan, back);
    TRY(scratch_new(plan, back, kern_bn_scratch(&plan->dev->team, &map), err));
    cpu_buffer_use(plan, node->saved, step);
    cpu_buffer_use(plan, node->mask, step);
    cpu_buffer_use(plan, plan->value_buffer[node->in], step);
    back->dx = dy;
    if (node->other != NONE) {
        back->dz = dy;
        back->dx = dy2;
        if (dy2 == NONE)
            TRY(gradient_new(plan, back, &back->dx, node->in, err));
        TRY(contribute(c, node->other, back->dz, err));
        back = &plan->backs[step - plan->node_count];
    }
    return contribute(c, node->in, back->dx, err);
}

static moco_status back_add(struct compile *c, int i, int dy, struct err *err)
{
    struct node *node = &c->plan->nodes[i];
    if (node->relu)
        TRY(emit_relu(c, i, dy, err));
    struct back *back;
    TRY(emit(c->plan, &back, BACK_COPY, i, dy, NONE, err));
    back->value = node->other;
    TRY(gradient_new(c->plan, back, &back->dx, node->other, err));
    TRY(contribute(c, node->other, back->dx, err));
    return contribute(c, node->in, dy, err);
}

static moco_status back_linear(struct compile *c, int i, int dy, struct err *err)
{
    struct be_plan *plan = c->plan;
    struct node *node = &plan->nodes[i];
    int n = plan->spec.n, in = plan->spec.graph->values[node->in].c, out = plan->spec.graph->values[node->out].c;
    struct back *back;
    if (node->relu)
        TRY(emit_relu(c, i, dy, err));
    TRY(emit(plan, &back, BACK_LINEAR_WEIGHTS, i, dy, NONE, err));
    cpu_buffer_use(plan, plan->value_buffer[node->in], step_of(plan, back));
    TRY(shim_matmul_create(&back->product, plan->dev->engine, out, in, n, 1, 0, 0, err));
    TRY(shim_matmul_create(&back->added, plan->dev->engine, out, in, n, 1, 0, 1, err));
    TRY(scratch_new(plan, back,
                    back->product.scratch > back->added.scratch ? back->product.scratch : back->added.scratch, err));
    TRY(emit_data(c, &back, BACK_LINEAR_DATA, i, dy, err));
    TRY(shim_matmul_create(&back->product, plan->dev->engine, n, in, out, 0, 0, 0, err));
    return scratch_new(plan, back, back->product.scratch, err);
}

/* The buffer that holds a value again: its own, or a new one that the last steps emitted write. */
static moco_status hold_again(struct be_plan *plan, int value, int *buffer, struct err *err)
{
    *buffer = plan->value_buffer[value];
    if (plan->value_depth[value] == 0)
        return MOCO_OK;
    int i = 0, in, other = NONE;
    while (plan->nodes[i].out != value)
        i++;
    const struct node *node = &plan->nodes[i];
    struct back *back;
    TRY(hold_again(plan, node->in, &in, err));
    if (node->other != NONE)
        TRY(hold_again(plan, node->other, &other, err));
    TRY(emit(plan, &back, BACK_RECOMPUTE, i, in, other, err));
    back->value = value;
    cpu_buffer_use(plan, node->saved, step_of(plan, back));
    TRY(scratch_of(plan, back, &back->dx, cpu_value_bytes(plan, value), err));
    *buffer = back->dx;
    return MOCO_OK;
}

/* The step of a convolution's weight gradient. A dense copy of a strided input is made again rather than kept. */
static moco_status emit_weights(struct be_plan *plan, struct back **out, int i, int dy, int dense, struct err *err)
{
    int src;
    const struct node *node = &plan->nodes[i];
    TRY(hold_again(plan, node->in, &src, err));
    if (dense) {
        struct back *back;
        TRY(emit(plan, &back, BACK_GATHER, i, src, NONE, err));
        TRY(scratch_of(plan, back, &back->dx, cpu_gather_bytes(plan, node), err));
        src = back->dx;
    }
    TRY(emit(plan, out, BACK_CONV_WEIGHTS, i, dy, NONE, err));
    (*out)->src = src;
    cpu_buffer_use(plan, src, step_of(plan, *out));
    return MOCO_OK;
}

static moco_status back_conv_prim(struct be_plan *plan, struct back *back, const struct shim_conv_spec *spec,
                                  const struct cpu_param *p, struct err *err)
{
    struct shim_md master;
    TRY(cpu_param_master(&master, p, err));
    int reader = spec->pass == SHIM_BACK_DATA && plan->type == SHIM_BF16;
    moco_status status = cpu_conv_create(&back->conv, plan->dev, spec, reader ? &p->reader[1] : &master, err);
    shim_md_free(&master);
    return status;
}

static moco_status back_conv(struct compile *c, int i, int dy, struct err *err)
{
    struct be_plan *plan = c->plan;
    const struct graph *g = plan->spec.graph;
    struct node *node = &plan->nodes[i];
    const struct cpu_param *p = &plan->spec.layout->params[node->op->param[0]];
    int first = node->in == g->input;
    struct shim_conv_spec spec = {.pass = SHIM_BACK_WEIGHTS,
                                  .type = plan->type,
                                  .shape = cpu_conv_shape(g, node->op, plan->spec.n, 0),
                                  .src = first && plan->order != SHIM_NHWC ? SHIM_PLAIN : plan->order,
                                  .dst = plan->order};
    int dense = cpu_conv_gathers(node->op) && !cpu_conv_own(plan->dev, &spec);
    if (dense)
        spec.shape = cpu_conv_shape(g, node->op, plan->spec.n, 1);
    struct back *back;
    TRY(emit_weights(plan, &back, i, dy, dense, err));
    TRY(back_conv_prim(plan, back, &spec, p, err));
    back->master = back->conv.bytes;
    size_t added = back->conv.own ? 0 : (size_t)p->count * sizeof(float);
    TRY(scratch_new(plan, back, back->master + added, err));
    if (first)
        return MOCO_OK; /* images have no gradient */
    spec.pass = SHIM_BACK_DATA;
    spec.shape = cpu_conv_shape(g, node->op, plan->spec.n, 0);
    TRY(emit_data(c, &back, BACK_CONV_DATA, i, dy, err));
    TRY(back_conv_prim(plan, back, &spec, p, err));
    return scratch_new(plan, back, back->conv.bytes, err);
}

static moco_status back_node(struct compile *c, int i, struct err *err)
{
    struct be_plan *plan = c->plan;
    struct node *node = &plan->nodes[i];
    struct back *back;
    int dy = c->parts[node->out][0], dy2 = c->parts[node->out][1];
    if (dy2 != NONE && node->kind != NODE_BN) {
        TRY(sum(plan, node->out, dy, dy2, err));
        dy2 = NONE;
    }
    switch (node->kind) {
    case NODE_INPUT:
        return MOCO_OK;
    case NODE_BN:
        return back_bn(c, i, dy, dy2, err);
    case NODE_CONV:
        return back_conv(c, i, dy, err);
    case NODE_LINEAR:
        return back_linear(c, i, dy, err);
    case NODE_ADD:
        return back_add(c, i, dy, err);
    case NODE_RELU:
        TRY(emit_relu(c, i, dy, err));
        return contribute(c, node->in, dy, err);
    case NODE_GAP:
        return emit_data(c, &back, BACK_GAP, i, dy, err);
    case NODE_MAXPOOL:
        TRY(emit_data(c, &back, BACK_MAXPOOL, i, dy, err));
        cpu_buffer_use(plan, node->index, step_of(plan, back));
        return MOCO_OK;
    case NODE_L2NORM:
        TRY(emit_data(c, &back, BACK_L2NORM, i, dy, err));
        cpu_buffer_use(plan, plan->value_buffer[node->in], step_of(plan, back));
        return MOCO_OK;
    }
    return MOCO_OK;
}

moco_status cpu_compile_backward(struct be_plan *plan, struct err *err)
{
    struct compile c = {.plan = plan};
    struct ctx *ctx = plan->dev->ctx;
    int values = plan->spec.graph->value_count;
    c.parts = mem_array(ctx, (size_t)values, sizeof *c.parts, err);
    if (c.parts == NULL)
        return MOCO_ENOMEM;
    for (int v = 0; v < values; v++)
        c.parts[v][0] = c.parts[v][1] = NONE;
    moco_status status = MOCO_OK;
    for (int i = plan->node_count - 1; i >= 0 && status == MOCO_OK; i--)
        status = back_node(&c, i, err);
    mem_free(ctx, c.parts);
    return status;
}

void cpu_back_free(struct back *back)
{
    cpu_conv_free(&back->conv);
    shim_prim_free(&back->product);
    shim_prim_free(&back->added);
}
