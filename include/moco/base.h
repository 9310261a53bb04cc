/* SPDX-License-Identifier: MIT
 *
 * moco/base.h: version, status, tensors, context. Every other header includes it.
 *
 * Four rules hold for all of libmoco:
 *  - A fallible call returns a moco_status; moco_error() then says in one sentence what, where and why.
 *  - Ownership words: *owned* (you free it), *borrowed* (dies with X), *copied*.
 *  - A struct that a caller allocates starts with struct_size and is initialised by its ..._init macro. Fields are only
 *    ever appended, so that a program built against an older header runs with a newer library.
 *  - A `Threads:` line says who may call. "any": any number of threads at once. "one call per handle": while one runs,
 *    a call on the same handle from another thread is MOCO_ESTATE at once ("another thread is in this moco_model"), and
 *    so is one from a callback of the call that runs, unless it is said to be allowed there. Nobody waits. Different
 *    handles of one device or context never disturb each other. A handle that serves one call at a time may be freed
 *    while another thread's call is in it; it goes when that call returns. */
#ifndef MOCO_BASE_H
#define MOCO_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "moco/status.h"

/* What marks an exported function. Define it as you like before you include libmoco: as nothing, for a parser of headers
 * or for a plugin that links libmoco.a and exports none of it. */
#ifndef MOCO_API
#if defined(__GNUC__)
#define MOCO_API __attribute__((visibility("default")))
#else
#define MOCO_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MOCO_VERSION_MAJOR 0
#define MOCO_VERSION_MINOR 1
#define MOCO_VERSION_PATCH 0
#define MOCO_VERSION (MOCO_VERSION_MAJOR * 10000 + MOCO_VERSION_MINOR * 100 + MOCO_VERSION_PATCH)

/* The version of the library loaded at run time, as MOCO_VERSION. Threads: any. Since 0.1. */
MOCO_API int moco_version(void);

/* The fixed text of a status code: static, never NULL, also for unknown codes. Threads: any. Since 0.1. */
MOCO_API const char *moco_status_text(moco_status status);

/* Why this thread's last failed call failed, in one sentence; "" if none failed. Never NULL; borrowed until this
 * thread's next libmoco call. Threads: each its own. Since 0.1. */
MOCO_API const char *moco_error(void);

/* ---- tensors ---- */

typedef enum moco_dtype {
    MOCO_U8 = 1,
    MOCO_I64 = 2,
    MOCO_BF16 = 3,
    MOCO_F32 = 4,
    MOCO_F64 = 5,
    MOCO_DTYPE_MAX_ = 0x7fffffff
} moco_dtype;

/* Bytes of one element; 0 for an unknown dtype. Threads: any. Since 0.1. */
MOCO_API size_t moco_dtype_size(moco_dtype dtype);

/* A view of somebody's memory: never owns `data`. Contiguous, C order, little-endian. `ndim` may be 0 (one element). */
typedef struct moco_tensor {
    uint32_t struct_size;
    int32_t dtype; /* moco_dtype */
    int32_t ndim;  /* 0..8 */
    int32_t reserved0;
    int64_t shape[8];
    void *data;
} moco_tensor;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_tensor_init_sized(moco_tensor *tensor, size_t size);
#define moco_tensor_init(t) moco_tensor_init_sized((t), sizeof *(t))

/* ---- arithmetic ---- */

/* How a network computes. F32: everything in f32. BF16: activations and working weights in bf16, statistics, logits,
 * gradients of weights, masters and queue in f32. F16: the same with 16-bit floats of 5 exponent bits. TF32: all numbers
 * in f32, of which products read 11 bits. F64: everything in f64.
 * Each device has some of these: moco_device_describe says which, and any other is refused with MOCO_ENOTSUP, whose
 * sentence names those that there are. AUTO is the one in which the device trains fastest: on "cpu" BF16 where it is
 * native and else F32, on "ref" F64. */
typedef enum moco_precision {
    MOCO_PRECISION_AUTO = 0,
    MOCO_PRECISION_F32 = 1,
    MOCO_PRECISION_BF16 = 2,
    MOCO_PRECISION_F64 = 3,
    MOCO_PRECISION_F16 = 4,
    MOCO_PRECISION_TF32 = 5,
    MOCO_PRECISION_MAX_ = 0x7fffffff
} moco_precision;

/* ---- context ---- */

typedef enum moco_log_level {
    MOCO_LOG_DEBUG = 0,
    MOCO_LOG_INFO = 1,
    MOCO_LOG_WARN = 2,
    MOCO_LOG_ERROR = 3,
    MOCO_LOG_MAX_ = 0x7fffffff
} moco_log_level;

/* Allocator, log and thread count: all the state that handles share. libmoco has no other global state. */
typedef struct moco_context moco_context;

typedef struct moco_context_options {
    uint32_t struct_size;
    int32_t threads; /* compute threads of each thread that calls; 0: as many as the CPU affinity mask, the quota of the
                        process's control group and of those above it, and OpenMP (OMP_THREAD_LIMIT, OMP_NUM_THREADS,
                        asked when the device is opened) allow */
    /* Memory for everything but the small blocks that oneDNN, libjpeg and libpng take themselves, and what libwebp
     * takes. Both or neither; NULL: the C library. `align` is a power of two. Called from the threads that call libmoco
     * and from loader threads, several at a time, and with locks held: neither may call libmoco, but for
     * moco_context_memory. */
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*release)(void *user, void *memory, size_t size);
    /* One line without its newline; `level` is a moco_log_level. NULL: silent. Called from any thread that runs
     * libmoco code, loader threads included, several at a time. Must not call libmoco. */
    void (*log)(void *user, int level, const char *line);
    void *user; /* passed to the three callbacks */
} moco_context_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_context_options_init_sized(moco_context_options *options, size_t size);
#define moco_context_options_init(o) moco_context_options_init_sized((o), sizeof *(o))

/* `options` is copied; NULL means the defaults. The context is owned by the caller; handles made from it hold a counted
 * reference, so any order of freeing is right. A context and its handles refuse to work in a forked child
 * (MOCO_ESTATE); freeing them there is fine, and gives their memory back only when the child ends. A new context in the
 * child works; if the thread that forked had computed on several threads, OpenMP's did not come along, and the device
 * "cpu" then computes there on 1 thread, or after an exec (MOCO_ESTATE says so). That a program used OpenMP by itself
 * before it forked cannot be seen. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_context_create(moco_context **context, const moco_context_options *options);

/* NULL is fine. Threads: any, once. Since 0.1. */
MOCO_API void moco_context_free(moco_context *context);

/* Bytes that live blocks of this context's allocator hold now, the most they held so far, and how many blocks were ever
 * taken. Memory of the devices "cpu" and "ref" is among them; that of a device with memory of its own is not
 * (moco_device_memory). Any output may be NULL. Threads: any. Since 0.1. */
MOCO_API moco_status moco_context_memory(const moco_context *context, int64_t *live_bytes, int64_t *peak_bytes,
                                         int64_t *allocations);

/* ---- device ---- */

/* Where numbers are computed. A name is NAME, or NAME:NUMBER where there are several: "cpu" (oneDNN), "ref" (plain C in
 * double: slow, the oracle of the tests), both of them part of libmoco; or "cuda:0" and the like, from a module, which is
 * a shared library libmoco_NAME.so of the same release. */
typedef struct moco_device moco_device;

typedef struct moco_device_info {
    uint32_t struct_size;
    int32_t threads;
    int32_t bf16_native;    /* 1: MOCO_PRECISION_BF16 runs on instructions made for it */
    int32_t precisions;     /* those that run here: bit p, 1 << p, is that of moco_precision p */
    char name[32];          /* as opened: "cpu" */
    char isa[64];           /* instruction set in use: "avx512_bf16", "avx2", ...; "" where it has no meaning */
    char library[64];       /* "oneDNN 3.7.2"; "" for ref */
    int32_t auto_precision; /* what MOCO_PRECISION_AUTO becomes here */
    int32_t reserved0;
} moco_device_info;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_device_info_init_sized(moco_device_info *info, size_t size);
#define moco_device_info_init(i) moco_device_info_init_sized((i), sizeof *(i))

/* Opens `name` (copied). The device is owned by the caller. Any number of threads may compute on one device at once,
 * each with a model, trainer, queue or classifier of its own; on "cpu" each has its own team of compute threads, which
 * stays until that thread ends. A call that computes answers MOCO_ESTATE, with the reason, while the device is not ready:
 * on "cpu", where the system does not start those threads (limits on processes, memory, pids).
 * The module of a name that is not built in is looked for in the folder of libmoco.so, then in the one that libmoco was
 * built to be installed into, and nowhere else; it stays loaded until the process ends.
 * Errors: MOCO_ENODEV (no such device in this build or machine: the sentence says which there are, or why the module was
 * not taken: it is not there, is no module, belongs to another release, cannot be loaded), MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any. Since 0.1. */
MOCO_API moco_status moco_device_open(moco_device **device, moco_context *context, const char *name);

/* NULL is fine. Handles made on the device go on working. Threads: any, once. Since 0.1. */
MOCO_API void moco_device_free(moco_device *device);

/* Fills `info`. Errors: MOCO_EINVAL. Threads: any. Since 0.1. */
MOCO_API moco_status moco_device_describe(const moco_device *device, moco_device_info *info);

/* Bytes of the device's memory that this device's handles hold now (weights, queues, the work memory of trainers and
 * models), and how many more it has, -1: not known, as of "cpu" and "ref", where both are also in moco_context_memory.
 * Any output may be NULL. Errors: MOCO_EINVAL, MOCO_EDEVICE. Threads: any. Since 0.1. */
MOCO_API moco_status moco_device_memory(const moco_device *device, int64_t *live_bytes, int64_t *available_bytes);

#ifdef __cplusplus
}
#endif
#endif
