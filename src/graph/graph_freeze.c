/* SPDX-License-Identifier: MIT
 *
 * graph: the checks that need the whole graph, and the list of ops that read each value. Backends may trust a frozen
 * graph. What a reader would get wrong: a value that no op reads is an error too, because it would have no gradient. */
#include "graph/graph.h"

static moco_status check_output(const struct graph *g, const char *what, int value, struct err *err)
{
    if (value < 0 || value >= g->value_count)
        return err_set(err, MOCO_EINVAL, "graph: %s is value %d; there are %d values", what, value, g->value_count);
    const struct graph_value *v = &g->values[value];
    if (v->h != 1 || v->w != 1)
        return err_set(err, MOCO_ESHAPE, "graph: %s (of %s) is %d x %d x %d; it must be a vector (c x 1 x 1)", what,
                       g->ops[v->producer].name, v->c, v->h, v->w);
    return MOCO_OK;
}

static moco_status check_values(const struct graph *g, struct err *err)
{
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        for (int j = 0; j < 2; j++)
            if (op->in[j] >= op->out)
                return err_set(err, MOCO_EINVAL, "graph: %s reads value %d before it is produced", op->name, op->in[j]);
        const struct graph_value *v = &g->values[op->out];
        if (v->producer != i || v->c < 1 || v->h < 1 || v->w < 1)
            return err_set(err, MOCO_ESHAPE, "graph: %s makes a %d x %d x %d map", op->name, v->c, v->h, v->w);
    }
    return MOCO_OK;
}

moco_status graph_freeze(struct graph *g, int features, int projection, int embedding, struct err *err)
{
    if (g->failed.status != MOCO_OK)
        return err_set(err, g->failed.status, "%s", g->failed.text);
    if (g->frozen)
        return err_set(err, MOCO_ESTATE, "graph: it is frozen already");
    if (g->op_count == 0)
        return err_set(err, MOCO_EINVAL, "graph: it has no ops");
    TRY(check_values(g, err));
    TRY(check_output(g, "features", features, err));
    TRY(check_output(g, "projection", projection, err));
    TRY(check_output(g, "embedding", embedding, err));
    const struct graph_op *last = &g->ops[g->values[embedding].producer];
    if (last->kind != OP_L2NORM || last->in[0] != projection)
        return err_set(err, MOCO_EINVAL, "graph: the embedding (of %s) must be the l2norm of the projection",
                       last->name);

    for (int i = 0; i < g->value_count; i++)
        g->values[i].readers = 0;
    for (int i = 0; i < g->op_count; i++)
        for (int j = 0; j < 2; j++)
            if (g->ops[i].in[j] >= 0)
                g->values[g->ops[i].in[j]].readers++;
    for (int i = 0; i < g->value_count; i++)
        if (g->values[i].readers == 0 && i != embedding)
            return err_set(err, MOCO_EINVAL, "graph: nobody reads what %s makes", g->ops[g->values[i].producer].name);

    g->features = features;
    g->projection = projection;
    g->embedding = embedding;
    g->frozen = 1;
    return MOCO_OK;
}
