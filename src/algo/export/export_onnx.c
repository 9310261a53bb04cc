/* SPDX-License-Identifier: MIT
 *
 * export_onnx: writes an encoder as an ONNX file: the graph in evaluation mode, op by op. What a reader would get
 * wrong: the network's L2 normalisation is left out, because programs that run the file lack its op. "projection" is
 * therefore not normalised, as in moco_model_embed. Bytes are normalised by a BN node, because OpenCV 4.6 misreads a
 * constant of shape [1,3,1,1] beside a batch. */
#include "algo/export/export_onnx.h"

#include <stdio.h>
#include <string.h>

#include "algo/export/export.h"
#include "algo/file_config.h"
#include "format/onnx_write.h"

#define FEATURES "features"
#define PROJECTION "projection"
#define INPUT "images"
enum { NAME = 64 };

struct build {
    struct encoder *e;
    const struct graph *g;
    const moco_export_options *o;
    struct onnx_writer w;
    struct onnx_fill *fills; /* [count of tensors]: in the order of w.gaps */
    int64_t fill_room;
    int *folded;         /* [op]: for a layer the BN that is folded into it, for that BN the layer; else -1 */
    char (*names)[NAME]; /* [value] */
};

/* ---- tensors ---- */

/* Puts a tensor of an op and notes where its numbers come from. The op's node names it afterwards. */
static void put_tensor(struct build *b, const char *suffix, struct onnx_fill fill, const int64_t *shape, int ndim)
{
    char name[NAME + 16];
    snprintf(name, sizeof name, "%s.%s", b->g->ops[fill.op].name, suffix);
    if (b->w.gaps.count < b->fill_room)
        b->fills[b->w.gaps.count] = fill;
    onnx_tensor(&b->w, name, shape, ndim);
}

static void name_tensor(struct build *b, int op, const char *suffix)
{
    char name[NAME + 16];
    snprintf(name, sizeof name, "%s.%s", b->g->ops[op].name, suffix);
    onnx_node_input(&b->w, name);
}

/* ---- nodes ---- */

/* Puts a convolution or linear layer. With a BN folded in, its output is the BN's, and it has a bias in any case. */
static void put_layer(struct build *b, int i)
{
    const struct graph_op *op = &b->g->ops[i];
    const struct graph_param *weight = &b->g->params[op->param[0]];
    int conv = op->kind == OP_CONV, bn = b->folded[i], bias = bn >= 0 || op->param[1] >= 0;
    const int64_t kernel[2] = {op->kernel, op->kernel}, stride[2] = {op->stride, op->stride},
                  pad[4] = {op->pad, op->pad, op->pad, op->pad};
    put_tensor(b, "weight", (struct onnx_fill){ONNX_WEIGHT, i, bn}, weight->shape, weight->ndim);
    if (bias)
        put_tensor(b, "bias", (struct onnx_fill){ONNX_BIAS, i, bn}, weight->shape, 1);
    onnx_node(&b->w, conv ? "Conv" : "Gemm", op->name, b->names[bn >= 0 ? b->g->ops[bn].out : op->out]);
    onnx_node_input(&b->w, b->names[op->in[0]]);
    name_tensor(b, i, "weight");
    if (bias)
        name_tensor(b, i, "bias");
    if (conv) {
        onnx_node_ints(&b->w, "kernel_shape", kernel, 2);
        onnx_node_ints(&b->w, "strides", stride, 2);
        onnx_node_ints(&b->w, "pads", pad, 4);
    } else {
        onnx_node_int(&b->w, "transB", 1);
    }
    onnx_node_end(&b->w);
}

/* Puts y = (x - mean) / sqrt(var + epsilon) * scale + shift, where x is the value `in`. */
static void put_bn(struct build *b, int i, int64_t channels, const char *in, const char *out, double epsilon)
{
    static const char *const suffixes[] = {"weight", "bias", "running_mean", "running_var"};
    for (int part = 0; part < 4; part++)
        put_tensor(b, suffixes[part], (struct onnx_fill){(enum onnx_part)(ONNX_SCALE + part), i, -1}, &channels, 1);
    onnx_node(&b->w, "BatchNormalization", b->g->ops[i].name, out);
    onnx_node_input(&b->w, in);
    for (int part = 0; part < 4; part++)
        name_tensor(b, i, suffixes[part]);
    onnx_node_float(&b->w, "epsilon", (float)epsilon);
    onnx_node_end(&b->w);
}

static void put_simple(struct build *b, const char *kind, const char *name, const char *in, const char *out)
{
    onnx_node(&b->w, kind, name, out);
    onnx_node_input(&b->w, in);
    onnx_node_end(&b->w);
}

static void put_input(struct build *b, int i)
{
    static const struct onnx_axis f32[] = {{"batch", 0}, {NULL, 3}, {"height", 0}, {"width", 0}},
                                  u8[] = {{"batch", 0}, {"height", 0}, {"width", 0}, {NULL, 3}};
    static const int64_t to_planes[] = {0, 3, 1, 2};
    int bytes = b->o->onnx_input == MOCO_EXPORT_INPUT_U8;
    onnx_input(&b->w, INPUT, bytes ? ONNX_U8 : ONNX_F32, bytes ? u8 : f32, 4);
    if (!bytes)
        return;
    onnx_node(&b->w, "Cast", "input.cast", "input.cast");
    onnx_node_input(&b->w, INPUT);
    onnx_node_int(&b->w, "to", ONNX_F32);
    onnx_node_end(&b->w);
    onnx_node(&b->w, "Transpose", "input.planes", "input.planes");
    onnx_node_input(&b->w, "input.cast");
    onnx_node_ints(&b->w, "perm", to_planes, 4);
    onnx_node_end(&b->w);
    put_bn(b, i, 3, "input.planes", b->names[b->g->ops[i].out], 0);
}

static void put_pool(struct build *b, const struct graph_op *op)
{
    const int64_t kernel[2] = {op->kernel, op->kernel}, stride[2] = {op->stride, op->stride},
                  pad[4] = {op->pad, op->pad, op->pad, op->pad};
    onnx_node(&b->w, "MaxPool", op->name, b->names[op->out]);
    onnx_node_input(&b->w, b->names[op->in[0]]);
    onnx_node_ints(&b->w, "kernel_shape", kernel, 2);
    onnx_node_ints(&b->w, "strides", stride, 2);
    onnx_node_ints(&b->w, "pads", pad, 4);
    onnx_node_end(&b->w);
}

static void put_gap(struct build *b, const struct graph_op *op)
{
    char maps[NAME + 16];
    snprintf(maps, sizeof maps, "%s.maps", op->name);
    put_simple(b, "GlobalAveragePool", maps, b->names[op->in[0]], maps);
    onnx_node(&b->w, "Flatten", op->name, b->names[op->out]);
    onnx_node_input(&b->w, maps);
    onnx_node_int(&b->w, "axis", 1);
    onnx_node_end(&b->w);
}

/* Puts the nodes of one op. A BN that is folded into the layer before it has none. */
static moco_status put_op(struct build *b, int i, struct err *err)
{
    const struct graph_op *op = &b->g->ops[i];
    const char *in = op->in[0] >= 0 ? b->names[op->in[0]] : "", *out = b->names[op->out];
    switch (op->kind) {
    case OP_INPUT:
        put_input(b, i);
        break;
    case OP_CONV:
    case OP_LINEAR:
        put_layer(b, i);
        break;
    case OP_BN:
        if (b->folded[i] < 0)
            put_bn(b, i, b->g->stats[op->stat].channels, in, out, op->eps);
        break;
    case OP_RELU:
        put_simple(b, "Relu", op->name, in, out);
        break;
    case OP_ADD:
        onnx_node(&b->w, "Add", op->name, out);
        onnx_node_input(&b->w, in);
        onnx_node_input(&b->w, b->names[op->in[1]]);
        onnx_node_end(&b->w);
        break;
    case OP_MAXPOOL:
        put_pool(b, op);
        break;
    case OP_GAP:
        put_gap(b, op);
        break;
    default: /* the L2 norm: put_graph ends before it */
        return err_set(err, MOCO_ENOTSUP, "ONNX: nothing here writes %s, an op of kind %s", op->name,
                       graph_kind_name(op->kind));
    }
    return MOCO_OK;
}

/* ---- the graph ---- */

/* Finds the BNs that are folded into the layer before them: nothing else may read that layer's output. */
static void fold(struct build *b)
{
    for (int i = 0; i < b->g->op_count; i++)
        b->folded[i] = -1;
    for (int i = 0; i < b->g->op_count && !b->o->separate_bn; i++) {
        const struct graph_op *op = &b->g->ops[i];
        if (op->kind != OP_BN)
            continue;
        const struct graph_value *value = &b->g->values[op->in[0]];
        enum op_kind before = b->g->ops[value->producer].kind;
        if ((before == OP_CONV || before == OP_LINEAR) && value->readers == 1) {
            b->folded[i] = value->producer;
            b->folded[value->producer] = i;
        }
    }
}

static void name_values(struct build *b)
{
    for (int v = 0; v < b->g->value_count; v++)
        snprintf(b->names[v], NAME, "%s", b->g->ops[b->g->values[v].producer].name);
    if (b->o->onnx_input == MOCO_EXPORT_INPUT_F32)
        strcpy(b->names[b->g->input], INPUT);
    strcpy(b->names[b->g->features], FEATURES);
    strcpy(b->names[b->g->projection], PROJECTION);
}

static void put_output(struct build *b, const char *name, int value)
{
    const struct onnx_axis axes[] = {{"batch", 0}, {NULL, b->g->values[value].c}};
    onnx_output(&b->w, name, axes, 2);
}

static moco_status put_graph(struct build *b, struct err *err)
{
    int last = b->g->values[b->o->head ? b->g->projection : b->g->features].producer;
    fold(b);
    name_values(b);
    for (int i = 0; i <= last; i++)
        TRY(put_op(b, i, err));
    put_output(b, FEATURES, b->g->features);
    if (b->o->head)
        put_output(b, PROJECTION, b->g->projection);
    return MOCO_OK;
}

/* ---- the file ---- */

static moco_status put_texts(struct safetensors_metadata *m, const struct encoder *e, struct err *err)
{
    TRY(config_put_model(m, &e->config, err));
    return config_put_recipe(m, &e->recipe, err);
}

static moco_status begin(struct build *b, struct file_save *save, const char *path, struct err *err)
{
    struct safetensors_metadata texts;
    safetensors_metadata_init(&texts, b->e->ctx);
    moco_status status = put_texts(&texts, b->e, err);
    if (status == MOCO_OK)
        status = onnx_begin(&b->w, save, path, net_arch_name(b->e->config.depth), texts.items, texts.count, err);
    safetensors_metadata_free(&texts);
    return status;
}

/* Fills the gaps of all tensors in order. The memory is that of the largest tensor, not of the network. */
static moco_status write_numbers(struct build *b, struct file_save *save, struct err *err)
{
    int64_t channels = 3;
    for (int i = 0; i < b->g->stat_count; i++)
        if (b->g->stats[i].channels > channels)
            channels = b->g->stats[i].channels;
    size_t room = 1;
    for (int64_t i = 0; i < b->w.gaps.count; i++) {
        size_t bytes = onnx_room(b->e, &b->fills[i], b->w.gaps.gaps[i].size / (int64_t)sizeof(float));
        room = bytes > room ? bytes : room;
    }
    void *values = mem_alloc(b->e->ctx, room, err);
    double *own = mem_array(b->e->ctx, (size_t)channels, 4 * sizeof *own, err);
    moco_status status = values != NULL && own != NULL ? MOCO_OK : MOCO_ENOMEM;
    for (int64_t i = 0; i < b->w.gaps.count && status == MOCO_OK; i++) {
        const struct file_gap *gap = &b->w.gaps.gaps[i];
        status = onnx_numbers(b->e, &b->fills[i], gap->size / (int64_t)sizeof(float), values, own, err);
        if (status == MOCO_OK)
            status = file_save_write_at(save, gap->offset, values, (size_t)gap->size, err);
    }
    mem_free(b->e->ctx, own);
    mem_free(b->e->ctx, values);
    return status;
}

static moco_status write_file(struct build *b, const char *path, struct err *err)
{
    struct file_save save;
    TRY(put_graph(b, err));
    TRY(begin(b, &save, path, err));
    moco_status status = write_numbers(b, &save, err);
    if (status == MOCO_OK)
        return file_save_commit(&save, err);
    file_save_abandon(&save);
    return status;
}

moco_status export_onnx(struct encoder *encoder, const char *path, const moco_export_options *o, struct err *err)
{
    const struct graph *g = encoder->graph;
    struct build b = {.e = encoder, .g = g, .o = o};
    b.fill_room = 4 + 4 * (int64_t)g->op_count;
    onnx_start(&b.w, encoder->ctx, err);
    b.fills = mem_array(encoder->ctx, (size_t)b.fill_room, sizeof *b.fills, err);
    b.folded = mem_array(encoder->ctx, (size_t)g->op_count, sizeof *b.folded, err);
    b.names = mem_array(encoder->ctx, (size_t)g->value_count, sizeof *b.names, err);
    moco_status status = MOCO_ENOMEM;
    if (b.fills != NULL && b.folded != NULL && b.names != NULL)
        status = write_file(&b, path, err);
    onnx_free(&b.w);
    mem_free(encoder->ctx, b.fills);
    mem_free(encoder->ctx, b.folded);
    mem_free(encoder->ctx, b.names);
    return status;
}
