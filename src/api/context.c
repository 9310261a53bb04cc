/* SPDX-License-Identifier: MIT
 *
 * moco/base.h: contexts, devices, and empty tensors. A moco_context is a handle around a `struct ctx` and nothing
 * else: other handles hold the ctx, not the moco_context, so the caller may free it first. */
#include <string.h>

#include "api/handle.h"

_Static_assert(sizeof(moco_tensor) % 8 == 0 && sizeof(moco_context_options) % 8 == 0,
               "struct sizes are multiples of 8");

void moco_tensor_init_sized(moco_tensor *tensor, size_t size)
{
    moco_tensor defaults = {0};
    struct_init(tensor, size, &defaults, sizeof defaults);
}

void moco_context_options_init_sized(moco_context_options *options, size_t size)
{
    moco_context_options defaults = {0};
    struct_init(options, size, &defaults, sizeof defaults);
}

static moco_status context_create(moco_context **out, const moco_context_options *given, struct err *err)
{
    TRY(api_not_null(out, "context", err));
    *out = NULL;
    moco_context_options o = {0};
    if (given != NULL)
        TRY(struct_read(&o, sizeof o, given, "options", err));
    struct ctx_options options = {.alloc = o.alloc,
                                  .release = o.release,
                                  .log = o.log,
                                  .user = o.user,
                                  .threads = o.threads,
                                  .tuning_file = o.tuning_file};
    struct ctx *ctx = NULL;
    TRY(ctx_create(&ctx, &options, err));
    moco_context *context = handle_new(ctx, sizeof *context, HANDLE_CONTEXT, NULL, err);
    ctx_unref(ctx); /* the handle holds it now */
    *out = context;
    return context != NULL ? MOCO_OK : MOCO_ENOMEM;
}

moco_status moco_context_create(moco_context **context, const moco_context_options *options)
{
    struct err err = {0};
    return api_return(context_create(context, options, &err), "moco_context_create", &err);
}

void moco_context_free(moco_context *context)
{
    handle_free(context, HANDLE_CONTEXT);
}

moco_status moco_context_memory(const moco_context *context, int64_t *live_bytes, int64_t *peak_bytes,
                                int64_t *allocations)
{
    struct err err = {0};
    moco_status status = handle_check(context, HANDLE_CONTEXT, "context", &err);
    if (status != MOCO_OK)
        return api_return(status, "moco_context_memory", &err);
    struct ctx *ctx = context->handle.ctx;
    if (live_bytes != NULL)
        *live_bytes = atomic_load(&ctx->live_bytes);
    if (peak_bytes != NULL)
        *peak_bytes = atomic_load(&ctx->peak_bytes);
    if (allocations != NULL)
        *allocations = atomic_load(&ctx->alloc_calls);
    return MOCO_OK;
}

/* ---- devices: a backend's table and one opened device of it; every handle that computes holds one ---- */

_Static_assert(sizeof(moco_device_info) % 8 == 0, "struct sizes are multiples of 8");

void moco_device_info_init_sized(moco_device_info *info, size_t size)
{
    moco_device_info defaults = {0};
    struct_init(info, size, &defaults, sizeof defaults);
}

static void device_destroy(struct handle *handle)
{
    moco_device *device = (moco_device *)handle;
    if (device->dev != NULL)
        device->backend->close(device->dev);
}

static moco_status open_device(moco_device *device, const char *name, struct err *err)
{
    if (strlen(name) >= sizeof device->name)
        return err_set(err, MOCO_ENODEV, "no device has a name as long as \"%.40s...\"", name);
    TRY(backend_find(&device->backend, name, err));
    strcpy(device->name, name);
    TRY(device->backend->open(&device->dev, device->handle.ctx, name, err));
    device->backend->info(device->dev, &device->info);
    return device->backend->precision(device->dev, MOCO_PRECISION_AUTO, &device->best, err);
}

static moco_status device_make(moco_device **out, moco_context *context, const char *name, struct err *err)
{
    TRY(api_not_null(out, "device", err));
    *out = NULL;
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    TRY(api_not_null(name, "name", err));
    moco_device *device = handle_new(context->handle.ctx, sizeof *device, HANDLE_DEVICE, device_destroy, err);
    if (device == NULL)
        return MOCO_ENOMEM;
    moco_status status = open_device(device, name, err);
    if (status != MOCO_OK) {
        handle_free(device, HANDLE_DEVICE);
        return status;
    }
    *out = device;
    return MOCO_OK;
}

moco_status moco_device_open(moco_device **device, moco_context *context, const char *name)
{
    struct err err = {0};
    return api_return(device_make(device, context, name, &err), "moco_device_open", &err);
}

void moco_device_free(moco_device *device)
{
    handle_free(device, HANDLE_DEVICE);
}

static moco_status device_describe(const moco_device *device, moco_device_info *info, struct err *err)
{
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(struct_check(info, "info", err));
    moco_device_info filled = {.threads = device->info.threads,
                               .bf16_native = device->info.bf16_native,
                               .precisions = device->info.precisions,
                               .auto_precision = (int32_t)device->best,
                               .ahead = device->info.behind > 1};
    memcpy(filled.name, device->name, sizeof filled.name);
    memcpy(filled.isa, device->info.isa, sizeof filled.isa);
    memcpy(filled.library, device->info.library, sizeof filled.library);
    struct_write(info, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_device_describe(const moco_device *device, moco_device_info *info)
{
    struct err err = {0};
    return api_return(device_describe(device, info, &err), "moco_device_describe", &err);
}

static moco_status device_memory(const moco_device *device, int64_t *live, int64_t *available, struct err *err)
{
    int64_t held, left;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(device->backend->memory(device->dev, &held, &left, err));
    if (live != NULL)
        *live = held;
    if (available != NULL)
        *available = left;
    return MOCO_OK;
}

moco_status moco_device_memory(const moco_device *device, int64_t *live_bytes, int64_t *available_bytes)
{
    struct err err = {0};
    return api_return(device_memory(device, live_bytes, available_bytes, &err), "moco_device_memory", &err);
}
