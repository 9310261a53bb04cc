/* SPDX-License-Identifier: MIT
 *
 * demo_record: the demo's run folder: metrics.jsonl as the driver writes it, and the report. What a reader would get
 * wrong: a demo overwrites the folder of an earlier demo, but no other folder. */
#ifndef MOCO_EXAMPLES_DEMO_RECORD_H
#define MOCO_EXAMPLES_DEMO_RECORD_H

#include <moco/moco.h>

#include "demo_pictures.h"
#include "folder/metrics.h"
#include "report/gallery_make.h"
#include "report/live_report.h"

struct demo_record {
    const struct demo_pictures *pictures; /* from here to `drawn` set by the caller; borrowed. NULL: never opened */
    moco_context *context;
    moco_device *device;
    moco_augment_options view;
    const char *recipe;
    uint64_t seed;
    int64_t batch;
    int drawn; /* the pictures are our patterns, whose classes have names */
    struct metrics metrics;
    struct live_report report;
    struct gallery_plan plan;
    moco_dataset *train, *held_out; /* with their labels, which training itself does not get */
    double mark, waited, epoch_begun, loss;
    int64_t in_epoch;
};

/* `members`: of the configuration, inside of a JSON object; "program" is "demo". MOCO_ESTATE: the folder is some other
 * run's. */
moco_status demo_record_open(struct demo_record *record, const char *folder, const char *members,
                             void (*warn)(const char *sentence), struct err *err);
moco_status demo_record_step(struct demo_record *record, int64_t epoch, const moco_step_report *report,
                             double wait_seconds, struct err *err);

/* Epoch 0: before training. `percent` of kNN, negative: not measured. */
moco_status demo_record_epoch(struct demo_record *record, int64_t epoch, int64_t step, double percent, struct err *err);
void demo_record_end(struct demo_record *record, moco_model *model, int64_t epoch, int64_t step);
void demo_record_close(struct demo_record *record); /* also when it was never opened: all 0 */

#endif
