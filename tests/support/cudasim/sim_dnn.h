/* SPDX-License-Identifier: MIT
 *
 * sim_dnn: cuDNN for the simulated driver: its descriptors, checked as strictly as the real one does, and convolutions by
 * a host loop. What a reader would get wrong: most engines that it names are traps, one for each reason to pass an
 * engine over; one that is run all the same writes NaN. The one that is right fills its workspace with NaN. */
#ifndef MOCO_TESTS_SIM_DNN_H
#define MOCO_TESTS_SIM_DNN_H

#include "backend/cuda/dnn/dnn_library.h"

extern const struct dnn_library sim_dnn;

enum { SIM_DNN_WORKSPACE = 12288 }; /* bytes that the first right engine wants */

/* Its configurations, numbered as it names them: SIM_DNN_TRAPS that must not be taken, engine 4 without and with a knob, and
 * engine 6, none of which is for f32; and engine 5 without and with a knob, for f32. */
enum { SIM_DNN_CONFIGS = 9, SIM_DNN_TRAPS = 4, SIM_DNN_KNOB = 2 };
void sim_dnn_times(const double milliseconds[SIM_DNN_CONFIGS]); /* what each takes from now on; < 0: it is refused */
int sim_dnn_ran(int config);                                    /* how many times it was queued */

/* Descriptors and handles that were made and not given back. */
int sim_dnn_live(void);

void sim_dnn_release(int version); /* of the library, from now on: 91900 is 9.19.0, and what it is at first */

/* 1: from now on no engine is right, as if this GPU had none. */
void sim_dnn_without_engines(int without);

#endif
