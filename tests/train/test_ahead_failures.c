/* SPDX-License-Identifier: MIT
 *
 * test_ahead_failures: a step that was left with the device (options.ahead, test_ahead.c) and fails is told once, one call
 * late, with nothing changed and nothing left in flight; the step behind it has done nothing; and what must not be left with the
 * device is not. On the two devices of the tests that run behind their caller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/ahead_rig.h"
#include "support/test_device.h"

#define STEPS 6
#define RATE 0.05

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
    struct rig_spec spec = ahead_spec(device, RIG_MOCO);
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
    ahead_open(rig, twin, spec);
    rig_run(rig, 0, 2);
    rig_run(twin, 0, 2);
    double *good = spoil(rig);
    rig_run(rig, 2, 3);
    assert_int_equal(ahead_step(rig), 2);
    return good;
}

/* It has been told: nothing has changed, nothing is in flight, and training goes on as the twin's. */
static void expect_recovers(struct rig *rig, struct rig *twin, double *good)
{
    moco_step_report report = ahead_report(rig), expected = ahead_report(twin);
    assert_int_equal(ahead_step(rig), 2);
    assert_memory_equal(&report, &expected, sizeof report);
    rig_ok(moco_trainer_wait(rig->trainer)); /* told once */
    rig_set(rig, "queue", good);
    rig_expect_equal(rig, twin);
    rig_run(rig, 2, STEPS);
    rig_run(twin, 2, STEPS);
    rig_expect_equal(rig, twin);
    free(good);
    ahead_close(rig, twin);
}

static void a_failure_is_told_by_the_next_step(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        double *good = fly_into_failure(&rig, &twin, failing_spec(*device));
        rig_expect(rig_step(&rig, 3), MOCO_ENUMERIC);
        ahead_says("moco_trainer_step: the loss of step 2 is not finite");
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
        ahead_says("moco_trainer_wait: the loss of step 2 is not finite");
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
        moco_status status = ahead_look_at(&rig, (enum ahead_look)look, zeros, &scratch_group);
        rig_expect(status, ahead_tells((enum ahead_look)look) ? MOCO_ENUMERIC : MOCO_OK);
        if (look % 2 == 0 && !ahead_tells((enum ahead_look)look))
            rig_expect(moco_trainer_wait(rig.trainer), MOCO_ENUMERIC);
        else if (!ahead_tells((enum ahead_look)look))
            rig_expect(rig_step(&rig, 3), MOCO_ENUMERIC);
        ahead_says("the loss of step 2 is not finite");
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
        ahead_close(&rig, &twin);
        assert_true((told != NULL) == fails);
        assert_true(!fails || strstr(told, "the loss of step 2 is not finite") != NULL);
    }
}

/* ---- a call that is wrong, and cancelling ---- */

static void a_call_that_fails_leaves_nothing_in_flight(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        ahead_open(&rig, &twin, ahead_spec(*device, RIG_MOCO));
        rig_run(&rig, 0, 3);
        rig.batch.n++;
        rig_expect(moco_trainer_step(rig.trainer, &rig.batch, RATE), MOCO_ESHAPE);
        rig.batch.n--;
        assert_int_equal(ahead_step(&rig), 3);
        rig_run(&rig, 3, 4);
        rig_expect(moco_trainer_leave(rig.trainer, MOCO_EEND, NULL), MOCO_EEND);
        assert_int_equal(ahead_step(&rig), 4);
        rig_run(&rig, 4, 5);
        rig_expect(moco_trainer_step(rig.trainer, NULL, RATE), MOCO_EINVAL);
        assert_int_equal(ahead_step(&rig), 5);
        rig_run(&twin, 0, 5);
        rig_expect_equal(&rig, &twin);
        ahead_close(&rig, &twin);
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
        ahead_open(&rig, &twin, ahead_spec(*device, RIG_MOCO));
        rig_run(&rig, 0, 3);
        if (landed)
            rig_ok(moco_trainer_wait(rig.trainer));
        moco_trainer_cancel(rig.trainer);
        rig_expect(rig_step(&rig, 3), MOCO_ECANCELED);
        ahead_says(" was cancelled; nothing of it was committed");
        int64_t step = ahead_step(&rig);
        assert_true(step == 3 || (step == 2 && !landed));
        rig_run(&rig, step, STEPS);
        rig_ok(moco_trainer_wait(rig.trainer));
        rig_run(&twin, 0, STEPS);
        rig_expect_equal(&rig, &twin);
        ahead_close(&rig, &twin);
    }
}

/* The same while other calls wait for the step. */
static void a_cancel_is_told_by_who_waits(void **state)
{
    (void)state;
    for (int look = 0; look < LOOKS; look++) {
        struct rig rig, twin;
        double zeros[2] = {0, 0};
        ahead_open(&rig, &twin, ahead_spec("late", RIG_MOCO));
        rig_run(&rig, 0, 3);
        moco_trainer_cancel(rig.trainer);
        moco_status status = ahead_look_at(&rig, (enum ahead_look)look, zeros, &scratch_group);
        rig_expect(status, ahead_tells((enum ahead_look)look) ? MOCO_ECANCELED : MOCO_OK);
        if (!ahead_tells((enum ahead_look)look))
            rig_expect(rig_step(&rig, 3), MOCO_ECANCELED);
        ahead_says("step 2 was cancelled");
        rig_run(&rig, 2, STEPS);
        rig_run(&twin, 0, STEPS);
        rig_expect_equal(&rig, &twin);
        ahead_close(&rig, &twin);
    }
}

/* ---- steps that must not be left ---- */

/* A rate at which the update may overflow: the step looks before it updates, and its batch is still there. */
static void a_careful_step_fails_at_once(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig rig, twin;
        ahead_open(&rig, &twin, ahead_spec(*device, RIG_MOCO));
        rig_run(&rig, 0, 3);
        rig_run(&twin, 0, 3);
        double largest = test_device_is_exact(*device) ? 1.7e308 : 3.4e38;
        rig_draw(&rig, 3);
        rig_draw(&twin, 3);
        moco_status expected = moco_trainer_step(twin.trainer, &twin.batch, largest);
        rig_expect(moco_trainer_step(rig.trainer, &rig.batch, largest), expected);
        rig_ok(moco_trainer_wait(rig.trainer));
        rig_expect_equal(&rig, &twin);
        ahead_close(&rig, &twin);
    }
}

/* Steps 0 to 2, and step 3 with a rate at which its gradient is above the bound of a step in flight, and below that of one
 * that is waited for. */
static double fly_too_high(struct rig *rig, struct rig *twin, const char *device)
{
    ahead_open(rig, twin, ahead_spec(device, RIG_MOCO));
    rig_run(rig, 0, 3);
    rig_run(twin, 0, 3);
    double rate = (test_device_is_exact(device) ? 0x1p1020 : 0x1p124) * 0x1p-20 * 64 / ahead_report(twin).grad_norm;
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
        ahead_says("the gradient of step 3 is so large that its update may overflow");
        rig_expect_equal(&rig, &twin);
        rig_draw(&rig, 3);
        rig_draw(&twin, 3);
        rig_ok(moco_trainer_step(rig.trainer, &rig.batch, rate));
        rig_ok(moco_trainer_wait(rig.trainer));
        rig_ok(moco_trainer_step(twin.trainer, &twin.batch, rate));
        rig_expect_equal(&rig, &twin);
        ahead_close(&rig, &twin);
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
    ahead_says("the step behind step 3 was committed, though that one was not");
    rig_expect(rig_step(&rig, 4), MOCO_ESTATE);
    ahead_says("load a checkpoint");
    ahead_close(&rig, &twin);
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
        struct rig_spec spec = ahead_spec(*device, RIG_MOCO);
        spec.trainer.precision = MOCO_PRECISION_F16;
        ahead_open(&rig, &twin, spec);
        rig_open(&other, &spec);
        int s = 0;
        for (int committed = 0; committed < 4 && s < 30; s++) {
            rig_run(&twin, s, s + 1);
            moco_step_report expected = ahead_report(&twin), report;
            committed = (int)(s + 1 - expected.skipped);
            rig_run(&rig, s, s + 1);
            rig_run(&other, s, s + 1);
            if (s % 3 == 2) { /* some of those in flight are waited for */
                rig_ok(moco_trainer_wait(rig.trainer));
                report = ahead_report(&rig);
                assert_memory_equal(&report, &expected, sizeof report);
                rig_expect_equal(&rig, &twin);
            }
        }
        assert_true(ahead_report(&twin).skipped > 2 && s < 30);
        rig_ok(moco_trainer_wait(rig.trainer));
        moco_step_report report = ahead_report(&rig), expected = ahead_report(&twin);
        assert_memory_equal(&report, &expected, sizeof report);
        rig_expect_equal(&rig, &twin);
        rig_expect_equal(&other, &twin);
        rig_close(&other);
        ahead_close(&rig, &twin);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_told_by_the_next_step),
        cmocka_unit_test(or_by_who_waits_for_it),
        cmocka_unit_test(or_by_who_looks_at_the_state),
        cmocka_unit_test(or_by_the_log_when_the_trainer_is_freed),
        cmocka_unit_test(a_call_that_fails_leaves_nothing_in_flight),
        cmocka_unit_test(a_cancel_drops_one_step),
        cmocka_unit_test(a_cancel_is_told_by_who_waits),
        cmocka_unit_test(a_careful_step_fails_at_once),
        cmocka_unit_test(a_gradient_that_is_too_large_in_flight_is_asked_for_again),
        cmocka_unit_test(a_device_that_commits_behind_a_failure_is_found),
        cmocka_unit_test(a_step_behind_a_skipped_one_is_done_again),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, scratch_group_make, scratch_group_remove);
}
