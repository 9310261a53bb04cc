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

#endif
