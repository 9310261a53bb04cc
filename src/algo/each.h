/* SPDX-License-Identifier: MIT
 *
 * each: something done with tensor after tensor of a state, two of them side by side where the device has threads: files
 * are read that way. What a reader would get wrong: what comes out is what comes out one after another. Tensors are taken
 * in order, and if some fail, the failure of the first of them is reported, whichever came earlier in time. */
#ifndef MOCO_ALGO_EACH_H
#define MOCO_ALGO_EACH_H

#include "backend/backend.h"

/* Two numbers of f32 take the room of the double that they would cross as otherwise. */
enum { EACH_PARTS = 2 };

struct each {
    const struct backend *be; /* NULL: one after another */
    struct be_device *dev;
    int parts; /* 1 to EACH_PARTS */
    int count;
    void *self;
    moco_status (*one)(void *self, int part, int i,
                       struct err *err); /* part: below `parts`; side by side, no two alike */
};

/* *done: how many tensors from the first on are done; NULL: not wanted. */
moco_status each_run(const struct each *each, int *done, struct err *err);

#endif
