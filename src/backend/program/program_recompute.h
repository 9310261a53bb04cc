/* SPDX-License-Identifier: MIT
 *
 * program_recompute: which outputs of batch norm a program for training does not keep. Their input and statistics
 * are kept for the gradient anyway, so that one more pass over memory gives the output again, with the same bits.
 * What a reader would get wrong: a residual sum is computed again from the sum before it, which may itself have to
 * be computed again first. A value that would need more than PROGRAM_DEPTH passes in a row is kept; of a chain of
 * sums that is every third. */
#ifndef MOCO_PROGRAM_RECOMPUTE_H
#define MOCO_PROGRAM_RECOMPUTE_H

#include "backend/program/program.h"

#define PROGRAM_DEPTH 2

/* After fusing: fills value_depth. */
void program_recompute_choose(struct program *p);

#endif
