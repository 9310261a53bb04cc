/* SPDX-License-Identifier: MIT
 *
 * cpu_plan: the slots of the device that make and run plans. */
#ifndef MOCO_CPU_PLAN_H
#define MOCO_CPU_PLAN_H

#include "backend/backend.h"

moco_status cpu_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                            struct err *err);
void cpu_plan_free(struct be_plan *plan);
void cpu_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes);

moco_status cpu_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                               const struct be_layout *layout, enum be_precision precision, struct err *err);

moco_status cpu_plan_bind(struct be_plan *plan, void *slab, struct err *err);
moco_status cpu_forward(struct be_plan *plan, const struct be_forward *io, struct err *err);
moco_status cpu_backward(struct be_plan *plan, const struct be_backward *io, struct err *err);

#endif
