/* SPDX-License-Identifier: MIT
 *
 * memplan: computes offsets in one slab from lifetimes of buffers. A backend lists its buffers with the first and
 * last step at which each is needed (steps of its own program, forward and backward counted through). Two buffers
 * that are needed at the same time never overlap. */
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
