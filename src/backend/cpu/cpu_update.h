/* SPDX-License-Identifier: MIT
 *
 * cpu_update: what walks over all weights: the optimizers, and the copies that plans read: slots of the device. */
#ifndef MOCO_CPU_UPDATE_H
#define MOCO_CPU_UPDATE_H

#include "backend/backend.h"

moco_status cpu_readers(const struct be_layout *layout, enum be_precision precision, int backward, const void *masters,
                        void *out, struct err *err);
moco_status cpu_ema_readers(const struct be_layout *layout, enum be_precision precision, const void *k, const void *q,
                            double m, void *out, struct err *err);
moco_status cpu_sgd(const struct be_layout *layout, enum be_precision precision, struct be_sgd *io, void *readers,
                    struct err *err);
moco_status cpu_lars(const struct be_layout *layout, enum be_precision precision, struct be_lars *io, void *readers,
                     struct err *err);

#endif
