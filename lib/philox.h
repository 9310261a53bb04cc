/* SPDX-License-Identifier: MIT
 *
 * philox: addressed random numbers. Philox4x32-10 (Salmon et al., SC 2011) is keyed by the seed; its counter names
 * what is drawn. Drawing a number therefore never changes another one. docs/randomness.md fixes all of it to the
 * bit. */
#ifndef MOCO_LIB_PHILOX_H
#define MOCO_LIB_PHILOX_H

#include <stdint.h>

/* Numbers are part of the format: never change, never reuse. */
enum rng_purpose {
    RNG_INIT = 1,       /* initial weights: epoch = parameter number */
    RNG_QUEUE = 2,      /* initial queue: sample = row */
    RNG_SHUFFLE = 3,    /* ShuffleBN: epoch = step, view = direction */
    RNG_EPOCH_KEYS = 4, /* round keys of an epoch's order */
    RNG_EPOCH_BITS = 5, /* round bits of an epoch's order */
    RNG_AUGMENT = 6,    /* a view: epoch, sample, view */
    RNG_DEMO = 7,       /* the demo's pictures: sample */
    RNG_PROBE = 8,      /* view 0: a probe's initial weights; view 1: the order of its epoch */
    RNG_TEST = 200      /* tests */
};

/* One block: counter and key in, four words out. */
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* A stream: counter = { block 0, 1, 2..., sample bits 0-31, purpose << 24 | view << 16 | sample bits 32-47,
 * epoch bits 0-31 }, key = { seed low, seed high }. */
struct rng {
    uint32_t counter[4], key[2], word[4];
    int used; /* words of `word` handed out */
    int has_normal;
    double normal; /* the second of a Box-Muller pair */
};

void rng_init(struct rng *r, uint64_t seed, uint64_t epoch, uint64_t sample, unsigned view, enum rng_purpose purpose);
uint32_t rng_u32(struct rng *r);               /* the next word */
uint64_t rng_u64(struct rng *r);               /* first word is the high half */
double rng_uniform(struct rng *r);             /* [0, 1): (u64 >> 11) * 2^-53 */
uint64_t rng_below(struct rng *r, uint64_t n); /* [0, n), exactly uniform: multiply-high with rejection */
double rng_normal(struct rng *r);              /* Box-Muller: sqrt(-2 ln(1 - u1)) cos(2 pi u2), then the sine */

#endif
