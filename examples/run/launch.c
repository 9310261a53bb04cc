/* SPDX-License-Identifier: MIT
 *
 * launch: see launch.h. */
#include "launch.h"

#include <stdlib.h>
#include <string.h>

/* The names are those of Open MPI 4 and 5, MPICH 3 to 5 and what builds on it (Intel MPI), torchrun, and Slurm's srun.
 * The first whose variables are there is the one that started this process: srun --mpi=pmix sets Slurm's too. */
static const struct {
    const char *by, *size, *rank;
    int has_mpi;
} known[] = {
    {"Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", 1},
    {"a launcher of MPICH's kind (mpirun, srun --mpi=pmi2)", "PMI_SIZE", "PMI_RANK", 1},
    {"torchrun", "WORLD_SIZE", "LOCAL_RANK", 0},
    {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", 1},
};

static int64_t number(const char *text)
{
    char *end;
    long long value = text != NULL ? strtoll(text, &end, 10) : 0;
    return text != NULL && end != text && *end == 0 && value > 0 && value < (1 << 20) ? value : 0;
}

struct launch launch_read(const char *(*get)(const char *name))
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int64_t size = number(get(known[i].size));
        if (size > 1 && get(known[i].rank) != NULL)
            return (struct launch){known[i].by, known[i].has_mpi, size};
    }
    return (struct launch){NULL, 0, 1};
}

moco_status launch_check(const struct launch *l, int64_t ranks, const char *engine, struct err *err)
{
    if (l->by == NULL || l->processes == ranks)
        return MOCO_OK;
    if (!l->has_mpi)
        return err_set(err, MOCO_EINVAL,
                       "%s started %lld processes, which MPI knows nothing of: start them by mpirun or srun, or give "
                       "--ranks none for runs that have nothing to do with each other",
                       l->by, (long long)l->processes);
    return err_set(
        err, MOCO_EINVAL,
        "%s started %lld processes, but libmoco_mpi.so was built with %s and sees %lld: start them by the "
        "launcher of that MPI, or build the module with this launcher's mpicc (docs/ranks.md), or give --ranks "
        "none",
        l->by, (long long)l->processes, engine, (long long)ranks);
}
