/* SPDX-License-Identifier: MIT
 *
 * timing: the clock and the median of benchmarks. */
#ifndef MOCO_BENCH_TIMING_H
#define MOCO_BENCH_TIMING_H

#define TIMING_MAX 64 /* values of a median */

double now_ms(void);
double median(const double *values, int count);

#endif
