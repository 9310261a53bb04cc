/* SPDX-License-Identifier: MIT
 *
 * train_advice: the advice of train_imagenet: failures with a remedy, and warnings about options that do not suit
 * the data or the disk. What a reader would get wrong: libmoco's sentence says what failed, but does not know the
 * options, so that the remedy is added here. It depends on how far the run came, because a run that was begun can no
 * longer change most options. */
#ifndef MOCO_EXAMPLES_TRAIN_ADVICE_H
#define MOCO_EXAMPLES_TRAIN_ADVICE_H

#include "train_run.h"

/* On standard error, over a progress line that may be there. */
void train_warn(const char *sentence);

/* Whose warnings they are from here on, where there are several ranks. */
void train_warn_as(const struct ranks *ranks);

/* The failure `err` of `status`, with what can be done about it. */
void train_complain(const struct run *r, moco_status status, const struct err *err);

void train_warn_options(const struct run *r); /* before the first step: what does not suit the images */
void train_warn_disk(const struct run *r);    /* when there is a model: checkpoints may not fit */
void train_warn_lost_output(void);            /* at the end */

/* The command that goes on with this run from its last checkpoint. */
void train_how_to_go_on(const struct run *r, char *command, size_t size);

#endif
