/* SPDX-License-Identifier: MIT
 *
 * moco/base.h: version, status, tensors, context, device. Every other header includes it.
 *
 * Four rules hold for all of libmoco:
 *  - A call that can fail returns a moco_status. moco_error() then says in one sentence what failed, where and why.
 *  - Ownership is one of three words. *Owned*: the caller frees it. *Borrowed*: it belongs to somebody else and is
 *    valid only as long as the comment says. *Copied*: the library keeps its own copy.
 *  - A struct that a caller allocates starts with struct_size and is initialised by its ..._init macro. Fields are
 *    only ever appended, so that a program built against an older header runs with a newer library.
 *  - A `Threads:` line says which threads may call. "Any thread may call it at any time" includes several threads
 *    at once. "A handle serves one call at a time" means: while one call runs, a second call on the same handle
 *    from another thread returns MOCO_ESTATE at once ("another thread is in this moco_model"); it never waits. A
 *    callback counts as part of the call that runs it, so it may not call on that handle either, unless the comment
 *    allows it. "The rule of X" means: it counts as a call of X. Different handles of one device or context never
 *    disturb each other. A handle that serves one call at a time may be freed while another thread's call is
 *    running; the memory is released when that call returns. */
#ifndef MOCO_BASE_H
#define MOCO_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "moco/status.h"

/* Marks an exported function. You may define it yourself before you include libmoco: as nothing, for a parser of
 * headers, or for a plugin that links libmoco.a and exports none of it. */
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

/* The version of the library that is loaded at run time, encoded as MOCO_VERSION is.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API int moco_version(void);

/* The fixed text of a status code. It is static and never NULL, also for unknown codes.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_status_text(moco_status status);

/* Why this thread's last failed call failed, in one sentence; "" if none has failed. Never NULL. Borrowed until this
 * thread's next libmoco call.
 * Threads: any thread may call it; each has its own sentence. Since 0.1. */
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

/* Bytes of one element; 0 for an unknown dtype.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API size_t moco_dtype_size(moco_dtype dtype);

/* A view of memory that belongs to somebody else: `data` is always borrowed. Contiguous, C order, little-endian.
 * `ndim` may be 0 (one element). */
typedef struct moco_tensor {
    uint32_t struct_size;
    int32_t dtype; /* moco_dtype */
    int32_t ndim;  /* 0..8 */
    int32_t reserved0;
    int64_t shape[8];
    void *data;
} moco_tensor;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_tensor_init_sized(moco_tensor *tensor, size_t size);
#define moco_tensor_init(t) moco_tensor_init_sized((t), sizeof *(t))

/* ---- arithmetic ---- */

/* How a network computes. F32: everything in f32. BF16: activations and working weights in bf16; statistics, logits,
 * gradients of weights, master weights and queue in f32. F16: the same with 16-bit floats of 5 exponent bits ("fp16"),
 * with a loss scale (moco_trainer_step). TF32: all numbers are stored in f32; products read 11 bits of them. F64: everything in f64.
 *
 * Each device supports some of these. moco_device_describe lists them; any other is refused with MOCO_ENOTSUP, and
 * the sentence names those that are supported. AUTO is the one in which the device trains fastest: on "cpu" BF16 if
 * the CPU has instructions for it, otherwise F32; on "cuda" BF16 if there is cuDNN, otherwise F32; on "ref" F64. */
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
    int32_t threads; /* compute threads of each calling thread. 0: as many as all of these allow: the CPU affinity mask,
                        the quotas of the process's control group and of those above it, and OpenMP (OMP_THREAD_LIMIT,
                        OMP_NUM_THREADS), which is asked when the device is opened */
    /* Allocate and release memory. Set both or neither; NULL: the C library's. They serve everything except small
     * blocks that oneDNN, libjpeg and libpng allocate themselves, what libwebp allocates, and page-locked memory.
     * `align` is a power of two. They are called from the threads that call libmoco and from loader threads, several at
     * a time, and with locks held: neither may call libmoco, except moco_context_memory. */
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*release)(void *user, void *memory, size_t size);
    /* Takes one line of the log, without its newline; `level` is a moco_log_level. NULL: silent. It is called from
     * any thread that runs libmoco code, loader threads included, several at a time. It must not call libmoco. */
    void (*log)(void *user, int level, const char *line);
    void *user; /* is passed to the three callbacks */
    /* Path of a file (copied) in which devices keep what they found to be the fastest on this machine; NULL: none, and
     * nothing is tried. Only "cuda" tries anything: when a trainer or a model takes its memory, convolutions that the
     * file does not know run on up to five engines of cuDNN, a few times each, and the fastest is noted. All of them give
     * equal bits for equal arguments, and two engines may differ in the last bits: who wants a later run to repeat an
     * earlier one gives it the same file. A file that does not exist is made; one that is damaged, or that cannot be
     * read or written, is one line of the log, and no failure. A file that is something else is left as it is. Several
     * processes may use one file: it is always replaced whole. */
    const char *tuning_file;
} moco_context_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_context_options_init_sized(moco_context_options *options, size_t size);
#define moco_context_options_init(o) moco_context_options_init_sized((o), sizeof *(o))

/* Makes a context. `options` is copied; NULL means the defaults. Owned. Handles made from the context hold a counted
 * reference to it, so they may be freed in any order.
 *
 * A context and its handles refuse to work in a forked child (MOCO_ESTATE). They may be freed there, but their
 * memory is returned only when the child ends. A new context in the child works. One limit remains: if the thread
 * that forked had computed on several threads, OpenMP's threads do not exist in the child. The device "cpu" then
 * computes there on 1 thread only, unless the child calls exec first (MOCO_ESTATE says so). libmoco cannot see
 * whether the program itself used OpenMP before it forked.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_context_create(moco_context **context, const moco_context_options *options);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_context_free(moco_context *context);

/* Memory of this context's allocator: the bytes held now, the most that were held at once so far, and how many
 * blocks were ever taken. Memory of the devices "cpu" and "ref" is included, and so is what loaders make views in
 * (moco_loader_options.device). Memory of a device that has its own is not (see moco_device_memory). Any output may be
 * NULL.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_context_memory(const moco_context *context, int64_t *live_bytes, int64_t *peak_bytes,
                                         int64_t *allocations);

/* ---- device ---- */

/* The hardware that computes. A device's name is NAME, or NAME:NUMBER where there are several. "cpu" (oneDNN) and
 * "ref" (plain C in double: slow, the oracle of the tests) are part of libmoco. Others, such as "cuda:0", come from
 * a module: a shared library libmoco_NAME.so of the same release. */
typedef struct moco_device moco_device;

typedef struct moco_device_info {
    uint32_t struct_size;
    int32_t threads;
    int32_t bf16_native;    /* 1: MOCO_PRECISION_BF16 runs on instructions made for it */
    int32_t precisions;     /* supported here: bit p (1 << p) stands for moco_precision p */
    char name[32];          /* as opened: "cpu" */
    char isa[64];           /* instruction set in use: "avx512_bf16", "avx2", ...; "" where it has no meaning */
    char library[64];       /* "oneDNN 3.7.2"; "" for ref */
    int32_t auto_precision; /* what MOCO_PRECISION_AUTO becomes here */
    int32_t ahead;          /* 1: moco_trainer_options.ahead has an effect here */
} moco_device_info;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_device_info_init_sized(moco_device_info *info, size_t size);
#define moco_device_info_init(i) moco_device_info_init_sized((i), sizeof *(i))

/* Opens the device `name` (copied). Owned. Any number of threads may compute on one device at once, each with its
 * own model, trainer, queue or classifier. On "cpu" each of them has its own team of compute threads, which exists
 * until the calling thread ends. While the device is not ready, calls that compute return MOCO_ESTATE with the
 * reason. On "cpu" that happens when the system refuses to start those threads (limits on processes, memory, pids).
 *
 * If a name is not built in, its module is looked for in the folder of libmoco.so, then in the folder that libmoco
 * was built to be installed into, and nowhere else. A module stays loaded until the process ends.
 * Errors: MOCO_ENODEV (there is no such device in this build or machine: the sentence lists those that exist, or
 * says why the module was refused: it does not exist, is not a module, belongs to another release, or cannot be
 * loaded), MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_device_open(moco_device **device, moco_context *context, const char *name);

/* Frees the handle. NULL is allowed. Handles made on the device go on working.
 * Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_device_free(moco_device *device);

/* Fills `info`. Errors: MOCO_EINVAL. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_device_describe(const moco_device *device, moco_device_info *info);

/* Memory of the device in bytes: what this device's handles hold now (weights, queues, the work memory of trainers
 * and models), and how much more is available; -1: not known, as on "cpu" and "ref". On those two the bytes are also
 * part of moco_context_memory. Any output may be NULL.
 * Errors: MOCO_EINVAL, MOCO_EDEVICE.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_device_memory(const moco_device *device, int64_t *live_bytes, int64_t *available_bytes);

#ifdef __cplusplus
}
#endif
#endif
