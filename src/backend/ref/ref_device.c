/* SPDX-License-Identifier: MIT
 *
 * ref_device: opens the reference device; its memory and its table of functions. It has one thread and no
 * instruction set of its own. Blocks are aligned to 4096 inside a larger block of the context, whose address is
 * stored just before them. */
#include "backend/ref/ref.h"

#include <string.h>

#define PAGE 4096
#define PRECISIONS (BE_HAS(BE_F32) | BE_HAS(BE_BF16) | BE_HAS(BE_F64) | BE_HAS(BE_F16) | BE_HAS(BE_TF32))

static moco_status device_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    *out = NULL;
    int as_gpu = strcmp(name, "ref:1") == 0;
    if (!as_gpu && strcmp(name, "ref") != 0)
        return err_set(
            err, MOCO_ENODEV,
            "ref: there is no device \"%.40s\"; its devices are \"ref\", and \"ref:1\", which rounds where GPUs do",
            name);
    struct be_device *dev = mem_zalloc(ctx, sizeof *dev, err);
    if (dev == NULL)
        return MOCO_ENOMEM;
    dev->ctx = ctx_ref(ctx);
    dev->rounds_products = as_gpu;
    atomic_init(&dev->live, 0);
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
    *info = (struct be_info){.threads = 1,
                             .real_bytes = sizeof(double),
                             .precisions = PRECISIONS,
                             .master = BE_F64,
                             .inference = BE_F64,
                             .launch_pixels = INT64_C(32) * 224 * 224, /* as cpu, whose oracle it is */
                             .embed_pixels = INT64_C(8) * 224 * 224,
                             .embed_images = 64,
                             .step_rate = 1,
                             .behind = 1,
                             .rounds_products = dev->rounds_products};
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
    atomic_fetch_add(&dev->live, (int64_t)bytes);
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
    atomic_fetch_sub(&dev->live, (int64_t)memory->bytes);
    *memory = (struct be_memory){0};
}

static moco_status device_memory(struct be_device *dev, int64_t *live, int64_t *available, struct err *err)
{
    (void)err;
    *live = atomic_load(&dev->live);
    *available = -1;
    return MOCO_OK;
}

static moco_status device_zero(struct be_device *dev, void *at, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    memset(at, 0, bytes);
    return MOCO_OK;
}

static moco_status device_copy(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    memcpy(to, from, bytes);
    return MOCO_OK;
}

static moco_status device_sync(struct be_device *dev, struct err *err)
{
    (void)dev;
    (void)err;
    return MOCO_OK;
}

static moco_status device_cancel_alloc(struct be_device *dev, _Atomic int **out, struct err *err)
{
    return host_cancel_alloc(dev->ctx, out, err);
}

static void device_cancel_free(struct be_device *dev, _Atomic int *cancel)
{
    host_cancel_free(dev->ctx, cancel);
}

static moco_status device_program(struct be_program **out, struct be_device *dev, const struct be_program_spec *spec,
                                  struct err *err)
{
    return host_program_create(out, dev->ctx, dev, spec, sizeof(double), spec->layout->count, err);
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
    .memory = device_memory,
    .zero = device_zero,
    .copy = device_copy,
    .read = device_read,
    .write = device_write,
    .sync = device_sync,
    .cancel_alloc = device_cancel_alloc,
    .cancel_free = device_cancel_free,
    .layout_create = ref_layout_create,
    .layout_free = ref_layout_free,
    .layout_bytes = ref_layout_bytes,
    .param_at = ref_param_at,
    .param_get = ref_param_get,
    .param_set = ref_param_set,
    .measure = ref_measure,
    .reader_bytes = ref_reader_bytes,
    .readers = ref_readers,
    .key_bytes = ref_key_bytes,
    .weights_create = ref_weights_create,
    .weights_free = ref_weights_free,
    .weights_bytes = ref_weights_bytes,
    .weights_fold = ref_weights_fold,
    .plan_create = ref_plan_create,
    .plan_free = ref_plan_free,
    .plan_bytes = ref_plan_bytes,
    .plan_bind = ref_plan_bind,
    .forward = ref_forward,
    .backward = ref_backward,
    .program_create = device_program,
    .program_free = host_program_free,
    .program_reset = host_program_reset,
    .program_begin = host_program_begin,
    .found = host_found,
    .part = host_part,
    .verdict = host_verdict,
    .decide = host_decide,
    .program_end = host_program_end,
    .program_drop = host_program_drop,
    .outcome = host_outcome,
    .behind = host_behind,
    .ema_readers = ref_ema_readers,
    .gather = host_gather,
    .scatter = host_scatter,
    .check_rows = host_check_rows,
    .check_slab = ref_check_slab,
    .check_stats = host_check_stats,
    .row_std = host_row_std,
    .infonce_scratch = ref_infonce_scratch,
    .infonce = ref_infonce,
    .batch_loss_scratch = ref_batch_loss_scratch,
    .batch_loss = ref_batch_loss,
    .sgd = ref_sgd,
    .stats_commit = ref_stats_commit,
    .push = host_push,
    /* No optional slot: the replacements are as good here, and speed does not matter for ref. */
};
