/* SPDX-License-Identifier: MIT
 *
 * moco/base.h, the device: a backend's table of functions, and one opened device of it. Every handle that computes
 * holds a reference on one. */
#include <string.h>

#include "api/handle.h"

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

static moco_status make(moco_device **out, moco_context *context, const char *name, struct err *err)
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
    return api_return(make(device, context, name, &err), "moco_device_open", &err);
}

void moco_device_free(moco_device *device)
{
    handle_free(device, HANDLE_DEVICE);
}

static moco_status describe(const moco_device *device, moco_device_info *info, struct err *err)
{
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(struct_check(info, "info", err));
    moco_device_info filled = {.threads = device->info.threads,
                               .bf16_native = device->info.bf16_native,
                               .precisions = device->info.precisions,
                               .auto_precision = (int32_t)device->best};
    memcpy(filled.name, device->name, sizeof filled.name);
    memcpy(filled.isa, device->info.isa, sizeof filled.isa);
    memcpy(filled.library, device->info.library, sizeof filled.library);
    struct_write(info, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_device_describe(const moco_device *device, moco_device_info *info)
{
    struct err err = {0};
    return api_return(describe(device, info, &err), "moco_device_describe", &err);
}

static moco_status memory(const moco_device *device, int64_t *live, int64_t *available, struct err *err)
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
    return api_return(memory(device, live_bytes, available_bytes, &err), "moco_device_memory", &err);
}
