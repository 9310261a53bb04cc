/* SPDX-License-Identifier: MIT
 *
 * program_compile: turns a graph into a program. The caller has filled plan, ctx, device, spec, map_number,
 * vector_number and never_kept; everything else is zero. What a reader would get wrong: a program whose compilation
 * failed half-way must be freed like any other. */
#ifndef MOCO_PROGRAM_COMPILE_H
#define MOCO_PROGRAM_COMPILE_H

#include "backend/program/program.h"

/* Checks the spec and fuses ops: from here on nodes and the form of values are known. */
moco_status program_begin(struct program *p, struct err *err);

/* Slices, recomputation, forward, backward. */
moco_status program_order(struct program *p, struct err *err);

/* Every buffer's lifetime is known: what the device has added since program_order is laid out, too. */
moco_status program_end(struct program *p, struct err *err);

void program_free(struct program *p);

#endif
