/* SPDX-License-Identifier: MIT
 *
 * cpu_compile: forward's primitives and buffers. For training every node writes a buffer of its own, since backward
 * reads most of them; a key encoder and inference keep nothing, and work in place where they can. */
#include "backend/cpu/cpu_plan.h"

static const struct cpu_param *param_of(const struct be_plan *plan, const struct graph_op *op, int which)
{
    return &plan->spec.layout->params[op->param[which]];
}

static moco_status scratch(struct be_plan *plan, int *out, size_t bytes, int step, struct err *err)
{
    return cpu_buffer_new(plan, out, bytes, CLASS_SCRATCH, step, err);
}

/* What inference folds once and reads in every run lives through the whole plan. */
static moco_status persistent(struct be_plan *plan, int *out, size_t bytes, struct err *err)
{
    TRY(scratch(plan, out, bytes, 0, err));
    cpu_buffer_use(plan, *out, plan->node_count - 1);
    return MOCO_OK;
}

/* out gets a buffer of its own. */
static moco_status value_new(struct be_plan *plan, int v, int step, struct err *err)
{
    size_t bytes = cpu_value_bytes(plan, v);
    TRY(cpu_buffer_new(plan, &plan->value_buffer[v], bytes, CLASS_ACTIVATION, step, err));
    plan->strides[plan->value_buffer[v]] = bytes / (size_t)plan->n;
    return MOCO_OK;
}

/* out is written over `over`, if nothing will read that any more. */
static moco_status value_over(struct be_plan *plan, int v, int over, int step, struct err *err)
{
    if (plan->spec.pass == BE_TRAIN || plan->value_readers[over] != 1 || over == plan->spec.graph->input)
        return value_new(plan, v, step, err);
    plan->value_buffer[v] = plan->value_buffer[over];
    cpu_buffer_use(plan, plan->value_buffer[v], step);
    return MOCO_OK;
}

static moco_status compile_input(struct be_plan *plan, struct node *node, int step, struct err *err)
{
    TRY(value_new(plan, node->out, step, err));
    if (!plan->spec.f32_input)
        return MOCO_OK;
    const struct graph_value *image = &plan->spec.graph->values[node->out];
    int64_t dims[4] = {plan->n, image->c, image->h, image->w};
    struct shim_md from = {0}, to = {0};
    moco_status status;
    TRY_GOTO(status, shim_md_create(&from, dims, SHIM_F32, SHIM_PLAIN, err), done);
    TRY_GOTO(status, shim_md_create(&to, dims, plan->type, cpu_value_order(plan, node->out), err), done);
    TRY_GOTO(status, shim_reorder_create(&node->convert, plan->dev->engine, &from, &to, err), done);
    status = scratch(plan, &node->scratch, node->convert.scratch, step, err);
done:
    shim_md_free(&from);
    shim_md_free(&to);
    return status;
}

size_t cpu_gather_bytes(const struct be_plan *plan, const struct node *node)
{
    int gathers = cpu_conv_gathers(node->op);
    struct shim_conv shape = cpu_conv_shape(plan->spec.graph, node->op, plan->n, gathers);
    size_t count = (size_t)shape.n * (size_t)shape.ci * (size_t)shape.h * (size_t)shape.w;
    return count * (plan->type == SHIM_BF16 ? 2 : 4);
}

static moco_status compile_conv(struct be_plan *plan, struct node *node, int step, struct err *err)
{
    const struct cpu_param *p = param_of(plan, node->op, 0);
    int infer = plan->spec.pass == BE_INFER;
    enum shim_order in = cpu_value_order(plan, node->in), out = cpu_value_order(plan, node->out);
    int reorders = in == SHIM_NHWC && out != SHIM_NHWC;
    struct shim_conv_spec spec = {.pass = infer ? SHIM_INFER : SHIM_FORWARD,
                                  .type = plan->type,
                                  .shape = cpu_conv_shape(plan->spec.graph, node->op, plan->n, 0),
                                  .src = reorders ? out : in,
                                  .dst = out,
                                  .sum = node->other != NONE,
                                  .relu = node->relu};
    int gathers = cpu_conv_gathers(node->op) && !cpu_conv_own(plan->dev, &spec);
    if (gathers)
        spec.shape = cpu_conv_shape(plan->spec.graph, node->op, plan->n, 1);
    if (gathers || reorders)
        TRY(scratch(plan, &node->dense, cpu_gather_bytes(plan, node), step, err));
    struct shim_md master;
    TRY(cpu_param_master(&master, p, err));
    moco_status status = cpu_conv_create(&node->conv, plan->dev, &spec,
                                         plan->type == SHIM_BF16 && !infer ? &p->reader[0] : &master, err);
    shim_md_free(&master);
    if (status != MOCO_OK)
        return status;
    TRY(scratch(plan, &node->scratch, node->conv.bytes, step, err));
    if (infer) {
        TRY(persistent(plan, &node->folded, node->conv.run.weights.bytes, err));
        TRY(persistent(plan, &node->bias, (size_t)spec.shape.co * sizeof(float), err));
    }
    if (node->other == NONE)
        return value_new(plan, node->out, step, err);
    plan->value_buffer[node->out] = plan->value_buffer[node->other];
    return MOCO_OK;
}

static moco_status compile_bn(struct be_plan *plan, struct node *node, int step, struct err *err)
{
    struct kern_map map = cpu_value_map(plan, node->in);
    size_t row = (size_t)map.c * sizeof(float);
    if (plan->spec.pass == BE_INFER) {
        TRY(persistent(plan, &node->saved, 4 * row, err));
    } else {
        TRY(cpu_buffer_new(plan, &node->saved, (size_t)map.groups * 2 * row, CLASS_ACTIVATION, step, err));
        TRY(scratch(plan, &node->scratch, kern_bn_scratch(&plan->dev->team, &map), step, err));
    }
    if (plan->spec.pass == BE_TRAIN && node->relu)
        TRY(cpu_buffer_new(plan, &node->mask, kern_mask_bytes(&map), CLASS_ACTIVATION, step, err));
    return value_over(plan, node->out, node->in, step, err);
}

static moco_status compile_linear(struct be_plan *plan, struct node *node, int step, struct err *err)
{
    int in = plan->spec.graph->values[node->in].c, out = plan->spec.graph->values[node->out].c;
    TRY(shim_matmul_create(&node->product, plan->dev->engine, plan->n, out, in, 0, 1, 0, err));
    TRY(scratch(plan, &node->scratch, node->product.scratch, step, err));
    if (plan->spec.pass == BE_INFER) {
        TRY(persistent(plan, &node->folded, (size_t)in * (size_t)out * sizeof(float), err));
        if (node->op->param[1] >= 0)
            TRY(persistent(plan, &node->bias, (size_t)out * sizeof(float), err));
    }
    return value_new(plan, node->out, step, err);
}

static moco_status compile_node(struct be_plan *plan, struct node *node, int step, struct err *err)
{
    if (node->in >= 0)
        cpu_buffer_use(plan, plan->value_buffer[node->in], step);
    if (node->other >= 0)
        cpu_buffer_use(plan, plan->value_buffer[node->other], step);
    switch (node->kind) {
    case NODE_INPUT:
        return compile_input(plan, node, step, err);
    case NODE_CONV:
        return compile_conv(plan, node, step, err);
    case NODE_BN:
        return compile_bn(plan, node, step, err);
    case NODE_LINEAR:
        return compile_linear(plan, node, step, err);
    case NODE_RELU:
    case NODE_ADD:
        return value_over(plan, node->out, node->in, step, err);
    case NODE_MAXPOOL:
        if (plan->spec.pass == BE_TRAIN)
            TRY(cpu_buffer_new(plan, &node->index, cpu_value_count(plan, node->out), CLASS_ACTIVATION, step, err));
        return value_new(plan, node->out, step, err);
    case NODE_GAP:
    case NODE_L2NORM:
        break;
    }
    return value_new(plan, node->out, step, err);
}

/* Room for the largest convolution's folded weights in the masters' order. */
static moco_status compile_fold(struct be_plan *plan, struct err *err)
{
    size_t largest = 0;
    for (int i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        if (node->kind == NODE_CONV && node->conv.order.primitive != NULL) {
            size_t bytes = (size_t)param_of(plan, node->op, 0)->count * sizeof(float);
            bytes = (bytes + 63) / 64 * 64 + node->conv.bytes;
            largest = bytes > largest ? bytes : largest;
        }
    }
    return scratch(plan, &plan->fold, largest, 0, err);
}

moco_status cpu_compile_forward(struct be_plan *plan, struct err *err)
{
    for (int i = 0; i < plan->segment_count; i++) {
        plan->n = plan->segments[i].n;
        for (int j = plan->segments[i].first; j < plan->segments[i].end; j++)
            TRY(compile_node(plan, &plan->nodes[j], j, err));
    }
    plan->n = plan->spec.n;
    cpu_buffer_use(plan, plan->value_buffer[plan->spec.output], plan->node_count - 1);
    return plan->spec.pass == BE_INFER ? compile_fold(plan, err) : MOCO_OK;
}

void cpu_node_free(struct node *node)
{
    cpu_conv_free(&node->conv);
    shim_prim_free(&node->convert);
    shim_prim_free(&node->product);
}
