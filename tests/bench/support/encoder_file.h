/* SPDX-License-Identifier: MIT
 *
 * encoder_file: the file of an encoder that nobody has trained, for benchmarks of what is done with one. */
#ifndef MOCO_BENCH_ENCODER_FILE_H
#define MOCO_BENCH_ENCODER_FILE_H

#include "moco/moco.h"

/* `size`: of its pictures; below 64 the stem is CIFAR's. */
moco_status encoder_file_make(moco_device *device, const char *path, const char *arch, int size);

#endif
