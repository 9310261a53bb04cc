/* SPDX-License-Identifier: MIT
 *
 * scalars: what every device says of the numbers that a step is given. */
#ifndef MOCO_BACKEND_SCALARS_H
#define MOCO_BACKEND_SCALARS_H

#include "backend/backend.h"

/* MOCO_EINVAL unless the ranges are at most `most`, ascending, disjoint, of parameters before `params`, and hold finite
 * numbers. */
moco_status scalars_check_ranges(const struct be_scalars *scalars, int most, int params, struct err *err);

#endif
