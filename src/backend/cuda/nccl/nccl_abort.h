/* SPDX-License-Identifier: MIT
 *
 * nccl_abort: the end of a communicator whose other ranks may be gone. NCCL's abort stops the kernels that wait for them;
 * it has been seen to wait itself, so that a thread of its own makes the call. */
#ifndef MOCO_BACKEND_CUDA_NCCL_ABORT_H
#define MOCO_BACKEND_CUDA_NCCL_ABORT_H

#include "backend/cuda/cuda.h"
#include "backend/cuda/nccl/nccl_library.h"

/* 1: it is gone. 0: it was not within two seconds, and its kernels may still run and write. */
int nccl_abort(const struct nccl_library *lib, nccl_comm comm, struct be_device *dev);

#endif
