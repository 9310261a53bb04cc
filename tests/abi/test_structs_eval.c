/* SPDX-License-Identifier: MIT
 *
 * test_structs_eval: the rule of test_structs for the calls of eval.h, probe.h and weights.h. On "ref", like
 * test_structs_training. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "support/struct_probe.h"

enum { DIM = 3, ROWS = 4 };

static moco_context *context;
static moco_device *device;
static moco_probe *probe;
static moco_weights *weights;
static moco_tensor features;
static float rows[ROWS * DIM] = {1, 2, 3, 3, 2, 1, -1, 0, 1, 2, 2, 0};
static const int32_t labels[ROWS] = {0, 1, 0, 1};

static void probe_options(void *given, size_t size)
{
    moco_probe_options_init_sized(given, size);
    const int32_t choice[2] = {DIM, 2};
    if (size >= 16)
        memcpy((char *)given + offsetof(moco_probe_options, dim), choice, sizeof choice);
}

static void fit_options(void *given, size_t size)
{
    moco_probe_fit_options_init_sized(given, size);
}

static void score(void *given, size_t size)
{
    moco_score_init_sized(given, size);
}

static void stats(void *given, size_t size)
{
    moco_feature_stats_init_sized(given, size);
}

static void any_options(void *given, size_t size)
{
    moco_probe_options_init_sized(given, size);
}

static int set_up(void **state)
{
    (void)state;
    moco_probe_options options;
    moco_tensor_init(&features);
    features.dtype = MOCO_F32;
    features.ndim = 2;
    features.shape[0] = ROWS;
    features.shape[1] = DIM;
    features.data = rows;
    probe_options(&options, sizeof options);
    return moco_context_create(&context, NULL) != MOCO_OK || moco_device_open(&device, context, "ref") != MOCO_OK ||
           moco_probe_create(&probe, device, &options) != MOCO_OK ||
           moco_weights_open(&weights, context, "tests/golden/fixtures/weights-torch-2/list.zip.pth") != MOCO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    moco_weights_free(weights);
    moco_probe_free(probe);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}

static moco_status create(void *given)
{
    moco_probe *made = NULL;
    moco_status status = moco_probe_create(&made, device, given);
    moco_probe_free(made);
    return status;
}

static moco_status describe(void *given)
{
    return moco_probe_describe(probe, given, NULL);
}

static moco_status fit(void *given)
{
    return moco_probe_fit(probe, &features, labels, given);
}

static moco_status evaluate(void *given)
{
    return moco_probe_evaluate(probe, &features, labels, given, NULL);
}

static moco_status best(void *given)
{
    return moco_probe_best(probe, &features, labels, given);
}

static moco_status compute(void *given)
{
    return moco_feature_stats_compute(device, &features, NULL, given, NULL);
}

static void weights_info(void *given, size_t size)
{
    moco_weights_info_init_sized(given, size);
}

static moco_status weights_at(void *given)
{
    return moco_weights_at(weights, 0, given);
}

static void weights_tensor(void *given, size_t size)
{
    const moco_tensor ones = {.dtype = MOCO_F32, .ndim = 1, .shape = {2}, .data = rows + 10};
    moco_tensor_init_sized(given, size);
    memcpy((char *)given + 4, (const char *)&ones + 4, (size < sizeof ones ? size : sizeof ones) - 4);
}

static moco_status weights_read(void *given)
{
    return moco_weights_read(weights, 0, given);
}

static const struct struct_probe probes[] = {
    {"moco_probe_create", sizeof(moco_probe_options), probe_options, create, 0, 0},
    {"moco_probe_describe", sizeof(moco_probe_options), any_options, describe, 1, 0},
    {"moco_probe_fit", sizeof(moco_probe_fit_options), fit_options, fit, 0, 0},
    {"moco_probe_evaluate", sizeof(moco_score), score, evaluate, 0, 0},
    {"moco_probe_best", sizeof(moco_score), score, best, 1, 0},
    {"moco_feature_stats_compute", sizeof(moco_feature_stats), stats, compute, 1, 0},
    {"moco_weights_at", sizeof(moco_weights_info), weights_info, weights_at, 1, 0},
    {"moco_weights_read", sizeof(moco_tensor), weights_tensor, weights_read, 0, 1},
};
#define PROBES ((int)(sizeof probes / sizeof *probes))

static void test_sizes(void **state)
{
    (void)state;
    struct_probe_sizes(probes, PROBES);
}

static void test_newer_callers(void **state)
{
    (void)state;
    struct_probe_newer_callers(probes, PROBES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_newer_callers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
