/* SPDX-License-Identifier: MIT
 *
 * queue: the queue of negative keys, a ring of `length` rows of `dim` reals in device memory. Rows are stored as
 * [length][dim], one key after another. The reference's shape is the transpose; only queue_get and queue_set know
 * it. What a reader would get wrong: the rows are negatives from the first step on, before any key was pushed. */
#ifndef MOCO_ALGO_QUEUE_H
#define MOCO_ALGO_QUEUE_H

#include <pthread.h>

#include "algo/encoder.h"

struct queue {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    size_t real_bytes;
    struct be_memory rows;
    void *block; /* host reals of some rows: the way between host and device */
    int dim;
    int64_t length;
    int64_t next;     /* row the next push starts at */
    int64_t filled;   /* rows pushed so far, at most `length` */
    uint64_t touched; /* moves when rows are written other than by a step */
    _Atomic(void *) owner;
    pthread_mutex_t lock;    /* of `trained`; the encoder's is taken behind it */
    struct encoder *trained; /* of the trainer that pushes into it; NULL: there is none */
};

#define QUEUE_DIM_MAX 65536
#define QUEUE_LENGTH_MAX (INT64_C(1) << 31)

/* Rows are drawn normal (RNG_QUEUE, sample = row) and normalised. */
moco_status queue_create(struct queue **out, struct ctx *ctx, const struct backend *be, struct be_device *dev, int dim,
                         int64_t length, uint64_t seed, struct err *err);
void queue_free(struct queue *queue);

void queue_train(struct queue *queue, struct encoder *encoder); /* NULL: no more */
/* Before numbers or counters are read or written other than by the trainer: no step of its is in flight then. */
void queue_land(struct queue *queue);

/* `keys`: host reals [count][dim]. Takes no memory. */
moco_status queue_push(struct queue *queue, const void *keys, int64_t count, struct err *err);
/* `count` keys have been written from row `next` on, by the device's slot push: a training step does so. */
void queue_pushed(struct queue *queue, int64_t count);

/* All rows as doubles (`size` 8) or f32 (4), transposed to the reference's [dim][length]. */
moco_status queue_get(struct queue *queue, void *values, size_t size, struct err *err);
/* All rows as they are, in f32: [length][dim]. */
moco_status queue_read(struct queue *queue, float *rows, struct err *err);
/* The way back of queue_get, into `rows`: the queue's own, or a block of the same size that is to take their place. */
moco_status queue_set(struct queue *queue, const struct be_memory *rows, const void *values, size_t size,
                      struct err *err);

/* First row that holds a number that is not finite; -1: none. Takes no memory. */
moco_status queue_first_bad(struct queue *queue, int64_t *row, struct err *err);

#endif
