/* SPDX-License-Identifier: MIT
 *
 * init: initial weights, drawn as torchvision and torch.nn.Linear draw theirs, from addressed random numbers.
 * Parameter `index` has the stream (seed; epoch = index, sample 0, view 0, RNG_INIT) and takes numbers from it in
 * the order of the reference's shape, last axis fastest: one normal number for each weight of a convolution, one
 * uniform number for each number of a linear layer. BN draws nothing. docs/randomness.md fixes this to the bit. */
#include <math.h>

#include "net/net.h"
#include "philox.h"

void init_param(const struct graph *g, int index, uint64_t seed, double *values)
{
    const struct graph_param *p = &g->params[index];
    struct rng rng;
    rng_init(&rng, seed, (uint64_t)index, 0, 0, RNG_INIT);
    switch (p->kind) {
    case PARAM_CONV: {
        double fan_out = (double)(p->shape[0] * p->shape[2] * p->shape[3]), deviation = sqrt(2 / fan_out);
        for (int64_t i = 0; i < p->count; i++)
            values[i] = deviation * rng_normal(&rng);
        break;
    }
    case PARAM_LINEAR:
    case PARAM_BIAS: {
        const struct graph_param *weight = p->kind == PARAM_BIAS ? p - 1 : p; /* a bias follows its weight */
        double bound = 1 / sqrt((double)weight->shape[1]);
        for (int64_t i = 0; i < p->count; i++)
            values[i] = bound * (2 * rng_uniform(&rng) - 1);
        break;
    }
    case PARAM_BN_WEIGHT:
    case PARAM_BN_BIAS:
        for (int64_t i = 0; i < p->count; i++)
            values[i] = p->kind == PARAM_BN_WEIGHT && !p->zero ? 1 : 0;
        break;
    }
}
