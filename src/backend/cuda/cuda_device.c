/* SPDX-License-Identifier: MIT
 *
 * cuda_device: opens a GPU and says what it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"

/* The targets of the kernels (Makefile): Ampere and what came after it. */
enum { OLDEST_MAJOR = 8 };

/* ---- opening ---- */

int cuda_number(const char *name)
{
    const char *number = strchr(name, ':');
    return number == NULL ? 0 : atoi(number + 1);
}

static moco_status find_gpu(struct be_device *dev, int number, struct err *err)
{
    const struct cuda_driver *cu = dev->cu;
    int count = 0;
    TRY(cuda_said(dev, cu->device_count(&count), "cuDeviceGetCount", err));
    if (count == 0)
        return err_set(err, MOCO_ENODEV, "%s: the driver finds no GPU", dev->name);
    if (number >= count)
        return err_set(err, MOCO_ENODEV, "%s: there %s %d GPU%s here, numbered from 0", dev->name,
                       count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    TRY(cuda_said(dev, cu->device_get(&dev->id, number), "cuDeviceGet", err));
    TRY(cuda_said(dev, cu->device_name(dev->gpu, (int)sizeof dev->gpu, dev->id), "cuDeviceGetName", err));
    TRY(cuda_said(dev, cu->device_attribute(&dev->major, CU_MAJOR, dev->id), "cuDeviceGetAttribute", err));
    TRY(cuda_said(dev, cu->device_attribute(&dev->minor, CU_MINOR, dev->id), "cuDeviceGetAttribute", err));
    TRY(cuda_said(dev, cu->device_attribute(&dev->multiprocessors, CU_MULTIPROCESSORS, dev->id), "cuDeviceGetAttribute",
                  err));
    if (dev->major < OLDEST_MAJOR)
        return err_set(err, MOCO_ENODEV, "%s: %.60s has compute capability %d.%d; %d.0 or newer is needed", dev->name,
                       dev->gpu, dev->major, dev->minor, OLDEST_MAJOR);
    return MOCO_OK;
}

static moco_status load_kernels(struct be_device *dev, const void *image, struct err *err)
{
    cu_result result = dev->cu->module_load(&dev->module, image);
    if (result == CU_PTX_TOO_NEW || result == CU_NO_BINARY)
        return err_set(err, MOCO_ENODEV,
                       "%s: the driver is too old for the kernels of this build, or has none for %.60s (%d.%d): take a "
                       "newer driver",
                       dev->name, dev->gpu, dev->major, dev->minor);
    TRY(cuda_said(dev, result, "cuModuleLoadData", err));
    for (int i = 0; i < CUDA_KERNEL_COUNT; i++)
        TRY(cuda_said(dev, dev->cu->module_function(&dev->kernels[i], dev->module, cuda_kernel_names[i]),
                      cuda_kernel_names[i], err));
    return MOCO_OK;
}

static moco_status make_queue(struct be_device *dev, struct err *err)
{
    cu_stream *streams[] = {&dev->stream, &dev->loads};
    for (int i = 0; i < 2; i++)
        TRY(cuda_said(dev, dev->cu->stream_create(streams[i], CU_STREAM_OF_ITS_OWN), "cuStreamCreate", err));
    for (int i = 0; i < CUDA_EVENTS; i++)
        TRY(cuda_said(dev, dev->cu->event_create(&dev->events[i], CU_EVENT_NO_TIMING), "cuEventCreate", err));
    return cuda_staging_make(dev, err);
}

/* Recursive: a callback of backward may mark an event and end a part. */
static moco_status make_lock(struct be_device *dev, struct err *err)
{
    pthread_mutexattr_t attributes;
    if (pthread_mutexattr_init(&attributes) != 0)
        return err_set(err, MOCO_ENOMEM, "%s: no lock can be made", dev->name);
    dev->has_lock = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE) == 0 &&
                    pthread_mutex_init(&dev->lock, &attributes) == 0;
    pthread_mutexattr_destroy(&attributes);
    return dev->has_lock ? MOCO_OK : err_set(err, MOCO_ENOMEM, "%s: no lock can be made", dev->name);
}

/* Without cuDNN the device is there all the same, and slower. */
static moco_status open_dnn(struct be_device *dev, const struct cuda_tables *tables, struct err *err)
{
    struct err why = {0};
    moco_status status = MOCO_ENODEV;
    if (tables->dnn == NULL)
        err_set(&why, MOCO_ENODEV, "%s", tables->without);
    else
        status = dnn_open(&dev->dnn, tables->dnn, dev->stream, &why);
    if (status == MOCO_OK && dev->ctx->tuning_file != NULL)
        return dnn_tuning_open(&dev->tuning, dev->ctx, dev->ctx->tuning_file, dev->gpu, (int)dev->dnn.lib->version(),
                               err);
    if (status != MOCO_OK)
        ctx_log(dev->ctx, LOG_WARN, "%s: convolutions run on kernels of our own, slowly: %.400s", dev->name, why.text);
    return MOCO_OK;
}

static moco_status open_gpu(struct be_device *dev, const struct cuda_tables *tables, int number, struct err *err)
{
    TRY(find_gpu(dev, number, err));
    TRY(make_lock(dev, err));
    cu_result result = dev->cu->context_retain(&dev->context, dev->id);
    if (result == CU_UNAVAILABLE)
        return err_set(err, MOCO_ENODEV, "%s: %.60s is used by another process alone", dev->name, dev->gpu);
    if (result == CU_NO_MEMORY)
        return err_set(err, MOCO_ENOMEM, "%s: %.60s has no memory left for this process", dev->name, dev->gpu);
    TRY(cuda_said(dev, result, "cuDevicePrimaryCtxRetain", err));
    dev->retained = 1;
    TRY(cuda_enter(dev, err));
    moco_status status = tables->image == NULL ? MOCO_OK : load_kernels(dev, tables->image, err);
    if (status == MOCO_OK)
        status = make_queue(dev, err);
    if (status == MOCO_OK)
        status = open_dnn(dev, tables, err);
    cuda_leave(dev);
    return status;
}

void cuda_close(struct be_device *dev)
{
    if (dev == NULL)
        return;
    struct ctx *ctx = dev->ctx;
    if (dev->retained) {
        cuda_enter_lost(dev);
        if (dev->stream != NULL)
            dev->cu->stream_sync(dev->stream);
        if (dev->dnn.lib != NULL)
            dnn_close(&dev->dnn);
        cuda_staging_free(dev);
        for (int i = 0; i < CUDA_EVENTS; i++)
            if (dev->events[i] != NULL)
                dev->cu->event_destroy(dev->events[i]);
        if (dev->loads != NULL)
            dev->cu->stream_destroy(dev->loads);
        if (dev->stream != NULL)
            dev->cu->stream_destroy(dev->stream);
        if (dev->module != NULL)
            dev->cu->module_unload(dev->module);
        cuda_leave(dev);
        dev->cu->context_release(dev->id);
    }
    if (dev->has_lock)
        pthread_mutex_destroy(&dev->lock);
    dnn_tuning_close(dev->tuning);
    mem_free(ctx, dev);
    ctx_unref(ctx);
}

moco_status cuda_open(struct be_device **out, struct ctx *ctx, const struct cuda_tables *tables, const char *name,
                      int number, struct err *err)
{
    *out = NULL;
    struct be_device *dev = mem_zalloc(ctx, sizeof *dev, err);
    if (dev == NULL)
        return MOCO_ENOMEM;
    dev->ctx = ctx_ref(ctx);
    dev->cu = tables->cu;
    dev->nccl = tables->nccl;
    snprintf(dev->name, sizeof dev->name, "%s", name);
    moco_status status = open_gpu(dev, tables, number, err);
    if (status != MOCO_OK) {
        cuda_close(dev);
        return status;
    }
    *out = dev;
    return MOCO_OK;
}

/* ---- what it is ---- */

/* What is not f32 is cuDNN's engines that compute so. */
int cuda_precisions(const struct be_device *dev)
{
    return BE_HAS(BE_F32) | (dev->dnn.lib != NULL ? BE_HAS(BE_TF32) | BE_HAS(BE_BF16) | BE_HAS(BE_F16) : 0);
}

/* Every GPU that is taken (OLDEST_MAJOR) has instructions for bf16; but without cuDNN there are no engines that use them. */
static enum be_precision auto_precision(const struct be_device *dev)
{
    return dev->dnn.lib != NULL ? BE_BF16 : BE_F32;
}

int cuda_storage(enum be_precision precision)
{
    return precision == BE_BF16 ? 1 : precision == BE_F16 ? 2 : 0;
}

void cuda_info(const struct be_device *dev, struct be_info *info)
{
    *info = (struct be_info){.threads = 1,
                             .bf16_native = auto_precision(dev) == BE_BF16,
                             .real_bytes = sizeof(float),
                             .precisions = cuda_precisions(dev),
                             .master = BE_F32,
                             .inference = BE_F32,
                             .launch_pixels = INT64_C(256) * 224 * 224,
                             .embed_pixels = INT64_C(64) * 224 * 224,
                             .embed_images = 256,
                             .step_rate = 1,
                             .behind = CUDA_BEHIND,
                             .own_memory = 1,
                             .rounds_products = 1};
    snprintf(info->isa, sizeof info->isa, "sm_%d%d, %d multiprocessors", dev->major, dev->minor, dev->multiprocessors);
    int version = dev->dnn.lib == NULL ? 0 : (int)dev->dnn.lib->version();
    if (version == 0)
        snprintf(info->library, sizeof info->library, "%.40s, no cuDNN", dev->gpu);
    else
        snprintf(info->library, sizeof info->library, "%.40s, cuDNN %d.%d.%d", dev->gpu, version / 10000,
                 version / 100 % 100, version % 100);
}

moco_status cuda_precision(const struct be_device *dev, int wanted, enum be_precision *out, struct err *err)
{
    if (wanted != 0)
        TRY(backend_has_precision(dev->name, cuda_precisions(dev), wanted, err));
    *out = wanted == 0 ? auto_precision(dev) : (enum be_precision)wanted;
    return MOCO_OK;
}

moco_status cuda_ready(struct be_device *dev, struct err *err)
{
    TRY(cuda_enter(dev, err));
    cuda_leave(dev);
    return MOCO_OK;
}
