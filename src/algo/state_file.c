/* SPDX-License-Identifier: MIT
 *
 * state_file: see state_file.h. */
#include "algo/state_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algo/each.h"
#include "algo/reals.h"
#include "num.h"

#define NAME_MAX 192

/* ---- numbers ---- */

/* As what a tensor crosses: f32 stays f32 where the device has no more; all others as doubles. */
static size_t crossing(const struct state *state, const struct tensor_shape *shape, enum safetensors_dtype dtype)
{
    return !shape->integer && dtype == SAFETENSORS_F32 && state->real_bytes == sizeof(float) ? sizeof(float)
                                                                                             : sizeof(double);
}

static size_t largest_of(const struct state *state)
{
    int64_t largest = 1;
    for (int i = 0; i < state->count; i++) {
        struct tensor_shape shape;
        state->shape(state->self, i, &shape);
        if (shape.count > largest)
            largest = shape.count;
    }
    return (size_t)largest;
}

static void *room_of(struct ctx *ctx, size_t count, size_t size, struct err *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        err_set(err, MOCO_ENOMEM, "no memory for %zu numbers", count);
        return NULL;
    }
    return mem_alloc(ctx, bytes < sizeof(double) ? sizeof(double) : bytes, err);
}

/* Where a tensor crosses as doubles, the file's own bytes stand in the same room: those of a tensor of `count` numbers
 * of `size` bytes at the end of its `count` doubles (read) or at the start (written), where converting them one after
 * another never overtakes them. */
void *state_room(struct ctx *ctx, const struct state *state, struct err *err)
{
    return room_of(ctx, largest_of(state), state->real_bytes, err);
}

/* Whole numbers beyond 2^53 are refused before they come here. */
static double number_at(const char *bytes, enum safetensors_dtype dtype, size_t i)
{
    float f32;
    double f64;
    int64_t whole;
    switch (dtype) {
    case SAFETENSORS_F32:
        memcpy(&f32, bytes + i * sizeof f32, sizeof f32);
        return (double)f32;
    case SAFETENSORS_F64:
        memcpy(&f64, bytes + i * sizeof f64, sizeof f64);
        return f64;
    default:
        memcpy(&whole, bytes + i * sizeof whole, sizeof whole);
        return (double)whole;
    }
}

static void widen(void *values, enum safetensors_dtype dtype, size_t count)
{
    const char *bytes = (const char *)values + count * (sizeof(double) - safetensors_dtype_size(dtype));
    for (size_t i = 0; i < count; i++) {
        double value = number_at(bytes, dtype, i);
        memcpy((char *)values + i * sizeof value, &value, sizeof value);
    }
}

static void narrow(void *values, enum safetensors_dtype dtype, size_t count)
{
    char *bytes = (char *)values;
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, bytes + i * sizeof value, sizeof value);
        float f32 = (float)value;
        int64_t whole = dtype == SAFETENSORS_I64 ? (int64_t)value : 0;
        if (dtype == SAFETENSORS_F32)
            memcpy(bytes + i * sizeof f32, &f32, sizeof f32);
        else if (dtype == SAFETENSORS_I64)
            memcpy(bytes + i * sizeof whole, &whole, sizeof whole);
    }
}

/* The number that a real of `real_bytes` cannot hold, not being finite in it, or a variance below 0. -1: none. Whether
 * rows of a queue have length 1 is not asked: a caller may set them, and a step takes them as they are. */
static int64_t first_bad(const struct tensor_shape *shape, size_t real_bytes, const void *values, size_t size)
{
    if (size == real_bytes && !shape->variance)
        return reals_first_bad(values, size, (size_t)shape->count);
    for (int64_t i = 0; i < shape->count; i++) {
        double value = real_at(values, size, (size_t)i);
        if (real_bytes == sizeof(float) && !shape->integer)
            value = (double)(float)value;
        if (!isfinite(value) || (shape->variance && value < 0))
            return i;
    }
    return -1;
}

#define WHERE 96 /* four numbers of 20 digits */

/* "[3, 0]" */
static void list_of(char *text, size_t room, int count, const int64_t *numbers)
{
    size_t used = (size_t)snprintf(text, room, "[");
    for (int d = 0; d < count; d++)
        used += (size_t)snprintf(text + used, room - used, "%s%lld", d > 0 ? ", " : "", (long long)numbers[d]);
    snprintf(text + used, room - used, "]");
}

/* "1e300 at [3, 0]" */
static const char *describe_bad(char text[WHERE + NUM_TEXT], const struct tensor_shape *shape, double value, int64_t i)
{
    char place[WHERE];
    int64_t index[4] = {0}, left = i;
    size_t used = num_format_double(text, value);
    for (int d = shape->ndim - 1; d >= 0; d--) {
        index[d] = left % shape->shape[d];
        left /= shape->shape[d];
    }
    list_of(place, sizeof place, shape->ndim, index);
    snprintf(text + used, WHERE + NUM_TEXT - used, " at %s", place);
    return text;
}

static const char *reason_of(const struct tensor_shape *shape, double value)
{
    return !isfinite(value)               ? "it is not finite"
           : shape->variance && value < 0 ? "a variance is never below 0"
                                          : "it is too large for this device's numbers";
}

/* ---- writing ---- */

void state_describe(const struct state *state, int i, struct safetensors_tensor *tensor)
{
    struct tensor_shape shape;
    state->shape(state->self, i, &shape);
    *tensor = (struct safetensors_tensor){.name = state->name(state->self, i), .ndim = shape.ndim};
    tensor->dtype = shape.integer                         ? SAFETENSORS_I64
                    : state->file_bytes == sizeof(double) ? SAFETENSORS_F64
                                                          : SAFETENSORS_F32;
    for (int d = 0; d < shape.ndim; d++)
        tensor->shape[d] = shape.shape[d];
}

moco_status state_fetch(const struct state *state, int i, void *values, size_t *bytes, struct err *err)
{
    struct tensor_shape shape;
    struct safetensors_tensor tensor;
    state->shape(state->self, i, &shape);
    state_describe(state, i, &tensor);
    size_t size = crossing(state, &shape, tensor.dtype);
    TRY(state->get(state->self, i, values, size, err));
    int64_t bad = first_bad(&shape, state->file_bytes, values, size);
    if (bad >= 0) {
        char text[WHERE + NUM_TEXT];
        double value = real_at(values, size, (size_t)bad);
        return err_set(err, MOCO_ENUMERIC, "%s holds %s: %s; such a state is not saved", tensor.name,
                       describe_bad(text, &shape, value, bad), reason_of(&shape, value));
    }
    if (size == sizeof(double))
        narrow(values, tensor.dtype, (size_t)shape.count);
    *bytes = (size_t)shape.count * safetensors_dtype_size(tensor.dtype);
    return MOCO_OK;
}

static moco_status write_tensor(struct safetensors_writer *writer, const struct state *state, int i, void *values,
                                struct err *err)
{
    size_t bytes = 0;
    TRY(state_fetch(state, i, values, &bytes, err));
    return safetensors_write(writer, i, values, bytes, err);
}

/* Writes all tensors of `state` and returns the writer, so that the caller can commit the file or abandon it. */
moco_status state_write(struct safetensors_writer **out, struct ctx *ctx, const char *path, const struct state *state,
                        const struct safetensors_metadata *metadata, struct err *err)
{
    void *values = NULL;
    struct safetensors_writer *writer = NULL;
    moco_status status = MOCO_ENOMEM;
    *out = NULL;
    struct safetensors_tensor *tensors = mem_array(ctx, (size_t)state->count, sizeof *tensors, err);
    if (tensors == NULL || (values = state_room(ctx, state, err)) == NULL)
        goto done;
    for (int i = 0; i < state->count; i++)
        state_describe(state, i, &tensors[i]);
    TRY_GOTO(status,
             safetensors_create(&writer, ctx, path, tensors, state->count, metadata->items, metadata->count,
                                SAFETENSORS_HASHES, err),
             done);
    for (int i = 0; i < state->count; i++)
        TRY_GOTO(status, write_tensor(writer, state, i, values, err), done);
    *out = writer;
    writer = NULL;
done:
    safetensors_abandon(writer);
    mem_free(ctx, values);
    mem_free(ctx, tensors);
    return status;
}

moco_status state_save(struct ctx *ctx, const char *path, const struct state *state,
                       const struct safetensors_metadata *metadata, struct err *err)
{
    struct safetensors_writer *writer = NULL;
    TRY(state_write(&writer, ctx, path, state, metadata, err));
    return safetensors_commit(writer, err);
}

/* ---- reading ---- */

static const struct safetensors_tensor *find(const struct safetensors *file, const char *prefix,
                                             const struct state *state, int i)
{
    char name[NAME_MAX];
    snprintf(name, sizeof name, "%s%s", prefix, state->name(state->self, i));
    return safetensors_find(file, name);
}

/* Compares one tensor of the file with what `state` expects: existence, type, shape. `whole`: its type must be
 * exactly the expected one; otherwise f32 and f64 convert. */
static moco_status check_tensor(const struct safetensors *file, const char *prefix, int whole,
                                const struct state *state, int i, struct err *err)
{
    const char *path = safetensors_path(file), *name = state->name(state->self, i);
    const struct safetensors_tensor *tensor = find(file, prefix, state, i);
    if (tensor == NULL)
        return err_set(err, MOCO_EFORMAT, "%s: there is no tensor %s%s", path, prefix, name);
    struct safetensors_tensor wanted;
    state_describe(state, i, &wanted);
    int fits =
        tensor->dtype == wanted.dtype || (!whole && wanted.dtype != SAFETENSORS_I64 &&
                                          (tensor->dtype == SAFETENSORS_F32 || tensor->dtype == SAFETENSORS_F64));
    if (!fits)
        return err_set(err, MOCO_EFORMAT, "%s: tensor %s is %s; it must be %s", path, tensor->name,
                       safetensors_dtype_name(tensor->dtype), safetensors_dtype_name(wanted.dtype));
    int same = tensor->ndim == wanted.ndim;
    for (int d = 0; d < wanted.ndim && same; d++)
        same = tensor->shape[d] == wanted.shape[d];
    if (same)
        return MOCO_OK;
    char here[WHERE], there[WHERE];
    list_of(here, sizeof here, tensor->ndim < 4 ? tensor->ndim : 4, tensor->shape);
    list_of(there, sizeof there, wanted.ndim, wanted.shape);
    return err_set(err, MOCO_EFORMAT, "%.200s: tensor %s is %s%s; the file's own configuration asks for %s", path,
                   tensor->name, here, tensor->ndim > 4 ? " and more" : "", there);
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

static moco_status check_counts(const struct safetensors *file, const struct safetensors_tensor *tensor,
                                const void *values, size_t count, struct err *err)
{
    for (size_t j = 0; j < count; j++) {
        int64_t value;
        memcpy(&value, (const char *)values + j * sizeof value, sizeof value);
        if (value < 0 || value > INT64_C(1) << 53)
            return err_set(err, MOCO_EFORMAT, "%s: tensor %s holds %lld, which is no count", safetensors_path(file),
                           tensor->name, (long long)value);
    }
    return MOCO_OK;
}

/* Reads the numbers to the end of `values`, so that they can be widened in place from the front, and checks every one
 * before it is set. */
moco_status state_read_tensor(const struct safetensors *file, const char *prefix, const struct state *state, int i,
                              void *values, struct err *err)
{
    const struct safetensors_tensor *tensor = find(file, prefix, state, i);
    struct tensor_shape shape;
    state->shape(state->self, i, &shape);
    size_t count = (size_t)shape.count, own = safetensors_dtype_size(tensor->dtype);
    size_t size = crossing(state, &shape, tensor->dtype);
    TRY(safetensors_load(file, tensor, (char *)values + count * (size - own), err));
    if (tensor->dtype == SAFETENSORS_I64)
        TRY(check_counts(file, tensor, values, count, err));
    if (size == sizeof(double))
        widen(values, tensor->dtype, count);
    int64_t bad = first_bad(&shape, state->real_bytes, values, size);
    if (bad >= 0) {
        char text[WHERE + NUM_TEXT];
        double value = real_at(values, size, (size_t)bad);
        return err_set(err, MOCO_EFORMAT, "%.200s: tensor %s holds %s: %s", safetensors_path(file), tensor->name,
                       describe_bad(text, &shape, value, bad), reason_of(&shape, value));
    }
    moco_status status = state->set(state->self, i, values, size, err);
    if (status == MOCO_EFORMAT)
        err_prefix(err, safetensors_path(file));
    return status;
}

struct reading {
    const struct safetensors *file;
    const char *prefix;
    const struct state *state;
    char *room;
    size_t part; /* bytes */
};

static moco_status read_one(void *self, int part, int i, struct err *err)
{
    const struct reading *r = self;
    return state_read_tensor(r->file, r->prefix, r->state, i, r->room + r->part * (size_t)part, err);
}

int state_is_f32(const struct safetensors *file, const char *prefix, const struct state *state)
{
    int wide = 0;
    for (int i = 0; i < state->count && !wide; i++)
        wide = find(file, prefix, state, i)->dtype == SAFETENSORS_F64;
    return !wide;
}

moco_status state_read(struct ctx *ctx, const struct safetensors *file, const char *prefix, const struct state *state,
                       struct err *err)
{
    struct reading reading = {.file = file, .prefix = prefix, .state = state};
    int wide = state->real_bytes != sizeof(float) || state->device.be == NULL || !state_is_f32(file, prefix, state);
    size_t largest = (largest_of(state) + 15) / 16 * 16;
    reading.part = largest * sizeof(float);
    reading.room = room_of(ctx, largest, sizeof(double), err);
    if (reading.room == NULL)
        return MOCO_ENOMEM;
    const struct each each = {state->device.be, state->device.dev, wide ? 1 : EACH_PARTS,
                              state->count,     &reading,          read_one};
    moco_status status = each_run(&each, NULL, err);
    mem_free(ctx, reading.room);
    return status;
}
