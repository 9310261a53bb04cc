/* SPDX-License-Identifier: MIT
 *
 * program_buffers: see program_buffers.h. */
#include "backend/program/program_buffers.h"

#define SLAB_ALIGN ((size_t)4096)

size_t program_value_count(const struct program *p, int value, int n)
{
    const struct graph_value *v = &p->spec.graph->values[value];
    return (size_t)n * (size_t)v->c * (size_t)v->h * (size_t)v->w;
}

size_t program_value_bytes(const struct program *p, int value, int n)
{
    size_t count = program_value_count(p, value, n);
    if (value == p->spec.graph->input && p->picture_channels > 0)
        count = count / (size_t)p->spec.graph->values[value].c * (size_t)p->picture_channels;
    return count * (p->value_vector[value] ? p->vector_number : p->map_number);
}

moco_status program_buffer(struct program *p, int *out, size_t bytes, enum program_class class, int moment,
                           struct err *err)
{
    *out = NONE;
    if (bytes == 0)
        return MOCO_OK;
    if (p->buffer_count == p->buffer_capacity) {
        int capacity = p->buffer_capacity == 0 ? 256 : 2 * p->buffer_capacity;
        struct program_buffer *buffers = mem_grow(p->ctx, p->buffers, (size_t)capacity * sizeof *buffers, err);
        if (buffers == NULL)
            return MOCO_ENOMEM;
        p->buffers = buffers;
        p->buffer_capacity = capacity;
    }
    *out = p->buffer_count++;
    p->buffers[*out] =
        (struct program_buffer){.place = {.bytes = bytes, .first = moment, .last = moment}, .class = class};
    return MOCO_OK;
}

void program_use(struct program *p, int buffer, int moment)
{
    if (buffer < 0)
        return;
    struct memplan_buffer *b = &p->buffers[buffer].place;
    b->first = moment < b->first ? moment : b->first;
    b->last = moment > b->last ? moment : b->last;
}

moco_status program_winners(struct program *p, int *out, int value, int n, int moment, struct err *err)
{
    *out = NONE;
    if (p->spec.pass != BE_TRAIN)
        return MOCO_OK;
    return program_buffer(p, out, program_value_count(p, value, n) * sizeof(uint16_t), CLASS_ACTIVATION, moment, err);
}

/* The most bytes of a class that are alive at once. */
static size_t peak(const struct program *p, enum program_class class)
{
    size_t most = 0;
    for (int moment = 0; moment < p->node_count + p->step_count; moment++) {
        size_t sum = 0;
        for (int i = 0; i < p->buffer_count; i++) {
            const struct program_buffer *b = &p->buffers[i];
            if (b->class == class && b->place.first <= moment && moment <= b->place.last)
                sum += b->place.bytes;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

moco_status program_lay_out(struct program *p, struct err *err)
{
    size_t total = 0;
    struct memplan_buffer *places = mem_array(p->ctx, (size_t)p->buffer_count, sizeof *places, err);
    if (places == NULL)
        return MOCO_ENOMEM;
    for (int i = 0; i < p->buffer_count; i++)
        places[i] = p->buffers[i].place;
    moco_status status = memplan_solve(p->ctx, places, p->buffer_count, &total, err);
    for (int i = 0; i < p->buffer_count; i++)
        p->buffers[i].place = places[i];
    mem_free(p->ctx, places);
    if (status != MOCO_OK)
        return status;
    if (total > SIZE_MAX - SLAB_ALIGN)
        return err_set(err, MOCO_ENOMEM, "%s: the plan needs %zu bytes", p->device->name, total);
    p->bytes.slab = (total + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN;
    p->bytes.activations = p->spec.pass == BE_TRAIN ? peak(p, CLASS_ACTIVATION) : 0; /* kept for backward */
    p->bytes.gradients = peak(p, CLASS_GRADIENT);
    p->bytes.scratch = peak(p, CLASS_SCRATCH);
    return MOCO_OK;
}
