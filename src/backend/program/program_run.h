/* SPDX-License-Identifier: MIT
 *
 * program_run: runs a program op by op through the device's table. What a reader would get wrong: nothing here
 * touches a number. How a device keeps its threads or its queue open during a run is its own matter. */
#ifndef MOCO_PROGRAM_RUN_H
#define MOCO_PROGRAM_RUN_H

#include "backend/program/program.h"

/* Gives the program its memory. MOCO_EINVAL: the address is no multiple of 64. */
moco_status program_bind(struct program *p, void *slab, struct err *err);

/* MOCO_ESTATE before the program has memory. The value of the output is where program_value_at says. */
moco_status program_forward(struct program *p, const struct be_forward *io, struct err *err);

/* Of a program for training. */
moco_status program_backward(struct program *p, const struct be_backward *io, struct err *err);

/* 1: a node of the program has this parameter. The device sets the others to zero and reports them as final before
 * the first step of program_backward. */
int program_has_param(const struct program *p, int param);

/* Calls `fold` of op `i` if it has one and is no batch norm that is folded into another op; of every op of the graph. */
moco_status program_fold_op(const struct program_op *const *ops, struct be_weights *weights, const struct graph *graph,
                            int i, const void *masters, const void *stats, struct err *err);
moco_status program_fold(const struct program_op *const *ops, struct be_weights *weights, const struct graph *graph,
                         const void *masters, const void *stats, struct err *err);

/* Every op's warm and warm_back. */
moco_status program_warm(struct program *p, void *zeros, struct err *err);

#endif
