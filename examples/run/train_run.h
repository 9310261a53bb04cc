/* SPDX-License-Identifier: MIT
 *
 * train_run: everything that one pre-training run has open, from the machine to the report, and its position in the
 * schedule. train_setup fills it, watch reads it, train_advice uses it for its advice; the loop is in
 * train_imagenet.c. What a reader would get wrong: a checkpoint stores only the note; everything else is made again
 * at a resume. */
#ifndef MOCO_EXAMPLES_TRAIN_RUN_H
#define MOCO_EXAMPLES_TRAIN_RUN_H

#include <moco/moco.h>

#include "folder/metrics.h"
#include "images/open_data.h"
#include "keeping.h"
#include "measure/monitor.h"
#include "ranks.h"
#include "report/gallery_make.h"
#include "report/live_report.h"
#include "resume.h"
#include "run_config.h"
#include "support/contention.h"
#include "support/progress.h"

struct run {
    struct run_note note; /* with the configuration, and how far the epoch under way has come */
    struct ranks ranks;
    moco_context *context;
    moco_device *device;
    moco_device_info info;
    struct open_data data;
    struct resume resume;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_loader *loader;
    moco_augment_options train_view, eval_view;
    struct monitor monitor;
    int watching;                  /* the kNN monitor has what it needs */
    struct metrics_knn seen, told; /* by it, last, and what of that has been warned of */
    struct metrics metrics;
    struct gallery_plan gallery;
    struct live_report report;
    struct progress progress;
    struct contention contention;
    struct keeping keeping;
    int64_t bad_limit;
    int bad_said;
    double saved; /* when the last checkpoint was written, or the run began */
    int64_t steps_per_epoch, last_step;
    int64_t begun;       /* the step that this process began with */
    int64_t landed;      /* the last one that was counted: where the device is ahead, the one before the last */
    int64_t checkpoints; /* written by it */
    int64_t behind;      /* steps that were made, less those that the schedule counts up to here */
    double epoch_begun;
    int silent; /* 1: libmoco's warnings are not passed on */
};

#endif
