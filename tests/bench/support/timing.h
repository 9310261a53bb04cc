/* SPDX-License-Identifier: MIT
 *
 * timing: the clock and the median of benchmarks. */
#ifndef MOCO_BENCH_TIMING_H
#define MOCO_BENCH_TIMING_H

#define TIMING_MAX 64 /* values of a median */

double now_ms(void);
double cpu_ms(void); /* processor time of all threads of the process: what others take of the machine is not in it */
double median(const double *values, int count);

#endif
