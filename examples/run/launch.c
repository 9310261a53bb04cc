/* SPDX-License-Identifier: MIT
 *
 * launch: see launch.h. */
#include "launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names are those of Open MPI 4 and 5, MPICH 3 to 5 and what builds on it (Intel MPI), torchrun, and Slurm's srun.
 * The first whose variables are there is the one that started this process: srun --mpi=pmix sets Slurm's too. */
static const struct {
    const char *by, *size, *rank;
    int has_mpi;
    const char *global, *local;
    const char *job[3]; /* together they name a start that no other has */
} known[] = {
    {.by = "Open MPI's mpirun",
     .size = "OMPI_COMM_WORLD_SIZE",
     .rank = "OMPI_COMM_WORLD_RANK",
     .has_mpi = 1,
     .global = "OMPI_COMM_WORLD_RANK",
     .local = "OMPI_COMM_WORLD_LOCAL_RANK"},
    {.by = "a launcher of MPICH's kind (mpirun, srun --mpi=pmi2)",
     .size = "PMI_SIZE",
     .rank = "PMI_RANK",
     .has_mpi = 1,
     .global = "PMI_RANK",
     .local = "MPI_LOCALRANKID"},
    {.by = "torchrun",
     .size = "WORLD_SIZE",
     .rank = "LOCAL_RANK",
     .global = "RANK",
     .local = "LOCAL_RANK",
     .job = {"TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"}},
    {.by = "srun",
     .size = "SLURM_STEP_NUM_TASKS",
     .rank = "SLURM_PROCID",
     .has_mpi = 1,
     .global = "SLURM_PROCID",
     .local = "SLURM_LOCALID",
     .job = {"SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"}},
};

/* -1: it is none. */
static int64_t number(const char *text)
{
    char *end;
    long long value = text != NULL ? strtoll(text, &end, 10) : -1;
    return text != NULL && end != text && *end == 0 && value >= 0 && value < (1 << 20) ? value : -1;
}

/* A count that is not there is 0: Slurm says nothing of a first start. */
static void name_job(struct launch *l, const char *const job[3], const char *(*get)(const char *name))
{
    size_t at = 0;
    if (job[0] == NULL || get(job[0]) == NULL)
        return;
    for (int i = 0; i < 3; i++) {
        const char *part = get(job[i]) != NULL ? get(job[i]) : "0";
        at += (size_t)snprintf(l->job + at, sizeof l->job - at, "%s%.40s", i > 0 ? "-" : "", part);
    }
    for (char *c = l->job; *c != 0; c++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", *c) == NULL)
            *c = '_';
}

struct launch launch_read(const char *(*get)(const char *name))
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int64_t size = number(get(known[i].size)), rank = number(get(known[i].global)),
                local = number(get(known[i].local));
        if (size <= 1 || get(known[i].rank) == NULL)
            continue;
        struct launch l = {.by = known[i].by, .has_mpi = known[i].has_mpi, .processes = size};
        l.rank = rank >= 0 ? rank : 0;
        l.local = local >= 0 ? local : 0;
        if (rank >= 0 && rank < size)
            name_job(&l, known[i].job, get);
        return l;
    }
    return (struct launch){.processes = 1};
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
