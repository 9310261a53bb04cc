/* SPDX-License-Identifier: MIT
 *
 * export_onnx_numbers: see export_onnx.h. Folding is done in double and rounded once. */
#include <math.h>
#include <string.h>

#include "algo/export/export_onnx.h"

/* Numbers of the encoder by what they are. */
static moco_status get(const struct encoder *e, enum state_kind kind, int index, double *values, struct err *err)
{
    for (int i = 0; i < e->graph->state_count; i++)
        if (e->graph->states[i].kind == kind && e->graph->states[i].index == index)
            return encoder_tensor_get(e, &e->numbers, i, values, err);
    return err_set(err, MOCO_EINVAL, "the network has no such tensor");
}

/* A bias of a layer or BN: zeros where there is none. */
static moco_status get_bias(const struct encoder *e, int param, double *values, int64_t count, struct err *err)
{
    if (param >= 0)
        return get(e, STATE_PARAM, param, values, err);
    memset(values, 0, (size_t)count * sizeof *values);
    return MOCO_OK;
}

/* BN as y = scale x + shift: into own[0..n) and own[n..2n). */
static moco_status get_affine(const struct encoder *e, const struct graph_op *bn, double *own, struct err *err)
{
    int64_t n = e->graph->stats[bn->stat].channels;
    double *scale = own, *shift = own + n, *mean = own + 2 * n, *var = own + 3 * n;
    TRY(get(e, STATE_PARAM, bn->param[0], scale, err));
    TRY(get_bias(e, bn->param[1], shift, n, err));
    TRY(get(e, STATE_MEAN, bn->stat, mean, err));
    TRY(get(e, STATE_VAR, bn->stat, var, err));
    for (int64_t c = 0; c < n; c++) {
        scale[c] /= sqrt(var[c] + bn->eps);
        shift[c] -= mean[c] * scale[c];
    }
    return MOCO_OK;
}

static moco_status layer_numbers(const struct encoder *e, const struct onnx_fill *fill, int64_t count, double *values,
                                 double *own, struct err *err)
{
    const struct graph_op *op = &e->graph->ops[fill->op];
    int64_t channels = e->graph->params[op->param[0]].shape[0], each = count / channels;
    if (fill->part == ONNX_WEIGHT)
        TRY(get(e, STATE_PARAM, op->param[0], values, err));
    else
        TRY(get_bias(e, op->param[1], values, count, err));
    if (fill->bn < 0)
        return MOCO_OK;
    TRY(get_affine(e, &e->graph->ops[fill->bn], own, err));
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = c * each; i < (c + 1) * each; i++)
            values[i] = values[i] * own[c] + (fill->part == ONNX_BIAS ? own[channels + c] : 0);
    return MOCO_OK;
}

static moco_status bn_numbers(const struct encoder *e, const struct onnx_fill *fill, int64_t count, double *values,
                              struct err *err)
{
    const struct graph_op *bn = &e->graph->ops[fill->op];
    switch (fill->part) {
    case ONNX_SCALE:
        return get(e, STATE_PARAM, bn->param[0], values, err);
    case ONNX_SHIFT:
        return get_bias(e, bn->param[1], values, count, err);
    case ONNX_MEAN:
        return get(e, STATE_MEAN, bn->stat, values, err);
    default:
        return get(e, STATE_VAR, bn->stat, values, err);
    }
}

/* (x / 255 - mean) / std of bytes x, as a BN without epsilon. */
static void input_numbers(const struct encoder *e, enum onnx_part part, double *values)
{
    for (int c = 0; c < 3; c++)
        values[c] = part == ONNX_SCALE  ? 1 / (255 * e->config.std[c])
                    : part == ONNX_MEAN ? 255 * e->config.mean[c]
                    : part == ONNX_VAR  ? 1
                                        : 0;
}

moco_status onnx_numbers(const struct encoder *e, const struct onnx_fill *fill, int64_t count, double *values,
                         double *own, struct err *err)
{
    const struct graph_op *op = &e->graph->ops[fill->op];
    if (op->kind == OP_INPUT)
        input_numbers(e, fill->part, values);
    else if (op->kind == OP_BN)
        TRY(bn_numbers(e, fill, count, values, err));
    else
        TRY(layer_numbers(e, fill, count, values, own, err));
    char *bytes = (char *)values;
    for (int64_t i = 0; i < count; i++) {
        float f32 = (float)values[i];
        if (!isfinite(f32))
            return err_set(err, MOCO_ENUMERIC, "%s%s holds a number that is not finite in f32", op->name,
                           fill->bn >= 0 ? " with its batch norm" : "");
        memcpy(bytes + i * (int64_t)sizeof f32, &f32, sizeof f32); /* never overtakes the double it comes from */
    }
    return MOCO_OK;
}
