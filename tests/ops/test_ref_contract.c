/* SPDX-License-Identifier: MIT
 *
 * test_ref_contract: what holds for `ref` alone: where its f32 and bf16 modes round, what it refuses, and how finely it
 * polls for a cancel. What every backend promises is in test_backend_contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/program/program_buffers.h"
#include "backend/ref/ref_program.h"
#include "support/rigs/net_harness.h"

static struct harness_spec small(enum be_precision precision)
{
    return (struct harness_spec){.device = "ref",
                                 .precision = (int)precision,
                                 .n = 6,
                                 .groups = 2,
                                 .queue = 24,
                                 .seed = 79,
                                 .config = harness_net(18, 0.125, STEM_IMAGENET, HEAD_MLP, 16, 33)};
}

static void expect_rounded(const char *what, enum be_precision precision, const double *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (x[i] != ref_round(precision, x[i]))
            fail_msg("%s: number %zu, %.17g, is not rounded to precision %d", what, i, x[i], (int)precision);
}

static int is_rounded(enum be_precision precision, const double *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (x[i] != ref_round(precision, x[i]))
            return 0;
    return 1;
}

/* ---- rounding ---- */

static void test_round(void **state)
{
    (void)state;
    const double third = 1.0 / 3;
    assert_true(ref_round(BE_F64, third) == third);
    assert_true(ref_round(BE_F32, third) == (double)(float)third);
    assert_true(ref_round(BE_BF16, 1 + 0x1p-8) == 1 && ref_round(BE_BF16, 1 + 0x1.8p-7) == 1 + 0x1p-6); /* to even */
    assert_true(ref_round(BE_BF16, -1 - 0x1.1p-8) == -1 - 0x1p-7);
    assert_true(isnan(ref_round(BE_BF16, NAN)) && isinf(ref_round(BE_BF16, 1e39)));
}

/* Every stored value and gradient that is still in the slab after a step, and everything that leaves a plan. */
static void test_rounding_points(void **state)
{
    (void)state;
    for (enum be_precision p = BE_F32; p <= BE_BF16; p++) {
        struct harness h;
        struct harness_spec spec = small(p);
        harness_open(&h, &spec);
        harness_forward(&h, 0, NULL);
        int maps = 0, vectors = 0;
        const struct program *program = &h.train->program;
        for (int i = 0; i < program->node_count; i++) {
            int v = program->nodes[i].out, vector = program->value_vector[v];
            if (program->buffers[program->value_buffer[v]].place.last < program->node_count)
                continue; /* not kept for backward: its memory may hold others by now */
            expect_rounded("an activation", vector ? BE_F32 : p, ref_value(h.train, v),
                           program_value_count(program, v, program->spec.n));
            maps += !vector;
            vectors += vector;
        }
        assert_true(maps > 10 && vectors > 0);
        harness_train(&h);
        harness_sgd(&h, 0.05, 0.9, 0.01, 1);
        struct harness_tensors t = harness_collect(&h, HARNESS_STEP | HARNESS_STATE);
        int finer_than_bf16 = 0;
        for (int i = 0; i < t.count; i++) {
            const char *name = t.tensor[i].name;
            if (strcmp(name, "scalars") == 0 || strcmp(name, "d_out") == 0 || strncmp(name, "running.", 8) == 0)
                continue;
            expect_rounded(name, BE_F32, t.tensor[i].values, t.tensor[i].count);
            finer_than_bf16 += !is_rounded(BE_BF16, t.tensor[i].values, t.tensor[i].count);
        }
        assert_true(finer_than_bf16 > t.count / 2); /* weight gradients, masters, statistics and vectors stay f32 */
        harness_tensors_free(&t);
        harness_close(&h);
    }
}

/* bf16 reads convolutions' weights rounded, and nothing else. */
static void test_readers(void **state)
{
    (void)state;
    struct harness h;
    struct harness_spec spec = small(BE_BF16);
    struct err err = {0};
    harness_open(&h, &spec);
    for (int key = 0; key < 2; key++) {
        struct be_memory block = harness_alloc(&h, h.be->key_bytes(h.layout));
        const struct be_scalars scalars = {.key_momentum = 1, .loss_scale = 1};
        harness_begin(&h, &scalars);
        if (key)
            harness_ok(h.be->ema_readers(h.program, h.masters.at, h.masters.at, block.at, &err), &err);
        else
            harness_ok(h.be->readers(h.layout, 0, h.masters.at, block.at, &err), &err);
        harness_drop(&h);
        for (int p = 0; p < h.graph->param_count; p++) {
            size_t count = (size_t)h.graph->params[p].count;
            double *read = calloc(2 * count, sizeof *read), *master = read + count;
            assert_non_null(read);
            harness_ok(h.be->param_get(h.layout, block.at, p, read, &err), &err);
            harness_ok(h.be->param_get(h.layout, h.masters.at, p, master, &err), &err);
            if (h.graph->params[p].kind == PARAM_CONV) {
                assert_true(memcmp(read, master, count * sizeof *read) != 0);
                ref_round_all(BE_BF16, master, count);
            }
            assert_memory_equal(read, master, count * sizeof *read);
            free(read);
        }
        h.be->release(h.dev, &block);
    }
    harness_close(&h);
    for (int precision = BE_F32; precision <= BE_F64; precision++) {
        spec = small((enum be_precision)precision);
        harness_open(&h, &spec);
        assert_int_equal(h.be->reader_bytes(h.layout, 1) > 0, precision == BE_BF16);
        harness_close(&h);
    }
}

/* Each mode is as far from exact arithmetic as its format is coarse. */
static void test_modes_differ(void **state)
{
    (void)state;
    double out[3][96];
    for (int p = 0; p < 3; p++) {
        struct harness h;
        struct harness_spec spec = small((enum be_precision)(BE_F32 + p));
        harness_open(&h, &spec);
        harness_forward(&h, 0, NULL);
        harness_read(&h, h.out.at, 96, out[p]);
        harness_close(&h);
    }
    double f32 = harness_error(96, out[0], out[2]), bf16 = harness_error(96, out[1], out[2]);
    assert_true(f32 > 1e-8 && f32 < 1e-4);
    assert_true(bf16 > 1e-3 && bf16 < 0.4);
}

/* ---- refusals ---- */

static moco_status create(struct harness *h, const struct be_plan_spec *spec, struct be_plan **plan)
{
    struct err err = {0};
    moco_status status = h->be->plan_create(plan, h->dev, spec, &err);
    assert_true(status == MOCO_OK || (*plan == NULL && err.status == status && err.text[0] != 0));
    return status;
}

static void test_refusals(void **state)
{
    (void)state;
    struct harness h, other;
    struct harness_spec spec = small(BE_F64), wider = spec;
    wider.config.width = 0.25;
    harness_open(&h, &spec);
    harness_open(&other, &wider);
    struct be_plan *plan;
    struct be_weights *weights;
    struct err err = {0};
    harness_ok(h.be->weights_create(&weights, h.dev, h.graph, h.layout, BE_F64, &err), &err);
    const struct be_plan_spec good = {.graph = h.graph,
                                      .layout = h.layout,
                                      .precision = BE_F64,
                                      .pass = BE_INFER,
                                      .n = 6,
                                      .groups = 1,
                                      .output = h.graph->embedding,
                                      .weights = weights};
    struct be_plan_spec bad[11];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        bad[i] = good;
    bad[0].n = 0;
    bad[1].groups = 0;
    bad[2].pass = BE_TRAIN, bad[2].weights = NULL, bad[2].groups = 4; /* does not divide 6 */
    bad[3].output = h.graph->value_count;
    bad[4].output = h.graph->input; /* no vector */
    bad[5].precision = (enum be_precision)9;
    bad[6].pass = BE_KEY, bad[6].weights = NULL, bad[6].f32_input = 1;
    bad[7].groups = 2; /* inference has none */
    bad[8].output = -1;
    bad[9].weights = NULL;
    bad[10].precision = BE_F32; /* the weights are of another */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(create(&h, &bad[i], &plan), MOCO_EINVAL);
    struct be_plan_spec foreign = good;
    foreign.layout = other.layout;
    assert_int_equal(create(&h, &foreign, &plan), MOCO_ESHAPE);

    assert_int_equal(create(&h, &good, &plan), MOCO_OK);
    double out[96];
    struct be_forward forward = {.images = h.images, .out = out};
    assert_int_equal(h.be->forward(plan, &forward, &err), MOCO_ESTATE); /* not bound */
    err = (struct err){0};
    assert_int_equal(h.be->plan_bind(plan, (char *)h.slab.at + 8, &err), MOCO_EINVAL);
    err = (struct err){0};
    harness_ok(h.be->plan_bind(plan, h.slab.at, &err), &err);
    assert_int_equal(h.be->forward(plan, &forward, &err), MOCO_ESTATE); /* not folded */
    err = (struct err){0};
    assert_int_equal(h.be->backward(plan, &(struct be_backward){.gradients = h.gradients.at}, &err), MOCO_ESTATE);
    h.be->plan_free(plan);
    h.be->weights_free(weights);

    enum be_precision precision;
    struct be_device *dev;
    err = (struct err){0};
    assert_int_equal(h.be->precision(h.dev, 6, &precision, &err), MOCO_EINVAL);
    err = (struct err){0};
    assert_int_equal(backend_has_precision("some", BE_HAS(BE_F32) | BE_HAS(BE_TF32), BE_F16, &err), MOCO_ENOTSUP);
    assert_string_equal(err.text, "device some does not compute in fp16; it has f32, tf32");
    err = (struct err){0};
    harness_ok(h.be->precision(h.dev, 0, &precision, &err), &err);
    assert_int_equal(precision, BE_F64);
    assert_int_equal(h.be->open(&dev, h.ctx, "ref:2", &err), MOCO_ENODEV);
    assert_null(dev);
    const struct backend *none;
    err = (struct err){0};
    assert_int_equal(backend_find(&none, "abacus", &err), MOCO_ENODEV);
    assert_null(none);
    assert_non_null(strstr(err.text, "abacus"));
    assert_non_null(strstr(err.text, "ref"));
    err = (struct err){0};
    const struct be_scalars cold = {.temperature = 0, .loss_scale = 1};
    harness_begin(&h, &cold);
    assert_int_equal(h.be->infonce(h.program, &(struct be_infonce){.n = 1, .dim = 1}, NULL, &err), MOCO_EINVAL);
    harness_decide(&h);
    err = (struct err){0};
    assert_int_equal(h.be->stats_commit(h.program, h.graph, h.running.at, h.stage.at, 0, &err), MOCO_EINVAL);
    h.be->program_drop(h.program);
    harness_close(&h);
    harness_close(&other);
}

/* ---- a plan to the features alone ---- */

static void count_calls(void *user, int first, int count)
{
    for (int p = first; p < first + count; p++)
        ((int *)user)[p]++;
}

/* Parameters that the output does not depend on have a zero gradient, and it is told like the others. */
static void test_unused_parameters(void **state)
{
    (void)state;
    struct harness h;
    struct harness_spec spec = small(BE_F64);
    struct err err = {0};
    struct be_plan *plan;
    struct be_plan_bytes bytes;
    harness_open(&h, &spec);
    harness_train(&h); /* gradients hold something */
    struct be_plan_spec to_features = {.graph = h.graph,
                                       .layout = h.layout,
                                       .precision = BE_F64,
                                       .pass = BE_TRAIN,
                                       .n = 6,
                                       .groups = 2,
                                       .output = h.graph->features};
    harness_ok(h.be->plan_create(&plan, h.dev, &to_features, &err), &err);
    h.be->plan_bytes(plan, &bytes);
    size_t count = 6 * (size_t)h.graph->values[h.graph->features].c;
    struct be_memory slab = harness_alloc(&h, bytes.slab), out = harness_reals(&h, count);
    harness_ok(h.be->plan_bind(plan, slab.at, &err), &err);
    struct be_forward forward = {.images = h.images, .weights = h.masters.at, .masters = h.masters.at, .out = out.at};
    harness_ok(h.be->forward(plan, &forward, &err), &err);
    int *calls = calloc((size_t)h.graph->param_count, sizeof *calls);
    assert_non_null(calls);
    struct be_backward back = {.weights = h.masters.at,
                               .masters = h.masters.at,
                               .d_out = out.at,
                               .gradients = h.gradients.at,
                               .on_grad = count_calls,
                               .user = calls};
    harness_ok(h.be->backward(plan, &back, &err), &err);
    struct harness_tensors t = harness_collect(&h, HARNESS_STEP);
    for (int p = 0; p < h.graph->param_count; p++) {
        char name[112];
        snprintf(name, sizeof name, "grad.%s", h.graph->params[p].name);
        const struct harness_tensor *g = harness_find(&t, name);
        double size = 0;
        for (size_t i = 0; i < g->count; i++)
            size += fabs(g->values[i]);
        assert_int_equal(calls[p], 1);
        assert_true((size == 0) == (strncmp(h.graph->params[p].name, "fc.", 3) == 0));
    }
    harness_tensors_free(&t);
    free(calls);
    h.be->release(h.dev, &slab);
    h.be->release(h.dev, &out);
    h.be->plan_free(plan);
    harness_close(&h);
}

/* ---- cancelling in the middle ---- */

static void raise_flag(void *user, int first, int count)
{
    (void)first;
    (void)count;
    _Atomic int *flag = user;
    *flag = *flag + 1;
}

/* A flag that goes up during an op's gradient stops the launch before the next op: two parameters at most. */
static void test_cancel_in_the_middle(void **state)
{
    (void)state;
    struct harness h;
    struct harness_spec spec = small(BE_F64);
    struct err err = {0};
    _Atomic int flag = 0;
    harness_open(&h, &spec);
    harness_train(&h);
    struct be_backward back = {.weights = h.masters.at,
                               .masters = h.masters.at,
                               .d_out = h.d_out.at,
                               .gradients = h.gradients.at,
                               .on_grad = raise_flag,
                               .user = &flag,
                               .cancel = &flag};
    assert_int_equal(h.be->backward(h.train, &back, &err), MOCO_ECANCELED);
    assert_int_equal(flag, 2); /* weight and bias of the last layer */
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),
        cmocka_unit_test(test_rounding_points),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_modes_differ),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unused_parameters),
        cmocka_unit_test(test_cancel_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
