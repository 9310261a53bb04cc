/* SPDX-License-Identifier: MIT
 *
 * failing_device: "failing", which is "ref" but for one call of a step, before the commit, that fails as it was told to.
 * What is told holds for the calling thread alone, so that of several ranks in threads one fails. */
#ifndef MOCO_TESTS_FAILING_DEVICE_H
#define MOCO_TESTS_FAILING_DEVICE_H

struct backend;

const struct backend *backend_failing(void);

/* This thread's call number `call` from now on (0: the next) fails; -1: none. `half`: a backward pass that fails has
 * computed everything, and has told of half the gradients. */
void failing_device_arm(int call, int half);
/* Calls since then. */
int failing_device_calls(void);

#endif
