/* SPDX-License-Identifier: MIT
 *
 * relu_masks: memory for the masks of a graph's ReLUs. What a reader would get wrong: sizes are of one launch. */
#include "support/devices/relu_masks.h"

#include <stdlib.h>

#include "graph/graph.h"

struct relu_masks relu_masks_new(const struct graph *graph, int n)
{
    struct relu_masks m = {.size = calloc((size_t)graph->op_count, sizeof *m.size),
                           .open = calloc((size_t)graph->op_count, sizeof *m.open)};
    for (int i = 0; i < graph->op_count && m.size != NULL && m.open != NULL; i++) {
        const struct graph_value *v = &graph->values[graph->ops[i].out];
        if (graph->ops[i].kind != OP_RELU)
            continue;
        m.size[m.count] = (size_t)n * (size_t)v->h * (size_t)v->w * (size_t)v->c;
        m.open[m.count] = calloc(m.size[m.count], 1);
        if (m.open[m.count++] == NULL)
            abort();
    }
    return m;
}

void relu_masks_free(struct relu_masks *masks)
{
    for (int i = 0; i < masks->count; i++)
        free(masks->open[i]);
    free(masks->open);
    free(masks->size);
    *masks = (struct relu_masks){0};
}
