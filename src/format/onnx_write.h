/* SPDX-License-Identifier: MIT
 *
 * onnx_write: writes the messages of an ONNX file (onnx.proto3); a graph of float tensors needs few of them. The
 * bytes of tensors are left out and become gaps, so that memory does not grow with the network. What a reader would
 * get wrong: nodes refer to values and tensors by name only, and nothing here checks that these exist. */
#ifndef MOCO_FORMAT_ONNX_WRITE_H
#define MOCO_FORMAT_ONNX_WRITE_H

#include "codec/protobuf.h"
#include "file/file_gaps.h"
#include "format/safetensors.h"

enum onnx_type { ONNX_F32 = 1, ONNX_U8 = 2 }; /* onnx.proto3 calls it elem_type */

struct onnx_writer {
    struct ctx *ctx;
    struct protobuf graph, node, part; /* the graph so far; the message that is being made; a message inside that one */
    struct file_gaps gaps;             /* one for each tensor, in the order in which they were put */
};

void onnx_start(struct onnx_writer *w, struct ctx *ctx, struct err *err);
void onnx_free(struct onnx_writer *w); /* may be called more than once */

/* A node takes several calls: onnx_node begins it, the next ones add inputs and attributes, onnx_node_end puts it. */
void onnx_node(struct onnx_writer *w, const char *kind, const char *name, const char *out);
void onnx_node_input(struct onnx_writer *w, const char *name);
void onnx_node_float(struct onnx_writer *w, const char *name, float value);
void onnx_node_int(struct onnx_writer *w, const char *name, int64_t value);
void onnx_node_ints(struct onnx_writer *w, const char *name, const int64_t *values, int count);
void onnx_node_end(struct onnx_writer *w);

/* Puts a float tensor without its bytes, which fill a gap later. */
void onnx_tensor(struct onnx_writer *w, const char *name, const int64_t *shape, int ndim);

/* An axis of an input or output: a size, or a name for a size that may be any. */
struct onnx_axis {
    const char *name; /* NULL: the axis has `size` */
    int64_t size;
};
void onnx_input(struct onnx_writer *w, const char *name, enum onnx_type type, const struct onnx_axis *axes, int count);
void onnx_output(struct onnx_writer *w, const char *name, const struct onnx_axis *axes, int count); /* floats */

/* Puts the graph into a model and begins the file at `path`. The caller then writes the bytes of tensor i at
 * gaps.gaps[i].offset. */
moco_status onnx_begin(struct onnx_writer *w, struct file_save *save, const char *path, const char *name,
                       const struct safetensors_text *texts, int64_t text_count, struct err *err);

#endif
