/* SPDX-License-Identifier: MIT
 *
 * cpu_steps: the slots of the device that a training step needs beside its plans. */
#ifndef MOCO_CPU_STEPS_H
#define MOCO_CPU_STEPS_H

#include "backend/backend.h"

size_t cpu_step_infonce_bytes(struct be_device *dev, int n, int dim, int64_t length);
moco_status cpu_step_infonce(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err);
size_t cpu_step_batch_loss_bytes(struct be_device *dev, int n, int keys, int dim);
moco_status cpu_step_batch_loss(struct be_program *program, const struct be_batch_loss *io, void *scratch,
                                struct err *err);
moco_status cpu_measure(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                        struct err *err);
moco_status cpu_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err);
moco_status cpu_stats_commit(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                             int groups, struct err *err);
moco_status cpu_gemm_nt(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err);
moco_status cpu_gemm_tn(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err);
moco_status cpu_on_host(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg,
                        struct err *err);

#endif
