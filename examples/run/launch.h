/* SPDX-License-Identifier: MIT
 *
 * launch: what the variables of a launcher (mpirun, srun, torchrun) say of the processes that it started. What a reader
 * would get wrong: they are read before MPI is, and compared with it. A program that was started by the launcher of
 * another MPI finds itself alone, without any error, and N copies of it would train the same run. */
#ifndef MOCO_EXAMPLES_LAUNCH_H
#define MOCO_EXAMPLES_LAUNCH_H

#include <stdint.h>

#include "err.h"

struct launch {
    const char *by; /* "Open MPI's mpirun", ...; NULL: nobody says that there are several */
    int has_mpi;    /* it starts ranks of MPI */
    int64_t processes, rank;
    int64_t local; /* the rank among those of its host */
    char job[128]; /* what a launcher without MPI calls this start of its job, in letters fit for a file's name; "": it
                      says nothing */
};

/* `get`: getenv, or a test's. */
struct launch launch_read(const char *(*get)(const char *name));

/* That the engine has as many ranks as were started; `engine`: its name. MOCO_EINVAL with what to do. */
moco_status launch_check(const struct launch *launch, int64_t ranks, const char *engine, struct err *err);

#endif
