/* SPDX-License-Identifier: MIT
 *
 * cpu_fold: fills folded weights, from a slab of masters or from parameters that come one at a time (a file). What a
 * reader would get wrong: parameters that come one at a time are held only while their op is folded, so that opening an
 * encoder takes no slab of them; the bits are those of the slab. */
#ifndef MOCO_CPU_FOLD_H
#define MOCO_CPU_FOLD_H

#include "backend/backend.h"

/* Slots of the device. */
moco_status cpu_weights_fold(struct be_weights *weights, const void *masters, const void *stats, struct err *err);
moco_status cpu_weights_fold_from(struct be_weights *weights, const struct be_params *from, const void *stats,
                                  struct err *err);

#endif
