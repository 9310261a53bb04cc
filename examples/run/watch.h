/* SPDX-License-Identifier: MIT
 *
 * watch: what a pre-training run measures and reports on the way: the numbers of a step, the kNN accuracy, images
 * that cannot be read. What a reader would get wrong: none of it influences the training. A warning is given once,
 * not at every step. */
#ifndef MOCO_EXAMPLES_WATCH_H
#define MOCO_EXAMPLES_WATCH_H

#include "train_run.h"

/* The kNN accuracy of the encoder as it is; *percent: -1 where there is none. */
moco_status watch_accuracy(struct run *r, double *percent, struct err *err);

/* The untrained encoder's accuracy: what all later ones are compared with. */
moco_status watch_untrained(struct run *r, struct err *err);

moco_status watch_waiting(struct run *r, double *seconds, struct err *err); /* for images, since the epoch began */

/* Since when a step is measured: the clock, and watch_waiting. */
struct watch_pace {
    double mark, waited;
};

/* After a step of `epoch` was given: of the step that has landed, if one has, its line in metrics.jsonl, the sums of the
 * epoch, progress. */
moco_status watch_step(struct run *r, int64_t epoch, struct watch_pace *pace, struct err *err);

/* MOCO_EBADDATA when the first epoch meets more images that cannot be read than --max-bad allows; later, a warning. */
moco_status watch_bad(struct run *r, int64_t epoch, struct err *err);

#endif
