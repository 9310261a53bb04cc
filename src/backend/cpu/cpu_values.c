/* SPDX-License-Identifier: MIT
 *
 * cpu_values: the values of a plan's graph as the kernels and primitives see them, and the buffers that hold them, of
 * which a plan only knows how long each lives until all are there. */
#include "backend/cpu/cpu_plan.h"

enum shim_order cpu_value_order(const struct be_plan *plan, int v)
{
    if (plan->order == SHIM_NHWC || (plan->wide_nhwc && cpu_is_wide(&plan->spec.graph->values[v])))
        return SHIM_NHWC;
    return v == plan->spec.graph->input ? SHIM_PLAIN : plan->order;
}

struct kern_map cpu_value_map(const struct be_plan *plan, int v)
{
    const struct graph_value *value = &plan->spec.graph->values[v];
    struct kern_map map = {.n = plan->n,
                           .groups = plan->spec.groups,
                           .c = value->c,
                           .h = value->h,
                           .w = value->w,
                           .block = value->c,
                           .bf16 = cpu_value_bf16(plan, v)};
    enum shim_order order = cpu_value_order(plan, v);
    if (!plan->value_vector[v] && order != SHIM_NHWC && order != SHIM_PLAIN)
        map.block = cpu_block(plan->dev);
    return map;
}

int cpu_value_bf16(const struct be_plan *plan, int v)
{
    return plan->type == SHIM_BF16 && !plan->value_vector[v];
}

size_t cpu_value_count(const struct be_plan *plan, int v)
{
    const struct graph_value *value = &plan->spec.graph->values[v];
    return (size_t)plan->n * (size_t)value->c * (size_t)value->h * (size_t)value->w;
}

size_t cpu_value_bytes(const struct be_plan *plan, int v)
{
    return cpu_value_count(plan, v) * (cpu_value_bf16(plan, v) ? 2 : 4);
}

moco_status cpu_buffer_new(struct be_plan *plan, int *out, size_t bytes, enum buffer_class class, int step,
                           struct err *err)
{
    *out = NONE;
    if (bytes == 0)
        return MOCO_OK;
    if (plan->buffer_count == plan->buffer_capacity) {
        int capacity = plan->buffer_capacity == 0 ? 256 : 2 * plan->buffer_capacity;
        struct memplan_buffer *buffers =
            mem_grow(plan->dev->ctx, plan->buffers, (size_t)capacity * sizeof *buffers, err);
        if (buffers == NULL)
            return MOCO_ENOMEM;
        plan->buffers = buffers;
        unsigned char *classes = mem_grow(plan->dev->ctx, plan->classes, (size_t)capacity, err);
        if (classes == NULL)
            return MOCO_ENOMEM;
        plan->classes = classes;
        size_t *strides = mem_grow(plan->dev->ctx, plan->strides, (size_t)capacity * sizeof *strides, err);
        if (strides == NULL)
            return MOCO_ENOMEM;
        plan->strides = strides;
        plan->buffer_capacity = capacity;
    }
    *out = plan->buffer_count++;
    plan->buffers[*out] = (struct memplan_buffer){.bytes = bytes, .first = step, .last = step};
    plan->classes[*out] = (unsigned char)class;
    plan->strides[*out] = 0;
    return MOCO_OK;
}

void cpu_buffer_use(struct be_plan *plan, int buffer, int step)
{
    if (buffer < 0)
        return;
    struct memplan_buffer *b = &plan->buffers[buffer];
    b->first = step < b->first ? step : b->first;
    b->last = step > b->last ? step : b->last;
}
