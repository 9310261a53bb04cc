/* SPDX-License-Identifier: MIT
 *
 * sampler: see sampler.h. */
#include "sampler.h"

void sampler_init(struct sampler *s, int permuted, uint64_t seed, int64_t epoch, int64_t n)
{
    s->permuted = permuted;
    if (permuted)
        permute_init(&s->order, seed, (uint64_t)epoch, (uint64_t)n);
}

int64_t sampler_at(const struct sampler *s, int64_t position)
{
    return s->permuted ? (int64_t)permute_at(&s->order, (uint64_t)position) : position;
}
