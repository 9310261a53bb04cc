/* SPDX-License-Identifier: MIT
 *
 * cpu_rate: the slot of the device that measures how fast convolutions are here. */
#ifndef MOCO_CPU_RATE_H
#define MOCO_CPU_RATE_H

#include "backend/backend.h"

moco_status cpu_rate(struct be_device *dev, enum be_precision precision, double *flops_per_second, struct err *err);

#endif
