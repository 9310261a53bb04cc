/* SPDX-License-Identifier: MIT
 *
 * moco/weights.h: a file of weights of any program behind a handle. Of the code of all public headers, only this and
 * import.c use the reader of pickles (tests/abi/test_small_core.sh): a program that opens only files of libmoco
 * never runs it. */
#include "moco/weights.h"

#include <string.h>

#include "api/objects.h"
#include "format/weights.h"
#include "format/weights_copy.h"
#include "utf8.h"

_Static_assert(sizeof(moco_weights_info) % 8 == 0, "struct sizes are multiples of 8");

static void weights_destroy(struct handle *handle)
{
    weights_close(((moco_weights *)handle)->weights);
}

void moco_weights_info_init_sized(moco_weights_info *info, size_t size)
{
    moco_weights_info defaults = {0};
    struct_init(info, size, &defaults, sizeof defaults);
}

/* ---- open and free ---- */

static moco_status open_file(moco_weights **out, moco_context *context, const char *path, struct err *err)
{
    TRY(api_not_null(out, "weights", err));
    *out = NULL;
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    TRY(api_not_null(path, "path", err));
    moco_weights *w = handle_new(context->handle.ctx, sizeof *w, HANDLE_WEIGHTS, weights_destroy, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    moco_status status = weights_open(&w->weights, context->handle.ctx, path, err);
    if (status != MOCO_OK) {
        handle_free(w, HANDLE_WEIGHTS);
        return status;
    }
    *out = w;
    return MOCO_OK;
}

moco_status moco_weights_open(moco_weights **weights, moco_context *context, const char *path)
{
    struct err err = {0};
    return api_return(open_file(weights, context, path, &err), "moco_weights_open", &err);
}

void moco_weights_free(moco_weights *weights)
{
    handle_free(weights, HANDLE_WEIGHTS);
}

/* ---- what it holds ---- */

const char *moco_weights_format(const moco_weights *weights)
{
    return handle_valid(weights, HANDLE_WEIGHTS) ? weights_format(weights->weights) : "";
}

int64_t moco_weights_count(const moco_weights *weights)
{
    return handle_valid(weights, HANDLE_WEIGHTS) ? weights_count(weights->weights) : 0;
}

static moco_status check_index(const moco_weights *w, int64_t index, struct err *err)
{
    TRY(handle_check(w, HANDLE_WEIGHTS, "weights", err));
    int64_t count = weights_count(w->weights);
    if (index >= 0 && index < count)
        return MOCO_OK;
    return err_set(err, MOCO_ENOTFOUND, "index is %lld; the file has %lld tensors", (long long)index, (long long)count);
}

static moco_status at(const moco_weights *w, int64_t index, moco_weights_info *info, struct err *err)
{
    struct weights_tensor t;
    TRY(check_index(w, index, err));
    TRY(struct_check(info, "info", err));
    weights_at(w->weights, index, &t);
    moco_weights_info filled = {.ndim = t.ndim,
                                .name = t.name,
                                .dtype = safetensors_dtype_name(t.dtype),
                                .count = t.count,
                                .verified = t.proved};
    memcpy(filled.shape, t.shape, sizeof t.shape);
    memcpy(filled.stride, t.stride, sizeof t.stride);
    struct_write(info, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_weights_at(const moco_weights *weights, int64_t index, moco_weights_info *info)
{
    struct err err = {0};
    return api_return(at(weights, index, info, &err), "moco_weights_at", &err);
}

static moco_status find(const moco_weights *w, const char *name, int64_t *index, struct err *err)
{
    TRY(handle_check(w, HANDLE_WEIGHTS, "weights", err));
    TRY(api_not_null(name, "name", err));
    TRY(api_not_null(index, "index", err));
    return weights_find(w->weights, name, index, err);
}

moco_status moco_weights_find(const moco_weights *weights, const char *name, int64_t *index)
{
    struct err err = {0};
    return api_return(find(weights, name, index, &err), "moco_weights_find", &err);
}

/* ---- numbers ---- */

static const struct {
    moco_dtype dtype;
    enum weights_number number;
} numbers[] = {{MOCO_U8, WEIGHTS_U8},
               {MOCO_I64, WEIGHTS_I64},
               {MOCO_BF16, WEIGHTS_BF16},
               {MOCO_F32, WEIGHTS_F32},
               {MOCO_F64, WEIGHTS_F64}};

static moco_dtype narrowest(enum safetensors_dtype dtype)
{
    switch (dtype) {
    case SAFETENSORS_F64:
        return MOCO_F64;
    case SAFETENSORS_BF16:
        return MOCO_BF16;
    case SAFETENSORS_F32:
    case SAFETENSORS_F16:
        return MOCO_F32;
    case SAFETENSORS_U8:
    case SAFETENSORS_BOOL:
        return MOCO_U8;
    default:
        return MOCO_I64;
    }
}

/* Is the caller's tensor sane, and of this shape? tensor_check refuses dimensions of 0, which a file's tensor may have.
 */
static moco_status check_tensor(const moco_tensor *tensor, const struct weights_tensor *t, struct err *err)
{
    int64_t count;
    char given[200], wanted[200];
    TRY(struct_check(tensor, "tensor", err));
    int same = tensor->struct_size >= sizeof *tensor && tensor->ndim == t->ndim &&
               memcmp(tensor->shape, t->shape, (size_t)t->ndim * sizeof t->shape[0]) == 0;
    if (!same || t->count > 0)
        TRY(tensor_check(tensor, "tensor", 0, &count, err));
    if (same)
        return MOCO_OK;
    tensor_shape_text(given, sizeof given, tensor->shape, tensor->ndim);
    tensor_shape_text(wanted, sizeof wanted, t->shape, t->ndim);
    return err_set(err, MOCO_ESHAPE, "%.100s has shape %s; tensor has %s", t->name, wanted, given);
}

static moco_status read_tensor(moco_weights *w, int64_t index, moco_tensor *tensor, struct err *err)
{
    struct weights_tensor t;
    int64_t count;
    TRY(check_index(w, index, err));
    weights_at(w->weights, index, &t);
    TRY(api_not_null(tensor, "tensor", err));
    if (tensor->data == NULL) {
        TRY(tensor_check(tensor, "tensor", 1, &count, err));
        tensor->dtype = narrowest(t.dtype);
        tensor->ndim = t.ndim;
        memcpy(tensor->shape, t.shape, sizeof t.shape);
        return MOCO_OK;
    }
    TRY(check_tensor(tensor, &t, err));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if ((int32_t)numbers[i].dtype == tensor->dtype && weights_converts(t.dtype, numbers[i].number))
            return weights_read(w->weights, index, numbers[i].number, tensor->data, err);
    return err_set(err, MOCO_ESHAPE,
                   "%.100s is %s in the file, which does not convert to dtype %d; f32 and f64 always do", t.name,
                   safetensors_dtype_name(t.dtype), (int)tensor->dtype);
}

moco_status moco_weights_read(moco_weights *weights, int64_t index, moco_tensor *tensor)
{
    struct err err = {0};
    return api_return(read_tensor(weights, index, tensor, &err), "moco_weights_read", &err);
}

/* ---- texts ---- */

static moco_status read_text(const moco_weights *w, const char *key, char *text, size_t size, struct err *err)
{
    TRY(handle_check(w, HANDLE_WEIGHTS, "weights", err));
    TRY(api_not_null(key, "key", err));
    TRY(api_not_null(text, "text", err));
    return weights_text(w->weights, key, text, size, err);
}

moco_status moco_weights_text(const moco_weights *weights, const char *key, char *text, size_t size)
{
    struct err err = {0};
    return api_return(read_text(weights, key, text, size, &err), "moco_weights_text", &err);
}

const char *moco_weights_key(const moco_weights *weights, int64_t index)
{
    return handle_valid(weights, HANDLE_WEIGHTS) && index >= 0 ? weights_key(weights->weights, index) : NULL;
}

const char *moco_weights_note(const moco_weights *weights, int64_t index)
{
    return handle_valid(weights, HANDLE_WEIGHTS) && index >= 0 ? weights_note(weights->weights, index) : NULL;
}

/* ---- as another container ---- */

static moco_status save(moco_weights *w, const char *path, struct err *err)
{
    TRY(handle_check(w, HANDLE_WEIGHTS, "weights", err));
    TRY(api_not_null(path, "path", err));
    if (utf8_ends_in(path, ".safetensors"))
        return weights_copy_safetensors(w->weights, path, err);
    if (utf8_ends_in(path, ".pth") || utf8_ends_in(path, ".pt") || utf8_ends_in(path, ".pth.tar") ||
        utf8_ends_in(path, ".ckpt"))
        return weights_copy_torch(w->weights, path, err);
    return err_set(err, MOCO_EINVAL, "%.300s: the name must end in .safetensors, .pth, .pt, .pth.tar or .ckpt", path);
}

moco_status moco_weights_save(moco_weights *weights, const char *path)
{
    struct err err = {0};
    return api_return(save(weights, path, &err), "moco_weights_save", &err);
}
