/* SPDX-License-Identifier: MIT
 *
 * nccl_types: what src/backend/cuda/nccl/nccl_library.h declares of NCCL, held against NVIDIA's header: compiled by
 * cuda-check where there is one, and never run. */
#include <nccl.h>
#include <stddef.h>

#include "backend/cuda/nccl/nccl_library.h"

#define SAME_NUMBER(ours, theirs) _Static_assert((int)ours == (int)theirs, #ours " is not " #theirs)
SAME_NUMBER(NCCL_OK, ncclSuccess);
SAME_NUMBER(NCCL_CUDA_ERROR, ncclUnhandledCudaError);
SAME_NUMBER(NCCL_SYSTEM_ERROR, ncclSystemError);
SAME_NUMBER(NCCL_BAD_USE, ncclInvalidUsage);
SAME_NUMBER(NCCL_REMOTE_ERROR, ncclRemoteError);
SAME_NUMBER(NCCL_BUSY, ncclInProgress);
SAME_NUMBER(NCCL_BYTES, ncclInt8);
SAME_NUMBER(NCCL_F32, ncclFloat32);
SAME_NUMBER(NCCL_F64, ncclFloat64);
SAME_NUMBER(NCCL_SUM, ncclSum);
SAME_NUMBER(NCCL_ID_BYTES, NCCL_UNIQUE_ID_BYTES);
SAME_NUMBER(NCCL_CONFIG_VERSION, NCCL_VERSION(2, 14, 0));
SAME_NUMBER(NCCL_OLDEST, NCCL_VERSION(2, 18, 0));
_Static_assert(sizeof(nccl_id) == sizeof(ncclUniqueId) && sizeof(nccl_result) == sizeof(ncclResult_t) &&
                   sizeof(nccl_type) == sizeof(ncclDataType_t) && sizeof(nccl_operation) == sizeof(ncclRedOp_t),
               "types");

/* Of the configuration, what the first releases had; and the number that says that it is one. */
#define SAME_PLACE(member)                                                                                             \
    _Static_assert(offsetof(nccl_config, member) == offsetof(ncclConfig_t, member) &&                                  \
                       sizeof((nccl_config){0}.member) == sizeof((ncclConfig_t){0}.member),                            \
                   "ncclConfig_t." #member)
SAME_PLACE(size);
SAME_PLACE(magic);
SAME_PLACE(version);
SAME_PLACE(blocking);

/* Ours, in NVIDIA's types, which are enums and structs of these sizes. */
#define nccl_result ncclResult_t
#define nccl_type ncclDataType_t
#define nccl_operation ncclRedOp_t
#define nccl_id ncclUniqueId
#define nccl_config ncclConfig_t
#define SAME(member, symbol, result, args)                                                                             \
    _Static_assert(_Generic(&symbol, result(*) args : 1, default : 0), #symbol " has other arguments");
NCCL_LIBRARY(SAME)
