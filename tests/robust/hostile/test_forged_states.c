/* SPDX-License-Identifier: MIT
 *
 * test_forged_states: model files, checkpoints and probe files whose hashes are right and whose content is not: sizes
 * that the bytes do not back, values out of range, numbers that no training writes. Each is refused with MOCO_EFORMAT
 * and a sentence that names the file and the fault, before memory is taken: at most 4 x the file + 1 MiB. What training
 * can write is read, however odd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/objects.h"
#include "support/files/forged_file.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

enum kind { MODEL, TRAINER, PROBE, KINDS };

static struct scratch_folder folder;
static struct rig rig; /* two steps into training */
static moco_probe *probe;
static struct forged good[KINDS];
static char path[4096];

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    spec.model.width = 1.0 / 32;
    spec.model.dim = 8;
    scratch_folder_make(&folder);
    snprintf(path, sizeof path, "%s", scratch_path(&folder, "forged"));
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 2);
    moco_probe_options options;
    moco_probe_options_init(&options);
    options.dim = 5;
    options.classes = 3;
    options.rates = 2;
    options.lr[0] = options.lr[1] = 1;
    rig_ok(moco_probe_create(&probe, rig.device, &options));
    rig_ok(moco_model_save(rig.model, scratch_path(&folder, "model")));
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "trainer"), "a note"));
    rig_ok(moco_probe_save(probe, scratch_path(&folder, "probe"), NULL));
    forged_read(&good[MODEL], scratch_path(&folder, "model"));
    forged_read(&good[TRAINER], scratch_path(&folder, "trainer"));
    forged_read(&good[PROBE], scratch_path(&folder, "probe"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++)
        forged_free(&good[i]);
    moco_probe_free(probe);
    rig_close(&rig);
    scratch_folder_remove(&folder);
    return 0;
}

/* ---- every call that reads a file of this kind ---- */

enum call { OPEN_MODEL, LOAD_MODEL, LOAD_TRAINER, DESCRIBE, OPEN_PROBE, CALLS };
static const char *const call_names[] = {"moco_model_open", "moco_model_load", "moco_trainer_load",
                                         "moco_checkpoint_describe", "moco_probe_open"};

static int reads(enum call call, enum kind kind)
{
    return kind == MODEL     ? call == OPEN_MODEL || call == LOAD_MODEL
           : kind == TRAINER ? call != LOAD_MODEL && call != OPEN_PROBE
                             : call == OPEN_PROBE;
}

static moco_model *spare_model(void)
{
    moco_model *model;
    rig_ok(moco_model_create(&model, rig.device, &rig.spec.model));
    return model;
}

/* Memory beyond what was live before, at its highest. */
static moco_status run(enum call call, int64_t *most)
{
    struct ctx *ctx = ((struct handle *)rig.context)->ctx;
    moco_model *model = call == LOAD_MODEL ? spare_model() : NULL;
    moco_probe *opened = NULL;
    char note[64];
    int64_t live = ctx->live_bytes, length;
    ctx->peak_bytes = live;
    moco_status status = MOCO_OK;
    switch (call) {
    case OPEN_MODEL:
        status = moco_model_open(&model, rig.device, path);
        break;
    case LOAD_MODEL:
        status = moco_model_load(model, path);
        break;
    case LOAD_TRAINER:
        status = moco_trainer_load(rig.trainer, path);
        break;
    case DESCRIBE:
        status = moco_checkpoint_describe(rig.context, path, NULL, NULL, &length, note, sizeof note);
        break;
    default:
        status = moco_probe_open(&opened, rig.device, path, NULL, 0);
    }
    *most = ctx->peak_bytes - live;
    moco_model_free(model);
    moco_probe_free(opened);
    return status;
}

static size_t write_forged(const struct forged *f)
{
    size_t size;
    char *bytes = forged_bytes(f, 1, &size);
    scratch_write(&folder, "forged", bytes, size);
    free(bytes);
    return size;
}

/* `word`: in the sentence. A trainer or model that is another one says so first: MOCO_EINVAL, MOCO_ESHAPE. */
static void expect_refused(enum call call, const struct forged *f, const char *what, const char *word)
{
    int64_t most;
    size_t size = write_forged(f);
    moco_status status = run(call, &most);
    int other = (call == LOAD_TRAINER && status == MOCO_EINVAL) || (call == LOAD_MODEL && status == MOCO_ESHAPE);
    if (status != MOCO_EFORMAT && !other)
        fail_msg("%s, %s: status %d: %s", call_names[call], what, (int)status, moco_error());
    if (strstr(moco_error(), path) == NULL || (word != NULL && strstr(moco_error(), word) == NULL))
        fail_msg("%s, %s: \"%s\" does not name \"%s\" and the file", call_names[call], what, moco_error(), word);
    if (most > 4 * (int64_t)size + (1 << 20))
        fail_msg("%s, %s: %lld bytes of memory for a file of %zu", call_names[call], what, (long long)most, size);
}

static void expect_read(enum call call, const struct forged *f, const char *what)
{
    int64_t most;
    size_t size = write_forged(f);
    if (run(call, &most) != MOCO_OK)
        fail_msg("%s, %s: %s", call_names[call], what, moco_error());
    if (most > 4 * (int64_t)size + (1 << 20))
        fail_msg("%s, %s: %lld bytes of memory for a file of %zu", call_names[call], what, (long long)most, size);
}

/* ---- what a header claims ---- */

static const struct claim {
    enum kind kind;
    const char *key, *value;
} claims[] = {
    {MODEL, "model.arch", "resnet152"},
    {MODEL, "model.arch", "resnet50"},
    {MODEL, "model.arch", "resnet19"},
    {MODEL, "model.arch", ""},
    {MODEL, "model.head", "simclr-v2"},
    {MODEL, "model.head", "linear"},
    {MODEL, "model.width", "16"},
    {MODEL, "model.width", "17"},
    {MODEL, "model.width", "1e308"},
    {MODEL, "model.width", "1e309"},
    {MODEL, "model.width", "-1"},
    {MODEL, "model.width", "nan"},
    {MODEL, "model.width", "0x10"},
    {MODEL, "model.width", "1e-320"},
    {MODEL, "model.dim", "65536"},
    {MODEL, "model.dim", "65537"},
    {MODEL, "model.dim", "0"},
    {MODEL, "model.dim", "-8"},
    {MODEL, "model.dim", "4294967304"}, /* 2^32 + 8 */
    {MODEL, "model.dim", "9223372036854775808"},
    {MODEL, "model.dim", "8.0"},
    {MODEL, "model.dim", "8 "},
    {MODEL, "model.dim", "9"},
    {MODEL, "model.dim", NULL},
    {MODEL, "model.image_size", "16385"},
    {MODEL, "model.image_size", "-16"},
    {MODEL, "model.image_size", "18446744073709551616"},
    {MODEL, "model.std.1", "0"},
    {MODEL, "model.std.1", "-1"},
    {MODEL, "model.mean.2", "1e999"},
    {MODEL, "model.zero_init", "2"},
    {MODEL, "model.seed", "9223372036854775808"},
    {MODEL, "moco.format", "4294967297"},
    {TRAINER, "model.arch", "resnet152"},
    {TRAINER, "model.width", "16"},
    {TRAINER, "model.dim", "65536"},
    {TRAINER, "model.head", "simclr-v2"},
    {PROBE, "probe.dim", "1048576"},
    {PROBE, "probe.dim", "4294967301"},
    {PROBE, "probe.classes", "1048576"},
    {PROBE, "probe.classes", "1"},
    {PROBE, "probe.rates", "16"},
    {PROBE, "probe.rates", "17"},
    {PROBE, "probe.lr.1", "inf"},
    {PROBE, "probe.lr.0", "-1"},
    {PROBE, "probe.momentum", "1"},
    {PROBE, "probe.weight_decay", "-0.5"},
    {PROBE, "state.step", "9223372036854775807"},
    {PROBE, "state.step", "-1"},
};

static void false_claims(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++)
        for (int call = 0; call < CALLS; call++) {
            const struct claim *c = &claims[i];
            struct forged f;
            char what[128];
            if (!reads(call, c->kind))
                continue;
            snprintf(what, sizeof what, "%s = %s", c->key, c->value != NULL ? c->value : "(none)");
            forged_copy(&f, &good[c->kind]);
            forged_text(&f, c->key, c->value);
            expect_refused(call, &f, what, NULL);
            forged_free(&f);
        }
}

/* What only a training state claims: nobody but its own readers looks at it. */
static void false_states(void **state)
{
    (void)state;
    static const char *const claim[][2] = {
        {"trainer.queue_length", "2147483648"},
        {"trainer.queue_length", "2147483649"},
        {"trainer.queue_length", "41"},
        {"trainer.queue_length", "0"},
        {"trainer.batch_size", "0"},
        {"trainer.batch_size", "1048577"},
        {"trainer.batch_size", "15"},
        {"trainer.batch_size", "4294967312"},
        {"trainer.bn_group_size", "3"},
        {"trainer.image_h", "16385"},
        {"trainer.negatives", "batch"},
        {"trainer.encoder_k", "shared"},
        {"trainer.loss", "ntxent"},
        {"trainer.optimizer", "adam"},
        {"trainer.temperature", "0"},
        {"trainer.temperature", "1e7"},
        {"trainer.key_momentum", "1.5"},
        {"trainer.precision", "f8"},
        {"trainer.real", "f16"},
        {"trainer.groups_per_launch", "0"},
    };
    for (size_t i = 0; i < sizeof claim / sizeof claim[0]; i++)
        for (int call = LOAD_TRAINER; call <= DESCRIBE; call++) {
            struct forged f;
            forged_copy(&f, &good[TRAINER]);
            forged_text(&f, claim[i][0], claim[i][1]);
            expect_refused(call, &f, claim[i][0], i < 3 ? NULL : claim[i][0] + strlen("trainer."));
            forged_free(&f);
        }
}

/* Nothing but a header: what made 72 GB of 432 bytes. */
static void headers_alone(void **state)
{
    (void)state;
    static const char *const model[][2] = {{"model.arch", "resnet152"}, {"model.width", "16"},
                                           {"model.dim", "65536"},      {"model.head", "simclr-v2"},
                                           {"model.stem", "cifar"},     {"model.image_size", "16384"}};
    for (int kind = 0; kind < KINDS; kind++)
        for (int keep = 0; keep < 2; keep++) {
            struct forged f;
            forged_copy(&f, &good[kind]);
            for (size_t i = 0; i < sizeof model / sizeof model[0] && kind != PROBE; i++)
                forged_text(&f, model[i][0], model[i][1]);
            if (kind == TRAINER)
                forged_text(&f, "trainer.queue_length", "2147483648");
            if (kind == PROBE) {
                forged_text(&f, "probe.dim", "1048576");
                forged_text(&f, "probe.classes", "1048576");
            }
            while (f.tensor_count > keep) /* one is there, with a shape to match and no bytes */
                forged_drop(&f, f.tensors[f.tensor_count - 1].name);
            for (int call = 0; call < CALLS; call++)
                if (reads(call, kind))
                    expect_refused(call, &f, "a header alone", NULL);
            forged_free(&f);
        }
}

static void tensors_that_do_not_fit(void **state)
{
    (void)state;
    static const char *const names[KINDS] = {"layer1.0.conv1.weight", "encoder_q.layer1.0.conv1.weight", "fc.weight"};
    for (int kind = 0; kind < KINDS; kind++)
        for (int way = 0; way < 5; way++) {
            struct forged f;
            forged_copy(&f, &good[kind]);
            struct forged_tensor *t = forged_tensor(&f, names[kind]);
            if (way == 0)
                snprintf(t->name, sizeof t->name, "layer1.0.conv1.weights");
            else if (way == 1)
                t->ndim--, t->size /= (size_t)t->shape[t->ndim];
            else if (way == 2) { /* as many numbers in another shape */
                int64_t first = t->shape[0];
                t->shape[0] = t->shape[1] * t->shape[2];
                t->shape[1] = first;
                t->shape[2] = 1;
            } else if (way == 3)
                t->dtype = t->dtype == SAFETENSORS_F32 ? SAFETENSORS_I32 : SAFETENSORS_I64;
            else
                t->shape[0] = INT64_MAX;
            for (int call = 0; call < CALLS; call++)
                if (reads(call, kind))
                    expect_refused(call, &f, "a tensor that does not fit", way == 4 ? NULL : "tensor");
            forged_free(&f);
        }
}

/* ---- numbers ---- */

static void bad_numbers(void **state)
{
    (void)state;
    static const struct {
        enum kind kind;
        const char *name, *place;
        size_t i;
    } where[] = {
        {MODEL, "layer1.0.conv1.weight", "[1, 0, 0, 2]", 20}, /* [2,2,3,3] */
        {MODEL, "layer2.0.bn1.weight", "[3]", 3},
        {MODEL, "layer2.0.bn1.running_mean", "[0]", 0},
        {MODEL, "layer2.0.bn1.running_var", "[1]", 1},
        {MODEL, "fc.2.bias", "[7]", 7},
        {TRAINER, "queue", "[1, 2]", 42}, /* [8,40] */
        {TRAINER, "encoder_q.layer1.0.conv1.weight", "[1, 0, 0, 2]", 20},
        {TRAINER, "encoder_q.bn1.running_var", "[1]", 1},
        {TRAINER, "encoder_k.bn1.running_var", "[0]", 0},
        {TRAINER, "encoder_k.fc.0.weight", "[0, 1]", 1},
        {TRAINER, "momentum.encoder_q.conv1.weight", "[0, 0, 0, 0]", 0},
        {PROBE, "fc.weight", "[1, 0, 1]", 16}, /* [2,3,5] */
        {PROBE, "fc.bias", "[0, 2]", 2},
        {PROBE, "momentum.fc.weight", "[1, 2, 4]", 29},
        {PROBE, "momentum.fc.bias", "[1, 2]", 5},
    };
    static const double values[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -1e-30, -1};
    static const char *const texts[] = {"nan", "inf", "-inf", "-1e-30", "-1"};
    for (size_t w = 0; w < sizeof where / sizeof where[0]; w++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            int below = isfinite(values[v]);
            if (below && strstr(where[w].name, "running_var") == NULL)
                continue;
            for (int call = 0; call < CALLS; call++) {
                struct forged f;
                int reads_it = reads(call, where[w].kind) && call != DESCRIBE &&
                               (call != OPEN_MODEL || where[w].kind != TRAINER ||
                                strstr(where[w].name, "encoder_q.") == where[w].name);
                if (!reads_it)
                    continue;
                forged_copy(&f, &good[where[w].kind]);
                forged_number(forged_tensor(&f, where[w].name), where[w].i, values[v]);
                expect_refused(call, &f, where[w].name, where[w].name);
                if (strstr(moco_error(), where[w].place) == NULL || (v < 3 && strstr(moco_error(), texts[v]) == NULL))
                    fail_msg("\"%s\" does not say %s at %s", moco_error(), texts[v], where[w].place);
                forged_free(&f);
            }
        }
    size_t now, size;
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "now"), "a note")); /* nothing was taken over */
    char *before = rig_read_file(scratch_path(&folder, "trainer"), &size);
    char *after = rig_read_file(scratch_path(&folder, "now"), &now);
    assert_int_equal(now, size);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

static void bad_counts(void **state)
{
    (void)state;
    static const double values[] = {-1, 9007199254740994.0, -9e18};
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        struct forged f;
        forged_copy(&f, &good[TRAINER]);
        forged_number(forged_tensor(&f, "encoder_q.bn1.num_batches_tracked"), 0, values[v]);
        expect_refused(OPEN_MODEL, &f, "a count", "num_batches_tracked");
        expect_refused(LOAD_TRAINER, &f, "a count", "num_batches_tracked");
        forged_free(&f);
        forged_copy(&f, &good[TRAINER]);
        forged_number(forged_tensor(&f, "queue_ptr"), 0, v == 1 ? 40 : values[v]); /* as long as the queue */
        expect_refused(LOAD_TRAINER, &f, "a pointer", "queue_ptr");
        forged_free(&f);
    }
}

/* A larger number than f32 has, in a file of f64. */
static void too_large(void **state)
{
    (void)state;
    if (test_device_is_exact(test_device())) {
        printf("not tested here: a device of f32\n");
        return;
    }
    moco_device *device;
    moco_model *model;
    struct forged f;
    rig_ok(moco_device_open(&device, rig.context, "ref"));
    rig_ok(moco_model_create(&model, device, &rig.spec.model));
    rig_ok(moco_model_save(model, scratch_path(&folder, "f64")));
    moco_model_free(model);
    forged_read(&f, scratch_path(&folder, "f64"));
    expect_read(OPEN_MODEL, &f, "f64");
    forged_number(forged_tensor(&f, "fc.2.bias"), 1, -1e300);
    expect_refused(OPEN_MODEL, &f, "1e300", "fc.2.bias holds -1e300 at [1]");
    rig_ok(moco_model_open(&model, device, path));
    moco_model_free(model);
    moco_device_free(device);
    forged_free(&f);
}

/* Odd, but what training or a caller may have put there. */
static void odd_numbers(void **state)
{
    (void)state;
    static const double values[] = {-0.0, 0, FLT_MAX, FLT_MIN / 8};
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        struct forged f;
        forged_copy(&f, &good[TRAINER]);
        forged_number(forged_tensor(&f, "encoder_q.bn1.running_var"), 0, values[v]);
        forged_number(forged_tensor(&f, "encoder_q.bn1.running_mean"), 1, -values[v]);
        forged_number(forged_tensor(&f, "queue"), 17, values[v]); /* no longer of length 1 */
        expect_read(LOAD_TRAINER, &f, "odd numbers");
        expect_read(OPEN_MODEL, &f, "odd numbers");
        expect_read(DESCRIBE, &f, "odd numbers");
        forged_free(&f);
    }
    struct forged f;
    forged_copy(&f, &good[TRAINER]);
    forged_text(&f, "state.epoch", "9223372036854775807"); /* a batch may say so */
    forged_text(&f, "state.position", "9223372036854775807");
    expect_read(LOAD_TRAINER, &f, "a late epoch");
    forged_free(&f);
    rig_ok(moco_trainer_load(rig.trainer, scratch_path(&folder, "trainer")));
}

/* What was written is read, with as little memory: the largest tensor is nearly all of the file. */
static void memory_of_reading(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int call = 0; call < CALLS; call++)
            if (reads(call, kind))
                expect_read(call, &good[kind], "as it was written");
    moco_model_options options = rig.spec.model;
    moco_model *model;
    struct forged f;
    options.dim = 16384;
    options.width = 0.125;
    options.mean[0] = -1e9; /* odd, but a model may be made so */
    options.std[1] = 1e-9;
    rig_ok(moco_model_create(&model, rig.device, &options));
    rig_ok(moco_model_save(model, scratch_path(&folder, "wide")));
    moco_model_free(model);
    forged_read(&f, scratch_path(&folder, "wide"));
    expect_read(OPEN_MODEL, &f, "a wide head");
    forged_free(&f);
    moco_probe *wide;
    moco_probe_options po;
    moco_probe_options_init(&po);
    po.dim = 4096;
    po.classes = 128;
    po.rates = 1;
    po.lr[0] = DBL_MAX;
    rig_ok(moco_probe_create(&wide, rig.device, &po));
    rig_ok(moco_probe_save(wide, scratch_path(&folder, "wide"), NULL));
    moco_probe_free(wide);
    forged_read(&f, scratch_path(&folder, "wide"));
    expect_read(OPEN_PROBE, &f, "a wide probe");
    forged_free(&f);
}

/* A state that could not be read again is not written. */
/* No call lets such a number in: it is planted behind them, where a fault of ours would leave it. */
static void plant(const char *name, size_t at, double value)
{
    struct encoder *encoder = rig.model->encoder;
    size_t count;
    double *values = rig_get(&rig, "encoder_q.bn1.running_var", &count);
    values[at] = value;
    rig_ok(encoder_tensor_set(encoder, &encoder->numbers, encoder_find(encoder, name), values, sizeof *values, NULL));
    free(values);
}

static void not_written(void **state)
{
    (void)state;
    plant("bn1.running_var", 1, -0.25);
    rig_expect(moco_trainer_save(rig.trainer, path, NULL), MOCO_ENUMERIC);
    if (strstr(moco_error(), "encoder_q.bn1.running_var holds -0.25 at [1]") == NULL)
        fail_msg("%s", moco_error());
    rig_expect(moco_model_save(rig.model, path), MOCO_ENUMERIC);
    plant("bn1.running_var", 1, 0.25);
    rig_ok(moco_trainer_save(rig.trainer, path, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(false_claims),      cmocka_unit_test(false_states),
        cmocka_unit_test(headers_alone),     cmocka_unit_test(tensors_that_do_not_fit),
        cmocka_unit_test(bad_numbers),       cmocka_unit_test(bad_counts),
        cmocka_unit_test(too_large),         cmocka_unit_test(odd_numbers),
        cmocka_unit_test(memory_of_reading), cmocka_unit_test(not_written),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
