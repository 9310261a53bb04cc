/* SPDX-License-Identifier: MIT
 *
 * trainer_batch: the middle of a step whose negatives come from the batch. */
#ifndef MOCO_ALGO_TRAINER_BATCH_H
#define MOCO_ALGO_TRAINER_BATCH_H

#include "algo/trainer_rows.h"

/* Momentum encoder: the keys of a direction, in the order of the query launches' places; then, launch by launch,
 * InfoNCE against them. */
moco_status batch_place_keys(struct trainer *t, const struct step *step, int direction, struct err *err);
moco_status batch_contrast(struct trainer *t, const void *queries, int launch, struct err *err);
/* Shared encoder: forward of both views; then, of the embeddings of all ranks, loss among them and backward. */
moco_status batch_embed(struct trainer *t, const struct step *step, struct err *err);
moco_status batch_pairs(struct trainer *t, struct step *step, struct err *err);

#endif
