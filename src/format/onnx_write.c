/* SPDX-License-Identifier: MIT
 *
 * onnx_write: see onnx_write.h. The length of a message is written before the message and includes the bytes of its
 * tensors, so that all sums are computed before anything is written. The graph is one block of bytes with gaps, and
 * the few bytes of the model come before it. */
#include "format/onnx_write.h"

#include <string.h>

#include "moco/base.h"

enum { IR_VERSION = 7, OPSET = 13 };

/* Field numbers of onnx.proto3. */
enum {
    MODEL_IR = 1,
    MODEL_PRODUCER = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_TEXT = 14
};
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_TENSOR = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_KIND = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_FLOAT = 2, ATTRIBUTE_INT = 3, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_INTS = 7 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_BYTES = 9 };
enum { VALUE_NAME = 1, VALUE_TYPE = 2, TYPE_TENSOR = 1, TENSOR_ELEMENT = 1, TENSOR_SHAPE = 2, SHAPE_AXIS = 1 };
enum { AXIS_SIZE = 1, AXIS_NAME = 2, OPSET_VERSION = 2, TEXT_KEY = 1, TEXT_VALUE = 2 };

void onnx_start(struct onnx_writer *w, struct ctx *ctx, struct err *err)
{
    *w = (struct onnx_writer){.ctx = ctx};
    protobuf_start(&w->graph, ctx, err);
    protobuf_start(&w->node, ctx, err);
    protobuf_start(&w->part, ctx, err);
    file_gaps_start(&w->gaps, ctx, err);
}

void onnx_free(struct onnx_writer *w)
{
    protobuf_free(&w->graph);
    protobuf_free(&w->node);
    protobuf_free(&w->part);
    file_gaps_free(&w->gaps);
}

/* ---- nodes ---- */

void onnx_node(struct onnx_writer *w, const char *kind, const char *name, const char *out)
{
    protobuf_clear(&w->node);
    protobuf_put_string(&w->node, NODE_OUTPUT, out);
    protobuf_put_string(&w->node, NODE_NAME, name);
    protobuf_put_string(&w->node, NODE_KIND, kind);
}

void onnx_node_input(struct onnx_writer *w, const char *name)
{
    protobuf_put_string(&w->node, NODE_INPUT, name);
}

static void attribute(struct onnx_writer *w, const char *name, int type)
{
    protobuf_clear(&w->part);
    protobuf_put_string(&w->part, ATTRIBUTE_NAME, name);
    protobuf_put_int(&w->part, ATTRIBUTE_TYPE, type);
}

void onnx_node_float(struct onnx_writer *w, const char *name, float value)
{
    attribute(w, name, TYPE_FLOAT);
    protobuf_put_float(&w->part, ATTRIBUTE_FLOAT, value);
    protobuf_put_message(&w->node, NODE_ATTRIBUTE, &w->part);
}

void onnx_node_int(struct onnx_writer *w, const char *name, int64_t value)
{
    attribute(w, name, TYPE_INT);
    protobuf_put_int(&w->part, ATTRIBUTE_INT, value);
    protobuf_put_message(&w->node, NODE_ATTRIBUTE, &w->part);
}

void onnx_node_ints(struct onnx_writer *w, const char *name, const int64_t *values, int count)
{
    attribute(w, name, TYPE_INTS);
    for (int i = 0; i < count; i++)
        protobuf_put_int(&w->part, ATTRIBUTE_INTS, values[i]);
    protobuf_put_message(&w->node, NODE_ATTRIBUTE, &w->part);
}

void onnx_node_end(struct onnx_writer *w)
{
    protobuf_put_message(&w->graph, GRAPH_NODE, &w->node);
}

/* ---- tensors ---- */

void onnx_tensor(struct onnx_writer *w, const char *name, const int64_t *shape, int ndim)
{
    struct protobuf *t = &w->node;
    int64_t bytes = sizeof(float);
    protobuf_clear(t);
    for (int d = 0; d < ndim; d++) {
        protobuf_put_int(t, TENSOR_DIMS, shape[d]);
        bytes *= shape[d];
    }
    protobuf_put_int(t, TENSOR_TYPE, ONNX_F32);
    protobuf_put_string(t, TENSOR_NAME, name);
    protobuf_put_length(t, TENSOR_BYTES, (uint64_t)bytes);
    if (w->graph.status == MOCO_OK)
        w->graph.status = t->status;
    protobuf_put_length(&w->graph, GRAPH_TENSOR, t->used + (uint64_t)bytes);
    protobuf_put_raw(&w->graph, t->bytes, t->used);
    file_gaps_add(&w->gaps, w->graph.used, bytes);
}

/* ---- inputs and outputs ---- */

/* Puts an input or output of the graph: its name, type and shape are messages inside each other. */
static void put_value(struct onnx_writer *w, uint32_t field, const char *name, enum onnx_type type,
                      const struct onnx_axis *axes, int count)
{
    struct protobuf *part = &w->part, *node = &w->node;
    struct protobuf shape, tensor;
    protobuf_start(&shape, w->ctx, w->graph.err);
    protobuf_start(&tensor, w->ctx, w->graph.err);
    for (int i = 0; i < count; i++) {
        protobuf_clear(part);
        if (axes[i].name != NULL)
            protobuf_put_string(part, AXIS_NAME, axes[i].name);
        else
            protobuf_put_int(part, AXIS_SIZE, axes[i].size);
        protobuf_put_message(&shape, SHAPE_AXIS, part);
    }
    protobuf_put_int(&tensor, TENSOR_ELEMENT, type);
    protobuf_put_message(&tensor, TENSOR_SHAPE, &shape);
    protobuf_clear(part);
    protobuf_put_message(part, TYPE_TENSOR, &tensor);
    protobuf_clear(node);
    protobuf_put_string(node, VALUE_NAME, name);
    protobuf_put_message(node, VALUE_TYPE, part);
    protobuf_put_message(&w->graph, field, node);
    protobuf_free(&shape);
    protobuf_free(&tensor);
}

void onnx_input(struct onnx_writer *w, const char *name, enum onnx_type type, const struct onnx_axis *axes, int count)
{
    put_value(w, GRAPH_INPUT, name, type, axes, count);
}

void onnx_output(struct onnx_writer *w, const char *name, const struct onnx_axis *axes, int count)
{
    put_value(w, GRAPH_OUTPUT, name, ONNX_F32, axes, count);
}

/* ---- the file ---- */

#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* Puts everything of the model that comes before its graph. `graph` is the graph's length, gaps included. */
static void put_model(struct onnx_writer *w, const struct safetensors_text *texts, int64_t count, uint64_t graph)
{
    struct protobuf *model = &w->node, *part = &w->part;
    protobuf_clear(model);
    protobuf_put_int(model, MODEL_IR, IR_VERSION);
    protobuf_put_string(model, MODEL_PRODUCER, "libmoco");
    protobuf_put_string(model, MODEL_PRODUCER_VERSION,
                        STRING(MOCO_VERSION_MAJOR) "." STRING(MOCO_VERSION_MINOR) "." STRING(MOCO_VERSION_PATCH));
    protobuf_clear(part);
    protobuf_put_int(part, OPSET_VERSION, OPSET); /* the version of the ops that all programs know (domain "") */
    protobuf_put_message(model, MODEL_OPSET, part);
    for (int64_t i = 0; i < count; i++) {
        protobuf_clear(part);
        protobuf_put_string(part, TEXT_KEY, texts[i].key);
        protobuf_put_string(part, TEXT_VALUE, texts[i].value);
        protobuf_put_message(model, MODEL_TEXT, part);
    }
    protobuf_put_length(model, MODEL_GRAPH, graph);
}

moco_status onnx_begin(struct onnx_writer *w, struct file_save *save, const char *path, const char *name,
                       const struct safetensors_text *texts, int64_t text_count, struct err *err)
{
    protobuf_put_string(&w->graph, GRAPH_NAME, name);
    int64_t tensors = file_gaps_total(&w->gaps);
    TRY(w->gaps.status);
    if (tensors < 0 || tensors + (int64_t)w->graph.used > INT32_MAX)
        return err_set(err, MOCO_EINVAL,
                       "%.300s: its tensors have %lld bytes; an ONNX file, which is one message of protocol buffers, "
                       "holds 2 GiB",
                       path, (long long)tensors);
    put_model(w, texts, text_count, w->graph.used + (uint64_t)tensors);
    size_t front = w->node.used;
    protobuf_put_raw(&w->node, w->graph.bytes, w->graph.used);
    TRY(w->graph.status);
    TRY(w->node.status);
    for (int64_t i = 0; i < w->gaps.count; i++)
        w->gaps.gaps[i].at += front;
    return file_gaps_begin(&w->gaps, save, path, w->node.bytes, w->node.used, err);
}
