/* SPDX-License-Identifier: MIT
 *
 * test_ahead: a trainer that leaves its last step with the device (options.ahead) trains to the bits of one that waits,
 * in every mechanism, and whatever reads the state has that step land first. On the two devices of the tests that run behind
 * their caller, and on the device under test, where the option may have no effect. What becomes of a step that fails:
 * test_ahead_failures.c. What a reader would get wrong: batches are drawn into the same memory, so that every step's images
 * are overwritten while it is in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/ahead_rig.h"
#include "support/test_device.h"

#define STEPS 6
#define RATE 0.05
#define PATH_SIZE 320

/* ---- the same bits ---- */

/* NULL, or what differs from a trainer that waits. `lag`: the reports that are behind. */
static const char *check_same_bits(const struct rig_spec *spec, int lag)
{
    struct rig rig, twin;
    moco_step_report expected[STEPS], report;
    const char *found = NULL;
    ahead_open(&rig, &twin, *spec);
    moco_step_report_init(&report);
    for (int s = 0; s < STEPS; s++) {
        rig_run(&twin, s, s + 1);
        expected[s] = ahead_report(&twin);
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
        report = ahead_report(&rig);
        if (found == NULL && memcmp(&report, &expected[s - lag], sizeof report) != 0)
            found = "a report differs";
    }
    for (int twice = 0; twice < 2; twice++)
        if (moco_trainer_wait(rig.trainer) != MOCO_OK)
            found = "waiting fails";
    report = ahead_report(&rig);
    if (found == NULL && memcmp(&report, &expected[STEPS - 1], sizeof report) != 0)
        found = "the last report differs";
    if (found == NULL)
        rig_expect_equal(&rig, &twin);
    ahead_close(&rig, &twin);
    return found;
}

static void every_mechanism_trains_to_the_same_bits(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    for (int mechanism = 0; mechanism <= RIG_MECHANISMS; mechanism++) {
        struct rig_spec spec = ahead_spec(*device, mechanism);
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
        struct rig_spec spec = ahead_spec(devices[i], RIG_MOCO);
        assert_null(check_same_bits(&spec, test_device_is_behind(devices[i])));
    }
    struct rig_spec spec = ahead_spec("late", RIG_MOCO);
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
    struct rig_spec spec = ahead_spec("late", RIG_MOCO);
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
        struct rig_spec spec = ahead_spec(*device, RIG_MOCO);
        char path[PATH_SIZE];
        strcpy(path, scratch_path(&scratch_group, "ahead"));
        ahead_open(&rig, &twin, spec);
        for (int s = 0; s < STEPS; s += 2) {
            rig_run(&rig, s, s + 2);
            rig_ok(moco_trainer_save(rig.trainer, path, NULL));
            assert_int_equal(ahead_step(&rig), s + 2);
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
        ahead_close(&rig, &twin);
    }
}

static void whoever_looks_has_it_land(void **state)
{
    (void)state;
    for (int look = 0; look < LOOKS; look++) {
        struct rig rig, twin;
        double zeros[2] = {0, 0};
        ahead_open(&rig, &twin, ahead_spec("late", RIG_MOCO));
        for (int s = 0; s < 4; s++) {
            rig_run(&rig, s, s + 1);
            rig_run(&twin, s, s + 1);
            assert_int_equal(ahead_step(&rig), s);
            rig_ok(ahead_look_at(&rig, (enum ahead_look)look, zeros, &scratch_group));
            if (look == LOOK_SET)
                rig_ok(ahead_look_at(&twin, LOOK_SET, zeros, &scratch_group));
            if (ahead_step(&rig) != s + 1)
                fail_msg("look %d leaves step %d in flight", look, s);
        }
        rig_expect_equal(&rig, &twin);
        ahead_close(&rig, &twin);
    }
}

static void what_is_embedded_is_of_the_last_step(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        float rows[2][64] = {{0}, {0}};
        ahead_open(&rig, &twin, ahead_spec(*device, RIG_MOCO));
        for (int s = 0; s < 4; s++) {
            if (s % 2 == 1) /* folded weights are those of a step that has landed */
                rig_ok(moco_trainer_wait(rig.trainer));
            rig_ok(ahead_embed(&rig, rows[0]));
            rig_run(&rig, s, s + 1);
            rig_run(&twin, s, s + 1);
            rig_ok(ahead_embed(&rig, rows[0]));
            rig_ok(ahead_embed(&twin, rows[1]));
            assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
        }
        ahead_close(&rig, &twin);
    }
}

/* A model outlives its trainer, and has the last step. */
static void a_trainer_that_is_freed_has_it_land(void **state)
{
    (void)state;
    struct rig rig, twin;
    float rows[2][64] = {{0}, {0}};
    ahead_open(&rig, &twin, ahead_spec("late", RIG_MOCO));
    rig_run(&rig, 0, 3);
    rig_run(&twin, 0, 3);
    moco_trainer_free(rig.trainer);
    rig.trainer = NULL;
    rig_ok(ahead_embed(&rig, rows[0]));
    rig_ok(ahead_embed(&twin, rows[1]));
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    ahead_close(&rig, &twin);
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
    ahead_open(&rig, &twin, ahead_spec("late", RIG_MOCO));
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
            ahead_says(where);
        }
    }
    rig_run(&twin, 0, 8);
    rig_expect_equal(&rig, &twin);
    free(key);
    ahead_close(&rig, &twin);
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
    return scratch_path(&scratch_group, text);
}

static void *save_beside(void *user)
{
    struct beside *b = user;
    char path[PATH_SIZE];
    for (int i = 0; i < FILES && !b->failed; i++) {
        snprintf(path, sizeof path, "%s/beside%d", scratch_group.path, i);
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
    ahead_open(&rig, &twin, ahead_spec("late", RIG_SIMCLR));
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
    ahead_close(&rig, &twin);
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
        cmocka_unit_test(a_trainer_that_is_freed_has_it_land),
        cmocka_unit_test(key_views_may_come_apart_in_between),
        cmocka_unit_test(a_model_that_is_saved_beside_is_of_one_step),
    };
#ifdef __SANITIZE_THREAD__ /* the others have one thread, and take it many minutes */
    cmocka_set_test_filter("*_beside_*");
#endif
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, scratch_group_make, scratch_group_remove);
}
