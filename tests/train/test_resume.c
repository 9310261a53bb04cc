/* SPDX-License-Identifier: MIT
 *
 * test_resume: training that stops at any step and goes on in a fresh trainer ends in the same bytes; a file that is
 * damaged, or of another configuration, changes nothing; and a trained encoder leaves the trainer whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/not_tested.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

#define STEPS 6

static const char *step_path(int step)
{
    char name[32];
    snprintf(name, sizeof name, "step%d", step);
    return scratch_path(&scratch_group, name);
}

static void expect_same_file(const char *a, const char *b)
{
    size_t na, nb;
    char *x = rig_read_file(a, &na), *y = rig_read_file(b, &nb);
    if (na != nb || memcmp(x, y, na) != 0)
        fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

static void resume_everywhere(struct rig_spec spec)
{
    struct rig whole;
    rig_open(&whole, &spec);
    rig_ok(moco_trainer_save(whole.trainer, step_path(0), "note"));
    for (int i = 0; i < STEPS; i++) {
        rig_run(&whole, i, i + 1);
        rig_ok(moco_trainer_save(whole.trainer, step_path(i + 1), "note"));
    }
    for (int stop = 0; stop <= STEPS; stop++) {
        struct rig rig;
        spec.model.seed = 1000 + (uint64_t)stop; /* whatever it held before does not show */
        rig_open(&rig, &spec);
        if (stop % 2 == 1)
            rig_run(&rig, 50, 52);
        rig_ok(moco_trainer_load(rig.trainer, step_path(stop)));
        int64_t step, epoch, position;
        rig_ok(moco_trainer_cursor(rig.trainer, &step, &epoch, &position));
        assert_int_equal(step, stop);
        assert_int_equal(epoch, stop > 0 ? (stop - 1) / 3 : 0);
        assert_int_equal(position, stop > 0 ? ((stop - 1) % 3 + 1) * spec.trainer.batch_size : 0);
        rig_ok(moco_trainer_save(rig.trainer, scratch_path(&scratch_group, "again"), "note"));
        expect_same_file(step_path(stop), scratch_path(&scratch_group, "again"));
        rig_run(&rig, stop, STEPS);
        rig_ok(moco_trainer_save(rig.trainer, scratch_path(&scratch_group, "end"), "note"));
        expect_same_file(step_path(STEPS), scratch_path(&scratch_group, "end"));
        rig_close(&rig);
    }
    rig_close(&whole);
}

static void stopping_at_any_step_changes_no_byte(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    resume_everywhere(spec);
    spec.trainer.symmetric = 1;
    spec.trainer.interleave = 1;
    spec.trainer.groups_per_launch = 2;
    spec.queue_length = 23;
    resume_everywhere(spec);
}

static void whatever_the_mechanism(void **state)
{
    (void)state;
    for (int m = 1; m < RIG_MECHANISMS; m++) {
        struct rig_spec spec = rig_spec();
        rig_mechanism(&spec, m);
        resume_everywhere(spec);
    }
}

/* bf16 reads copies of the weights, which a load and a set must bring up to date: on "ref", and on the device under
 * test if it has bf16. */
static const char *const bf16_devices[] = {"ref", NULL};

static int has_bf16(const char *name)
{
    moco_context *context;
    moco_device *device;
    moco_memory_estimate estimate;
    struct rig_spec spec = rig_spec();
    spec.trainer.precision = MOCO_PRECISION_BF16;
    moco_memory_estimate_init(&estimate);
    rig_ok(moco_context_create(&context, NULL));
    rig_ok(moco_device_open(&device, context, name != NULL ? name : test_device()));
    moco_status status = moco_trainer_estimate(device, &spec.model, 8, &spec.trainer, &estimate);
    if (status != MOCO_ENOTSUP)
        rig_ok(status);
    moco_device_free(device);
    moco_context_free(context);
    if (status != MOCO_OK)
        not_tested_here(NO_BF16);
    return status == MOCO_OK;
}

static void the_same_in_bf16(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    spec.trainer.precision = MOCO_PRECISION_BF16;
    for (int i = 0; i < 2; i++)
        if (has_bf16(bf16_devices[i])) {
            struct rig_spec lars = spec;
            spec.device = lars.device = bf16_devices[i];
            resume_everywhere(spec);
            rig_mechanism(&lars, RIG_SIMCLR_LARS);
            resume_everywhere(lars);
        }
}

static void state_that_is_set_by_name_is_used(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    for (int i = 0; i < 4; i++) {
        spec.device = bf16_devices[i / 2];
        spec.trainer.precision = i % 2 ? MOCO_PRECISION_BF16 : MOCO_PRECISION_F32;
        if (i % 2 && !has_bf16(spec.device))
            continue;
        struct rig from, to;
        const char *name;
        spec.model.seed = 1;
        rig_open(&from, &spec);
        spec.model.seed = 2;
        rig_open(&to, &spec);
        for (int t = 0; (name = moco_trainer_tensor_name(from.trainer, t)) != NULL; t++) {
            size_t count;
            double *values = rig_get(&from, name, &count);
            if (strncmp(name, "grad.", 5) != 0)
                rig_set(&to, name, values);
            free(values);
        }
        rig_run(&from, 0, 2);
        rig_run(&to, 0, 2);
        for (int t = 0; (name = moco_trainer_tensor_name(from.trainer, t)) != NULL; t++)
            if (rig_difference(&from, &to, name) != 0)
                fail_msg("%s differs after two steps from a state set by name", name);
        rig_close(&from);
        rig_close(&to);
    }
}

/* ---- a checkpoint of another precision ---- */

static int lines;

static void count_line(void *user, int level, const char *line)
{
    (void)user;
    lines += level == MOCO_LOG_WARN && strstr(line, "with other bits from here on") != NULL;
}

/* A trainer made with that precision is asked to load the file; the caller closes it. */
static moco_status load_in(struct rig *rig, struct rig_spec spec, moco_precision precision, const char *path)
{
    spec.trainer.precision = (int32_t)precision;
    spec.context.log = count_line;
    rig_open(rig, &spec);
    lines = 0;
    return moco_trainer_load(rig->trainer, path);
}

static void another_precision_goes_on_if_it_is_named(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig_spec spec = rig_spec();
        struct rig single, half, to;
        char file[2][512];
        spec.device = bf16_devices[i];
        if (!has_bf16(spec.device))
            continue;
        snprintf(file[0], sizeof file[0], "%s", scratch_path(&scratch_group, "single"));
        snprintf(file[1], sizeof file[1], "%s", scratch_path(&scratch_group, "half"));
        rig_open(&single, &spec); /* f32, and f64 where the device is exact */
        rig_run(&single, 0, 3);
        rig_ok(moco_trainer_save(single.trainer, file[0], NULL));
        rig_ok(load_in(&half, spec, MOCO_PRECISION_BF16, file[0]));
        assert_int_equal(lines, 1);
        assert_true(rig_difference(&half, &single, "encoder_q.fc.2.weight") == 0);
        assert_true(rig_difference(&half, &single, "queue") == 0);
        rig_run(&half, 3, 4);
        rig_run(&single, 3, 4);
        assert_true(rig_difference(&half, &single, "encoder_q.fc.2.weight") > 0);
        rig_ok(moco_trainer_save(half.trainer, file[1], NULL)); /* which is of bf16 now */
        rig_ok(load_in(&to, spec, MOCO_PRECISION_BF16, file[1]));
        assert_int_equal(lines, 0);
        rig_expect_equal(&to, &half);
        rig_close(&to);
        int taken = 0;
        for (int f = 0; f < 2; f++) { /* what the device chooses is one of the two */
            moco_status status = load_in(&to, spec, MOCO_PRECISION_AUTO, file[f]);
            assert_int_equal(lines, 0);
            taken += status == MOCO_OK;
            if (status != MOCO_OK) {
                rig_expect(status, MOCO_EINVAL);
                assert_non_null(strstr(moco_error(), "trainer.precision"));
                assert_non_null(strstr(moco_error(), "to go on with other bits"));
                rig_run(&to, 0, 1); /* it is as new */
            }
            rig_close(&to);
        }
        assert_int_equal(taken, 1);
        rig_close(&single);
        rig_close(&half);
    }
}

static void two_runs_are_the_same_to_the_bit(void **state)
{
    (void)state;
    struct rig a, b;
    struct rig_spec spec = rig_spec();
    spec.context.threads = 0;
    rig_open(&a, &spec);
    rig_open(&b, &spec);
    for (int i = 0; i < 8; i++) {
        moco_step_report x, y;
        moco_step_report_init(&x);
        moco_step_report_init(&y);
        rig_run(&a, i, i + 1);
        rig_run(&b, i, i + 1);
        rig_ok(moco_trainer_report(a.trainer, &x));
        rig_ok(moco_trainer_report(b.trainer, &y));
        assert_memory_equal(&x, &y, sizeof x);
    }
    rig_expect_equal(&a, &b);
    rig_close(&a);
    rig_close(&b);
}

/* ---- another number of groups at once ---- */

static int lines;
static char last_line[600];

static void keep_line(void *user, int level, const char *line)
{
    (void)user;
    if (level >= MOCO_LOG_WARN) {
        lines++;
        snprintf(last_line, sizeof last_line, "%s", line);
    }
}

/* A trainer that launches other groups at once takes the state, says so in one line, and is itself from there on. */
static void other_launches_are_taken_and_told(void **state)
{
    (void)state;
    struct rig saver, rig, twin;
    struct rig_spec spec = rig_spec();
    spec.trainer.groups_per_launch = 2;
    rig_open(&saver, &spec);
    rig_run(&saver, 0, 3);
    rig_ok(moco_trainer_save(saver.trainer, step_path(3), NULL));
    spec.context.log = keep_line;
    for (int wish = 0; wish < 5; wish++) { /* 0: all four */
        const char *name;
        spec.trainer.groups_per_launch = wish;
        rig_open(&rig, &spec);
        rig_open(&twin, &spec);
        lines = 0;
        rig_expect(moco_trainer_load(rig.trainer, scratch_path(&scratch_group, "nothing-here")), MOCO_EIO);
        assert_int_equal(lines, 0);
        rig_ok(moco_trainer_load(rig.trainer, step_path(3)));
        assert_int_equal(lines, wish != 2);
        if (wish != 2)
            assert_non_null(strstr(last_line, "groups_per_launch was 2 before step 3 and is "));
        for (int t = 0; (name = moco_trainer_tensor_name(rig.trainer, t)) != NULL; t++)
            if (strncmp(name, "grad.", 5) != 0 && rig_difference(&rig, &saver, name) != 0)
                fail_msg("%s was not taken", name);
        rig_run(&rig, 3, 4);
        rig_ok(moco_trainer_save(rig.trainer, step_path(4), NULL));
        lines = 0;
        rig_ok(moco_trainer_load(twin.trainer, step_path(4))); /* the same again: nothing to tell */
        assert_int_equal(lines, 0);
        rig_expect_equal(&rig, &twin);
        rig_close(&rig);
        rig_close(&twin);
    }
    rig_close(&saver);
}

/* Of 12 groups as many as divide them, and not more than are wanted; 3 of 4 is what 2 is. */
static void a_wish_for_launches_is_rounded_down(void **state)
{
    (void)state;
    static const int launches[] = {0, 12, 6, 4, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1};
    struct rig two, three;
    struct rig_spec spec = rig_spec();
    const char *name;
    spec.trainer.groups_per_launch = 2;
    rig_open(&two, &spec);
    spec.trainer.groups_per_launch = 3;
    rig_open(&three, &spec);
    rig_run(&two, 0, 2);
    rig_run(&three, 0, 2);
    for (int t = 0; (name = moco_trainer_tensor_name(two.trainer, t)) != NULL; t++)
        assert_true(rig_difference(&two, &three, name) == 0);
    moco_memory_estimate estimate;
    moco_memory_estimate_init(&estimate);
    spec.trainer.batch_size = 48;
    for (int wish = 1; wish < 14; wish++) {
        spec.trainer.groups_per_launch = wish < 13 ? wish : INT32_MAX;
        spec.trainer.precision = two.spec.trainer.precision;
        rig_ok(moco_trainer_estimate(two.device, &spec.model, spec.queue_length, &spec.trainer, &estimate));
        assert_int_equal(estimate.launches, launches[wish]);
    }
    rig_close(&two);
    rig_close(&three);
}

/* ---- files that do not fit ---- */

static void refuse(struct rig *rig, struct rig *twin, const char *path, moco_status status, const char *word)
{
    rig_expect(moco_trainer_load(rig->trainer, path), status);
    if (strstr(moco_error(), word) == NULL)
        fail_msg("the sentence does not say %s: %s", word, moco_error());
    rig_expect_equal(rig, twin);
}

static void another_configuration_is_named(void **state)
{
    (void)state;
    struct rig rig, twin;
    const struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    struct rig_spec other[10];
    const char *const words[10] = {"model.arch is resnet34 in the file and resnet18 here",
                                   "trainer.temperature is 0.07 in the file and 0.2 here",
                                   "trainer.queue_length is 41 in the file and 40 here",
                                   "trainer.seed is 6 in the file and 5 here",
                                   "model.dim is 8 in the file and 16 here",
                                   "trainer.symmetric is 1 in the file and 0 here",
                                   "trainer.negatives is batch in the file and queue here",
                                   "trainer.encoder_k is shared in the file and momentum here",
                                   "trainer.optimizer is lars in the file and sgd here",
                                   "trainer.trust_coefficient is 0.002 in the file and 0.001 here"};
    const char *const first[10] = {[6] = "trainer.negatives", [7] = "trainer.negatives"};
    for (int i = 0; i < 10; i++)
        other[i] = spec;
    other[0].model.arch = "resnet34";
    other[1].trainer.temperature = 0.07;
    other[2].queue_length = 41;
    other[3].trainer.seed = 6;
    other[4].model.dim = 8;
    other[5].trainer.symmetric = 1;
    other[6].trainer.negatives = MOCO_NEGATIVES_BATCH;
    rig_mechanism(&other[7], RIG_END_TO_END);
    other[8].trainer.optimizer = MOCO_OPTIMIZER_LARS;
    other[9].trainer.trust_coefficient = 0.002;
    for (int i = 0; i < 10; i++) {
        struct rig saver;
        rig_open(&saver, &other[i]);
        rig_ok(moco_trainer_save(saver.trainer, scratch_path(&scratch_group, "other"), NULL));
        refuse(&rig, &twin, scratch_path(&scratch_group, "other"), MOCO_EINVAL, first[i] != NULL ? first[i] : words[i]);
        rig_close(&saver);
    }
    rig_ok(moco_model_save(rig.model, scratch_path(&scratch_group, "encoder")));
    refuse(&rig, &twin, scratch_path(&scratch_group, "encoder"), MOCO_EFORMAT, "encoder, not a training state");
    refuse(&rig, &twin, scratch_path(&scratch_group, "nothing-here"), MOCO_EIO, "nothing-here");
    scratch_write(&scratch_group, "text", "This is no checkpoint at all.", 29);
    refuse(&rig, &twin, scratch_path(&scratch_group, "text"), MOCO_EFORMAT, "text");
    rig_close(&rig);
    rig_close(&twin);
}

static void damage_is_found_before_anything_changes(void **state)
{
    (void)state;
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 1);
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&scratch_group, "good"), "n"));
    rig_run(&rig, 1, 2);
    rig_run(&twin, 0, 2);
    size_t size;
    char *bytes = rig_read_file(scratch_path(&scratch_group, "good"), &size);
    for (size_t i = 0; i < 60; i++) {
        size_t at = i < 20 ? i * 97 : (i * 7919 * 131) % size; /* header and payload */
        bytes[at] ^= (char)(1 << i % 8);
        scratch_write(&scratch_group, "flipped", bytes, size);
        moco_status status = moco_trainer_load(rig.trainer, scratch_path(&scratch_group, "flipped"));
        if (status != MOCO_EFORMAT && status != MOCO_EINVAL)
            fail_msg("a flipped bit at byte %zu gives %d: %s", at, (int)status, moco_error());
        bytes[at] ^= (char)(1 << i % 8);
    }
    for (size_t i = 1; i < 8; i++) {
        scratch_write(&scratch_group, "short", bytes, size * i / 8);
        rig_expect(moco_trainer_load(rig.trainer, scratch_path(&scratch_group, "short")), MOCO_EFORMAT);
    }
    free(bytes);
    rig_expect_equal(&rig, &twin);
    rig_ok(moco_trainer_load(rig.trainer, scratch_path(&scratch_group, "good"))); /* it was the damage */
    rig_run(&rig, 1, 2);
    rig_expect_equal(&rig, &twin);
    rig_close(&rig);
    rig_close(&twin);
}

/* ---- what a file says, and what else reads it ---- */

static void a_checkpoint_describes_itself(void **state)
{
    (void)state;
    struct rig rig, again;
    struct rig_spec spec = rig_spec();
    spec.trainer.temperature = 0.07;
    spec.trainer.interleave = 1;
    spec.model.seed = UINT64_MAX - 4;
    spec.trainer.seed = UINT64_MAX - 5;
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 2);
    const char *path = scratch_path(&scratch_group, "described");
    rig_ok(moco_trainer_save(rig.trainer, path, "epoch \xc3\xa9t\xc3\xa9, \"quoted\"\n"));
    struct rig_spec read = {.context = spec.context};
    char note[64];
    moco_model_options_init(&read.model);
    moco_trainer_options_init(&read.trainer);
    rig_ok(
        moco_checkpoint_describe(rig.context, path, &read.model, &read.trainer, &read.queue_length, note, sizeof note));
    assert_string_equal(note, "epoch \xc3\xa9t\xc3\xa9, \"quoted\"\n");
    assert_string_equal(read.model.arch, "resnet18");
    assert_true(read.model.width == spec.model.width);
    assert_true(read.model.seed == spec.model.seed);
    assert_true(read.trainer.seed == spec.trainer.seed);
    assert_int_equal(read.queue_length, spec.queue_length);
    rig_ok(moco_checkpoint_describe(rig.context, path, NULL, NULL, NULL, NULL, 0));
    rig_expect(moco_checkpoint_describe(rig.context, path, NULL, NULL, NULL, note, 5), MOCO_ESHAPE);
    rig_open(&again, &read); /* enough to go on with */
    rig_ok(moco_trainer_load(again.trainer, path));
    rig_run(&rig, 2, 3);
    rig_run(&again, 2, 3);
    rig_expect_equal(&rig, &again);
    rig_expect(moco_trainer_save(rig.trainer, scratch_path(&scratch_group, "bad-note"), "\xff\xfe"), MOCO_EINVAL);
    rig_close(&rig);
    rig_close(&again);
}

/* Everything that a file can say of a mechanism comes back. */
static void mechanisms_are_described(void **state)
{
    (void)state;
    for (int m = 0; m < RIG_MECHANISMS; m++) {
        struct rig rig, again;
        struct rig_spec spec = rig_spec();
        rig_mechanism(&spec, m);
        rig_open(&rig, &spec);
        rig_run(&rig, 0, 1);
        rig_ok(moco_trainer_save(rig.trainer, scratch_path(&scratch_group, "mechanism"), NULL));
        struct rig_spec read = {.context = spec.context, .queue_length = -1};
        moco_model_options_init(&read.model);
        moco_trainer_options_init(&read.trainer);
        rig_ok(moco_checkpoint_describe(rig.context, scratch_path(&scratch_group, "mechanism"), &read.model,
                                        &read.trainer, &read.queue_length, NULL, 0));
        assert_int_equal(read.trainer.negatives, spec.trainer.negatives);
        assert_int_equal(read.trainer.encoder_k, spec.trainer.encoder_k);
        assert_int_equal(read.trainer.loss, spec.trainer.loss);
        assert_int_equal(read.trainer.optimizer, spec.trainer.optimizer);
        assert_true(read.trainer.trust_coefficient == spec.trainer.trust_coefficient);
        assert_string_equal(read.model.head, spec.model.head);
        assert_int_equal(read.model.zero_init, spec.model.zero_init);
        assert_int_equal(read.queue_length, m == RIG_MOCO ? spec.queue_length : 0);
        rig_open(&again, &read);
        rig_ok(moco_trainer_load(again.trainer, scratch_path(&scratch_group, "mechanism")));
        rig_run(&rig, 1, 2);
        rig_run(&again, 1, 2);
        rig_expect_equal(&rig, &again);
        rig_close(&rig);
        rig_close(&again);
    }
}

/* A state has what its mechanism has, and nothing else. */
static void names_follow_the_mechanism(void **state)
{
    (void)state;
    static const char *const names[] = {"queue",
                                        "queue_ptr",
                                        "encoder_k.conv1.weight",
                                        "encoder_q.conv1.weight",
                                        "momentum.encoder_q.conv1.weight",
                                        "grad.encoder_q.conv1.weight"};
    static const int has[RIG_MECHANISMS][6] = {
        {1, 1, 1, 1, 1, 1}, {0, 0, 1, 1, 1, 1}, {0, 0, 0, 1, 1, 1}, {0, 0, 0, 1, 1, 1}, {0, 0, 0, 1, 1, 1}};
    for (int m = 0; m < RIG_MECHANISMS; m++) {
        struct rig rig;
        struct rig_spec spec = rig_spec();
        rig_mechanism(&spec, m);
        rig_open(&rig, &spec);
        for (int i = 0; i < 6; i++) {
            int listed = 0;
            const char *name;
            for (int t = 0; (name = moco_trainer_tensor_name(rig.trainer, t)) != NULL; t++)
                listed += strcmp(name, names[i]) == 0;
            moco_tensor tensor;
            moco_tensor_init(&tensor);
            assert_int_equal(listed, has[m][i]);
            rig_expect(moco_trainer_get(rig.trainer, names[i], &tensor), has[m][i] ? MOCO_OK : MOCO_ENOTFOUND);
        }
        rig_close(&rig);
    }
}

static float *embed(moco_model *model, const uint8_t *images, int n, int size, int dim)
{
    float *out = calloc((size_t)n * (size_t)dim, sizeof *out);
    assert_non_null(out);
    moco_tensor in, rows;
    moco_tensor_init(&in);
    in.dtype = MOCO_U8;
    in.ndim = 4;
    in.shape[0] = n;
    in.shape[1] = in.shape[2] = size;
    in.shape[3] = 3;
    in.data = (void *)(uintptr_t)images;
    moco_tensor_init(&rows);
    rows.dtype = MOCO_F32;
    rows.ndim = 2;
    rows.shape[0] = n;
    rows.shape[1] = dim;
    rows.data = out;
    rig_ok(moco_model_embed(model, &in, MOCO_PROJECTION, &rows));
    return out;
}

static void a_trained_encoder_comes_out_of_any_file(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 3);
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&scratch_group, "training"), NULL));
    rig_ok(moco_model_save(rig.model, scratch_path(&scratch_group, "encoder")));
    float *ours = embed(rig.model, rig.view[0], 16, 16, 16);
    size_t bytes = 16 * 16 * sizeof *ours;
    moco_model *model;
    const char *const names[] = {"training", "encoder"};
    for (int i = 0; i < 2; i++) {
        rig_ok(moco_model_open(&model, rig.device, scratch_path(&scratch_group, names[i])));
        float *theirs = embed(model, rig.view[0], 16, 16, 16);
        assert_memory_equal(ours, theirs, bytes);
        free(theirs);
        rig_ok(moco_model_save(model, scratch_path(&scratch_group, "copy")));
        expect_same_file(scratch_path(&scratch_group, "encoder"), scratch_path(&scratch_group, "copy"));
        moco_model_free(model);
        spec.model.seed = 99;
        rig_ok(moco_model_create(&model, rig.device, &spec.model));
        float *before = embed(model, rig.view[0], 16, 16, 16);
        assert_memory_not_equal(ours, before, bytes);
        rig_ok(moco_model_load(model, scratch_path(&scratch_group, names[i])));
        theirs = embed(model, rig.view[0], 16, 16, 16);
        assert_memory_equal(ours, theirs, bytes);
        free(before);
        free(theirs);
        moco_model_free(model);
    }
    spec.model.head = "linear";
    rig_ok(moco_model_create(&model, rig.device, &spec.model));
    rig_expect(moco_model_load(model, scratch_path(&scratch_group, "encoder")), MOCO_ESHAPE);
    assert_non_null(strstr(moco_error(), "model.head is mlp in the file and linear here"));
    moco_model_free(model);
    /* Embedding between steps takes nothing from the training, and the model outlives its trainer. */
    struct rig twin;
    spec = rig_spec();
    rig_open(&twin, &spec);
    rig_run(&twin, 0, 4);
    rig_run(&rig, 3, 4);
    rig_expect_equal(&rig, &twin);
    float *later = embed(rig.model, rig.view[0], 16, 16, 16);
    assert_memory_not_equal(ours, later, bytes);
    moco_trainer_free(twin.trainer);
    twin.trainer = NULL;
    float *same = embed(twin.model, rig.view[0], 16, 16, 16);
    assert_memory_equal(later, same, bytes);
    free(ours);
    free(later);
    free(same);
    rig_close(&rig);
    rig_close(&twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopping_at_any_step_changes_no_byte),
        cmocka_unit_test(whatever_the_mechanism),
        cmocka_unit_test(mechanisms_are_described),
        cmocka_unit_test(names_follow_the_mechanism),
        cmocka_unit_test(the_same_in_bf16),
        cmocka_unit_test(state_that_is_set_by_name_is_used),
        cmocka_unit_test(another_precision_goes_on_if_it_is_named),
        cmocka_unit_test(two_runs_are_the_same_to_the_bit),
        cmocka_unit_test(other_launches_are_taken_and_told),
        cmocka_unit_test(a_wish_for_launches_is_rounded_down),
        cmocka_unit_test(another_configuration_is_named),
        cmocka_unit_test(damage_is_found_before_anything_changes),
        cmocka_unit_test(a_checkpoint_describes_itself),
        cmocka_unit_test(a_trained_encoder_comes_out_of_any_file),
    };
    return cmocka_run_group_tests(tests, scratch_group_make, scratch_group_remove);
}
