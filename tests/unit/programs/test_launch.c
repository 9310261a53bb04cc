/* SPDX-License-Identifier: MIT
 *
 * test_launch: what launchers say in the environment, and that an engine which disagrees is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "run/launch.h"

static const char *const *pairs; /* name, value, ..., NULL */

static const char *get(const char *name)
{
    for (const char *const *p = pairs; *p != NULL; p += 2)
        if (strcmp(p[0], name) == 0)
            return p[1];
    return NULL;
}

static void expect(const char *const *environment, const char *by, int64_t processes)
{
    pairs = environment;
    struct launch l = launch_read(get);
    if (by == NULL ? l.by != NULL : l.by == NULL || strstr(l.by, by) == NULL)
        fail_msg("%s instead of %s", l.by != NULL ? l.by : "nobody", by != NULL ? by : "nobody");
    assert_int_equal(l.processes, processes);
}

static void launchers(void **state)
{
    (void)state;
    expect((const char *const[]){NULL}, NULL, 1);
    expect((const char *const[]){"OMPI_COMM_WORLD_SIZE", "4", "OMPI_COMM_WORLD_RANK", "0", "PMI_SIZE", "3", NULL},
           "Open MPI", 4);
    expect((const char *const[]){"PMI_SIZE", "8", "PMI_RANK", "7", "SLURM_NTASKS", "8", NULL}, "MPICH", 8);
    expect((const char *const[]){"WORLD_SIZE", "2", "RANK", "1", "LOCAL_RANK", "1", NULL}, "torchrun", 2);
    expect((const char *const[]){"SLURM_STEP_NUM_TASKS", "16", "SLURM_PROCID", "3", NULL}, "srun", 16);
    /* A shell within an allocation, one process alone, and what is no number. */
    expect((const char *const[]){"SLURM_NTASKS", "16", "SLURM_JOB_ID", "3", NULL}, NULL, 1);
    expect((const char *const[]){"PMI_SIZE", "1", "PMI_RANK", "0", NULL}, NULL, 1);
    expect((const char *const[]){"OMPI_COMM_WORLD_SIZE", "4", NULL}, NULL, 1);
    expect((const char *const[]){"PMI_SIZE", "4x", "PMI_RANK", "0", NULL}, NULL, 1);
    expect((const char *const[]){"PMI_SIZE", "", "PMI_RANK", "0", NULL}, NULL, 1);
    expect((const char *const[]){"PMI_SIZE", "99999999999", "PMI_RANK", "0", NULL}, NULL, 1);
}

static void engines_that_see_others(void **state)
{
    (void)state;
    struct err err = {0};
    pairs = (const char *const[]){"PMI_SIZE", "8", "PMI_RANK", "7", NULL};
    struct launch l = launch_read(get);
    assert_int_equal(launch_check(&l, 8, "MPICH 4.0.2", &err), MOCO_OK);
    assert_int_equal(launch_check(&l, 1, "Open MPI v4.1.4", &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "MPICH's kind"));
    assert_non_null(
        strstr(err.text, "started 8 processes, but libmoco_mpi.so was built with Open MPI v4.1.4 and sees 1"));
    pairs = (const char *const[]){"WORLD_SIZE", "2", "LOCAL_RANK", "1", NULL};
    l = launch_read(get);
    err = (struct err){0};
    assert_int_equal(launch_check(&l, 1, "", &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "torchrun started 2 processes, which MPI knows nothing of"));
    pairs = (const char *const[]){NULL};
    l = launch_read(get);
    assert_int_equal(launch_check(&l, 64, "Open MPI v4.1.4", &err), MOCO_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(launchers), cmocka_unit_test(engines_that_see_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
