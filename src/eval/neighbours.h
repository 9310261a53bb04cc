/* SPDX-License-Identifier: MIT
 *
 * neighbours: which rows of a bank are the nearest to a query, for kNN and for searches. Candidates are chosen by
 * products in f32, a few more than are wanted, so that the last bits of these products decide nothing; the order among
 * the candidates is that of cosines in double. What a reader would get wrong: the bank belongs to the caller, and its
 * rows never change. They may move, and there may be more of them from call to call. */
#ifndef MOCO_EVAL_NEIGHBOURS_H
#define MOCO_EVAL_NEIGHBOURS_H

#include <stdint.h>

#include "backend/backend.h"

#define NEIGHBOURS_DIM_MOST (1 << 20)
#define NEIGHBOURS_K_MOST (1 << 20)

struct neighbours;

/* A bank is two of them, one behind the other. */
struct neighbours_part {
    const float *rows; /* [count][dim], of length 1 or zero */
    int64_t count;
};

/* `backend` and `dev` outlive it. */
moco_status neighbours_create(struct neighbours **out, struct ctx *ctx, const struct backend *backend,
                              struct be_device *dev, int dim, struct err *err);
void neighbours_free(struct neighbours *n); /* NULL is fine */

/* Gets the `found` rows that are nearest to a query, nearest first, in memory that it may overwrite. It is called once
 * for each query, for several of them at once. */
typedef void neighbours_answer(void *self, int64_t query, struct be_hit *hits, int found);

/* Of each of n queries (of any length) the k nearest rows, or all, if there are fewer; equal cosines: the first of the
 * bank is nearer. The bank has a row, and at most UINT32_MAX. MOCO_ENUMERIC names a query that is not finite.
 * Threads: any number at once, as long as the bank stays as it is. */
moco_status neighbours_find(struct neighbours *n, const struct neighbours_part bank[2], const float *queries,
                            int64_t count, int k, neighbours_answer *answer, void *self, struct err *err);

#endif
