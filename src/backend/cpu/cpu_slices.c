/* SPDX-License-Identifier: MIT
 *
 * cpu_slices: how many samples run at a time. Inference keeps nothing, so that the first layers, whose maps are large
 * and whose weights are few, run for a few samples from end to end while their maps are still in the cache, and the
 * last layers, whose weights are many, for the whole launch. What a reader would get wrong: training and key encoders
 * have one segment of all samples, since their batch norms look at all of them in every layer. */
#include "backend/cpu/cpu_plan.h"

/* What a layer of a slice may read and write: a part of a last-level cache that others use too. */
#define SLICE_BYTES ((size_t)8 << 20)
/* Every slice reads the weights again: a stretch of layers is sliced if its maps are this many times as large. */
#define MAPS_PER_WEIGHT 4

/* The segment that a step is in; backward's are in the last. */
static const struct segment *segment_of(const struct be_plan *plan, int step)
{
    int i = 0;
    while (i + 1 < plan->segment_count && step >= plan->segments[i].end)
        i++;
    return &plan->segments[i];
}

static int is_made_before(const struct be_plan *plan, int value, int node)
{
    for (int i = 0; i < node; i++)
        if (plan->nodes[i].out == value)
            return 1;
    return 0;
}

/* Does one value alone lead from the nodes before `node` to it and those behind it? */
static int is_neck(const struct be_plan *plan, int node)
{
    int neck = NONE;
    for (int i = node; i < plan->node_count; i++) {
        int read[2] = {plan->nodes[i].in, plan->nodes[i].other};
        for (int j = 0; j < 2; j++) {
            if (read[j] < 0 || !is_made_before(plan, read[j], node))
                continue;
            if (neck != NONE && neck != read[j])
                return 0;
            neck = read[j];
        }
    }
    return neck != NONE;
}

/* Bytes of maps that a node reads and writes for one sample. */
static size_t map_bytes(const struct be_plan *plan, const struct node *node)
{
    size_t bytes = cpu_value_bytes(plan, node->out);
    if (node->in >= 0)
        bytes += cpu_value_bytes(plan, node->in);
    return bytes / (size_t)plan->n;
}

static size_t weight_bytes(const struct be_plan *plan, const struct node *node)
{
    int of_params = node->kind == NODE_CONV || node->kind == NODE_LINEAR;
    return of_params ? (size_t)plan->spec.layout->params[node->op->param[0]].count * sizeof(float) : 0;
}

/* The largest divisor of n for which every layer's maps fit. */
static int slice_of(const struct be_plan *plan)
{
    size_t largest = 1;
    for (int i = 0; i < plan->node_count; i++) {
        size_t bytes = map_bytes(plan, &plan->nodes[i]);
        largest = bytes > largest ? bytes : largest;
    }
    int slice = plan->spec.n;
    while (slice > 1 && (plan->spec.n % slice != 0 || (size_t)slice * largest > SLICE_BYTES))
        slice--;
    return slice;
}

/* The first node that is run for all samples at once. */
static int whole_from(const struct be_plan *plan, int slice)
{
    int from = 0;
    size_t maps = 0, weights = 0;
    for (int i = 0; i < plan->node_count; i++) {
        if (i > 0 && is_neck(plan, i)) {
            if (maps / MAPS_PER_WEIGHT < weights)
                break;
            from = i;
            maps = weights = 0;
        }
        maps += (size_t)slice * map_bytes(plan, &plan->nodes[i]);
        weights += weight_bytes(plan, &plan->nodes[i]);
    }
    return from;
}

moco_status cpu_slices_choose(struct be_plan *plan, struct err *err)
{
    plan->segments = mem_array(plan->dev->ctx, 2, sizeof *plan->segments, err);
    if (plan->segments == NULL)
        return MOCO_ENOMEM;
    int n = plan->spec.n, slice = plan->spec.pass == BE_INFER ? slice_of(plan) : n;
    int from = slice < n ? whole_from(plan, slice) : 0;
    if (from > 0)
        plan->segments[plan->segment_count++] = (struct segment){.first = 0, .end = from, .n = slice};
    plan->segments[plan->segment_count++] = (struct segment){.first = from, .end = plan->node_count, .n = n};
    return MOCO_OK;
}

void cpu_slices_widen(struct be_plan *plan)
{
    for (int i = 0; i < plan->buffer_count; i++) {
        struct memplan_buffer *b = &plan->buffers[i];
        const struct segment *from = segment_of(plan, b->first), *to = segment_of(plan, b->last);
        if (from == to)
            plan->strides[i] = 0;
        if (plan->strides[i] == 0)
            continue;
        b->bytes = plan->strides[i] * (size_t)plan->spec.n;
        b->first = from->first;
        b->last = to->end - 1;
    }
}
