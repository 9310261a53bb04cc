/* SPDX-License-Identifier: MIT
 *
 * copy_rate: how fast this machine copies memory, the yardstick of whatever only moves weights, and reads it, the yardstick
 * of whatever only looks. What a reader would get wrong: a copy counts bytes read and bytes written, and writes past the
 * caches, so that nothing is read to be overwritten. */
#ifndef MOCO_BENCH_COPY_RATE_H
#define MOCO_BENCH_COPY_RATE_H

#include <stddef.h>

/* GB/s of one copy by all threads. Both ends at cache lines, both touched before. */
double copy_rate(const void *from, void *to, size_t bytes, int threads);

/* GB/s of reading all of it once by all threads. `from` at a cache line. */
double read_rate(const void *from, size_t bytes, int threads);

#endif
