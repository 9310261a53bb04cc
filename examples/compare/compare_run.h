/* SPDX-License-Identifier: MIT
 *
 * compare_run: one cell of a comparison: an estimate of its cost, running it, and its result, which is stored in its
 * folder as cell.json. What a reader would get wrong: a cell that was stopped half-way continues from its own
 * checkpoint. */
#ifndef MOCO_EXAMPLES_COMPARE_RUN_H
#define MOCO_EXAMPLES_COMPARE_RUN_H

#include <moco/moco.h>

#include "compare_cells.h"

struct compare_place {
    const char *out;     /* folder of all cells */
    char programs[1024]; /* folder of train_imagenet and linear_probe */
    moco_context *context;
    moco_device *device;
    int64_t images;   /* of the training set */
    double memory_mb; /* what this machine can give */
};

/* Seconds a cell will take and the bytes it counts, without running it. */
moco_status compare_estimate(const struct compare_place *place, struct cell *cell, double *seconds, struct err *err);

/* `*done` 1 and the numbers: the cell has been run. MOCO_EINVAL: it has, with other options. */
moco_status compare_done(const struct compare_place *place, struct cell *cell, int *done, struct err *err);

/* Trains and measures. MOCO_ECANCELED: a signal came; the next time it goes on. */
moco_status compare_run(const struct compare_place *place, const struct compare_settings *settings, struct cell *cell,
                        struct err *err);

#endif
