/* SPDX-License-Identifier: MIT
 *
 * weights_state: the fields of a `struct weights`, for weights.c, which opens it, and weights_read.c, which reads
 * the numbers of its tensors. */
#ifndef MOCO_FORMAT_WEIGHTS_STATE_H
#define MOCO_FORMAT_WEIGHTS_STATE_H

#include "format/safetensors_table.h"
#include "format/torch/torch_read.h"
#include "format/weights.h"

struct weights {
    struct ctx *ctx;
    struct safetensors *safetensors; /* NULL: it is a file of torch */
    struct torch_file torch;
    const char *format;
    const char *note; /* for safetensors: the note of weights_note; NULL: there is none */
};

/* Converts `count` elements of the file's type to the type that is wanted. Both are without gaps. */
void weights_convert(enum safetensors_dtype dtype, const void *from, int64_t count, enum weights_number number,
                     void *to);
/* Returns the digits of the hash that a safetensors file carries for the bytes of tensor `i`. NULL: there is none, or
 * the header, which holds it, was changed. */
const char *weights_hash(const struct weights *w, int64_t i);
size_t weights_number_size(enum weights_number number);

#endif
