/* SPDX-License-Identifier: MIT
 *
 * schedule: see schedule.h. */
#include "algo/schedule.h"

#include <math.h>
#include <stddef.h>

double schedule_cosine(double lr, double t, double total)
{
    const double pi = 3.14159265358979323846;
    return total > 0 ? lr * 0.5 * (1 + cos(pi * t / total)) : lr;
}

double schedule_warmup_cosine(double lr, double t, double warmup, double total)
{
    return t < warmup ? lr * (t / warmup) : schedule_cosine(lr, t - warmup, total - warmup);
}

double schedule_steps(double lr, int64_t epoch, const int32_t *milestones, int count, double factor)
{
    /* One multiplication per milestone, as the reference does: pow() would round differently. */
    for (int i = 0; milestones != NULL && i < count; i++)
        if (milestones[i] > 0 && milestones[i] <= epoch)
            lr *= factor;
    return lr;
}
