/* SPDX-License-Identifier: MIT
 *
 * parallel: the one file that knows OpenMP. libgomp ends the process if it cannot start a thread, and waits for ever
 * for threads that a fork left behind. Both cases are therefore checked here before a team is formed. What a reader
 * would get wrong: every thread that calls the library has its own pool of OpenMP threads, so that what is known
 * about a pool holds for one calling thread. Inside an active parallel region of the host, oneDNN runs on one
 * thread, however wide a nested team could be. That is why omp_in_parallel is asked before the team is counted. */
#define _DEFAULT_SOURCE /* syscall */
#include "backend/cpu/kernels/parallel.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The only state of the library outside handles but for the last sentence (handle.c), and for the same reason: it is
 * true of a thread, whichever context or device it computes with. A forked child has the memory of the thread that
 * forked, this included, and so finds a process here that is not its own. */
static _Thread_local struct {
    int threads;     /* of the last team, this thread counted; 0: none yet */
    int64_t process; /* where it was formed */
} pool;

/* The process in which one thread is between asking for threads and having them; 0: none. Two that asked at once would
 * be promised the same threads. It must be one for all contexts, since the limits are the process's. A forked child
 * does not wait for a thread of its parent. */
static _Atomic int64_t starting;

static void starting_begin(int64_t process)
{
    for (int64_t holder = 0; !atomic_compare_exchange_strong(&starting, &holder, process); holder = 0) {
        if (holder != process && atomic_compare_exchange_strong(&starting, &holder, process))
            return;
        sched_yield();
    }
}

static void starting_end(void)
{
    atomic_store(&starting, 0);
}

/* ---- can so many threads be started? ---- */

struct trial {
    int wanted, started, error;
};

struct trial_place {
    struct trial *trial;
    pid_t thread;
};

/* A thread that has been joined still counts for a moment, which is many milliseconds where others have the processors.
 * Its number may be given away again, hence the end after a fifth of a second. */
static void await_gone(pid_t thread)
{
    const struct timespec pause = {0, 100000};
    for (int tries = 0; tries < 3000 && syscall(SYS_tgkill, getpid(), thread, 0) == 0; tries++) {
        if (tries < 1000)
            sched_yield();
        else
            nanosleep(&pause, NULL);
    }
}

/* Each thread starts the next one and waits for it, so that all of them are there at once. The next one may fail before
 * pthread_create has returned here. */
static void *trial_thread(void *arg)
{
    struct trial_place *place = arg, next = {.trial = place->trial};
    struct trial *trial = place->trial;
    pthread_t thread;
    place->thread = (pid_t)syscall(SYS_gettid);
    if (trial->started == trial->wanted)
        return NULL;
    trial->started++;
    int error = pthread_create(&thread, NULL, trial_thread, &next);
    if (error == 0) {
        pthread_join(thread, NULL);
        await_gone(next.thread);
    } else {
        trial->error = error;
        trial->started--;
    }
    return NULL;
}

/* Threads that may be there at once. Where oneDNN has work for a part of a team, libgomp lets the others end; for the
 * next whole team it starts new ones, and does not wait until the old ones have gone. */
static int threads_at_once(int threads)
{
    return threads > 2 ? 2 * threads - 2 : threads;
}

/* As many plain threads as OpenMP would have to start, with stacks of the size that it gives them unless OMP_STACKSIZE
 * says otherwise, for which there is no call. */
static moco_status try_threads(int threads, struct err *err)
{
    const int at_once = threads_at_once(threads);
    struct trial trial = {.wanted = at_once - 1};
    struct trial_place here = {.trial = &trial};
    trial_thread(&here);
    if (trial.error == 0)
        return MOCO_OK;
    return err_set(err, MOCO_ESTATE,
                   "the cpu device computes on %d threads, which takes %d while some end and others start, and the "
                   "system starts only %d (error %d: a limit on processes, memory or pids): raise the limit, or give "
                   "the context fewer threads",
                   threads, at_once, trial.started + 1, trial.error);
}

/* ---- the team ---- */

static int form_team(int threads)
{
    int team = 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp master
        team = omp_get_num_threads();
    }
    return team;
}

/* The team's size in `team`. Threads that stayed since the last time need not be asked for again. */
static moco_status start_team(int threads, int *team, struct err *err)
{
    const int64_t process = (int64_t)getpid();
    if (pool.threads > 1 && pool.process != process)
        return err_set(err, MOCO_ESTATE,
                       "OpenMP's threads stayed behind in process %lld, of which this is a forked child: give the "
                       "context 1 thread, or exec a program that computes",
                       (long long)pool.process);
    if (pool.threads >= threads) {
        *team = form_team(threads);
    } else {
        starting_begin(process);
        moco_status status = try_threads(threads, err);
        if (status == MOCO_OK)
            *team = form_team(threads);
        starting_end();
        TRY(status);
    }
    pool.threads = *team;
    pool.process = process;
    return MOCO_OK;
}

moco_status parallel_enter(struct parallel_scope *scope, int threads, struct err *err)
{
    scope->threads = omp_get_max_threads();
    scope->dynamic = omp_get_dynamic();
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    moco_status status = parallel_check(threads, err);
    if (status != MOCO_OK)
        parallel_leave(scope);
    return status;
}

void parallel_leave(const struct parallel_scope *scope)
{
    omp_set_num_threads(scope->threads);
    omp_set_dynamic(scope->dynamic);
}

moco_status parallel_check(int threads, struct err *err)
{
    if (threads <= 1) /* needs nothing of OpenMP */
        return MOCO_OK;
    if (omp_in_parallel())
        return err_set(
            err, MOCO_ESTATE,
            "the cpu device computes on %d threads and was called inside an OpenMP parallel region, where it "
            "gets one: call it outside, or give the context 1 thread",
            threads);
    int team = 0;
    TRY(start_team(threads, &team, err));
    if (team >= threads)
        return MOCO_OK;
    const char *why = omp_get_max_active_levels() < 1    ? " (OMP_MAX_ACTIVE_LEVELS is 0)"
                      : omp_get_thread_limit() < threads ? " (OMP_THREAD_LIMIT is lower)"
                      : omp_get_dynamic()                ? " (OMP_DYNAMIC is on)"
                                                         : "";
    return err_set(err, MOCO_ESTATE, "the cpu device computes on %d threads, but OpenMP delivers only %d%s", threads,
                   team, why);
}

int parallel_allowed(int threads)
{
    int most = omp_get_max_active_levels() < 1 ? 1 : omp_get_max_threads(), limit = omp_get_thread_limit();
    most = most < limit ? most : limit;
    return most < 1 ? 1 : most < threads ? most : threads;
}

void parallel_run(int threads, void (*body)(void *arg, int thread, int threads), void *arg)
{
    if (threads <= 1) {
        body(arg, 0, 1);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        /* One part a thread. A team that shrank after it was counted shares out the missing parts and still ends. */
        for (int part = omp_get_thread_num(); part < threads; part += omp_get_num_threads())
            body(arg, part, threads);
    }
}
