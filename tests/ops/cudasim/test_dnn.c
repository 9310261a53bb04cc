/* SPDX-License-Identifier: MIT
 *
 * test_dnn: convolutions by cuDNN (src/backend/cuda/dnn) on the simulated one (support/cudasim/sim_dnn.h), which names
 * engines that must not be taken before it names one that may: each precision takes the right one; shapes that do not
 * belong together are refused in one sentence; without an engine, and without cuDNN, a network computes what it computes
 * with it; nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "support/cudasim/sim_dnn.h"
#include "support/cudasim/sim_driver.h"
#include "support/rigs/net_harness.h"

static const struct dnn_conv some = {.precision = BE_F32,
                                     .n = 2,
                                     .h = 9,
                                     .w = 7,
                                     .ci = 8,
                                     .oh = 5,
                                     .ow = 4,
                                     .co = 16,
                                     .kernel = 3,
                                     .stride = 2,
                                     .pad = 1};

static struct dnn open_dnn(void)
{
    struct dnn dnn;
    struct err err = {0};
    harness_ok(dnn_open(&dnn, &sim_dnn, NULL, &err), &err);
    return dnn;
}

static void each_precision_takes_its_engine(void **state)
{
    (void)state;
    static const struct {
        enum be_precision precision;
        int engine, passed;
    } wanted[] = {{BE_BF16, 4, 4}, {BE_F16, 4, 4}, {BE_TF32, 4, 4}, {BE_F32, 5, 8}};
    struct dnn dnn = open_dnn();
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        for (int pass = DNN_FORWARD; pass <= DNN_WEIGHTS; pass++) {
            struct dnn_plan plan;
            struct err err = {0};
            struct dnn_conv conv = some;
            conv.pass = (enum dnn_pass)pass;
            conv.precision = wanted[i].precision;
            harness_ok(dnn_choose(&plan, &dnn, &conv, 1, NULL, &err), &err);
            assert_int_equal(plan.count, 1);
            assert_int_equal(plan.engine[0].number, wanted[i].engine);
            assert_int_equal(plan.passed, wanted[i].passed);
            assert_int_equal(plan.workspace, SIM_DNN_WORKSPACE);
            assert_true(plan.workspace <= dnn_reserve(conv.precision));
            dnn_plan_free(&plan);
        }
    dnn_close(&dnn);
    assert_int_equal(sim_dnn_live(), 0);
}

static void what_cannot_be_is_refused_in_a_sentence(void **state)
{
    (void)state;
    struct dnn dnn = open_dnn();
    struct dnn_plan plan;
    struct dnn_conv conv = some;
    struct err narrow = {0}, none = {0};
    conv.ow++;
    assert_int_equal(dnn_choose(&plan, &dnn, &conv, 1, NULL, &narrow), MOCO_EDEVICE);
    assert_string_equal(narrow.text, "cuDNN: an operation was not taken: BAD_PARAM: the shapes do not belong together");
    sim_dnn_without_engines(1);
    assert_int_equal(dnn_choose(&plan, &dnn, &some, 1, NULL, &none), MOCO_ENOTSUP);
    sim_dnn_without_engines(0);
    assert_string_equal(
        none.text, "cuDNN: no engine for the forward in f32 of a convolution of 2 x 9 x 7 x 8, 16 channels, kernel 3, "
                   "stride 2, pad 1: 4 were looked at");
    dnn_close(&dnn);
    assert_int_equal(sim_dnn_live(), 0);
}

/* ---- networks ---- */

enum way { BY_DNN, WITHOUT_ENGINES, WITHOUT_DNN };

static struct harness_tensors step_of(enum way way)
{
    struct harness h;
    struct be_info info;
    struct harness_spec spec = {.device = way == WITHOUT_DNN ? "cudasim:1" : "cudasim:0",
                                .precision = BE_F32,
                                .threads = 1,
                                .n = 4,
                                .groups = 2,
                                .launches = 1,
                                .queue = 9,
                                .seed = 5};
    spec.config = harness_net(18, 0.125, STEM_IMAGENET, HEAD_MLP, 12, 33);
    sim_dnn_without_engines(way == WITHOUT_ENGINES);
    harness_open(&h, &spec);
    sim_dnn_without_engines(0);
    h.be->info(h.dev, &info);
    assert_string_equal(info.library,
                        way == WITHOUT_DNN ? "simulated GPU 1, no cuDNN" : "simulated GPU 0, cuDNN 9.19.0");
    /* What no precision asked for means. */
    enum be_precision best;
    struct err err = {0};
    harness_ok(h.be->precision(h.dev, 0, &best, &err), &err);
    assert_int_equal(best, way == WITHOUT_DNN ? BE_F32 : BE_BF16);
    assert_int_equal(info.bf16_native, way != WITHOUT_DNN);
    harness_train(&h);
    struct harness_tensors step = harness_collect(&h, HARNESS_STEP | HARNESS_STATE);
    harness_close(&h);
    assert_int_equal(sim_live(), 0);
    assert_int_equal(sim_dnn_live(), 0);
    return step;
}

static double distance(const struct harness_tensors *a, const struct harness_tensors *b, int *same)
{
    double worst = 0;
    assert_int_equal(a->count, b->count);
    *same = 1;
    for (int i = 0; i < a->count; i++) {
        double off = 0, size = 0;
        for (size_t k = 0; k < a->tensor[i].count; k++) {
            off = fmax(off, fabs(a->tensor[i].values[k] - b->tensor[i].values[k]));
            size = fmax(size, fabs(a->tensor[i].values[k]));
        }
        *same &= off == 0;
        worst = fmax(worst, off / fmax(size, 1e-30));
    }
    return worst;
}

/* Sums in another order, so not the same bits; a strict engine, so nothing worse. One that reads TF32 is 1e-3 off. */
static void a_network_computes_the_same_with_and_without(void **state)
{
    (void)state;
    int same;
    struct harness_tensors by = step_of(BY_DNN), engines = step_of(WITHOUT_ENGINES), without = step_of(WITHOUT_DNN);
    assert_true(distance(&engines, &without, &same) == 0 && same);
    double off = distance(&by, &without, &same);
    assert_false(same);
    assert_true(off < 1e-4);
    harness_tensors_free(&by);
    harness_tensors_free(&engines);
    harness_tensors_free(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_precision_takes_its_engine),
        cmocka_unit_test(what_cannot_be_is_refused_in_a_sentence),
        cmocka_unit_test(a_network_computes_the_same_with_and_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
