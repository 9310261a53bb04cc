/* SPDX-License-Identifier: MIT
 *
 * comm: see comm.h. The side of the program: making one, beginning exchanges, waiting, voting. */
#include "comm/comm.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "comm/comm_state.h"
#include "utf8.h"

#define PAUSE_NANOSECONDS 200000 /* of who drives the engine while it waits */

static const moco_comm_options defaults = {.silence_seconds = 30, .bucket_bytes = 25e6};

/* ---- making ---- */

static moco_status check(const moco_comm_engine *e, const moco_comm_options *o, struct err *err)
{
    if (e->ranks < 1 || e->ranks > COMM_RANKS_MAX || e->rank < 0 || e->rank >= e->ranks)
        return err_set(err, MOCO_EINVAL, "comm: rank %d of %d ranks; they count from 0, and are %d at most", e->rank,
                       e->ranks, COMM_RANKS_MAX);
    if (e->sum == NULL || e->gather == NULL || e->test == NULL)
        return err_set(err, MOCO_EINVAL, "comm: the engine has no function %s",
                       e->sum == NULL      ? "sum"
                       : e->gather == NULL ? "gather"
                                           : "test");
    if ((e->send == NULL) != (e->receive == NULL))
        return err_set(err, MOCO_EINVAL, "comm: the engine has only one of the functions send and receive");
    if ((e->device_sum == NULL) != (e->device_gather == NULL))
        return err_set(err, MOCO_EINVAL, "comm: the engine has only one of the functions device_sum and device_gather");
    if (!(o->silence_seconds > 0 && isfinite(o->silence_seconds)))
        return err_set(err, MOCO_EINVAL, "comm: silence_seconds must be greater than 0");
    if (!(o->patience_seconds >= 0 && isfinite(o->patience_seconds)))
        return err_set(err, MOCO_EINVAL, "comm: patience_seconds must be 0 (for ever) or more");
    if (!(o->bucket_bytes >= 1 && o->bucket_bytes <= 1e15))
        return err_set(err, MOCO_EINVAL, "comm: bucket_bytes must be 1 or more");
    return MOCO_OK;
}

static moco_status take_memory(struct comm *c, struct err *err)
{
    size_t ranks = (size_t)c->engine.ranks;
    c->ballots = mem_array(c->ctx, ranks, sizeof *c->ballots, err);
    c->hosts = mem_array(c->ctx, ranks, sizeof *c->hosts, err);
    c->roll.answered = mem_array(c->ctx, ranks, 1, err);
    c->roll.tale = mem_array(c->ctx, ranks, sizeof *c->roll.tale, err);
    return c->ballots != NULL && c->hosts != NULL && c->roll.answered != NULL && c->roll.tale != NULL ? MOCO_OK
                                                                                                      : MOCO_ENOMEM;
}

/* Signals belong to the program's own threads: ours blocks them all. */
static moco_status start_thread(struct comm *c, struct err *err)
{
    sigset_t all, old;
    if (!c->engine.any_thread || c->engine.ranks == 1)
        return MOCO_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    c->threaded = 1; /* read by the thread from its first instruction on */
    int failed = pthread_create(&c->thread, NULL, comm_serve, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed == 0)
        return MOCO_OK;
    c->threaded = 0;
    return err_set(err, MOCO_ENOMEM, "comm: its thread cannot be started: error %d", failed);
}

static moco_status make(struct comm *c, struct err *err)
{
    int64_t ticket;
    TRY(take_memory(c, err));
    TRY(start_thread(c, err));
    if (c->engine.send == NULL)
        return MOCO_OK;
    memcpy(c->hosts[c->engine.rank], c->engine.host, COMM_HOST);
    return comm_gather(c, c->hosts, COMM_HOST, &ticket, err);
}

moco_status comm_create(struct comm **out, struct ctx *ctx, const moco_comm_engine *engine,
                        const moco_comm_options *options, struct err *err)
{
    const moco_comm_options *o = options != NULL ? options : &defaults;
    *out = NULL;
    moco_status status = check(engine, o, err);
    struct comm *c = status == MOCO_OK ? mem_zalloc(ctx, sizeof *c, err) : NULL;
    if (c == NULL) {
        engine->close(engine->user, 0);
        return status != MOCO_OK ? status : MOCO_ENOMEM;
    }
    c->ctx = ctx;
    c->engine = *engine;
    c->engine.name[sizeof c->engine.name - 1] = c->engine.host[sizeof c->engine.host - 1] = 0;
    c->o = *o;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->moved, NULL);
    status = make(c, err);
    if (status != MOCO_OK) {
        comm_free(c);
        return status;
    }
    *out = c;
    return MOCO_OK;
}

void comm_free(struct comm *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->quit = 1;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    if (c->threaded)
        pthread_join(c->thread, NULL);
    pthread_mutex_lock(&c->lock);
    comm_close(c, atomic_load(&c->cancel) || c->done < c->begun);
    pthread_mutex_unlock(&c->lock);
    if (!c->written_to) { /* a vote, or the exchange of names, may be under way */
        mem_free(c->ctx, c->ballots);
        mem_free(c->ctx, c->hosts);
    }
    mem_free(c->ctx, c->roll.answered);
    mem_free(c->ctx, c->roll.tale);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->moved);
    pthread_mutex_destroy(&c->lock);
    mem_free(c->ctx, c);
}

/* ---- asking ---- */

int comm_rank(const struct comm *c)
{
    return c->engine.rank;
}

int comm_ranks(const struct comm *c)
{
    return c->engine.ranks;
}

double comm_bucket_bytes(const struct comm *c)
{
    return c->o.bucket_bytes;
}

int comm_written_to(struct comm *c)
{
    pthread_mutex_lock(&c->lock);
    int written_to = c->written_to;
    pthread_mutex_unlock(&c->lock);
    return written_to;
}

void comm_link(struct comm *c, const moco_comm_engine *link, const void *device)
{
    pthread_mutex_lock(&c->lock);
    c->link = *link;
    c->linked = 1;
    c->device = device;
    pthread_mutex_unlock(&c->lock);
}

void comm_set_device(struct comm *c, const void *device)
{
    c->device = device;
}

const void *comm_device(const struct comm *c)
{
    return c->device;
}

int comm_reaches_devices(const struct comm *c)
{
    return c->linked || c->engine.device_sum != NULL;
}

void comm_describe(struct comm *c, moco_comm_info *info)
{
    const moco_comm_engine *e = &c->engine;
    pthread_mutex_lock(&c->lock);
    *info = (moco_comm_info){.struct_size = sizeof *info,
                             .rank = e->rank,
                             .ranks = e->ranks,
                             .own_thread = c->threaded,
                             .exchanges = c->begun,
                             .bytes = c->bytes,
                             .waited_seconds = c->waited,
                             .broken = c->broken || atomic_load(&c->cancel)};
    pthread_mutex_unlock(&c->lock);
    memcpy(info->engine, e->name, sizeof info->engine);
    if (c->linked)
        snprintf(info->engine, sizeof info->engine, "%.40s, %.20s", e->name, c->link.name);
    memcpy(info->host, e->host, sizeof info->host);
}

/* ---- exchanges ---- */

/* MOCO_ECOMM from the first failure on; with the lock held. */
static moco_status check_whole(struct comm *c, struct err *err)
{
    if (!c->broken && !atomic_load(&c->cancel))
        return MOCO_OK;
    while (!c->broken) /* who calls the engine has not taken notice yet */
        if (c->threaded) {
            pthread_cond_signal(&c->work);
            pthread_cond_wait(&c->moved, &c->lock);
        } else {
            comm_drive(c);
        }
    return err_set(err, MOCO_ECOMM, "%s", c->why.text);
}

/* Until `exchanges` of those begun are done; with the lock held. */
static moco_status finish(struct comm *c, int64_t exchanges, struct err *err)
{
    const struct timespec pause = {0, PAUSE_NANOSECONDS};
    if (c->done >= exchanges)
        return check_whole(c, err);
    double from = comm_now();
    while (c->done < exchanges && !c->broken) {
        if (c->threaded) {
            pthread_cond_wait(&c->moved, &c->lock);
        } else if (!comm_drive(c)) {
            pthread_mutex_unlock(&c->lock);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&c->lock);
        }
    }
    c->waited += comm_now() - from;
    return check_whole(c, err);
}

static moco_status begin(struct comm *c, const struct comm_job *job, size_t bytes, int64_t *ticket, struct err *err)
{
    pthread_mutex_lock(&c->lock);
    moco_status status = finish(c, c->begun - COMM_UNDER_WAY + 1, err);
    if (status == MOCO_OK) {
        struct comm_job *at = &c->job[c->begun % COMM_UNDER_WAY];
        *at = *job;
        at->asked = comm_now();
        c->bytes += (int64_t)bytes;
        *ticket = ++c->begun;
        if (c->threaded)
            pthread_cond_signal(&c->work);
        else
            comm_drive(c);
        status = check_whole(c, err);
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

static size_t real_size(moco_dtype real)
{
    return real == MOCO_F64 ? sizeof(double) : sizeof(float);
}

moco_status comm_gather(struct comm *c, void *blocks, size_t each, int64_t *ticket, struct err *err)
{
    const struct comm_job job = {.kind = COMM_GATHER, .data = blocks, .count = (int64_t)each};
    return begin(c, &job, each, ticket, err);
}

moco_status comm_sum(struct comm *c, void *data, size_t count, moco_dtype real, int64_t *ticket, struct err *err)
{
    const struct comm_job job = {.kind = COMM_SUM, .data = data, .count = (int64_t)count, .dtype = (int32_t)real};
    return begin(c, &job, count * real_size(real), ticket, err);
}

moco_status comm_device_gather(struct comm *c, void *blocks, size_t each, void *event, int64_t *ticket, struct err *err)
{
    const struct comm_job job = {
        .kind = COMM_GATHER, .data = blocks, .count = (int64_t)each, .on_device = 1, .event = event};
    return begin(c, &job, each, ticket, err);
}

moco_status comm_device_sum(struct comm *c, void *data, size_t count, moco_dtype real, void *event, int64_t *ticket,
                            struct err *err)
{
    const struct comm_job job = {.kind = COMM_SUM,
                                 .data = data,
                                 .count = (int64_t)count,
                                 .dtype = (int32_t)real,
                                 .on_device = 1,
                                 .event = event};
    return begin(c, &job, count * real_size(real), ticket, err);
}

moco_status comm_wait(struct comm *c, int64_t ticket, struct err *err)
{
    pthread_mutex_lock(&c->lock);
    moco_status status = MOCO_EINVAL;
    if (ticket < 1 || ticket > c->begun)
        err_set(err, status, "comm: ticket %lld of %lld", (long long)ticket, (long long)c->begun);
    else
        status = finish(c, ticket, err);
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* ---- the vote ---- */

void comm_fill(struct comm_ballot *ballot, moco_status mine, const struct err *err)
{
    memset(ballot, 0, sizeof *ballot);
    ballot->status = mine;
    if (mine != MOCO_OK && err != NULL)
        utf8_printable(ballot->sentence, sizeof ballot->sentence, err->text);
}

moco_status comm_count(const struct comm *c, const void *blocks, size_t each, struct err *err)
{
    for (int r = 0; r < c->engine.ranks; r++) {
        struct comm_ballot b;
        memcpy(&b, (const char *)blocks + (size_t)r * each, sizeof b);
        if (b.status == MOCO_OK)
            continue;
        if (err != NULL)
            *err = (struct err){0}; /* all ranks say the same, also one that has failed in its own way */
        return err_set(err, (moco_status)b.status, "rank %d of %d: %.*s", r, c->engine.ranks, (int)sizeof b.sentence,
                       b.sentence);
    }
    return MOCO_OK;
}

moco_status comm_vote(struct comm *c, moco_status mine, struct err *err)
{
    int64_t ticket;
    struct err lost = {0};
    if (c->engine.ranks == 1)
        return mine; /* and its sentence, whole, as it is */
    comm_fill(&c->ballots[c->engine.rank], mine, err);
    moco_status status = comm_gather(c, c->ballots, sizeof *c->ballots, &ticket, &lost);
    if (status == MOCO_OK)
        status = comm_wait(c, ticket, &lost); /* and for all exchanges before it */
    if (status == MOCO_OK)
        return comm_count(c, c->ballots, sizeof *c->ballots, err);
    return mine != MOCO_OK ? mine : err_set(err, status, "%s", lost.text); /* what this rank met first is the reason */
}

void comm_cancel(struct comm *c)
{
    atomic_store(&c->cancel, 1);
}

moco_status comm_abort(struct comm *c, int code, double seconds, struct err *err)
{
    if (c->engine.abort == NULL)
        return err_set(err, MOCO_ENOTSUP, "comm: %s knows no way to end the other ranks", c->engine.name);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    double end = (double)until.tv_sec + 1e-9 * (double)until.tv_nsec + seconds;
    until = (struct timespec){(time_t)end, (long)(1e9 * (end - floor(end)))};
    pthread_mutex_lock(&c->lock);
    c->abort_code = code;
    if (!c->threaded)
        comm_end_all(c);
    pthread_cond_signal(&c->work);
    while (!c->survived && pthread_cond_timedwait(&c->moved, &c->lock, &until) == 0)
        ;
    int survived = c->survived;
    pthread_mutex_unlock(&c->lock);
    if (survived)
        return err_set(err, MOCO_ECOMM, "comm: %s could not end this process", c->engine.name);
    return err_set(err, MOCO_ECOMM, "comm: %s has not ended this process within %g seconds", c->engine.name, seconds);
}
