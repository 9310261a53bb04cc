/* SPDX-License-Identifier: MIT
 *
 * spectrum: all eigenvalues of a symmetric matrix. What a reader would get wrong: the matrix is overwritten, and
 * only its lower triangle is read. */
#ifndef MOCO_EVAL_SPECTRUM_H
#define MOCO_EVAL_SPECTRUM_H

#include "ctx.h"

/* `values` [n] gets the eigenvalues of `matrix` [n][n], largest first. n <= 2048 takes seconds; time grows with n^3. */
moco_status spectrum(struct ctx *ctx, int n, double *matrix, double *values, struct err *err);

#endif
