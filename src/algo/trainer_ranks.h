/* SPDX-License-Identifier: MIT
 *
 * trainer_ranks: what the ranks of a training exchange in a step, and how they agree. A step has three meetings. They
 * greet: each says how it has fared, at which step it is and what it has encoded, and if one has failed, or they are not at
 * one step of one training, all return the same and nothing more is exchanged. Behind that every rank owes the others
 * the sums of gradients and statistics, whatever happens to it: one that fails starts them with what is there. Then they
 * agree whether the step is committed. With one rank nothing of this is done, and each call returns what it was given. */
#ifndef MOCO_ALGO_TRAINER_RANKS_H
#define MOCO_ALGO_TRAINER_RANKS_H

#include "algo/trainer_rows.h"

/* Memory and the buckets of gradients, once there is a layout. `kept`: the memory may be written to. */
moco_status ranks_create(struct trainer *t, struct err *err);
void ranks_free(struct trainer *t, int kept);
/* Of every step: be_program_spec.parts. */
int ranks_parts(const struct trainer *t);

/* The end of making a trainer: `mine` is how this rank fared. MOCO_EINVAL says in what the ranks' trainings differ. */
moco_status ranks_join(struct trainer *t, moco_status mine, struct err *err);

/* The state was written to from outside: the greeting of the next step says what it is. */
moco_status ranks_look(struct trainer *t, struct err *err);
int ranks_have_looked(const struct trainer *t);

/* Begins to greet, and returns `mine`, or MOCO_ECOMM. */
moco_status ranks_greet(struct trainer *t, const struct step *step, moco_status mine, struct err *err);
/* Waits for all greetings, and brings what all ranks have encoded into the order of samples, unless the device repeats
 * that. A second call returns `mine`. */
moco_status ranks_meet(struct trainer *t, const struct step *step, moco_status mine, struct err *err);
/* be_backward.on_grad of the last launch; `user` is the trainer. */
void ranks_gradient(void *user, int first, int count);
/* Meets if that was not done, sums what has not been summed, and waits for it. */
moco_status ranks_sum(struct trainer *t, const struct step *step, moco_status mine, struct err *err);
/* The last meeting. `found` is what this rank's device has found, if mine is MOCO_OK; its sums become those of all. */
moco_status ranks_agree(struct trainer *t, moco_status mine, struct be_outcome *found, struct err *err);

#endif
