/* SPDX-License-Identifier: MIT
 *
 * cpu_device: opens the device, describes it, and lists its slots. What a reader would get wrong: the instruction
 * set is the one that oneDNN uses, which its users may restrict from outside. Kernels of our own follow it. */
#include <string.h>

#include "backend/cpu/cpu_fold.h"
#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_memory.h"
#include "backend/cpu/cpu_plan.h"
#include "backend/cpu/cpu_rate.h"
#include "backend/cpu/cpu_readers.h"
#include "backend/cpu/cpu_steps.h"
#include "backend/cpu/cpu_team.h"
#include "backend/cpu/cpu_update.h"
#include "backend/cpu/cpu_weights.h"

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
    atomic_init(&dev->live, 0);
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
                             .real_bytes = sizeof(float),
                             .precisions = cpu_precisions(dev),
                             .master = BE_F32,
                             .inference = BE_F32,
                             .launch_pixels = INT64_C(32) * 224 * 224, /* what caches hold of the feature maps */
                             .embed_pixels = INT64_C(8) * 224 * 224,
                             .embed_images = 64,
                             .step_rate = 0.75, /* seen */
                             .behind = 1};
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

static moco_status cpu_cancel_alloc(struct be_device *dev, _Atomic int **out, struct err *err)
{
    return host_cancel_alloc(dev->ctx, out, err);
}

static void cpu_cancel_free(struct be_device *dev, _Atomic int *cancel)
{
    host_cancel_free(dev->ctx, cancel);
}

static moco_status cpu_program_create(struct be_program **out, struct be_device *dev,
                                      const struct be_program_spec *spec, struct err *err)
{
    return host_program_create(out, dev->ctx, dev, spec, sizeof(float), spec->layout->count, err);
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
                                    .memory = cpu_memory,
                                    .zero = cpu_zero,
                                    .copy = cpu_copy,
                                    .read = cpu_read,
                                    .write = cpu_write,
                                    .sync = cpu_sync,
                                    .cancel_alloc = cpu_cancel_alloc,
                                    .cancel_free = cpu_cancel_free,
                                    .layout_create = cpu_layout_create,
                                    .layout_free = cpu_layout_free,
                                    .layout_bytes = cpu_layout_bytes,
                                    .param_at = cpu_param_at,
                                    .param_get = cpu_param_get,
                                    .param_set = cpu_param_set,
                                    .measure = cpu_measure,
                                    .reader_bytes = cpu_reader_bytes,
                                    .readers = cpu_readers,
                                    .key_bytes = cpu_key_bytes,
                                    .weights_create = cpu_weights_create,
                                    .weights_free = cpu_weights_free,
                                    .weights_bytes = cpu_weights_bytes,
                                    .weights_fold = cpu_weights_fold,
                                    .plan_create = cpu_plan_create,
                                    .plan_free = cpu_plan_free,
                                    .plan_bytes = cpu_plan_bytes,
                                    .plan_bind = cpu_plan_bind,
                                    .forward = cpu_forward,
                                    .backward = cpu_backward,
                                    .program_create = cpu_program_create,
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
                                    .ema_readers = cpu_ema_readers,
                                    .gather = host_gather,
                                    .scatter = host_scatter,
                                    .check_rows = host_check_rows,
                                    .check_slab = cpu_check_slab,
                                    .check_stats = host_check_stats,
                                    .row_std = host_row_std,
                                    .infonce_scratch = cpu_step_infonce_bytes,
                                    .infonce = cpu_step_infonce,
                                    .batch_loss_scratch = cpu_step_batch_loss_bytes,
                                    .batch_loss = cpu_step_batch_loss,
                                    .sgd = cpu_sgd,
                                    .stats_commit = cpu_stats_commit,
                                    .push = host_push,
                                    .rate = cpu_rate,
                                    .gemm_nt = cpu_gemm_nt,
                                    .gemm_tn = cpu_gemm_tn,
                                    .on_host = cpu_on_host,
                                    .param_get_f32 = cpu_param_get_f32,
                                    .param_set_f32 = cpu_param_set_f32,
                                    .weights_fold_from = cpu_weights_fold_from};
