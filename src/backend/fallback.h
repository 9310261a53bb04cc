/* SPDX-License-Identifier: MIT
 *
 * fallback: the optional slots of a device, or a replacement for a slot that the device lacks. What a reader would
 * get wrong: code above the contract never calls an optional slot directly. */
#ifndef MOCO_BACKEND_FALLBACK_H
#define MOCO_BACKEND_FALLBACK_H

#include "backend/backend.h"

/* *flops_per_second is 0 where it is not known. */
moco_status backend_rate(const struct backend *be, struct be_device *dev, enum be_precision precision,
                         double *flops_per_second, struct err *err);
moco_status backend_gemm_nt(const struct backend *be, struct be_device *dev, int64_t m, int64_t n, int64_t k,
                            const float *a, const float *b, float *c, struct err *err);
moco_status backend_gemm_tn(const struct backend *be, struct be_device *dev, int64_t m, int64_t n, int64_t k,
                            const float *a, const float *b, float *c, struct err *err);
moco_status backend_on_host(const struct backend *be, struct be_device *dev,
                            void (*body)(void *arg, int part, int parts), void *arg, struct err *err);
/* Of the context, where the device has none of its own; counted by the context either way. */
moco_status backend_host_alloc(const struct backend *be, struct be_device *dev, struct ctx *ctx, size_t bytes,
                               void **out, struct err *err);
void backend_host_free(const struct backend *be, struct be_device *dev, struct ctx *ctx, void *memory, size_t bytes);
/* One parameter of `count` numbers in f32. */
moco_status backend_param_get_f32(const struct backend *be, struct ctx *ctx, const struct be_layout *layout,
                                  const void *slab, int index, int64_t count, float *values, struct err *err);
moco_status backend_param_set_f32(const struct backend *be, struct ctx *ctx, const struct be_layout *layout, void *slab,
                                  int index, int64_t count, const float *values, struct err *err);

/* Waits where the device marks nothing, and *event is NULL. */
moco_status backend_mark(const struct backend *be, struct be_device *dev, void **event, struct err *err);
/* MOCO_ENOTSUP where devices exchange nothing by themselves. */
moco_status backend_ranks_id(const struct backend *be, struct be_device *dev, void *id, char library[BE_LIBRARY],
                             struct err *err);
moco_status backend_ranks_open(const struct backend *be, struct be_device *dev, const void *id, int rank, int ranks,
                               struct moco_comm_engine *engine, struct err *err);

#endif
