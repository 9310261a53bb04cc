/* SPDX-License-Identifier: MIT
 *
 * cpu_ops: see cpu_ops.h. Rows follow from the list of graph.h: op NAME is cpu_op_NAME, in whichever file. */
#include "backend/cpu/cpu_ops.h"

#define DECLARE(kind, name) extern const struct program_op cpu_op_##name;
GRAPH_OPS(DECLARE)

#define ROW(kind, name) [kind] = &cpu_op_##name,
const struct program_op *const cpu_ops[OP_KINDS] = {GRAPH_OPS(ROW)};
