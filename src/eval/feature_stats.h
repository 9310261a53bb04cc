/* SPDX-License-Identifier: MIT
 *
 * feature_stats: describes a set of feature vectors without labels: spread, spectrum, uniformity and alignment (Wang
 * and Isola, 2020). What a reader would get wrong: all of it is computed from rows scaled to length 1, so that the
 * scale of a network's output has no influence. */
#ifndef MOCO_EVAL_FEATURE_STATS_H
#define MOCO_EVAL_FEATURE_STATS_H

#include <stdint.h>

#include "backend/backend.h"

#define FEATURE_STATS_DIM 8192

struct feature_stats {
    double std_mean, std_min; /* over dimensions, of the standard deviation over rows */
    double effective_rank;    /* 0: all rows are the same */
    double uniformity;
    double alignment; /* NaN without pairs */
    int collapsed;
};

/* n >= 2 rows; `pairs` (NULL: none) holds the other view of each; `values` (NULL: not wanted) gets the eigenvalues of
 * the covariance, largest first. */
moco_status feature_stats(struct ctx *ctx, const struct backend *be, struct be_device *dev, const float *features,
                          const float *pairs, int64_t n, int dim, struct feature_stats *stats, double *values,
                          struct err *err);

#endif
