/* SPDX-License-Identifier: MIT
 *
 * program_slices: how many samples run at a time. Inference keeps nothing for a backward pass. The first layers have
 * large maps and few weights: they run for a few samples from end to end, while their maps are in the cache. The
 * last layers have many weights: they run for the whole launch. What a reader would get wrong: training and key
 * encoders have one segment with all samples, because their batch norms need all of them in every layer. */
#ifndef MOCO_PROGRAM_SLICES_H
#define MOCO_PROGRAM_SLICES_H

#include "backend/program/program.h"

/* After fusing. */
void program_slices_choose(struct program *p);

/* After forward and backward have their buffers: what one segment writes and another reads holds the whole launch, and
 * lives through both. */
void program_slices_widen(struct program *p);

#endif
