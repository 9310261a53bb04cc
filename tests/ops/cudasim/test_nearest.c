/* SPDX-License-Identifier: MIT
 *
 * test_nearest: neighbours that the CUDA backend finds, on its simulated driver (or on the GPU that MOCO_TEST_DEVICE names),
 * against all cosines in double, to the bit: drawn shapes, equal rows, rows and queries of zeros, rows that are not finite;
 * in any order of threads; and what is refused. Then kNN and searches that use it, against those of the host, in banks that
 * grow; where memory or the device fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/knn.h"
#include "eval/neighbours.h"
#include "eval/unit_rows.h"
#include "philox.h"
#include "support/cudasim/sim_driver.h"
#include "support/cudasim/simt.h"
#include "support/failing_alloc.h"
#include "support/test_device.h"

#define SIMULATED "cudasim:0"

static struct {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    const char *name;
} on;

static int log_lines;

static void count_log(void *user, int level, const char *line)
{
    (void)user;
    (void)level;
    log_lines += strstr(line, "neighbours are found on the host") != NULL;
}

static void ok(moco_status status, const struct err *err)
{
    if (status != MOCO_OK)
        fail_msg("status %d: %s", (int)status, err->text);
}

static void open_in(struct ctx *ctx)
{
    struct err err = {0};
    on.name = test_device();
    ok(backend_find(&on.be, on.name, &err), &err);
    if (on.be->nearest == NULL) {
        on.name = SIMULATED;
        ok(backend_find(&on.be, on.name, &err), &err);
    }
    on.ctx = ctx;
    ok(on.be->open(&on.dev, ctx, on.name, &err), &err);
}

static int is_simulated(void)
{
    return strncmp(on.name, "cudasim", 7) == 0;
}

static int set_up(void **state)
{
    (void)state;
    struct ctx *ctx;
    log_lines = 0;
    if (ctx_create(&ctx, &(struct ctx_options){.threads = 1, .log = count_log}, NULL) != MOCO_OK)
        return -1;
    open_in(ctx);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    on.be->close(on.dev);
    int leaked = on.ctx->live_bytes != 0 || (is_simulated() && sim_live() != 0);
    ctx_unref(on.ctx);
    return leaked ? -1 : 0;
}

/* ---- rows ---- */

static float *noise(int64_t count, uint64_t seed)
{
    float *at = malloc((size_t)count * sizeof *at);
    struct rng r;
    rng_init(&r, seed, 0, 0, 0, RNG_TEST);
    assert_non_null(at);
    for (int64_t i = 0; i < count; i++)
        at[i] = (float)rng_normal(&r);
    return at;
}

/* Rows of length 1, of which some are equal, also across whatever a device cuts them into, some zero, and some come nearer
 * to a query one by one (as in a bank in order of time). */
static float *rows_for(const float *queries, int64_t n, int64_t count, int dim, uint64_t seed)
{
    float *rows = noise(count * dim, seed);
    struct err err = {0};
    for (int64_t i = 0; i < count; i++) {
        float *row = rows + i * dim, *other = rows + (i / 3) * dim;
        const float *query = queries + seed % (uint64_t)n * (uint64_t)dim;
        for (int d = 0; d < dim; d++) {
            if (i % 7 == 3)
                row[d] = other[d];
            else if (i % 41 == 17)
                row[d] = 0;
            else if (seed % 2 == 0)
                row[d] += 6 * query[d] * (float)i / (float)count;
        }
    }
    ok(unit_rows(rows, 0, count, dim, rows, &err), &err);
    return rows;
}

static float *queries_for(int64_t n, int dim, uint64_t seed)
{
    float *queries = noise(n * dim, seed);
    struct err err = {0};
    for (int d = 0; d < dim && n > 2; d++)
        queries[dim + d] = 0;
    ok(unit_rows(queries, 0, n, dim, queries, &err), &err);
    return queries;
}

static int nearer_first(const void *a, const void *b)
{
    const struct be_hit *x = a, *y = b;
    if (x->cosine != y->cosine)
        return x->cosine > y->cosine ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* All rows, nearest first: the oracle. */
static struct be_hit *all_of(const float *rows, int64_t count, const float *query, int dim)
{
    struct be_hit *all = malloc((size_t)count * sizeof *all);
    assert_non_null(all);
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int d = 0; d < dim; d++)
            sum += (double)query[d] * (double)rows[i * dim + d];
        all[i] = (struct be_hit){.cosine = sum, .row = (uint32_t)i};
    }
    qsort(all, (size_t)count, sizeof *all, nearer_first);
    return all;
}

/* ---- those who use it ---- */

struct answers {
    struct be_hit *hits; /* [n][k] */
    int k, calls, none;  /* none: hits that were told, and are none */
};

static void keep(void *self, int64_t query, struct be_hit *hits, int found)
{
    struct answers *a = self;
    for (int i = 0; i < a->k; i++)
        a->hits[query * a->k + i] = i < found ? hits[i] : (struct be_hit){.cosine = -INFINITY, .row = BE_NO_ROW};
    for (int i = 0; i < found; i++)
        a->none += hits[i].row == BE_NO_ROW;
    a->calls++;
}

/* The device's backend with slots taken out or in front of it. */
static struct backend altered;
static int64_t written;
static int scarce;

static moco_status counting_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err)
{
    written += (int64_t)bytes;
    return on.be->write(dev, at, host, bytes, err);
}

static moco_status scarce_memory(struct be_device *dev, int64_t *live, int64_t *available, struct err *err)
{
    moco_status status = on.be->memory(dev, live, available, err);
    *available = scarce ? 1000 : *available;
    return status;
}

static struct neighbours *neighbours_of(const struct backend *be, int dim)
{
    struct neighbours *n;
    struct err err = {0};
    ok(neighbours_create(&n, on.ctx, be, on.dev, dim, &err), &err);
    return n;
}

static void find(struct neighbours *n, const float *rows, int64_t first, int64_t second, int dim, const float *queries,
                 int64_t count, struct answers *out)
{
    struct err err = {0};
    const struct neighbours_part bank[2] = {{rows, first}, {rows + first * dim, second}};
    out->calls = out->none = 0;
    ok(neighbours_find(n, bank, queries, count, out->k, keep, out, &err), &err);
    assert_int_equal(out->calls, count);
    assert_int_equal(out->none, 0);
}

/* ---- the slot ---- */

/* What the device says, in memory that held what no key and no hit is. */
static struct be_hit *found_on_device(const float *rows, int64_t count, const float *queries, int n, int dim, int k)
{
    struct be_memory memory;
    struct err err = {0};
    size_t row_bytes = (size_t)count * (size_t)dim * 4, query_bytes = (size_t)n * (size_t)dim * 4;
    size_t queries_at = (row_bytes + 255) / 256 * 256, hits_at = queries_at + (query_bytes + 255) / 256 * 256;
    size_t hit_bytes = (size_t)n * (size_t)k * sizeof(struct be_hit);
    size_t scratch_at = hits_at + (hit_bytes + 255) / 256 * 256;
    size_t scratch = on.be->nearest_scratch(on.dev, n, dim, count, k);
    struct be_hit *hits = malloc(hit_bytes);
    char *fill = malloc(hit_bytes + scratch);
    assert_true(hits != NULL && fill != NULL && scratch > 0);
    memset(fill, 0xff, hit_bytes + scratch);
    ok(on.be->alloc(on.dev, scratch_at + scratch, &memory, &err), &err);
    char *at = memory.at;
    ok(on.be->write(on.dev, at, rows, row_bytes, &err), &err);
    ok(on.be->write(on.dev, at + queries_at, queries, query_bytes, &err), &err);
    ok(on.be->write(on.dev, at + hits_at, fill, hit_bytes, &err), &err);
    ok(on.be->write(on.dev, at + scratch_at, fill, scratch, &err), &err);
    const struct be_nearest io = {
        .rows = at, .queries = at + queries_at, .count = count, .n = n, .dim = dim, .k = k, .hits = at + hits_at};
    ok(on.be->nearest(on.dev, &io, at + scratch_at, &err), &err);
    ok(on.be->read(on.dev, hits, at + hits_at, hit_bytes, &err), &err);
    on.be->release(on.dev, &memory);
    free(fill);
    return hits;
}

static void compare(const float *rows, int64_t count, const float *queries, int n, int dim, int k)
{
    struct be_hit *hits = found_on_device(rows, count, queries, n, dim, k);
    for (int q = 0; q < n; q++) {
        struct be_hit *all = all_of(rows, count, queries + (int64_t)q * dim, dim);
        for (int i = 0; i < k; i++) {
            const struct be_hit *got = &hits[q * k + i];
            if (got->row != all[i].row || memcmp(&got->cosine, &all[i].cosine, sizeof got->cosine) != 0)
                fail_msg("%d of %lld rows of %d: neighbour %d of query %d of %d is row %u at %.17g, not %u at %.17g", k,
                         (long long)count, dim, i, q, n, (unsigned)got->row, got->cosine, (unsigned)all[i].row,
                         all[i].cosine);
        }
        free(all);
    }
    free(hits);
}

static void drawn_shapes_are_right_to_the_bit(void **state)
{
    (void)state;
    static const int dims[] = {1, 2, 3, 8, 31, 32, 33, 48, 64, 129};
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct rng r;
        rng_init(&r, 77, seed, 0, 0, RNG_TEST);
        int dim = dims[rng_below(&r, sizeof dims / sizeof *dims)], n = 1 + (int)rng_below(&r, seed % 4 == 0 ? 150 : 9);
        int64_t count = 1 + (int64_t)rng_below(&r, seed % 3 == 0 ? 1500 : 300);
        int most = count < 200 ? (int)count : 200, k = 1 + (int)rng_below(&r, (uint64_t)most);
        float *queries = queries_for(n, dim, 500 + seed), *rows = rows_for(queries, n, count, dim, seed);
        compare(rows, count, queries, n, dim, k);
        free(queries);
        free(rows);
    }
}

/* Around the sizes of tiles and slices, and at the limits of k. */
static void chosen_shapes_are_right_to_the_bit(void **state)
{
    (void)state;
    static const struct {
        int64_t count;
        int n, dim, k;
    } cases[] = {{1, 1, 1, 1},     {1, 65, 3, 1},    {63, 64, 32, 63},  {64, 63, 5, 64},   {65, 1, 36, 65},
                 {511, 2, 4, 17},  {512, 1, 16, 1},  {513, 3, 8, 200},  {1024, 1, 8, 240}, {240, 2, 8, 240},
                 {241, 2, 9, 240}, {700, 129, 4, 5}, {255, 1, 12, 224}, {257, 1, 8, 16},   {70, 2, 2048, 7}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        float *queries = queries_for(cases[c].n, cases[c].dim, 900 + c);
        float *rows = rows_for(queries, cases[c].n, cases[c].count, cases[c].dim, 2 * c);
        compare(rows, cases[c].count, queries, cases[c].n, cases[c].dim, cases[c].k);
        free(queries);
        free(rows);
    }
}

/* 600 rows, 300 of which are one: the first of them are found, whichever slice they are in. */
static void equal_rows_come_in_the_banks_order(void **state)
{
    (void)state;
    enum { COUNT = 600, DIM = 20 };
    float *query = queries_for(1, DIM, 3), *rows = rows_for(query, 1, COUNT, DIM, 1);
    for (int i = 0; i < COUNT; i += 2)
        memcpy(rows + i * DIM, rows + 2 * DIM, sizeof *rows * DIM);
    for (int k = 1; k <= 181; k += 60)
        compare(rows, COUNT, rows + 2 * DIM, 1, DIM, k);
    memset(query, 0, sizeof *query * DIM);
    compare(rows, COUNT, query, 1, DIM, 100);
    free(query);
    free(rows);
}

/* Fifteen rows that are as near as the k-th but for the last bits, and are out. */
static void what_f32_loses_decides_nothing(void **state)
{
    (void)state;
    enum { COUNT = 400, DIM = 64, K = 10, CLOSE = BE_SPARE - 1 };
    for (uint64_t seed = 0; seed < 5; seed++) {
        float *query = queries_for(1, DIM, 40 + seed), *rows = rows_for(query, 1, COUNT, DIM, 2 * seed + 1);
        struct rng r;
        rng_init(&r, seed, 0, 0, 0, RNG_TEST);
        for (int i = 0; i < K + CLOSE; i++) { /* spread over the rows: one in twelve */
            float *row = rows + (int64_t)(i * 12 + 5) * DIM;
            for (int d = 0; d < DIM; d++)
                row[d] = query[d] * (1 + 1e-7f * (float)rng_normal(&r));
        }
        compare(rows, COUNT, query, 1, DIM, K);
        free(query);
        free(rows);
    }
}

static void any_order_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    enum { COUNT = 1100, DIM = 12, N = 70, K = 30 };
    float *queries = queries_for(N, DIM, 6), *rows = rows_for(queries, N, COUNT, DIM, 8);
    struct be_hit *first = found_on_device(rows, COUNT, queries, N, DIM, K);
    for (uint64_t seed = 2; seed <= 5; seed++) {
        simt_seed(seed);
        sim_seed(seed);
        struct be_hit *again = found_on_device(rows, COUNT, queries, N, DIM, K);
        assert_memory_equal(first, again, sizeof *first * N * K);
        free(again);
    }
    simt_seed(1);
    sim_seed(1);
    free(first);
    free(queries);
    free(rows);
}

static void rows_that_are_not_finite_are_never_found(void **state)
{
    (void)state;
    enum { COUNT = 90, DIM = 8, K = 60 };
    float *query = queries_for(1, DIM, 5), *rows = rows_for(query, 1, COUNT, DIM, 5);
    for (int i = 0; i < COUNT; i++)
        if (i % 2 == 1)
            rows[i * DIM + i % DIM] = i % 4 == 1 ? NAN : -NAN;
    struct be_hit *hits = found_on_device(rows, COUNT, query, 1, DIM, K);
    for (int i = 0; i < K; i++) {
        assert_true(i < COUNT / 2 ? hits[i].row % 2 == 0 && hits[i].row < COUNT : hits[i].row == BE_NO_ROW);
        assert_true(i < COUNT / 2 ? isfinite(hits[i].cosine) : hits[i].cosine < -1);
    }
    struct answers a = {.hits = hits, .k = K};
    struct neighbours *n = neighbours_of(on.be, DIM);
    find(n, rows, COUNT, 0, DIM, query, 1, &a);
    for (int i = 0; i < K; i++)
        assert_true(i < COUNT / 2 ? hits[i].row % 2 == 0 : hits[i].row == BE_NO_ROW);
    neighbours_free(n);
    free(hits);
    free(query);
    free(rows);
}

static void refused(int n, int dim, int64_t count, int k)
{
    struct err err = {0};
    const struct be_nearest io = {.n = n, .dim = dim, .count = count, .k = k};
    assert_int_equal(on.be->nearest(on.dev, &io, NULL, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "cannot be found"));
    if (dim > 0)
        assert_int_equal(on.be->nearest_scratch(on.dev, n, dim, count, k), 0);
}

static void what_cannot_be_found_is_refused(void **state)
{
    (void)state;
    refused(0, 4, 10, 1);
    refused(1, 0, 10, 1);
    refused(1, 4, 10, 0);
    refused(1, 4, 10, 11);
    refused(1, 4, 1000, 241);
    refused(1, 4, (int64_t)1 << 32, 1);
    assert_true(on.be->nearest_scratch(on.dev, 1, 4, UINT32_MAX, 240) > 0);
}

/* ---- what uses it ---- */

/* Searches of a bank that grows, in both of its parts, against the host's of the same: the same rows and cosines, to the bit.
 * A row is written to the device once, as long as there is room. */
static void a_growing_bank_answers_as_the_hosts(void **state)
{
    (void)state;
    enum { MOST = 900, DIM = 24, N = 70 };
    static const int sizes[][2] = {{1, 0}, {0, 30}, {100, 0}, {100, 50}, {100, 250}, {100, 800}};
    static const int ks[] = {1, 7, 200, 240, 241, 700};
    float *queries = noise(N * DIM, 1), *unit = queries_for(1, DIM, 2), *rows = rows_for(unit, 1, MOST, DIM, 2);
    struct answers a = {.hits = malloc(sizeof(struct be_hit) * N * 700)},
                   b = {.hits = malloc(sizeof(struct be_hit) * N * 700)};
    assert_true(a.hits != NULL && b.hits != NULL);
    altered = *on.be;
    altered.write = counting_write;
    struct backend host = *on.be;
    host.nearest = NULL;
    struct neighbours *there = neighbours_of(&altered, DIM), *here = neighbours_of(&host, DIM);
    int64_t live, before, available;
    struct err err = {0};
    ok(on.be->memory(on.dev, &before, &available, &err), &err);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
            for (int n = 1; n <= N; n += N - 1) {
                int first = sizes[s][0], second = sizes[s][1];
                a.k = b.k = ks[i];
                written = 0;
                find(there, rows, first, second, DIM, queries, n, &a);
                find(here, rows, first, second, DIM, queries, n, &b);
                for (int j = 0; j < n * a.k; j++)
                    if (a.hits[j].row != b.hits[j].row || a.hits[j].cosine != b.hits[j].cosine)
                        fail_msg("%d + %d rows, k %d: hit %d of %d queries is row %u, and on the host %u", first,
                                 second, a.k, j, n, (unsigned)a.hits[j].row, (unsigned)b.hits[j].row);
                if ((i > 0 || n > 1) && a.k <= 240) /* the queries alone */
                    assert_int_equal(written, (int64_t)n * DIM * 4);
            }
    ok(on.be->memory(on.dev, &live, &available, &err), &err);
    assert_true(live - before >= (int64_t)MOST * DIM * 4);
    neighbours_free(there);
    neighbours_free(here);
    ok(on.be->memory(on.dev, &live, &available, &err), &err);
    assert_int_equal(live, before);
    assert_int_equal(log_lines, 0);
    free(a.hits);
    free(b.hits);
    free(queries);
    free(unit);
    free(rows);
}

/* More than go at a time: each is answered once, and as when it is asked alone. */
static void many_queries_go_block_by_block(void **state)
{
    (void)state;
    enum { COUNT = 70, DIM = 4, N = 2100, K = 3 };
    float *queries = queries_for(N, DIM, 4), *rows = rows_for(queries, N, COUNT, DIM, 7);
    struct answers a = {.hits = malloc(sizeof(struct be_hit) * N * K), .k = K};
    struct neighbours *n = neighbours_of(on.be, DIM);
    assert_non_null(a.hits);
    find(n, rows, 30, COUNT - 30, DIM, queries, 3, &a); /* the memory for a search grows */
    find(n, rows, 30, COUNT - 30, DIM, queries, N, &a);
    for (int q = 0; q < N; q++) {
        struct be_hit *all = all_of(rows, COUNT, queries + q * DIM, DIM);
        for (int i = 0; i < K; i++)
            assert_int_equal(a.hits[q * K + i].row, all[i].row);
        free(all);
    }
    neighbours_free(n);
    free(a.hits);
    free(queries);
    free(rows);
}

/* Wants most for fewer than FEW queries, and uses all of it. */
enum { FEW = 100, MUCH = 32 << 20 };

static size_t much_for_few(struct be_device *dev, int n, int dim, int64_t count, int k)
{
    return n < FEW ? MUCH : on.be->nearest_scratch(dev, n, dim, count, k);
}

static moco_status nearest_to_the_end(struct be_device *dev, const struct be_nearest *io, void *scratch,
                                      struct err *err)
{
    const char end[64] = {0};
    if (io->n < FEW)
        TRY(on.be->write(dev, (char *)scratch + MUCH - sizeof end, end, sizeof end, err));
    return on.be->nearest(dev, io, scratch, err);
}

static void the_last_block_may_want_more(void **state)
{
    (void)state;
    enum { COUNT = 3, DIM = 4, N = 2100, K = 1 };
    struct backend be = *on.be;
    float *queries = queries_for(N, DIM, 4), *rows = rows_for(queries, N, COUNT, DIM, 7);
    struct answers a = {.hits = malloc(sizeof(struct be_hit) * N * K), .k = K};
    assert_non_null(a.hits);
    be.nearest_scratch = much_for_few;
    be.nearest = nearest_to_the_end;
    assert_true(on.be->nearest_scratch(on.dev, 2048, DIM, COUNT, K) < MUCH);
    struct neighbours *n = neighbours_of(&be, DIM);
    find(n, rows, COUNT, 0, DIM, queries, N, &a);
    neighbours_free(n);
    free(a.hits);
    free(queries);
    free(rows);
}

static int32_t *votes(const struct backend *be, const float *rows, const int32_t *labels, int64_t count, int dim,
                      const float *queries, int n, int k)
{
    struct knn *knn;
    struct err err = {0};
    int32_t *got = malloc((size_t)n * sizeof *got);
    assert_non_null(got);
    ok(knn_create(&knn, on.ctx, be, on.dev, dim, k, 0.1, &err), &err);
    ok(knn_add(knn, rows, labels, count / 2, &err), &err);
    ok(knn_classify(knn, queries, n / 2, got, &err), &err);
    ok(knn_add(knn, rows + count / 2 * dim, labels + count / 2, count - count / 2, &err), &err);
    ok(knn_classify(knn, queries, n, got, &err), &err);
    knn_free(knn);
    return got;
}

static void knn_votes_as_on_the_host(void **state)
{
    (void)state;
    enum { COUNT = 800, DIM = 30, N = 90, CLASSES = 7 };
    float *queries = queries_for(N, DIM, 4), *rows = rows_for(queries, N, COUNT, DIM, 7);
    int32_t labels[COUNT];
    struct backend host = *on.be;
    host.nearest = NULL;
    for (int i = 0; i < COUNT; i++)
        labels[i] = (i * 37 + i / 11) % CLASSES;
    for (int k = 1; k <= 200; k = k * 5 + 9) {
        int32_t *there = votes(on.be, rows, labels, COUNT, DIM, queries, N, k);
        int32_t *here = votes(&host, rows, labels, COUNT, DIM, queries, N, k);
        assert_memory_equal(there, here, sizeof *here * N);
        free(there);
        free(here);
    }
    free(queries);
    free(rows);
}

static void a_query_that_is_not_finite_is_named(void **state)
{
    (void)state;
    enum { COUNT = 20, DIM = 3, N = 5 };
    float *queries = noise(N * DIM, 1), *unit = queries_for(1, DIM, 2), *rows = rows_for(unit, 1, COUNT, DIM, 3);
    struct answers a = {.hits = malloc(sizeof(struct be_hit) * N * 2), .k = 2};
    struct neighbours *n = neighbours_of(on.be, DIM);
    const struct neighbours_part bank[2] = {{rows, COUNT}};
    struct err err = {0};
    queries[3 * DIM + 1] = INFINITY;
    assert_int_equal(neighbours_find(n, bank, queries, N, 2, keep, &a, &err), MOCO_ENUMERIC);
    assert_non_null(strstr(err.text, "row 3 is not finite"));
    neighbours_free(n);
    free(a.hits);
    free(queries);
    free(unit);
    free(rows);
}

/* ---- failures ---- */

enum { F_COUNT = 60, F_DIM = 5, F_N = 3, F_K = 4 };

/* What is found, twice, with a failure planted: as much as without. */
static moco_status find_few(const struct backend *be, int *right, struct err *err)
{
    float *queries = queries_for(F_N, F_DIM, 5), *rows = rows_for(queries, F_N, F_COUNT, F_DIM, 4);
    struct be_hit hits[F_N * F_K];
    struct answers a = {.hits = hits, .k = F_K};
    struct neighbours *n = NULL;
    const struct neighbours_part bank[2] = {{rows, F_COUNT}};
    moco_status status = neighbours_create(&n, on.ctx, be, on.dev, F_DIM, err);
    if (status == MOCO_OK)
        status = neighbours_find(n, bank, queries, F_N, F_K, keep, &a, err);
    if (status == MOCO_OK)
        status = neighbours_find(n, bank, queries, F_N, F_K, keep, &a, err);
    neighbours_free(n);
    *right = status == MOCO_OK;
    for (int q = 0; q < F_N && *right; q++) {
        struct be_hit *all = all_of(rows, F_COUNT, queries + q * F_DIM, F_DIM);
        for (int i = 0; i < F_K; i++)
            *right &= hits[q * F_K + i].row == all[i].row && hits[q * F_K + i].cosine == all[i].cosine;
        free(all);
    }
    free(queries);
    free(rows);
    return status;
}

static void without_memory_there_the_host_finds_them(void **state)
{
    (void)state;
    struct err err = {0};
    int right;
    altered = *on.be;
    altered.memory = scarce_memory;
    scarce = 1;
    ok(find_few(&altered, &right, &err), &err);
    assert_true(right);
    assert_int_equal(log_lines, 1);
    scarce = 0;
    ok(find_few(&altered, &right, &err), &err);
    assert_true(right);
    assert_int_equal(log_lines, 1);
    if (!is_simulated())
        return;
    for (int after = 0;; after++) {
        log_lines = 0;
        sim_plant(SIM_NO_MEMORY, after);
        moco_status status = find_few(on.be, &right, &err);
        int due = sim_planted_is_due();
        sim_plant(SIM_SOUND, 0);
        ok(status, &err);
        assert_true(right);
        assert_int_equal(log_lines, !due);
        if (due) {
            assert_int_equal(after, 2); /* the rows, and what a search wants */
            break;
        }
    }
}

static void failures_of_the_device_are_told(void **state)
{
    (void)state;
    static const enum sim_failure kinds[] = {SIM_LAUNCH_REFUSED, SIM_KERNEL_FAULTS};
    if (!is_simulated())
        return;
    for (int kind = 0; kind < 2; kind++)
        for (int after = 0; after < 2; after++) {
            struct err err = {0};
            int right;
            sim_plant(kinds[kind], after);
            assert_int_equal(find_few(on.be, &right, &err), MOCO_EDEVICE);
            assert_non_null(strstr(err.text, "the device is lost"));
            assert_false(sim_planted_is_due());
            sim_plant(SIM_SOUND, 0);
            assert_int_equal(tear_down(state), 0); /* a device that is lost gives its memory back */
            assert_int_equal(set_up(state), 0);
        }
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    for (long long after = 0;; after++) {
        struct failing_alloc memory = {.fail_at = -1};
        struct ctx *ctx, *whole = on.ctx;
        struct be_device *dev = on.dev;
        struct err err = {0};
        int right;
        ok(ctx_create(
               &ctx,
               &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
               &err),
           &err);
        open_in(ctx);
        memory.fail_at = memory.calls + after;
        moco_status status = find_few(on.be, &right, &err);
        memory.fail_at = -1;
        on.be->close(on.dev);
        ctx_unref(ctx);
        on.ctx = whole;
        on.dev = dev;
        assert_int_equal(memory.live, 0);
        if (memory.refused == 0) {
            assert_int_equal(status, MOCO_OK);
            assert_true(right && after >= 5);
            break;
        }
        /* a block of the device's memory that cannot be noted is like one that is not there: the host's way is left */
        assert_true(status == MOCO_ENOMEM || (status == MOCO_OK && right));
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(drawn_shapes_are_right_to_the_bit),
        CASE(chosen_shapes_are_right_to_the_bit),
        CASE(equal_rows_come_in_the_banks_order),
        CASE(what_f32_loses_decides_nothing),
        CASE(any_order_of_threads_gives_the_same_bytes),
        CASE(rows_that_are_not_finite_are_never_found),
        CASE(what_cannot_be_found_is_refused),
        CASE(a_growing_bank_answers_as_the_hosts),
        CASE(many_queries_go_block_by_block),
        CASE(the_last_block_may_want_more),
        CASE(knn_votes_as_on_the_host),
        CASE(a_query_that_is_not_finite_is_named),
        CASE(without_memory_there_the_host_finds_them),
        CASE(failures_of_the_device_are_told),
        CASE(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
