/* SPDX-License-Identifier: MIT
 *
 * cpu_memory: the device's memory: slots of the device. */
#ifndef MOCO_CPU_MEMORY_H
#define MOCO_CPU_MEMORY_H

#include "backend/backend.h"

moco_status cpu_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
void cpu_release(struct be_device *dev, struct be_memory *memory);
void cpu_zero(struct be_device *dev, void *at, size_t bytes);
moco_status cpu_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err);
moco_status cpu_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err);

#endif
