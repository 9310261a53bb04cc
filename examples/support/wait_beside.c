/* SPDX-License-Identifier: MIT
 *
 * wait_beside: see wait_beside.h. libgomp ends a process if the system starts no more threads. Plain threads are
 * therefore tried first, before libgomp is asked for a team. */
#define _GNU_SOURCE /* RTLD_DEFAULT, sched_getaffinity */
#include "wait_beside.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "human.h"
#include "wait_policy.h"

#define LOOK_EVERY 0.25 /* seconds */
#define LOOKS_TO_BRIEF 2
#define LOOKS_TO_LONG 8
#define PATIENCE_MOST 240 /* looks: a minute */
/* Threads that wait briefly leave their processor, so that less of it is found taken: half as much keeps it so. */
#define OTHERS_STILL 0.075
#define THREADS_MOST 256

int wait_beside_look(struct wait_beside *w, const struct contention_use *passed)
{
    double capacity = passed->seconds * passed->processors;
    int others = contention_share(passed) > 0;
    if (w->brief && capacity > 0)
        others = passed->all - passed->own >= OTHERS_STILL * capacity;
    if (w->patience == 0)
        *w = (struct wait_beside){.patience = LOOKS_TO_LONG, .since = LOOKS_TO_LONG};
    w->since++;
    w->agreeing = others != w->brief ? w->agreeing + 1 : 0;
    if (w->agreeing < (w->brief ? w->patience : LOOKS_TO_BRIEF))
        return w->brief;
    if (!w->brief && w->since <= LOOKS_TO_LONG) /* it had gone back too early */
        w->patience = 2 * w->patience < PATIENCE_MOST ? 2 * w->patience : PATIENCE_MOST;
    else if (!w->brief)
        w->patience = LOOKS_TO_LONG;
    w->brief = !w->brief;
    w->agreeing = 0;
    w->since = 0;
    return w->brief;
}

/* ---- the team that sleeps ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    int running, end;
    unsigned width;
} team = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void nothing(void *arg)
{
    (void)arg;
}

/* GCC's own entry to OpenMP, so that this file needs no OpenMP to be built. NULL: no GNU OpenMP, and nothing to do. */
static void *entry(void)
{
    return dlsym(RTLD_DEFAULT, "GOMP_parallel");
}

static void form_team(unsigned width)
{
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
    void *symbol = entry();
    memcpy(&parallel, &symbol, sizeof parallel);
    parallel(nothing, NULL, width, 0);
}

/* Its pool ends with the thread that formed it. */
static void *sleeping(void *arg)
{
    (void)arg;
    form_team(team.width);
    pthread_mutex_lock(&team.lock);
    while (!team.end)
        pthread_cond_wait(&team.changed, &team.lock);
    pthread_mutex_unlock(&team.lock);
    return NULL;
}

static void *waiting(void *arg)
{
    pthread_mutex_lock(arg);
    pthread_mutex_unlock(arg);
    return NULL;
}

/* Are there threads to be had? As many at once as the team will have. */
static int try_threads(unsigned count)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread[THREADS_MOST];
    unsigned started = 0;
    pthread_mutex_lock(&gate);
    while (started < count && pthread_create(&thread[started], NULL, waiting, &gate) == 0)
        started++;
    pthread_mutex_unlock(&gate);
    for (unsigned i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    return started == count;
}

/* With the threads that compute, one more than there are processors. */
static unsigned width_wanted(void)
{
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) != 0)
        return 0;
    int processors = CPU_COUNT(&mine), computing = wait_policy_threads();
    computing = computing == 0 || computing > processors ? processors : computing;
    return (unsigned)(processors - computing + 2);
}

static void team_start(void)
{
    sigset_t all, before;
    team.width = width_wanted();
    if (entry() == NULL || team.width == 0 || team.width >= THREADS_MOST)
        return;
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    team.end = 0;
    if (try_threads(team.width + 1))
        team.running = pthread_create(&team.thread, NULL, sleeping, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void team_end(void)
{
    pthread_mutex_lock(&team.lock);
    team.end = 1;
    pthread_cond_signal(&team.changed);
    pthread_mutex_unlock(&team.lock);
    pthread_join(team.thread, NULL);
    team.running = 0;
}

void wait_beside_team(int wanted)
{
    if (wanted && !team.running)
        team_start();
    else if (!wanted && team.running)
        team_end();
}

/* ---- looking ---- */

static struct {
    struct wait_beside decision;
    struct contention_use at;
    int started, blind;
} watch;

void wait_beside_step(void)
{
    struct contention_use now, passed;
    if (watch.blind || !wait_policy_adapts() || (watch.started && seconds_now() - watch.at.seconds < LOOK_EVERY))
        return;
    if (!contention_read(&now)) {
        watch.blind = 1; /* it will not be known later, either */
        return;
    }
    contention_between(&watch.at, &now, &passed);
    int known = watch.started && now.processors == watch.at.processors;
    watch.at = now;
    watch.started = 1;
    if (!known)
        return;
    wait_beside_team(wait_beside_look(&watch.decision, &passed));
}

void wait_beside_end(void)
{
    wait_beside_team(0);
    memset(&watch, 0, sizeof watch);
}
