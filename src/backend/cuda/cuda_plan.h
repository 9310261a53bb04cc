/* SPDX-License-Identifier: MIT
 *
 * cuda_plan: slots that make and run plans, and folded weights (cuda_weights.c). */
#ifndef MOCO_BACKEND_CUDA_PLAN_H
#define MOCO_BACKEND_CUDA_PLAN_H

#include "backend/cuda/cuda_params.h"

moco_status cuda_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                                const struct be_layout *layout, enum be_precision precision, struct err *err);
void cuda_weights_free(struct be_weights *weights);
size_t cuda_weights_bytes(const struct be_weights *weights);
moco_status cuda_weights_fold(struct be_weights *weights, const void *masters, const void *stats, struct err *err);
moco_status cuda_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                             struct err *err);
void cuda_plan_free(struct be_plan *plan);
void cuda_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes);
moco_status cuda_plan_bind(struct be_plan *plan, void *slab, struct err *err);
moco_status cuda_forward(struct be_plan *plan, const struct be_forward *io, struct err *err);
moco_status cuda_backward(struct be_plan *plan, const struct be_backward *io, struct err *err);

#endif
