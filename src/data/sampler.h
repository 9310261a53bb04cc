/* SPDX-License-Identifier: MIT
 *
 * sampler: which sample stands where in an epoch. A pure function of (seed, epoch, n, position), O(1) in memory, so
 * that any position can be started at. */
#ifndef MOCO_DATA_SAMPLER_H
#define MOCO_DATA_SAMPLER_H

#include "permute.h"

struct sampler {
    int permuted; /* 0: sample = position */
    struct permute order;
};

void sampler_init(struct sampler *s, int permuted, uint64_t seed, int64_t epoch, int64_t n);
int64_t sampler_at(const struct sampler *s, int64_t position);

#endif
