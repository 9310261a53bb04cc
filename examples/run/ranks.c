/* SPDX-License-Identifier: MIT
 *
 * ranks: see ranks.h. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "ranks.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "ranks_gpus.h"
#include "support/from_moco.h"
#include "support/program_name.h"

#define SAVE_SECONDS 20 /* that rank 0 has to save before another rank ends everybody */
#define END_SECONDS 3   /* that the engine has to end everybody */

/* What a rank says of itself. */
struct card {
    char host[64];
    int32_t processors, first;
};

struct ballot {
    int32_t status;
    char sentence[508];
};

static const char *variable(const char *name)
{
    return getenv(name);
}

static struct card own_card(const struct ranks *r)
{
    struct card card = {.first = -1};
    cpu_set_t mask;
    CPU_ZERO(&mask);
    snprintf(card.host, sizeof card.host, "%s", r->host);
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
        card.processors = CPU_COUNT(&mask);
        for (int i = 0; i < CPU_SETSIZE && card.first < 0; i++)
            card.first = CPU_ISSET(i, &mask) ? i : -1;
    }
    return card;
}

/* Ranks that may use the same processors share them; one that is bound to its own uses those. */
static moco_status share_host(struct ranks *r, void (*warn)(const char *sentence), struct err *err)
{
    char sentence[300];
    struct card *cards = calloc((size_t)r->ranks, sizeof *cards), *mine = &cards[r->rank];
    if (cards == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    *mine = own_card(r);
    moco_status status = from_moco(moco_comm_gather(r->comm, cards, sizeof *cards), err);
    int same = 0;
    for (int i = 0; status == MOCO_OK && i < r->ranks; i++)
        if (strcmp(cards[i].host, mine->host) == 0) {
            r->here++;
            r->local += i < r->rank;
            same += cards[i].first == mine->first && cards[i].processors == mine->processors;
        }
    if (same > 1 && mine->processors > 0)
        r->processors = mine->processors / same > 1 ? mine->processors / same : 1;
    long there = sysconf(_SC_NPROCESSORS_ONLN);
    if (status == MOCO_OK && mine->processors == 1 && same == 1 && there > r->here && r->rank == 0) {
        snprintf(sentence, sizeof sentence,
                 "each rank is bound to one of this machine's %ld processors, which is mpirun's default; start with "
                 "mpirun --bind-to none, or with --map-by slot:PE=%ld for so many each",
                 there, there / r->here);
        warn(sentence);
    }
    free(cards);
    return status;
}

static moco_status describe(struct ranks *r, struct err *err)
{
    moco_comm_info info;
    moco_comm_info_init(&info);
    TRY(from_moco(moco_comm_describe(r->comm, &info), err));
    r->rank = info.rank;
    r->ranks = info.ranks;
    snprintf(r->engine, sizeof r->engine, "%s", info.engine);
    snprintf(r->host, sizeof r->host, "%s", info.host);
    return MOCO_OK;
}

/* torchrun's processes have no MPI; with GPUs they need none. */
static int by_nccl(const struct launch *launch, const struct ranks_wish *wish)
{
    return strcmp(wish->how, "nccl") == 0 ||
           (strcmp(wish->how, "auto") == 0 && !launch->has_mpi && strncmp(wish->device, "cuda", strlen("cuda")) == 0);
}

static moco_status open_nccl(struct ranks *r, const struct launch *launch, const struct ranks_wish *wish,
                             struct err *err)
{
    struct gpus gpus;
    moco_status status = gpus_join(&gpus, launch, wish->device, wish->folder, wish->context, err);
    r->context = gpus.context;
    r->device = gpus.device;
    r->comm = gpus.comm;
    return status;
}

static moco_status open_mpi(struct ranks *r, const struct launch *launch, double silence, struct err *err)
{
    moco_comm_options o;
    moco_comm_options_init(&o);
    o.silence_seconds = silence;
    if (!launch->has_mpi)
        TRY(launch_check(launch, 1, "", err));
    TRY(from_moco(moco_context_create(&r->context, NULL), err));
    return from_moco(moco_comm_open(&r->comm, r->context, "mpi", &o), err);
}

moco_status ranks_open(struct ranks *r, const struct ranks_wish *wish, void (*warn)(const char *sentence),
                       struct err *err)
{
    struct launch launch = launch_read(variable);
    *r = (struct ranks){.ranks = 1, .here = 1};
    if (strcmp(wish->how, "none") == 0 || (strcmp(wish->how, "auto") == 0 && launch.by == NULL))
        return MOCO_OK;
    if (by_nccl(&launch, wish))
        TRY(open_nccl(r, &launch, wish, err));
    else
        TRY(open_mpi(r, &launch, wish->silence, err));
    TRY(describe(r, err));
    TRY(launch_check(&launch, r->ranks, r->engine, err));
    r->here = 0;
    TRY(share_host(r, warn, err));
    if (r->rank > 0 && freopen("/dev/null", "w", stdout) == NULL) /* what is printed is rank 0's to print */
        return err_set(err, MOCO_EIO, "/dev/null cannot be opened");
    return MOCO_OK;
}

void ranks_close(struct ranks *r)
{
    moco_comm_free(r->comm);
    moco_device_free(r->device);
    moco_context_free(r->context);
}

moco_status ranks_step(struct ranks *r, moco_status status, struct err *err)
{
    r->agreed = r->comm != NULL && status != MOCO_OK && status != MOCO_ECOMM;
    return from_moco(status, err);
}

moco_status ranks_leave(struct ranks *r, moco_trainer *trainer, moco_status mine, struct err *err)
{
    struct err all = {0};
    if (r->comm == NULL)
        return mine;
    moco_status status = ranks_step(r, moco_trainer_leave(trainer, mine, err->text[0] != 0 ? err->text : NULL), &all);
    if (status != mine) /* of a lower rank */
        *err = all;
    return status;
}

moco_status ranks_share_status(struct ranks *r, moco_status mine, struct err *err)
{
    if (r->comm == NULL || (r->agreed && mine != MOCO_OK))
        return mine;
    struct ballot *all = calloc((size_t)r->ranks, sizeof *all);
    if (all == NULL)
        ranks_end(r, EXIT_FAILURE);
    all[r->rank].status = mine;
    snprintf(all[r->rank].sentence, sizeof all->sentence, "%.507s", err->text);
    struct err lost = {0};
    moco_status status = from_moco(moco_comm_gather(r->comm, all, sizeof *all), &lost);
    if (status != MOCO_OK) {
        *err = lost; /* what is at `all` may still be written to */
        return status;
    }
    for (int i = 0; i < r->ranks && status == MOCO_OK; i++)
        if (all[i].status != MOCO_OK) {
            status = (moco_status)all[i].status;
            *err = (struct err){0};
            if (i > 0)
                err_set(err, status, "rank %d of %d: %.450s", i, r->ranks, all[i].sentence);
            else
                err_set(err, status, "%.500s", all[i].sentence);
        }
    r->agreed = status != MOCO_OK;
    free(all);
    return status;
}

void ranks_end(const struct ranks *r, int code)
{
    fflush(NULL);
    if (r->rank > 0)
        sleep(SAVE_SECONDS);
    moco_comm_abort(r->comm, code, END_SECONDS);
    _exit(code);
}
