/* SPDX-License-Identifier: MIT
 *
 * late_device: "late", a device of the tests that runs behind its caller: `ref` behind a queue, which runs only when a
 * slot that waits asks, with memory that no code but a slot can touch, and with steps that it records and repeats. What
 * passes on it does not lean on a call having been done when it returned, on host access to device memory, or on
 * arguments that are read late. What a reader would get wrong: it is no slower copy of a real device but a stricter
 * one: it runs as late as the contract allows, and refuses by name what a real one would let pass until it bites.
 *
 * It can be given one fault, which a test then has to find; MOCO_LATE_FAULT=NAME plants it in every program. */
#ifndef MOCO_TESTS_LATE_DEVICE_H
#define MOCO_TESTS_LATE_DEVICE_H

#include <stdint.h>

#include "backend/backend.h"
#include "support/devices/relu_masks.h"

extern const struct backend backend_late;

enum late_fault {
    LATE_SOUND,
    LATE_FROZEN,     /* "frozen": a repeated step has the scalars of the step that was recorded */
    LATE_BORROWS,    /* "borrows": write and param_set read the caller's array when they run */
    LATE_NO_VERDICT, /* "no-verdict": a step commits whatever was found */
    LATE_FORGETS,    /* "forgets": a step commits though one before it failed, and nobody was told */
    LATE_NO_AWAIT,   /* "no-await": await does not wait */
    LATE_OLD_INPUT,  /* "old-input": a repeated step has the images and indices of the one that was recorded */
    LATE_FAULTS
};
void late_plant(struct be_device *dev, enum late_fault fault);

/* Queued works that were not done yet; how many parts of steps, and commits, were repeated from a recording. */
int64_t late_pending(struct be_device *dev);
int64_t late_repeats(struct be_device *dev);

/* The same of all that are open. */
int64_t late_repeated(void);

/* Bytes of blocks of all open ones. */
int64_t late_live(void);

/* The next work that is run fails: the device is lost. */
void late_break(struct be_device *dev);

/* relu_masks_read_ref of the plan inside; waits. */
void late_masks_read(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks);

#endif
