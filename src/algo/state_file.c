/* SPDX-License-Identifier: MIT
 *
 * state_file: see state_file.h. */
#include "algo/state_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algo/reals.h"

#define NAME_MAX 192

/* Room for the largest tensor, as doubles and as the file has it. */
struct room {
    double *values;
    void *bytes;
};

static moco_status room_take(struct room *room, struct ctx *ctx, const struct state *state, struct err *err)
{
    int64_t largest = 1;
    for (int i = 0; i < state->count; i++) {
        struct tensor_shape shape;
        state->shape(state->self, i, &shape);
        if (shape.count > largest)
            largest = shape.count;
    }
    room->values = mem_array(ctx, (size_t)largest, sizeof(double), err);
    room->bytes = mem_array(ctx, (size_t)largest, sizeof(double), err);
    return room->values != NULL && room->bytes != NULL ? MOCO_OK : MOCO_ENOMEM;
}

static void room_free(struct room *room, struct ctx *ctx)
{
    mem_free(ctx, room->values);
    mem_free(ctx, room->bytes);
}

/* ---- writing ---- */

static void describe(const struct state *state, int i, struct safetensors_tensor *tensor)
{
    struct tensor_shape shape;
    state->shape(state->self, i, &shape);
    *tensor = (struct safetensors_tensor){.name = state->name(state->self, i), .ndim = shape.ndim};
    tensor->dtype = shape.integer                         ? SAFETENSORS_I64
                    : state->real_bytes == sizeof(double) ? SAFETENSORS_F64
                                                          : SAFETENSORS_F32;
    for (int d = 0; d < shape.ndim; d++)
        tensor->shape[d] = shape.shape[d];
}

static moco_status write_tensor(struct safetensors_writer *writer, const struct state *state, int i,
                                const struct room *room, struct err *err)
{
    struct tensor_shape shape;
    state->shape(state->self, i, &shape);
    TRY(state->get(state->self, i, room->values, err));
    size_t count = (size_t)shape.count;
    for (size_t j = 0; j < count; j++)
        if (!isfinite(room->values[j]))
            return err_set(err, MOCO_ENUMERIC, "%s holds a number that is not finite; such a state is not saved",
                           state->name(state->self, i));
    if (shape.integer) {
        for (size_t j = 0; j < count; j++)
            ((int64_t *)room->bytes)[j] = (int64_t)room->values[j];
        return safetensors_write(writer, i, room->bytes, count * sizeof(int64_t), err);
    }
    reals_from_doubles(room->bytes, state->real_bytes, room->values, count);
    return safetensors_write(writer, i, room->bytes, count * state->real_bytes, err);
}

moco_status state_save(struct ctx *ctx, const char *path, const struct state *state,
                       const struct safetensors_metadata *metadata, struct err *err)
{
    struct room room = {0};
    struct safetensors_writer *writer = NULL;
    moco_status status = MOCO_ENOMEM;
    struct safetensors_tensor *tensors = mem_array(ctx, (size_t)state->count, sizeof *tensors, err);
    if (tensors == NULL)
        goto done;
    TRY_GOTO(status, room_take(&room, ctx, state, err), done);
    for (int i = 0; i < state->count; i++)
        describe(state, i, &tensors[i]);
    TRY_GOTO(status,
             safetensors_create(&writer, ctx, path, tensors, state->count, metadata->items, metadata->count,
                                SAFETENSORS_HASHES, err),
             done);
    for (int i = 0; i < state->count; i++)
        TRY_GOTO(status, write_tensor(writer, state, i, &room, err), done);
    status = safetensors_commit(writer, err);
    writer = NULL;
done:
    safetensors_abandon(writer);
    room_free(&room, ctx);
    mem_free(ctx, tensors);
    return status;
}

/* ---- reading ---- */

static const struct safetensors_tensor *find(const struct safetensors *file, const char *prefix,
                                             const struct state *state, int i)
{
    char name[NAME_MAX];
    snprintf(name, sizeof name, "%s%s", prefix, state->name(state->self, i));
    return safetensors_find(file, name);
}

static moco_status check_tensor(const struct safetensors *file, const char *prefix, int whole,
                                const struct state *state, int i, struct err *err)
{
    const char *path = safetensors_path(file), *name = state->name(state->self, i);
    const struct safetensors_tensor *tensor = find(file, prefix, state, i);
    if (tensor == NULL)
        return err_set(err, MOCO_EFORMAT, "%s: there is no tensor %s%s", path, prefix, name);
    struct safetensors_tensor wanted;
    describe(state, i, &wanted);
    int fits =
        tensor->dtype == wanted.dtype || (!whole && wanted.dtype != SAFETENSORS_I64 &&
                                          (tensor->dtype == SAFETENSORS_F32 || tensor->dtype == SAFETENSORS_F64));
    if (!fits)
        return err_set(err, MOCO_EFORMAT, "%s: tensor %s is %s; it must be %s", path, tensor->name,
                       safetensors_dtype_name(tensor->dtype), safetensors_dtype_name(wanted.dtype));
    int same = tensor->ndim == wanted.ndim;
    for (int d = 0; d < wanted.ndim && same; d++)
        same = tensor->shape[d] == wanted.shape[d];
    if (!same)
        return err_set(err, MOCO_EFORMAT, "%s: tensor %s has not the shape that the file's own configuration gives it",
                       path, tensor->name);
    return MOCO_OK;
}

moco_status state_check(const struct safetensors *file, const char *prefix, int whole, const struct state *state,
                        struct err *err)
{
    for (int i = 0; i < state->count; i++)
        TRY(check_tensor(file, prefix, whole, state, i, err));
    if (whole && safetensors_count(file) != state->count) /* all of ours are there, and names are unique */
        return err_set(err, MOCO_EFORMAT, "%s: it holds %lld tensors, and %d belong in it", safetensors_path(file),
                       (long long)safetensors_count(file), state->count);
    return MOCO_OK;
}

static moco_status read_tensor(const struct safetensors *file, const struct safetensors_tensor *tensor,
                               const struct state *state, int i, const struct room *room, struct err *err)
{
    struct tensor_shape shape;
    state->shape(state->self, i, &shape);
    TRY(safetensors_load(file, tensor, room->bytes, err));
    size_t count = (size_t)shape.count;
    if (tensor->dtype == SAFETENSORS_I64)
        for (size_t j = 0; j < count; j++) {
            int64_t value = ((const int64_t *)room->bytes)[j];
            if (value < 0 || value > INT64_C(1) << 53)
                return err_set(err, MOCO_EFORMAT, "%s: tensor %s holds %lld, which is no count", safetensors_path(file),
                               tensor->name, (long long)value);
            room->values[j] = (double)value;
        }
    else
        reals_to_doubles(room->values, room->bytes, safetensors_dtype_size(tensor->dtype), count);
    return state->set(state->self, i, room->values, err);
}

moco_status state_read(struct ctx *ctx, const struct safetensors *file, const char *prefix, const struct state *state,
                       struct err *err)
{
    struct room room = {0};
    moco_status status = room_take(&room, ctx, state, err);
    for (int i = 0; i < state->count && status == MOCO_OK; i++)
        status = read_tensor(file, find(file, prefix, state, i), state, i, &room, err);
    room_free(&room, ctx);
    return status;
}
