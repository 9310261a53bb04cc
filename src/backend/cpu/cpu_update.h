/* SPDX-License-Identifier: MIT
 *
 * cpu_update: the slots of the device that walk over all weights: the optimizers, and the copies that plans read. */
#ifndef MOCO_CPU_UPDATE_H
#define MOCO_CPU_UPDATE_H

#include "backend/backend.h"

moco_status cpu_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err);
moco_status cpu_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err);
moco_status cpu_sgd(struct be_program *program, const struct be_sgd *io, struct err *err);

#endif
