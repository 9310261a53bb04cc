/* SPDX-License-Identifier: MIT
 *
 * tool_rank_faults MODULE FILE LAST SILENCE [FAULT WHO STEP PHASE]: one rank of those that a launcher has started. They
 * train LAST steps from FILE if it is there; rank 0 saves after each. In step STEP rank WHO meets FAULT: kill, stop, blink
 * (stopped for half of SILENCE), late (stopped, and woken when the others have given up), slow (works on for three times
 * SILENCE), disk (its save finds no place), link (its network device e0 goes down). With isa, which is the caller's to bring
 * about, they train on cpu. PHASE: 0 before the step, 1 to 4 after so many launches, 5 between step and
 * save. Each rank prints how it ended; one that lost another exits with 75.
 * tool_rank_faults same A B: two states are one up to the order of sums. */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/rigs/rank_module.h"
#include "tolerances.h"

extern char **environ;

static struct rank k;
static struct {
    const char *what;
    int who, phase;
    int64_t step;
    double silence;
} fault = {.who = -1};
static int64_t step;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void sleep_for(double length)
{
    struct timespec left = {(time_t)length, (long)((length - (double)(time_t)length) * 1e9)};
    while (nanosleep(&left, &left) != 0)
        ;
}

/* Its process, or -1. */
static pid_t start_shell(char *command)
{
    char shell[] = "sh", option[] = "-c", *const argv[] = {shell, option, command, NULL};
    pid_t child;
    return posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ) == 0 ? child : -1;
}

static void stop_for(double length)
{
    char command[100];
    snprintf(command, sizeof command, "sleep %g; kill -CONT %d", length, (int)getpid());
    if (start_shell(command) > 0)
        raise(SIGSTOP);
}

static void cut_link(void)
{
    char command[] = "ip link set e0 down";
    int status = 1;
    pid_t child = start_shell(command);
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
        printf("rank %d cannot cut its link\n", k.rank);
}

static int is(const char *what)
{
    return fault.what != NULL && strcmp(fault.what, what) == 0;
}

static void at(int phase)
{
    if (k.rank != fault.who || step != fault.step || phase != fault.phase)
        return;
    fault.who = -1;
    if (is("kill"))
        raise(SIGKILL);
    if (is("stop"))
        raise(SIGSTOP);
    if (is("blink"))
        stop_for(fault.silence / 2);
    if (is("late"))
        stop_for(fault.silence + 4);
    if (is("slow"))
        sleep_for(3 * fault.silence);
    if (is("link"))
        cut_link();
}

static void after_launch(void *user, int done, int of)
{
    (void)user, (void)of;
    at(done);
}

static struct rig_spec spec_of(void)
{
    struct rig_spec spec = rig_spec();
    spec.device = is("isa") ? "cpu" : "ref";
    spec.model.width = 0.0625;
    spec.trainer.batch_size = 24;
    spec.queue_length = 24;
    spec.trainer.progress = after_launch;
    return spec;
}

static int same(const char *const *path)
{
    struct rig rig[2];
    struct rig_spec spec = spec_of();
    const char *name;
    int good = 1;
    for (int i = 0; i < 2; i++) {
        rig_open(&rig[i], &spec);
        good &= moco_trainer_load(rig[i].trainer, path[i]) == MOCO_OK;
    }
    for (int i = 0; good && (name = moco_trainer_tensor_name(rig[0].trainer, i)) != NULL; i++) {
        double error = strncmp(name, "grad.", 5) == 0 ? 0 : rig_difference(&rig[0], &rig[1], name); /* not saved */
        good = error <= TOL_SUM_ORDER;
        if (!good)
            printf("%s differs by %g\n", name, error);
    }
    for (int i = 0; i < 2; i++)
        rig_close(&rig[i]);
    return good;
}

/* With the disk full: no file may grow beyond a few bytes. */
static void save(const char *path)
{
    struct rlimit old, none;
    int full = is("disk") && step == fault.step;
    getrlimit(RLIMIT_FSIZE, &old);
    none = old;
    none.rlim_cur = 4096;
    if (full)
        setrlimit(RLIMIT_FSIZE, &none);
    moco_status status = moco_trainer_save(k.rig.trainer, path, NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    if ((status == MOCO_OK) == full)
        printf("rank 0: a save answers %d\n", (int)status);
}

/* The others may be gone: nothing waits for them. */
static void lost(double begun, const char *path)
{
    int64_t saved = -1;
    double after = seconds() - begun;
    moco_status whole =
        access(path, F_OK) == 0 ? moco_checkpoint_describe(k.rig.context, path, NULL, NULL, &saved, NULL, 0) : MOCO_OK;
    printf("rank %d lost after %.1f s, file %s: %s\n", k.rank, after, whole == MOCO_OK ? "whole" : "damaged",
           k.sentence);
    fflush(NULL);
    sleep_for(2); /* the launcher ends the others with the first that exits */
    _exit(75);
}

int main(int argc, char **argv)
{
    moco_context *context;
    moco_comm_options o;
    if (argc == 4 && strcmp(argv[1], "same") == 0)
        return !same((const char *const *)argv + 2);
    if ((argc != 5 && argc != 9) || moco_context_create(&context, NULL) != MOCO_OK)
        return 2;
    signal(SIGXFSZ, SIG_IGN);
    moco_comm_options_init(&o);
    fault.silence = o.silence_seconds = atof(argv[4]);
    if (argc == 9) {
        fault.what = argv[5];
        fault.who = atoi(argv[6]);
        fault.step = atoi(argv[7]);
        fault.phase = atoi(argv[8]);
    }
    struct rig_spec spec = spec_of();
    rank_join_module(&k, argv[1], context, &o);
    moco_status status = rank_open(&k, &spec);
    if (status == MOCO_OK && access(argv[2], F_OK) == 0)
        status = rank_note(&k, moco_trainer_load(k.rig.trainer, argv[2]));
    if (status == MOCO_OK)
        status = rank_note(&k, moco_trainer_cursor(k.rig.trainer, &step, NULL, NULL));
    while (status == MOCO_OK && step < atoi(argv[3])) {
        double begun = seconds();
        at(0);
        status = rank_step(&k, step);
        if (status == MOCO_ECOMM)
            lost(begun, argv[2]);
        if (status == MOCO_OK)
            at(5);
        if (status == MOCO_OK && k.rank == 0)
            save(argv[2]);
        step++;
    }
    /* Nobody ends before all have come to the end: a rank that is lost now is found by the roll call, too. */
    int32_t ends[16] = {0};
    double begun = seconds();
    if (status == MOCO_OK && rank_note(&k, moco_comm_gather(k.comm, ends, sizeof ends[0])) == MOCO_ECOMM)
        lost(begun, argv[2]);
    printf("rank %d %s\n", k.rank, status == MOCO_OK ? "done" : k.sentence);
    fflush(NULL); /* MPI may not end before the script has seen enough */
    moco_comm_free(k.comm);
    rank_close(&k);
    moco_context_free(context);
    return status != MOCO_OK;
}
