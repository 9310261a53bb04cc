/* SPDX-License-Identifier: MIT
 *
 * tensor: converts between a caller's tensor and one of ours. All numbers are converted through doubles, which hold
 * f32 and every count exactly, so that one way serves any two types. */
#include <stdio.h>
#include <string.h>

#include "api/objects.h"

void tensor_describe(moco_tensor *tensor, const struct tensor_shape *shape, size_t real_bytes)
{
    tensor->dtype = shape->integer ? MOCO_I64 : real_bytes == sizeof(double) ? MOCO_F64 : MOCO_F32;
    tensor->ndim = shape->ndim;
    memset(tensor->shape, 0, sizeof tensor->shape);
    memcpy(tensor->shape, shape->shape, (size_t)shape->ndim * sizeof shape->shape[0]);
}

void tensor_shape_text(char *text, size_t size, const int64_t *shape, int ndim)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < ndim && used < size; d++)
        used += (size_t)snprintf(text + used, size - used, d == 0 ? "%lld" : ",%lld", (long long)shape[d]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

moco_status tensor_match(const moco_tensor *tensor, const char *name, const struct tensor_shape *shape, struct err *err)
{
    int real = tensor->dtype == MOCO_F32 || tensor->dtype == MOCO_F64;
    if (!real && !(shape->integer && tensor->dtype == MOCO_I64))
        return err_set(err, MOCO_ESHAPE, "%s has dtype %d; it must be f32 or f64%s", name, (int)tensor->dtype,
                       shape->integer ? " or i64" : "");
    if (tensor->ndim == shape->ndim &&
        memcmp(tensor->shape, shape->shape, (size_t)shape->ndim * sizeof shape->shape[0]) == 0)
        return MOCO_OK;
    char given[200], wanted[100];
    tensor_shape_text(given, sizeof given, tensor->shape, tensor->ndim);
    tensor_shape_text(wanted, sizeof wanted, shape->shape, shape->ndim);
    return err_set(err, MOCO_ESHAPE, "%s has shape %s; it must be %s", name, given, wanted);
}

void tensor_fill(const moco_tensor *tensor, const double *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (tensor->dtype == MOCO_F64)
            ((double *)tensor->data)[i] = values[i];
        else if (tensor->dtype == MOCO_F32)
            ((float *)tensor->data)[i] = (float)values[i];
        else
            ((int64_t *)tensor->data)[i] = (int64_t)values[i];
}

void tensor_values(double *values, const moco_tensor *tensor, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (tensor->dtype == MOCO_F64)
            values[i] = ((const double *)tensor->data)[i];
        else if (tensor->dtype == MOCO_F32)
            values[i] = (double)((const float *)tensor->data)[i];
        else
            values[i] = (double)((const int64_t *)tensor->data)[i];
}

moco_status tensor_get(struct ctx *ctx, moco_tensor *tensor, const char *name, const struct tensor_shape *shape,
                       size_t real_bytes, const struct tensor_move *move, struct err *err)
{
    if (tensor->data == NULL) {
        tensor_describe(tensor, shape, real_bytes);
        return MOCO_OK;
    }
    TRY(tensor_match(tensor, name, shape, err));
    double *values = mem_array(ctx, (size_t)shape->count, sizeof *values, err);
    if (values == NULL)
        return MOCO_ENOMEM;
    moco_status status = move->move(move->self, move->index, values, err);
    if (status == MOCO_OK)
        tensor_fill(tensor, values, shape->count);
    mem_free(ctx, values);
    return status;
}

moco_status tensor_set(struct ctx *ctx, const moco_tensor *tensor, const char *name, const struct tensor_shape *shape,
                       const struct tensor_move *move, struct err *err)
{
    TRY(tensor_match(tensor, name, shape, err));
    double *values = mem_array(ctx, (size_t)shape->count, sizeof *values, err);
    if (values == NULL)
        return MOCO_ENOMEM;
    tensor_values(values, tensor, shape->count);
    moco_status status = move->move(move->self, move->index, values, err);
    mem_free(ctx, values);
    return status;
}
