/* SPDX-License-Identifier: MIT
 *
 * golden_rule: the initial state and the images of the golden tests, by rules of a few integers, so that fixtures hold
 * results only. tests/golden/torch_moco.py has the same rules: what they give is equal to the last bit, and every
 * number is a float32, so that a run in any precision starts from the same point. */
#ifndef MOCO_TESTS_GOLDEN_RULE_H
#define MOCO_TESTS_GOLDEN_RULE_H

#include <stdint.h>

/* Initial values of the state tensor `name` of case `scope`; the end of the name says of which kind. */
void golden_state(const char *scope, const char *name, int ndim, const int64_t *shape, double *values);

/* Unit rows, stored as moco_trainer_set wants them: [dim][length]. */
void golden_queue(const char *scope, int64_t length, int dim, double *values);

/* u8 [n][h][w][3] of view 0 or 1 at a step. */
void golden_images(uint64_t seed, int step, int view, int n, int h, int w, uint8_t *images);

/* The finaliser of splitmix64. */
uint64_t golden_mix(uint64_t x);

#endif
