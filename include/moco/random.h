/* SPDX-License-Identifier: MIT
 *
 * moco/random.h: the orders that libmoco draws at random, as public pure functions, so that anyone can check a run
 * from outside. docs/randomness.md fixes them to the bit. */
#ifndef MOCO_RANDOM_H
#define MOCO_RANDOM_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The ShuffleBN permutation of committed step number `step` (0-based) for a batch of n. At position p the key
 * encoder (if the encoder is shared: its second view) sees sample permutation[p]. Positions form BN groups as the
 * samples of the query encoder do: contiguous slices, or p mod groups if interleaved. `direction` is 0; it is 1 for
 * the second half of a symmetric loss.
 * Errors: MOCO_EINVAL.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_shuffle_permutation(uint64_t seed, int64_t step, int direction, int n, int32_t *permutation);

/* The sample at `position` of the order in which `epoch` visits n samples. It takes O(1) memory, and positions may
 * be asked in any order.
 * Errors: MOCO_EINVAL.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_epoch_permutation(uint64_t seed, int64_t epoch, int64_t n, int64_t position, int64_t *sample);

#ifdef __cplusplus
}
#endif
#endif
