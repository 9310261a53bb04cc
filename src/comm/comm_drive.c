/* SPDX-License-Identifier: MIT
 *
 * comm_drive: the one place that calls an engine. Exchanges are started and asked about in the order in which they were
 * begun, which is that of every rank. A rank that does not come is not lost yet: it may be evaluating, or saving. So when
 * an exchange has waited long the others are called by name, and only one that does not answer is given up. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "comm/comm_state.h"
#include "utf8.h"

#define BUSY_NANOSECONDS 200000  /* between two questions: little beside an exchange, much beside asking */
#define IDLE_NANOSECONDS 5000000 /* between two looks for calls of others */
#define ANSWER_SECONDS 1.0       /* a rank that was called answers by its thread, whatever else it does */

/* LOST: the number of a rank that does not answer follows, in TALE_BYTES. Bytes between two ranks keep their order. */
enum { CALL = 1, HERE = 2, LEFT = 3, LOST = 4, TALE_BYTES = 3 };

double comm_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int has_roll_call(const struct comm *c)
{
    return c->engine.send != NULL && c->threaded;
}

void comm_close(struct comm *c, int broken)
{
    if (c->closed)
        return;
    c->closed = 1;
    pthread_mutex_unlock(&c->lock);
    for (int r = 0; broken && has_roll_call(c) && r < c->engine.ranks; r++)
        if (r != c->engine.rank)
            c->engine.send(c->engine.user, r, LEFT);
    int written_to = c->linked && c->link.close(c->link.user, broken);
    written_to |= c->engine.close(c->engine.user, broken);
    pthread_mutex_lock(&c->lock);
    c->written_to = written_to;
}

int comm_end_all(struct comm *c)
{
    if (c->abort_code == 0 || c->survived)
        return 0;
    pthread_mutex_unlock(&c->lock);
    c->engine.abort(c->engine.user, c->abort_code);
    pthread_mutex_lock(&c->lock);
    c->survived = 1;
    pthread_cond_broadcast(&c->moved);
    return 1;
}

/* From here on the comm answers MOCO_ECOMM. */
static void give_up(struct comm *c, const char *why)
{
    char text[300];
    utf8_printable(text, sizeof text, why);
    err_set(&c->why, MOCO_ECOMM,
            "rank %d of %d (%s): %s; the others cannot be joined again: start all ranks from the last checkpoint",
            c->engine.rank, c->engine.ranks, c->engine.name, text);
    comm_close(c, 1);
    c->broken = 1; /* last: who sees it asks what close has said */
    pthread_cond_broadcast(&c->moved);
}

/* ---- exchanges ---- */

static const moco_comm_engine *carrier(const struct comm *c, const struct comm_job *job)
{
    return job->on_device && c->linked ? &c->link : &c->engine;
}

static int give(const moco_comm_engine *e, struct comm_job *j, char *why, size_t size)
{
    if (j->kind == COMM_GATHER)
        return j->on_device ? e->device_gather(e->user, j->data, j->count, j->event, &j->request, why, size)
                            : e->gather(e->user, j->data, j->count, &j->request, why, size);
    return j->on_device ? e->device_sum(e->user, j->data, j->count, j->dtype, j->event, &j->request, why, size)
                        : e->sum(e->user, j->data, j->count, j->dtype, &j->request, why, size);
}

static void start(struct comm *c)
{
    struct comm_job *job = &c->job[c->started % COMM_UNDER_WAY];
    const moco_comm_engine *e = carrier(c, job);
    char why[256] = "";
    pthread_mutex_unlock(&c->lock);
    int bad = give(e, job, why, sizeof why);
    pthread_mutex_lock(&c->lock);
    if (bad)
        give_up(c, why);
    else
        c->started++;
}

static int ends(struct comm *c)
{
    struct comm_job *job = &c->job[c->done % COMM_UNDER_WAY];
    char why[256] = "";
    const moco_comm_engine *e = carrier(c, job);
    int32_t done = 0;
    pthread_mutex_unlock(&c->lock);
    int bad = e->test(e->user, job->request, &done, why, sizeof why);
    pthread_mutex_lock(&c->lock);
    if (bad) {
        give_up(c, why);
    } else if (done) {
        c->done++;
        pthread_cond_broadcast(&c->moved);
    }
    return bad || done;
}

/* ---- the roll call ---- */

static void call_all(struct comm *c)
{
    memset(c->roll.answered, 0, (size_t)c->engine.ranks);
    c->roll.answered[c->engine.rank] = 1;
    c->roll.asked = 1;
    c->roll.since = comm_now();
    pthread_mutex_unlock(&c->lock);
    int bad = 0;
    for (int r = 0; r < c->engine.ranks; r++)
        if (r != c->engine.rank)
            bad |= c->engine.send(c->engine.user, r, CALL);
    pthread_mutex_lock(&c->lock);
    if (bad)
        give_up(c, "the others cannot be called");
}

/* Before this rank gives up: the others would find out by themselves, but not at the same time. */
static void tell_lost(struct comm *c, int lost)
{
    pthread_mutex_unlock(&c->lock);
    for (int r = 0; r < c->engine.ranks; r++) {
        if (r == c->engine.rank || r == lost)
            continue;
        c->engine.send(c->engine.user, r, LOST);
        for (int i = 0; i < TALE_BYTES; i++)
            c->engine.send(c->engine.user, r, (uint8_t)(lost >> 8 * i));
    }
    pthread_mutex_lock(&c->lock);
}

static void give_up_for(struct comm *c, int lost, const char *what)
{
    char why[256];
    const char *host = c->hosts[lost];
    snprintf(why, sizeof why, "rank %d%s%.*s%s %s", lost, host[0] ? " (" : "", COMM_HOST, host, host[0] ? ")" : "",
             what);
    give_up(c, why);
}

/* A byte of what rank `from` says of another; 0: it says nothing of that kind. */
static int hear_tale(struct comm *c, int from, uint8_t byte)
{
    struct tale *t = &c->roll.tale[from];
    char what[48];
    if (t->bytes == 0 && byte != LOST)
        return 0;
    if (t->bytes == 0) {
        *t = (struct tale){.bytes = TALE_BYTES};
        return 1;
    }
    t->rank |= byte << 8 * (TALE_BYTES - t->bytes--);
    if (t->bytes == 0 && t->rank < c->engine.ranks && c->done < c->begun) {
        snprintf(what, sizeof what, "does not answer rank %d", from);
        give_up_for(c, t->rank, what);
    }
    return 1;
}

/* Takes what came. */
static void hear(struct comm *c)
{
    int32_t came = 1, from = 0;
    uint8_t byte = 0;
    while (!c->broken) {
        pthread_mutex_unlock(&c->lock);
        int bad = c->engine.receive(c->engine.user, &from, &byte, &came);
        pthread_mutex_lock(&c->lock);
        if (!bad && came && (from < 0 || from >= c->engine.ranks || hear_tale(c, from, byte)))
            continue;
        pthread_mutex_unlock(&c->lock);
        if (!bad && came && byte == CALL)
            bad = c->engine.send(c->engine.user, from, HERE);
        pthread_mutex_lock(&c->lock);
        if (bad || !came) {
            if (bad)
                give_up(c, "calls of the others cannot be heard");
            return;
        }
        if (byte == HERE)
            c->roll.answered[from] = 1;
        if (byte == LEFT && c->done < c->begun) {
            char why[64];
            snprintf(why, sizeof why, "rank %d has given up", from);
            give_up(c, why);
        }
    }
}

/* Ends a roll call: gives up if a rank has not answered in time, and starts waiting anew if all have. */
static void name_silent(struct comm *c, double waited)
{
    char what[128];
    int silent = 0, first = -1;
    for (int r = 0; r < c->engine.ranks; r++)
        if (!c->roll.answered[r] && silent++ == 0)
            first = r;
    if (silent == 0) {
        c->roll.asked = 0;
        c->roll.since = comm_now();
        ctx_log(c->ctx, LOG_INFO, "exchange %lld has waited %.0f seconds; all %d ranks answer", (long long)c->done + 1,
                waited, c->engine.ranks);
        return;
    }
    if (comm_now() - c->roll.since < ANSWER_SECONDS)
        return;
    snprintf(what, sizeof what, "does not answer%s, and exchange %lld has waited %.0f seconds for all ranks",
             silent > 1 ? ", nor do others" : "", (long long)c->done + 1, waited);
    tell_lost(c, first);
    give_up_for(c, first, what);
}

/* How long the oldest exchange has waited, and what follows from it. */
static void watch(struct comm *c)
{
    char why[128];
    double now = comm_now(), asked = c->job[c->done % COMM_UNDER_WAY].asked, waited = now - asked;
    if (c->o.patience_seconds > 0 && waited > c->o.patience_seconds) {
        snprintf(why, sizeof why, "exchange %lld was not joined by all ranks within %g seconds", (long long)c->done + 1,
                 c->o.patience_seconds);
        give_up(c, why);
        return;
    }
    if (!has_roll_call(c))
        return;
    if (c->roll.asked)
        name_silent(c, waited);
    else if (waited > c->o.silence_seconds && now - c->roll.since > c->o.silence_seconds)
        call_all(c);
}

/* ---- driving ---- */

int comm_drive(struct comm *c)
{
    int moved = 0;
    if (c->broken || c->closed)
        return 0;
    if (atomic_load(&c->cancel)) {
        give_up(c, "an exchange was given up by the program");
        return 1;
    }
    while (!c->broken && c->started < c->begun) {
        start(c);
        moved = 1;
    }
    while (!c->broken && c->done < c->started && ends(c))
        moved = 1;
    if (!c->broken && has_roll_call(c))
        hear(c);
    if (!c->broken && c->done < c->begun)
        watch(c);
    return moved || c->broken;
}

void *comm_serve(void *comm)
{
    struct comm *c = comm;
    pthread_mutex_lock(&c->lock);
    while (!c->quit) {
        if (comm_end_all(c) || comm_drive(c))
            continue;
        int idle = c->done == c->begun || c->broken;
        if (idle && (c->broken || c->engine.send == NULL)) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        /* Work that comes meanwhile is seen at once while idle, and after the pause while busy. */
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += idle ? IDLE_NANOSECONDS : BUSY_NANOSECONDS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&c->work, &c->lock, &until);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}
