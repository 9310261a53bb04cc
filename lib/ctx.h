/* SPDX-License-Identifier: MIT
 *
 * ctx: allocator, log, thread count: all the state that handles share. There is no other global state. All memory of
 * the library comes through mem_*. Blocks know their size, so that mem_free needs none. What a reader would get
 * wrong: the size passed to the caller's allocator includes the block's header. */
#ifndef MOCO_LIB_CTX_H
#define MOCO_LIB_CTX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct ctx {
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*release)(void *user, void *memory, size_t size);
    void (*log)(void *user, int level, const char *line);
    void *user;
    const char
        *tuning_file; /* where a device keeps what it found to be fast here; NULL: nowhere, and it tries nothing */
    int threads;      /* compute threads, >= 1, fixed at creation */
    int automatic;    /* nobody asked for so many: a device may take fewer */
    int64_t process;  /* pid at creation: a forked child is refused */
    _Atomic int refs;
    _Atomic int64_t live_bytes, peak_bytes, alloc_calls; /* of mem_*, for tests and reports */
};

struct ctx_options {
    void *(*alloc)(void *user, size_t size, size_t align); /* NULL: the C library */
    void (*release)(void *user, void *memory, size_t size);
    void (*log)(void *user, int level, const char *line); /* NULL: silent */
    void *user;
    int threads;             /* 0: from affinity and cgroup quota */
    const char *tuning_file; /* copied; NULL: none */
};

moco_status ctx_create(struct ctx **out, const struct ctx_options *options, struct err *err);
struct ctx *ctx_ref(struct ctx *ctx);
void ctx_unref(struct ctx *ctx); /* frees with the last reference; NULL is fine */

/* MOCO_ESTATE in a forked child of the process that made the context. */
moco_status ctx_check(const struct ctx *ctx, struct err *err);

/* How many compute threads this process may use well: the least of affinity mask and cgroup CPU quota, >= 1. */
int ctx_default_threads(void);

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void
ctx_log(struct ctx *ctx, enum log_level level, const char *format, ...);

/* All blocks are aligned to 64 bytes. NULL on failure, with MOCO_ENOMEM and the number of bytes in `err`. A size of 0
 * gives a valid block. */
void *mem_alloc(struct ctx *ctx, size_t bytes, struct err *err);
void *mem_zalloc(struct ctx *ctx, size_t bytes, struct err *err);
void *mem_array(struct ctx *ctx, size_t count, size_t size, struct err *err); /* zeroed; count * size is checked */
void *mem_grow(struct ctx *ctx, void *block, size_t bytes, struct err *err);  /* on failure `block` is still there */
/* For what grows by little pieces: `block` if it has so many bytes (it may be NULL: none), else a larger one with half as
 * many in reserve. On failure `block` is still there. */
void *mem_reserve(struct ctx *ctx, void *block, size_t bytes, struct err *err);
char *mem_strdup(struct ctx *ctx, const char *text, struct err *err);
/* Counts memory that came from elsewhere, a device's driver say, as if it were a block; negative: it was given back. */
void mem_count(struct ctx *ctx, int64_t bytes);
size_t mem_size(const void *block);
void mem_free(struct ctx *ctx, void *block); /* NULL is fine */

#endif
