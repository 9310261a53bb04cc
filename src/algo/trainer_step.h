/* SPDX-License-Identifier: MIT
 *
 * trainer_step: what the files of a step share: trainer_step.c, which says what happens when, trainer_batch.c, the
 * middle of a step whose negatives are the batch itself, and trainer_update.c, the optimizer. */
#ifndef MOCO_ALGO_TRAINER_STEP_H
#define MOCO_ALGO_TRAINER_STEP_H

#include "algo/trainer_state.h"

/* Sums over the queries of a step. */
struct sums {
    double loss, top1, top5, pos, neg;
};

enum { STAGE_QUERY, STAGE_KEY };

static inline char *step_at(const struct trainer *t, size_t offset)
{
    return (char *)t->work.at + offset;
}

static inline char *step_stage(const struct trainer *t, int encoder, int direction)
{
    size_t bytes = (size_t)t->graph->stat_total * t->real_bytes;
    return step_at(t, t->at.stage) + (size_t)(encoder * t->directions + direction) * bytes;
}

/* Bytes of an embedding. */
static inline size_t step_row(const struct trainer *t)
{
    return (size_t)t->dim * t->real_bytes;
}

/* trainer_step.c */
void step_launched(const struct trainer *t, int *done);
/* The rows of a launch, whose images `host.index` names. */
moco_status step_check_rows(const struct trainer *t, const void *rows, const char *what, struct err *err);
moco_status step_bad_loss(struct trainer *t, struct err *err); /* why it is not finite */

/* trainer_batch.c: keys of a direction (sample order) to the device; then launch by launch InfoNCE against them. */
moco_status batch_place_keys(struct trainer *t, const char *keys, struct err *err);
moco_status batch_contrast(struct trainer *t, int launch, struct sums *sums, struct err *err);
/* Shared encoder: forward of both views, loss among them, backward. */
moco_status batch_pairs(struct trainer *t, const moco_batch *batch, struct sums *sums, struct err *err);

/* trainer_update.c: the slabs that an update reads and writes. */
struct update_place {
    void *query, *momentum;
    void *key, *readers; /* NULL: none */
};
/* Gradients are in place. `finite`: are all numbers written? */
moco_status step_update(struct trainer *t, const struct update_place *to, double lr, int *finite, struct err *err);
/* Measures `bounds`; MOCO_ENUMERIC names a weight or momentum that is not finite. */
moco_status step_measure(struct trainer *t, struct err *err);
/* MOCO_ENUMERIC if the update with this rate, and gradients of this norm, would overflow; else the bounds after it. */
moco_status step_check_update(struct trainer *t, double lr, double gradient, struct norm_bounds *after,
                              struct err *err);

#endif
