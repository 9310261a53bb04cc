/* SPDX-License-Identifier: MIT
 *
 * test_comm: what every engine gets from comm.c, and the engine of one process. Several ranks are threads of this program, on an
 * engine of the test's own that is done late and in its own time; it fails, and never ends, where it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "comm/comm_state.h"
#include "support/failing_alloc.h"

static struct ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

/* ---- an engine of threads ---- */

#define RANKS 4
#define EXCHANGES 400

enum kind { GATHER, SUM32, SUM64 };

/* What the ranks have asked for, exchange by exchange; the last one to come does the work. */
struct hall {
    pthread_mutex_t lock;
    int ranks, any_thread, came[EXCHANGES], closed, closed_broken;
    void *data[EXCHANGES][RANKS];
    struct seat {
        struct hall *hall;
        int rank, begun;
        int late; /* questions until an exchange that is done is said to be */
        int asked, ended, out_of_order;
        int fails_at, never_at; /* number of the exchange that fails, or is never done; -1 */
        void *last;             /* what was handed in last */
        int writes_on;          /* to the memory of exchanges after it was closed */
        uint16_t mail[64];
        int sent, heard, deaf;
    } seat[RANKS];
};

static void work(struct hall *h, int at, enum kind kind, size_t size)
{
    void **data = h->data[at];
    for (int r = 0; r < h->ranks && kind == GATHER; r++)
        for (int to = 0; to < h->ranks; to++)
            if (to != r)
                memcpy((char *)data[to] + (size_t)r * size, (char *)data[r] + (size_t)r * size, size);
    for (size_t i = 0; i < size && kind != GATHER; i++) {
        double sum = 0;
        for (int r = 0; r < h->ranks; r++)
            sum += kind == SUM64 ? ((double *)data[r])[i] : (double)((float *)data[r])[i];
        for (int r = 0; r < h->ranks; r++) {
            if (kind == SUM64)
                ((double *)data[r])[i] = sum;
            else
                ((float *)data[r])[i] = (float)sum;
        }
    }
}

static int come(struct seat *s, enum kind kind, void *data, size_t size, void **request, char *why, size_t room)
{
    struct hall *h = s->hall;
    int at = s->begun++;
    s->last = data;
    if (at == s->fails_at) {
        snprintf(why, room, "exchange %d fails", at);
        return 1;
    }
    pthread_mutex_lock(&h->lock);
    h->data[at][s->rank] = data;
    if (++h->came[at] == h->ranks)
        work(h, at, kind, size);
    pthread_mutex_unlock(&h->lock);
    *request = (void *)(intptr_t)(at + 1);
    return 0;
}

static int hall_gather(void *user, void *blocks, int64_t each, void **request, char *why, size_t room)
{
    return come(user, GATHER, blocks, (size_t)each, request, why, room);
}

static int hall_sum(void *user, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t room)
{
    return come(user, dtype == MOCO_F64 ? SUM64 : SUM32, data, (size_t)count, request, why, room);
}

static int hall_test(void *user, void *request, int32_t *done, char *why, size_t room)
{
    struct seat *s = user;
    struct hall *h = s->hall;
    int at = (int)(intptr_t)request - 1;
    (void)why, (void)room;
    pthread_mutex_lock(&h->lock);
    *done = h->came[at] == h->ranks && at != s->never_at && ++s->asked > s->late;
    pthread_mutex_unlock(&h->lock);
    s->out_of_order |= at != s->ended;
    if (*done) {
        s->asked = 0;
        s->ended++;
    }
    return 0;
}

/* Bytes on their way to a rank. A rank that is deaf hears nothing. */
static int hall_send(void *user, int32_t to, uint8_t byte)
{
    struct seat *s = user, *other = &s->hall->seat[to];
    pthread_mutex_lock(&s->hall->lock);
    other->mail[other->sent++ % 64] = (uint16_t)(s->rank << 8 | byte);
    pthread_mutex_unlock(&s->hall->lock);
    return 0;
}

static int hall_receive(void *user, int32_t *from, uint8_t *byte, int32_t *came)
{
    struct seat *s = user;
    pthread_mutex_lock(&s->hall->lock);
    *came = !s->deaf && s->heard < s->sent;
    if (*came) {
        uint16_t mail = s->mail[s->heard++ % 64];
        *from = mail >> 8;
        *byte = (uint8_t)mail;
    }
    pthread_mutex_unlock(&s->hall->lock);
    return 0;
}

static int hall_close(void *user, int32_t broken)
{
    struct seat *s = user;
    pthread_mutex_lock(&s->hall->lock);
    s->hall->closed++;
    s->hall->closed_broken += broken;
    pthread_mutex_unlock(&s->hall->lock);
    return broken && s->writes_on;
}

static moco_comm_engine hall_engine(struct seat *seat, int rank, int ranks)
{
    return (moco_comm_engine){.struct_size = sizeof(moco_comm_engine),
                              .rank = rank,
                              .ranks = ranks,
                              .any_thread = seat->hall->any_thread,
                              .user = seat,
                              .name = "hall",
                              .sum = hall_sum,
                              .gather = hall_gather,
                              .test = hall_test,
                              .close = hall_close};
}

static void hall_open(struct hall *h, int ranks)
{
    memset(h, 0, sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    h->ranks = ranks;
    for (int r = 0; r < ranks; r++)
        h->seat[r] = (struct seat){.hall = h, .rank = r, .late = r % 3, .fails_at = -1, .never_at = -1};
}

static struct comm *join(struct hall *h, int rank)
{
    struct comm *c;
    struct err err = {0};
    moco_comm_engine engine = hall_engine(&h->seat[rank], rank, h->ranks);
    assert_int_equal(comm_create(&c, ctx, &engine, NULL, &err), MOCO_OK);
    return c;
}

/* A rank's thread: what it found is judged by the test's own, where a failed assertion may jump. */
struct rank {
    pthread_t thread;
    struct comm *comm;
    int rank, fine;
    moco_status mine[3], answer[3];
    struct err err[3];
};

static void run_ranks(struct hall *h, struct rank *all, void *(*body)(void *rank))
{
    for (int r = 0; r < h->ranks; r++) {
        all[r].rank = r;
        all[r].comm = join(h, r);
        assert_int_equal(pthread_create(&all[r].thread, NULL, body, &all[r]), 0);
    }
    for (int r = 0; r < h->ranks; r++)
        pthread_join(all[r].thread, NULL);
}

static void leave(struct hall *h, struct rank *all)
{
    for (int r = 0; r < h->ranks; r++)
        comm_free(all[r].comm);
    assert_int_equal(h->closed, h->ranks);
    pthread_mutex_destroy(&h->lock);
}

/* ---- one ---- */

static void one_rank_is_done_at_once(void **state)
{
    (void)state;
    struct comm *c;
    moco_comm_info info;
    struct err err = {0};
    int64_t a, b, d;
    double sums[3] = {1, -2, 1e300};
    float small[2] = {0.1f, -0.0f};
    unsigned char block[5] = {1, 2, 3, 4, 5};
    assert_int_equal(comm_local(&c, 1, ctx, NULL, &err), MOCO_OK);
    assert_int_equal(comm_gather(c, block, sizeof block, &a, &err), MOCO_OK);
    assert_int_equal(comm_sum(c, sums, 3, MOCO_F64, &b, &err), MOCO_OK);
    assert_int_equal(comm_sum(c, small, 2, MOCO_F32, &d, &err), MOCO_OK);
    assert_true(a < b && b < d);
    assert_int_equal(comm_wait(c, d, &err), MOCO_OK);
    assert_int_equal(comm_wait(c, a, &err), MOCO_OK);
    assert_memory_equal(block, ((unsigned char[]){1, 2, 3, 4, 5}), 5);
    assert_memory_equal(sums, ((double[]){1, -2, 1e300}), sizeof sums);
    assert_memory_equal(small, ((float[]){0.1f, -0.0f}), sizeof small);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(comm_sum(c, sums, 3, MOCO_F64, &b, &err), MOCO_OK); /* more than are under way at once */
    assert_int_equal(comm_vote(c, MOCO_OK, &err), MOCO_OK);
    assert_int_equal(err.status, MOCO_OK);
    comm_describe(c, &info);
    assert_true(info.rank == 0 && info.ranks == 1 && !info.own_thread && !info.broken);
    assert_int_equal(info.exchanges, 1003); /* a vote of one takes none */
    assert_true(info.bytes >= 1001 * 24 + 13);
    char sentence[sizeof err.text];
    memset(sentence, 'x', sizeof sentence - 1);
    sentence[sizeof sentence - 1] = 0;
    err_set(&err, MOCO_ENUMERIC, "%s", sentence);
    assert_int_equal(comm_vote(c, MOCO_ENUMERIC, &err), MOCO_ENUMERIC);
    assert_string_equal(err.text, sentence); /* its own, whole */
    assert_int_equal(comm_vote(c, MOCO_ECANCELED, NULL), MOCO_ECANCELED);
    err = (struct err){0};
    assert_int_equal(comm_wait(c, 0, &err), MOCO_EINVAL);
    assert_int_equal(comm_wait(c, 1000000, NULL), MOCO_EINVAL);
    comm_free(c);
    comm_free(NULL);
}

/* ---- several ---- */

#define ROUNDS 30

static void *exchange(void *argument)
{
    struct rank *me = argument;
    struct err err = {0};
    int fine = 1;
    for (int round = 0; round < ROUNDS; round++) {
        int32_t blocks[RANKS] = {0};
        double sums[7];
        float small[3];
        int64_t ticket[3];
        blocks[me->rank] = 100 * round + me->rank;
        for (int i = 0; i < 7; i++)
            sums[i] = round + i * me->rank;
        for (int i = 0; i < 3; i++)
            small[i] = (float)(me->rank + 1);
        fine &= comm_gather(me->comm, blocks, sizeof *blocks, &ticket[0], &err) == MOCO_OK;
        fine &= comm_sum(me->comm, sums, 7, MOCO_F64, &ticket[1], &err) == MOCO_OK;
        fine &= comm_sum(me->comm, small, 3, MOCO_F32, &ticket[2], &err) == MOCO_OK;
        fine &= comm_wait(me->comm, ticket[round % 3], &err) == MOCO_OK;
        fine &= comm_vote(me->comm, MOCO_OK, &err) == MOCO_OK; /* and the others are done as well */
        for (int r = 0; r < RANKS; r++)
            fine &= blocks[r] == 100 * round + r;
        for (int i = 0; i < 7; i++)
            fine &= sums[i] == RANKS * round + i * (RANKS * (RANKS - 1) / 2);
        for (int i = 0; i < 3; i++)
            fine &= small[i] == RANKS * (RANKS + 1) / 2;
    }
    me->fine = fine && err.status == MOCO_OK;
    return NULL;
}

static void exchanges_are_whole_after_a_wait(void **state)
{
    (void)state;
    static struct hall h;
    struct rank all[RANKS] = {{0}};
    hall_open(&h, RANKS);
    run_ranks(&h, all, exchange);
    for (int r = 0; r < RANKS; r++) {
        moco_comm_info info;
        assert_true(all[r].fine && !h.seat[r].out_of_order);
        comm_describe(all[r].comm, &info);
        assert_true(info.rank == r && info.ranks == RANKS && info.exchanges == 4 * ROUNDS);
    }
    leave(&h, all);
    assert_int_equal(h.closed_broken, 0);
}

/* Any number may be begun before one is waited for. */
static void many_are_begun_at_once(void **state)
{
    (void)state;
    static struct hall h;
    static double sums[300];
    struct err err = {0};
    int64_t ticket[300];
    hall_open(&h, 1);
    h.seat[0].late = 1;
    struct comm *c = join(&h, 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(comm_sum(c, &sums[i], 1, MOCO_F64, &ticket[i], &err), MOCO_OK);
    assert_in_range(h.seat[0].ended, 200, 299); /* the rest is under way */
    assert_int_equal(comm_wait(c, ticket[250], &err), MOCO_OK);
    assert_in_range(h.seat[0].ended, 251, 299);
    assert_int_equal(comm_wait(c, ticket[299], &err), MOCO_OK);
    assert_true(h.seat[0].ended == 300 && !h.seat[0].out_of_order);
    comm_free(c);
    assert_true(h.closed == 1 && h.closed_broken == 0);
    pthread_mutex_destroy(&h.lock);
}

static void *vote(void *argument)
{
    struct rank *me = argument;
    for (int i = 0; i < 3; i++) {
        if (me->mine[i] != MOCO_OK)
            err_set(&me->err[i], me->mine[i], "what rank %d met\xc3\xa4", me->rank);
        me->answer[i] = comm_vote(me->comm, me->mine[i], &me->err[i]);
    }
    return NULL;
}

static void all_ranks_get_one_answer(void **state)
{
    (void)state;
    static const moco_status statuses[] = {MOCO_OK, MOCO_ENUMERIC, MOCO_ECANCELED, MOCO_ENOMEM};
    for (int votes = 0; votes < 256; votes += 5) { /* who says what: two bits a rank */
        static struct hall h;
        struct rank all[RANKS] = {{0}};
        int first = -1;
        hall_open(&h, RANKS);
        for (int r = 0; r < RANKS; r++) {
            all[r].mine[1] = statuses[votes >> 2 * r & 3];
            if (first < 0 && all[r].mine[1] != MOCO_OK)
                first = r;
        }
        run_ranks(&h, all, vote);
        for (int r = 0; r < RANKS; r++) {
            char expected[100] = "";
            assert_true(all[r].answer[0] == MOCO_OK && all[r].answer[2] == MOCO_OK); /* the next one is a new one */
            assert_int_equal(all[r].answer[1], first < 0 ? MOCO_OK : all[first].mine[1]);
            assert_int_equal(all[r].err[1].status, all[r].answer[1]);
            if (first >= 0)
                snprintf(expected, sizeof expected, "rank %d of 4: what rank %d met\xc3\xa4", first, first);
            assert_string_equal(all[r].err[1].text, expected);
        }
        leave(&h, all);
    }
}

/* ---- failures ---- */

static void a_failed_exchange_is_the_end(void **state)
{
    (void)state;
    static struct hall h;
    for (int at = 0; at < 3; at++) {
        struct err err = {0};
        double sums[2] = {1, 2};
        int64_t ticket;
        hall_open(&h, 1);
        h.seat[0].fails_at = at;
        struct comm *c = join(&h, 0);
        moco_status status = comm_sum(c, sums, 2, MOCO_F64, &ticket, &err);
        if (status == MOCO_OK)
            status = comm_gather(c, sums, sizeof sums, &ticket, &err);
        assert_int_equal(status, at < 2 ? MOCO_ECOMM : MOCO_OK);
        if (at == 2)
            assert_int_equal(comm_sum(c, sums, 2, MOCO_F64, &ticket, &err), MOCO_ECOMM);
        assert_non_null(strstr(err.text, "fails"));
        err = (struct err){0};
        assert_int_equal(comm_sum(c, sums, 2, MOCO_F64, &ticket, &err), MOCO_ECOMM);
        assert_non_null(strstr(err.text, "start all ranks from the last checkpoint"));
        comm_free(c);
        assert_true(h.closed == 1 && h.closed_broken == 1);
        pthread_mutex_destroy(&h.lock);
    }
}

/* A vote that cannot be held says what this rank met first. */
static void a_vote_that_is_lost(void **state)
{
    (void)state;
    static struct hall h;
    struct err err = {0};
    hall_open(&h, 2);
    h.seat[0].fails_at = 0;
    struct comm *c = join(&h, 0);
    err_set(&err, MOCO_ENUMERIC, "the reason");
    assert_int_equal(comm_vote(c, MOCO_ENUMERIC, &err), MOCO_ENUMERIC);
    assert_string_equal(err.text, "the reason");
    assert_int_equal(comm_vote(c, MOCO_OK, NULL), MOCO_ECOMM);
    comm_free(c);
    assert_true(h.closed == 1 && h.closed_broken == 1);
    pthread_mutex_destroy(&h.lock);
}

static void *cancel_soon(void *comm)
{
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    comm_cancel(comm);
    return NULL;
}

/* A rank that is lost keeps nobody for ever: the wait ends when it is given up, and the engine is told. */
static void a_wait_can_be_given_up(void **state)
{
    (void)state;
    static struct hall h;
    struct err err = {0};
    double sums[2] = {1, 2};
    int64_t ticket;
    pthread_t thread;
    hall_open(&h, 1);
    h.seat[0].never_at = 0;
    struct comm *c = join(&h, 0);
    assert_int_equal(comm_sum(c, sums, 2, MOCO_F64, &ticket, &err), MOCO_OK);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, c), 0);
    assert_int_equal(comm_wait(c, ticket, &err), MOCO_ECOMM);
    pthread_join(thread, NULL);
    assert_int_equal(comm_wait(c, ticket, NULL), MOCO_ECOMM);
    comm_free(c);
    assert_true(h.closed == 1 && h.closed_broken == 1);
    h.seat[0] = (struct seat){.hall = &h, .fails_at = -1, .never_at = -1};
    c = join(&h, 0); /* nothing is under way, and the others are not to be waited for all the same */
    comm_cancel(c);
    comm_free(c);
    assert_true(h.closed == 2 && h.closed_broken == 2);
    pthread_mutex_destroy(&h.lock);
}

/* What an engine may still write to stays where it is, the ballots of a vote too. */
static void memory_that_is_written_to_is_left(void **state)
{
    (void)state;
    static struct hall h;
    for (int writes_on = 0; writes_on < 2; writes_on++) {
        struct failing_alloc hook = {.fail_at = -1};
        struct ctx *counting;
        struct comm *c;
        struct err err = {0};
        double sum = 1;
        int64_t ticket;
        hall_open(&h, 2);
        h.seat[0].fails_at = 1;
        h.seat[0].writes_on = writes_on;
        assert_int_equal(
            ctx_create(
                &counting,
                &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &hook, .threads = 1},
                &err),
            MOCO_OK);
        moco_comm_engine engine = hall_engine(&h.seat[0], 0, 2);
        assert_int_equal(comm_create(&c, counting, &engine, NULL, &err), MOCO_OK);
        int64_t before = counting->live_bytes;
        assert_int_equal(comm_sum(c, &sum, 1, MOCO_F64, &ticket, &err), MOCO_OK);
        assert_int_equal(comm_vote(c, MOCO_OK, &err), MOCO_ECOMM);
        void *ballots = h.seat[0].last, *hosts = writes_on ? c->hosts : NULL;
        assert_int_equal(comm_written_to(c), writes_on);
        comm_free(c);
        assert_true((counting->live_bytes > 0) == writes_on && counting->live_bytes < before);
        if (writes_on) { /* nobody writes here in truth */
            mem_free(counting, ballots);
            mem_free(counting, hosts);
        }
        ctx_unref(counting);
        assert_int_equal(hook.live, 0);
        pthread_mutex_destroy(&h.lock);
    }
}

static void one_that_cannot_be_made_is_closed(void **state)
{
    (void)state;
    static struct hall h;
    struct comm *c;
    static const int numbers[][2] = {{0, 0}, {-1, 1}, {1, 1}, {0, -1}, {0, 1 << 21}};
    hall_open(&h, 1);
    for (int i = 0; i < 5; i++) {
        struct err err = {0};
        moco_comm_engine engine = hall_engine(&h.seat[0], numbers[i][0], numbers[i][1]);
        assert_int_equal(comm_create(&c, ctx, &engine, NULL, &err), MOCO_EINVAL);
        assert_true(c == NULL && h.closed == i + 1);
    }
    for (int n = 1; n < 8; n++) {
        struct failing_alloc hook = {.fail_at = n};
        struct ctx *tight;
        struct err err = {0};
        assert_int_equal(
            ctx_create(
                &tight,
                &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &hook, .threads = 1},
                &err),
            MOCO_OK);
        moco_status status = comm_local(&c, 1, tight, NULL, &err);
        assert_int_equal(status, n < 7 ? MOCO_ENOMEM : MOCO_OK);
        comm_free(c);
        ctx_unref(tight);
        assert_int_equal(hook.live, 0);
    }
    pthread_mutex_destroy(&h.lock);
}

/* ---- with a thread of the comm's own, and a roll call ---- */

static void with_a_thread_they_are_the_same(void **state)
{
    (void)state;
    static struct hall h;
    struct rank all[RANKS] = {{0}};
    hall_open(&h, RANKS);
    h.any_thread = 1;
    run_ranks(&h, all, exchange);
    for (int r = 0; r < RANKS; r++) {
        moco_comm_info info;
        assert_true(all[r].fine && !h.seat[r].out_of_order);
        comm_describe(all[r].comm, &info);
        assert_true(info.own_thread && info.exchanges == 4 * ROUNDS);
    }
    leave(&h, all);
    assert_int_equal(h.closed_broken, 0);
}

static struct comm *join_with_calls(struct hall *h, int rank, double silence, double patience)
{
    struct comm *c;
    struct err err = {0};
    moco_comm_engine engine = hall_engine(&h->seat[rank], rank, h->ranks);
    moco_comm_options o = {.silence_seconds = silence, .patience_seconds = patience, .bucket_bytes = 1};
    engine.send = hall_send;
    engine.receive = hall_receive;
    snprintf(engine.host, sizeof engine.host, "node%d", rank);
    assert_int_equal(comm_create(&c, ctx, &engine, &o, &err), MOCO_OK);
    return c;
}

/* Rank 2 never comes. As long as it answers, it is waited for; when it does not, it is named, and the others hear of it
 * at once. */
static void who_does_not_answer_is_named(void **state)
{
    (void)state;
    static struct hall h;
    struct comm *c[3];
    struct err err = {0};
    double sums[2][2] = {{1, 2}, {3, 4}};
    int64_t ticket[2];
    moco_comm_info info;
    hall_open(&h, 3);
    h.any_thread = 1;
    for (int r = 0; r < 3; r++)
        c[r] = join_with_calls(&h, r, r == 0 ? 0.05 : 1000, 0);
    for (int r = 0; r < 2; r++)
        assert_int_equal(comm_sum(c[r], sums[r], 2, MOCO_F64, &ticket[r], &err), MOCO_OK);
    nanosleep(&(struct timespec){0, 400000000}, NULL); /* eight times the silence, and several roll calls */
    comm_describe(c[0], &info);
    assert_false(info.broken);
    pthread_mutex_lock(&h.lock);
    assert_true(h.seat[2].heard > 0 && h.seat[0].heard > 0);
    h.seat[2].deaf = 1;
    pthread_mutex_unlock(&h.lock);
    assert_int_equal(comm_wait(c[0], ticket[0], &err), MOCO_ECOMM);
    if (strstr(err.text, "rank 2 (node2) does not answer, and exchange 2 has waited") == NULL)
        fail_msg("%s", err.text);
    err = (struct err){0};
    assert_int_equal(comm_wait(c[1], ticket[1], &err), MOCO_ECOMM);
    assert_non_null(strstr(err.text, "rank 2 (node2) does not answer rank 0"));
    for (int r = 0; r < 3; r++)
        comm_free(c[r]);
    pthread_mutex_destroy(&h.lock);
}

static void patience_ends(void **state)
{
    (void)state;
    for (int threaded = 0; threaded < 2; threaded++) {
        static struct hall h;
        struct err err = {0};
        double sum = 1;
        int64_t ticket;
        hall_open(&h, 2);
        h.any_thread = threaded;
        struct comm *c = join_with_calls(&h, 0, 1000, 0.05);
        assert_int_equal(comm_sum(c, &sum, 1, MOCO_F64, &ticket, &err), MOCO_OK);
        assert_int_equal(comm_wait(c, ticket, &err), MOCO_ECOMM);
        assert_non_null(strstr(err.text, "was not joined by all ranks within 0.05 seconds"));
        comm_free(c);
        pthread_mutex_destroy(&h.lock);
    }
}

/* The ranks of a process, of which one leaves before the others are done. */
static void who_leaves_is_not_waited_for(void **state)
{
    (void)state;
    struct comm *c[3];
    struct err err = {0};
    float sum = 1;
    int64_t ticket;
    assert_int_equal(comm_local(c, 3, ctx, NULL, &err), MOCO_OK);
    assert_int_equal(comm_sum(c[0], &sum, 1, MOCO_F32, &ticket, &err), MOCO_OK);
    comm_free(c[2]);
    assert_int_equal(comm_wait(c[0], ticket, &err), MOCO_ECOMM);
    assert_non_null(strstr(err.text, "rank 2 has left"));
    err = (struct err){0};
    comm_cancel(c[1]);
    assert_int_equal(comm_vote(c[1], MOCO_OK, &err), MOCO_ECOMM);
    assert_non_null(strstr(err.text, "given up by the program"));
    comm_free(c[1]);
    comm_free(c[0]);
}

static pthread_t aborted_by;
static int aborted_with, abort_hangs;

static void hall_abort(void *user, int32_t code)
{
    (void)user;
    aborted_by = pthread_self();
    aborted_with = code;
    if (abort_hangs)
        nanosleep(&(struct timespec){1, 0}, NULL);
}

/* By whoever drives the engine, also after it was closed; and whoever asked goes on if nothing comes of it. */
static void all_ranks_are_ended(void **state)
{
    (void)state;
    pthread_t self = pthread_self();
    for (int threaded = 0; threaded < 2; threaded++) {
        static struct hall h;
        struct comm *c;
        struct err err = {0};
        hall_open(&h, 2);
        h.any_thread = threaded;
        moco_comm_engine engine = hall_engine(&h.seat[0], 0, 2);
        engine.abort = hall_abort;
        assert_int_equal(comm_create(&c, ctx, &engine, NULL, &err), MOCO_OK);
        comm_cancel(c);
        assert_int_equal(comm_vote(c, MOCO_OK, &err), MOCO_ECOMM);
        assert_int_equal(h.closed, 1);
        err = (struct err){0};
        abort_hangs = threaded;
        aborted_with = 0;
        assert_int_equal(comm_abort(c, 75, abort_hangs ? 0.3 : 60, &err), MOCO_ECOMM);
        comm_free(c); /* and its thread has ended */
        assert_int_equal(aborted_with, 75);
        assert_int_equal(!pthread_equal(aborted_by, self), threaded);
        const char *words =
            threaded ? "hall has not ended this process within 0.3 seconds" : "hall could not end this process";
        if (strstr(err.text, words) == NULL)
            fail_msg("%s", err.text);
        pthread_mutex_destroy(&h.lock);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_is_done_at_once),
        cmocka_unit_test(exchanges_are_whole_after_a_wait),
        cmocka_unit_test(many_are_begun_at_once),
        cmocka_unit_test(all_ranks_get_one_answer),
        cmocka_unit_test(a_failed_exchange_is_the_end),
        cmocka_unit_test(a_vote_that_is_lost),
        cmocka_unit_test(a_wait_can_be_given_up),
        cmocka_unit_test(with_a_thread_they_are_the_same),
        cmocka_unit_test(who_does_not_answer_is_named),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(who_leaves_is_not_waited_for),
        cmocka_unit_test(all_ranks_are_ended),
        cmocka_unit_test(one_that_cannot_be_made_is_closed),
        cmocka_unit_test(memory_that_is_written_to_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
