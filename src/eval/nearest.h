/* SPDX-License-Identifier: MIT
 *
 * nearest: keeps the k rows of a bank that are nearest to one query, while the bank is read once. What a reader
 * would get wrong: rows must be offered in the order of the bank. Otherwise, of equally near rows, it is not the
 * first that stays. */
#ifndef MOCO_EVAL_NEAREST_H
#define MOCO_EVAL_NEAREST_H

#include <stdint.h>

/* How many are kept, and how many come before the next selection. */
struct nearest_size {
    int k, room;
};
struct nearest_size nearest_size(int k);

/* Of one query: those that may be among its k nearest. */
struct nearest {
    uint64_t *at;    /* [room] */
    int count, keys; /* all; of which the first `keys` are keys already */
    float limit;     /* what is not above it is out */
};
void nearest_begin(struct nearest *n, uint64_t *room);

/* Offers rows [first, first + count) of the bank, of which `cosines` are the query's. */
void nearest_offer(struct nearest *n, const struct nearest_size *size, const float *cosines, int64_t first, int count);

/* Offers the same rows to `count` queries at once: cosines[i * stride + q] is that of row first + i and query q. */
void nearest_offer_rows(struct nearest *n, int count, const struct nearest_size *size, const float *cosines, int stride,
                        int64_t first, int rows);

/* Offers what another one, which saw other rows, has kept. */
void nearest_merge(struct nearest *n, const struct nearest_size *size, const struct nearest *other);

/* Leaves the k nearest, in no order, as keys: a larger key is nearer, and of equally near ones the first in the bank. */
void nearest_finish(struct nearest *n, const struct nearest_size *size);
uint32_t nearest_place(uint64_t key);

#endif
