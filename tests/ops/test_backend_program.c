/* SPDX-License-Identifier: MIT
 *
 * test_backend_program: a step of the contract on every device: scalars go in, findings come out once, and a commit
 * without a good verdict does nothing. Rows are moved and checked against loops written out here; parameters in ranges
 * against updates of the whole slab with the numbers of one range. What a reader would get wrong: nothing here looks at
 * device memory but through `read`, and findings through the outcome, so that a device behind its caller passes too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/net_harness.h"
#include "support/test_device.h"

static struct harness_subject subjects[HARNESS_SUBJECTS];
static int subject_count;

#define FOR_EACH_SUBJECT(s) for (const struct harness_subject *s = subjects; s < subjects + subject_count; s++)

enum { DIM = 5, ROWS = 7 };

static void open_small(struct harness *h, const struct harness_subject *s)
{
    const struct harness_spec spec = {.device = s->device,
                                      .precision = (int)s->precision,
                                      .threads = 2,
                                      .n = 4,
                                      .groups = 2,
                                      .queue = 8,
                                      .seed = 79,
                                      .config = harness_net(18, 0.125, STEM_SMALL, HEAD_MLP, 16, 16)};
    harness_open(h, &spec);
}

static const struct be_scalars plain = {.temperature = 1, .loss_scale = 1, .gradient_limit = (double)INFINITY};

/* Rows whose numbers say where they are, in device memory. */
static struct be_memory numbered(struct harness *h, int rows, double first)
{
    double values[ROWS * DIM * 4];
    for (int i = 0; i < rows * DIM; i++)
        values[i] = first + i;
    struct be_memory memory = harness_reals(h, (size_t)rows * DIM);
    harness_write(h, memory.at, values, (size_t)rows * DIM);
    return memory;
}

static struct be_memory indices(struct harness *h, const int32_t *index, int count)
{
    struct err err = {0};
    struct be_memory memory = harness_alloc(h, (size_t)count * sizeof *index);
    harness_ok(h->be->write(h->dev, memory.at, index, (size_t)count * sizeof *index, &err), &err);
    return memory;
}

static void put(struct harness *h, const struct be_memory *memory, size_t at, double value)
{
    harness_write(h, (char *)memory->at + at * h->info.real_bytes, &value, 1);
}

static double get(struct harness *h, const struct be_memory *memory, size_t at)
{
    double value;
    harness_read(h, (const char *)memory->at + at * h->info.real_bytes, 1, &value);
    return value;
}

/* The slab's numbers, parameter by parameter; the caller frees. */
static double *slab_values(struct harness *h, const struct be_memory *slab)
{
    struct err err = {0};
    double *values = calloc((size_t)h->graph->param_total, sizeof *values), *to = values;
    assert_non_null(values);
    for (int p = 0; p < h->graph->param_count; p++) {
        harness_ok(h->be->param_get(h->layout, slab->at, p, to, &err), &err);
        to += h->graph->params[p].count;
    }
    return values;
}

/* ---- rows ---- */

static void rows_go_where_the_index_says(void **state)
{
    (void)state;
    const int32_t order[ROWS] = {3, 0, 6, 1, 5, 2, 4};
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        open_small(&h, s);
        struct be_memory from = numbered(&h, ROWS, 1), index = indices(&h, order, ROWS);
        struct be_memory gathered = harness_reals(&h, ROWS * DIM), scattered = harness_reals(&h, ROWS * DIM);
        harness_begin(&h, &plain);
        harness_ok(h.be->gather(h.program, gathered.at, from.at, index.at, ROWS, DIM, &err), &err);
        harness_ok(h.be->scatter(h.program, scattered.at, from.at, index.at, ROWS, DIM, &err), &err);
        assert_true(harness_drop(&h).bad == BE_NOTHING);
        for (int j = 0; j < ROWS; j++)
            for (int c = 0; c < DIM; c++) {
                assert_true(get(&h, &gathered, (size_t)(j * DIM + c)) == 1 + order[j] * DIM + c);
                assert_true(get(&h, &scattered, (size_t)(order[j] * DIM + c)) == 1 + j * DIM + c);
            }
        struct be_memory *all[] = {&from, &index, &gathered, &scattered};
        for (int i = 0; i < 4; i++)
            h.be->release(h.dev, all[i]);
        harness_close(&h);
    }
}

/* From where the scalars say, around the end; only the last `length` of more keys than that. */
static void keys_are_written_around_the_ring(void **state)
{
    (void)state;
    enum { LENGTH = 6 };
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        open_small(&h, s);
        struct be_memory keys = numbered(&h, 4 * ROWS, 100);
        for (int n = 1; n <= 2 * LENGTH + 1; n++)
            for (int row = 0; row < LENGTH; row++) {
                struct be_memory ring = numbered(&h, LENGTH, -1000);
                struct be_scalars scalars = plain;
                double wanted[LENGTH];
                for (int r = 0; r < LENGTH; r++)
                    wanted[r] = -1000 + r * DIM;
                for (int j = 0; j < n; j++)
                    wanted[(row + j) % LENGTH] = 100 + j * DIM;
                scalars.queue_row = row;
                harness_begin(&h, &scalars);
                harness_decide(&h);
                harness_ok(h.be->push(h.program, ring.at, LENGTH, keys.at, n, DIM, &err), &err);
                assert_true(harness_end(&h).committed);
                for (int r = 0; r < LENGTH; r++)
                    for (int c = 0; c < DIM; c++)
                        assert_true(get(&h, &ring, (size_t)(r * DIM + c)) == wanted[r] + c);
                h.be->release(h.dev, &ring);
            }
        h.be->release(h.dev, &keys);
        harness_close(&h);
    }
}

static void the_spread_of_equal_rows_is_exactly_zero(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        open_small(&h, s);
        struct be_memory rows = numbered(&h, ROWS, 0.5);
        harness_begin(&h, &plain);
        harness_ok(h.be->row_std(h.program, rows.at, ROWS, DIM, &err), &err);
        /* 0, DIM, 2 DIM ...: DIM * sqrt((n^2 - 1) / 12) */
        assert_true(fabs(harness_drop(&h).feature_std - DIM * sqrt((ROWS * ROWS - 1) / 12.0)) < 1e-6);
        for (int i = 0; i < ROWS * DIM; i++)
            put(&h, &rows, (size_t)i, (double)(float)(0.1 + 0.7 * (i % DIM)));
        harness_begin(&h, &plain);
        harness_ok(h.be->row_std(h.program, rows.at, ROWS, DIM, &err), &err);
        assert_true(harness_drop(&h).feature_std == 0);
        h.be->release(h.dev, &rows);
        harness_close(&h);
    }
}

/* ---- findings ---- */

static uint64_t found_in_rows(struct harness *h, const struct be_memory *rows, const void *names)
{
    struct err err = {0};
    harness_begin(h, &plain);
    harness_ok(h->be->check_rows(h->program, BE_ROWS_QUERY, rows->at, names, ROWS, DIM, &err), &err);
    return harness_drop(h).bad;
}

static void a_bad_row_is_found_under_its_name(void **state)
{
    (void)state;
    const int32_t names[ROWS] = {30, 10, 60, 15, 50, 20, 40};
    const double bad[3] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        open_small(&h, s);
        struct be_memory rows = numbered(&h, ROWS, 1), index = indices(&h, names, ROWS);
        assert_true(found_in_rows(&h, &rows, index.at) == BE_NOTHING);
        for (int j = 0; j < ROWS; j++) {
            size_t at = (size_t)(j * DIM + j % DIM);
            double was = get(&h, &rows, at);
            put(&h, &rows, at, bad[j % 3]);
            assert_true(found_in_rows(&h, &rows, index.at) == BE_BAD(BE_ROWS_QUERY, names[j]));
            assert_true(found_in_rows(&h, &rows, NULL) == BE_BAD(BE_ROWS_QUERY, j));
            put(&h, &rows, at, was);
        }
        put(&h, &rows, 0 * DIM, (double)NAN); /* 30 */
        put(&h, &rows, 3 * DIM, (double)NAN); /* 15 */
        put(&h, &rows, 6 * DIM, (double)NAN); /* 40 */
        assert_true(found_in_rows(&h, &rows, index.at) == BE_BAD(BE_ROWS_QUERY, 15));
        h.be->release(h.dev, &rows);
        h.be->release(h.dev, &index);
        harness_close(&h);
    }
}

/* Whoever found it first. */
static void the_smallest_finding_is_told(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        open_small(&h, s);
        struct be_memory rows = numbered(&h, ROWS, 1);
        harness_train(&h);
        size_t last = (size_t)h.graph->stat_total - 1;
        put(&h, &rows, 4 * DIM, (double)NAN);
        put(&h, &h.stage, last, (double)INFINITY);
        harness_begin(&h, &plain);
        harness_ok(h.be->check_stats(h.program, BE_STATS_KEY, h.graph, h.stage.at, &err), &err);
        harness_ok(h.be->check_stats(h.program, BE_STATS_QUERY, h.graph, h.stage.at, &err), &err);
        harness_ok(h.be->check_slab(h.program, BE_GRADIENT, h.gradients.at, &err), &err);
        struct be_outcome found;
        harness_ok(h.be->verdict(h.program, &found, &err), &err);
        assert_true(found.bad == BE_BAD(BE_STATS_QUERY, last));
        harness_ok(h.be->check_rows(h.program, BE_ROWS_QUERY, rows.at, NULL, ROWS, DIM, &err), &err);
        harness_ok(h.be->check_rows(h.program, BE_ROWS_KEY, rows.at, NULL, ROWS, DIM, &err), &err);
        assert_true(harness_drop(&h).bad == BE_BAD(BE_ROWS_KEY, 4));
        /* The next step has found nothing. */
        harness_begin(&h, &plain);
        assert_int_equal(h.be->found(h.program), 0);
        assert_true(harness_drop(&h).bad == BE_NOTHING);
        h.be->release(h.dev, &rows);
        harness_close(&h);
    }
}

static void gradients_are_measured_and_held_against_their_limit(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        struct be_scalars scalars = plain;
        double sum;
        int bad;
        open_small(&h, s);
        harness_train(&h);
        harness_ok(h.be->measure(h.layout, h.gradients.at, &sum, &bad, &err), &err);
        for (int above = 0; above < 2; above++) {
            scalars.gradient_limit = sqrt(sum) * (above ? 0.999 : 1.001);
            harness_begin(&h, &scalars);
            harness_ok(h.be->check_slab(h.program, BE_GRADIENT, h.gradients.at, &err), &err);
            struct be_outcome found = harness_drop(&h);
            assert_true(found.sum_squares == sum);
            assert_true(found.bad == (above ? BE_BAD(BE_LIMIT, 0) : BE_NOTHING));
        }
        double *g = calloc((size_t)h.graph->params[3].count, sizeof *g);
        assert_non_null(g);
        g[0] = (double)NAN;
        harness_ok(h.be->param_set(h.layout, h.gradients.at, 3, g, &err), &err);
        harness_begin(&h, &plain);
        harness_ok(h.be->check_slab(h.program, BE_GRADIENT, h.gradients.at, &err), &err);
        assert_true(harness_drop(&h).bad == BE_BAD(BE_GRADIENT, 3));
        free(g);
        harness_close(&h);
    }
}

static void a_loss_that_is_not_finite_is_found(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        open_small(&h, s);
        put(&h, &h.queue, (size_t)h.dim * 3 + 1, (double)NAN);
        struct err err = {0};
        const struct be_infonce io = {.q = h.keys.at,
                                      .k = h.keys.at,
                                      .queue = h.queue.at,
                                      .n = h.spec.n,
                                      .dim = h.dim,
                                      .length = h.spec.queue,
                                      .scale = 1,
                                      .d_q = h.d_out.at};
        harness_begin(&h, &plain);
        harness_ok(h.be->infonce(h.program, &io, h.scratch.at, &err), &err);
        assert_true(harness_drop(&h).bad == BE_BAD(BE_LOSS, 0));
        harness_close(&h);
    }
}

/* ---- the commit ---- */

enum refusal { NONE, BAD_ROW, VETO, CANCEL, REFUSALS };

/* All that a commit moves. */
struct moved {
    double *masters, *momentum, ring[ROWS * DIM], *running;
};

static struct moved read_all(struct harness *h, const struct be_memory *ring)
{
    struct moved m = {.masters = slab_values(h, &h->masters), .momentum = slab_values(h, &h->momentum)};
    m.running = calloc((size_t)h->graph->stat_total, sizeof(double));
    assert_non_null(m.running);
    harness_read(h, h->running.at, (size_t)h->graph->stat_total, m.running);
    harness_read(h, ring->at, ROWS * DIM, m.ring);
    return m;
}

static int same(const struct harness *h, const struct moved *a, const struct moved *b)
{
    size_t slab = (size_t)h->graph->param_total * sizeof(double), stats = (size_t)h->graph->stat_total * sizeof(double);
    return (memcmp(a->masters, b->masters, slab) == 0) + (memcmp(a->momentum, b->momentum, slab) == 0) +
           (memcmp(a->running, b->running, stats) == 0) + (memcmp(a->ring, b->ring, sizeof a->ring) == 0);
}

static void free_all(struct moved *m)
{
    free(m->masters);
    free(m->momentum);
    free(m->running);
}

static struct be_outcome give_step(struct harness *h, enum refusal why, const struct be_memory *ring,
                                   const struct be_memory *rows)
{
    struct err err = {0};
    const struct be_scalars scalars = {.lr = 0.1,
                                       .sgd_momentum = 0.9,
                                       .weight_decay = 0.01,
                                       .temperature = 1,
                                       .loss_scale = 1,
                                       .gradient_limit = (double)INFINITY,
                                       .step = 7 + (int)why};
    const struct be_sgd io = {.p = h->masters.at,
                              .g = h->gradients.at,
                              .v = h->momentum.at,
                              .readers = h->readers.bytes > 0 ? h->readers.at : NULL};
    struct be_memory bad = numbered(h, ROWS, 1);
    _Atomic int *cancel;
    int skip;
    put(h, &bad, 0, (double)NAN);
    harness_ok(h->be->cancel_alloc(h->dev, &cancel, &err), &err);
    assert_int_equal(atomic_load(cancel), 0);
    if (why == CANCEL)
        atomic_store(cancel, 1);
    harness_begin(h, &scalars);
    harness_ok(h->be->check_rows(h->program, BE_ROWS_KEY, why == BAD_ROW ? bad.at : rows->at, NULL, ROWS, DIM, &err),
               &err);
    harness_ok(h->be->decide(h->program, cancel, why == VETO ? 3 : 0, &skip, &err), &err);
    harness_ok(h->be->sgd(h->program, &io, &err), &err);
    harness_ok(h->be->stats_commit(h->program, h->graph, h->running.at, h->stage.at, 2, &err), &err);
    harness_ok(h->be->push(h->program, ring->at, ROWS, rows->at, 2, DIM, &err), &err);
    struct be_outcome outcome = harness_end(h);
    assert_int_equal(outcome.step, scalars.step);
    h->be->cancel_free(h->dev, cancel);
    h->be->release(h->dev, &bad);
    return outcome;
}

static void a_commit_without_a_good_verdict_does_nothing(void **state)
{
    (void)state;
    const uint64_t wanted[REFUSALS] = {BE_NOTHING, BE_BAD(BE_ROWS_KEY, 0), BE_BAD(BE_VETO, 3), BE_NOTHING};
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        open_small(&h, s);
        harness_train(&h);
        struct be_memory ring = numbered(&h, ROWS, -50), rows = numbered(&h, ROWS, 1);
        struct moved before = read_all(&h, &ring);
        for (int why = REFUSALS - 1; why >= NONE; why--) {
            struct be_outcome outcome = give_step(&h, (enum refusal)why, &ring, &rows);
            assert_int_equal(outcome.committed, why == NONE);
            assert_int_equal(outcome.cancelled, why == CANCEL);
            assert_int_equal(outcome.follows, 0);
            assert_true(outcome.bad == wanted[why]);
            struct moved after = read_all(&h, &ring);
            assert_int_equal(same(&h, &before, &after), why == NONE ? 0 : 4);
            free_all(&after);
        }
        free_all(&before);
        h.be->release(h.dev, &ring);
        h.be->release(h.dev, &rows);
        harness_close(&h);
    }
}

static void an_outcome_is_told_once(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        struct be_outcome outcome;
        struct be_input at;
        int known, skip;
        open_small(&h, s);
        assert_int_equal(h.be->outcome(h.program, 1, &known, &outcome, &err), MOCO_ESTATE);
        for (int given = 0; given < h.info.behind; given++) {
            struct be_scalars scalars = plain;
            scalars.step = 40 + given;
            harness_begin(&h, &scalars);
            harness_decide(&h);
            err = (struct err){0};
            harness_ok(h.be->program_end(h.program, &err), &err);
            assert_int_equal(h.be->behind(h.program), given + 1);
        }
        assert_int_equal(h.be->program_begin(h.program, &plain, NULL, &at, &skip, &err), MOCO_ESTATE);
        assert_true(err.text[0] != 0);
        for (int told = 0; told < h.info.behind; told++) {
            err = (struct err){0};
            harness_ok(h.be->outcome(h.program, 1, &known, &outcome, &err), &err);
            assert_true(known && outcome.committed && outcome.step == 40 + told);
        }
        assert_int_equal(h.be->behind(h.program), 0);
        err = (struct err){0};
        assert_int_equal(h.be->outcome(h.program, 1, &known, &outcome, &err), MOCO_ESTATE);
        harness_close(&h);
    }
}

/* Each call belongs to one side of the decision. */
static void calls_out_of_order_are_refused(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        struct be_input at;
        int skip;
        open_small(&h, s);
        const struct be_sgd io = {.p = h.masters.at, .g = h.gradients.at, .v = h.momentum.at};
        assert_int_equal(h.be->decide(h.program, NULL, 0, &skip, &err), MOCO_ESTATE);
        harness_begin(&h, &plain);
        assert_int_equal(h.be->program_begin(h.program, &plain, NULL, &at, &skip, &err), MOCO_ESTATE);
        assert_int_equal(h.be->sgd(h.program, &io, &err), MOCO_ESTATE);
        assert_int_equal(h.be->program_end(h.program, &err), MOCO_ESTATE);
        harness_decide(&h);
        assert_int_equal(h.be->row_std(h.program, h.keys.at, 2, 4, &err), MOCO_ESTATE);
        h.be->program_drop(h.program);
        assert_int_equal(h.be->behind(h.program), 0);
        /* What was not fetched is forgotten when the state is another. */
        harness_begin(&h, &plain);
        harness_decide(&h);
        err = (struct err){0};
        harness_ok(h.be->program_end(h.program, &err), &err);
        h.be->program_reset(h.program);
        assert_int_equal(h.be->behind(h.program), 0);
        harness_close(&h);
    }
}

/* ---- parts ---- */

/* What a step in parts is made of: rows are gathered, scattered back, looked at, and pushed. */
struct parted {
    struct be_program *program;
    struct be_memory from, index, mid, out, ring;
};

static struct parted parted_open(struct harness *h)
{
    const int32_t order[ROWS] = {3, 0, 6, 1, 5, 2, 4};
    const struct be_program_spec spec = {.layout = h->layout, .parts = 3, .replay = 1};
    struct err err = {0};
    struct parted p = {.from = numbered(h, ROWS, 1),
                       .index = indices(h, order, ROWS),
                       .mid = harness_reals(h, ROWS * DIM),
                       .out = harness_reals(h, ROWS * DIM),
                       .ring = harness_reals(h, ROWS * DIM)};
    harness_ok(h->be->program_create(&p.program, h->dev, &spec, &err), &err);
    return p;
}

static void parted_close(struct harness *h, struct parted *p)
{
    struct be_memory *all[] = {&p->from, &p->index, &p->mid, &p->out, &p->ring};
    h->be->program_free(p->program);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        h->be->release(h->dev, all[i]);
}

/* Ends in the open step after `parts` calls of part, which are 2 in a whole one; otherwise it is dropped. */
static void parted_step(struct harness *h, struct parted *p, int parts)
{
    struct err err = {0};
    struct be_input at;
    struct be_outcome o;
    int skip, known;
    harness_ok(h->be->program_begin(p->program, &plain, NULL, &at, &skip, &err), &err);
    if (!skip)
        harness_ok(h->be->gather(p->program, p->mid.at, p->from.at, p->index.at, ROWS, DIM, &err), &err);
    for (int part = 1; part <= parts; part++) {
        moco_status status = h->be->part(p->program, &err);
        assert_int_equal(status, part <= 2 ? MOCO_OK : MOCO_ESTATE);
        if (part == 1 && !skip)
            harness_ok(h->be->scatter(p->program, p->out.at, p->mid.at, p->index.at, ROWS, DIM, &err), &err);
        if (part == 2 && !skip)
            harness_ok(h->be->row_std(p->program, p->out.at, ROWS, DIM, &err), &err);
    }
    if (parts != 2) {
        if (parts == 1)
            assert_int_equal(h->be->decide(p->program, NULL, 0, &skip, &err), MOCO_ESTATE);
        h->be->program_drop(p->program);
        return;
    }
    harness_ok(h->be->decide(p->program, NULL, 0, &skip, &err), &err);
    if (!skip)
        harness_ok(h->be->push(p->program, p->ring.at, ROWS, p->out.at, ROWS, DIM, &err), &err);
    harness_ok(h->be->program_end(p->program, &err), &err);
    harness_ok(h->be->outcome(p->program, 1, &known, &o, &err), &err);
    assert_true(known && o.committed && o.feature_std > 0);
}

/* In every step as many; nothing of a part is done before it has begun, in one that is repeated least of all. */
static void work_comes_in_parts(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        double last = 0;
        open_small(&h, s);
        struct parted p = parted_open(&h);
        assert_int_equal(h.be->part(p.program, NULL), MOCO_ESTATE);
        for (int i = 0; i < 24; i++) {
            const int parts = i % 2 == 0 ? 2 : i / 2 % 4; /* whole, and stopped somewhere, by turns */
            put(&h, &p.from, 3 * DIM, 100 + i);           /* which is gathered first */
            parted_step(&h, &p, parts);
            assert_true(get(&h, &p.mid, 0) == 100 + i);
            if (parts > 0)
                last = 100 + i;
            assert_true(get(&h, &p.out, 3 * DIM) == last);
            if (parts == 2)
                assert_true(get(&h, &p.ring, 3 * DIM) == last);
        }
        parted_close(&h, &p);
        harness_close(&h);
    }
}

/* ---- the optimizer's ranges ---- */

struct slabs {
    double *p, *v, *k;
};

/* An update from the same slabs each time. */
static struct slabs update(struct harness *h, const struct be_scalars *scalars, int lars,
                           const struct be_memory start[3], struct be_memory *k)
{
    struct err err = {0};
    struct be_memory *const to[3] = {&h->masters, &h->momentum, k};
    for (int i = 0; i < 3; i++)
        harness_ok(h->be->copy(h->dev, to[i]->at, start[i].at, start[i].bytes, &err), &err);
    const struct be_sgd io = {.p = h->masters.at, .g = h->gradients.at, .v = h->momentum.at, .k = k->at, .lars = lars};
    harness_begin(h, scalars);
    harness_decide(h);
    harness_ok(h->be->sgd(h->program, &io, &err), &err);
    assert_true(harness_end(h).finite);
    return (struct slabs){slab_values(h, &h->masters), slab_values(h, &h->momentum), slab_values(h, k)};
}

static void slabs_free(struct slabs *s)
{
    free(s->p);
    free(s->v);
    free(s->k);
}

static void expect_param(const struct harness *h, int param, const struct slabs *got, const struct slabs *wanted)
{
    size_t first = 0, bytes = (size_t)h->graph->params[param].count * sizeof(double);
    for (int p = 0; p < param; p++)
        first += (size_t)h->graph->params[p].count;
    assert_memory_equal(got->p + first, wanted->p + first, bytes);
    assert_memory_equal(got->v + first, wanted->v + first, bytes);
    assert_memory_equal(got->k + first, wanted->k + first, bytes);
}

static void check_ranges(struct harness *h, int lars, const struct be_memory start[3], struct be_memory *k)
{
    const struct be_range ranges[3] = {{.first = 0, .count = 1, .frozen = 1, .rate = 5},
                                       {.first = 3, .count = 4, .rate = 0.25, .weight_decay = 0.3},
                                       {.first = 7, .count = 9, .rate = 2, .weight_decay = 0}};
    const struct be_scalars step = {.lr = 0.5,
                                    .sgd_momentum = 0.75,
                                    .weight_decay = 0.0625,
                                    .trust = 0.01,
                                    .key_momentum = 0.5,
                                    .loss_scale = 1,
                                    .gradient_limit = (double)INFINITY};
    struct be_scalars with = step, one[4] = {step, step, step, step};
    with.ranges = ranges;
    with.range_count = 3;
    one[1].lr = step.lr * 0.25;
    one[1].weight_decay = 0.3;
    one[2].lr = step.lr * 2;
    one[2].weight_decay = 0;
    one[3].lr = 0;
    struct slabs got = update(h, &with, lars, start, k), wanted[4];
    for (int i = 0; i < 4; i++)
        wanted[i] = update(h, &one[i], lars, start, k);
    double *p = slab_values(h, &start[0]), *v = slab_values(h, &start[1]);
    const struct slabs frozen = {p, v, wanted[3].k}; /* k follows */
    for (int i = 0; i < h->graph->param_count; i++)
        expect_param(h, i, &got,
                     i == 0             ? &frozen
                     : i >= 3 && i < 7  ? &wanted[1]
                     : i >= 7 && i < 16 ? &wanted[2]
                                        : wanted);
    assert_true(memcmp(wanted[0].p, wanted[1].p, sizeof(double) * (size_t)h->graph->param_total) != 0);
    free(p);
    free(v);
    slabs_free(&got);
    for (int i = 0; i < 4; i++)
        slabs_free(&wanted[i]);
}

static void ranges_have_rates_and_decays_of_their_own(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        open_small(&h, s);
        harness_train(&h);
        size_t bytes = h.be->layout_bytes(h.layout);
        struct be_memory start[3], k = harness_alloc(&h, bytes);
        const struct be_memory *const from[3] = {&h.masters, &h.gradients, &h.masters};
        for (int i = 0; i < 3; i++) {
            start[i] = harness_alloc(&h, bytes);
            harness_ok(h.be->copy(h.dev, start[i].at, from[i]->at, bytes, &err), &err);
        }
        check_ranges(&h, 0, start, &k);
        check_ranges(&h, 1, start, &k);
        for (int i = 0; i < 3; i++)
            h.be->release(h.dev, &start[i]);
        h.be->release(h.dev, &k);
        harness_close(&h);
    }
}

static void ranges_that_are_none_are_refused(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        open_small(&h, s);
        int params = h.graph->param_count;
        const struct be_range bad[][2] = {{{.first = 4, .count = 2, .rate = 1}, {.first = 5, .count = 1, .rate = 1}},
                                          {{.first = 4, .count = 2, .rate = 1}, {.first = 1, .count = 1, .rate = 1}},
                                          {{.first = 0, .count = 0, .rate = 1}, {.first = 5, .count = 1, .rate = 1}},
                                          {{.first = -1, .count = 1, .rate = 1}, {.first = 5, .count = 1, .rate = 1}},
                                          {{.first = 0, .count = 1, .rate = (double)NAN}, {.first = 5, .count = 1}},
                                          {{.first = 0, .count = 1}, {.first = params - 1, .count = 2}}};
        struct be_scalars scalars = plain;
        struct be_input at;
        int skip;
        scalars.range_count = 2;
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            struct err err = {0};
            scalars.ranges = bad[i];
            assert_int_equal(h.be->program_begin(h.program, &scalars, NULL, &at, &skip, &err), MOCO_EINVAL);
            assert_true(err.text[0] != 0);
        }
        harness_begin(&h, &plain); /* nothing was begun */
        harness_drop(&h);
        harness_close(&h);
    }
}

/* On copies, whatever was found; the masters are as they were. */
static void an_update_can_be_tried(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        open_small(&h, s);
        harness_train(&h);
        size_t bytes = h.be->layout_bytes(h.layout);
        struct be_memory p = harness_alloc(&h, bytes), v = harness_alloc(&h, bytes);
        double *before = slab_values(&h, &h.masters);
        for (int overflow = 0; overflow < 2; overflow++) {
            struct be_scalars scalars = plain;
            struct be_outcome found;
            scalars.lr = overflow ? 1e308 : 0.1;
            harness_begin(&h, &scalars);
            harness_ok(h.be->verdict(h.program, &found, &err), &err);
            harness_ok(h.be->copy(h.dev, p.at, h.masters.at, bytes, &err), &err);
            harness_ok(h.be->zero(h.dev, v.at, bytes, &err), &err);
            const struct be_sgd io = {.p = p.at, .g = h.gradients.at, .v = v.at, .trial = 1};
            harness_ok(h.be->sgd(h.program, &io, &err), &err);
            found = harness_drop(&h);
            double *after = slab_values(&h, &h.masters), *tried = slab_values(&h, &p);
            size_t all = (size_t)h.graph->param_total * sizeof *after;
            assert_memory_equal(before, after, all);
            assert_true(memcmp(before, tried, all) != 0);
            if (h.info.master == BE_F32 || h.precision != BE_F64)
                assert_int_equal(found.finite, !overflow);
            free(after);
            free(tried);
        }
        free(before);
        h.be->release(h.dev, &p);
        h.be->release(h.dev, &v);
        harness_close(&h);
    }
}

/* ---- memory ---- */

static void memory_is_counted_and_parameters_have_places(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct err err = {0};
        int64_t before, live, available;
        open_small(&h, s);
        harness_ok(h.be->memory(h.dev, &before, &available, &err), &err);
        assert_true(available >= -1);
        struct be_memory block = harness_alloc(&h, 5000);
        harness_ok(h.be->memory(h.dev, &live, &available, &err), &err);
        assert_true(live >= before + 5000);
        h.be->release(h.dev, &block);
        harness_ok(h.be->sync(h.dev, &err), &err);
        harness_ok(h.be->memory(h.dev, &live, &available, &err), &err);
        assert_true(live == before);
        assert_int_equal(h.be->param_at(h.layout, 0), 0);
        for (int p = 0; p < h.graph->param_count; p++)
            assert_true(h.be->param_at(h.layout, p + 1) >=
                        h.be->param_at(h.layout, p) + (size_t)h.graph->params[p].count * h.info.real_bytes);
        assert_int_equal(h.be->param_at(h.layout, h.graph->param_count), h.be->layout_bytes(h.layout));
        assert_true(h.info.precisions & 1U << h.precision);
        assert_true(h.info.launch_pixels > 0 && h.info.embed_pixels > 0 && h.info.embed_images > 0);
        harness_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_go_where_the_index_says),
        cmocka_unit_test(keys_are_written_around_the_ring),
        cmocka_unit_test(the_spread_of_equal_rows_is_exactly_zero),
        cmocka_unit_test(a_bad_row_is_found_under_its_name),
        cmocka_unit_test(the_smallest_finding_is_told),
        cmocka_unit_test(gradients_are_measured_and_held_against_their_limit),
        cmocka_unit_test(a_loss_that_is_not_finite_is_found),
        cmocka_unit_test(a_commit_without_a_good_verdict_does_nothing),
        cmocka_unit_test(an_outcome_is_told_once),
        cmocka_unit_test(calls_out_of_order_are_refused),
        cmocka_unit_test(work_comes_in_parts),
        cmocka_unit_test(ranges_have_rates_and_decays_of_their_own),
        cmocka_unit_test(ranges_that_are_none_are_refused),
        cmocka_unit_test(an_update_can_be_tried),
        cmocka_unit_test(memory_is_counted_and_parameters_have_places),
    };
    subject_count = harness_subjects(subjects);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
