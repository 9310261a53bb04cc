/* SPDX-License-Identifier: MIT
 *
 * run_series: a number that is logged again and again, kept in at most SERIES_MAX buckets, however long the run is.
 * Each bucket holds the least, the greatest and the sum of neighbouring values, and all buckets cover equally many
 * steps. When there are too many, each two become one, so that no value is left out and no peak is lost. What a
 * reader would get wrong: a bucket may be empty (n 0), where the log has a gap or only nulls. */
#ifndef MOCO_EXAMPLES_RUN_SERIES_H
#define MOCO_EXAMPLES_RUN_SERIES_H

#include <stdint.h>

#define SERIES_MAX 400

struct series_bucket {
    int64_t n;            /* values; 0: empty, and the rest means nothing */
    int64_t first, last;  /* keys of the first and the last of them */
    double at;            /* sum of their places on the axis */
    double sum, min, max; /* of the values */
};

struct series {
    int64_t width; /* keys per bucket, a power of 2; 0: nothing has been added */
    int count;
    struct series_bucket bucket[SERIES_MAX];
    double last;      /* the latest value ... */
    int64_t last_key; /* ... and its key; -1: none */
};

void series_init(struct series *series);

/* Keys (steps, or epochs) are 0 or more and may not go back. A value that is not finite is no value. */
void series_add(struct series *series, int64_t key, double at, double value);

double series_mean(const struct series_bucket *bucket);
double series_at(const struct series_bucket *bucket);

#endif
