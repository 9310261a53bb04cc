/* SPDX-License-Identifier: MIT
 *
 * ref_device: opening the reference device, its memory, and its table of functions. One thread, no instruction set of
 * its own. Blocks are aligned to 4096 inside a larger block of the context, whose address stands just before them. */
#include "backend/ref/ref.h"

#include <string.h>

#define PAGE 4096
#define PRECISIONS (BE_HAS(BE_F32) | BE_HAS(BE_BF16) | BE_HAS(BE_F64))

static moco_status device_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    *out = NULL;
    if (strcmp(name, "ref") != 0)
        return err_set(err, MOCO_ENODEV, "ref: there is no device \"%.40s\"; its only device is \"ref\"", name);
    struct be_device *dev = mem_zalloc(ctx, sizeof *dev, err);
    if (dev == NULL)
        return MOCO_ENOMEM;
    dev->ctx = ctx_ref(ctx);
    *out = dev;
    return MOCO_OK;
}

static void device_close(struct be_device *dev)
{
    if (dev == NULL)
        return;
    struct ctx *ctx = dev->ctx;
    mem_free(ctx, dev);
    ctx_unref(ctx);
}

static void device_info(const struct be_device *dev, struct be_info *info)
{
    (void)dev;
    *info = (struct be_info){.threads = 1, .precisions = PRECISIONS, .real_bytes = sizeof(double)};
}

static moco_status device_precision(const struct be_device *dev, int wanted, enum be_precision *out, struct err *err)
{
    (void)dev;
    if (wanted != 0)
        TRY(backend_has_precision("ref", PRECISIONS, wanted, err));
    *out = wanted == 0 ? BE_F64 : (enum be_precision)wanted;
    return MOCO_OK;
}

static moco_status device_ready(struct be_device *dev, struct err *err)
{
    return ctx_check(dev->ctx, err);
}

static moco_status device_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err)
{
    *out = (struct be_memory){0};
    if (bytes > SIZE_MAX - 2 * PAGE)
        return err_set(err, MOCO_ENOMEM, "ref: out of memory for %zu bytes", bytes);
    char *block = mem_alloc(dev->ctx, bytes + PAGE + sizeof(void *), err);
    if (block == NULL)
        return MOCO_ENOMEM;
    uintptr_t first = (uintptr_t)block + sizeof(void *);
    char *at = block + sizeof(void *) + ((PAGE - first % PAGE) % PAGE);
    memcpy(at - sizeof(void *), &block, sizeof block);
    memset(at, 0, bytes);
    *out = (struct be_memory){at, bytes};
    return MOCO_OK;
}

static void device_release(struct be_device *dev, struct be_memory *memory)
{
    if (memory == NULL || memory->at == NULL)
        return;
    char *block;
    memcpy(&block, (char *)memory->at - sizeof(void *), sizeof block);
    mem_free(dev->ctx, block);
    *memory = (struct be_memory){0};
}

static void device_zero(struct be_device *dev, void *at, size_t bytes)
{
    (void)dev;
    memset(at, 0, bytes);
}

static moco_status device_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    memcpy(host, at, bytes);
    return MOCO_OK;
}

static moco_status device_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    memcpy(at, host, bytes);
    return MOCO_OK;
}

const struct backend backend_ref = {
    .abi = BACKEND_ABI,
    .name = "ref",
    .open = device_open,
    .close = device_close,
    .info = device_info,
    .precision = device_precision,
    .ready = device_ready,
    .alloc = device_alloc,
    .release = device_release,
    .zero = device_zero,
    .read = device_read,
    .write = device_write,
    .layout_create = ref_layout_create,
    .layout_free = ref_layout_free,
    .layout_bytes = ref_layout_bytes,
    .param_get = ref_param_get,
    .param_set = ref_param_set,
    .reader_bytes = ref_reader_bytes,
    .readers = ref_readers,
    .key_bytes = ref_key_bytes,
    .ema_readers = ref_ema_readers,
    .plan_create = ref_plan_create,
    .plan_free = ref_plan_free,
    .plan_bytes = ref_plan_bytes,
    .plan_bind = ref_plan_bind,
    .plan_fold = ref_plan_fold,
    .forward = ref_forward,
    .backward = ref_backward,
    .infonce_scratch = ref_infonce_scratch,
    .infonce = ref_infonce,
    .batch_loss_scratch = ref_batch_loss_scratch,
    .batch_loss = ref_batch_loss,
    .sgd = ref_sgd,
    .lars = ref_lars,
    .grad_check = ref_grad_check,
    .stats_commit = ref_stats_commit,
    .rate = NULL, /* nobody waits for ref by choice */
    .gemm_nt = ref_gemm_nt,
    .gemm_tn = ref_gemm_tn,
    .on_host = ref_on_host,
};
