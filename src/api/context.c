/* SPDX-License-Identifier: MIT
 *
 * moco/base.h: contexts, and empty tensors. A moco_context is a handle around a `struct ctx` and nothing else. Other
 * handles hold the ctx, not the moco_context, so that the caller may free it first. */
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
    struct ctx_options options = {
        .alloc = o.alloc, .release = o.release, .log = o.log, .user = o.user, .threads = o.threads};
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
