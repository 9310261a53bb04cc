/* SPDX-License-Identifier: MIT
 *
 * export_onnx: what the two passes of an ONNX export share. The first pass writes nodes, and names and shapes of
 * tensors (export_onnx.c); the second writes their numbers (export_onnx_numbers.c). What a reader would get wrong: a
 * layer with batch norm folded into it has other numbers than the encoder, and a bias of its own. */
#ifndef MOCO_ALGO_EXPORT_ONNX_H
#define MOCO_ALGO_EXPORT_ONNX_H

#include "algo/encoder.h"

enum onnx_part { ONNX_WEIGHT, ONNX_BIAS, ONNX_SCALE, ONNX_SHIFT, ONNX_MEAN, ONNX_VAR };

/* Where a tensor's numbers come from. */
struct onnx_fill {
    enum onnx_part part;
    int op; /* WEIGHT and BIAS are of a CONV or LINEAR op, the other parts of a BN or the INPUT */
    int bn; /* number of the op BN that is folded in; -1: none */
};

/* Writes the `count` numbers of a tensor as f32 to the start of `values`, which has onnx_room bytes. `own` has space
 * for four doubles per channel. MOCO_ENUMERIC, with the tensor's name, if a number is not finite. */
moco_status onnx_numbers(const struct encoder *e, const struct onnx_fill *fill, int64_t count, void *values,
                         double *own, struct err *err);
size_t onnx_room(const struct encoder *e, const struct onnx_fill *fill, int64_t count);

#endif
