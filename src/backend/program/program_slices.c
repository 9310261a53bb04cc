/* SPDX-License-Identifier: MIT
 *
 * program_slices: see program_slices.h. */
#include "backend/program/program_slices.h"

#include "backend/program/program_buffers.h"
#include "backend/program/program_facts.h"

/* Every slice reads the weights again: a stretch of layers is sliced if its maps are this many times as large. */
#define MAPS_PER_WEIGHT 4

/* The segment that a moment is in; backward's are in the last. */
static const struct program_segment *segment_of(const struct program *p, int moment)
{
    int i = 0;
    while (i + 1 < p->segment_count && moment >= p->segments[i].end)
        i++;
    return &p->segments[i];
}

static int is_made_before(const struct program *p, int value, int node)
{
    for (int i = 0; i < node; i++)
        if (p->nodes[i].out == value)
            return 1;
    return 0;
}

/* Does one value alone lead from the nodes before `node` to it and those behind it? */
static int is_neck(const struct program *p, int node)
{
    int neck = NONE;
    for (int i = node; i < p->node_count; i++) {
        int read[2] = {p->nodes[i].in, p->nodes[i].other};
        for (int j = 0; j < 2; j++) {
            if (read[j] < 0 || !is_made_before(p, read[j], node))
                continue;
            if (neck != NONE && neck != read[j])
                return 0;
            neck = read[j];
        }
    }
    return neck != NONE;
}

/* Bytes of maps that a node reads and writes for one sample. */
static size_t map_bytes(const struct program *p, const struct program_node *node)
{
    return program_value_bytes(p, node->out, 1) + (node->in >= 0 ? program_value_bytes(p, node->in, 1) : 0);
}

static size_t weight_bytes(const struct program *p, const struct program_node *node)
{
    if (!program_facts[node->op->kind].weights)
        return 0;
    return (size_t)p->spec.graph->params[node->op->param[0]].count * sizeof(float);
}

/* The largest divisor of n for which every layer's maps fit. */
static int slice_of(const struct program *p)
{
    size_t largest = 1;
    for (int i = 0; i < p->node_count; i++) {
        size_t bytes = map_bytes(p, &p->nodes[i]);
        largest = bytes > largest ? bytes : largest;
    }
    int slice = p->spec.n;
    while (slice > 1 && (p->spec.n % slice != 0 || (size_t)slice * largest > p->device->slice_bytes))
        slice--;
    return slice;
}

/* The first node that is run for all samples at once. */
static int whole_from(const struct program *p, int slice)
{
    int from = 0;
    size_t maps = 0, weights = 0;
    for (int i = 0; i < p->node_count; i++) {
        if (i > 0 && is_neck(p, i)) {
            if (maps / MAPS_PER_WEIGHT < weights)
                break;
            from = i;
            maps = weights = 0;
        }
        maps += (size_t)slice * map_bytes(p, &p->nodes[i]);
        weights += weight_bytes(p, &p->nodes[i]);
    }
    return from;
}

void program_slices_choose(struct program *p)
{
    int n = p->spec.n, slices = p->spec.pass == BE_INFER && p->device->slice_bytes > 0;
    int slice = slices ? slice_of(p) : n;
    int from = slice < n ? whole_from(p, slice) : 0;
    if (from > 0)
        p->segments[p->segment_count++] = (struct program_segment){.first = 0, .end = from, .n = slice};
    p->segments[p->segment_count++] = (struct program_segment){.first = from, .end = p->node_count, .n = n};
}

void program_slices_widen(struct program *p)
{
    for (int i = 0; i < p->buffer_count; i++) {
        struct program_buffer *b = &p->buffers[i];
        const struct program_segment *from = segment_of(p, b->place.first), *to = segment_of(p, b->place.last);
        if (from == to)
            b->stride = 0;
        if (b->stride == 0)
            continue;
        b->place.bytes = b->stride * (size_t)p->spec.n;
        b->place.first = from->first;
        b->place.last = to->end - 1;
    }
}
