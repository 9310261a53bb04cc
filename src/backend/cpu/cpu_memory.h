/* SPDX-License-Identifier: MIT
 *
 * cpu_memory: the slots of the device for its memory. */
#ifndef MOCO_CPU_MEMORY_H
#define MOCO_CPU_MEMORY_H

#include "backend/backend.h"

moco_status cpu_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
void cpu_release(struct be_device *dev, struct be_memory *memory);
moco_status cpu_memory(struct be_device *dev, int64_t *live, int64_t *available, struct err *err);
moco_status cpu_zero(struct be_device *dev, void *at, size_t bytes, struct err *err);
moco_status cpu_copy(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err);
moco_status cpu_sync(struct be_device *dev, struct err *err);
moco_status cpu_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err);
moco_status cpu_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err);

#endif
