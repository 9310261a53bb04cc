/* SPDX-License-Identifier: MIT
 *
 * op_steps: the steps of backward that are of no op: sums of gradients, copies, ReLUs undone. */
#ifndef MOCO_CPU_OP_STEPS_H
#define MOCO_CPU_OP_STEPS_H

#include "backend/program/program.h"

moco_status cpu_plain(const struct program_backward *run, const struct program_step *step, struct err *err);

#endif
