/* SPDX-License-Identifier: MIT
 *
 * cpu_ops: how this device does each op: op_*.c, in one table. */
#ifndef MOCO_CPU_OPS_H
#define MOCO_CPU_OPS_H

#include "backend/program/program.h"

extern const struct program_op *const cpu_ops[OP_KINDS];

#endif
