/* SPDX-License-Identifier: MIT
 *
 * sim_nccl: see sim_nccl.h. Its lock is taken within the driver's, by what the driver calls, and never the other way round. */
#include "support/cudasim/sim_nccl.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/cudasim/sim_driver.h"

enum { MOST_RANKS = 8, MOST_DELAYS = 4, MAGIC = 0x51ccf, BAD_VALUE = 1 };

struct clique {
    int ranks, joined, failed;
    cu_context gpu[MOST_RANKS];
    struct meeting *first;
    char why[120];
};

/* One exchange of all ranks. */
struct meeting {
    struct meeting *next;
    int64_t number;
    int sum, type, done;
    size_t count;
    int given, come;
    char *from[MOST_RANKS], *to[MOST_RANKS];
    int here[MOST_RANKS];
};

struct ncclComm {
    struct clique *clique;
    int rank, ready, gone, users; /* users: the owner, and works in a stream */
    int delay;                    /* questions for which it is still busy */
    int busy;
    nccl_result error;
    char why[120];
    int64_t number; /* of its next exchange */
    struct asked {
        struct ncclComm *comm;
        struct meeting *meeting;
        nccl_stream stream;
        size_t bytes;
        int delay;
    } * asked; /* what goes into the stream when it is not busy any more */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct clique *cliques[256];
static int clique_count, live, aborts;
static uint64_t draws = 88172645463325252u;
static struct {
    enum sim_nccl_fault fault;
    int rank, after;
} planted;

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "cudasim: NCCL: %s\n", what);
    abort();
}

static int is_planted(enum sim_nccl_fault fault, const struct ncclComm *c)
{
    return planted.fault == fault && planted.rank == c->rank;
}

static int draw(void)
{
    draws ^= draws << 13;
    draws ^= draws >> 7;
    draws ^= draws << 17;
    return (int)(draws % (MOST_DELAYS + 1));
}

static void drop(struct ncclComm *c)
{
    if (--c->users > 0)
        return;
    free(c->asked);
    free(c);
}

/* ---- an exchange ---- */

#define SUM_RING(name, real)                                                                                           \
    static void name(const struct meeting *m, int ranks)                                                               \
    {                                                                                                                  \
        for (size_t i = 0; i < m->count; i++) {                                                                        \
            int first = (int)(i * (size_t)ranks / m->count) + 1; /* each piece begins with another rank */             \
            real sum = ((const real *)(const void *)m->from[first % ranks])[i];                                        \
            for (int r = 1; r < ranks; r++)                                                                            \
                sum += ((const real *)(const void *)m->from[(first + r) % ranks])[i];                                  \
            for (int r = 0; r < ranks; r++)                                                                            \
                ((real *)(void *)m->to[r])[i] = sum;                                                                   \
        }                                                                                                              \
    }
SUM_RING(sum_f32, float)
SUM_RING(sum_f64, double)

static void perform(struct meeting *m, int ranks)
{
    if (m->sum && m->type == NCCL_F64)
        sum_f64(m, ranks);
    else if (m->sum)
        sum_f32(m, ranks);
    else
        for (int to = 0; to < ranks; to++)
            for (int from = 0; from < ranks; from++)
                memmove(m->to[to] + (size_t)from * m->count, m->from[from], m->count);
    m->done = 1;
}

/* The driver's: its lock is held. */
static int is_ready(void *arg)
{
    struct asked *a = arg;
    struct meeting *m = a->meeting;
    pthread_mutex_lock(&lock);
    int ready = a->comm->gone || m->done;
    if (!ready && !(is_planted(SIM_NCCL_NEVER_COMES, a->comm) && m->number >= planted.after)) {
        if (!m->here[a->comm->rank] && a->delay-- <= 0) {
            m->here[a->comm->rank] = 1;
            m->come++;
        }
        ready = m->come == a->comm->clique->ranks;
    }
    pthread_mutex_unlock(&lock);
    return ready;
}

static void run(void *arg)
{
    struct asked *a = arg;
    struct meeting *m = a->meeting;
    pthread_mutex_lock(&lock);
    if (!a->comm->gone && !m->done)
        perform(m, a->comm->clique->ranks);
    pthread_mutex_unlock(&lock);
}

static void forget(void *arg)
{
    struct asked *a = arg;
    pthread_mutex_lock(&lock);
    drop(a->comm);
    pthread_mutex_unlock(&lock);
    free(a);
}

static struct meeting *meeting_of(struct clique *q, int64_t number)
{
    struct meeting **m = &q->first;
    while (*m != NULL && (*m)->number != number)
        m = &(*m)->next;
    if (*m == NULL && (*m = calloc(1, sizeof **m)) == NULL)
        fail("no memory");
    (*m)->number = number;
    return *m;
}

/* With the lock held, which it gives back for the driver's: puts what was asked for into the stream. A driver that is lost
 * is told by the next question. */
static void put(struct ncclComm *c)
{
    struct asked *a = c->asked;
    const struct sim_span span = {a->meeting->to[c->rank], a->bytes};
    c->asked = NULL;
    c->users++;
    pthread_mutex_unlock(&lock);
    cu_result result = sim_meeting((cu_stream)a->stream, is_ready, run, forget, a, &span);
    pthread_mutex_lock(&lock);
    if (result == CU_OK)
        return;
    if (result == BAD_VALUE)
        fail("an exchange of memory that is not the GPU's");
    c->error = NCCL_CUDA_ERROR;
    snprintf(c->why, sizeof c->why, "Cuda failure %d", result);
    drop(c);
    free(a);
}

static nccl_result ask(struct ncclComm *c, const struct meeting *wanted, const void *from, void *to, size_t bytes,
                       nccl_stream stream)
{
    pthread_mutex_lock(&lock);
    if (c->busy || !c->ready || c->gone)
        fail("a call while the communicator is busy");
    if (is_planted(SIM_NCCL_ERROR, c) && c->number >= planted.after) {
        c->error = NCCL_REMOTE_ERROR;
        snprintf(c->why, sizeof c->why, "a planted error");
        pthread_mutex_unlock(&lock);
        return NCCL_OK; /* which is told by the next question */
    }
    struct meeting *m = meeting_of(c->clique, c->number++);
    if (m->given++ == 0) {
        m->sum = wanted->sum;
        m->type = wanted->type;
        m->count = wanted->count;
    } else if (m->sum != wanted->sum || m->type != wanted->type || m->count != wanted->count) {
        fail("ranks exchange different things");
    }
    m->from[c->rank] = (char *)(uintptr_t)from;
    m->to[c->rank] = to;
    if ((c->asked = calloc(1, sizeof *c->asked)) == NULL)
        fail("no memory");
    *c->asked = (struct asked){.comm = c, .meeting = m, .stream = stream, .bytes = bytes, .delay = draw()};
    c->delay = draw();
    c->busy = c->delay > 0;
    int busy = c->busy;
    if (!busy)
        put(c);
    pthread_mutex_unlock(&lock);
    return busy ? NCCL_BUSY : NCCL_OK;
}

static nccl_result sim_all_reduce(const void *from, void *to, size_t count, nccl_type type, nccl_operation operation,
                                  nccl_comm comm, nccl_stream stream)
{
    const struct meeting wanted = {.sum = 1, .type = type, .count = count};
    if (operation != NCCL_SUM || (type != NCCL_F32 && type != NCCL_F64))
        fail("a sum of another kind");
    return ask(comm, &wanted, from, to, count * (type == NCCL_F64 ? sizeof(double) : sizeof(float)), stream);
}

static nccl_result sim_all_gather(const void *from, void *to, size_t count, nccl_type type, nccl_comm comm,
                                  nccl_stream stream)
{
    const struct meeting wanted = {.type = type, .count = count};
    if (type != NCCL_BYTES)
        fail("a gather of another kind");
    return ask(comm, &wanted, from, to, count * (size_t)comm->clique->ranks, stream);
}

/* ---- joining ---- */

static nccl_result sim_version(int *version)
{
    static pthread_t first;
    static int is_known;
    pthread_mutex_lock(&lock);
    if (planted.fault != SIM_NCCL_OTHER_VERSION) {
        is_known = 0;
    } else if (!is_known) {
        first = pthread_self();
        is_known = 1;
    }
    *version = is_known && pthread_equal(first, pthread_self()) ? 22703 : 22809;
    pthread_mutex_unlock(&lock);
    return NCCL_OK;
}

static nccl_result sim_make_id(nccl_id *id)
{
    pthread_mutex_lock(&lock);
    if (clique_count == (int)(sizeof cliques / sizeof *cliques))
        fail("too many ids");
    const int words[2] = {MAGIC, clique_count};
    if ((cliques[clique_count++] = calloc(1, sizeof **cliques)) == NULL)
        fail("no memory");
    memset(id, 0, sizeof *id);
    memcpy(id->bytes, words, sizeof words);
    pthread_mutex_unlock(&lock);
    return NCCL_OK;
}

static void refuse(struct clique *q, const char *why)
{
    q->failed = NCCL_BAD_USE;
    snprintf(q->why, sizeof q->why, "%s", why);
}

static void sit_down(struct clique *q, int ranks, int rank)
{
    cu_context gpu = sim_current();
    if (q->ranks != 0 && q->ranks != ranks)
        refuse(q, "ranks do not agree on how many they are");
    else if (ranks > MOST_RANKS || q->gpu[rank] != NULL)
        refuse(q, "a rank came twice");
    for (int r = 0; r < MOST_RANKS; r++)
        if (q->gpu[r] == gpu)
            refuse(q, "Duplicate GPU detected");
    q->ranks = ranks;
    q->gpu[rank] = gpu;
    q->joined++;
}

static nccl_result sim_join(nccl_comm *comm, int ranks, nccl_id id, int rank, nccl_config *config)
{
    int words[2];
    struct ncclComm *c = calloc(1, sizeof *c);
    if (c == NULL)
        fail("no memory");
    if (config->size != sizeof *config || config->magic != (unsigned)NCCL_CONFIG_MAGIC || config->blocking != 0)
        fail("a configuration that is none, or blocks");
    memcpy(words, id.bytes, sizeof words);
    *c = (struct ncclComm){.rank = rank, .users = 1};
    pthread_mutex_lock(&lock);
    c->delay = 1 + draw();
    c->busy = 1;
    if (words[0] != MAGIC || words[1] < 0 || words[1] >= clique_count) {
        c->error = NCCL_SYSTEM_ERROR;
        snprintf(c->why, sizeof c->why, "Call to connect failed: Connection refused");
    } else {
        c->clique = cliques[words[1]];
        sit_down(c->clique, ranks, rank);
    }
    live++;
    pthread_mutex_unlock(&lock);
    *comm = c;
    return NCCL_BUSY;
}

static nccl_result answer(struct ncclComm *c)
{
    if (c->error != NCCL_OK)
        return c->error;
    if (c->clique->failed != NCCL_OK) {
        memcpy(c->why, c->clique->why, sizeof c->why);
        return c->clique->failed;
    }
    if (c->busy && c->delay-- > 0)
        return NCCL_BUSY;
    if (!c->ready) {
        c->ready = c->clique->joined == c->clique->ranks &&
                   !(planted.fault == SIM_NCCL_NEVER_JOINS && planted.rank < c->clique->ranks);
        c->busy = !c->ready;
    } else if (c->busy && c->asked != NULL) {
        c->busy = 0;
        put(c);
    }
    return c->busy ? NCCL_BUSY : NCCL_OK;
}

static nccl_result sim_async_error(nccl_comm c, nccl_result *state)
{
    pthread_mutex_lock(&lock);
    *state = answer(c);
    pthread_mutex_unlock(&lock);
    return NCCL_OK;
}

static const char *sim_error_string(nccl_result result)
{
    return result == NCCL_SYSTEM_ERROR   ? "unhandled system error"
           : result == NCCL_BAD_USE      ? "invalid usage"
           : result == NCCL_REMOTE_ERROR ? "remote process exited or there was a network error"
                                         : "an error";
}

static const char *sim_last_error(nccl_comm c)
{
    return c != NULL ? c->why : "";
}

/* ---- the end ---- */

static nccl_result sim_finalize(nccl_comm c)
{
    pthread_mutex_lock(&lock);
    if (c->busy || c->gone)
        fail("finalize while the communicator is busy");
    c->busy = is_planted(SIM_NCCL_FINALIZE_HANGS, c); /* asked is NULL: it stays so */
    c->delay = 0;
    int busy = c->busy;
    pthread_mutex_unlock(&lock);
    return busy ? NCCL_BUSY : NCCL_OK;
}

/* Works in a stream end by themselves now. */
static nccl_result leave(nccl_comm c, int asked)
{
    pthread_mutex_lock(&lock);
    int hangs = asked && is_planted(SIM_NCCL_ABORT_HANGS, c);
    aborts += asked;
    pthread_mutex_unlock(&lock);
    if (hangs)
        sleep(SIM_NCCL_HANG);
    pthread_mutex_lock(&lock);
    if (c->gone)
        fail("a communicator ends twice");
    for (struct meeting *m = c->clique != NULL ? c->clique->first : NULL; m != NULL; m = m->next)
        if (!m->done && m->here[c->rank]) {
            m->here[c->rank] = 0;
            m->come--;
        }
    c->gone = 1;
    live--;
    drop(c);
    pthread_mutex_unlock(&lock);
    sim_stir();
    return NCCL_OK;
}

static nccl_result sim_destroy(nccl_comm c)
{
    return leave(c, 0);
}

static nccl_result sim_abort(nccl_comm c)
{
    return leave(c, 1);
}

#define ENTRY(member, symbol, result, args) .member = sim_##member,
const struct nccl_library sim_nccl = {NCCL_LIBRARY(ENTRY)};

/* ---- for tests ---- */

void sim_nccl_plant(enum sim_nccl_fault fault, int rank, int after)
{
    pthread_mutex_lock(&lock);
    planted.fault = fault;
    planted.rank = rank;
    planted.after = after;
    pthread_mutex_unlock(&lock);
    sim_stir();
}

static int look(const int *number)
{
    pthread_mutex_lock(&lock);
    int value = *number;
    pthread_mutex_unlock(&lock);
    return value;
}

int sim_nccl_live(void)
{
    return look(&live);
}

int sim_nccl_aborts(void)
{
    return look(&aborts);
}
