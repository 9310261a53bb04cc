/* SPDX-License-Identifier: MIT
 *
 * memplan: lifetimes in, offsets in one slab out. A backend lists its buffers with the first and last step (of its own
 * program, forward and backward counted through) at which each is alive; two that are alive together never overlap. */
#ifndef MOCO_MEMPLAN_H
#define MOCO_MEMPLAN_H

#include <stddef.h>

#include "ctx.h"
#include "err.h"

struct memplan_buffer {
    size_t bytes;    /* in */
    int first, last; /* in: steps, inclusive */
    size_t offset;   /* out: multiple of 64 */
};

/* Greedy by size: largest first, lowest free offset. Deterministic. */
moco_status memplan_solve(struct ctx *ctx, struct memplan_buffer *buffers, int count, size_t *total, struct err *err);

#endif
