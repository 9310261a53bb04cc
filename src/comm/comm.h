/* SPDX-License-Identifier: MIT
 *
 * comm: how the ranks of one training exchange numbers and agree. An engine (moco_comm_engine) carries bytes and knows
 * nothing of training; what is the same for every engine (tickets, the thread that drives it, the roll call, the vote,
 * what a failure leaves) is here. What a reader would get wrong: every rank makes the same calls in the same order, also
 * one that has failed meanwhile: it starts what the others wait for with whatever it has, and says so in the vote.
 * Returning early would leave them waiting. */
#ifndef MOCO_COMM_COMM_H
#define MOCO_COMM_COMM_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"
#include "err.h"
#include "moco/comm.h"

#define COMM_LOCAL_MAX 1024
#define COMM_RANKS_MAX (1 << 20)

struct comm;

/* Takes engine->user over: it is closed with the comm, or here if this fails. Begins the exchange of host names if there
 * is a roll call to name them in, and waits for nobody. `options` may be NULL. */
moco_status comm_create(struct comm **out, struct ctx *ctx, const moco_comm_engine *engine,
                        const moco_comm_options *options, struct err *err);
/* The ranks of one process: out[ranks]. */
moco_status comm_local(struct comm **out, int ranks, struct ctx *ctx, const moco_comm_options *options,
                       struct err *err);
/* What the module `name` offers; loads it. */
moco_status comm_module_find(const moco_comm_module **out, const char *name, struct err *err);
/* An engine of a module: MOCO_ECOMM with the module's sentence if it has none for `argument`. */
moco_status comm_module_engine(moco_comm_engine *engine, const moco_comm_module *module, const void *argument,
                               struct err *err);
/* NULL is fine. Afterwards memory of exchanges that were under way is as comm_written_to said. */
void comm_free(struct comm *comm);

/* Devices that have memory of their own exchange it by an engine of theirs, of which the two device functions, test and
 * close are called. It is the comm's from here on. All ranks do it, or none, while nothing is under way. `device` is only
 * compared, and outlives the comm. */
void comm_link(struct comm *comm, const moco_comm_engine *link, const void *device);
/* The engine reaches that memory by itself. */
void comm_set_device(struct comm *comm, const void *device);
/* NULL: that of no device, or nobody knows of which. */
const void *comm_device(const struct comm *comm);
int comm_reaches_devices(const struct comm *comm);

void comm_describe(struct comm *comm, moco_comm_info *info);
int comm_rank(const struct comm *comm);
int comm_ranks(const struct comm *comm);
double comm_bucket_bytes(const struct comm *comm);
/* 1, after a failure alone: memory of exchanges that were under way may still be written to, and must not be freed. */
int comm_written_to(struct comm *comm);

/* Begin an exchange: gather has ranks * each bytes, sum `count` reals of MOCO_F32 or MOCO_F64. The memory is the comm's
 * until a wait for *ticket, or for a later one, has returned MOCO_OK; after another answer, as comm_written_to says. */
moco_status comm_gather(struct comm *comm, void *blocks, size_t each, int64_t *ticket, struct err *err);
moco_status comm_sum(struct comm *comm, void *data, size_t count, moco_dtype real, int64_t *ticket, struct err *err);
/* The same of device memory, once `event` of the device is reached (NULL: at once). */
moco_status comm_device_gather(struct comm *comm, void *blocks, size_t each, void *event, int64_t *ticket,
                               struct err *err);
moco_status comm_device_sum(struct comm *comm, void *data, size_t count, moco_dtype real, void *event, int64_t *ticket,
                            struct err *err);
/* Until that exchange and all before it are done. */
moco_status comm_wait(struct comm *comm, int64_t ticket, struct err *err);

/* What a rank says of itself to the others: the beginning of a block that is gathered. */
struct comm_ballot {
    int32_t status;
    char sentence[188];
};
/* Fills the ballot with how this rank fared. */
void comm_fill(struct comm_ballot *ballot, moco_status mine, const struct err *err);
/* Every rank gets the same answer from blocks that have been gathered, each with a ballot at its beginning: MOCO_OK if
 * all say so, else what the lowest rank that failed said. */
moco_status comm_count(const struct comm *comm, const void *blocks, size_t each, struct err *err);

/* All of it for ranks that have nothing else to say, and a barrier: waits for all exchanges, and for all ranks' votes.
 * Where the vote itself cannot be held, `mine` or MOCO_ECOMM. */
moco_status comm_vote(struct comm *comm, moco_status mine, struct err *err);

/* Any thread, async-signal-safe. Gives up: the wait that runs, and every call after it, is MOCO_ECOMM. For the case that
 * another rank is lost; a step is cancelled by a vote. */
void comm_cancel(struct comm *comm);
/* Ends the processes of all ranks; returns only where that has not happened within `seconds`. */
moco_status comm_abort(struct comm *comm, int code, double seconds, struct err *err);

#endif
