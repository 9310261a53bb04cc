/* SPDX-License-Identifier: MIT
 *
 * cpu_program: see cpu_program.h. */
#include "backend/cpu/cpu_program.h"

/* Inference may hold wide maps in another order than narrow ones if only convolutions lead from wide to narrow, and
 * none of those reads images. */
static int mixes(const struct program *p)
{
    const struct graph *g = p->spec.graph;
    if (p->spec.pass != BE_INFER)
        return 0;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (p->value_readers[op->out] == 0 || op->kind == OP_INPUT || p->value_vector[op->out])
            continue;
        int from = cpu_is_wide(&g->values[op->in[0]]), to = cpu_is_wide(&g->values[op->out]);
        if (from != to && (to || op->kind != OP_CONV || op->in[0] == g->input))
            return 0;
    }
    return 1;
}

/* Channel-blocked activations are fastest in f32 training, but every map must divide into whole blocks; images never
 * do, and only convolutions read them as they come. */
void cpu_order_choose(struct be_plan *plan)
{
    const struct program *p = &plan->program;
    const struct graph *g = p->spec.graph;
    int block = cpu_block(plan->dev);
    plan->order = SHIM_NHWC;
    if (plan->type == SHIM_BF16)
        return;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (p->value_readers[op->out] == 0)
            continue;
        if (op->in[0] == g->input && op->kind != OP_CONV)
            return;
        if (op->out != g->input && !p->value_vector[op->out] && g->values[op->out].c % block != 0)
            return;
    }
    plan->order = block == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8;
    plan->wide_nhwc = block == 16 && mixes(p);
}

enum shim_order cpu_value_order(const struct be_plan *plan, int v)
{
    const struct graph *g = plan->program.spec.graph;
    if (plan->order == SHIM_NHWC || (plan->wide_nhwc && cpu_is_wide(&g->values[v])))
        return SHIM_NHWC;
    return v == g->input ? SHIM_PLAIN : plan->order;
}

int cpu_value_bf16(const struct be_plan *plan, int v)
{
    return plan->type == SHIM_BF16 && !plan->program.value_vector[v];
}

struct kern_map cpu_value_map(const struct be_plan *plan, int v, int n)
{
    const struct graph_value *value = &plan->program.spec.graph->values[v];
    struct kern_map map = {.n = n,
                           .groups = plan->program.spec.groups,
                           .c = value->c,
                           .h = value->h,
                           .w = value->w,
                           .block = value->c,
                           .bf16 = cpu_value_bf16(plan, v)};
    enum shim_order order = cpu_value_order(plan, v);
    if (!plan->program.value_vector[v] && order != SHIM_NHWC && order != SHIM_PLAIN)
        map.block = cpu_block(plan->dev);
    return map;
}

const struct cpu_param *cpu_param_of(const struct be_plan *plan, const struct graph_op *op, int which)
{
    return &plan->program.spec.layout->params[op->param[which]];
}

const float *cpu_vector_param(const struct be_plan *plan, const struct be_forward *io, const struct graph_op *op,
                              int which)
{
    if (op->param[which] < 0)
        return NULL;
    if (plan->program.spec.pass == BE_KEY)
        return (const float *)(const void *)((const char *)io->weights + cpu_param_of(plan, op, which)->key);
    return cpu_master_of(plan, io->masters, op, which);
}

const float *cpu_master_of(const struct be_plan *plan, const void *masters, const struct graph_op *op, int which)
{
    return op->param[which] < 0 ? NULL : (const float *)masters + cpu_param_of(plan, op, which)->offset;
}

float *cpu_gradient_of(const struct be_plan *plan, const struct be_backward *io, const struct graph_op *op, int which)
{
    return op->param[which] < 0 ? NULL : (float *)io->gradients + cpu_param_of(plan, op, which)->offset;
}
