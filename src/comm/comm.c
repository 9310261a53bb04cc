/* SPDX-License-Identifier: MIT
 *
 * comm: see comm.h. Exchanges are asked about in the order in which they were begun, which is that of every rank. */
#include "comm/comm.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "utf8.h"

#define UNDER_WAY 64             /* exchanges at most; a further one waits for the first of them */
#define PAUSE_NANOSECONDS 200000 /* between two questions: little beside an exchange, much beside asking */
#define RANKS_MAX (1 << 20)

/* What a rank says in a vote. */
struct ballot {
    int32_t status;
    char sentence[188];
};

struct comm {
    struct ctx *ctx;
    const struct comm_engine *engine;
    void *self;
    int rank, ranks;
    int64_t begun, done, bytes;
    void *request[UNDER_WAY];
    struct ballot *ballots; /* [ranks] */
    int broken;             /* an exchange failed, or was given up */
    _Atomic int cancel;
};

moco_status comm_create(struct comm **out, struct ctx *ctx, const struct comm_engine *engine, void *self, int rank,
                        int ranks, struct err *err)
{
    moco_status status = MOCO_OK;
    struct comm *c = NULL;
    *out = NULL;
    if (ranks < 1 || ranks > RANKS_MAX || rank < 0 || rank >= ranks)
        status = err_set(err, MOCO_EINVAL, "comm: rank %d of %d ranks; they count from 0, and are %d at most", rank,
                         ranks, RANKS_MAX);
    else if ((c = mem_zalloc(ctx, sizeof *c, err)) == NULL ||
             (c->ballots = mem_array(ctx, (size_t)ranks, sizeof *c->ballots, err)) == NULL)
        status = MOCO_ENOMEM;
    if (status != MOCO_OK) {
        mem_free(ctx, c);
        engine->close(self, 0);
        return status;
    }
    c->ctx = ctx;
    c->engine = engine;
    c->self = self;
    c->rank = rank;
    c->ranks = ranks;
    *out = c;
    return MOCO_OK;
}

int comm_free(struct comm *c)
{
    if (c == NULL)
        return 0;
    int written_to = c->engine->close(c->self, c->broken || atomic_load(&c->cancel) || c->done < c->begun);
    if (!written_to)
        mem_free(c->ctx, c->ballots); /* a vote may be under way */
    mem_free(c->ctx, c);
    return written_to;
}

void comm_describe(const struct comm *c, struct comm_info *info)
{
    *info = (struct comm_info){
        .rank = c->rank, .ranks = c->ranks, .engine = c->engine->name, .exchanges = c->begun, .bytes = c->bytes};
}

static moco_status broken(struct comm *c, struct err *err)
{
    c->broken = 1;
    return err_set(err, MOCO_ECOMM,
                   "rank %d of %d: an exchange between ranks failed or was given up, and the others "
                   "cannot be joined again; start all ranks from the last checkpoint",
                   c->rank, c->ranks);
}

/* MOCO_ECOMM now and from now on. */
static moco_status check(struct comm *c, struct err *err)
{
    return c->broken || atomic_load(&c->cancel) ? broken(c, err) : MOCO_OK;
}

static moco_status watch(struct comm *c, moco_status status)
{
    if (status != MOCO_OK)
        c->broken = 1;
    return status;
}

/* Until `exchanges` of those begun are done. */
static moco_status finish(struct comm *c, int64_t exchanges, struct err *err)
{
    const struct timespec pause = {0, PAUSE_NANOSECONDS};
    while (c->done < exchanges) {
        int done = 0;
        TRY(check(c, err));
        TRY(watch(c, c->engine->test(c->self, c->request[c->done % UNDER_WAY], &done, err)));
        if (done)
            c->done++;
        else
            nanosleep(&pause, NULL);
    }
    return check(c, err);
}

/* Room for one exchange more: where its request goes. */
static moco_status begin(struct comm *c, void ***request, struct err *err)
{
    TRY(finish(c, c->begun - UNDER_WAY + 1, err));
    *request = &c->request[c->begun % UNDER_WAY];
    **request = NULL;
    return MOCO_OK;
}

static void count(struct comm *c, size_t bytes, int64_t *ticket)
{
    c->bytes += (int64_t)bytes;
    *ticket = ++c->begun;
}

moco_status comm_gather(struct comm *c, void *blocks, size_t each, int64_t *ticket, struct err *err)
{
    void **request;
    TRY(begin(c, &request, err));
    TRY(watch(c, c->engine->gather(c->self, blocks, each, request, err)));
    count(c, each, ticket);
    return MOCO_OK;
}

moco_status comm_sum(struct comm *c, void *data, size_t n, enum comm_real real, int64_t *ticket, struct err *err)
{
    void **request;
    TRY(begin(c, &request, err));
    TRY(watch(c, c->engine->sum(c->self, data, n, real, request, err)));
    count(c, n * (real == COMM_F64 ? sizeof(double) : sizeof(float)), ticket);
    return MOCO_OK;
}

moco_status comm_wait(struct comm *c, int64_t ticket, struct err *err)
{
    if (ticket < 1 || ticket > c->begun)
        return err_set(err, MOCO_EINVAL, "comm: ticket %lld of %lld", (long long)ticket, (long long)c->begun);
    return finish(c, ticket, err);
}

/* ---- the vote ---- */

/* The ballots of all ranks are in. */
static moco_status count_votes(const struct comm *c, moco_status mine, struct err *err)
{
    if (c->ranks == 1)
        return mine; /* and its sentence, whole, as it is */
    for (int r = 0; r < c->ranks; r++) {
        const struct ballot *b = &c->ballots[r];
        if (b->status == MOCO_OK)
            continue;
        if (err != NULL)
            *err = (struct err){0}; /* all ranks say the same, also one that has failed in its own way */
        return err_set(err, (moco_status)b->status, "rank %d of %d: %.*s", r, c->ranks, (int)sizeof b->sentence,
                       b->sentence);
    }
    return MOCO_OK;
}

moco_status comm_vote(struct comm *c, moco_status mine, struct err *err)
{
    int64_t ticket;
    struct err lost = {0};
    struct ballot *ballot = &c->ballots[c->rank];
    memset(ballot, 0, sizeof *ballot);
    ballot->status = mine;
    if (mine != MOCO_OK && err != NULL)
        utf8_printable(ballot->sentence, sizeof ballot->sentence, err->text);
    moco_status status = comm_gather(c, c->ballots, sizeof *c->ballots, &ticket, &lost);
    if (status == MOCO_OK)
        status = comm_wait(c, ticket, &lost); /* and for all exchanges before it */
    if (status == MOCO_OK)
        return count_votes(c, mine, err);
    return mine != MOCO_OK ? mine : err_set(err, status, "%s", lost.text); /* what this rank met first is the reason */
}

void comm_cancel(struct comm *c)
{
    atomic_store(&c->cancel, 1);
}
