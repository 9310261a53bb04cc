/* SPDX-License-Identifier: MIT
 *
 * moco/comm.h: several ranks train one model. Each rank has a moco_comm, a device, a model, a queue and a trainer of its
 * own, all made alike; moco_trainer_options.comm joins the trainers. A rank brings its share of every batch
 * (moco_loader_options.rank), and gradients, keys and statistics are exchanged within the step, so that training is that
 * of one rank up to the order of sums: all ranks hold the same bits after every step.
 *
 * What carries the bytes is an engine: a table of functions that anybody may fill. moco_comm_local has one for threads of
 * one process, and the module libmoco_mpi.so one for processes and machines (moco_comm_open, moco/mpi.h).
 *
 * What is asked of a program: every rank makes the same calls that exchange (moco_trainer_create with a comm,
 * moco_trainer_step or moco_trainer_leave, moco_comm_gather) in the same order. A step that fails on one rank fails on
 * all of them, with one status and one sentence, and may be tried again. MOCO_ECOMM alone is final: a rank was lost, the
 * comm answers MOCO_ECOMM from then on, and all ranks start again from a checkpoint, of however many ranks. What the
 * trainer holds is still the state of the last committed step, which can be read and saved. */
#ifndef MOCO_COMM_H
#define MOCO_COMM_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_comm moco_comm;

/* What carries the bytes of one rank. All calls of a rank come from one thread at a time, and the same calls in the same
 * order on every rank. Both exchanges work in place, in host memory, and may return before they are done: `test` is then
 * asked about *request, one request after another in the order in which they were begun, until it says so. A function
 * answers 0, or not 0 and a sentence in `why` (`size` bytes); nothing but `close` is called after that. None of them may
 * wait for another rank. */
typedef struct moco_comm_engine {
    uint32_t struct_size;
    int32_t rank, ranks;
    int32_t any_thread; /* 1: libmoco may call from a thread of its own while the program uses what carries the bytes,
                           too. 0: it calls from the threads that call libmoco, and exchanges move only while those wait */
    void *user;         /* passed to every function */
    char name[64];      /* "Open MPI 4.1.4", for sentences; ends in 0, and so does host */
    char host[64];      /* where this rank runs */
    /* data[i] becomes the sum over ranks, the same bits on every rank. `dtype`: MOCO_F32 or MOCO_F64. */
    int (*sum)(void *user, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t size);
    /* The block of rank r is at blocks + r * bytes_each: afterwards all of them are, on every rank. */
    int (*gather)(void *user, void *blocks, int64_t bytes_each, void **request, char *why, size_t size);
    int (*test)(void *user, void *request, int32_t *done, char *why, size_t size);
    /* The roll call: sends a byte to a rank, and takes one that came (*came 0: none did). With `any_thread` alone; NULL,
     * both: there is none, and a rank that is lost is waited for as long as patience_seconds say. */
    int (*send)(void *user, int32_t to, uint8_t byte);
    int (*receive)(void *user, int32_t *from, uint8_t *byte, int32_t *came);
    /* The last call. `broken` 1: exchanges may be under way that nobody will end, and it must not wait for another rank.
     * Answers 1 if memory of such exchanges may be written to as long as the process lives, which then is not freed. */
    int (*close)(void *user, int32_t broken);
} moco_comm_engine;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_comm_engine_init_sized(moco_comm_engine *engine, size_t size);
#define moco_comm_engine_init(e) moco_comm_engine_init_sized((e), sizeof *(e))

typedef struct moco_comm_options {
    uint32_t struct_size;
    int32_t reserved0;
    double silence_seconds;  /* a rank whose libmoco does not answer the roll call for so long is lost; default 30 */
    double patience_seconds; /* how long an exchange waits for ranks that answer, or where there is no roll call; a rank
                                may be evaluating, or saving. Default 0: for ever */
    double bucket_bytes;     /* of gradients that are summed at once, at most, while the others are still computed;
                                default 25e6. Part of what all ranks must agree on */
} moco_comm_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_comm_options_init_sized(moco_comm_options *options, size_t size);
#define moco_comm_options_init(o) moco_comm_options_init_sized((o), sizeof *(o))

/* A comm of this engine, which is copied. Owned. The engine's `user` is taken over: it is closed with the comm, or here
 * if this fails and struct_size, close and user could be read. `options` may be NULL. Waits for nobody. Errors:
 * MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_comm_from_engine(moco_comm **comm, moco_context *context, const moco_comm_engine *engine,
                                           const moco_comm_options *options);

/* The version of the contract between libmoco and modules with engines. */
#define MOCO_COMM_MODULE_ABI 1

/* What makes engines: the part of a module, libmoco_NAME.so, which exports one as `moco_comm_module_entry`. */
typedef struct moco_comm_module {
    uint32_t abi; /* MOCO_COMM_MODULE_ABI; of another number nothing else is read */
    int32_t reserved0;
    /* Fills an engine, which has its defaults. `argument` may be NULL. All ranks call it; it may wait for them. Answers
     * 0, or not 0 and a sentence in `why` (`size` bytes), and has then taken nothing. */
    int (*open)(const void *argument, moco_comm_engine *engine, char *why, size_t size);
} moco_comm_module;

/* A comm of the engine that this module opens with `argument`, which is passed on. Waits for all ranks. Owned. Errors: as
 * moco_comm_from_engine; MOCO_ECOMM with the module's sentence, or a rank was lost; MOCO_ENODEV: the module is of another
 * libmoco.
 * Threads: any, where the engine allows it. Since 0.1. */
MOCO_API moco_status moco_comm_from_module(moco_comm **comm, moco_context *context, const moco_comm_module *module,
                                           const void *argument, const moco_comm_options *options);

/* A comm of a module by its name: loads libmoco_NAME.so from the folder of libmoco.so, or from the one that libmoco was
 * built to be installed into. "mpi": this process becomes one rank of those that its launcher (mpirun, srun) has
 * started, all of which make this call. If MPI runs already, its ranks are taken, and moco_comm_info.own_thread says
 * whether it was initialised with MPI_THREAD_MULTIPLE: without that there is no roll call, and a lost rank is waited for
 * as long as patience_seconds say. If not, MPI is initialised here, and finalised when the last comm is freed; that
 * happens once in a process. An MPI that finds another launcher than its own may end the process.
 * Owned. Errors: MOCO_EINVAL, MOCO_ENOMEM, MOCO_ENODEV (there is no such module, or it cannot be loaded: the sentence
 * says where it was looked for, and why not), MOCO_ECOMM.
 * Threads: as MPI asks: the thread that is to finalise it. Since 0.1. */
MOCO_API moco_status moco_comm_open(moco_comm **comm, moco_context *context, const char *module,
                                    const moco_comm_options *options);

/* `ranks` (1 to 1024) comms, comms[r] that of rank r, for as many threads of this process. Owned, each. A rank that frees
 * its comm while others wait for it makes these MOCO_ECOMM. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_comm_local(moco_comm **comms, int32_t ranks, moco_context *context,
                                     const moco_comm_options *options);

typedef struct moco_comm_info {
    uint32_t struct_size;
    int32_t rank, ranks;
    int32_t own_thread; /* 1: a thread of the comm's own drives the engine */
    char engine[64], host[64];
    int64_t exchanges, bytes; /* begun so far; what this rank handed in */
    double waited_seconds;    /* that calls of this rank waited for exchanges */
    int32_t broken;           /* 1: it answers MOCO_ECOMM from now on */
    int32_t reserved0;
} moco_comm_info;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_comm_info_init_sized(moco_comm_info *info, size_t size);
#define moco_comm_info_init(i) moco_comm_info_init_sized((i), sizeof *(i))

/* Fills `info`. Errors: MOCO_EINVAL. Threads: any. Since 0.1. */
MOCO_API moco_status moco_comm_describe(const moco_comm *comm, moco_comm_info *info);

/* For programs that want to agree on anything: the block of rank r is at blocks + r * bytes_each, and afterwards all of
 * them are. Waits for all ranks. Errors: MOCO_EINVAL, MOCO_ECOMM (what is at `blocks` may then still be written to).
 * Threads: one call per comm, steps of its trainers among them. Since 0.1. */
MOCO_API moco_status moco_comm_gather(moco_comm *comm, void *blocks, size_t bytes_each);

/* Makes the call that waits for other ranks, and every later one, MOCO_ECOMM: for the case that one of them is lost and
 * the program knows it. A step is cancelled with moco_trainer_cancel. Threads: any, and async-signal-safe. Since 0.1. */
MOCO_API void moco_comm_cancel(moco_comm *comm);

/* NULL is fine. Trainers hold a reference. Waits for no other rank. After MOCO_ECOMM, memory that the engine may still
 * write to is not given back. Threads: any, once. Since 0.1. */
MOCO_API void moco_comm_free(moco_comm *comm);

#ifdef __cplusplus
}
#endif
#endif
