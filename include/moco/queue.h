/* SPDX-License-Identifier: MIT
 *
 * moco/queue.h: the dictionary of negative keys (MoCo section 3.2): a ring of K unit vectors of length C. */
#ifndef MOCO_QUEUE_H
#define MOCO_QUEUE_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_queue moco_queue;

/* `length` keys of `dim` numbers, drawn normal and normalised per key: they are negatives from the first step, as in
 * the reference. Any length >= 1; it need not be a multiple of the batch. Owned. Errors: MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any. Since 0.1. */
MOCO_API moco_status moco_queue_create(moco_queue **queue, moco_device *device, int dim, int64_t length, uint64_t seed);

/* NULL is fine. Threads: any, once. Since 0.1. */
MOCO_API void moco_queue_free(moco_queue *queue);

/* Overwrites the oldest keys with `keys` (f32 or f64 [n, dim], n >= 1), wrapping exactly; of more than `length` keys
 * the last ones stay. Errors: MOCO_ESHAPE; MOCO_ENUMERIC names a number that is not finite, MOCO_ENOMEM. Threads: one
 * call per queue; a step, a get, set, save or load of the trainer that uses the queue is a call on it too.
 * Since 0.1. */
MOCO_API moco_status moco_queue_push(moco_queue *queue, const moco_tensor *keys);

/* Copies the keys in the reference's shape, f32 or f64 [dim, length]. Threads: as moco_queue_push; a trainer's
 * progress callback may call it. Since 0.1. */
MOCO_API moco_status moco_queue_get(moco_queue *queue, moco_tensor *keys);

/* How many keys it holds, the row the next push starts at, and how many rows were pushed so far (at most `length`).
 * Any output may be NULL. Threads: as moco_queue_get. Since 0.1. */
MOCO_API moco_status moco_queue_state(const moco_queue *queue, int64_t *length, int64_t *next, int64_t *filled);

#ifdef __cplusplus
}
#endif
#endif
