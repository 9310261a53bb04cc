/* SPDX-License-Identifier: MIT
 *
 * handle: see handle.h. The last error sentence belongs to a thread, not to a handle. Its address also identifies
 * the thread: a handle stores it while that thread's call is running, and no two living threads have the same. */
#include "api/handle.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define TAG_LIVE UINT64_C(0x6d6f636f68616e00) /* + kind */
#define TAG_DEAD UINT64_C(0xdeadbeef6d6f636f)
#define STRUCT_MAX 65536

static _Thread_local char last_error[640];

const char *moco_error(void)
{
    return last_error;
}

moco_status api_return(moco_status status, const char *function, struct err *err)
{
    if (status == MOCO_OK)
        return status;
    const char *text = err->status != MOCO_OK ? err->text : moco_status_text(status);
    snprintf(last_error, sizeof last_error, "%s: %s", function, text);
    return status;
}

moco_status api_not_null(const void *pointer, const char *name, struct err *err)
{
    return pointer != NULL ? MOCO_OK : err_set(err, MOCO_EINVAL, "%s is NULL", name);
}

static const char *kind_name(enum handle_kind kind)
{
    static const char *const names[] = {"handle",       "moco_context", "moco_device", "moco_model",   "moco_queue",
                                        "moco_trainer", "moco_dataset", "moco_loader", "moco_knn",     "moco_image",
                                        "moco_augment", "moco_probe",   "moco_bank",   "moco_weights", "moco_encoder",
                                        "moco_comm",    "moco_pictures"};
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

void *handle_new(struct ctx *ctx, size_t bytes, enum handle_kind kind, void (*destroy)(struct handle *handle),
                 struct err *err)
{
    struct handle *handle = mem_zalloc(ctx, bytes, err);
    if (handle == NULL)
        return NULL;
    atomic_init(&handle->tag, TAG_LIVE + (uint64_t)kind);
    atomic_init(&handle->refs, 1);
    atomic_init(&handle->inside, NULL);
    handle->ctx = ctx_ref(ctx);
    handle->destroy = destroy;
    return handle;
}

void handle_ref(struct handle *handle)
{
    atomic_fetch_add_explicit(&handle->refs, 1, memory_order_relaxed);
}

void handle_unref(struct handle *handle)
{
    if (handle == NULL || atomic_fetch_sub_explicit(&handle->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct ctx *ctx = handle->ctx;
    atomic_store_explicit(&handle->tag, TAG_DEAD, memory_order_relaxed);
    if (handle->destroy != NULL)
        handle->destroy(handle);
    mem_free(ctx, handle);
    ctx_unref(ctx);
}

void handle_free(void *object, enum handle_kind kind)
{
    struct handle *handle = object;
    if (!handle_valid(handle, kind))
        return;
    atomic_store_explicit(&handle->tag, TAG_DEAD, memory_order_relaxed);
    struct err forked = {0};
    if (ctx_check(handle->ctx, &forked) == MOCO_OK)
        handle_unref(handle);
}

static moco_status enter(struct turn *turn, struct handle *handle, enum handle_kind kind, const char *name,
                         int may_nest, struct err *err)
{
    const void *holder = NULL, *self = last_error;
    handle_ref(handle);
    if (atomic_compare_exchange_strong(&handle->inside, &holder, self) || (may_nest && holder == self)) {
        *turn = (struct turn){.handle = handle, .nested = holder != NULL};
        return MOCO_OK;
    }
    handle_unref(handle);
    if (holder == self)
        return err_set(err, MOCO_ESTATE,
                       "this is a callback of a call on the same %s (%s); call again when that one has returned",
                       kind_name(kind), name);
    return err_set(err, MOCO_ESTATE, "another thread is in this %s (%s), which serves one call at a time",
                   kind_name(kind), name);
}

moco_status handle_enter(struct turn *turn, const void *object, enum handle_kind kind, const char *name,
                         struct err *err)
{
    TRY(handle_check(object, kind, name, err)); /* a call that only reads takes its turn too */
    return enter(turn, (struct handle *)(uintptr_t)object, kind, name, 0, err);
}

moco_status handle_enter_nested(struct turn *turn, const void *object, enum handle_kind kind, const char *name,
                                struct err *err)
{
    TRY(handle_check(object, kind, name, err));
    return enter(turn, (struct handle *)(uintptr_t)object, kind, name, 1, err);
}

moco_status handle_enter_held(struct turn *turn, struct handle *handle, enum handle_kind kind, const char *name,
                              struct err *err)
{
    return enter(turn, handle, kind, name, 0, err);
}

void handle_leave(struct turn *turn)
{
    if (turn->handle == NULL)
        return;
    if (!turn->nested)
        atomic_store(&turn->handle->inside, NULL);
    handle_unref(turn->handle);
}

moco_status handle_hold(struct hold *hold, const void *object, enum handle_kind kind, const char *name, struct err *err)
{
    TRY(handle_check(object, kind, name, err));
    hold->handle = (struct handle *)(uintptr_t)object;
    handle_ref(hold->handle);
    return MOCO_OK;
}

void handle_let_go(struct hold *hold)
{
    handle_unref(hold->handle);
}

int handle_valid(const void *object, enum handle_kind kind)
{
    const struct handle *handle = object;
    return handle != NULL && atomic_load_explicit(&handle->tag, memory_order_relaxed) == TAG_LIVE + (uint64_t)kind;
}

moco_status handle_check(const void *object, enum handle_kind kind, const char *name, struct err *err)
{
    TRY(api_not_null(object, name, err));
    if (!handle_valid(object, kind))
        return err_set(err, MOCO_EINVAL, "%s is not a live %s: freed already, or a handle of another kind", name,
                       kind_name(kind));
    return ctx_check(((const struct handle *)object)->ctx, err);
}

void struct_init(void *given, size_t size, const void *defaults, size_t known)
{
    if (given == NULL || size < 8 || size > STRUCT_MAX)
        return;
    memset(given, 0, size);
    memcpy(given, defaults, size < known ? size : known);
    uint32_t size32 = (uint32_t)size;
    memcpy(given, &size32, sizeof size32);
}

moco_status struct_fill_check(const void *given, size_t size, const char *name, struct err *err)
{
    TRY(api_not_null(given, name, err));
    if (size < 8 || size % 8 != 0 || size > STRUCT_MAX)
        return err_set(err, MOCO_EINVAL, "size %zu is not that of %s (use the macro)", size, name);
    return MOCO_OK;
}

moco_status struct_check(const void *given, const char *name, struct err *err)
{
    TRY(api_not_null(given, name, err));
    uint32_t size;
    memcpy(&size, given, sizeof size);
    if (size < 8 || size % 8 != 0 || size > STRUCT_MAX)
        return err_set(err, MOCO_EINVAL, "%s has struct_size %lu: it was not initialised by its init macro", name,
                       (unsigned long)size);
    return MOCO_OK;
}

moco_status struct_read(void *copy, size_t known, const void *given, const char *name, struct err *err)
{
    TRY(struct_check(given, name, err));
    uint32_t size;
    memcpy(&size, given, sizeof size);
    for (size_t i = known; i < size; i++)
        if (((const unsigned char *)given)[i] != 0)
            return err_set(err, MOCO_EINVAL,
                           "%s uses a field at byte %zu that this library (version %d.%d.%d) does not know", name, i,
                           MOCO_VERSION_MAJOR, MOCO_VERSION_MINOR, MOCO_VERSION_PATCH);
    memcpy(copy, given, size < known ? size : known);
    size = (uint32_t)known;
    memcpy(copy, &size, sizeof size);
    return MOCO_OK;
}

void struct_write(void *given, const void *filled, size_t known)
{
    uint32_t size;
    memcpy(&size, given, sizeof size);
    memcpy(given, filled, size < known ? size : known);
    memcpy(given, &size, sizeof size);
}

moco_status struct_reserved(int64_t value, const char *name, struct err *err)
{
    if (value != 0)
        return err_set(err, MOCO_EINVAL, "%s is %lld; reserved fields must be 0 (use the init macro)", name,
                       (long long)value);
    return MOCO_OK;
}

moco_status tensor_check(const moco_tensor *tensor, const char *name, int may_probe, int64_t *count, struct err *err)
{
    TRY(struct_check(tensor, name, err));
    if (tensor->struct_size < sizeof *tensor)
        return err_set(err, MOCO_EINVAL, "%s has struct_size %lu; a moco_tensor has %zu bytes", name,
                       (unsigned long)tensor->struct_size, sizeof *tensor);
    for (size_t i = sizeof *tensor; i < tensor->struct_size; i++)
        if (((const unsigned char *)tensor)[i] != 0)
            return err_set(err, MOCO_EINVAL, "%s uses a field at byte %zu that this library does not know", name, i);
    TRY(struct_reserved(tensor->reserved0, "moco_tensor.reserved0", err));
    *count = 0;
    if (tensor->data == NULL)
        return may_probe ? MOCO_OK : err_set(err, MOCO_EINVAL, "%s has data NULL", name);
    if (moco_dtype_size((moco_dtype)tensor->dtype) == 0)
        return err_set(err, MOCO_ESHAPE, "%s has the unknown dtype %d", name, (int)tensor->dtype);
    if (tensor->ndim < 0 || tensor->ndim > 8)
        return err_set(err, MOCO_ESHAPE, "%s has %d dimensions; 0 to 8 are possible", name, (int)tensor->ndim);
    int64_t elements = 1, bytes;
    for (int i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] < 1 || __builtin_mul_overflow(elements, tensor->shape[i], &elements))
            return err_set(err, MOCO_ESHAPE, "%s has dimension %d of %lld", name, i, (long long)tensor->shape[i]);
    if (__builtin_mul_overflow(elements, (int64_t)moco_dtype_size((moco_dtype)tensor->dtype), &bytes))
        return err_set(err, MOCO_ESHAPE, "%s has more bytes than a machine can hold", name);
    *count = elements;
    return MOCO_OK;
}
