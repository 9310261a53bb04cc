/* SPDX-License-Identifier: MIT
 *
 * test_structs_eval: the rule of test_structs for the calls of eval.h, probe.h, weights.h and import.h. On "ref", like
 * test_structs_training. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "support/scratch_folder.h"
#include "support/struct_probe.h"

enum { DIM = 3, ROWS = 4 };

static moco_context *context;
static moco_device *device;
static moco_probe *probe;
static moco_weights *weights, *encoder;
static moco_trainer *trainer;
static struct scratch_folder folder;
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

/* An encoder's file to import from, and a trainer that its network fits. */
static moco_status make_encoder(void)
{
    moco_model_options network;
    moco_trainer_options training;
    moco_model *model = NULL;
    moco_model_options_init(&network);
    moco_trainer_options_init(&training);
    network.arch = "resnet18";
    network.width = 1.0 / 64;
    network.dim = 2;
    training.negatives = MOCO_NEGATIVES_BATCH;
    training.encoder_k = MOCO_KEY_SHARED;
    training.batch_size = training.bn_group_size = 2;
    training.image_h = training.image_w = 32;
    training.precision = MOCO_PRECISION_F64;
    scratch_folder_make(&folder);
    moco_status status = moco_model_create(&model, device, &network);
    if (status == MOCO_OK)
        status = moco_model_save(model, scratch_path(&folder, "encoder"));
    if (status == MOCO_OK)
        status = moco_trainer_create(&trainer, model, NULL, &training);
    if (status == MOCO_OK)
        status = moco_weights_open(&encoder, context, scratch_path(&folder, "encoder"));
    moco_model_free(model);
    return status;
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
           moco_weights_open(&weights, context, "tests/golden/fixtures/weights-torch-2/list.zip.pth") != MOCO_OK ||
           make_encoder() != MOCO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    moco_weights_free(weights);
    moco_weights_free(encoder);
    moco_trainer_free(trainer);
    scratch_folder_remove(&folder);
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

static void import_options(void *given, size_t size)
{
    moco_import_options_init_sized(given, size);
}

static void import_report(void *given, size_t size)
{
    moco_import_report_init_sized(given, size);
}

static void import_found(void *given, size_t size)
{
    moco_import_found_init_sized(given, size);
}

static moco_status import_model(void *options, void *report)
{
    moco_model *made = NULL;
    moco_status status = moco_model_import(&made, device, encoder, options, report);
    moco_model_free(made);
    return status;
}

static moco_status import_by_options(void *given)
{
    return import_model(given, NULL);
}

static moco_status import_with_report(void *given)
{
    return import_model(NULL, given);
}

static moco_status import_state(void *given)
{
    return moco_trainer_import(trainer, encoder, given);
}

static moco_status candidate(void *given)
{
    return moco_import_candidate(encoder, 0, given);
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
    {"moco_model_import, options", sizeof(moco_import_options), import_options, import_by_options, 0, 0},
    {"moco_model_import, report", sizeof(moco_import_report), import_report, import_with_report, 0, 0},
    {"moco_trainer_import", sizeof(moco_import_report), import_report, import_state, 0, 0},
    {"moco_import_candidate", sizeof(moco_import_found), import_found, candidate, 1, 0},
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
