/* SPDX-License-Identifier: MIT
 *
 * test_ahead: a trainer that leaves its last step with the device (options.ahead) trains to the bits of one that waits,
 * in every mechanism; whatever reads the state has that step land first; and a step that fails is told once, one call
 * late, with nothing changed and nothing left in flight. On the two devices of the tests that run behind their caller, and on the
 * device under test, where the option may have no effect. What a reader would get wrong: batches are drawn into the same
 * memory, so that every step's images are overwritten while it is in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

#define STEPS 6
#define RATE 0.05
#define PATH_SIZE 320

static const char *const behind[] = {"late", "cudasim:0"};
#define FOR_EACH_DEVICE(d) for (const char *const *d = behind; d < behind + 2; d++)

static struct scratch_folder folder;

static int make_folder(void **state)
{
    (void)state;
    scratch_folder_make(&folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    scratch_folder_remove(&folder);
    return 0;
}

/* Narrow, and one launch: what counts is the order of calls. */
static struct rig_spec spec_of(const char *device, int mechanism)
{
    struct rig_spec spec = rig_spec();
    spec.device = device;
    spec.model.width = 1.0 / 32;
    spec.trainer.groups_per_launch = 0;
    spec.trainer.ahead = 1;
    if (mechanism < RIG_MECHANISMS)
        rig_mechanism(&spec, mechanism);
    else
        spec.trainer.symmetric = 1;
    return spec;
}

/* Two trainers of one configuration, of which the twin waits for each step. */
static void open_pair(struct rig *rig, struct rig *twin, struct rig_spec spec)
{
    rig_open(rig, &spec);
    spec.trainer.ahead = 0;
    if (strcmp(spec.device, "late") == 0)
        spec.device = "ref"; /* whose bits it has, and none of the faults that are planted in it */
    rig_open(twin, &spec);
}

static void close_pair(struct rig *rig, struct rig *twin)
{
    rig_close(rig);
    rig_close(twin);
}

static moco_step_report report_of(struct rig *rig)
{
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig->trainer, &report));
    return report;
}

static int64_t step_of(struct rig *rig)
{
    int64_t step;
    rig_ok(moco_trainer_cursor(rig->trainer, &step, NULL, NULL));
    return step;
}

static void expect_says(const char *what)
{
    if (strstr(moco_error(), what) == NULL)
        fail_msg("the sentence does not say \"%s\": %s", what, moco_error());
}

/* ---- the same bits ---- */

/* NULL, or what differs from a trainer that waits. `lag`: the reports that are behind. */
static const char *check_same_bits(const struct rig_spec *spec, int lag)
{
    struct rig rig, twin;
    moco_step_report expected[STEPS], report;
    const char *found = NULL;
    open_pair(&rig, &twin, *spec);
    moco_step_report_init(&report);
    for (int s = 0; s < STEPS; s++) {
        rig_run(&twin, s, s + 1);
        expected[s] = report_of(&twin);
        if (rig_step(&rig, s) != MOCO_OK)
            found = "a step fails";
        int64_t epoch, position, step;
        rig_ok(moco_trainer_cursor(rig.trainer, &step, &epoch, &position));
        if (step != s + 1 - lag || (step > 0 && epoch != (step - 1) / 3) ||
            position != (step > 0 ? ((step - 1) % 3 + 1) * spec->trainer.batch_size : 0))
            found = "the cursor does not stand at the last step that has landed";
        if (s < lag) {
            rig_expect(moco_trainer_report(rig.trainer, &report), MOCO_ESTATE);
            continue;
        }
        report = report_of(&rig);
        if (found == NULL && memcmp(&report, &expected[s - lag], sizeof report) != 0)
            found = "a report differs";
    }
    for (int twice = 0; twice < 2; twice++)
        if (moco_trainer_wait(rig.trainer) != MOCO_OK)
            found = "waiting fails";
    report = report_of(&rig);
    if (found == NULL && memcmp(&report, &expected[STEPS - 1], sizeof report) != 0)
        found = "the last report differs";
    if (found == NULL)
        rig_expect_equal(&rig, &twin);
    close_pair(&rig, &twin);
    return found;
}

static void every_mechanism_trains_to_the_same_bits(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    for (int mechanism = 0; mechanism <= RIG_MECHANISMS; mechanism++) {
        struct rig_spec spec = spec_of(*device, mechanism);
        const char *found = check_same_bits(&spec, 1);
        if (found != NULL)
            fail_msg("%s, mechanism %d: %s", *device, mechanism, found);
    }
}

static void launch(void *user, int done, int of)
{
    (void)done;
    (void)of;
    ++*(int *)user;
}

/* A device that computes in the call, a trainer that is watched: as if the option were not given. */
static void where_it_has_no_effect_it_does_no_harm(void **state)
{
    (void)state;
    int calls = 0;
    const char *devices[2];
    for (int i = 0, n = test_devices(devices); i < n; i++) {
        struct rig_spec spec = spec_of(devices[i], RIG_MOCO);
        assert_null(check_same_bits(&spec, test_device_is_behind(devices[i])));
    }
    struct rig_spec spec = spec_of("late", RIG_MOCO);
    spec.trainer.progress = launch;
    spec.trainer.progress_user = &calls;
    assert_null(check_same_bits(&spec, 0));
    assert_int_equal(calls, 2 * 2 * STEPS); /* of two trainers */
}

static void a_device_says_whether_it_has_an_effect(void **state)
{
    (void)state;
    static const char *const names[] = {"ref", "late", "cudasim:0"};
    for (int i = 0; i < 3; i++) {
        moco_context *context;
        moco_device *device;
        moco_device_info info;
        moco_device_info_init(&info);
        rig_ok(moco_context_create(&context, NULL));
        rig_ok(moco_device_open(&device, context, names[i]));
        rig_ok(moco_device_describe(device, &info));
        assert_int_equal(info.ahead, i > 0);
        moco_device_free(device);
        moco_context_free(context);
    }
}

static void a_device_that_keeps_numbers_or_images_is_found(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of("late", RIG_MOCO);
    static const char *const faults[] = {"frozen", "old-input"};
    for (int i = 0; i < 2; i++) {
        setenv("MOCO_LATE_FAULT", faults[i], 1);
        const char *found = check_same_bits(&spec, 1);
        unsetenv("MOCO_LATE_FAULT");
        if (found == NULL || strcmp(found, "a report differs") != 0)
            fail_msg("%s: found %s", faults[i], found != NULL ? found : "nothing");
    }
}

/* ---- who has it land ---- */

/* After each step a file is that of the step, and a training that is read from it goes on to the same bytes, whatever was
 * in flight where it is read. */
static void a_checkpoint_has_the_step_in_flight(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin, other;
        struct rig_spec spec = spec_of(*device, RIG_MOCO);
        char path[PATH_SIZE];
        strcpy(path, scratch_path(&folder, "ahead"));
        open_pair(&rig, &twin, spec);
        for (int s = 0; s < STEPS; s += 2) {
            rig_run(&rig, s, s + 2);
            rig_ok(moco_trainer_save(rig.trainer, path, NULL));
            assert_int_equal(step_of(&rig), s + 2);
            rig_run(&twin, s, s + 2);
            rig_expect_equal(&rig, &twin);
            rig_open(&other, &spec);
            rig_run(&other, 40, 40 + s / 2);
            rig_ok(moco_trainer_load(other.trainer, path));
            rig_run(&other, s + 2, STEPS);
            rig_run(&twin, s + 2, STEPS);
            rig_expect_equal(&other, &twin);
            rig_ok(moco_trainer_load(twin.trainer, path));
            rig_close(&other);
        }
        close_pair(&rig, &twin);
    }
}

/* Every way to look at a state, of which each waits. */
enum look {
    LOOK_GET,
    LOOK_SET,
    LOOK_SAVE,
    LOOK_MODEL_GET,
    LOOK_MODEL_SAVE,
    LOOK_EMBED,
    LOOK_QUEUE,
    LOOK_QUEUE_STATE,
    LOOKS
};

static moco_status embed(struct rig *rig, float out[64])
{
    moco_tensor images, rows;
    moco_tensor_init(&images);
    moco_tensor_init(&rows);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = 2;
    images.shape[1] = images.shape[2] = 16;
    images.shape[3] = 3;
    images.data = rig->view[0];
    rows.dtype = MOCO_F32;
    rows.ndim = 2;
    rows.shape[0] = 2;
    rows.shape[1] = 16;
    rows.data = out;
    return moco_model_embed(rig->model, &images, MOCO_PROJECTION, &rows);
}

static moco_status look_at(struct rig *rig, enum look look, const double *same)
{
    static double values[40 * 16];
    static float rows[64];
    int64_t next;
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    tensor.dtype = MOCO_F64;
    tensor.ndim = 1;
    tensor.shape[0] = 2;
    tensor.data = values;
    switch (look) {
    case LOOK_GET:
        return moco_trainer_get(rig->trainer, "encoder_q.bn1.weight", &tensor);
    case LOOK_SET:
        memcpy(values, same, 2 * sizeof *same);
        return moco_trainer_set(rig->trainer, "encoder_k.bn1.bias", &tensor);
    case LOOK_SAVE:
        return moco_trainer_save(rig->trainer, scratch_path(&folder, "look"), NULL);
    case LOOK_MODEL_GET:
        return moco_model_get(rig->model, "bn1.weight", &tensor);
    case LOOK_MODEL_SAVE:
        return moco_model_save(rig->model, scratch_path(&folder, "look"));
    case LOOK_EMBED:
        return embed(rig, rows);
    case LOOK_QUEUE:
        tensor.ndim = 2;
        tensor.shape[0] = 16;
        tensor.shape[1] = 40;
        return moco_queue_get(rig->queue, &tensor);
    case LOOK_QUEUE_STATE:
        return moco_queue_state(rig->queue, NULL, &next, NULL);
    case LOOKS:
        break;
    }
    return MOCO_EINVAL;
}

/* Those of the trainer tell how a step in flight has failed. */
static int tells(enum look look)
{
    return look <= LOOK_SAVE;
}

static void whoever_looks_has_it_land(void **state)
{
    (void)state;
    for (int look = 0; look < LOOKS; look++) {
        struct rig rig, twin;
        double zeros[2] = {0, 0};
        open_pair(&rig, &twin, spec_of("late", RIG_MOCO));
        for (int s = 0; s < 4; s++) {
            rig_run(&rig, s, s + 1);
            rig_run(&twin, s, s + 1);
            assert_int_equal(step_of(&rig), s);
            rig_ok(look_at(&rig, (enum look)look, zeros));
            if (look == LOOK_SET)
                rig_ok(look_at(&twin, LOOK_SET, zeros));
            if (step_of(&rig) != s + 1)
                fail_msg("look %d leaves step %d in flight", look, s);
        }
        rig_expect_equal(&rig, &twin);
        close_pair(&rig, &twin);
    }
}

static void what_is_embedded_is_of_the_last_step(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        float rows[2][64] = {{0}, {0}};
        open_pair(&rig, &twin, spec_of(*device, RIG_MOCO));
        for (int s = 0; s < 4; s++) {
            if (s % 2 == 1) /* folded weights are those of a step that has landed */
                rig_ok(moco_trainer_wait(rig.trainer));
            rig_ok(embed(&rig, rows[0]));
            rig_run(&rig, s, s + 1);
            rig_run(&twin, s, s + 1);
            rig_ok(embed(&rig, rows[0]));
            rig_ok(embed(&twin, rows[1]));
            assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
        }
        close_pair(&rig, &twin);
    }
}

/* ---- a step that fails ---- */

/* Keys whose similarities overflow, until `good` are put back. The caller frees. */
static double *spoil(struct rig *rig)
{
    size_t count;
    double *good = rig_get(rig, "queue", &count), *huge = calloc(count, sizeof *huge);
    assert_non_null(huge);
    double largest = test_device_is_exact(rig->spec.device) ? 1e308 : 3e38;
    for (size_t i = 0; i < count; i++)
        huge[i] = good[i] < 0 ? -largest : largest;
    rig_set(rig, "queue", huge);
    free(huge);
    return good;
}

static struct rig_spec failing_spec(const char *device)
{
    struct rig_spec spec = spec_of(device, RIG_MOCO);
    spec.trainer.temperature = 1e-3;
    return spec;
}

static const char *told; /* by the log */

static void note_warning(void *user, int level, const char *text)
{
    (void)user;
    static char kept[600];
    if (level != MOCO_LOG_WARN || strstr(text, "nobody was told") == NULL)
        return;
    snprintf(kept, sizeof kept, "%s", text);
    told = kept;
}

/* Two good steps and a bad one, which is in flight. */
static double *fly_into_failure(struct rig *rig, struct rig *twin, struct rig_spec spec)
{
    open_pair(rig, twin, spec);
    rig_run(rig, 0, 2);
    rig_run(twin, 0, 2);
    double *good = spoil(rig);
    rig_run(rig, 2, 3);
    assert_int_equal(step_of(rig), 2);
    return good;
}

/* It has been told: nothing has changed, nothing is in flight, and training goes on as the twin's. */
static void expect_recovers(struct rig *rig, struct rig *twin, double *good)
{
    moco_step_report report = report_of(rig), expected = report_of(twin);
    assert_int_equal(step_of(rig), 2);
    assert_memory_equal(&report, &expected, sizeof report);
    rig_ok(moco_trainer_wait(rig->trainer)); /* told once */
    rig_set(rig, "queue", good);
    rig_expect_equal(rig, twin);
    rig_run(rig, 2, STEPS);
    rig_run(twin, 2, STEPS);
    rig_expect_equal(rig, twin);
    free(good);
    close_pair(rig, twin);
}

static void a_failure_is_told_by_the_next_step(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        double *good = fly_into_failure(&rig, &twin, failing_spec(*device));
        rig_expect(rig_step(&rig, 3), MOCO_ENUMERIC);
        expect_says("moco_trainer_step: the loss of step 2 is not finite");
        expect_recovers(&rig, &twin, good); /* the second batch was not used */
    }
}

static void or_by_who_waits_for_it(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        double *good = fly_into_failure(&rig, &twin, failing_spec(*device));
        rig_expect(moco_trainer_wait(rig.trainer), MOCO_ENUMERIC);
        expect_says("moco_trainer_wait: the loss of step 2 is not finite");
        expect_recovers(&rig, &twin, good);
    }
}

/* Those who cannot be told leave it for the trainer's next call. */
static void or_by_who_looks_at_the_state(void **state)
{
    (void)state;
    for (int look = 0; look < LOOKS; look++) {
        struct rig rig, twin;
        double *good = fly_into_failure(&rig, &twin, failing_spec("late")), zeros[2] = {0, 0};
        moco_status status = look_at(&rig, (enum look)look, zeros);
        rig_expect(status, tells((enum look)look) ? MOCO_ENUMERIC : MOCO_OK);
        if (look % 2 == 0 && !tells((enum look)look))
            rig_expect(moco_trainer_wait(rig.trainer), MOCO_ENUMERIC);
        else if (!tells((enum look)look))
            rig_expect(rig_step(&rig, 3), MOCO_ENUMERIC);
        expect_says("the loss of step 2 is not finite");
        expect_recovers(&rig, &twin, good);
    }
}

static void or_by_the_log_when_the_trainer_is_freed(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    for (int fails = 0; fails < 2; fails++) {
        struct rig rig, twin;
        struct rig_spec spec = failing_spec(*device);
        spec.context.log = note_warning;
        double *good = fly_into_failure(&rig, &twin, spec);
        if (!fails) {
            rig_expect(moco_trainer_wait(rig.trainer), MOCO_ENUMERIC);
            rig_set(&rig, "queue", good);
            rig_run(&rig, 2, 3);
        }
        free(good);
        told = NULL;
        close_pair(&rig, &twin);
        assert_true((told != NULL) == fails);
        assert_true(!fails || strstr(told, "the loss of step 2 is not finite") != NULL);
    }
}

/* A model outlives its trainer, and has the last step. */
static void a_trainer_that_is_freed_has_it_land(void **state)
{
    (void)state;
    struct rig rig, twin;
    float rows[2][64] = {{0}, {0}};
    open_pair(&rig, &twin, spec_of("late", RIG_MOCO));
    rig_run(&rig, 0, 3);
    rig_run(&twin, 0, 3);
    moco_trainer_free(rig.trainer);
    rig.trainer = NULL;
    rig_ok(embed(&rig, rows[0]));
    rig_ok(embed(&twin, rows[1]));
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    close_pair(&rig, &twin);
}

/* ---- a call that is wrong, and cancelling ---- */

static void a_call_that_fails_leaves_nothing_in_flight(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        open_pair(&rig, &twin, spec_of(*device, RIG_MOCO));
        rig_run(&rig, 0, 3);
        rig.batch.n++;
        rig_expect(moco_trainer_step(rig.trainer, &rig.batch, RATE), MOCO_ESHAPE);
        rig.batch.n--;
        assert_int_equal(step_of(&rig), 3);
        rig_run(&rig, 3, 4);
        rig_expect(moco_trainer_leave(rig.trainer, MOCO_EEND, NULL), MOCO_EEND);
        assert_int_equal(step_of(&rig), 4);
        rig_run(&rig, 4, 5);
        rig_expect(moco_trainer_step(rig.trainer, NULL, RATE), MOCO_EINVAL);
        assert_int_equal(step_of(&rig), 5);
        rig_run(&twin, 0, 5);
        rig_expect_equal(&rig, &twin);
        close_pair(&rig, &twin);
        /* If both fail, the earlier one is told. */
        double *good = fly_into_failure(&rig, &twin, failing_spec(*device));
        rig.batch.n++;
        rig_expect(moco_trainer_step(rig.trainer, &rig.batch, RATE), MOCO_ENUMERIC);
        rig.batch.n--;
        expect_recovers(&rig, &twin, good);
        good = fly_into_failure(&rig, &twin, failing_spec(*device));
        rig_expect(moco_trainer_leave(rig.trainer, MOCO_EEND, NULL), MOCO_ENUMERIC);
        expect_recovers(&rig, &twin, good);
    }
}

/* It takes effect once: on the step in flight if the device has not decided it yet, else on the next. */
static void a_cancel_drops_one_step(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    for (int landed = 0; landed < 2; landed++) {
        struct rig rig, twin;
        open_pair(&rig, &twin, spec_of(*device, RIG_MOCO));
        rig_run(&rig, 0, 3);
        if (landed)
            rig_ok(moco_trainer_wait(rig.trainer));
        moco_trainer_cancel(rig.trainer);
        rig_expect(rig_step(&rig, 3), MOCO_ECANCELED);
        expect_says(" was cancelled; nothing of it was committed");
        int64_t step = step_of(&rig);
        assert_true(step == 3 || (step == 2 && !landed));
        rig_run(&rig, step, STEPS);
        rig_ok(moco_trainer_wait(rig.trainer));
        rig_run(&twin, 0, STEPS);
        rig_expect_equal(&rig, &twin);
        close_pair(&rig, &twin);
    }
}

/* The same while other calls wait for the step. */
static void a_cancel_is_told_by_who_waits(void **state)
{
    (void)state;
    for (int look = 0; look < LOOKS; look++) {
        struct rig rig, twin;
        double zeros[2] = {0, 0};
        open_pair(&rig, &twin, spec_of("late", RIG_MOCO));
        rig_run(&rig, 0, 3);
        moco_trainer_cancel(rig.trainer);
        moco_status status = look_at(&rig, (enum look)look, zeros);
        rig_expect(status, tells((enum look)look) ? MOCO_ECANCELED : MOCO_OK);
        if (!tells((enum look)look))
            rig_expect(rig_step(&rig, 3), MOCO_ECANCELED);
        expect_says("step 2 was cancelled");
        rig_run(&rig, 2, STEPS);
        rig_run(&twin, 0, STEPS);
        rig_expect_equal(&rig, &twin);
        close_pair(&rig, &twin);
    }
}

/* ---- steps that must not be left ---- */

/* Key views apart and together: other calls are recorded from there on, and those apart are of the right step. */
static void key_views_may_come_apart_in_between(void **state)
{
    (void)state;
    struct rig rig, twin;
    size_t image = (size_t)16 * 16 * 3;
    int32_t place[16];
    uint8_t *key = malloc(16 * image);
    assert_non_null(key);
    open_pair(&rig, &twin, spec_of("late", RIG_MOCO));
    for (int s = 0; s < 8; s++) {
        moco_batch batch;
        rig_draw(&rig, s);
        batch = rig.batch;
        if (s % 4 >= 2) {
            rig_ok(moco_shuffle_permutation(rig.spec.trainer.seed, s, 0, 16, place));
            for (int p = 0; p < 16; p++)
                memcpy(key + (size_t)p * image, rig.view[1] + (size_t)place[p] * image, image);
            batch.key[0] = key;
            batch.key_step = s;
            batch.key_seed = rig.spec.trainer.seed;
        }
        rig_ok(moco_trainer_step(rig.trainer, &batch, RATE));
        if (batch.key[0] != NULL) { /* those of the step in flight are too late */
            rig_expect(moco_trainer_step(rig.trainer, &batch, RATE), MOCO_ESTATE);
            char where[80];
            snprintf(where, sizeof where, "at epoch %d, position %d, step %d", s / 3, (s % 3 + 1) * 16, s + 1);
            expect_says(where);
        }
    }
    rig_run(&twin, 0, 8);
    rig_expect_equal(&rig, &twin);
    free(key);
    close_pair(&rig, &twin);
}

/* A rate at which the update may overflow: the step looks before it updates, and its batch is still there. */
static void a_careful_step_fails_at_once(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        open_pair(&rig, &twin, spec_of(*device, RIG_MOCO));
        rig_run(&rig, 0, 3);
        rig_run(&twin, 0, 3);
        double largest = test_device_is_exact(*device) ? 1.7e308 : 3.4e38;
        rig_draw(&rig, 3);
        rig_draw(&twin, 3);
        moco_status expected = moco_trainer_step(twin.trainer, &twin.batch, largest);
        rig_expect(moco_trainer_step(rig.trainer, &rig.batch, largest), expected);
        rig_ok(moco_trainer_wait(rig.trainer));
        rig_expect_equal(&rig, &twin);
        close_pair(&rig, &twin);
    }
}

/* Steps 0 to 2, and step 3 with a rate at which its gradient is above the bound of a step in flight, and below that of one
 * that is waited for. */
static double fly_too_high(struct rig *rig, struct rig *twin, const char *device)
{
    open_pair(rig, twin, spec_of(device, RIG_MOCO));
    rig_run(rig, 0, 3);
    rig_run(twin, 0, 3);
    double rate = (test_device_is_exact(device) ? 0x1p1020 : 0x1p124) * 0x1p-20 * 64 / report_of(twin).grad_norm;
    rig_draw(rig, 3);
    rig_ok(moco_trainer_step(rig->trainer, &rig->batch, rate));
    return rate;
}

/* Nobody has the batch any more, so that it is asked for once more. */
static void a_gradient_that_is_too_large_in_flight_is_asked_for_again(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        double rate = fly_too_high(&rig, &twin, *device);
        rig_expect(rig_step(&rig, 4), MOCO_ENUMERIC);
        expect_says("the gradient of step 3 is so large that its update may overflow");
        rig_expect_equal(&rig, &twin);
        rig_draw(&rig, 3);
        rig_draw(&twin, 3);
        rig_ok(moco_trainer_step(rig.trainer, &rig.batch, rate));
        rig_ok(moco_trainer_wait(rig.trainer));
        rig_ok(moco_trainer_step(twin.trainer, &twin.batch, rate));
        rig_expect_equal(&rig, &twin);
        close_pair(&rig, &twin);
    }
}

/* The step behind a failed one must not commit; of a device that does it all the same the trainer says so. */
static void a_device_that_commits_behind_a_failure_is_found(void **state)
{
    (void)state;
    struct rig rig, twin;
    setenv("MOCO_LATE_FAULT", "forgets", 1);
    fly_too_high(&rig, &twin, "late");
    unsetenv("MOCO_LATE_FAULT");
    rig_expect(rig_step(&rig, 4), MOCO_ESTATE);
    expect_says("the step behind step 3 was committed, though that one was not");
    rig_expect(rig_step(&rig, 4), MOCO_ESTATE);
    expect_says("load a checkpoint");
    close_pair(&rig, &twin);
}

/* ---- fp16 ---- */

/* A step behind one that overflowed has the wrong scale and does nothing: it is done again, and all bits are those of a
 * training that waits. */
static void a_step_behind_a_skipped_one_is_done_again(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin, other;
        struct rig_spec spec = spec_of(*device, RIG_MOCO);
        spec.trainer.precision = MOCO_PRECISION_F16;
        open_pair(&rig, &twin, spec);
        rig_open(&other, &spec);
        int s = 0;
        for (int committed = 0; committed < 4 && s < 30; s++) {
            rig_run(&twin, s, s + 1);
            moco_step_report expected = report_of(&twin), report;
            committed = (int)(s + 1 - expected.skipped);
            rig_run(&rig, s, s + 1);
            rig_run(&other, s, s + 1);
            if (s % 3 == 2) { /* some of those in flight are waited for */
                rig_ok(moco_trainer_wait(rig.trainer));
                report = report_of(&rig);
                assert_memory_equal(&report, &expected, sizeof report);
                rig_expect_equal(&rig, &twin);
            }
        }
        assert_true(report_of(&twin).skipped > 2 && s < 30);
        rig_ok(moco_trainer_wait(rig.trainer));
        moco_step_report report = report_of(&rig), expected = report_of(&twin);
        assert_memory_equal(&report, &expected, sizeof report);
        rig_expect_equal(&rig, &twin);
        rig_expect_equal(&other, &twin);
        rig_close(&other);
        close_pair(&rig, &twin);
    }
}

/* ---- beside other threads ---- */

#define FILES 12

struct beside {
    struct rig *rig;
    _Atomic int over;
    int files, failed;
    char sentence[300];
};

static const char *file_of(const char *name, int i)
{
    char text[40];
    snprintf(text, sizeof text, "%s%d", name, i);
    return scratch_path(&folder, text);
}

static void *save_beside(void *user)
{
    struct beside *b = user;
    char path[PATH_SIZE];
    for (int i = 0; i < FILES && !b->failed; i++) {
        snprintf(path, sizeof path, "%s/beside%d", folder.path, i);
        b->failed = moco_model_save(b->rig->model, path) != MOCO_OK;
        if (b->failed)
            snprintf(b->sentence, sizeof b->sentence, "%.290s", moco_error());
        b->files += !b->failed;
    }
    atomic_store(&b->over, 1);
    return NULL;
}

static int same_files(const char *a, const char *b)
{
    size_t na, nb;
    char *x = rig_read_file(a, &na), *y = rig_read_file(b, &nb);
    int same = na == nb && memcmp(x, y, na) == 0;
    free(x);
    free(y);
    return same;
}

/* What another thread saves of the model is the state after a whole step, weights, statistics and counts together. */
static void a_model_that_is_saved_beside_is_of_one_step(void **state)
{
    (void)state;
    struct rig rig, twin;
    enum { MOST = 200 };
    static char states[MOST][PATH_SIZE];
    pthread_t thread;
    open_pair(&rig, &twin, spec_of("late", RIG_SIMCLR));
    struct beside b = {.rig = &rig};
    assert_int_equal(pthread_create(&thread, NULL, save_beside, &b), 0);
    int steps = 0;
    while (steps < MOST - 1 && (!atomic_load(&b.over) || steps < 3))
        rig_run(&rig, steps, steps + 1), steps++;
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (b.failed)
        fail_msg("a model could not be saved beside the steps: %s", b.sentence);
    for (int s = 0; s <= steps; s++) {
        snprintf(states[s], sizeof states[s], "%s", file_of("state", s));
        rig_ok(moco_model_save(twin.model, states[s]));
        if (s < steps)
            rig_run(&twin, s, s + 1);
    }
    int last = 0;
    for (int i = 0; i < b.files; i++) {
        int at = last;
        while (at <= steps && !same_files(file_of("beside", i), states[at]))
            at++;
        if (at > steps)
            fail_msg("file %d is of no step at or behind step %d", i, last);
        last = at;
    }
    rig_expect_equal(&rig, &twin);
    close_pair(&rig, &twin);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mechanism_trains_to_the_same_bits),
        cmocka_unit_test(where_it_has_no_effect_it_does_no_harm),
        cmocka_unit_test(a_device_says_whether_it_has_an_effect),
        cmocka_unit_test(a_device_that_keeps_numbers_or_images_is_found),
        cmocka_unit_test(a_checkpoint_has_the_step_in_flight),
        cmocka_unit_test(whoever_looks_has_it_land),
        cmocka_unit_test(what_is_embedded_is_of_the_last_step),
        cmocka_unit_test(a_failure_is_told_by_the_next_step),
        cmocka_unit_test(or_by_who_waits_for_it),
        cmocka_unit_test(or_by_who_looks_at_the_state),
        cmocka_unit_test(or_by_the_log_when_the_trainer_is_freed),
        cmocka_unit_test(a_trainer_that_is_freed_has_it_land),
        cmocka_unit_test(a_call_that_fails_leaves_nothing_in_flight),
        cmocka_unit_test(a_cancel_drops_one_step),
        cmocka_unit_test(a_cancel_is_told_by_who_waits),
        cmocka_unit_test(key_views_may_come_apart_in_between),
        cmocka_unit_test(a_careful_step_fails_at_once),
        cmocka_unit_test(a_gradient_that_is_too_large_in_flight_is_asked_for_again),
        cmocka_unit_test(a_device_that_commits_behind_a_failure_is_found),
        cmocka_unit_test(a_step_behind_a_skipped_one_is_done_again),
        cmocka_unit_test(a_model_that_is_saved_beside_is_of_one_step),
    };
#ifdef __SANITIZE_THREAD__ /* the others have one thread, and take it many minutes */
    cmocka_set_test_filter("*_beside_*");
#endif
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
