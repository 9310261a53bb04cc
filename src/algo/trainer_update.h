/* SPDX-License-Identifier: MIT
 *
 * trainer_update: the optimizer's update, whether it would make a weight infinite, and the loss scale. */
#ifndef MOCO_ALGO_TRAINER_UPDATE_H
#define MOCO_ALGO_TRAINER_UPDATE_H

#include "algo/trainer_rows.h"

/* Measures `bounds`; MOCO_ENUMERIC names a weight or momentum that is not finite. Waits for the device. */
moco_status step_measure(struct trainer *t, struct err *err);

/* Gradients of at most this norm cannot make the update with rate `lr` overflow; below 0: none is known to be so. If the
 * step is to be left in flight, it is a small part of that, so that there is room for the step behind it, too. */
double step_gradient_limit(const struct trainer *t, double lr);
/* Bounds after the last step that has landed, if its update was with this rate and gradients of this norm. */
struct norm_bounds step_bounds_after(const struct trainer *t, double lr, double gradient);
/* MOCO_ENUMERIC if the update of the open step, whose verdict has been seen, would overflow. */
moco_status step_check_update(struct trainer *t, const struct step *step, double gradient, struct err *err);

/* ---- the loss scale of fp16 ---- */

enum { LOSS_SCALE_GROWS = 2000 /* committed steps, after which it is doubled */ };
#define LOSS_SCALE_MOST 0x1p24

struct loss_scale loss_scale_first(enum be_precision precision);
/* After a step that was committed. */
void loss_scale_committed(struct loss_scale *s, enum be_precision precision);
/* After one in which a gradient overflowed. 0: it would be below 1 then, and stays as it was. */
int loss_scale_overflowed(struct loss_scale *s);
/* Is this finding what a smaller scale may remedy? */
int loss_scale_remedies(const struct trainer *t, uint64_t bad);

/* The commit's update: masters, momentum, key encoder, readers. */
moco_status step_update(struct trainer *t, struct err *err);

#endif
