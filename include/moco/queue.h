/* SPDX-License-Identifier: MIT
 *
 * moco/queue.h: the queue of negative keys (MoCo section 3.2, where it is called the dictionary). It is a ring of K
 * unit vectors of length C: each step replaces the oldest ones. */
#ifndef MOCO_QUEUE_H
#define MOCO_QUEUE_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_queue moco_queue;

/* Makes a queue of `length` keys of `dim` numbers. They are drawn from a normal distribution and normalised per key,
 * and serve as negatives from the first step on, as in the reference. Any length >= 1 is allowed; it need not be a
 * multiple of the batch. Owned.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_queue_create(moco_queue **queue, moco_device *device, int dim, int64_t length, uint64_t seed);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_queue_free(moco_queue *queue);

/* Overwrites the oldest keys with `keys` (f32 or f64 [n, dim], n >= 1) and continues at row 0 after the last row. If
 * there are more than `length` keys, the last ones stay.
 * Errors: MOCO_ESHAPE; MOCO_ENUMERIC names a number that is not finite; MOCO_ENOMEM.
 * Threads: a queue serves one call at a time; a step, get, set, save or load of the trainer that uses the queue
 * counts as one. Since 0.1. */
MOCO_API moco_status moco_queue_push(moco_queue *queue, const moco_tensor *keys);

/* Copies the keys in the reference's shape, f32 or f64 [dim, length].
 * Threads: the rule of moco_queue_push; in addition a trainer's progress callback may call it. Since 0.1. */
MOCO_API moco_status moco_queue_get(moco_queue *queue, moco_tensor *keys);

/* How many keys the queue holds, at which row the next push starts, and how many rows were pushed so far (at most
 * `length`). Any output may be NULL.
 * Threads: the rule of moco_queue_get. Since 0.1. */
MOCO_API moco_status moco_queue_state(const moco_queue *queue, int64_t *length, int64_t *next, int64_t *filled);

#ifdef __cplusplus
}
#endif
#endif
