/* SPDX-License-Identifier: MIT
 *
 * ref_plain: the steps of backward that belong to no op: sums of gradients, copies, undone ReLUs. */
#ifndef MOCO_REF_PLAIN_H
#define MOCO_REF_PLAIN_H

#include "backend/program/program.h"

moco_status ref_plain(const struct program_backward *run, const struct program_step *step, struct err *err);

#endif
