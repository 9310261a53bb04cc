/* SPDX-License-Identifier: MIT
 *
 * train_setup: opens what a pre-training run needs, before its first step. What a reader would get wrong: the order
 * matters, and it is the order of the declarations. A checkpoint may bring other options than the command line's
 * defaults, and everything that follows is made from these options. */
#ifndef MOCO_EXAMPLES_TRAIN_SETUP_H
#define MOCO_EXAMPLES_TRAIN_SETUP_H

#include "train_run.h"

void train_context(struct run *r, moco_context_options *options);
moco_status train_open_machine(struct run *r, struct err *err); /* context, device, data */

/* Looks for the checkpoint to go on from; *found: 1 if there is one. Its options win over defaults; a command line that
 * says otherwise is an error, but for the options that may change. */
moco_status train_choose_checkpoint(struct run *r, int *found, struct err *err);

moco_status train_check_data(struct run *r, struct err *err);   /* enough images for a batch; steps per epoch */
void train_set_monitor(struct run *r);                          /* the views are known */
void train_set_gallery(struct run *r);                          /* the monitor is set */
moco_status train_make_trainer(struct run *r, struct err *err); /* model, queue, trainer, loader */

/* Where the run is in its schedule; the checkpoint is loaded. Steps and epochs agree unless images were removed on the
 * way. */
moco_status train_take_place(struct run *r, struct err *err);

/* metrics.jsonl, TensorBoard's file; what killed runs left behind is removed. */
moco_status train_open_folder(struct run *r, int resumed, struct err *err);

#endif
