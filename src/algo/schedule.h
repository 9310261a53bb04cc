/* SPDX-License-Identifier: MIT
 *
 * schedule: learning rates as pure functions of time. The trainer does not know them: the rate of a step is an
 * argument. */
#ifndef MOCO_ALGO_SCHEDULE_H
#define MOCO_ALGO_SCHEDULE_H

#include <stdint.h>

double schedule_cosine(double lr, double t, double total);
double schedule_warmup_cosine(double lr, double t, double warmup, double total);
double schedule_steps(double lr, int64_t epoch, const int32_t *milestones, int count, double factor);

#endif
