/* SPDX-License-Identifier: MIT
 *
 * pca: the two directions along which a cloud of points is widest, and the coordinates of each point along them. */
#ifndef MOCO_EXAMPLES_PCA_H
#define MOCO_EXAMPLES_PCA_H

#include <stdint.h>

#include "err.h"

/* `rows`: [n,dim], centred in place. `x`, `y`: [n]. `part`: the fraction of the variance along each direction. If
 * all points are the same, they are at 0, 0. */
moco_status pca_plane(float *rows, int64_t n, int32_t dim, double *x, double *y, double part[2], struct err *err);

#endif
