/* SPDX-License-Identifier: MIT
 *
 * test_backend_contract: what backend.h promises about plans, on `ref` in each precision and on the device of the
 * tests: two ways to the same numbers must meet. Whether the numbers are right is test_backend_ops's and golden's
 * business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/failing_alloc.h"
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
                                 .seed = 77,
                                 .config = harness_net(18, 0.125, STEM_SMALL, HEAD_MLP, 16, 32)};
}

/* Whatever a subject does twice in the same way must give the same bits. */
static int same(size_t count, const double *a, const double *b)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

static void expect_near(const struct harness_subject *s, const char *what, size_t count, const double *a,
                        const double *b, double tolerance)
{
    double error = harness_error(count, a, b);
    if (!(error <= tolerance))
        fail_msg("%s in precision %d: %s is off by %.3g, allowed %.3g", s->device, (int)s->precision, what, error,
                 tolerance);
}

static double *output(struct harness *h)
{
    size_t count = (size_t)h->spec.n * (size_t)h->dim;
    double *out = malloc(count * sizeof *out);
    assert_non_null(out);
    harness_read(h, h->out.at, count, out);
    return out;
}

/* ---- passes ---- */

static void test_key_is_train(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        size_t count = (size_t)spec.n * (size_t)h.dim;
        double *key = malloc(count * sizeof *key);
        assert_non_null(key);
        harness_forward(&h, 0, NULL);
        double *train = output(&h);
        harness_key(&h, h.masters.at, h.masters.at, 1, h.graph->embedding, key);
        expect_near(s, "a key plan's embedding", count, key, train, TOL_SAME(s->precision));
        if (strcmp(s->device, "ref") == 0)
            assert_true(same(count, key, train));
        free(key);
        free(train);
        harness_close(&h);
    }
}

/* Statistics under which inference normalises as a training forward of one group does: its mean and biased variance. */
static void settle_statistics(struct harness *h)
{
    size_t total = (size_t)h->graph->stat_total;
    double *stage = malloc(total * sizeof *stage);
    assert_non_null(stage);
    harness_read(h, h->stage.at, total, stage);
    for (int i = 0; i < h->graph->op_count; i++) {
        const struct graph_op *op = &h->graph->ops[i];
        if (op->kind != OP_BN)
            continue;
        const struct graph_value *value = &h->graph->values[op->out];
        const struct graph_stat *stat = &h->graph->stats[op->stat];
        double m = (double)h->spec.n * value->h * value->w;
        for (int c = 0; c < stat->channels; c++)
            stage[stat->offset + stat->channels + c] *= (m - 1) / m;
    }
    harness_write(h, h->running.at, stage, total);
    free(stage);
}

/* Each head, and each output of the network: the ops of a head that an output does without are not run, and nothing of
 * them may be needed. With the statistics of the same images, inference is a training forward. */
static void test_outputs_of_every_head(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    for (int head = HEAD_LINEAR; head <= HEAD_SIMCLR_V2; head++) {
        struct harness h;
        struct harness_spec spec = small(s);
        spec.groups = 1;
        spec.n = 24; /* a BN of few numbers makes much of what bf16 rounds */
        spec.config.head = (enum net_head)head;
        harness_open(&h, &spec);
        harness_forward(&h, 0, NULL);
        settle_statistics(&h);
        const int outputs[] = {h.graph->features, h.graph->projection, h.graph->embedding};
        for (int o = 0; o < 3; o++) {
            char what[60];
            size_t count = (size_t)spec.n * (size_t)h.graph->values[outputs[o]].c;
            double *folded = malloc(2 * count * sizeof *folded), *train = folded + count;
            assert_non_null(folded);
            harness_infer(&h, outputs[o], NULL, folded);
            harness_key(&h, h.masters.at, h.masters.at, 0.5, outputs[o], train);
            snprintf(what, sizeof what, "output %d of head %s", o, net_head_name((enum net_head)head));
            expect_near(s, what, count, folded, train, TOL_FOLDED(s->precision));
            free(folded);
        }
        harness_close(&h);
    }
}

static void test_inference(void **state)
{
    (void)state;
    const struct net_config nets[] = {harness_net(18, 0.125, STEM_SMALL, HEAD_MLP, 16, 32),
                                      harness_net(50, 0.0625, STEM_IMAGENET, HEAD_LINEAR, 16, 45)};
    FOR_EACH_SUBJECT(s)
    for (int net = 0; net < 2; net++) {
        struct harness h;
        struct harness_spec spec = small(s);
        spec.groups = 1;
        spec.n = 8;
        spec.config = nets[net];
        harness_open(&h, &spec);
        size_t count = (size_t)spec.n * (size_t)h.dim;
        double *folded = malloc(3 * count * sizeof *folded), *projection = folded + count, *planes = folded + 2 * count;
        assert_non_null(folded);
        harness_forward(&h, 0, NULL);
        double *train = output(&h);
        settle_statistics(&h);
        harness_infer(&h, h.graph->embedding, NULL, folded);
        /* In bf16 a network of fifty layers is a tenth off before anything is folded. */
        if (s->precision != BE_BF16 || net == 0)
            expect_near(s, "inference", count, folded, train, TOL_FOLDED(s->precision));

        harness_infer(&h, h.graph->projection, NULL, projection);
        for (int r = 0; r < spec.n; r++) {
            double norm = 0, *row = projection + (size_t)r * (size_t)h.dim;
            for (int i = 0; i < h.dim; i++)
                norm += row[i] * row[i];
            for (int i = 0; i < h.dim; i++)
                row[i] /= sqrt(norm);
        }
        expect_near(s, "the projection's direction", count, projection, folded, TOL_SAME(s->precision));

        size_t area = (size_t)spec.config.image_h * (size_t)spec.config.image_w;
        float *images = malloc((size_t)spec.n * 3 * area * sizeof *images);
        assert_non_null(images);
        for (size_t n = 0; n < (size_t)spec.n; n++)
            for (size_t i = 0; i < area; i++)
                for (size_t c = 0; c < 3; c++)
                    images[(n * 3 + c) * area + i] =
                        (float)((h.images[(n * area + i) * 3 + c] / 255.0 - spec.config.mean[c]) / spec.config.std[c]);
        harness_infer(&h, h.graph->embedding, images, planes);
        expect_near(s, "inference of f32 images", count, planes, folded,
                    s->precision == BE_BF16 ? TOL_SAME(BE_BF16) : 1e-4);
        free(images);
        free(folded);
        free(train);
        harness_close(&h);
    }
}

/* ---- images ---- */

static void test_index(void **state)
{
    (void)state;
    const int32_t index[6] = {4, 0, 5, 5, 2, 1};
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        size_t bytes = (size_t)spec.config.image_h * (size_t)spec.config.image_w * 3;
        uint8_t *copy = malloc(6 * bytes);
        assert_non_null(copy);
        harness_forward(&h, 0, NULL);
        double *plain = output(&h);
        harness_forward(&h, 0, index);
        double *gathered = output(&h);
        memcpy(copy, h.images, 6 * bytes);
        for (int i = 0; i < 6; i++)
            memcpy(h.images + (size_t)i * bytes, copy + (size_t)index[i] * bytes, bytes);
        harness_forward(&h, 0, NULL);
        double *moved = output(&h);
        assert_true(same(6 * (size_t)h.dim, gathered, moved));
        assert_false(same(6 * (size_t)h.dim, gathered, plain));
        free(copy);
        free(plain);
        free(gathered);
        free(moved);
        harness_close(&h);
    }
}

/* ---- launches ---- */

/* Two launches of a group, or one of two groups: the same batch, statistics and gradients. */
static void test_launches(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness_tensors t[2];
        for (int two = 0; two < 2; two++) {
            struct harness h;
            struct harness_spec spec = small(s);
            spec.launches = two ? 2 : 1;
            spec.n = two ? 3 : 6;
            spec.groups = two ? 1 : 2;
            harness_open(&h, &spec);
            harness_train(&h);
            harness_train(&h); /* the first launch overwrites what the last batch left */
            t[two] = harness_collect(&h, HARNESS_STEP);
            harness_close(&h);
        }
        harness_expect(&t[1], &t[0], "", s->precision == BE_BF16 ? 3 * TOL_SAME(BE_BF16) : TOL_SAME(s->precision));
        harness_tensors_free(&t[0]);
        harness_tensors_free(&t[1]);
    }
}

static void test_repeat_is_bit_equal(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        harness_train(&h);
        struct harness_tensors first = harness_collect(&h, HARNESS_STEP);
        /* Whatever other plans left in the slab must not matter. */
        size_t reals = h.slab.bytes / h.info.real_bytes;
        double *dirt = malloc(reals * sizeof *dirt);
        assert_non_null(dirt);
        for (size_t i = 0; i < reals; i++)
            dirt[i] = NAN;
        harness_write(&h, h.slab.at, dirt, reals);
        harness_train(&h);
        struct harness_tensors second = harness_collect(&h, HARNESS_STEP);
        for (int i = 0; i < first.count; i++)
            if (!same(first.tensor[i].count, first.tensor[i].values, second.tensor[i].values))
                fail_msg("%s in precision %d: %s differs the second time", s->device, (int)s->precision,
                         first.tensor[i].name);
        free(dirt);
        harness_tensors_free(&first);
        harness_tensors_free(&second);
        harness_close(&h);
    }
}

/* Statistics are added to what is there. */
static void test_stage_adds(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        size_t total = (size_t)h.graph->stat_total;
        double *once = malloc(2 * total * sizeof *once), *twice = once + total;
        assert_non_null(once);
        harness_forward(&h, 0, NULL);
        harness_read(&h, h.stage.at, total, once);
        harness_forward(&h, 0, NULL);
        harness_read(&h, h.stage.at, total, twice);
        for (size_t i = 0; i < total; i++)
            once[i] *= 2;
        expect_near(s, "the stage of two launches", total, twice, once, TOL_REAL(h.info.real_bytes) * 1e2);
        free(once);
        harness_close(&h);
    }
}

/* ---- gradients as they become final ---- */

struct announced {
    struct harness *h;
    int *calls;
    double **values;
};

static void on_grad(void *user, int first, int count)
{
    struct announced *a = user;
    struct err err = {0};
    for (int p = first; p < first + count; p++) {
        assert_true(p >= 0 && p < a->h->graph->param_count);
        a->calls[p]++;
        harness_ok(a->h->be->param_get(a->h->layout, a->h->gradients.at, p, a->values[p], &err), &err);
    }
}

static void test_on_grad(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        harness_open(&h, &spec);
        harness_train(&h);
        size_t params = (size_t)h.graph->param_count;
        struct announced a = {&h, calloc(params, sizeof(int)), calloc(params, sizeof(double *))};
        assert_true(a.calls != NULL && a.values != NULL);
        for (size_t p = 0; p < params; p++)
            assert_non_null(a.values[p] = calloc((size_t)h.graph->params[p].count, sizeof(double)));
        struct be_backward back = {.weights = harness_weights(&h),
                                   .masters = h.masters.at,
                                   .d_out = h.d_out.at,
                                   .gradients = h.gradients.at,
                                   .accumulate = 1,
                                   .on_grad = on_grad,
                                   .user = &a};
        harness_ok(h.be->forward(h.train,
                                 &(struct be_forward){.images = harness_images(&h),
                                                      .weights = harness_weights(&h),
                                                      .masters = h.masters.at,
                                                      .stage = h.stage.at,
                                                      .out = h.out.at},
                                 &err),
                   &err);
        harness_ok(h.be->backward(h.train, &back, &err), &err);
        struct harness_tensors t = harness_collect(&h, HARNESS_STEP);
        for (size_t p = 0; p < params; p++) {
            char name[112];
            snprintf(name, sizeof name, "grad.%s", h.graph->params[p].name);
            const struct harness_tensor *g = harness_find(&t, name);
            if (a.calls[p] != 1 || !same(g->count, g->values, a.values[p]))
                fail_msg("%s: %s was told final %d times, or too early", s->device, name, a.calls[p]);
            free(a.values[p]);
        }
        harness_tensors_free(&t);
        free(a.calls);
        free(a.values);
        harness_close(&h);
    }
}

/* ---- cancelling ---- */

/* A device that computes in the call sees the flag there. One that is behind its caller has not begun when the call
 * returns: it looks at the flag when a step is decided (test_backend_program.c, test_late_device.c). */
static void test_cancel(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        struct err err = {0};
        _Atomic int flag = 1;
        harness_open(&h, &spec);
        harness_train(&h);
        struct harness_tensors before = harness_collect(&h, HARNESS_STEP);
        struct be_forward forward = {.images = harness_images(&h),
                                     .weights = harness_weights(&h),
                                     .masters = h.masters.at,
                                     .stage = h.stage.at,
                                     .out = h.out.at,
                                     .cancel = &flag};
        struct be_backward back = {.weights = harness_weights(&h),
                                   .masters = h.masters.at,
                                   .d_out = h.d_out.at,
                                   .gradients = h.gradients.at,
                                   .cancel = &flag};
        moco_status seen = h.info.behind > 1 ? MOCO_OK : MOCO_ECANCELED;
        assert_int_equal(h.be->forward(h.train, &forward, &err), seen);
        assert_int_equal(err.status, seen);
        flag = 0;
        err = (struct err){0};
        harness_ok(h.be->forward(h.train, &forward, &err), &err);
        flag = 1;
        assert_int_equal(h.be->backward(h.train, &back, &err), seen);
        err = (struct err){0};
        flag = 0;
        harness_train(&h); /* and nothing of it is left */
        struct harness_tensors after = harness_collect(&h, HARNESS_STEP);
        for (int i = 0; i < before.count; i++)
            assert_true(same(before.tensor[i].count, before.tensor[i].values, after.tensor[i].values));
        harness_tensors_free(&before);
        harness_tensors_free(&after);
        harness_close(&h);
    }
}

/* ---- folded weights ---- */

enum { FOLDED = 6 }; /* samples */

/* Output `value` of all samples, n at a time, by a plan over these weights. */
static void infer(struct harness *h, struct be_weights *weights, int value, int n, double *out)
{
    struct be_plan_spec spec = {.graph = h->graph,
                                .layout = h->layout,
                                .precision = h->precision,
                                .pass = BE_INFER,
                                .n = n,
                                .groups = 1,
                                .output = value,
                                .weights = weights,
                                .steady = 1};
    struct be_plan *plan;
    struct be_plan_bytes bytes;
    struct err err = {0};
    const struct graph_value *input = &h->graph->values[h->graph->input];
    const struct graph_value *v = &h->graph->values[value];
    size_t row = (size_t)v->c * (size_t)v->h * (size_t)v->w, image = (size_t)input->h * (size_t)input->w * 3;
    harness_ok(h->be->plan_create(&plan, h->dev, &spec, &err), &err);
    h->be->plan_bytes(plan, &bytes);
    struct be_memory slab = harness_alloc(h, bytes.slab), result = harness_reals(h, (size_t)n * row);
    harness_ok(h->be->plan_bind(plan, slab.at, &err), &err);
    for (int i = 0; i < FOLDED; i += n) {
        struct be_forward io = {.images = h->images + (size_t)i * image, .out = result.at};
        harness_ok(h->be->forward(plan, &io, &err), &err);
        harness_read(h, result.at, (size_t)n * row, out + (size_t)i * row);
    }
    h->be->plan_free(plan);
    h->be->release(h->dev, &slab);
    h->be->release(h->dev, &result);
}

/* One set of weights serves plans of any number of samples, also those made after the fold, and what comes of a sample
 * is the same bits in all of them; a second fold replaces all numbers. */
static void test_folded_weights(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        assert_true(h.batch >= FOLDED);
        size_t count = (size_t)FOLDED * (size_t)h.dim;
        double *one = calloc(count, sizeof *one), *many = calloc(count, sizeof *many);
        assert_true(one != NULL && many != NULL);
        harness_train(&h);
        harness_settle(&h); /* statistics of zeros would make nothing but NaN */
        struct be_weights *weights = harness_folded(&h);
        infer(&h, weights, h.graph->projection, 1, one);
        for (size_t i = 0; i < count; i++)
            assert_true(isfinite(one[i]));
        for (int n = 2; n <= FOLDED; n += n == 3 ? 3 : 1) {
            infer(&h, weights, h.graph->projection, n, many);
            assert_memory_equal(one, many, count * sizeof *one);
        }
        harness_train(&h);
        harness_sgd(&h, 0.5, 0.9, 0, 1);
        struct err err = {0};
        harness_ok(h.be->weights_fold(weights, h.masters.at, h.running.at, &err), &err);
        struct be_weights *fresh = harness_folded(&h);
        infer(&h, weights, h.graph->projection, 2, many);
        assert_memory_not_equal(one, many, count * sizeof *one);
        infer(&h, fresh, h.graph->projection, 1, one);
        assert_memory_equal(one, many, count * sizeof *one);
        h.be->weights_free(weights);
        h.be->weights_free(fresh);
        free(one);
        free(many);
        harness_close(&h);
    }
}

struct given {
    struct harness *h;
    int fails_at; /* parameter; -1: none */
    _Atomic int asked;
};

/* The masters, one at a time. */
static moco_status give(void *self, int index, float *values, struct err *err)
{
    struct given *given = self;
    struct harness *h = given->h;
    given->asked++;
    if (index == given->fails_at)
        return err_set(err, MOCO_EIO, "parameter %d is not given", index);
    return h->be->param_get_f32(h->layout, h->masters.at, index, values, err);
}

/* A fold of parameters that come one at a time is that of their slab. One that failed folded nothing, and says of which
 * parameter. */
static void test_fold_one_at_a_time(void **state)
{
    (void)state;
    int devices = 0;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        if (h.be->weights_fold_from == NULL) { /* files fill a slab for it */
            harness_close(&h);
            continue;
        }
        devices++;
        size_t count = (size_t)FOLDED * (size_t)h.dim;
        double *slab = calloc(count, sizeof *slab), *single = calloc(count, sizeof *single);
        assert_true(slab != NULL && single != NULL);
        harness_train(&h);
        harness_commit(&h);
        struct be_weights *weights = harness_folded(&h);
        infer(&h, weights, h.graph->projection, 2, slab);
        harness_train(&h);
        harness_sgd(&h, 0.5, 0.9, 0, 1);
        struct err err = {0};
        struct given given = {.h = &h, .fails_at = 1};
        struct be_params from = {&given, give};
        assert_int_equal(h.be->weights_fold_from(weights, &from, h.running.at, &err), MOCO_EIO);
        assert_string_equal(err.text, "parameter 1 is not given");
        given.asked = 0;
        given.fails_at = -1;
        err = (struct err){0};
        harness_ok(h.be->weights_fold_from(weights, &from, h.running.at, &err), &err);
        assert_int_equal(given.asked, h.graph->param_count);
        infer(&h, weights, h.graph->projection, 2, single);
        assert_memory_not_equal(slab, single, count * sizeof *slab);
        struct be_weights *fresh = harness_folded(&h);
        infer(&h, fresh, h.graph->projection, 2, slab);
        assert_memory_equal(slab, single, count * sizeof *slab);
        h.be->weights_free(weights);
        h.be->weights_free(fresh);
        free(slab);
        free(single);
        harness_close(&h);
    }
    if (strcmp(test_device(), "cpu") == 0)
        assert_true(devices > 0);
}

/* What the stages end in, in every device's order of maps, against ref's in f64. */
static void test_feature_maps(void **state)
{
    (void)state;
    double *expected[4] = {NULL, NULL, NULL, NULL};
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        if (expected[0] == NULL)
            spec.precision = BE_F64;
        harness_open(&h, &spec);
        harness_train(&h);
        harness_settle(&h);
        struct be_weights *weights = harness_folded(&h);
        for (int layer = 0; layer < 4; layer++) {
            const struct graph_value *v = &h.graph->values[h.graph->layers[layer]];
            size_t count = (size_t)FOLDED * (size_t)v->c * (size_t)v->h * (size_t)v->w;
            double *one = calloc(count, sizeof *one), *many = calloc(count, sizeof *many);
            assert_true(one != NULL && many != NULL && v->h > 0);
            infer(&h, weights, h.graph->layers[layer], 1, one);
            infer(&h, weights, h.graph->layers[layer], FOLDED, many);
            assert_memory_equal(one, many, count * sizeof *one);
            free(one);
            if (expected[layer] == NULL) {
                expected[layer] = many;
                continue;
            }
            double error = harness_error(count, many, expected[layer]);
            if (!(error <= TOL_FOLDED(h.precision)))
                fail_msg("%s, precision %d, layer %d: relative error %.3g", s->device, (int)h.precision, layer + 1,
                         error);
            free(many);
        }
        h.be->weights_free(weights);
        harness_close(&h);
    }
    for (int layer = 0; layer < 4; layer++)
        free(expected[layer]);
}

/* ---- memory ---- */

static void test_plan_bytes(void **state)
{
    (void)state;
    FOR_EACH_SUBJECT(s)
    {
        struct harness h;
        struct harness_spec spec = small(s);
        harness_open(&h, &spec);
        size_t slab[3];
        struct be_weights *weights = harness_folded(&h);
        for (int pass = BE_TRAIN; pass <= BE_INFER; pass++) {
            struct be_plan_spec p = {.graph = h.graph,
                                     .layout = h.layout,
                                     .precision = h.precision,
                                     .pass = (enum be_pass)pass,
                                     .n = 6,
                                     .groups = 1,
                                     .output = h.graph->embedding,
                                     .weights = pass == BE_INFER ? weights : NULL};
            struct be_plan *plan;
            struct be_plan_bytes bytes;
            struct err err = {0};
            harness_ok(h.be->plan_create(&plan, h.dev, &p, &err), &err);
            h.be->plan_bytes(plan, &bytes);
            h.be->plan_free(plan);
            slab[pass] = bytes.slab;
            assert_true(bytes.slab > 0 && bytes.slab % 4096 == 0);
            assert_true(bytes.activations <= bytes.slab && bytes.gradients <= bytes.slab &&
                        bytes.scratch <= bytes.slab);
            assert_true(pass == BE_TRAIN ? bytes.activations > 0 && bytes.gradients > 0
                                         : bytes.activations == 0 && bytes.gradients == 0);
        }
        assert_true(2 * slab[BE_KEY] < slab[BE_TRAIN]); /* a key plan keeps nothing */
        size_t floats = (size_t)h.graph->param_total * (h.precision == BE_BF16 ? 2 : 4);
        assert_true(h.be->weights_bytes(weights) >= floats);
        h.be->weights_free(weights);
        harness_close(&h);
    }
}

/* All of a device's handles with an allocator that fails once. Returns 1 if nothing failed. */
static int build_all(const struct harness_subject *s, struct ctx *ctx, const struct graph *graph)
{
    const struct backend *be;
    struct be_device *dev = NULL;
    struct be_layout *layout = NULL;
    struct be_weights *weights = NULL;
    struct be_plan *plan[3] = {NULL, NULL, NULL};
    struct be_memory memory = {0};
    struct err err = {0};
    moco_status status = backend_find(&be, s->device, &err);
    assert_int_equal(status, MOCO_OK);
    status = be->open(&dev, ctx, s->device, &err);
    if (status == MOCO_OK)
        status = be->layout_create(&layout, dev, graph, s->precision, &err);
    if (status == MOCO_OK)
        status = be->weights_create(&weights, dev, graph, layout, s->precision, &err);
    for (int pass = BE_TRAIN; pass <= BE_INFER && status == MOCO_OK; pass++) {
        struct be_plan_spec p = {.graph = graph,
                                 .layout = layout,
                                 .precision = s->precision,
                                 .pass = (enum be_pass)pass,
                                 .n = 4,
                                 .groups = 1,
                                 .output = graph->embedding,
                                 .weights = pass == BE_INFER ? weights : NULL};
        status = be->plan_create(&plan[pass], dev, &p, &err);
        if (status != MOCO_OK)
            assert_null(plan[pass]);
    }
    if (status == MOCO_OK)
        status = be->alloc(dev, 10000, &memory, &err);
    if (status != MOCO_OK) {
        assert_int_equal(status, MOCO_ENOMEM);
        assert_int_equal(err.status, MOCO_ENOMEM);
        assert_true(err.text[0] != 0);
    }
    if (dev != NULL) {
        be->release(dev, &memory);
        for (int i = 0; i < 3; i++)
            be->plan_free(plan[i]);
        be->weights_free(weights);
        be->layout_free(layout);
        be->close(dev);
    }
    return status == MOCO_OK;
}

static void test_failing_memory(void **state)
{
    (void)state;
    struct ctx *graphs;
    struct graph *graph;
    struct err err = {0};
    struct net_config config = harness_net(18, 0.0625, STEM_IMAGENET, HEAD_MLP, 8, 32);
    harness_ok(ctx_create(&graphs, &(struct ctx_options){.threads = 1}, &err), &err);
    harness_ok(net_build(&graph, graphs, &config, &err), &err);
    FOR_EACH_SUBJECT(s)
    {
        int done = 0;
        for (long long n = 1; !done; n++) { /* request 0 is the context's own */
            struct failing_alloc fail = {.fail_at = n};
            struct ctx *ctx;
            struct ctx_options options = {
                .alloc = failing_alloc, .release = failing_release, .user = &fail, .threads = 1};
            harness_ok(ctx_create(&ctx, &options, &err), &err);
            done = build_all(s, ctx, graph);
            assert_int_equal(done, fail.refused == 0);
            assert_int_equal(ctx->live_bytes, 0);
            assert_int_equal(ctx->refs, 1);
            ctx_unref(ctx);
            assert_int_equal(fail.live, 0);
        }
    }
    graph_free(graph);
    ctx_unref(graphs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_is_train),
        cmocka_unit_test(test_outputs_of_every_head),
        cmocka_unit_test(test_inference),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_launches),
        cmocka_unit_test(test_repeat_is_bit_equal),
        cmocka_unit_test(test_stage_adds),
        cmocka_unit_test(test_on_grad),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_folded_weights),
        cmocka_unit_test(test_fold_one_at_a_time),
        cmocka_unit_test(test_feature_maps),
        cmocka_unit_test(test_plan_bytes),
        cmocka_unit_test(test_failing_memory),
    };
    subject_count = harness_subjects(subjects);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
