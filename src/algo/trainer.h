/* SPDX-License-Identifier: MIT
 *
 * trainer: MoCo's training step over the contract of a backend, and the state of training. The order of a step is
 * that of moco_trainer_step: the working weights of the key encoder; all key launches; then, launch by launch, query
 * forward, InfoNCE and backward; then the commit. What a reader would get wrong: nothing that outlives the step is
 * written before the commit. A step that fails has changed nothing. */
#ifndef MOCO_ALGO_TRAINER_H
#define MOCO_ALGO_TRAINER_H

#include "algo/encoder.h"
#include "algo/queue.h"
#include "algo/resident/resident.h"
#include "comm/comm.h"
#include "moco/trainer.h"

struct trainer;

/* `encoder`, `queue` and `comm` (NULL: one rank) must outlive the trainer; the first two are marked as used until
 * trainer_free. options->comm is not looked at. With ranks a call of all of them, in which all fail if one does. */
moco_status trainer_create(struct trainer **out, struct encoder *encoder, struct queue *queue,
                           const moco_trainer_options *options, struct comm *comm, struct err *err);
void trainer_free(struct trainer *trainer);

moco_status trainer_estimate(struct ctx *ctx, const struct backend *be, struct be_device *dev,
                             const struct net_config *config, int64_t queue_length, const moco_trainer_options *options,
                             int ranks, moco_memory_estimate *estimate, struct err *err);

/* `resident`: the pictures that batch->pictures stands for; NULL: the batch has its views. */
moco_status trainer_step(struct trainer *trainer, const moco_batch *batch, const struct resident *resident, double lr,
                         struct err *err);
/* Waits for the step in flight, and returns how it failed: also if another call has waited for it, once. */
moco_status trainer_wait(struct trainer *trainer, struct err *err);
/* Instead of a step, for a rank that cannot make one: other ranks' steps fail with what is in `err`. Returns what they
 * return; with one rank, `why`. */
moco_status trainer_leave(struct trainer *trainer, moco_status why, struct err *err);
moco_status trainer_report(const struct trainer *trainer, moco_step_report *report, struct err *err);
void trainer_cancel(struct trainer *trainer); /* any thread, async-signal-safe */
void trainer_cursor(const struct trainer *trainer, int64_t *step, int64_t *epoch, int64_t *position);

/* State by name. Values cross as doubles in the reference's shape. */
const char *trainer_tensor_name(const struct trainer *trainer, int i); /* NULL past the end */
int trainer_find(const struct trainer *trainer, const char *name);     /* -1: no such name */
void trainer_tensor_shape(const struct trainer *trainer, int i, struct tensor_shape *shape);
moco_status trainer_tensor_get(struct trainer *trainer, int i, void *values, size_t size, struct err *err);
moco_status trainer_tensor_set(struct trainer *trainer, int i, const double *values, struct err *err);

#endif
