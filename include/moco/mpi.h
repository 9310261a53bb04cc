/* SPDX-License-Identifier: MIT
 *
 * moco/mpi.h: ranks over MPI, for programs that use MPI themselves: they initialise it, and give libmoco the ranks of a
 * communicator of theirs. Link libmoco_mpi beside libmoco, and compile with the mpicc that libmoco_mpi was built with. Its
 * source is installed, too: share/doc/libmoco/examples/moco_mpi.c. Programs without MPI of their own need neither this
 * header nor that library at link time: moco_comm_open(..., "mpi", ...) loads it. moco/moco.h does not include this file.
 */
#ifndef MOCO_MPI_H
#define MOCO_MPI_H

#include <mpi.h>

#include "moco/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A comm of the ranks of `mpi`, which is duplicated and still the caller's. All of its ranks make this call, and wait for
 * each other. Owned; it is freed before MPI_Finalize, by all ranks. With MPI_THREAD_MULTIPLE a thread of the comm's own
 * drives the exchanges, and a rank that falls silent is named by a roll call. With less, exchanges move only within
 * calls of libmoco, which are then the calls of MPI that this level allows, and a lost rank is waited for as long as
 * patience_seconds say. Errors: MOCO_EINVAL (MPI_COMM_NULL among it), MOCO_ENOMEM, MOCO_ECOMM.
 * Threads: one that may call MPI. Since 0.1. */
MOCO_API moco_status moco_comm_from_mpi(moco_comm **comm, moco_context *context, MPI_Comm mpi,
                                        const moco_comm_options *options);

#ifdef __cplusplus
}
#endif
#endif
