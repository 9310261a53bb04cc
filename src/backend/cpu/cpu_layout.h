/* SPDX-License-Identifier: MIT
 *
 * cpu_layout: the slots of the device that make a layout, and convert parameters to and from the reference's shapes. */
#ifndef MOCO_CPU_LAYOUT_H
#define MOCO_CPU_LAYOUT_H

#include "backend/cpu/cpu_param.h"

moco_status cpu_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                              enum be_precision precision, struct err *err);
void cpu_layout_free(struct be_layout *layout);
size_t cpu_layout_bytes(const struct be_layout *layout);
size_t cpu_param_at(const struct be_layout *layout, int index);
moco_status cpu_param_get(const struct be_layout *layout, const void *slab, int index, double *values, struct err *err);
moco_status cpu_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err);
moco_status cpu_param_get_f32(const struct be_layout *layout, const void *slab, int index, float *values,
                              struct err *err);
moco_status cpu_param_set_f32(const struct be_layout *layout, void *slab, int index, const float *values,
                              struct err *err);

/* A parameter in a blocked order, by itself: to `at`, which is read soon. */
void cpu_param_place(const struct cpu_param *param, float *at, const float *values);

#endif
