/* SPDX-License-Identifier: MIT
 *
 * program_fuse: the first part of compiling: which ops the output needs, which form their values have, and which ops
 * run as one node. */
#ifndef MOCO_PROGRAM_FUSE_H
#define MOCO_PROGRAM_FUSE_H

#include "backend/program/program.h"

/* Refuses a spec that no device could compile. */
moco_status program_check(const struct program *p, struct err *err);

moco_status program_fuse(struct program *p, struct err *err);

/* The batch norm that folded weights hold together with this op's: the only op that reads its value; NULL: none. It
 * follows from the network alone, since all plans of it read the same weights. */
const struct graph_op *program_folded(const struct graph *graph, const struct graph_op *op);
int program_is_folded(const struct graph *graph, const struct graph_op *bn); /* Is it such a batch norm? */

#endif
