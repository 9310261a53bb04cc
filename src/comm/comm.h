/* SPDX-License-Identifier: MIT
 *
 * comm: how the ranks of one training exchange numbers and agree. An engine carries bytes and knows nothing of training;
 * what is the same for every engine (tickets, the vote, what a failure leaves) is in comm.c. What a reader would get
 * wrong: every rank makes the same calls in the same order, also one that has failed meanwhile: it starts what the
 * others wait for with whatever it has, and says so in the vote. Returning early would leave them waiting. */
#ifndef MOCO_COMM_COMM_H
#define MOCO_COMM_COMM_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"
#include "err.h"

enum comm_real { COMM_F32, COMM_F64 };

/* What carries the bytes. Memory is that of the device that the ranks compute on; of a vote it is the host's. Both exchanges work in place and may return
 * before they are done; `test` is then asked about *request until it says so. A failure is MOCO_ECOMM with a sentence,
 * and nothing but `close` is called after it. All calls of a rank come from one thread at a time. */
struct comm_engine {
    const char *name;
    /* Rank r's block is at blocks + r * each: afterwards all of them are, on every rank. */
    moco_status (*gather)(void *self, void *blocks, size_t each, void **request, struct err *err);
    /* data[i] becomes the sum over ranks, the same bits on every rank. */
    moco_status (*sum)(void *self, void *data, size_t count, enum comm_real real, void **request, struct err *err);
    moco_status (*test)(void *self, void *request, int *done, struct err *err);
    /* `broken`: exchanges may be under way that nobody will end; it must wait for no other rank then. 1: memory of such
     * exchanges may be written to as long as the process lives. */
    int (*close)(void *self, int broken);
};

struct comm_info {
    int rank, ranks;
    const char *engine;
    int64_t exchanges, bytes; /* begun so far; what this rank handed in */
};

struct comm;

/* Takes `self` over: it is closed with the comm, or here if this fails. */
moco_status comm_create(struct comm **out, struct ctx *ctx, const struct comm_engine *engine, void *self, int rank,
                        int ranks, struct err *err);
/* One rank, which is done with an exchange as soon as it asks for it. */
moco_status comm_self(struct comm **out, struct ctx *ctx, struct err *err);
/* NULL is fine. 1, after a failure alone: memory of exchanges that were under way may still be written to, and must not
 * be freed. */
int comm_free(struct comm *comm);

void comm_describe(const struct comm *comm, struct comm_info *info);

/* Begin an exchange: gather has ranks * each bytes, sum `count` reals. The memory is the comm's until a wait for
 * *ticket, or for a later one, has returned MOCO_OK; after another answer, as comm_free says. */
moco_status comm_gather(struct comm *comm, void *blocks, size_t each, int64_t *ticket, struct err *err);
moco_status comm_sum(struct comm *comm, void *data, size_t count, enum comm_real real, int64_t *ticket,
                     struct err *err);
/* Until that exchange and all before it are done. */
moco_status comm_wait(struct comm *comm, int64_t ticket, struct err *err);

/* The end of what ranks do together, and a barrier: waits for all exchanges, and for all ranks' votes. `mine` is how
 * this rank fared, with its sentence in `err` unless it is MOCO_OK. Every rank gets the same answer: MOCO_OK if all say
 * so, else what the lowest rank that failed said. Where the vote itself cannot be held, `mine` or MOCO_ECOMM. */
moco_status comm_vote(struct comm *comm, moco_status mine, struct err *err);

/* Any thread, async-signal-safe. Gives up: the wait that runs, and every call after it, is MOCO_ECOMM. For the case that
 * another rank is lost; a step is cancelled by a vote. */
void comm_cancel(struct comm *comm);

#endif
