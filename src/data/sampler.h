/* SPDX-License-Identifier: MIT
 *
 * sampler: which sample is at which position of an epoch. It is a pure function of (seed, epoch, n, position) with
 * O(1) memory, so that an epoch can start at any position. */
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
