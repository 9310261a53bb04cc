/* SPDX-License-Identifier: MIT
 *
 * sim_dnn: cuDNN for the simulated driver: its descriptors, checked as strictly as the real one does, and convolutions by
 * a host loop. What a reader would get wrong: most engines that it names are traps, one for each reason to pass an
 * engine over; one that is run all the same writes NaN. The one that is right fills its workspace with NaN. */
#ifndef MOCO_TESTS_SIM_DNN_H
#define MOCO_TESTS_SIM_DNN_H

#include "backend/cuda/dnn/dnn_library.h"

extern const struct dnn_library sim_dnn;

enum { SIM_DNN_WORKSPACE = 12288 }; /* bytes that the right engine wants */

/* Descriptors and handles that were made and not given back. */
int sim_dnn_live(void);

/* 1: from now on no engine is right, as if this GPU had none. */
void sim_dnn_without_engines(int without);

#endif
