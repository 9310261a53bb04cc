/* SPDX-License-Identifier: MIT
 *
 * dnn_fastest: which of cuDNN's engines runs a convolution: the first that will do, or, with a file of tuning, the fastest of
 * the first few. They are chosen when a plan is made, where nothing can run yet, and timed when it is bound: in the plan's
 * own memory, on the addresses of its steps. What a reader would get wrong: a plan reserves workspace for all of the
 * engines that it may take. */
#ifndef MOCO_BACKEND_CUDA_TUNE_DNN_FASTEST_H
#define MOCO_BACKEND_CUDA_TUNE_DNN_FASTEST_H

#include "backend/cuda/cuda.h"

/* All within cuda_enter. */

/* The engines for this convolution: one, unless it has to be timed. As dnn_choose. */
moco_status dnn_fastest_choose(struct dnn_plan *out, struct be_device *dev, const struct dnn_conv *conv,
                               struct err *err);

/* Takes the fastest, if there are several: what is known of this convolution by now, or what the clock says. The numbers
 * at these addresses (dnn_run) are overwritten. An engine that is refused when it runs is not taken. MOCO_EDEVICE,
 * MOCO_ENOMEM. */
moco_status dnn_fastest_take(struct be_device *dev, struct dnn_plan *plan, const void *x, const void *w, const void *y,
                             const void *workspace, struct err *err);

#endif
