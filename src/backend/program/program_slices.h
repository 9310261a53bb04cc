/* SPDX-License-Identifier: MIT
 *
 * program_slices: how many samples run at a time. Inference keeps nothing, so that the first layers, whose maps are
 * large and whose weights are few, run for a few samples from end to end while their maps are still in the cache, and
 * the last layers, whose weights are many, for the whole launch. What a reader would get wrong: training and key
 * encoders have one segment of all samples, since their batch norms look at all of them in every layer. */
#ifndef MOCO_PROGRAM_SLICES_H
#define MOCO_PROGRAM_SLICES_H

#include "backend/program/program.h"

/* After fusing. */
void program_slices_choose(struct program *p);

/* After forward and backward have their buffers: what one segment writes and another reads holds the whole launch, and
 * lives through both. */
void program_slices_widen(struct program *p);

#endif
