/* SPDX-License-Identifier: MIT
 *
 * moco/comm.h: several ranks train one model. Each rank has its own moco_comm, device, model, queue and trainer, all
 * made alike; moco_trainer_options.comm joins the trainers. A rank brings its share of every batch
 * (moco_loader_options.rank). Gradients, keys and statistics are exchanged within the step. All ranks hold the same
 * bits after every step, and these are the bits of one rank up to the order of sums.
 *
 * Bytes are carried by an engine: a table of functions that any program may fill. moco_comm_local has one for threads
 * of one process, and the module libmoco_mpi.so has one for processes and machines (moco_comm_open, moco/mpi.h). What is
 * in the memory of a device never passes through the host's on its way to other ranks: over either of these comms, GPUs
 * join each other by NCCL when the first trainer is made. moco_comm_from_id does without both: NCCL carries everything.
 *
 * Every rank has to make the same calls that exchange, in the same order: moco_trainer_create with a comm,
 * moco_trainer_step or moco_trainer_leave, moco_comm_gather. A step that fails on one rank fails on all of them, with
 * one status and one sentence, and may be tried again. Only MOCO_ECOMM is final: a rank was lost. Every
 * later call that exchanges returns it too, and all ranks have to start again from a checkpoint, in any number.
 * The trainer still holds the state of the last committed step, which can be read and saved. */
#ifndef MOCO_COMM_H
#define MOCO_COMM_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_comm moco_comm;

/* The functions that carry the bytes of one rank. libmoco calls them from one thread at a time, and makes the same
 * calls in the same order on every rank. Both exchanges work in place, in host memory, and may return before they are
 * done. libmoco then calls `test` with *request until it sets *done, for one request after another, in the order in
 * which they were begun. A function returns 0; or another number, with a sentence in `why` (`size` bytes), after which
 * only `close` and `abort` are called. No function may wait for another rank. */
typedef struct moco_comm_engine {
    uint32_t struct_size;
    int32_t rank, ranks;
    int32_t any_thread; /* 1: libmoco may call from a thread of its own, while the program uses the carrier too.
                           0: it calls from the threads that call libmoco; exchanges proceed only while those wait */
    void *user;         /* passed to every function */
    char name[64];      /* "Open MPI 4.1.4", for sentences; ends in 0, as does host */
    char host[64];      /* where this rank runs */
    /* Replaces data[i] by its sum over all ranks, with the same bits on every rank. `dtype`: MOCO_F32 or MOCO_F64. */
    int (*sum)(void *user, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t size);
    /* Gathers all blocks on every rank. The block of rank r is at blocks + r * bytes_each; the call finds this rank's
     * there. */
    int (*gather)(void *user, void *blocks, int64_t bytes_each, void **request, char *why, size_t size);
    int (*test)(void *user, void *request, int32_t *done, char *why, size_t size);
    /* The roll call, which needs `any_thread`: send sends a byte to a rank; receive takes one that has come (*came 0:
     * none has). Both NULL: there is no roll call, and a lost rank is waited for as long as patience_seconds says. */
    int (*send)(void *user, int32_t to, uint8_t byte);
    int (*receive)(void *user, int32_t *from, uint8_t *byte, int32_t *came);
    /* The last call but `abort`. `broken` 1: exchanges may be under way that never end, and close must not wait for another rank.
     * It returns 1 if memory of such exchanges may still be written to while the process lives. libmoco then does not
     * free that memory. */
    int (*close)(void *user, int32_t broken);
    /* Ends the processes of all ranks with this exit status, that of the caller included, and so does not return. The one
     * call that may follow `close`, if that was told `broken`. It returns if it cannot. NULL: the engine knows no way. */
    void (*abort)(void *user, int32_t code);
    /* The two exchanges in the memory of a device; both NULL: this engine does not reach it. `event` is one of the
     * device's own library (CUDA: a CUevent), or NULL: nothing of the exchange begins before it is reached. When `test`
     * sets *done, work that is then given to the device finds the result. */
    int (*device_sum)(void *user, void *data, int64_t count, int32_t dtype, void *event, void **request, char *why,
                      size_t size);
    int (*device_gather)(void *user, void *blocks, int64_t bytes_each, void *event, void **request, char *why,
                         size_t size);
} moco_comm_engine;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_comm_engine_init_sized(moco_comm_engine *engine, size_t size);
#define moco_comm_engine_init(e) moco_comm_engine_init_sized((e), sizeof *(e))

typedef struct moco_comm_options {
    uint32_t struct_size;
    int32_t reserved0;
    double silence_seconds;  /* a rank that does not answer the roll call for so long is lost; default 30 */
    double patience_seconds; /* how long an exchange waits for ranks that answer, or that cannot be asked: they may be
                                evaluating, or saving. Default 0: for ever */
    double bucket_bytes;     /* most bytes of gradients that are summed at once, while others are still computed;
                                default 25e6. All ranks must have the same */
} moco_comm_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_comm_options_init_sized(moco_comm_options *options, size_t size);
#define moco_comm_options_init(o) moco_comm_options_init_sized((o), sizeof *(o))

/* Creates a comm from an engine, which is copied. The comm is owned by the caller. It takes over the engine's `user`:
 * `close` is called when the comm is freed, or here if this call fails and struct_size, close and user could be read.
 * `options` may be NULL. Waits for no other rank.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_comm_from_engine(moco_comm **comm, moco_context *context, const moco_comm_engine *engine,
                                           const moco_comm_options *options);

/* The version of the contract between libmoco and modules with engines. */
#define MOCO_COMM_MODULE_ABI 1

/* The part of a module that makes engines. A library libmoco_NAME.so exports one as `moco_comm_module_entry`. */
typedef struct moco_comm_module {
    uint32_t abi; /* MOCO_COMM_MODULE_ABI; with another number, nothing else is read */
    int32_t reserved0;
    /* Fills an engine, which has its defaults. `argument` may be NULL. All ranks call it, and it may wait for them.
     * Returns 0 on success. Any other number is a failure: `why` (`size` bytes) then holds a sentence, and nothing was
     * taken. */
    int (*open)(const void *argument, moco_comm_engine *engine, char *why, size_t size);
} moco_comm_module;

/* Creates a comm over the engine that this module opens; `argument` is passed on to it. Waits for all ranks. The comm is
 * owned by the caller.
 * Errors: as moco_comm_from_engine; MOCO_ECOMM with the module's sentence, or because a rank was lost; MOCO_ENODEV: the
 * module belongs to another version of libmoco.
 * Threads: any thread that the engine allows. Since 0.1. */
MOCO_API moco_status moco_comm_from_module(moco_comm **comm, moco_context *context, const moco_comm_module *module,
                                           const void *argument, const moco_comm_options *options);

/* Creates a comm over a module, by its name: loads libmoco_NAME.so from the folder of libmoco.so, or from the folder that
 * libmoco was built to be installed into. The comm is owned by the caller.
 *
 * With "mpi" this process becomes one of the ranks that its launcher (mpirun, srun) has started. All of them have to make
 * this call. If MPI runs already, its ranks are taken, and moco_comm_info.own_thread says whether it was initialised
 * with MPI_THREAD_MULTIPLE. Without that there is no roll call, and a lost rank is waited for as long as
 * patience_seconds say. If MPI does not run, it is initialised here, and finalised when the last comm is freed; that can
 * happen once in a process. An MPI that finds another launcher than its own may end the process.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM, MOCO_ENODEV (there is no such module, or it cannot be loaded: the sentence says
 * where it was looked for, and why not), MOCO_ECOMM.
 * Threads: the thread that is to finalise MPI. Since 0.1. */
MOCO_API moco_status moco_comm_open(moco_comm **comm, moco_context *context, const char *module,
                                    const moco_comm_options *options);

/* Creates the comms of `ranks` (1 to 1024) ranks that are threads of this process; comms[r] is that of rank r. Each is
 * owned by the caller. If a rank frees its comm while others wait for it, they get MOCO_ECOMM.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_comm_local(moco_comm **comms, int32_t ranks, moco_context *context,
                                     const moco_comm_options *options);

#define MOCO_COMM_ID_BYTES 128

/* Makes an id for the ranks of one moco_comm_from_id: one rank makes it, and the program carries it to the others, by
 * MPI, in a file, or in any way of its own. It serves once. `size` must be MOCO_COMM_ID_BYTES. Waits for nobody.
 * Errors: MOCO_EINVAL; MOCO_ENOTSUP: devices of this kind exchange nothing by themselves; MOCO_ENODEV: the library that
 * they need (on GPUs NCCL) is not there or too old, and the sentence says where it was looked for; MOCO_ECOMM: it has no
 * network to listen on.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_comm_make_id(moco_device *device, void *id, size_t size);

/* Creates the comm of a rank whose device exchanges with those of the other ranks by itself (on GPUs by NCCL): each rank
 * is a process, or a thread, with a GPU of its own. `id` is what one of them has made. Waits for all ranks, at most for
 * patience_seconds, and ten minutes if that is 0. There is no roll call: give patience_seconds, or ranks wait for a lost
 * one until NCCL notices it, which it need not. A comm that is over NCCL alone serves trainers on `device` and on devices
 * that compute in host memory. It is owned by the caller, and holds the device.
 * Errors: those of moco_comm_make_id, MOCO_EINVAL, MOCO_ENOMEM, MOCO_ECOMM (a rank did not come, the id is that of another
 * job, two ranks have one GPU: with what NCCL says).
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_comm_from_id(moco_comm **comm, moco_device *device, int32_t rank, int32_t ranks,
                                       const void *id, size_t size, const moco_comm_options *options);

typedef struct moco_comm_info {
    uint32_t struct_size;
    int32_t rank, ranks;
    int32_t own_thread; /* 1: a thread of the comm's own drives the engine */
    char engine[64], host[64];
    int64_t exchanges, bytes; /* exchanges begun so far; bytes that this rank has contributed */
    double waited_seconds;    /* how long calls of this rank have waited for exchanges */
    int32_t broken;           /* 1: calls that exchange return MOCO_ECOMM from now on */
    int32_t reserved0;
} moco_comm_info;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_comm_info_init_sized(moco_comm_info *info, size_t size);
#define moco_comm_info_init(i) moco_comm_info_init_sized((i), sizeof *(i))

/* Fills `info`.
 * Errors: MOCO_EINVAL.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_comm_describe(const moco_comm *comm, moco_comm_info *info);

/* Gathers a block of every rank on all ranks, for programs that have to agree on something. The block of rank r is at
 * blocks + r * bytes_each; this rank's must be there before the call. Waits for all ranks.
 * Errors: MOCO_EINVAL, MOCO_ECOMM (`blocks` may then still be written to).
 * Threads: a comm serves one call at a time, steps of its trainers included. Since 0.1. */
MOCO_API moco_status moco_comm_gather(moco_comm *comm, void *blocks, size_t bytes_each);

/* Ends the call that waits for other ranks, and every later one, with MOCO_ECOMM: for a program that knows that a rank
 * is lost. To cancel a step, use moco_trainer_cancel. Threads: any thread may call it at any time; it is
 * async-signal-safe. Since 0.1. */
MOCO_API void moco_comm_cancel(moco_comm *comm);

/* Ends the processes of all ranks with this exit status, that of the caller included, as MPI_Abort does: for a program
 * that has met MOCO_ECOMM and saved what it had, so that its launcher answers with `code` (1 to 255) and leaves no rank
 * behind, not even one that is stopped. Nothing is flushed or freed. Returns only where that has not happened.
 * Errors: MOCO_EINVAL; MOCO_ENOTSUP: the engine knows no way, as that of moco_comm_local; MOCO_ECOMM: the process still
 * runs after `seconds`, and may only _exit by itself.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_comm_abort(moco_comm *comm, int32_t code, double seconds);

/* Frees the comm; NULL is allowed. Trainers hold a reference. Waits for no other rank. After MOCO_ECOMM, memory that
 * the engine may still write to is not freed. Threads: any thread may free it, once; nobody may use it afterwards.
 * Since 0.1. */
MOCO_API void moco_comm_free(moco_comm *comm);

#ifdef __cplusplus
}
#endif
#endif
