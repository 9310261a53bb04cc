/* SPDX-License-Identifier: MIT
 *
 * run_log: reads metrics.jsonl in bounded memory, and continues where it stopped: a page that is redrawn during a
 * run reads each line once. A line that cannot be used is counted, remembered with its number and skipped. What a
 * reader would get wrong: the file stays open from run_log_open to run_log_free. Closing any descriptor of it would
 * release the lock that a running driver of this process holds on it. */
#ifndef MOCO_EXAMPLES_RUN_LOG_H
#define MOCO_EXAMPLES_RUN_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "file/file.h"
#include "run_series.h"

enum run_metric { /* members of the step lines, then of the epoch lines */
                  RUN_LOSS,
                  RUN_CHANCE,
                  RUN_ACC1,
                  RUN_ACC5,
                  RUN_LR,
                  RUN_POSITIVE,
                  RUN_NEGATIVE,
                  RUN_STD,
                  RUN_GRADIENT,
                  RUN_FILL,
                  RUN_SPEED,
                  RUN_WAIT,
                  RUN_SCALE,
                  RUN_SKIPPED,
                  RUN_EPOCH_LOSS,
                  RUN_KNN,
                  RUN_SECONDS,
                  RUN_METRICS
};
#define RUN_EPOCH_METRICS RUN_EPOCH_LOSS

extern const char *const run_metric_names[RUN_METRICS]; /* as in the file */

struct run_option {
    char *name, *value; /* text; numbers as they are written */
};

struct run_problem {
    int64_t line;
    char text[200];
};
#define RUN_PROBLEMS_KEPT 20

struct run_log {
    char folder[1100], path[1200];
    char name[256]; /* the folder's last part: what the run is called */
    struct run_option *option;
    int options;
    struct series metric[RUN_METRICS];
    int64_t steps, epochs, resumes; /* lines of each kind */
    int64_t last_step, last_epoch;  /* -1: none */
    int64_t full_step;              /* the first step that found the queue full, -1: none did */
    int64_t best_epoch;             /* of the best kNN, -1: none */
    double best_knn, untrained_knn; /* untrained: of epoch 0; NAN: not said */
    int64_t knn_queries;            /* images that the last kNN is over, -1: not said */
    double seconds;                 /* that all epochs took, kNN included, and the steps of one that goes on */
    double most_aside;              /* of an epoch, what was no step: the longest */
    double resumed_seconds;         /* of these, before the run was last resumed ... */
    int64_t resumed_step;           /* ... which was at this step, 0: never */
    int64_t problems;               /* lines that cannot be used */
    struct run_problem problem[RUN_PROBLEMS_KEPT];
    /* Called for each step and epoch line that is taken, values in the order of run_metric (NAN: null, or of the other
     * kind). Not MOCO_OK ends the reading. NULL: nobody asks. */
    moco_status (*each)(void *user, int is_epoch, int64_t epoch, int64_t step, const double value[RUN_METRICS],
                        struct err *err);
    void *user;
    double epoch_seconds; /* of the steps since the last epoch line */
    int64_t offset, line; /* how far the file has been read */
    struct ctx *ctx;
    struct file file;
};

/* About 400 KB. MOCO_EIO: there is no metrics.jsonl. Free with run_log_free. */
moco_status run_log_open(struct run_log **log, const char *folder, struct err *err);

/* Reads what has been added. `whole`: nobody writes any more, so that a last line without end is a broken one; else it
 * is left for the next time. */
moco_status run_log_read(struct run_log *log, int whole, struct err *err);
void run_log_free(struct run_log *log);

/* 1: another process holds the lock of metrics.jsonl, so the run goes on; 0: nobody does, or the file system knows no
 * locks. */
int run_log_busy(const struct run_log *log);

/* Steps that the run is to take: as its options say, those of --max-steps aside. -1: they do not. */
int64_t run_log_steps_asked(const struct run_log *log);

const char *run_log_option(const struct run_log *log, const char *name); /* NULL: not there */
double run_log_number(const struct run_log *log, const char *name);      /* NAN: not there, or no number */

#endif
