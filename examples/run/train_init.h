/* SPDX-License-Identifier: MIT
 *
 * train_init: --init: a run that starts from the weights in a file. What a reader would get wrong: architecture and width
 * are the file's, since it cannot be otherwise; stem, head and length of an embedding stay the run's, and the file's head
 * is taken only if it is the same. */
#ifndef MOCO_EXAMPLES_TRAIN_INIT_H
#define MOCO_EXAMPLES_TRAIN_INIT_H

#include "train_run.h"

/* Makes r->model, if the run is to start from a file, and settles --arch and --width by it. */
moco_status train_take_init(struct run *r, struct err *err);

#endif
