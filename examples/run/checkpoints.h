/* SPDX-License-Identifier: MIT
 *
 * checkpoints: the driver's part of a checkpoint. libmoco saves the whole training state. The note beside it holds
 * what only the driver knows: its options, the fingerprint of the data set, and the counters of the current epoch.
 * It has no time, host or path, so that equal states give equal bytes. */
#ifndef MOCO_EXAMPLES_CHECKPOINTS_H
#define MOCO_EXAMPLES_CHECKPOINTS_H

#include "images/data_sketch.h"
#include "run_config.h"

#define CHANGED_SIZE 1024

struct run_note {
    struct run_config config;
    char data[80];              /* fingerprint */
    char sketch[SKETCH_TEXT];   /* of the data set's names; "": not known */
    char changed[CHANGED_SIZE]; /* what has become another on the way: "step 6: lr 0.01 (was 0.03)"; "": nothing */
    int64_t epoch_done;         /* 1: kNN and metrics of the cursor's epoch are done */
    int64_t epoch_steps;        /* steps of that epoch so far, and the sum of their losses */
    double epoch_loss;
};

moco_status checkpoint_write(moco_trainer *trainer, const char *path, const struct run_note *note, struct err *err);

/* Reads the note alone; `note->config` must hold what the options that are not saved should be. Every number is within
 * what its kind allows; whether they fit together, and the state beside them, is looked at in resume_check. */
moco_status checkpoint_read_note(moco_context *context, const char *path, struct run_note *note, struct err *err);

#endif
