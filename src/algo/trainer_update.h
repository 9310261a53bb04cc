/* SPDX-License-Identifier: MIT
 *
 * trainer_update: the optimizer's update, and whether it would make a weight infinite. */
#ifndef MOCO_ALGO_TRAINER_UPDATE_H
#define MOCO_ALGO_TRAINER_UPDATE_H

#include "algo/trainer_rows.h"

/* Measures `bounds`; MOCO_ENUMERIC names a weight or momentum that is not finite. Waits for the device. */
moco_status step_measure(struct trainer *t, struct err *err);

/* Gradients of at most this norm cannot make the update with rate `lr` overflow; below 0: none is known to be so. */
double step_gradient_limit(const struct trainer *t, double lr);
/* Bounds after an update with this rate and gradients of this norm. */
struct norm_bounds step_bounds_after(const struct trainer *t, double lr, double gradient);
/* MOCO_ENUMERIC if the update of the open step, whose verdict has been seen, would overflow. */
moco_status step_check_update(struct trainer *t, const struct step *step, double gradient, struct err *err);

/* The commit's update: masters, momentum, key encoder, readers. */
moco_status step_update(struct trainer *t, struct err *err);

#endif
