/* SPDX-License-Identifier: MIT
 *
 * memplan: see memplan.h. Buffers of equal size are placed in the order of the list, so that equal lists give equal
 * plans. The time is quadratic in the number of buffers; a plan has some hundreds. */
#include "backend/memplan.h"

#include <stdint.h>
#include <stdlib.h>

#define ALIGN 64

struct slot {
    size_t bytes; /* rounded up to ALIGN */
    int index;
};

static int larger_first(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static moco_status collect(const struct memplan_buffer *buffers, int count, struct slot *slots, int *used,
                           struct err *err)
{
    *used = 0;
    for (int i = 0; i < count; i++) {
        const struct memplan_buffer *b = &buffers[i];
        if (b->first > b->last)
            return err_set(err, MOCO_EINVAL, "memory plan: buffer %d is alive from step %d to step %d", i, b->first,
                           b->last);
        if (b->bytes > SIZE_MAX - (ALIGN - 1))
            return err_set(err, MOCO_ENOMEM, "memory plan: buffer %d has %zu bytes", i, b->bytes);
        if (b->bytes > 0)
            slots[(*used)++] = (struct slot){(b->bytes + ALIGN - 1) / ALIGN * ALIGN, i};
    }
    qsort(slots, (size_t)*used, sizeof *slots, larger_first);
    return MOCO_OK;
}

/* The lowest gap among the placed buffers (in order of offset) that are alive together with `b`; `*at` becomes its
 * place in that order. */
static size_t lowest_gap(const struct memplan_buffer *buffers, const struct slot *placed, int placed_count,
                         const struct memplan_buffer *b, size_t bytes)
{
    size_t end = 0; /* of all seen so far that live with b */
    for (int i = 0; i < placed_count; i++) {
        const struct memplan_buffer *other = &buffers[placed[i].index];
        if (other->last < b->first || b->last < other->first)
            continue;
        if (other->offset > end && other->offset - end >= bytes)
            break;
        if (other->offset + placed[i].bytes > end)
            end = other->offset + placed[i].bytes;
    }
    return end;
}

moco_status memplan_solve(struct ctx *ctx, struct memplan_buffer *buffers, int count, size_t *total, struct err *err)
{
    *total = 0;
    if (count < 0)
        return err_set(err, MOCO_EINVAL, "memory plan: %d buffers", count);
    moco_status status;
    int used;
    size_t high = 0;
    struct slot *slots = mem_array(ctx, (size_t)count, sizeof *slots, err);
    struct slot *placed = mem_array(ctx, (size_t)count, sizeof *placed, err);
    if (slots == NULL || placed == NULL) {
        status = MOCO_ENOMEM;
        goto done;
    }
    TRY_GOTO(status, collect(buffers, count, slots, &used, err), done);
    for (int i = 0; i < count; i++)
        buffers[i].offset = 0;
    for (int i = 0; i < used; i++) {
        struct memplan_buffer *b = &buffers[slots[i].index];
        size_t offset = lowest_gap(buffers, placed, i, b, slots[i].bytes);
        if (offset > SIZE_MAX - slots[i].bytes) {
            status = err_set(err, MOCO_ENOMEM, "memory plan: the buffers need more than %zu bytes", SIZE_MAX);
            goto done;
        }
        b->offset = offset;
        if (offset + slots[i].bytes > high)
            high = offset + slots[i].bytes;
        int place = i;
        for (; place > 0 && buffers[placed[place - 1].index].offset > offset; place--)
            placed[place] = placed[place - 1];
        placed[place] = slots[i];
    }
    *total = high;
done:
    mem_free(ctx, slots);
    mem_free(ctx, placed);
    return status;
}
