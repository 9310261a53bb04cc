/* SPDX-License-Identifier: MIT
 *
 * graph: descriptions: names of its ops and its state, its arithmetic. What a reader would get wrong: flops count a
 * multiply-add as two, so that they are twice the "FLOPs" of most papers on networks. */
#include "graph/graph.h"

#include <stdio.h>

const char *graph_kind_name(enum op_kind kind)
{
#define NAME(op, text) [op] = #text,
    static const char *const name[OP_KINDS] = {GRAPH_OPS(NAME)};
    return (int)kind >= 0 && kind < OP_KINDS ? name[kind] : "?";
}

void graph_state_name(const struct graph *g, int i, char *text, size_t size)
{
    static const char *const suffix[] = {
        [STATE_MEAN] = "running_mean", [STATE_VAR] = "running_var", [STATE_TRACKED] = "num_batches_tracked"};
    const struct graph_state *s = &g->states[i];
    if (s->kind == STATE_PARAM)
        snprintf(text, size, "%s", g->params[s->index].name);
    else
        snprintf(text, size, "%s.%s", g->stats[s->index].name, suffix[s->kind]);
}

double graph_flops(const struct graph *g)
{
    double sum = 0;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        const struct graph_value *v = &g->values[op->out];
        if (op->kind == OP_CONV || op->kind == OP_LINEAR)
            sum += 2.0 * (double)g->params[op->param[0]].count * v->h * v->w;
    }
    return sum;
}
