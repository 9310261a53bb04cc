/* SPDX-License-Identifier: MIT
 *
 * program_recompute: which outputs of batch norm a program for training does not keep. Its input and its statistics are
 * kept for its own gradient, so that one more pass over memory gives the output again, bit by bit. What a reader would
 * get wrong: a residual sum comes back from the sum before it, which may itself have to come back first; beyond
 * PROGRAM_DEPTH passes in a row the value is kept, so that of a chain of sums every third one is. */
#ifndef MOCO_PROGRAM_RECOMPUTE_H
#define MOCO_PROGRAM_RECOMPUTE_H

#include "backend/program/program.h"

#define PROGRAM_DEPTH 2

/* After fusing: fills value_depth. */
void program_recompute_choose(struct program *p);

#endif
