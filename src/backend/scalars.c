/* SPDX-License-Identifier: MIT
 *
 * scalars: see scalars.h. */
#include "backend/scalars.h"

#include <math.h>

moco_status scalars_check_part(const struct be_program_spec *spec, int number, int last, struct err *err)
{
    int parts = scalars_parts(spec);
    if (number >= parts || (last && number != parts - 1))
        return err_set(err, MOCO_ESTATE, "part %d of a step, in a program whose steps have %d parts", number + 1,
                       parts);
    return MOCO_OK;
}

moco_status scalars_check_ranges(const struct be_scalars *scalars, int most, int params, struct err *err)
{
    int64_t next = 0;
    if (scalars->range_count < 0 || scalars->range_count > most)
        return err_set(err, MOCO_EINVAL, "a step of %d ranges, in a program of at most %d", scalars->range_count, most);
    for (int i = 0; i < scalars->range_count; i++) {
        const struct be_range *r = &scalars->ranges[i];
        if (r->first < next || r->count < 1 || r->count > params - r->first)
            return err_set(err, MOCO_EINVAL,
                           "range %d is of %d parameters from number %d on: ranges are ascending, do not overlap, and "
                           "end before %d",
                           i, r->count, r->first, params);
        if (!(r->rate >= 0 && isfinite(r->rate) && r->weight_decay >= 0 && isfinite(r->weight_decay)))
            return err_set(err, MOCO_EINVAL, "rate and weight decay of range %d must be finite numbers, 0 or more", i);
        next = (int64_t)r->first + r->count;
    }
    return MOCO_OK;
}
