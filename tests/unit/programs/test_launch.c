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
#include "run/ranks_gpus.h"
#include "support/scratch_folder.h"

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

static void expect_job(const char *const *environment, int64_t rank, int64_t local, const char *job)
{
    pairs = environment;
    struct launch l = launch_read(get);
    assert_int_equal(l.rank, rank);
    assert_int_equal(l.local, local);
    assert_string_equal(l.job, job);
}

/* No two starts of a job have one name, and MPI needs none. */
static void jobs(void **state)
{
    (void)state;
    expect_job((const char *const[]){"WORLD_SIZE", "8", "RANK", "5", "LOCAL_RANK", "1", "MASTER_PORT", "29500",
                                     "TORCHELASTIC_RUN_ID", "a/../b c", "TORCHELASTIC_RESTART_COUNT", "2", NULL},
               5, 1, "a____b_c-29500-2");
    expect_job(
        (const char *const[]){"WORLD_SIZE", "8", "RANK", "9", "LOCAL_RANK", "1", "TORCHELASTIC_RUN_ID", "x", NULL}, 9,
        1, ""); /* there is no such rank */
    expect_job((const char *const[]){"SLURM_STEP_NUM_TASKS", "16", "SLURM_PROCID", "3", "SLURM_LOCALID", "3",
                                     "SLURM_JOB_ID", "77", "SLURM_STEP_ID", "1", NULL},
               3, 3, "77-1-0");
    expect_job((const char *const[]){"OMPI_COMM_WORLD_SIZE", "4", "OMPI_COMM_WORLD_RANK", "2",
                                     "OMPI_COMM_WORLD_LOCAL_RANK", "1", "SLURM_JOB_ID", "77", NULL},
               2, 1, "");
    expect_job((const char *const[]){NULL}, 0, 0, "");
}

/* ---- the id of ranks with GPUs ---- */

static void an_id_comes_whole_or_not_at_all(void **state)
{
    (void)state;
    struct scratch_folder folder;
    struct err err = {0};
    struct launch l = {.job = "77-1-0"};
    unsigned char id[MOCO_COMM_ID_BYTES], got[MOCO_COMM_ID_BYTES] = {0};
    char path[1000];
    scratch_folder_make(&folder);
    for (int i = 0; i < MOCO_COMM_ID_BYTES; i++)
        id[i] = (unsigned char)(i * 7);
    gpus_id_path(path, sizeof path, folder.path, &l);
    assert_string_equal(strrchr(path, '/'), "/nccl-id-77-1-0");
    assert_int_equal(gpus_read_id(path, got, 0.1, &err), MOCO_ECOMM);
    assert_non_null(strstr(err.text, "all ranks must see the run folder"));
    assert_int_equal(gpus_write_id(path, id, &err), MOCO_OK);
    assert_int_equal(gpus_write_id(path, id, &err), MOCO_OK); /* of a start that failed, under the same name */
    assert_int_equal(gpus_read_id(path, got, 0.1, &err), MOCO_OK);
    assert_memory_equal(got, id, sizeof id);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(id, 100, 1, f), 1);
    fclose(f);
    err = (struct err){0};
    assert_int_equal(gpus_read_id(path, got, 0.1, &err), MOCO_ECOMM);
    assert_non_null(strstr(err.text, "is no id of 128 bytes"));
    remove(path);
    err = (struct err){0};
    assert_int_equal(gpus_write_id("/no/such/folder/id", id, &err), MOCO_EIO);
    assert_non_null(strstr(err.text, "/no/such/folder/id"));
    scratch_folder_remove(&folder);
}

static void gpus_are_those_of_the_host(void **state)
{
    (void)state;
    char name[64];
    gpus_device(name, sizeof name, "cuda", 3);
    assert_string_equal(name, "cuda:3");
    gpus_device(name, sizeof name, "cuda:1", 3);
    assert_string_equal(name, "cuda:1");
    gpus_device(name, sizeof name, "cpu", 3);
    assert_string_equal(name, "cpu");
}

/* mpirun's processes have MPI, which has no file; and one process alone has no job. */
static void nccl_alone_is_for_launchers_without_mpi(void **state)
{
    (void)state;
    struct err err = {0};
    struct gpus gpus;
    pairs = (const char *const[]){"PMI_SIZE", "8", "PMI_RANK", "7", NULL};
    struct launch l = launch_read(get);
    assert_int_equal(gpus_join(&gpus, &l, "cuda", "/nowhere", NULL, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "torchrun or srun has started, not a launcher of MPICH's kind"));
    assert_null(gpus.comm);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launchers),
        cmocka_unit_test(jobs),
        cmocka_unit_test(an_id_comes_whole_or_not_at_all),
        cmocka_unit_test(gpus_are_those_of_the_host),
        cmocka_unit_test(nccl_alone_is_for_launchers_without_mpi),
        cmocka_unit_test(engines_that_see_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
