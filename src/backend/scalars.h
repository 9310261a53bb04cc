/* SPDX-License-Identifier: MIT
 *
 * scalars: what every device says of the numbers that a step is given, and of its parts. */
#ifndef MOCO_BACKEND_SCALARS_H
#define MOCO_BACKEND_SCALARS_H

#include "backend/backend.h"

/* Of every step. */
static inline int scalars_parts(const struct be_program_spec *spec)
{
    return spec->parts > 0 ? spec->parts : 1;
}

/* MOCO_ESTATE unless part `number`, counted from 0, is one of be_program_spec.parts; or, `last`, the last of them. */
moco_status scalars_check_part(const struct be_program_spec *spec, int number, int last, struct err *err);

/* MOCO_EINVAL unless the ranges are at most `most`, ascending, disjoint, of parameters before `params`, and hold finite
 * numbers. */
moco_status scalars_check_ranges(const struct be_scalars *scalars, int most, int params, struct err *err);

#endif
