/* SPDX-License-Identifier: MIT
 *
 * data_rig: what a test of data sets stands on: a scratch folder, and a context that keeps its log. What was allocated
 * through the context must be freed by the end. */
#ifndef MOCO_TESTS_DATA_RIG_H
#define MOCO_TESTS_DATA_RIG_H

#include "moco/base.h"
#include "support/scratch_folder.h"

struct data_rig {
    moco_context *context;
    struct scratch_folder folder;
    char log[8192]; /* lines so far */
    int64_t live;   /* bytes of the context itself */
};

/* Both return 0, or -1 as a cmocka fixture that failed; free removes the folder, and fails if something leaked. */
int data_rig_make(struct data_rig *rig);
int data_rig_free(struct data_rig *rig);

#endif
