/* SPDX-License-Identifier: MIT
 *
 * nccl_library: the part of NCCL that ranks with GPUs use, as a table of functions that is filled at run time, as
 * dnn_library.h does for cuDNN. Types and numbers are declared here, so that the code is compiled, and tested on a
 * simulated library, where there is no NCCL; tests/cuda/nccl_types.c holds them against NVIDIA's header where there is one.
 * What a reader would get wrong: a communicator that is not blocking may be busy after any call, and takes no other call
 * until async_error has said that it is not. */
#ifndef MOCO_BACKEND_CUDA_NCCL_LIBRARY_H
#define MOCO_BACKEND_CUDA_NCCL_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef int nccl_result;
typedef int nccl_type;
typedef int nccl_operation;
typedef struct ncclComm *nccl_comm;
typedef struct CUstream_st *nccl_stream;

enum {
    NCCL_OK = 0,
    NCCL_CUDA_ERROR = 1,
    NCCL_SYSTEM_ERROR = 2,
    NCCL_BAD_USE = 5,
    NCCL_REMOTE_ERROR = 6,
    NCCL_BUSY = 7
};
enum { NCCL_BYTES = 0, NCCL_F32 = 7, NCCL_F64 = 8 }; /* types */
enum { NCCL_SUM = 0 };                               /* operations */

enum { NCCL_ID_BYTES = 128 };
typedef struct {
    char bytes[NCCL_ID_BYTES];
} nccl_id;

/* The first members of NCCL's own, which are all that it looks at if `version` is that which had no more: a later
 * library takes its defaults for the rest. */
typedef struct {
    size_t size;
    unsigned magic, version;
    int blocking;
} nccl_config;
enum { NCCL_CONFIG_MAGIC = (int)0xcafebeef, NCCL_CONFIG_VERSION = 21400 };

/* Member, symbol, result, arguments. */
#define NCCL_LIBRARY(F)                                                                                                \
    F(version, ncclGetVersion, nccl_result, (int *version))                                                            \
    F(make_id, ncclGetUniqueId, nccl_result, (nccl_id * id))                                                           \
    F(join, ncclCommInitRankConfig, nccl_result,                                                                       \
      (nccl_comm * comm, int ranks, nccl_id id, int rank, nccl_config *config))                                        \
    F(finalize, ncclCommFinalize, nccl_result, (nccl_comm comm))                                                       \
    F(destroy, ncclCommDestroy, nccl_result, (nccl_comm comm))                                                         \
    F(abort, ncclCommAbort, nccl_result, (nccl_comm comm))                                                             \
    F(async_error, ncclCommGetAsyncError, nccl_result, (nccl_comm comm, nccl_result * state))                          \
    F(error_string, ncclGetErrorString, const char *, (nccl_result result))                                            \
    F(last_error, ncclGetLastError, const char *, (nccl_comm comm))                                                    \
    F(all_reduce, ncclAllReduce, nccl_result,                                                                          \
      (const void *from, void *to, size_t count, nccl_type type, nccl_operation operation, nccl_comm comm,             \
       nccl_stream stream))                                                                                            \
    F(all_gather, ncclAllGather, nccl_result,                                                                          \
      (const void *from, void *to, size_t count, nccl_type type, nccl_comm comm, nccl_stream stream))

#define NCCL_MEMBER(member, symbol, result, args) result(*member) args;
struct nccl_library {
    NCCL_LIBRARY(NCCL_MEMBER)
};
#undef NCCL_MEMBER

/* The oldest release that is taken: the first ones with communicators that are not blocking had faults in them. */
enum { NCCL_OLDEST = 21800 };

/* Loads libnccl.so.2 from the first of `folders` (separated by ':', each may be a glob pattern; NULL: those that the build
 * was told) that has one, and looks at its version. MOCO_ENODEV, and one sentence: there is none, it cannot be loaded, it
 * is too old. What was taken stays loaded. */
moco_status nccl_library_load(struct nccl_library *out, const char *folders, struct err *err);

/* "NCCL 2.28.9" */
void nccl_library_name(const struct nccl_library *lib, char *text, size_t size);

#endif
