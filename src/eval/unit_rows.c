/* SPDX-License-Identifier: MIT
 *
 * unit_rows: see unit_rows.h. Lengths are summed in double: no finite f32 row overflows or becomes 0. */
#include "eval/unit_rows.h"

#include <math.h>

moco_status unit_rows(const float *from, int64_t first, int64_t n, int dim, float *to, struct err *err)
{
    for (int64_t i = 0; i < n; i++) {
        const float *row = from + (first + i) * dim;
        float *out = to + i * dim;
        double squares = 0;
        for (int d = 0; d < dim; d++)
            squares += (double)row[d] * row[d];
        if (!isfinite(squares))
            return err_set(err, MOCO_ENUMERIC, "features: row %lld is not finite", (long long)(first + i));
        double norm = sqrt(squares), scale = 1 / (norm > 1e-12 ? norm : 1e-12);
        for (int d = 0; d < dim; d++)
            out[d] = (float)(row[d] * scale);
    }
    return MOCO_OK;
}
