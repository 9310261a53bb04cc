/* SPDX-License-Identifier: MIT
 *
 * failing_device: "failing", which is another device, "ref" unless it is told otherwise, but for one call of a step, before
 * the commit, that fails as it was told to.
 * What is told holds for the calling thread alone, so that of several ranks in threads one fails. */
#ifndef MOCO_TESTS_FAILING_DEVICE_H
#define MOCO_TESTS_FAILING_DEVICE_H

struct backend;

const struct backend *backend_failing(void);
/* From now on it is this one, "ref" or "late"; while it is open nowhere. ranks 0: without means to exchange its memory. */
void failing_device_over(const char *name, int ranks);

/* This thread's call number `call` from now on (0: the next) fails; -1: none. `half`: a backward pass that fails has
 * computed everything, and has told of half the gradients. */
void failing_device_arm(int call, int half);
/* The same, but the call does not fail: `then` is called in front of it. */
void failing_device_call(int call, void (*then)(void *arg), void *arg);
/* Calls since then. */
int failing_device_calls(void);

#endif
