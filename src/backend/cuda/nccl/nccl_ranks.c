/* SPDX-License-Identifier: MIT
 *
 * nccl_ranks: the engine of ranks with GPUs (moco_comm_engine): sums and gathers by NCCL, in a stream of their own. Memory
 * of the host goes through page-locked memory and a block on the GPU, both kept for the next time; memory of the GPU is
 * exchanged where it is. What a reader would get wrong: the communicator is not blocking, so that no call waits for
 * another rank. It may be busy after any call, joining or connecting, and what was asked for is then not in the stream
 * yet: the next exchange, and the event that tells the end of this one, have to wait for it. So exchanges stand in a row,
 * and every call of the engine brings the first of them on as far as it goes. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1 /* gethostname */
#endif
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/nccl/nccl_abort.h"
#include "backend/cuda/nccl/nccl_library.h"
#include "moco/comm.h"

#define UNDER_WAY 64         /* exchanges at most, more than libmoco begins at once */
#define JOIN_SECONDS 600     /* for all ranks to come */
#define FINALIZE_SECONDS 2.0 /* to end what NCCL has to say to other ranks; then it is aborted */
#define PAUSE_NANOSECONDS 1000000

/* Where memory of the host passes through. */
struct stage {
    struct stage *next;
    void *host;
    cu_address device;
    size_t bytes;
    int taken;
};

struct exchange {
    char *data; /* of the host or the device */
    int64_t count;
    nccl_type type;
    int sum;
    size_t bytes; /* of all of `data` */
    void *event;
    struct stage *stage; /* of the host's */
    cu_event end;
};

struct nccl_ranks {
    struct be_device *dev;
    const struct nccl_library *lib;
    nccl_comm comm;
    cu_stream stream;
    int rank, ranks, joined;
    double since; /* when it began to join */
    struct exchange row[UNDER_WAY];
    int64_t asked, given, queued, done; /* exchanges: in the row, given to NCCL, in the stream, ended */
    struct stage *stages;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what NCCL and the driver say ---- */

static moco_status nccl_said(const struct nccl_ranks *n, nccl_result result, const char *what, struct err *err)
{
    const char *more;
    if (result == NCCL_OK || result == NCCL_BUSY)
        return MOCO_OK;
    more = n->lib->last_error(n->comm);
    return err_set(err, MOCO_ECOMM, "%s: %.60s of NCCL: %.80s%s%.200s", n->dev->name, what,
                   n->lib->error_string(result), more != NULL && more[0] != 0 ? ": " : "", more != NULL ? more : "");
}

/* A stream of ours goes wrong with the device; the device itself finds that out in its own calls. */
static moco_status cuda_says(const struct nccl_ranks *n, cu_result result, const char *what, struct err *err)
{
    const char *name = NULL;
    if (result == CU_OK)
        return MOCO_OK;
    if (n->dev->cu->error_name(result, &name) != CU_OK || name == NULL)
        name = "an error without a name";
    return err_set(err, result == CU_NO_MEMORY ? MOCO_ENOMEM : MOCO_ECOMM, "%s: %s said %.60s (%d)", n->dev->name, what,
                   name, result);
}

/* ---- memory of the host ---- */

static moco_status make_stage(struct nccl_ranks *n, size_t bytes, struct stage **out, struct err *err)
{
    const struct cuda_driver *cu = n->dev->cu;
    struct stage *s = mem_zalloc(n->dev->ctx, sizeof *s, err);
    if (s == NULL)
        return MOCO_ENOMEM;
    s->next = n->stages;
    n->stages = s;
    TRY(cuda_says(n, cu->host_alloc(&s->host, bytes, 0), "cuMemHostAlloc", err));
    TRY(cuda_says(n, cu->memory_alloc(&s->device, bytes), "cuMemAlloc", err));
    s->bytes = bytes;
    *out = s;
    return MOCO_OK;
}

/* The smallest of those that are free; steps come to need no new one. */
static moco_status take_stage(struct nccl_ranks *n, size_t bytes, struct stage **out, struct err *err)
{
    struct stage *best = NULL;
    for (struct stage *s = n->stages; s != NULL; s = s->next)
        if (!s->taken && s->bytes >= bytes && (best == NULL || s->bytes < best->bytes))
            best = s;
    if (best == NULL)
        TRY(make_stage(n, bytes, &best, err));
    best->taken = 1;
    *out = best;
    return MOCO_OK;
}

static void free_stages(struct nccl_ranks *n)
{
    while (n->stages != NULL) {
        struct stage *s = n->stages;
        n->stages = s->next;
        if (s->device != 0)
            n->dev->cu->memory_free(s->device);
        if (s->host != NULL)
            n->dev->cu->host_free(s->host);
        mem_free(n->dev->ctx, s);
    }
}

/* ---- the row ---- */

/* All that stands in the stream before the exchange, and the exchange. */
static moco_status give(struct nccl_ranks *n, struct exchange *x, struct err *err)
{
    const struct cuda_driver *cu = n->dev->cu;
    char *at = x->data, *mine = at;
    if (x->event != NULL)
        TRY(cuda_says(n, cu->stream_wait(n->stream, x->event, 0), "cuStreamWaitEvent", err));
    if (x->stage != NULL) {
        at = mine = (char *)(uintptr_t)x->stage->device;
        TRY(cuda_says(n, cu->copy_in(x->stage->device, x->stage->host, x->bytes, n->stream), "cuMemcpyHtoDAsync", err));
    }
    if (x->sum)
        return nccl_said(
            n, n->lib->all_reduce(at, at, (size_t)x->count, x->type, NCCL_SUM, n->comm, (nccl_stream)n->stream),
            "ncclAllReduce", err);
    mine += (size_t)n->rank * (size_t)x->count;
    return nccl_said(n, n->lib->all_gather(mine, at, (size_t)x->count, NCCL_BYTES, n->comm, (nccl_stream)n->stream),
                     "ncclAllGather", err);
}

/* What stands behind it. */
static moco_status mark_end(struct nccl_ranks *n, struct exchange *x, struct err *err)
{
    const struct cuda_driver *cu = n->dev->cu;
    if (x->stage != NULL)
        TRY(cuda_says(n, cu->copy_out(x->stage->host, x->stage->device, x->bytes, n->stream), "cuMemcpyDtoHAsync",
                      err));
    return cuda_says(n, cu->event_record(x->end, n->stream), "cuEventRecord", err);
}

static moco_status check_join(struct nccl_ranks *n, int busy, struct err *err)
{
    n->joined = n->joined || !busy;
    if (n->joined || now() - n->since < JOIN_SECONDS)
        return MOCO_OK;
    return err_set(err, MOCO_ECOMM,
                   "%s: NCCL has not joined %d ranks within %d seconds: one has not come, or the id is that of another "
                   "job",
                   n->dev->name, n->ranks, JOIN_SECONDS);
}

/* Brings the row on as far as it goes without waiting. */
static moco_status advance(struct nccl_ranks *n, struct err *err)
{
    for (;;) {
        nccl_result state = NCCL_OK;
        TRY(nccl_said(n, n->lib->async_error(n->comm, &state), "ncclCommGetAsyncError", err));
        TRY(nccl_said(n, state, n->joined ? "an exchange" : "joining", err));
        TRY(check_join(n, state == NCCL_BUSY, err));
        if (state == NCCL_BUSY)
            return MOCO_OK;
        if (n->given > n->queued) {
            TRY(mark_end(n, &n->row[n->queued % UNDER_WAY], err));
            n->queued++;
        }
        if (n->given == n->asked)
            return MOCO_OK;
        TRY(give(n, &n->row[n->given % UNDER_WAY], err));
        n->given++;
    }
}

static moco_status ask(struct nccl_ranks *n, const struct exchange *x, int of_host, void **request, struct err *err)
{
    struct exchange *at = &n->row[n->asked % UNDER_WAY];
    if (n->asked - n->done == UNDER_WAY)
        return err_set(err, MOCO_ECOMM, "%s: too many exchanges at once", n->dev->name);
    cu_event end = at->end;
    *at = *x;
    at->end = end;
    if (of_host) {
        TRY(take_stage(n, x->bytes, &at->stage, err));
        memcpy(at->stage->host, x->data, x->bytes);
    }
    *request = (void *)(intptr_t)++n->asked;
    return advance(n, err);
}

static moco_status look(struct nccl_ranks *n, int64_t number, int32_t *done, struct err *err)
{
    struct exchange *x = &n->row[(number - 1) % UNDER_WAY];
    TRY(advance(n, err));
    if (n->queued < number)
        return MOCO_OK;
    cu_result result = n->dev->cu->event_query(x->end);
    if (result == CU_NOT_READY)
        return MOCO_OK;
    TRY(cuda_says(n, result, "cuEventQuery", err));
    if (x->stage != NULL) {
        memcpy(x->data, x->stage->host, x->bytes);
        x->stage->taken = 0;
        x->stage = NULL;
    }
    n->done = number;
    *done = 1;
    return MOCO_OK;
}

/* ---- the engine's functions ---- */

static void enter(const struct nccl_ranks *n)
{
    n->dev->cu->context_push(n->dev->context);
}

static int leave(const struct nccl_ranks *n, moco_status status, const struct err *err, char *why, size_t size)
{
    cu_context ignored;
    n->dev->cu->context_pop(&ignored);
    if (status != MOCO_OK)
        snprintf(why, size, "%s", err->text);
    return status != MOCO_OK;
}

static struct exchange sum_of(void *data, int64_t count, int32_t dtype)
{
    size_t real = dtype == MOCO_F64 ? sizeof(double) : sizeof(float);
    return (struct exchange){.data = data,
                             .count = count,
                             .type = dtype == MOCO_F64 ? NCCL_F64 : NCCL_F32,
                             .sum = 1,
                             .bytes = (size_t)count * real};
}

static int ask_within(struct nccl_ranks *n, const struct exchange *x, int of_host, void **request, char *why,
                      size_t size)
{
    struct err err = {0};
    enter(n);
    return leave(n, ask(n, x, of_host, request, &err), &err, why, size);
}

static int host_sum(void *user, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t size)
{
    struct exchange x = sum_of(data, count, dtype);
    return ask_within(user, &x, 1, request, why, size);
}

static int device_sum(void *user, void *data, int64_t count, int32_t dtype, void *event, void **request, char *why,
                      size_t size)
{
    struct exchange x = sum_of(data, count, dtype);
    x.event = event;
    return ask_within(user, &x, 0, request, why, size);
}

static int host_gather(void *user, void *blocks, int64_t each, void **request, char *why, size_t size)
{
    struct nccl_ranks *n = user;
    struct exchange x = {.data = blocks, .count = each, .bytes = (size_t)n->ranks * (size_t)each};
    return ask_within(n, &x, 1, request, why, size);
}

static int device_gather(void *user, void *blocks, int64_t each, void *event, void **request, char *why, size_t size)
{
    struct exchange x = {.data = blocks, .count = each, .event = event};
    return ask_within(user, &x, 0, request, why, size);
}

static int test(void *user, void *request, int32_t *done, char *why, size_t size)
{
    struct nccl_ranks *n = user;
    struct err err = {0};
    *done = 0;
    enter(n);
    return leave(n, look(n, (intptr_t)request, done, &err), &err, why, size);
}

/* ---- closing ---- */

/* Ends what it still has to say to other ranks, for a moment. */
static int finalize(struct nccl_ranks *n)
{
    const struct timespec pause = {0, PAUSE_NANOSECONDS};
    nccl_result state = n->lib->finalize(n->comm);
    for (double begun = now(); state == NCCL_BUSY && now() - begun < FINALIZE_SECONDS; nanosleep(&pause, NULL))
        if (n->lib->async_error(n->comm, &state) != NCCL_OK)
            return 0;
    return state == NCCL_OK && n->lib->destroy(n->comm) == NCCL_OK;
}

static void free_ranks(struct nccl_ranks *n)
{
    struct ctx *ctx = n->dev->ctx;
    for (int i = 0; i < UNDER_WAY; i++)
        if (n->row[i].end != NULL)
            n->dev->cu->event_destroy(n->row[i].end);
    if (n->stream != NULL)
        n->dev->cu->stream_destroy(n->stream);
    free_stages(n);
    mem_free(ctx, n);
}

/* Kernels of an exchange that another rank never joins run until they are aborted, and whatever waits for the GPU waits
 * for them. If the abort does not return, everything is left to the process. */
static int close_ranks(void *user, int32_t broken)
{
    struct nccl_ranks *n = user;
    const struct cuda_driver *cu = n->dev->cu;
    cu_context ignored;
    enter(n);
    int gone = n->comm == NULL || (!broken && n->joined && finalize(n)) || nccl_abort(n->lib, n->comm, n->dev);
    if (gone)
        free_ranks(n);
    cu->context_pop(&ignored);
    return !gone;
}

/* ---- opening ---- */

static moco_status join(struct nccl_ranks *n, const void *id, struct err *err)
{
    nccl_id name;
    nccl_config config = {
        .size = sizeof config, .magic = (unsigned)NCCL_CONFIG_MAGIC, .version = NCCL_CONFIG_VERSION, .blocking = 0};
    memcpy(name.bytes, id, sizeof name.bytes);
    TRY(cuda_says(n, n->dev->cu->stream_create(&n->stream, CU_STREAM_OF_ITS_OWN), "cuStreamCreate", err));
    for (int i = 0; i < UNDER_WAY; i++)
        TRY(cuda_says(n, n->dev->cu->event_create(&n->row[i].end, CU_EVENT_NO_TIMING), "cuEventCreate", err));
    n->since = now();
    return nccl_said(n, n->lib->join(&n->comm, n->ranks, name, n->rank, &config), "ncclCommInitRankConfig", err);
}

static moco_status open_ranks(struct be_device *dev, const struct nccl_library *lib, const void *id, int rank,
                              int ranks, struct nccl_ranks **out, struct err *err)
{
    struct nccl_ranks *n = mem_zalloc(dev->ctx, sizeof *n, err);
    if (n == NULL)
        return MOCO_ENOMEM;
    *n = (struct nccl_ranks){.dev = dev, .lib = lib, .rank = rank, .ranks = ranks};
    moco_status status = join(n, id, err);
    if (status == MOCO_OK)
        *out = n;
    else
        close_ranks(n, 1);
    return status;
}

moco_status cuda_ranks_open(struct be_device *dev, const void *id, int rank, int ranks, struct moco_comm_engine *engine,
                            struct err *err)
{
    const struct nccl_library *lib;
    struct nccl_ranks *n = NULL;
    char library[BE_LIBRARY];
    TRY(cuda_ranks_id(dev, NULL, library, err));
    TRY(dev->nccl(&lib, err));
    CUDA_WITHIN(dev, open_ranks(dev, lib, id, rank, ranks, &n, err));
    *engine = (moco_comm_engine){.struct_size = sizeof *engine,
                                 .rank = rank,
                                 .ranks = ranks,
                                 .any_thread = 1,
                                 .user = n,
                                 .sum = host_sum,
                                 .gather = host_gather,
                                 .test = test,
                                 .close = close_ranks,
                                 .device_sum = device_sum,
                                 .device_gather = device_gather};
    snprintf(engine->name, sizeof engine->name, "%s", library);
    if (gethostname(engine->host, sizeof engine->host) != 0)
        engine->host[0] = 0;
    engine->host[sizeof engine->host - 1] = 0;
    return MOCO_OK;
}

moco_status cuda_ranks_id(struct be_device *dev, void *id, char library[BE_LIBRARY], struct err *err)
{
    const struct nccl_library *lib;
    struct err why = {0};
    nccl_id made;
    library[0] = 0;
    if (dev->nccl == NULL)
        return err_set(err, MOCO_ENODEV, "%s: it was opened without NCCL", dev->name);
    if (dev->nccl(&lib, &why) != MOCO_OK)
        return err_set(err, MOCO_ENODEV, "%s: ranks need NCCL: %.400s", dev->name, why.text);
    nccl_library_name(lib, library, BE_LIBRARY);
    if (id == NULL)
        return MOCO_OK;
    nccl_result result = lib->make_id(&made);
    if (result != NCCL_OK)
        return err_set(err, MOCO_ECOMM, "%s: ncclGetUniqueId of %s: %.80s", dev->name, library,
                       lib->error_string(result));
    memcpy(id, made.bytes, sizeof made.bytes);
    return MOCO_OK;
}

/* A library that was not there is looked for again. */
moco_status cuda_nccl(const struct nccl_library **out, struct err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct nccl_library library;
    static int loaded;
    pthread_mutex_lock(&lock);
    moco_status status = loaded ? MOCO_OK : nccl_library_load(&library, NULL, err);
    loaded = status == MOCO_OK;
    pthread_mutex_unlock(&lock);
    *out = &library;
    return status;
}
