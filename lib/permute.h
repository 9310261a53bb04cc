/* SPDX-License-Identifier: MIT
 *
 * permute: orders as pure functions. There is an explicit one for a batch (Fisher-Yates), and one for an epoch whose
 * memory does not grow with n: the swap-or-not shuffle (Hoang, Morris, Rogaway, CRYPTO 2012), which permutes any n
 * directly. */
#ifndef MOCO_LIB_PERMUTE_H
#define MOCO_LIB_PERMUTE_H

#include <stdint.h>

#include "philox.h"

#define PERMUTE_ROUNDS_MAX 416

struct permute {
    uint64_t n, seed, epoch;
    int rounds;                       /* 32 + 8 * bits(n - 1) */
    uint64_t key[PERMUTE_ROUNDS_MAX]; /* one in [0, n) per round */
};

/* 1 <= n <= 2^48. */
void permute_init(struct permute *p, uint64_t seed, uint64_t epoch, uint64_t n);
uint64_t permute_at(const struct permute *p, uint64_t position); /* the sample at a position */

/* Fills place[p] with the element of n at position p: Fisher-Yates from the top, with a stream of the caller's. */
void permute_draw(struct rng *r, int n, int32_t *place);
/* The same from the stream (seed; step, 0, direction, SHUFFLE). */
void permute_batch(uint64_t seed, uint64_t step, int direction, int n, int32_t *place);

#endif
