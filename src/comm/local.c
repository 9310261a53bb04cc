/* SPDX-License-Identifier: MIT
 *
 * local: the engine of ranks that are threads of one process. They meet in a hall: the last one to come to an exchange
 * does the work of all, in the order of ranks, so that a sum has the same bits whoever is last. What a reader would get
 * wrong: another rank's memory is touched under the hall's lock alone, and never once a rank has left; so a rank that
 * leaves takes its memory with it at once, and those that wait for it learn of it. */
#include <stdio.h>
#include <string.h>

#include "comm/comm_state.h"

struct seat {
    struct hall *hall;
    int rank, left;
    int64_t came;               /* exchanges that this rank has come to */
    void *data[COMM_UNDER_WAY]; /* of the last of them */
};

struct hall {
    struct ctx *ctx;
    pthread_mutex_t lock;
    int ranks, seated;
    int64_t done; /* exchanges to which all have come */
    struct seat seat[];
};

static void share_blocks(struct hall *h, int at, size_t each)
{
    for (int from = 0; from < h->ranks; from++)
        for (int to = 0; to < h->ranks; to++)
            if (to != from)
                memcpy((char *)h->seat[to].data[at] + (size_t)from * each,
                       (char *)h->seat[from].data[at] + (size_t)from * each, each);
}

#define ADD(type)                                                                                                      \
    static void add_##type(struct hall *h, int at, int64_t count)                                                      \
    {                                                                                                                  \
        type *sum = h->seat[0].data[at];                                                                               \
        for (int r = 1; r < h->ranks; r++) {                                                                           \
            const type *more = h->seat[r].data[at];                                                                    \
            for (int64_t i = 0; i < count; i++)                                                                        \
                sum[i] += more[i];                                                                                     \
        }                                                                                                              \
        for (int r = 1; r < h->ranks; r++)                                                                             \
            memcpy(h->seat[r].data[at], sum, (size_t)count * sizeof *sum);                                             \
    }
ADD(float)
ADD(double)

static int who_left(const struct hall *h, char *why, size_t size)
{
    for (int r = 0; r < h->ranks; r++)
        if (h->seat[r].left) {
            snprintf(why, size, "rank %d has left", r);
            return 1;
        }
    return 0;
}

/* dtype 0: a gather. */
static int come(struct seat *s, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t size)
{
    struct hall *h = s->hall;
    pthread_mutex_lock(&h->lock);
    int at = (int)(s->came % COMM_UNDER_WAY), left = who_left(h, why, size), all = !left;
    s->data[at] = data;
    s->came++;
    for (int r = 0; r < h->ranks; r++)
        all &= h->seat[r].came >= s->came;
    if (all && dtype == 0)
        share_blocks(h, at, (size_t)count);
    else if (all && dtype == MOCO_F32)
        add_float(h, at, count);
    else if (all)
        add_double(h, at, count);
    h->done += all;
    *request = (void *)(intptr_t)s->came;
    pthread_mutex_unlock(&h->lock);
    return left;
}

static int local_gather(void *user, void *blocks, int64_t each, void **request, char *why, size_t size)
{
    return come(user, blocks, each, 0, request, why, size);
}

static int local_sum(void *user, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t size)
{
    return come(user, data, count, dtype, request, why, size);
}

static int local_test(void *user, void *request, int32_t *done, char *why, size_t size)
{
    struct hall *h = ((struct seat *)user)->hall;
    pthread_mutex_lock(&h->lock);
    *done = h->done >= (intptr_t)request;
    int left = !*done && who_left(h, why, size);
    pthread_mutex_unlock(&h->lock);
    return left;
}

static int local_close(void *user, int32_t broken)
{
    struct seat *s = user;
    struct hall *h = s->hall;
    (void)broken;
    pthread_mutex_lock(&h->lock);
    s->left = 1;
    int seated = --h->seated;
    pthread_mutex_unlock(&h->lock);
    if (seated == 0) {
        struct ctx *ctx = h->ctx;
        pthread_mutex_destroy(&h->lock);
        mem_free(ctx, h);
        ctx_unref(ctx);
    }
    return 0;
}

moco_status comm_local(struct comm **out, int ranks, struct ctx *ctx, const moco_comm_options *options, struct err *err)
{
    moco_comm_engine engine = {.struct_size = sizeof engine,
                               .ranks = ranks,
                               .any_thread = 1,
                               .name = "threads of one process",
                               .sum = local_sum,
                               .gather = local_gather,
                               .test = local_test,
                               .close = local_close};
    if (ranks < 1 || ranks > COMM_LOCAL_MAX)
        return err_set(err, MOCO_EINVAL, "comm: ranks is %d; it must be 1 to %d", ranks, COMM_LOCAL_MAX);
    struct hall *h = mem_zalloc(ctx, sizeof *h + (size_t)ranks * sizeof *h->seat, err);
    if (h == NULL)
        return MOCO_ENOMEM;
    h->ctx = ctx_ref(ctx);
    pthread_mutex_init(&h->lock, NULL);
    h->ranks = h->seated = ranks;
    for (int r = 0; r < ranks; r++)
        h->seat[r] = (struct seat){.hall = h, .rank = r};
    moco_status status = MOCO_OK;
    for (int r = 0; r < ranks; r++) {
        engine.rank = r;
        engine.user = &h->seat[r];
        out[r] = NULL;
        if (status == MOCO_OK)
            status = comm_create(&out[r], ctx, &engine, options, err);
        else
            local_close(engine.user, 1);
    }
    for (int r = 0; status != MOCO_OK && r < ranks; r++) {
        comm_free(out[r]);
        out[r] = NULL;
    }
    return status;
}
