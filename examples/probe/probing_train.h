/* SPDX-License-Identifier: MIT
 *
 * probing_train: the protocol of the reference's main_lincls.py: epochs of SGD on augmented views, a state after
 * each of them, and a report of the best probe. What a reader would get wrong: a stop loses nothing. The state
 * records how far its epoch came, and a resumed probe ends with the same bytes. */
#ifndef MOCO_EXAMPLES_PROBING_TRAIN_H
#define MOCO_EXAMPLES_PROBING_TRAIN_H

#include "probing.h"

/* Starts or resumes, trains, reports. MOCO_ECANCELED: a signal came; the state is saved and the way on is printed. */
moco_status probing_train(struct probing *p, struct err *err);

/* Scores the probe that --resume names, without training. */
moco_status probing_evaluate(struct probing *p, struct err *err);

#endif
