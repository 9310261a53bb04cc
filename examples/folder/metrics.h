/* SPDX-License-Identifier: MIT
 *
 * metrics: metrics.jsonl in the run folder, one JSON object a line, for programs to read:
 *   {"type":"config",...}   the first line: the full configuration, machine and versions; again where a run is resumed
 *                           with another configuration or other images
 *   {"type":"step",...}     one per step; in fp16 with the loss scale of the step, and how many steps were skipped so far
 *   {"type":"epoch",...}    one per finished epoch, and one for epoch 0, before training
 *   {"type":"resume",...}   where a run was resumed, and on which machine
 * Epochs count from 1 (the kNN of epoch 0 is that of the untrained encoder). A line is written whole or not at all. */
#ifndef MOCO_EXAMPLES_METRICS_H
#define MOCO_EXAMPLES_METRICS_H

#include <moco/moco.h>

#include "err.h"
#include "event_file.h"
#include "support/log_file.h"

struct metrics {
    struct log_file file;     /* fd -1: closed */
    int64_t last_step;        /* that was in the file when it was opened and cut; 0: none */
    struct event_file events; /* closed: not wanted */
    int gone;                 /* metrics_watch has warned */
};

/* Opens and locks the file. Lines past `step` are cut off (-1: all stay); so is the epoch line of `step`
 * itself unless `epoch_done`: a run that goes on will write it again. */
moco_status metrics_open(struct metrics *metrics, const char *folder, int64_t step, int epoch_done, struct err *err);
void metrics_close(struct metrics *metrics);

/* Warns, once, of a file that was removed or replaced: nobody reads what is written to a file without a name, but that is
 * no reason to end the run. */
void metrics_watch(struct metrics *metrics, void (*warn)(const char *sentence));

/* As if the run had not begun. MOCO_ESTATE: it had come too far to have had no checkpoint. */
moco_status metrics_empty(struct metrics *metrics, struct err *err);
int metrics_begun(const struct metrics *metrics); /* 1: there is a line already */

/* All lines are on the disk, those that could not be written before among them. To be called before a checkpoint is
 * written, which must not know of steps that the log lacks. */
moco_status metrics_sync(struct metrics *metrics, struct err *err);

/* From now on numbers go to TensorBoard's event file too; `step` is the last one taken. */
moco_status metrics_tensorboard(struct metrics *metrics, const char *folder, int64_t step, struct err *err);

/* `members` is the inside of a JSON object, or more members of one. */
moco_status metrics_config(struct metrics *metrics, const char *members, struct err *err);
moco_status metrics_resume(struct metrics *metrics, int64_t epoch, int64_t step, const char *members, struct err *err);
moco_status metrics_step(struct metrics *metrics, int64_t epoch, const moco_step_report *report, double img_per_s,
                         double data_wait, struct err *err);
/* What the kNN monitor looked at: knn_bank, knn_queries and knn_unreadable of an epoch's line. */
struct metrics_knn {
    int64_t bank, queries; /* training and held-out images that it read */
    int64_t unreadable;    /* of both, those that it could not read and left out */
};

/* knn_top1 in percent; a negative one and a mean loss of NaN are written as null. `knn` NULL: no monitor ran. */
moco_status metrics_epoch(struct metrics *metrics, int64_t epoch, int64_t step, double mean_loss, double knn_top1,
                          const struct metrics_knn *knn, double seconds, struct err *err);

/* `text` as a JSON string with its quotes. */
void json_quote(const char *text, char *out, size_t size);

#endif
