/* SPDX-License-Identifier: MIT
 *
 * ctx: see ctx.h. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "ctx.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu_quota.h"
#include "utf8.h"

#define ALIGN 64

struct block { /* sits in the ALIGN bytes before every block */
    size_t bytes;
    uint64_t magic;
};
#define BLOCK_MAGIC UINT64_C(0x6d6f636f626c6f63)

static void *default_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    void *memory = NULL;
    return posix_memalign(&memory, align, size) == 0 ? memory : NULL;
}

static void default_release(void *user, void *memory, size_t size)
{
    (void)user;
    (void)size;
    free(memory);
}

int ctx_default_threads(void)
{
    int threads = 1;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        threads = CPU_COUNT(&set);
    } else {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        threads = online > 0 && online < 4096 ? (int)online : 1;
    }
    int quota = cpu_quota("");
    if (quota > 0 && quota < threads)
        threads = quota;
    return threads < 1 ? 1 : threads;
}

/* A context has its path behind it, in one block: memory that it counts is that of others. */
static size_t block_bytes(const char *tuning_file)
{
    return sizeof(struct ctx) + (tuning_file == NULL ? 0 : strlen(tuning_file) + 1);
}

moco_status ctx_create(struct ctx **out, const struct ctx_options *options, struct err *err)
{
    *out = NULL;
    struct ctx_options o = *options;
    if ((o.alloc == NULL) != (o.release == NULL))
        return err_set(err, MOCO_EINVAL, "context: alloc and release go together; one of them is NULL");
    if (o.threads < 0 || o.threads > 4096)
        return err_set(err, MOCO_EINVAL, "context: threads is %d; it must be 0 (automatic) to 4096", o.threads);
    if (o.tuning_file != NULL && o.tuning_file[0] == 0)
        return err_set(err, MOCO_EINVAL, "context: tuning_file is empty; NULL means none");
    if (o.alloc == NULL) {
        o.alloc = default_alloc;
        o.release = default_release;
    }
    size_t bytes = block_bytes(o.tuning_file);
    struct ctx *ctx = o.alloc(o.user, bytes, ALIGN);
    if (ctx == NULL)
        return err_set(err, MOCO_ENOMEM, "context: no memory for %zu bytes", bytes);
    memset(ctx, 0, sizeof *ctx);
    ctx->alloc = o.alloc;
    ctx->release = o.release;
    ctx->log = o.log;
    ctx->user = o.user;
    ctx->automatic = o.threads == 0;
    ctx->threads = ctx->automatic ? ctx_default_threads() : o.threads;
    ctx->process = (int64_t)getpid();
    atomic_init(&ctx->refs, 1);
    if (o.tuning_file != NULL)
        ctx->tuning_file = strcpy((char *)(ctx + 1), o.tuning_file);
    *out = ctx;
    return MOCO_OK;
}

struct ctx *ctx_ref(struct ctx *ctx)
{
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void ctx_unref(struct ctx *ctx)
{
    if (ctx == NULL || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
        return;
    ctx->release(ctx->user, ctx, block_bytes(ctx->tuning_file));
}

moco_status ctx_check(const struct ctx *ctx, struct err *err)
{
    if (ctx->process != (int64_t)getpid())
        return err_set(err, MOCO_ESTATE,
                       "the context was made in process %lld and this is its forked child %lld; make a new one with "
                       "1 thread, or exec",
                       (long long)ctx->process, (long long)getpid());
    return MOCO_OK;
}

void ctx_log(struct ctx *ctx, enum log_level level, const char *format, ...)
{
    if (ctx->log == NULL)
        return;
    char raw[2048], line[1024];
    va_list args;
    va_start(args, format);
    if (vsnprintf(raw, sizeof raw, format, args) < 0)
        raw[0] = 0;
    va_end(args);
    utf8_printable(line, sizeof line, raw); /* it names files */
    ctx->log(ctx->user, (int)level, line);
}

/* The peak is kept without a lock: another thread may raise it in between, hence the loop. */
void mem_count(struct ctx *ctx, int64_t bytes)
{
    int64_t live = atomic_fetch_add_explicit(&ctx->live_bytes, bytes, memory_order_relaxed) + bytes;
    int64_t peak = atomic_load_explicit(&ctx->peak_bytes, memory_order_relaxed);
    while (live > peak && !atomic_compare_exchange_weak_explicit(&ctx->peak_bytes, &peak, live, memory_order_relaxed,
                                                                 memory_order_relaxed)) {
    }
}

/* Allocates a block with its size before it, and counts it. */
static void *allocate(struct ctx *ctx, size_t bytes, int zero, struct err *err)
{
    if (bytes > SIZE_MAX - ALIGN) {
        err_set(err, MOCO_ENOMEM, "no memory for %zu bytes", bytes);
        return NULL;
    }
    char *raw = ctx->alloc(ctx->user, bytes + ALIGN, ALIGN);
    if (raw == NULL) {
        err_set(err, MOCO_ENOMEM, "no memory for %zu bytes", bytes);
        return NULL;
    }
    struct block *block = (struct block *)raw;
    block->bytes = bytes;
    block->magic = BLOCK_MAGIC;
    atomic_fetch_add_explicit(&ctx->alloc_calls, 1, memory_order_relaxed);
    mem_count(ctx, (int64_t)bytes);
    if (zero)
        memset(raw + ALIGN, 0, bytes);
    return raw + ALIGN;
}

void *mem_alloc(struct ctx *ctx, size_t bytes, struct err *err)
{
    return allocate(ctx, bytes, 0, err);
}

void *mem_zalloc(struct ctx *ctx, size_t bytes, struct err *err)
{
    return allocate(ctx, bytes, 1, err);
}

void *mem_array(struct ctx *ctx, size_t count, size_t size, struct err *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        err_set(err, MOCO_ENOMEM, "no memory for %zu elements of %zu bytes", count, size);
        return NULL;
    }
    return allocate(ctx, bytes, 1, err);
}

size_t mem_size(const void *block)
{
    return ((const struct block *)((const char *)block - ALIGN))->bytes;
}

void *mem_grow(struct ctx *ctx, void *block, size_t bytes, struct err *err)
{
    void *fresh = allocate(ctx, bytes, 0, err);
    if (fresh == NULL || block == NULL)
        return fresh;
    size_t old = mem_size(block);
    memcpy(fresh, block, old < bytes ? old : bytes);
    mem_free(ctx, block);
    return fresh;
}

void *mem_reserve(struct ctx *ctx, void *block, size_t bytes, struct err *err)
{
    if (block != NULL && bytes <= mem_size(block))
        return block;
    return mem_grow(ctx, block, bytes + bytes / 2 + 64, err);
}

char *mem_strdup(struct ctx *ctx, const char *text, struct err *err)
{
    size_t bytes = strlen(text) + 1;
    char *copy = allocate(ctx, bytes, 0, err);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

void mem_free(struct ctx *ctx, void *block)
{
    if (block == NULL)
        return;
    struct block *head = (struct block *)((char *)block - ALIGN);
    size_t bytes = head->bytes;
    head->magic = 0;
    mem_count(ctx, -(int64_t)bytes);
    ctx->release(ctx->user, head, bytes + ALIGN);
}
