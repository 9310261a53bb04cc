/* SPDX-License-Identifier: MIT
 *
 * test_import: moco/import.h where allocations and reads fail, and the memory that it takes; needs no PyTorch. The n-th
 * allocation fails, and then all from the n-th on, until the import succeeds: each failure is MOCO_ENOMEM, holds nothing,
 * makes no model, and leaves a trainer as it was to the bit. A file cut short under the reader's hands, and one whose
 * numbers are no network's, do the same. What files of other programs hold is test_import.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/failing_alloc.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

static struct failing_alloc memory;
static struct scratch_folder folder;
static struct rig rig; /* what is imported into, on the failing allocator */
static char *untouched;
static size_t untouched_size;

static struct rig_spec spec(void)
{
    struct rig_spec s = rig_spec();
    s.model.stem = "imagenet";
    s.model.width = 1.0 / 32;
    s.model.dim = 8;
    if (strcmp(test_device(), "ref") == 0)
        s.trainer.precision = MOCO_PRECISION_F64;
    return s;
}

/* A state that a trainer saved, to be imported under its own names; the trainer that it goes into has made a step. */
static int set_up(void **state)
{
    struct rig other;
    struct rig_spec s = spec();
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    scratch_folder_make(&folder);
    rig_open(&other, &s);
    rig_run(&other, 0, 3);
    rig_ok(moco_trainer_save(other.trainer, scratch_path(&folder, "state"), NULL));
    rig_close(&other);
    s.context.alloc = failing_alloc;
    s.context.release = failing_release;
    s.context.user = &memory;
    rig_open(&rig, &s);
    rig_run(&rig, 7, 8);
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "before"), NULL));
    untouched = rig_read_file(scratch_path(&folder, "before"), &untouched_size);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(untouched);
    rig_close(&rig);
    scratch_folder_remove(&folder);
    return memory.live == 0 ? 0 : -1;
}

static void expect_untouched(void)
{
    size_t size;
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "now"), NULL));
    char *bytes = rig_read_file(scratch_path(&folder, "now"), &size);
    assert_int_equal(size, untouched_size);
    assert_memory_equal(bytes, untouched, size);
    free(bytes);
}

static moco_status import_model(moco_weights *weights)
{
    moco_model *model = NULL;
    moco_import_report report;
    moco_import_report_init(&report);
    moco_status status = moco_model_import(&model, rig.device, weights, NULL, &report);
    assert_true((model != NULL) == (status == MOCO_OK));
    moco_model_free(model);
    return status;
}

static moco_status import_fresh_head(moco_weights *weights)
{
    moco_model *model = NULL;
    moco_import_options options;
    moco_import_options_init(&options);
    options.take_head = MOCO_IMPORT_HEAD_FRESH;
    options.head = "simclr-v2";
    moco_status status = moco_model_import(&model, rig.device, weights, &options, NULL);
    moco_model_free(model);
    return status;
}

static moco_status import_state(moco_weights *weights)
{
    moco_import_report report;
    moco_import_report_init(&report);
    return moco_trainer_import(rig.trainer, weights, &report);
}

static moco_status import_candidate(moco_weights *weights)
{
    moco_import_found found;
    moco_import_found_init(&found);
    return moco_import_candidate(weights, 1, &found);
}

static int walk(moco_status (*work)(moco_weights *weights))
{
    int failures = 0;
    moco_weights *weights;
    rig_ok(moco_weights_open(&weights, rig.context, scratch_path(&folder, "state")));
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            long long live = memory.live;
            atomic_store(&memory.calls, 0);
            memory.forever = forever;
            memory.fail_at = n;
            moco_status status = work(weights);
            memory.fail_at = -1;
            if (memory.live != live)
                fail_msg("request %lld: %lld bytes are still held", n, memory.live - live);
            if (status == MOCO_OK) {
                rig_ok(moco_trainer_load(rig.trainer, scratch_path(&folder, "before")));
                break;
            }
            failures++;
            if (status != MOCO_ENOMEM || strstr(moco_error(), "memory") == NULL)
                fail_msg("request %lld%s: status %d, \"%s\"", n, forever ? " and later" : "", (int)status,
                         moco_error());
            if (work == import_state && n % 8 == 0)
                expect_untouched();
        }
    moco_weights_free(weights);
    return failures;
}

static void failing_memory(void **state)
{
    (void)state;
    assert_true(walk(import_candidate) >= 2);
    assert_true(walk(import_model) > 40);
    assert_true(walk(import_fresh_head) > 40);
    assert_true(walk(import_state) > 40);
}

/* What was imported is what a load of the same file makes, but for where in its epoch it goes on. */
static void whole_state(void **state)
{
    (void)state;
    struct rig loaded;
    struct rig_spec s = spec();
    moco_weights *weights;
    moco_import_report report;
    int64_t step;
    rig_open(&loaded, &s);
    rig_ok(moco_trainer_load(loaded.trainer, scratch_path(&folder, "state")));
    moco_import_report_init(&report);
    rig_ok(moco_weights_open(&weights, rig.context, scratch_path(&folder, "state")));
    rig_ok(moco_trainer_import(rig.trainer, weights, &report));
    assert_int_equal(report.count[MOCO_IMPORT_USED], moco_weights_count(weights));
    assert_int_equal(report.count[MOCO_IMPORT_UNUSED] + report.count[MOCO_IMPORT_UNVERIFIED], 0);
    assert_string_equal(report.prefix, "encoder_q.");
    moco_weights_free(weights);
    rig_ok(moco_trainer_cursor(rig.trainer, &step, NULL, NULL));
    assert_int_equal(step, 3);
    const char *name;
    for (int i = 0; (name = moco_trainer_tensor_name(rig.trainer, i)) != NULL; i++) {
        size_t count, again;
        if (strncmp(name, "grad.", 5) == 0)
            continue;
        double *a = rig_get(&rig, name, &count), *b = rig_get(&loaded, name, &again);
        assert_int_equal(count, again);
        assert_memory_equal(a, b, count * sizeof *a);
        free(a);
        free(b);
    }
    rig_run(&rig, 3, 5); /* and the next steps are the same */
    rig_run(&loaded, 3, 5);
    assert_true(rig_difference(&rig, &loaded, "encoder_q.conv1.weight") == 0);
    assert_true(rig_difference(&rig, &loaded, "encoder_k.fc.2.weight") == 0);
    rig_close(&loaded);
}

/* A width says how many channels there are and no more: what a trainer saved goes into one of its width, whatever number
 * the shapes would make of it, and not into one that has a channel more. */
static void odd_widths(void **state)
{
    (void)state;
    static const double widths[][2] = {
        {1.0 / 128, 2.0 / 64}, {0.02, 2.0 / 64}, {0.04, 2.0 / 64}}; /* 1, 1 and 3 channels; 2 */
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        struct rig_spec s = spec();
        struct rig own, other;
        moco_weights *weights;
        s.model.width = widths[i][0];
        rig_open(&own, &s);
        rig_run(&own, 0, 1);
        rig_ok(moco_trainer_save(own.trainer, scratch_path(&folder, "narrow"), NULL));
        rig_run(&own, 1, 2);
        rig_ok(moco_weights_open(&weights, own.context, scratch_path(&folder, "narrow")));
        rig_ok(moco_trainer_import(own.trainer, weights, NULL));
        int64_t step;
        rig_ok(moco_trainer_cursor(own.trainer, &step, NULL, NULL));
        assert_int_equal(step, 1);
        s.model.width = widths[i][1];
        rig_open(&other, &s);
        rig_expect(moco_trainer_import(other.trainer, weights, NULL), MOCO_EFORMAT);
        assert_non_null(strstr(moco_error(), "the trainer's is a resnet18 of width 0.03125"));
        moco_weights_free(weights);
        rig_close(&other);
        rig_close(&own);
    }
}

/* The model, one tensor, 4 times the file's header, and 1 MiB. */
static void memory_taken(void **state)
{
    (void)state;
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_weights *weights;
    moco_model_options o;
    moco_context_options c;
    int64_t before, live, peak;
    moco_model_options_init(&o);
    o.arch = "resnet18";
    o.width = 0.5;
    moco_context_options_init(&c);
    c.threads = 1;
    rig_ok(moco_context_create(&context, &c));
    rig_ok(moco_device_open(&device, context, test_device()));
    rig_ok(moco_model_create(&model, device, &o));
    rig_ok(moco_model_save(model, scratch_path(&folder, "half")));
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    rig_ok(moco_context_create(&context, &c)); /* whose peak is that of the import alone */
    rig_ok(moco_device_open(&device, context, test_device()));
    rig_ok(moco_context_memory(context, &before, NULL, NULL));
    rig_ok(moco_weights_open(&weights, context, scratch_path(&folder, "half")));
    rig_ok(moco_model_import(&model, device, weights, NULL, NULL));
    moco_weights_free(weights);
    rig_ok(moco_context_memory(context, &live, &peak, NULL));
    uint64_t header = 0;
    FILE *file = fopen(scratch_path(&folder, "half"), "rb");
    assert_int_equal(fread(&header, sizeof header, 1, file), 1);
    fclose(file);
    if (peak - live > 8 * 256 * 256 * 9 + 4 * (int64_t)header + (1 << 20))
        fail_msg("%lld bytes beside the model of %lld", (long long)(peak - live), (long long)(live - before));
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
}

/* The file shrinks between opening and reading. */
static void shrinking(void **state)
{
    (void)state;
    moco_weights *weights;
    rig_ok(moco_weights_open(&weights, rig.context, scratch_path(&folder, "state")));
    assert_int_equal(truncate(scratch_path(&folder, "state"), 40000), 0);
    moco_status status = import_model(weights);
    assert_true(status == MOCO_EIO || status == MOCO_EFORMAT);
    status = import_state(weights);
    assert_true(status == MOCO_EIO || status == MOCO_EFORMAT);
    moco_weights_free(weights);
    expect_untouched();
}

/* A caller's callback may not reach into what is being imported into, and may free the file. */
static moco_weights *file_of_callback;

static void reach_in(void *user, int32_t kind, const char *sentence)
{
    int *calls = user;
    assert_non_null(sentence);
    assert_true(kind >= 0 && kind < MOCO_IMPORT_KINDS);
    if ((*calls)++ > 0)
        return;
    assert_int_equal(moco_trainer_save(rig.trainer, scratch_path(&folder, "no"), NULL), MOCO_ESTATE);
    moco_weights_free(file_of_callback);
}

static void callbacks(void **state)
{
    (void)state;
    moco_import_report report;
    int calls = 0;
    int64_t lines = 0;
    moco_import_report_init(&report);
    report.line = reach_in;
    report.user = &calls;
    rig_ok(moco_weights_open(&file_of_callback, rig.context, scratch_path(&folder, "state")));
    rig_ok(moco_trainer_import(rig.trainer, file_of_callback, &report));
    for (int k = 0; k < MOCO_IMPORT_KINDS; k++)
        lines += report.count[k];
    assert_int_equal(lines, calls);
    assert_true(report.line == reach_in && report.user == &calls);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(failing_memory), CASE(whole_state), CASE(odd_widths),
                                       CASE(memory_taken),   CASE(shrinking),   CASE(callbacks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
