/* SPDX-License-Identifier: MIT
 *
 * cpu_readers: copies of the weights in the form that plans read. In f32 a plan reads the masters directly. In bf16
 * each convolution has one copy in the layout of forward and one in that of backward data. A key encoder reads one
 * block: in f32 a slab of averages; in bf16 forward's copies, then everything else in f32. What a reader would get
 * wrong: the layouts are chosen here once, for a usual launch. A plan of another size that prefers other layouts
 * reorders for itself (cpu_conv). */
#ifndef MOCO_CPU_READERS_H
#define MOCO_CPU_READERS_H

#include "backend/cpu/cpu_param.h"

/* Chooses and lays out the readers, and frees them: parts of layout_create and layout_free. */
moco_status cpu_readers_plan(struct be_layout *layout, const struct graph *graph, struct err *err);
void cpu_readers_free(struct be_layout *layout);

/* Writes, from the masters, the copies that no tiles describe (cpu_tiles); most networks have none. */
moco_status cpu_readers_fill(const struct be_layout *layout, int backward, const float *masters, void *out,
                             struct err *err);
/* The same copies, forward's only, from the average m * k + (1 - m) * q. */
moco_status cpu_readers_fill_average(const struct be_layout *layout, const float *k, const float *q, double m,
                                     void *out, struct err *err);

/* Slots of the device. */
size_t cpu_reader_bytes(const struct be_layout *layout, int backward);
size_t cpu_key_bytes(const struct be_layout *layout);

#endif
