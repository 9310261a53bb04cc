/* SPDX-License-Identifier: MIT
 *
 * test_batch_loss: losses whose negatives are the batch itself (InfoNCE against the keys of the batch, NT-Xent), on
 * every device, and in the cpu's loops at every instruction set, against their definition in double; the definition's
 * gradients against differences of its loss. Also ties, which must be chance, and inputs that are not finite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host_program.h"
#include "philox.h"
#include "support/rigs/map_case.h"
#include "support/rigs/net_harness.h"
#include "tolerances.h"

#ifdef MOCO_HAVE_ONEDNN
#include "backend/cpu/kernels/batch_loss.h"
#include "backend/cpu/kernels/simd_table.h"
#endif

/* keys 0: NT-Xent of n rows. */
struct shape {
    int n, keys, first, dim;
    double temperature;
};

static const struct shape shapes[] = {
    {2, 0, 0, 3, 0.5},      {4, 0, 0, 16, 0.1},      {66, 0, 0, 24, 0.1},      {130, 0, 0, 7, 0.07},
    {194, 0, 0, 128, 0.5},  {400, 0, 0, 20, 0.1},    {1, 1, 0, 5, 0.2},        {8, 8, 0, 16, 0.2},
    {65, 65, 0, 100, 0.07}, {200, 200, 0, 24, 0.07}, {16, 64, 32, 32, 0.2},    {70, 500, 430, 12, 0.1},
    {33, 40, 1, 1, 0.3},    {12, 0, 0, 33, 0.005},   {129, 193, 64, 40, 0.01}, {64, 0, 0, 64, 20},
    {70, 0, 0, 130, 0.1},   {20, 90, 60, 132, 0.07}, {300, 700, 400, 16, 0.1}, {600, 0, 0, 8, 0.1},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

struct batch {
    struct shape s;
    double *q, *k;              /* rounded to f32 */
    double sums[5], *d_q, *d_k; /* of scale 0.25 */
    int doubtful;               /* cosines that f32 may put on the other side of a positive's */
};
#define SCALE 0.25

static double *numbers(size_t count)
{
    double *x = calloc(count > 0 ? count : 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* Unit rows that share a direction; row i of both views, or of queries and keys, shares more. */
static void draw_rows(double *to, int rows, int dim, uint64_t seed, int pair_from)
{
    for (int i = 0; i < rows; i++) {
        double squares = 0, *row = to + (size_t)i * (size_t)dim;
        for (int d = 0; d < dim; d++) {
            struct rng own, pair;
            rng_init(&own, seed, (uint64_t)i, (uint64_t)d, 0, RNG_TEST);
            rng_init(&pair, 77, (uint64_t)(i + pair_from), (uint64_t)d, 1, RNG_TEST);
            row[d] = rng_normal(&own) + rng_normal(&pair) + (d % 3 == 0 ? 1 : 0);
            squares += row[d] * row[d];
        }
        for (int d = 0; d < dim; d++)
            row[d] = (double)(float)(row[d] / sqrt(squares));
    }
}

static double cosine(const double *a, const double *b, int dim)
{
    double sum = 0;
    for (int d = 0; d < dim; d++)
        sum += a[d] * b[d];
    return sum;
}

/* One query's loss against `count` rows of which `own` is the positive and `self` (-1: none) does not take part; its
 * measures and gradients are added. */
static void define_query(struct batch *b, const double *q, const double *rows, int count, int own, int self,
                         double *d_q, double *d_rows)
{
    int dim = b->s.dim;
    double total = 0, larger = 0, negatives = 0, positive = cosine(q, rows + own * dim, dim), top = -2;
    double *p = numbers((size_t)count);
    for (int j = 0; j < count; j++) {
        p[j] = cosine(q, rows + j * dim, dim);
        if (j != self)
            top = fmax(top, p[j]);
        if (j == self || j == own)
            continue;
        larger += p[j] > positive;
        b->doubtful += fabs(p[j] - positive) < 1e-6;
        negatives += p[j];
    }
    for (int j = 0; j < count; j++) {
        p[j] = j == self ? 0 : exp((p[j] - top) / b->s.temperature);
        total += p[j];
    }
    for (int j = 0; j < count; j++)
        for (int d = 0; d < dim; d++) {
            double slope = SCALE / b->s.temperature * (p[j] / total - (j == own));
            d_q[d] += slope * rows[j * dim + d];
            d_rows[j * dim + d] += slope * q[d];
        }
    int others = count - 1 - (self >= 0);
    b->sums[0] += log(total) + (top - positive) / b->s.temperature;
    b->sums[1] += larger < 1;
    b->sums[2] += larger < 5;
    b->sums[3] += positive;
    b->sums[4] += others > 0 ? negatives / others : 0;
    free(p);
}

static void define(struct batch *b)
{
    const struct shape *s = &b->s;
    memset(b->sums, 0, sizeof b->sums);
    b->doubtful = 0;
    memset(b->d_q, 0, (size_t)(s->n * s->dim) * sizeof(double));
    memset(b->d_k, 0, (size_t)(s->keys * s->dim) * sizeof(double));
    for (int i = 0; i < s->n; i++)
        if (s->keys == 0)
            define_query(b, b->q + i * s->dim, b->q, s->n, i < s->n / 2 ? i + s->n / 2 : i - s->n / 2, i,
                         b->d_q + i * s->dim, b->d_q);
        else
            define_query(b, b->q + i * s->dim, b->k, s->keys, s->first + i, -1, b->d_q + i * s->dim, b->d_k);
}

static void batch_open(struct batch *b, const struct shape *s)
{
    size_t nq = (size_t)(s->n * s->dim), nk = (size_t)(s->keys * s->dim);
    *b = (struct batch){.s = *s, .q = numbers(nq), .k = numbers(nk), .d_q = numbers(nq), .d_k = numbers(nk)};
    if (s->keys == 0) {
        draw_rows(b->q, s->n / 2, s->dim, 1, 0);
        draw_rows(b->q + nq / 2, s->n / 2, s->dim, 2, 0);
    } else {
        draw_rows(b->q, s->n, s->dim, 1, s->first);
        draw_rows(b->k, s->keys, s->dim, 2, 0);
    }
    define(b);
}

static void batch_close(struct batch *b)
{
    free(b->q);
    free(b->k);
    free(b->d_q);
    free(b->d_k);
}

/* ---- the definition ---- */

static void test_definition(void **state)
{
    (void)state;
    static const struct shape small[] = {{6, 0, 0, 4, 0.5}, {3, 5, 1, 4, 0.7}};
    for (int c = 0; c < 2; c++) {
        struct batch b, moved;
        batch_open(&b, &small[c]);
        batch_open(&moved, &small[c]);
        for (int side = 0; side < 2; side++) {
            double *x = side ? moved.k : moved.q, *d = side ? b.d_k : b.d_q;
            for (int i = 0; i < (side ? small[c].keys : small[c].n) * small[c].dim; i++) {
                double kept = x[i], at[2];
                for (int up = 0; up < 2; up++) {
                    x[i] = kept + (up ? 1e-5 : -1e-5);
                    define(&moved);
                    at[up] = moved.sums[0];
                }
                x[i] = kept;
                assert_true(fabs(SCALE * (at[1] - at[0]) / 2e-5 - d[i]) < TOL_REF_DIFFERENCE);
            }
        }
        batch_close(&b);
        batch_close(&moved);
    }
}

/* The reference's way: two cross-entropies, each the mean over N rows of [ab | aa without itself], and their sum. */
static void test_ntxent_is_the_references(void **state)
{
    (void)state;
    const struct shape s = {10, 0, 0, 6, 0.5};
    struct batch b;
    batch_open(&b, &s);
    double loss = 0;
    int n = s.n / 2;
    for (int view = 0; view < 2; view++) {
        const double *a = b.q + view * n * s.dim, *other = b.q + (1 - view) * n * s.dim;
        for (int i = 0; i < n; i++) {
            double total = 0;
            for (int j = 0; j < n; j++) {
                total += exp(cosine(a + i * s.dim, other + j * s.dim, s.dim) / s.temperature);
                if (j != i)
                    total += exp(cosine(a + i * s.dim, a + j * s.dim, s.dim) / s.temperature);
            }
            loss += (log(total) - cosine(a + i * s.dim, other + i * s.dim, s.dim) / s.temperature) / n;
        }
    }
    assert_true(fabs(b.sums[0] / n - loss) < 1e-12); /* the sum over all 2N rows, divided by N */
    batch_close(&b);
}

/* ---- devices ---- */

static void check_sums(const char *who, const struct batch *b, const struct host_sums *sums, double tolerance)
{
    const double got[5] = {sums->loss, sums->top1, sums->top5, sums->pos, sums->neg};
    for (int i = 0; i < 5; i++) {
        double slack = i == 1 || i == 2 ? b->doubtful + 1e-9 : tolerance * (b->s.n + fabs(b->sums[i]));
        if (!(fabs(got[i] - b->sums[i]) <= slack))
            fail_msg("%s: %d queries, %d keys of %d: sum %d is %.9g, not %.9g", who, b->s.n, b->s.keys, b->s.dim, i,
                     got[i], b->sums[i]);
    }
}

static void check_gradient(const char *who, const struct batch *b, const char *what, const double *got,
                           const double *want, int count, double tolerance)
{
    double error = 0, size = 0;
    for (int i = 0; i < count; i++) {
        error += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    /* A gradient that all but vanishes, since the positive has won, is the difference of two that do not. */
    double most = SCALE / b->s.temperature * sqrt(b->s.n);
    if (!(sqrt(error) <= tolerance * (sqrt(size) + 0.1 * most)))
        fail_msg("%s: %d queries, %d keys of %d, temperature %g: %s is off by %.3g of %.3g", who, b->s.n, b->s.keys,
                 b->s.dim, b->s.temperature, what, sqrt(error), sqrt(size));
}

static void open_on(struct harness *h, const struct harness_subject *subject)
{
    const struct harness_spec spec = {.device = subject->device,
                                      .precision = (int)subject->precision,
                                      .threads = 2,
                                      .n = 2,
                                      .groups = 1,
                                      .queue = 4,
                                      .seed = 1,
                                      .config = harness_net(18, 0.125, STEM_SMALL, HEAD_MLP, 16, 16)};
    harness_open(h, &spec);
}

/* What a device makes of a batch. */
struct found {
    struct host_sums sums;
    double *d_q, *d_k;
};

/* `constants`: keys have no gradient. */
static struct found run_on(struct harness *h, const struct batch *b, int constants)
{
    const struct shape *s = &b->s;
    struct err err = {0};
    size_t nq = (size_t)(s->n * s->dim), nk = (size_t)(s->keys * s->dim);
    struct be_memory q = harness_reals(h, nq), k = harness_reals(h, nk + 1), d_q = harness_reals(h, nq),
                     d_k = harness_reals(h, nk + 1),
                     scratch = harness_alloc(h, h->be->batch_loss_scratch(h->dev, s->n, s->keys, s->dim));
    struct found out = {.d_q = numbers(nq), .d_k = numbers(nk)};
    for (size_t i = 0; i < nq; i++) /* outputs are overwritten, not added to */
        out.d_q[i] = 3;
    for (size_t i = 0; i < nk; i++)
        out.d_k[i] = 3;
    harness_write(h, q.at, b->q, nq);
    harness_write(h, k.at, b->k, nk);
    harness_write(h, d_q.at, out.d_q, nq);
    harness_write(h, d_k.at, out.d_k, nk);
    const struct be_batch_loss io = {.q = q.at,
                                     .k = s->keys > 0 ? k.at : NULL,
                                     .n = s->n,
                                     .keys = s->keys,
                                     .first = s->first,
                                     .dim = s->dim,
                                     .scale = SCALE,
                                     .d_q = d_q.at,
                                     .d_k = s->keys > 0 && !constants ? d_k.at : NULL};
    const struct be_scalars scalars = {
        .temperature = s->temperature, .loss_scale = 1, .gradient_limit = (double)INFINITY};
    harness_begin(h, &scalars);
    harness_ok(h->be->batch_loss(h->program, &io, scratch.at, &err), &err);
    const struct be_outcome sums = harness_drop(h);
    out.sums = (struct host_sums){sums.loss, sums.top1, sums.top5, sums.pos, sums.neg};
    harness_read(h, d_q.at, nq, out.d_q);
    harness_read(h, d_k.at, nk, out.d_k);
    struct be_memory *all[] = {&q, &k, &d_q, &d_k, &scratch};
    for (size_t m = 0; m < 5; m++)
        h->be->release(h->dev, all[m]);
    return out;
}

static void found_close(struct found *f)
{
    free(f->d_q);
    free(f->d_k);
}

static void check_on(struct harness *h, const char *device, const struct shape *s)
{
    struct batch b;
    batch_open(&b, s);
    double tolerance = h->info.real_bytes == 8 ? 1e-12 : TOL_INFONCE_F32(s->temperature);
    for (int constants = 0; constants < 2; constants++) {
        struct found f = run_on(h, &b, constants);
        check_sums(s->keys > 0 ? "InfoNCE" : "NT-Xent", &b, &f.sums, tolerance);
        check_gradient(device, &b, "d_q", f.d_q, b.d_q, s->n * s->dim, tolerance);
        if (!constants)
            check_gradient(device, &b, "d_k", f.d_k, b.d_k, s->keys * s->dim, tolerance);
        for (int i = 0; constants && i < s->keys * s->dim; i++)
            assert_true(f.d_k[i] == 3);
        found_close(&f);
    }
    batch_close(&b);
}

#define FOR_EACH_SUBJECT(s)                                                                                            \
    struct harness_subject subjects[HARNESS_SUBJECTS];                                                                 \
    int subject_count = harness_subjects(subjects);                                                                    \
    for (const struct harness_subject *s = subjects; s < subjects + subject_count; s++)

static void test_devices(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(subject)
    {
        struct harness h;
        open_on(&h, subject);
        for (size_t i = 0; i < SHAPES; i++)
            check_on(&h, subject->device, &shapes[i]);
        harness_close(&h);
    }
}

static double chance(double places, double larger, double equal)
{
    return fmin(1, fmax(0, (places - larger) / (equal + 1)));
}

/* What ranks come to where rows are copies of a few, so that similarities are equal to the bit or far apart. */
static void expect_ranks(const struct batch *b, double *top1, double *top5)
{
    const struct shape *s = &b->s;
    const double *rows = s->keys > 0 ? b->k : b->q;
    int count = s->keys > 0 ? s->keys : s->n;
    *top1 = *top5 = 0;
    for (int i = 0; i < s->n; i++) {
        int own = s->keys > 0 ? s->first + i : (i + s->n / 2) % s->n, larger = 0, equal = 0;
        const double *q = b->q + i * s->dim, *mine = rows + own * s->dim;
        double positive = cosine(q, mine, s->dim);
        for (int j = 0; j < count; j++) {
            const double *row = rows + j * s->dim;
            if (j == own || (s->keys == 0 && j == i))
                continue;
            int same = memcmp(row, mine, sizeof *row * (size_t)s->dim) == 0;
            assert_true(same || fabs(cosine(q, row, s->dim) - positive) > 1e-5);
            equal += same;
            larger += !same && cosine(q, row, s->dim) > positive;
        }
        *top1 += chance(1, larger, equal);
        *top5 += chance(5, larger, equal);
    }
}

/* Ties are chance, exactly, whether rows collapsed to one or to a few; keys that are not the query's own among them. */
static void test_device_ranks(void **state)
{
    (void)state;
    const int kinds[] = {1, 3, 11};
    FOR_EACH_SUBJECT(subject)
    {
        struct harness h;
        open_on(&h, subject);
        for (size_t c = 0; c < SHAPES; c++) {
            struct batch b;
            int kind = kinds[c % 3];
            batch_open(&b, &shapes[c]);
            size_t row = sizeof(double) * (size_t)b.s.dim;
            if (b.s.dim < 5 || b.s.n + b.s.keys < kind) { /* rows that are not copies may be too near each other */
                batch_close(&b);
                continue;
            }
            double *from = numbers((size_t)(kind * b.s.dim)), top1, top5;
            draw_rows(from, kind, b.s.dim, 31, 1000);
            for (int r = 0; r < b.s.n; r++)
                memcpy(b.q + r * b.s.dim, from + (r * 7 + r / 9) % kind * b.s.dim, row);
            for (int r = 0; r < b.s.keys; r++)
                memcpy(b.k + r * b.s.dim, from + (r * 5 + r / 4) % kind * b.s.dim, row);
            expect_ranks(&b, &top1, &top5);
            struct found f = run_on(&h, &b, 0);
            if (!(fabs(f.sums.top1 - top1) <= 1e-9 && fabs(f.sums.top5 - top5) <= 1e-9))
                fail_msg("case %zu: top-1 and top-5 are %.9g and %.9g, not %.9g and %.9g", (size_t)c, f.sums.top1,
                         f.sums.top5, top1, top5);
            found_close(&f);
            free(from);
            batch_close(&b);
        }
        harness_close(&h);
    }
}

/* A number that is none, anywhere: the loss is none either, which is what the step's check sees. */
static void test_device_not_finite(void **state)
{
    (void)state;
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    const struct shape at[] = {{70, 0, 0, 20, 0.2}, {5, 300, 4, 20, 0.2}, {2, 0, 0, 4, 0.2}};
    FOR_EACH_SUBJECT(subject)
    {
        struct harness h;
        open_on(&h, subject);
        for (int c = 0; c < 18; c++) {
            struct batch b;
            batch_open(&b, &at[c % 3]);
            double *rows = c / 9 && b.s.keys > 0 ? b.k : b.q;
            rows[rows == b.k ? 299 * 20 + 3 : b.s.dim + 1] = bad[c / 3 % 3];
            struct found f = run_on(&h, &b, 0);
            assert_false(isfinite(f.sums.loss));
            found_close(&f);
            batch_close(&b);
        }
        harness_close(&h);
    }
}

static void test_ref_refuses(void **state)
{
    (void)state;
    const struct be_batch_loss bad[] = {
        {.n = 3, .dim = 2},                                  /* NT-Xent of an odd number */
        {.n = 4, .keys = 4, .dim = 2},                       /* keys without any */
        {.k = bad, .n = 4, .keys = 3, .dim = 2},             /* fewer keys than queries */
        {.k = bad, .n = 4, .keys = 6, .first = 3, .dim = 2}, /* positives beyond them */
        {.k = bad, .n = 4, .keys = 6, .first = -1, .dim = 2},
        {.k = bad, .n = 4, .keys = 4, .dim = 2}, /* good, but for the temperature */
    };
    struct harness h;
    const struct harness_spec spec = {.device = "ref",
                                      .precision = BE_F64,
                                      .threads = 1,
                                      .n = 2,
                                      .groups = 1,
                                      .queue = 4,
                                      .seed = 1,
                                      .config = harness_net(18, 0.125, STEM_SMALL, HEAD_MLP, 16, 16)};
    harness_open(&h, &spec);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        const struct be_scalars scalars = {.temperature = i < 5, .loss_scale = 1};
        harness_begin(&h, &scalars);
        assert_int_equal(h.be->batch_loss(h.program, &bad[i], NULL, &err), MOCO_EINVAL);
        assert_true(err.text[0] != 0);
        harness_drop(&h);
    }
    harness_close(&h);
}

/* ---- the cpu's loops, one instruction set after another ---- */

#ifdef MOCO_HAVE_ONEDNN

static float *floats(const double *from, int count)
{
    float *at = take(sizeof(float) * (size_t)(count > 0 ? count : 1));
    for (int i = 0; i < count; i++)
        at[i] = (float)from[i];
    return at;
}

struct f32_batch {
    struct be_batch_loss io;
    double temperature;
    struct host_sums sums;
    float *q, *k, *d_q, *d_k;
};

static void f32_open(struct f32_batch *f, const struct batch *b)
{
    const struct shape *s = &b->s;
    f->q = floats(b->q, s->n * s->dim);
    f->k = floats(b->k, s->keys * s->dim);
    f->d_q = floats(b->q, s->n * s->dim);
    f->d_k = floats(b->k, s->keys * s->dim);
    f->temperature = s->temperature;
    f->io = (struct be_batch_loss){.q = f->q,
                                   .k = s->keys > 0 ? f->k : NULL,
                                   .n = s->n,
                                   .keys = s->keys,
                                   .first = s->first,
                                   .dim = s->dim,
                                   .scale = SCALE,
                                   .d_q = f->d_q,
                                   .d_k = s->keys > 0 ? f->d_k : NULL};
}

static void f32_run(const struct kern_team *team, struct f32_batch *f)
{
    size_t bytes = cpu_batch_loss_scratch(team, f->io.n, f->io.keys, f->io.dim);
    void *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, 0xff, bytes); /* NaN: nothing may be read before it is written */
    cpu_batch_loss(team, &f->io, f->temperature, scratch, &f->sums);
    free(scratch);
}

static void f32_close(struct f32_batch *f)
{
    free(f->q);
    free(f->k);
    free(f->d_q);
    free(f->d_k);
}

static void test_levels(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        struct batch b;
        struct f32_batch f;
        batch_open(&b, &shapes[i]);
        f32_open(&f, &b);
        int nq = b.s.n * b.s.dim, nk = b.s.keys * b.s.dim;
        double *g = numbers((size_t)(nq + nk)), tolerance = TOL_INFONCE_F32(b.s.temperature);
        for (struct team_walk walk = {0}; team_next(&walk);) {
            f32_run(&walk.team, &f);
            check_sums(walk.level, &b, &f.sums, tolerance);
            for (int x = 0; x < nq + nk; x++)
                g[x] = (double)(x < nq ? f.d_q[x] : f.d_k[x - nq]);
            check_gradient(walk.level, &b, "d_q", g, b.d_q, nq, tolerance);
            check_gradient(walk.level, &b, "d_k", g + nq, b.d_k, nk, tolerance);
        }
        free(g);
        f32_close(&f);
        batch_close(&b);
    }
}

/* A collapsed encoder is at chance, to the bit, and has no gradient that would tell one sample from another. */
static void test_ties(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        struct batch b;
        struct f32_batch f;
        batch_open(&b, &shapes[i]);
        for (int r = 0; r < b.s.n + b.s.keys; r++)
            memmove((r < b.s.n ? b.q + r * b.s.dim : b.k + (r - b.s.n) * b.s.dim), b.q,
                    sizeof(double) * (size_t)b.s.dim);
        f32_open(&f, &b);
        double others = b.s.keys > 0 ? b.s.keys : b.s.n - 1; /* the positive among them */
        for (struct team_walk walk = {0}; team_next(&walk);) {
            f32_run(&walk.team, &f);
            check_near(f.sums.top1, b.s.n / others, 1e-9, 0, "top1", i);
            check_near(f.sums.top5, b.s.n * fmin(1, 5 / others), 1e-9, 0, "top5", i);
            check_near(f.sums.loss, b.s.n * log(others), 1e-5 * b.s.n, 0, "loss", i);
        }
        f32_close(&f);
        batch_close(&b);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const struct shape at[] = {{70, 0, 0, 20, 0.2}, {5, 300, 4, 20, 0.2}};
    for (int c = 0; c < 2; c++)
        for (int side = 0; side < 2; side++)
            for (size_t v = 0; v < 3; v++) {
                struct batch b;
                struct f32_batch f;
                batch_open(&b, &at[c]);
                f32_open(&f, &b);
                if (side == 0 || c == 0)
                    f.q[3 * 20 + 19] = bad[v];
                else
                    f.k[299 * 20 + 3] = bad[v];
                for (struct team_walk walk = {0}; team_next(&walk);) {
                    f32_run(&walk.team, &f);
                    assert_false(isfinite(f.sums.loss));
                }
                f32_close(&f);
                batch_close(&b);
            }
}

static void test_repeatable(void **state)
{
    (void)state;
    const struct shape s = {200, 0, 0, 40, 0.1};
    struct batch b;
    struct f32_batch f;
    batch_open(&b, &s);
    f32_open(&f, &b);
    float *before = take(sizeof(float) * 200 * 40);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        f32_run(&walk.team, &f);
        double loss = f.sums.loss;
        memcpy(before, f.d_q, sizeof(float) * 200 * 40);
        f32_run(&walk.team, &f);
        assert_true(loss == f.sums.loss);
        assert_memory_equal(before, f.d_q, sizeof(float) * 200 * 40);
    }
    free(before);
    f32_close(&f);
    batch_close(&b);
}

/* Memory grows with the batch, not with its square: at 8,192 rows a matrix of all logits would take 256 MiB. */
static void test_scratch(void **state)
{
    (void)state;
    for (int level = 0; kern_level(level) != NULL; level++) {
        struct kern_team team = {kern_level(level), 16};
        size_t one = cpu_batch_loss_scratch(&team, 4096, 0, 128), two = cpu_batch_loss_scratch(&team, 8192, 0, 128);
        assert_true(two < 2 * one && two < 16 << 20);
    }
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),   cmocka_unit_test(test_ntxent_is_the_references),
        cmocka_unit_test(test_devices),      cmocka_unit_test(test_ref_refuses),
        cmocka_unit_test(test_device_ranks), cmocka_unit_test(test_device_not_finite),
#ifdef MOCO_HAVE_ONEDNN
        cmocka_unit_test(test_levels),       cmocka_unit_test(test_ties),
        cmocka_unit_test(test_not_finite),   cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_scratch),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
