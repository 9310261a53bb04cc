/* SPDX-License-Identifier: MIT
 *
 * train_init: --init: a run that starts from the weights in a file. What a reader would get wrong: architecture and
 * width are those of the file, because others are impossible. Stem, head and length of an embedding stay those of
 * the run, and the file's head is used only if it is the same. */
#ifndef MOCO_EXAMPLES_TRAIN_INIT_H
#define MOCO_EXAMPLES_TRAIN_INIT_H

#include "train_run.h"

/* Makes r->model, if the run is to start from a file, and settles --arch and --width by it. */
moco_status train_take_init(struct run *r, struct err *err);

#endif
