/* SPDX-License-Identifier: MIT
 *
 * graph: what one says about itself: names of its state, a listing, its arithmetic. The one thing a reader would get
 * wrong: flops count a multiply-add as two, so they are twice the "FLOPs" of most papers on networks. */
#include "graph/graph.h"

#include <stdarg.h>
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

struct cursor {
    char *text;
    size_t size, used; /* used: as if there were room */
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
put(struct cursor *c, const char *format, ...)
{
    size_t room = c->used < c->size ? c->size - c->used : 0;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(room > 0 ? c->text + c->used : NULL, room, format, args);
    va_end(args);
    c->used += length > 0 ? (size_t)length : 0;
}

size_t graph_dump(const struct graph *g, char *text, size_t size)
{
    struct cursor c = {.text = text, .size = size};
    if (size > 0)
        text[0] = 0;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        const struct graph_value *v = &g->values[op->out];
        put(&c, "%d %s %s", i, graph_kind_name(op->kind), op->name);
        if (op->in[0] >= 0)
            put(&c, " (%d", op->in[0]);
        if (op->in[1] >= 0)
            put(&c, ", %d", op->in[1]);
        put(&c, "%s -> %d: %dx%dx%d", op->in[0] >= 0 ? ")" : "", op->out, v->c, v->h, v->w);
        if (op->kernel > 0)
            put(&c, " kernel %d stride %d pad %d", op->kernel, op->stride, op->pad);
        put(&c, "%s%s%s\n", op->out == g->features ? " features" : "", op->out == g->projection ? " projection" : "",
            op->out == g->embedding ? " embedding" : "");
    }
    return c.used + 1;
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
