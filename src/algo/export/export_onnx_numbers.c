/* SPDX-License-Identifier: MIT
 *
 * export_onnx_numbers: see export_onnx.h. Folding is done in double and rounded once. */
#include <math.h>
#include <string.h>

#include "algo/export/export_onnx.h"
#include "num.h"

/* Reads numbers of the encoder by the kind of their tensor and its index. */
static moco_status get(const struct encoder *e, enum state_kind kind, int index, void *values, size_t size,
                       struct err *err)
{
    for (int i = 0; i < e->graph->state_count; i++)
        if (e->graph->states[i].kind == kind && e->graph->states[i].index == index)
            return encoder_tensor_get(e, &e->numbers, i, values, size, err);
    return err_set(err, MOCO_EINVAL, "the network has no such tensor");
}

/* Reads the bias of a layer or BN, or zeros if it has none. */
static moco_status get_bias(const struct encoder *e, int param, double *values, int64_t count, struct err *err)
{
    if (param >= 0)
        return get(e, STATE_PARAM, param, values, sizeof *values, err);
    memset(values, 0, (size_t)count * sizeof *values);
    return MOCO_OK;
}

/* Writes a BN as y = scale x + shift: scale into own[0..n), shift into own[n..2n). */
static moco_status get_affine(const struct encoder *e, const struct graph_op *bn, double *own, struct err *err)
{
    int64_t n = e->graph->stats[bn->stat].channels;
    double *scale = own, *shift = own + n, *mean = own + 2 * n, *var = own + 3 * n;
    TRY(get(e, STATE_PARAM, bn->param[0], scale, sizeof *own, err));
    TRY(get_bias(e, bn->param[1], shift, n, err));
    TRY(get(e, STATE_MEAN, bn->stat, mean, sizeof *own, err));
    TRY(get(e, STATE_VAR, bn->stat, var, sizeof *own, err));
    for (int64_t c = 0; c < n; c++) {
        scale[c] /= sqrt(var[c] + bn->eps);
        shift[c] -= mean[c] * scale[c];
    }
    return MOCO_OK;
}

/* Reads a layer's weights and multiplies them by the scale of the folded BN (own NULL: there is none). Numbers have the
 * device's size: f32 is already the file's type, and a network need not be converted. */
static moco_status weight_numbers(const struct encoder *e, const struct graph_op *op, int64_t count, void *values,
                                  const double *own, struct err *err)
{
    int64_t channels = e->graph->params[op->param[0]].shape[0], each = count / channels;
    TRY(get(e, STATE_PARAM, op->param[0], values, e->real_bytes, err));
    for (int64_t c = 0; c < channels && own != NULL; c++)
        if (e->real_bytes == sizeof(float))
            for (float *v = (float *)values + c * each, *end = v + each; v < end; v++)
                *v = (float)((double)*v * own[c]);
        else
            for (double *v = (double *)values + c * each, *end = v + each; v < end; v++)
                *v *= own[c];
    return MOCO_OK;
}

/* Reads a layer's biases and applies the folded BN to them. */
static moco_status bias_numbers(const struct encoder *e, const struct graph_op *op, int64_t count, double *values,
                                const double *own, struct err *err)
{
    TRY(get_bias(e, op->param[1], values, count, err));
    for (int64_t c = 0; c < count && own != NULL; c++)
        values[c] = values[c] * own[c] + own[count + c];
    return MOCO_OK;
}

static moco_status bn_numbers(const struct encoder *e, const struct onnx_fill *fill, int64_t count, double *values,
                              struct err *err)
{
    const struct graph_op *bn = &e->graph->ops[fill->op];
    switch (fill->part) {
    case ONNX_SCALE:
        return get(e, STATE_PARAM, bn->param[0], values, sizeof *values, err);
    case ONNX_SHIFT:
        return get_bias(e, bn->param[1], values, count, err);
    case ONNX_MEAN:
        return get(e, STATE_MEAN, bn->stat, values, sizeof *values, err);
    default:
        return get(e, STATE_VAR, bn->stat, values, sizeof *values, err);
    }
}

/* Writes (x / 255 - mean) / std, for bytes x, as the numbers of a BN without epsilon. */
static void input_numbers(const struct encoder *e, enum onnx_part part, double *values)
{
    for (int c = 0; c < 3; c++)
        values[c] = part == ONNX_SCALE  ? 1 / (255 * e->config.std[c])
                    : part == ONNX_MEAN ? 255 * e->config.mean[c]
                    : part == ONNX_VAR  ? 1
                                        : 0;
}

/* Returns the size of a number before it becomes f32: weights of layers have the device's, everything else is
 * double. */
static size_t number_size(const struct encoder *e, const struct onnx_fill *fill)
{
    return e->graph->ops[fill->op].kind != OP_INPUT && fill->part == ONNX_WEIGHT ? e->real_bytes : sizeof(double);
}

size_t onnx_room(const struct encoder *e, const struct onnx_fill *fill, int64_t count)
{
    return number_size(e, fill) * (size_t)count;
}

moco_status onnx_numbers(const struct encoder *e, const struct onnx_fill *fill, int64_t count, void *values,
                         double *own, struct err *err)
{
    const struct graph_op *op = &e->graph->ops[fill->op];
    char *bytes = values;
    if (fill->bn >= 0)
        TRY(get_affine(e, &e->graph->ops[fill->bn], own, err));
    else
        own = NULL;
    if (op->kind == OP_INPUT)
        input_numbers(e, fill->part, values);
    else if (op->kind == OP_BN)
        TRY(bn_numbers(e, fill, count, values, err));
    else if (fill->part == ONNX_WEIGHT)
        TRY(weight_numbers(e, op, count, values, own, err));
    else
        TRY(bias_numbers(e, op, count, values, own, err));
    for (int64_t i = 0; i < count && number_size(e, fill) == sizeof(double); i++) {
        double value;
        memcpy(&value, bytes + i * (int64_t)sizeof value, sizeof value);
        float f32 = (float)value;
        memcpy(bytes + i * (int64_t)sizeof f32, &f32, sizeof f32); /* its double was read already */
    }
    if (num_not_finite_f32(values, (size_t)count) >= 0)
        return err_set(err, MOCO_ENUMERIC, "%s%s holds a number that is not finite in f32", op->name,
                       fill->bn >= 0 ? " with its batch norm" : "");
    return MOCO_OK;
}
