/* SPDX-License-Identifier: MIT
 *
 * test_backend_steps: what a training step asks of a device besides plans (InfoNCE, momentum encoder, SGD, LARS, the
 * check of gradients, statistics, memory, kNN's product), each against its definition written out here in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/fallback.h"
#include "philox.h"
#include "support/rigs/net_harness.h"
#include "support/test_device.h"
#include "tolerances.h"

static struct harness_subject subjects[HARNESS_SUBJECTS];
static int subject_count;

#define FOR_EACH_SUBJECT(s) for (const struct harness_subject *s = subjects; s < subjects + subject_count; s++)

static struct harness_spec small(const struct harness_subject *s)
{
    return (struct harness_spec){.device = s->device,
                                 .precision = (int)s->precision,
                                 .threads = 2,
                                 .n = 6,
                                 .groups = 2,
                                 .queue = 24,
                                 .seed = 78,
                                 .config = harness_net(18, 0.125, STEM_SMALL, HEAD_MLP, 16, 32)};
}

static double *zeros(size_t count)
{
    double *x = calloc(count > 0 ? count : 1, sizeof *x);
    assert_non_null(x);
    return x;
}

static void expect_near(const struct harness *h, const char *what, size_t count, const double *a, const double *b,
                        double tolerance)
{
    double error = harness_error(count, a, b);
    if (!(error <= tolerance))
        fail_msg("%s in precision %d: %s is off by %.3g, allowed %.3g", h->spec.device, (int)h->precision, what, error,
                 tolerance);
}

static double *param(struct harness *h, const struct be_memory *slab, int index)
{
    struct err err = {0};
    double *values = zeros((size_t)h->graph->params[index].count);
    harness_ok(h->be->param_get(h->layout, slab->at, index, values, &err), &err);
    return values;
}

/* ---- parameters and memory ---- */

/* Every number has a place of its own, in the reference's order. */
static void test_params(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        harness_open(&h, &spec);
        double next = 1;
        for (int p = 0; p < h.graph->param_count; p++) {
            double *values = zeros((size_t)h.graph->params[p].count);
            for (int64_t i = 0; i < h.graph->params[p].count; i++)
                values[i] = next++;
            harness_ok(h.be->param_set(h.layout, h.momentum.at, p, values, &err), &err);
            free(values);
        }
        assert_true(next < 1 << 24); /* exact in f32 */
        next = 1;
        for (int p = 0; p < h.graph->param_count; p++) {
            double *values = param(&h, &h.momentum, p);
            for (int64_t i = 0; i < h.graph->params[p].count; i++)
                assert_true(values[i] == next++);
            free(values);
        }
        assert_true(h.be->layout_bytes(h.layout) >= (size_t)h.graph->param_total * h.info.real_bytes);
        double value;
        assert_int_equal(h.be->param_get(h.layout, h.masters.at, h.graph->param_count, &value, &err), MOCO_EINVAL);
        err = (struct err){0};
        assert_int_equal(h.be->param_set(h.layout, h.masters.at, -1, &value, &err), MOCO_EINVAL);
        assert_true(err.text[0] != 0);
        harness_close(&h);
    }
}

/* f32 lies where doubles put it, and comes back, by the device's own way and by what stands in for it. */
static void test_params_f32(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        harness_open(&h, &spec);
        struct backend without = *h.be;
        without.param_get_f32 = NULL;
        without.param_set_f32 = NULL;
        const struct backend *const ways[] = {h.be, &without};
        for (int way = 0; way < 2; way++) {
            float next = (float)(1 + way);
            for (int p = 0; p < h.graph->param_count; p++) {
                int64_t count = h.graph->params[p].count;
                float *f32 = calloc((size_t)count, sizeof *f32), *back = calloc((size_t)count, sizeof *back);
                assert_true(f32 != NULL && back != NULL);
                for (int64_t i = 0; i < count; i++)
                    f32[i] = next++;
                harness_ok(backend_param_set_f32(ways[way], h.ctx, h.layout, h.momentum.at, p, count, f32, &err), &err);
                harness_ok(backend_param_get_f32(ways[1 - way], h.ctx, h.layout, h.momentum.at, p, count, back, &err),
                           &err);
                double *values = param(&h, &h.momentum, p);
                for (int64_t i = 0; i < count; i++)
                    assert_true(values[i] == (double)f32[i] && back[i] == f32[i]);
                free(values);
                free(back);
                free(f32);
            }
        }
        float value;
        assert_int_equal(backend_param_get_f32(h.be, h.ctx, h.layout, h.masters.at, -1, 1, &value, &err), MOCO_EINVAL);
        err = (struct err){0};
        assert_int_equal(
            backend_param_set_f32(h.be, h.ctx, h.layout, h.masters.at, h.graph->param_count, 1, &value, &err),
            MOCO_EINVAL);
        harness_close(&h);
    }
}

static void test_memory(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        harness_open(&h, &spec);
        unsigned char bytes[5000], back[5000];
        for (size_t size = 1; size <= sizeof bytes; size += 1666) {
            struct be_memory memory = harness_alloc(&h, size);
            assert_int_equal((uintptr_t)memory.at % 4096, 0);
            assert_int_equal(memory.bytes, size);
            harness_ok(h.be->read(h.dev, back, memory.at, size, &err), &err);
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(back[i], 0);
                bytes[i] = (unsigned char)(i * 7 + 1);
            }
            harness_ok(h.be->write(h.dev, memory.at, bytes, size, &err), &err);
            harness_ok(h.be->read(h.dev, back, memory.at, size, &err), &err);
            assert_memory_equal(back, bytes, size);
            harness_ok(h.be->zero(h.dev, memory.at, size, &err), &err);
            harness_ok(h.be->read(h.dev, back, memory.at, size, &err), &err);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(back[i], 0);
            h.be->release(h.dev, &memory);
            assert_null(memory.at);
            h.be->release(h.dev, &memory); /* nothing to release is fine */
        }
        harness_close(&h);
    }
}

/* ---- momentum encoder ---- */

static void test_ema(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        harness_train(&h);
        harness_copy(&h, h.momentum.at, h.gradients.at); /* any slab will do for k */
        double **k0 = calloc((size_t)h.graph->param_count, sizeof *k0);
        assert_non_null(k0);
        for (int p = 0; p < h.graph->param_count; p++)
            k0[p] = param(&h, &h.momentum, p);
        size_t count = (size_t)spec.n * (size_t)h.dim;
        double *ahead = zeros(count), *after = zeros(count);
        const double m = 0.9375;
        harness_key(&h, h.momentum.at, h.masters.at, m, h.graph->embedding, ahead);
        harness_follow(&h, h.momentum.at, h.masters.at, m);
        harness_key(&h, h.momentum.at, h.masters.at, 1, h.graph->embedding, after);
        assert_memory_equal(ahead, after, count * sizeof *ahead); /* the same bits: a step can be dropped and retried */
        for (int p = 0; p < h.graph->param_count; p++) {
            double *k = param(&h, &h.momentum, p), *q = param(&h, &h.masters, p);
            for (int64_t i = 0; i < h.graph->params[p].count; i++)
                k0[p][i] = m * k0[p][i] + (1 - m) * q[i];
            expect_near(&h, h.graph->params[p].name, (size_t)h.graph->params[p].count, k, k0[p],
                        TOL_REAL(h.info.real_bytes) + (h.precision == BE_F64 ? 0 : 2e-6));
            free(k);
            free(q);
            free(k0[p]);
        }
        free(k0);
        free(ahead);
        free(after);
        harness_close(&h);
    }
}

/* ---- SGD ---- */

/* torch.optim.SGD: g += wd p; buf = g at first, then momentum buf + g; p -= lr buf. */
static void torch_sgd(size_t count, double *p, const double *g, double *buf, int first)
{
    const double lr = 0.03, momentum = 0.9, decay = 0.05;
    for (size_t i = 0; i < count; i++) {
        double decayed = g[i] + decay * p[i];
        buf[i] = first ? decayed : momentum * buf[i] + decayed;
        p[i] -= lr * buf[i];
    }
}

static void test_sgd(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        double tolerance = TOL_REAL(h.info.real_bytes) + (h.precision == BE_F64 ? 0 : 2e-6);
        for (int step = 0; step < 2; step++) {
            harness_train(&h);
            struct harness_tensors before = harness_collect(&h, HARNESS_STEP | HARNESS_STATE);
            harness_sgd(&h, 0.03, 0.9, 0.05, step == 0);
            for (int i = 0; i < h.graph->param_count; i++) {
                char name[112];
                size_t count = (size_t)h.graph->params[i].count;
                snprintf(name, sizeof name, "weight.%s", h.graph->params[i].name);
                double *p = harness_find(&before, name)->values;
                snprintf(name, sizeof name, "momentum.%s", h.graph->params[i].name);
                double *buf = harness_find(&before, name)->values;
                snprintf(name, sizeof name, "grad.%s", h.graph->params[i].name);
                const double *g = harness_find(&before, name)->values;
                torch_sgd(count, p, g, buf, step == 0);
                double *p1 = param(&h, &h.masters, i), *buf1 = param(&h, &h.momentum, i),
                       *g1 = param(&h, &h.gradients, i);
                expect_near(&h, name, count, p1, p, tolerance);
                expect_near(&h, name, count, buf1, buf, tolerance);
                assert_memory_equal(g1, g, count * sizeof *g);
                free(p1);
                free(buf1);
                free(g1);
            }
            harness_tensors_free(&before);
        }
        /* The readers that SGD left are those of the new masters. */
        double left = harness_loss(&h);
        harness_refresh(&h);
        assert_true(harness_loss(&h) == left);
        harness_close(&h);
    }
}

/* google-research/simclr's LARS: what is no weight of a convolution or linear layer is plain SGD with the rate in the
 * buffer. */
static void simclr_lars(enum param_kind kind, size_t count, double *p, const double *g, double *buf)
{
    const double lr = 3, momentum = 0.9, trust = 0.01;
    int scaled = kind == PARAM_CONV || kind == PARAM_LINEAR;
    double decay = scaled ? 0.05 : 0, weight = 0, pull = 0, rate = lr;
    for (size_t i = 0; i < count; i++) {
        weight += p[i] * p[i];
        pull += (g[i] + decay * p[i]) * (g[i] + decay * p[i]);
    }
    if (scaled && weight > 0 && pull > 0)
        rate *= trust * sqrt(weight) / sqrt(pull);
    for (size_t i = 0; i < count; i++) {
        buf[i] = momentum * buf[i] + rate * (g[i] + decay * p[i]);
        p[i] -= buf[i];
    }
}

/* Two steps; then one tensor without weight and one without gradient, whose rate is not scaled. */
static void test_lars(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        spec.n = 8;
        spec.config.head = HEAD_SIMCLR_V2;
        harness_open(&h, &spec);
        double tolerance = TOL_REAL(h.info.real_bytes) + (h.precision == BE_F64 ? 0 : 4e-6);
        for (int step = 0; step < 3; step++) {
            harness_train(&h);
            for (int zero = 0; zero < 2 && step == 2;
                 zero++) { /* conv1 has no weight, the last linear layer no gradient */
                int p = zero == 0 ? 0 : h.graph->param_count - 2;
                double *none = zeros((size_t)h.graph->params[p].count);
                assert_int_equal(h.graph->params[p].kind, zero == 0 ? PARAM_CONV : PARAM_LINEAR);
                struct be_memory *slab = zero == 0 ? &h.masters : &h.gradients;
                harness_ok(h.be->param_set(h.layout, slab->at, p, none, &err), &err);
                free(none);
            }
            struct harness_tensors before = harness_collect(&h, HARNESS_STEP | HARNESS_STATE);
            const struct be_scalars scalars = {
                .lr = 3, .sgd_momentum = 0.9, .weight_decay = 0.05, .trust = 0.01, .loss_scale = 1};
            const struct be_sgd io = {
                .p = h.masters.at, .g = h.gradients.at, .v = h.momentum.at, .readers = h.readers.at, .lars = 1};
            harness_begin(&h, &scalars);
            harness_decide(&h);
            harness_ok(h.be->sgd(h.program, &io, &err), &err);
            assert_true(harness_end(&h).committed);
            for (int i = 0; i < h.graph->param_count; i++) {
                char name[112];
                size_t count = (size_t)h.graph->params[i].count;
                snprintf(name, sizeof name, "weight.%s", h.graph->params[i].name);
                double *p = harness_find(&before, name)->values;
                snprintf(name, sizeof name, "momentum.%s", h.graph->params[i].name);
                double *buf = harness_find(&before, name)->values;
                snprintf(name, sizeof name, "grad.%s", h.graph->params[i].name);
                const double *g = harness_find(&before, name)->values;
                simclr_lars(h.graph->params[i].kind, count, p, g, buf);
                double *p1 = param(&h, &h.masters, i), *buf1 = param(&h, &h.momentum, i),
                       *g1 = param(&h, &h.gradients, i);
                expect_near(&h, name, count, p1, p, tolerance);
                expect_near(&h, name, count, buf1, buf, tolerance);
                assert_memory_equal(g1, g, count * sizeof *g);
                free(p1);
                free(buf1);
                free(g1);
            }
            harness_tensors_free(&before);
        }
        /* The readers that LARS left are those of the new masters. */
        double left = harness_loss(&h);
        harness_refresh(&h);
        assert_true(harness_loss(&h) == left);
        harness_close(&h);
    }
}

/* ---- gradients ---- */

static void test_measure(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        double sum = 0, wanted = 0;
        int bad = 7;
        harness_open(&h, &spec);
        harness_train(&h);
        for (int p = 0; p < h.graph->param_count; p++) {
            double *g = param(&h, &h.gradients, p);
            for (int64_t i = 0; i < h.graph->params[p].count; i++)
                wanted += g[i] * g[i];
            free(g);
        }
        harness_ok(h.be->measure(h.layout, h.gradients.at, &sum, &bad, &err), &err);
        assert_int_equal(bad, -1);
        expect_near(&h, "the sum of squares", 1, &sum, &wanted, 1e-9);
        /* From the last parameter to the first, so that each time the new one is the first that is bad; at both ends.
         */
        for (int p = h.graph->param_count - 1; p >= 0; p--) {
            double *g = param(&h, &h.gradients, p);
            g[p % 2 ? h.graph->params[p].count - 1 : 0] = p % 3 == 0 ? NAN : p % 3 == 1 ? INFINITY : -INFINITY;
            harness_ok(h.be->param_set(h.layout, h.gradients.at, p, g, &err), &err);
            harness_ok(h.be->measure(h.layout, h.gradients.at, &sum, &bad, &err), &err);
            assert_int_equal(bad, p);
            assert_false(isfinite(sum));
            free(g);
        }
        harness_close(&h);
    }
}

/* A NaN among the weights must come out at the end, through ReLU, pooling and normalisation. */
static void test_nan_arrives(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        double sum;
        int bad = -1;
        spec.config = harness_net(18, 0.125, STEM_IMAGENET, HEAD_MLP, 16, 33);
        harness_open(&h, &spec);
        double *w = param(&h, &h.masters, 0);
        w[0] = NAN;
        harness_ok(h.be->param_set(h.layout, h.masters.at, 0, w, &err), &err);
        harness_refresh(&h);
        harness_train(&h);
        assert_true(isnan(h.loss));
        harness_ok(h.be->measure(h.layout, h.gradients.at, &sum, &bad, &err), &err);
        assert_true(bad >= 0);
        free(w);
        harness_close(&h);
    }
}

/* ---- statistics ---- */

static void test_stats_commit(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        size_t total = (size_t)h.graph->stat_total;
        double *stage = zeros(total), *running = zeros(total), *now = zeros(total);
        for (size_t i = 0; i < total; i++)
            running[i] = (double)(i % 17) - 5;
        harness_write(&h, h.running.at, running, total);
        for (int round = 0; round < 2; round++) {
            harness_train(&h);
            harness_read(&h, h.stage.at, total, stage);
            harness_commit(&h);
            for (size_t i = 0; i < total; i++)
                running[i] = 0.9 * running[i] + 0.1 * stage[i] / spec.groups;
        }
        harness_read(&h, h.running.at, total, now);
        expect_near(&h, "running statistics", total, now, running, TOL_REAL(h.info.real_bytes));
        free(stage);
        free(running);
        free(now);
        harness_close(&h);
    }
}

/* ---- InfoNCE ---- */

/* Arrays of one loss on a device. */
struct contrast {
    struct harness *h;
    int n, dim, length;
    double temperature, scale;
    double *q, *k, *queue, *d_q; /* as the device holds them */
    struct be_outcome found;
};

static void contrast_open(struct contrast *c, struct harness *h, int n, int dim, int length, double temperature)
{
    *c = (struct contrast){.h = h, .n = n, .dim = dim, .length = length, .temperature = temperature, .scale = 0.125};
    c->q = zeros((size_t)(n * dim));
    c->k = zeros((size_t)(n * dim));
    c->queue = zeros((size_t)(length * dim));
    c->d_q = zeros((size_t)(n * dim));
}

static void contrast_close(struct contrast *c)
{
    free(c->q);
    free(c->k);
    free(c->queue);
    free(c->d_q);
}

static struct be_memory upload(struct harness *h, double *values, size_t count)
{
    struct be_memory memory = harness_reals(h, count);
    harness_write(h, memory.at, values, count);
    harness_read(h, memory.at, count, values); /* rounded as it is there */
    return memory;
}

static void contrast_run(struct contrast *c)
{
    struct harness *h = c->h;
    struct err err = {0};
    size_t rows = (size_t)(c->n * c->dim);
    struct be_memory q = upload(h, c->q, rows), k = upload(h, c->k, rows), d_q = harness_reals(h, rows);
    struct be_memory queue = upload(h, c->queue, (size_t)(c->length * c->dim));
    struct be_memory scratch = harness_alloc(h, h->be->infonce_scratch(h->dev, c->n, c->dim, c->length));
    double dirt = NAN;
    if (scratch.bytes >= h->info.real_bytes)
        harness_write(h, scratch.at, &dirt, 1);
    const struct be_infonce io = {.q = q.at,
                                  .k = k.at,
                                  .queue = queue.at,
                                  .n = c->n,
                                  .dim = c->dim,
                                  .length = c->length,
                                  .scale = c->scale,
                                  .d_q = d_q.at};
    const struct be_scalars scalars = {
        .temperature = c->temperature, .loss_scale = 1, .gradient_limit = (double)INFINITY};
    harness_begin(h, &scalars);
    harness_ok(h->be->infonce(h->program, &io, scratch.at, &err), &err);
    c->found = harness_drop(h);
    harness_read(h, d_q.at, rows, c->d_q);
    struct be_memory *all[] = {&q, &k, &d_q, &queue, &scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        h->be->release(h->dev, all[i]);
}

static void unit_rows(double *x, int rows, int dim, uint64_t stream)
{
    struct rng rng;
    rng_init(&rng, 3, stream, 0, 0, RNG_TEST);
    for (int r = 0; r < rows; r++) {
        double sum = 0, *row = x + r * dim;
        for (int i = 0; i < dim; i++) {
            row[i] = rng_normal(&rng);
            sum += row[i] * row[i];
        }
        for (int i = 0; i < dim; i++)
            row[i] /= sqrt(sum);
    }
}

/* The reference's way: logits [N][1 + K], cross entropy with label 0, ranks by counting. Sums in the order of
 * be_infonce: loss, top1, top5, pos, neg. */
static void direct(const struct contrast *c, double sums[5], double *d_q)
{
    int columns = c->length + 1;
    double *logits = zeros((size_t)columns);
    memset(sums, 0, 5 * sizeof *sums);
    for (int i = 0; i < c->n; i++) {
        double total = 0, largest = -INFINITY;
        int rank = 1;
        for (int j = 0; j < columns; j++) {
            const double *to = j == 0 ? c->k + i * c->dim : c->queue + (j - 1) * c->dim;
            for (int x = 0; x < c->dim; x++)
                logits[j] += c->q[i * c->dim + x] * to[x];
            sums[j == 0 ? 3 : 4] += j == 0 ? logits[0] : logits[j] / c->length;
            rank += j > 0 && logits[j] > logits[0];
            largest = fmax(largest, logits[j] / c->temperature);
        }
        for (int j = 0; j < columns; j++)
            logits[j] /= c->temperature;
        for (int j = 0; j < columns; j++)
            total += exp(logits[j] - largest);
        sums[0] += log(total) + largest - logits[0];
        sums[1] += rank <= 1;
        sums[2] += rank <= 5;
        for (int x = 0; x < c->dim; x++)
            d_q[i * c->dim + x] = 0;
        for (int j = 0; j < columns; j++) {
            const double *to = j == 0 ? c->k + i * c->dim : c->queue + (j - 1) * c->dim;
            double slope = exp(logits[j] - largest) / total - (j == 0);
            for (int x = 0; x < c->dim; x++)
                d_q[i * c->dim + x] += c->scale * slope * to[x] / c->temperature;
            logits[j] = 0;
        }
    }
    free(logits);
}

static void test_infonce(void **state)
{
    (void)state;
    const struct {
        int n, dim, length;
        double temperature;
        double mix; /* how much of its key a query is made of */
    } cases[] = {
        {1, 1, 1, 0.2, 0},        {5, 3, 7, 0.07, 0.5},       {8, 128, 300, 0.2, 0.3},   {33, 64, 1000, 0.07, 0.2},
        {16, 16, 4099, 0.1, 1},   {7, 100, 513, 0.01, 0.3},   {32, 128, 2048, 0.2, 0.1}, {131, 20, 77, 0.2, 0},
        {67, 130, 300, 0.1, 0.3}, {2, 128, 65536, 0.07, 0.4},
    };
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct contrast c;
            contrast_open(&c, &h, cases[i].n, cases[i].dim, cases[i].length, cases[i].temperature);
            unit_rows(c.q, c.n, c.dim, 1 + i);
            unit_rows(c.k, c.n, c.dim, 100 + i);
            unit_rows(c.queue, c.length, c.dim, 200 + i);
            for (int r = 0; r < c.n; r++) {
                double norm = 0, *q = c.q + r * c.dim;
                for (int x = 0; x < c.dim; x++)
                    q[x] += cases[i].mix * c.k[r * c.dim + x];
                for (int x = 0; x < c.dim; x++)
                    norm += q[x] * q[x];
                for (int x = 0; x < c.dim; x++)
                    q[x] /= sqrt(norm);
            }
            contrast_run(&c);
            double wanted[5], *d_q = zeros((size_t)(c.n * c.dim));
            direct(&c, wanted, d_q);
            const double got[5] = {c.found.loss, c.found.top1, c.found.top5, c.found.pos, c.found.neg};
            double tolerance = h.info.real_bytes == 8 ? 1e-12 : TOL_INFONCE_F32(c.temperature);
            for (int k = 0; k < 5; k++)
                if (!(fabs(got[k] - wanted[k]) <= (k == 1 || k == 2 ? 1e-9 : tolerance * (c.n + fabs(wanted[k])))))
                    fail_msg("%s: InfoNCE %d x %d x %d: sum %d is %.9g, not %.9g", s->device, c.n, c.dim, c.length, k,
                             got[k], wanted[k]);
            expect_near(&h, "d_q", (size_t)(c.n * c.dim), c.d_q, d_q, tolerance);
            free(d_q);
            contrast_close(&c);
        }
        harness_close(&h);
    }
}

/* A collapsed encoder: everything equal. The positive is as likely as any other. */
static void test_collapse_is_chance(void **state)
{
    (void)state;
    const int dims[] = {1, 7, 16, 128, 132};
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
            for (int length = 3; length < 3000; length = length * 7 + 2) {
                struct contrast c;
                contrast_open(&c, &h, 9, dims[d], length, 0.2);
                unit_rows(c.q, 1, c.dim, 5);
                for (int r = 0; r < (length > 9 ? length : 9); r++) {
                    if (r < 9) {
                        memmove(c.q + r * c.dim, c.q, (size_t)c.dim * sizeof(double));
                        memcpy(c.k + r * c.dim, c.q, (size_t)c.dim * sizeof(double));
                    }
                    if (r < length)
                        memcpy(c.queue + r * c.dim, c.q, (size_t)c.dim * sizeof(double));
                }
                contrast_run(&c);
                double five = 5.0 / (length + 1);
                assert_true(fabs(c.found.top1 - 9.0 / (length + 1)) < 1e-9);
                assert_true(fabs(c.found.top5 - 9 * (five < 1 ? five : 1)) < 1e-9);
                assert_true(fabs(c.found.loss - 9 * log(length + 1)) < 1e-4);
                contrast_close(&c);
            }
        harness_close(&h);
    }
}

/* One query along the first axis, so that similarities are what the first components say. */
static void test_ranks(void **state)
{
    (void)state;
    const struct {
        int larger, equal;
        double top1, top5;
    } cases[] = {
        {0, 0, 1, 1},     {1, 0, 0, 1},   {4, 0, 0, 1},   {5, 0, 0, 0}, {0, 1, 0.5, 1}, {0, 4, 0.2, 1},
        {0, 9, 0.1, 0.5}, {3, 3, 0, 0.5}, {4, 1, 0, 0.5}, {5, 2, 0, 0}, {2, 2, 0, 1},
    };
    enum { DIM = 8, LENGTH = 40 };
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct contrast c;
            contrast_open(&c, &h, 1, DIM, LENGTH, 0.5);
            c.q[0] = 1;
            c.k[0] = 0.5;
            for (int r = 0; r < LENGTH; r++) /* strewn over the queue */
                c.queue[(r * 27 + 11) % LENGTH * DIM] = r < cases[i].larger                    ? 0.75
                                                        : r < cases[i].larger + cases[i].equal ? 0.5
                                                                                               : -0.25;
            contrast_run(&c);
            if (!(fabs(c.found.top1 - cases[i].top1) < 1e-12 && fabs(c.found.top5 - cases[i].top5) < 1e-12))
                fail_msg("%s: %d larger, %d equal: top-1 %g, top-5 %g", s->device, cases[i].larger, cases[i].equal,
                         c.found.top1, c.found.top5);
            contrast_close(&c);
        }
        harness_close(&h);
    }
}

/* ---- the products of kNN and probes ---- */

static void test_gemm(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{1, 1, 1},     {3, 5, 7},   {17, 33, 65}, {64, 10, 128},
                                {1, 100, 512}, {50, 1, 31}, {3, 4, 9000}};
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        harness_open(&h, &spec);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
            float *a = calloc((size_t)(m * k + n * k + m * n), sizeof *a), *b = a + m * k, *c = b + n * k;
            assert_non_null(a);
            struct rng rng;
            rng_init(&rng, 9, i, 0, 0, RNG_TEST);
            for (int64_t x = 0; x < m * k + n * k; x++)
                a[x] = (float)rng_normal(&rng);
            for (int64_t x = 0; x < m * k + n * k && k > 1000; x++)
                a[x] = fabsf(a[x]); /* a sum that is cut off at each addition, as in tensor cores, is off by 2e-5 */
            for (int64_t x = 0; x < m * n; x++)
                c[x] = NAN;
            harness_ok(backend_gemm_nt(h.be, h.dev, m, n, k, a, b, c, &err), &err);
            for (int64_t x = 0; x < m * n; x++) {
                double sum = 0, size = 0;
                for (int64_t y = 0; y < k; y++) {
                    double term = (double)a[x / n * k + y] * (double)b[x % n * k + y];
                    sum += term;
                    size += fabs(term);
                }
                assert_true(fabs((double)c[x] - sum) <= 1e-6 * size);
                c[x] = NAN;
            }
            harness_ok(backend_gemm_tn(h.be, h.dev, m, n, k, a, b, c, &err), &err); /* a is [k][m], b [k][n] */
            for (int64_t x = 0; x < m * n; x++) {
                double sum = 0, size = 0;
                for (int64_t y = 0; y < k; y++) {
                    double term = (double)a[y * m + x / n] * (double)b[y * n + x % n];
                    sum += term;
                    size += fabs(term);
                }
                assert_true(fabs((double)c[x] - sum) <= 1e-6 * size);
            }
            free(a);
        }
        harness_close(&h);
    }
}

/* ---- work on the host ---- */

static void count_part(void *arg, int part, int parts)
{
    int *count = arg; /* [0]: how many parts; [1 + part]: how often */
    count[0] = parts;
    if (part >= 0 && part < 32)
        count[1 + part]++;
}

static void test_on_host(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        int count[33] = {0};
        spec.threads = 3;
        harness_open(&h, &spec);
        harness_ok(backend_on_host(h.be, h.dev, count_part, count, &err), &err);
        assert_in_range(count[0], 1, 3);
        for (int part = 0; part < 32; part++)
            assert_int_equal(count[1 + part], part < count[0]);
        harness_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_params_f32),
        cmocka_unit_test(test_ema),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_lars),
        cmocka_unit_test(test_measure),
        cmocka_unit_test(test_nan_arrives),
        cmocka_unit_test(test_stats_commit),
        cmocka_unit_test(test_infonce),
        cmocka_unit_test(test_collapse_is_chance),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_on_host),
    };
    subject_count = harness_subjects(subjects);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
