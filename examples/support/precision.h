/* SPDX-License-Identifier: MIT
 *
 * precision: --precision of the programs. What a reader would get wrong: "auto" is resolved once, when a run begins,
 * and the run keeps the result. A machine that lacks this precision refuses rather than continue in another one. */
#ifndef MOCO_EXAMPLES_PRECISION_H
#define MOCO_EXAMPLES_PRECISION_H

#include <stddef.h>

#include "moco/base.h"

#define PRECISION_CHOICES "auto|f32|bf16|f64|fp16|tf32"
#define PRECISION_HELP                                                                                                 \
    "auto (default): the one in which the device trains fastest, bf16 if the\n"                                        \
    "CPU or the GPU has instructions for it, otherwise f32; f32; bf16; fp16 and\n"                                     \
    "tf32 (cuda); f64 (ref)"
#define DEVICE_HELP "cpu (default); cuda or cuda:N, a GPU (docs/cuda.md); ref: plain C in double, very slow"

moco_precision precision_parse(const char *name); /* AUTO for "auto", and for what is none */
int precision_known(const char *name);            /* is it one of PRECISION_CHOICES? */
const char *precision_name(int precision);        /* "" for what is none */
int precision_runs(const moco_device_info *device, const char *name);
/* "auto" becomes what it is on this device. */
void precision_settle(char *name, size_t size, const moco_device_info *device);
/* "f32, bf16": what the device has. Returns `text`. */
const char *precision_list(const moco_device_info *device, char *text, size_t size);

#endif
