/* SPDX-License-Identifier: MIT
 *
 * unit_rows: feature vectors scaled to length 1. What a reader would get wrong: a row of zeros stays zero, as
 * PyTorch's normalize leaves it, and has distance 1 to every other row. */
#ifndef MOCO_EVAL_UNIT_ROWS_H
#define MOCO_EVAL_UNIT_ROWS_H

#include <stdint.h>

#include "err.h"

/* Rows [first, first + n) of `from` to `to`. MOCO_ENUMERIC names a row that is not finite. */
moco_status unit_rows(const float *from, int64_t first, int64_t n, int dim, float *to, struct err *err);

#endif
