/* SPDX-License-Identifier: MIT
 *
 * cpu_device: opens the device, says what it can, and lists its slots. What a reader would get wrong: the instruction
 * set is what oneDNN will use, which its users may narrow from outside, and kernels of our own follow it. */
#include "backend/cpu/cpu_device.h"

#include <string.h>

moco_status cpu_enter(const struct be_device *dev, struct parallel_scope *scope, struct err *err)
{
    return parallel_enter(scope, dev->team.threads, err);
}

int cpu_block(const struct be_device *dev)
{
    return dev->isa >= SHIM_ISA_AVX512 ? 16 : 8;
}

static void cpu_close(struct be_device *dev)
{
    if (dev == NULL)
        return;
    struct ctx *ctx = dev->ctx;
    shim_close(dev->engine);
    mem_free(ctx, dev);
    ctx_unref(ctx);
}

static moco_status cpu_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    *out = NULL;
    if (strcmp(name, "cpu") != 0)
        return err_set(err, MOCO_ENODEV, "there is no device \"%s\": the only CPU is \"cpu\"", name);
    struct be_device *dev = mem_zalloc(ctx, sizeof *dev, err);
    if (dev == NULL)
        return MOCO_ENOMEM;
    dev->ctx = ctx_ref(ctx);
    dev->isa = shim_isa();
    dev->team.threads = ctx->automatic ? parallel_allowed(ctx->threads) : ctx->threads;
    dev->team.simd = kern_table((int)dev->isa);
    moco_status status = shim_open(&dev->engine, err);
    if (status != MOCO_OK) {
        cpu_close(dev);
        return status;
    }
    *out = dev;
    return MOCO_OK;
}

static int cpu_precisions(const struct be_device *dev)
{
    return BE_HAS(BE_F32) | (dev->isa >= SHIM_ISA_AVX512 ? BE_HAS(BE_BF16) : 0);
}

static void cpu_info(const struct be_device *dev, struct be_info *info)
{
    *info = (struct be_info){.threads = dev->team.threads,
                             .bf16_native = dev->isa == SHIM_ISA_AVX512_BF16,
                             .precisions = cpu_precisions(dev),
                             .real_bytes = sizeof(float)};
    const char *isa = shim_isa_name();
    size_t length = strlen(isa);
    memcpy(info->isa, isa, length < sizeof info->isa ? length + 1 : sizeof info->isa - 1);
    shim_library(info->library, sizeof info->library);
}

static moco_status cpu_precision(const struct be_device *dev, int wanted, enum be_precision *out, struct err *err)
{
    if (wanted == 0)
        wanted = dev->isa == SHIM_ISA_AVX512_BF16 ? BE_BF16 : BE_F32;
    if (wanted == BE_BF16 && dev->isa < SHIM_ISA_AVX512)
        return err_set(err, MOCO_ENOTSUP,
                       "cpu: bf16 needs AVX-512, and oneDNN uses %s here; f32 is the precision to take",
                       shim_isa_name());
    TRY(backend_has_precision("cpu", cpu_precisions(dev), wanted, err));
    if (wanted == BE_BF16 && dev->isa == SHIM_ISA_AVX512)
        ctx_log(dev->ctx, LOG_WARN, "cpu: without AVX512_BF16 oneDNN emulates bf16, about three times slower than f32");
    *out = (enum be_precision)wanted;
    return MOCO_OK;
}

/* Entering counts the team. */
static moco_status cpu_ready(struct be_device *dev, struct err *err)
{
    struct parallel_scope scope;
    TRY(cpu_enter(dev, &scope, err));
    parallel_leave(&scope);
    return MOCO_OK;
}

const struct backend backend_cpu = {.abi = BACKEND_ABI,
                                    .name = "cpu",
                                    .open = cpu_open,
                                    .close = cpu_close,
                                    .info = cpu_info,
                                    .precision = cpu_precision,
                                    .ready = cpu_ready,
                                    .alloc = cpu_alloc,
                                    .release = cpu_release,
                                    .zero = cpu_zero,
                                    .read = cpu_read,
                                    .write = cpu_write,
                                    .layout_create = cpu_layout_create,
                                    .layout_free = cpu_layout_free,
                                    .layout_bytes = cpu_layout_bytes,
                                    .param_get = cpu_param_get,
                                    .param_set = cpu_param_set,
                                    .reader_bytes = cpu_reader_bytes,
                                    .readers = cpu_readers,
                                    .key_bytes = cpu_key_bytes,
                                    .ema_readers = cpu_ema_readers,
                                    .plan_create = cpu_plan_create,
                                    .plan_free = cpu_plan_free,
                                    .plan_bytes = cpu_plan_bytes,
                                    .plan_bind = cpu_plan_bind,
                                    .plan_fold = cpu_plan_fold,
                                    .forward = cpu_forward,
                                    .backward = cpu_backward,
                                    .infonce_scratch = cpu_step_infonce_bytes,
                                    .infonce = cpu_step_infonce,
                                    .batch_loss_scratch = cpu_step_batch_loss_bytes,
                                    .batch_loss = cpu_step_batch_loss,
                                    .sgd = cpu_sgd,
                                    .lars = cpu_lars,
                                    .grad_check = cpu_grad_check,
                                    .stats_commit = cpu_stats_commit,
                                    .rate = cpu_rate,
                                    .gemm_nt = cpu_gemm_nt,
                                    .gemm_tn = cpu_gemm_tn,
                                    .on_host = cpu_on_host};
