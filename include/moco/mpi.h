/* SPDX-License-Identifier: MIT
 *
 * moco/mpi.h: ranks over MPI, for programs that use MPI themselves. They initialise it, and give libmoco the ranks of one
 * of their communicators. Link libmoco_mpi beside libmoco, and compile with the mpicc that libmoco_mpi was built with. Its
 * source is installed too: share/doc/libmoco/examples/moco_mpi.c. Other programs need neither this header nor that
 * library at link time: moco_comm_open(..., "mpi", ...) loads it. moco/moco.h does not include this file.
 */
#ifndef MOCO_MPI_H
#define MOCO_MPI_H

#include <mpi.h>

#include "moco/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Creates a comm over the ranks of `mpi`, which is duplicated and remains the caller's. All of its ranks make this call
 * and wait for each other. The comm is owned by the caller; all ranks free theirs before MPI_Finalize.
 *
 * With MPI_THREAD_MULTIPLE a thread of the comm drives the exchanges, and a roll call names a rank that falls silent.
 * With a lower level, exchanges progress only within calls of libmoco, which call MPI as that level allows, and a lost
 * rank is waited for as long as patience_seconds say.
 * Errors: MOCO_EINVAL (also for MPI_COMM_NULL), MOCO_ENOMEM, MOCO_ECOMM.
 * Threads: any thread that may call MPI. Since 0.1. */
MOCO_API moco_status moco_comm_from_mpi(moco_comm **comm, moco_context *context, MPI_Comm mpi,
                                        const moco_comm_options *options);

#ifdef __cplusplus
}
#endif
#endif
