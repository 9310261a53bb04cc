/* SPDX-License-Identifier: MIT
 *
 * copy_rate: how fast this machine copies memory, the yardstick of whatever only moves weights. What a reader would get
 * wrong: it counts bytes read and bytes written, and writes past the caches, so that nothing is read to be overwritten.
 */
#ifndef MOCO_BENCH_COPY_RATE_H
#define MOCO_BENCH_COPY_RATE_H

#include <stddef.h>

/* GB/s of one copy by all threads. Both ends at cache lines, both touched before. */
double copy_rate(const void *from, void *to, size_t bytes, int threads);

#endif
