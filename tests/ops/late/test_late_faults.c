/* SPDX-License-Identifier: MIT
 *
 * test_late_faults: what the device "late" is for. Each promise of the contract about time and memory is a check that
 * passes on the sound device, and that fails, with its own sentence, on a device or a caller with the fault planted
 * against which it is there. What a reader would get wrong: a check answers NULL or what it found, rather than failing
 * the test, since finding is what half of the tests want. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/late/late_device.h"
#include "support/rigs/step_rig.h"

enum { STEPS = 6 };

#define OK STEP_OK

static void open_late(struct step_rig *r, enum late_fault fault, int replay)
{
    step_rig_open(r, &backend_late, replay);
    OK(r->be->sync(r->dev, &err)); /* what the rig was filled from is gone by now */
    late_plant(r->dev, fault);
}

static void expect(const char *found, const char *wanted)
{
    if (wanted == NULL && found != NULL)
        fail_msg("found on a sound device: %s", found);
    if (wanted != NULL && (found == NULL || strcmp(found, wanted) != 0))
        fail_msg("found %s instead of %s", found != NULL ? found : "nothing", wanted);
}

/* ---- ref and late, step by step ---- */

/* `ahead`: the next step is given before the outcome of the last one is fetched. */
static const char *check_equals_ref(enum late_fault fault, int replay, int ahead, int verdict)
{
    struct step_rig ref, late;
    struct be_outcome expected[STEPS];
    const char *found = NULL;
    step_rig_open(&ref, &backend_ref, replay);
    open_late(&late, fault, replay);
    struct step_rig_how how = {.verdict = verdict};
    for (int s = 0; s < STEPS; s++) {
        step_rig_step(&ref, s, &how);
        expected[s] = step_rig_outcome(&ref);
        assert_true(expected[s].committed);
    }
    for (int s = 0, told = 0; told < STEPS; s++) {
        if (s < STEPS) {
            step_rig_step(&late, s, &how);
            assert_int_equal(how.skipped, replay && s >= 2);
        }
        if (ahead && s == 0)
            continue;
        struct be_outcome o = step_rig_outcome(&late);
        if (found == NULL && !step_rig_same_outcome(&o, &expected[told]))
            found = "an outcome differs";
        told++;
    }
    assert_int_equal(late_repeats(late.dev), replay ? 2 * (STEPS - 2) : 0);
    if (found == NULL && !step_rig_same_state(&ref, &late))
        found = "the state differs";
    step_rig_close(&ref);
    step_rig_close(&late);
    return found;
}

static void it_trains_as_ref_to_the_bit(void **state)
{
    (void)state;
    for (int replay = 0; replay < 2; replay++)
        for (int ahead = 0; ahead < 2; ahead++)
            expect(check_equals_ref(LATE_SOUND, replay, ahead, 0), NULL);
    expect(check_equals_ref(LATE_SOUND, 1, 0, 1), NULL);
}

static void a_scalar_frozen_by_replay_is_found(void **state)
{
    (void)state;
    expect(check_equals_ref(LATE_FROZEN, 1, 1, 0), "an outcome differs");
    expect(check_equals_ref(LATE_FROZEN, 0, 1, 0), NULL); /* nothing is repeated */
}

static void input_frozen_by_replay_is_found(void **state)
{
    (void)state;
    expect(check_equals_ref(LATE_OLD_INPUT, 1, 1, 0), "an outcome differs");
}

/* ---- host memory ---- */

static const char *check_arrays_are_read_at_once(enum late_fault fault)
{
    struct step_rig r;
    double values[64], back[64];
    const char *found = NULL;
    int param = 0;
    open_late(&r, fault, 0);
    for (int i = 0; i < 64; i++)
        values[i] = i + 1;
    OK(r.be->write(r.dev, r.queue.at, values, sizeof values, &err));
    memset(values, 0, sizeof values);
    OK(r.be->read(r.dev, back, r.queue.at, sizeof back, &err));
    if (back[63] != 64)
        found = "write has not read its array when it returns";
    while (r.graph->params[param].count > 64)
        param++;
    for (int i = 0; i < 64; i++)
        values[i] = i + 1;
    OK(r.be->param_set(r.layout, r.q.at, param, values, &err));
    memset(values, 0, sizeof values);
    OK(r.be->param_get(r.layout, r.q.at, param, back, &err));
    if (found == NULL && back[0] != 1)
        found = "param_set has not read its array when it returns";
    step_rig_close(&r);
    return found;
}

static void a_host_array_reused_too_early_is_found(void **state)
{
    (void)state;
    expect(check_arrays_are_read_at_once(LATE_SOUND), NULL);
    expect(check_arrays_are_read_at_once(LATE_BORROWS), "write has not read its array when it returns");
}

static void a_caller_that_changes_its_images_within_the_step_is_refused(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    int skip;
    open_late(&r, LATE_SOUND, 0);
    step_rig_draw(&r, 0, &scalars, ranges);
    OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
    OK(step_rig_work(&r, &at, &err));
    OK(r.be->decide(r.program, NULL, 0, &skip, &err));
    OK(step_rig_commit(&r, &err));
    r.view[0][100] ^= 1;
    STEP_REFUSED(r.be->program_end(r.program, &err), MOCO_EINVAL, "changed between program_begin and program_end");
    r.be->program_drop(r.program);
    step_rig_close(&r);
}

/* How the child ends that does this with device memory. */
static int signal_of(void (*touch)(struct step_rig *r, const struct be_input *at), struct step_rig *r,
                     const struct be_input *at)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own */
        touch(r, at);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static double sum;

static void touch_nothing(struct step_rig *r, const struct be_input *at)
{
    sum += r->graph->stat_total + (at->index != NULL);
}

/* A caller as there were: the norm of a gradient, summed on the host. */
static void touch_gradient(struct step_rig *r, const struct be_input *at)
{
    (void)at;
    for (size_t i = 0; i < r->gradients.bytes / sizeof(double); i++)
        sum += ((const volatile double *)r->gradients.at)[i];
}

static void touch_queue(struct step_rig *r, const struct be_input *at)
{
    (void)at;
    *(volatile double *)r->queue.at = 1;
}

static void touch_input(struct step_rig *r, const struct be_input *at)
{
    (void)r;
    sum += *(const volatile int32_t *)at->index + *(const volatile uint8_t *)at->view[1];
}

static void host_access_to_device_memory_is_fatal(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    int skip;
    open_late(&r, LATE_SOUND, 0);
    step_rig_draw(&r, 0, &scalars, ranges);
    OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
    OK(step_rig_work(&r, &at, &err));
    for (int done = 0; done < 2; done++) {
        assert_int_equal(signal_of(touch_nothing, &r, &at), 0);
        assert_int_equal(signal_of(touch_gradient, &r, &at), SIGSEGV);
        assert_int_equal(signal_of(touch_queue, &r, &at), SIGSEGV);
        assert_int_equal(signal_of(touch_input, &r, &at), SIGSEGV);
        OK(r.be->sync(r.dev, &err)); /* nor after it was open to the device */
    }
    step_rig_close(&r);
}

/* ---- the verdict ---- */

/* First eager, then recorded, then repeated. */
static const char *check_findings_stop_the_commit(enum late_fault fault)
{
    struct step_rig r;
    open_late(&r, fault, 1);
    const char *found = step_rig_finding_stops(&r, 4);
    step_rig_close(&r);
    return found;
}

static void a_commit_without_verdict_is_found(void **state)
{
    (void)state;
    expect(check_findings_stop_the_commit(LATE_SOUND), NULL);
    expect(check_findings_stop_the_commit(LATE_NO_VERDICT), "a step commits against its verdict");
}

static void a_caller_that_commits_without_decide_is_refused(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    struct be_outcome o;
    int skip, known;
    open_late(&r, LATE_SOUND, 1);
    step_rig_draw(&r, 0, &scalars, ranges);
    OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
    OK(step_rig_work(&r, &at, &err));
    STEP_REFUSED(step_rig_commit(&r, &err), MOCO_ESTATE, "sgd belongs between decide and program_end");
    STEP_REFUSED(r.be->program_end(r.program, &err), MOCO_ESTATE, "behind decide");
    STEP_REFUSED(r.be->outcome(r.program, 1, &known, &o, &err), MOCO_ESTATE, "no step has ended");
    struct be_sgd trial = {.p = r.q.at, .g = r.gradients.at, .v = r.momentum.at, .trial = 1};
    STEP_REFUSED(r.be->sgd(r.program, &trial, &err), MOCO_ESTATE, "between verdict and decide");
    r.be->program_drop(r.program);
    step_rig_close(&r);
}

/* ---- two steps in flight ---- */

/* The first of two fails, by a veto; the second is given before that is known. */
static const char *check_what_follows_a_failure(enum late_fault fault, int replay, int warm)
{
    struct step_rig r, twin;
    const char *found = NULL;
    int s;
    open_late(&r, fault, replay);
    step_rig_open(&twin, &backend_ref, 0);
    for (s = 0; s < warm; s++) {
        step_rig_step(&r, s, NULL);
        step_rig_step(&twin, s, NULL);
        assert_true(step_rig_outcome(&r).committed && step_rig_outcome(&twin).committed);
    }
    step_rig_step(&r, s, &(struct step_rig_how){.veto = 7});
    step_rig_step(&r, s + 1, NULL);
    struct be_outcome first = step_rig_outcome(&r), second = step_rig_outcome(&r);
    if (first.step != s || second.step != s + 1)
        found = "outcomes are not told in order";
    if (found == NULL && (first.committed || first.follows || first.bad != BE_BAD(BE_VETO, 7)))
        found = "the failure is not told";
    if (found == NULL && (second.committed || !second.follows || second.cancelled || second.bad != BE_NOTHING))
        found = "the step behind a failed one is not told as following it";
    if (found == NULL && !step_rig_same_state(&r, &twin))
        found = "the state moved";
    step_rig_step(&r, s, NULL); /* once both are known, it goes on */
    step_rig_step(&twin, s, NULL);
    struct be_outcome o = step_rig_outcome(&r), expected = step_rig_outcome(&twin);
    if (found == NULL && (!step_rig_same_outcome(&o, &expected) || !step_rig_same_state(&r, &twin)))
        found = "it does not go on as if nothing had been tried";
    step_rig_close(&r);
    step_rig_close(&twin);
    return found;
}

static void a_step_behind_a_failed_one_does_nothing(void **state)
{
    (void)state;
    for (int warm = 0; warm < 4; warm++)
        for (int replay = 0; replay < 2; replay++)
            expect(check_what_follows_a_failure(LATE_SOUND, replay, warm), NULL);
    expect(check_what_follows_a_failure(LATE_FORGETS, 1, 2),
           "the step behind a failed one is not told as following it");
}

/* ---- events between devices ---- */

/* One device's work is done, and no more of it, before what another one was given behind `await`. */
static const char *check_await_waits(enum late_fault fault)
{
    struct step_rig a, b;
    void *event;
    const char *found = NULL;
    open_late(&a, LATE_SOUND, 0);
    open_late(&b, fault, 0);
    step_rig_step(&a, 0, NULL);
    OK(a.be->mark(a.dev, &event, &err));
    step_rig_step(&a, 1, NULL);
    int64_t pending = late_pending(a.dev);
    OK(b.be->await(b.dev, event, &err));
    assert_int_equal(late_pending(a.dev), pending);
    OK(b.be->sync(b.dev, &err));
    if (late_pending(a.dev) == pending)
        found = "await does not wait for the other device";
    else
        assert_true(late_pending(a.dev) > 15); /* all of its second step */
    assert_true(step_rig_outcome(&a).committed && step_rig_outcome(&a).committed);
    step_rig_close(&a);
    step_rig_close(&b);
    return found;
}

static void events_order_two_devices(void **state)
{
    (void)state;
    expect(check_await_waits(LATE_SOUND), NULL);
    expect(check_await_waits(LATE_NO_AWAIT), "await does not wait for the other device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_trains_as_ref_to_the_bit),
        cmocka_unit_test(a_scalar_frozen_by_replay_is_found),
        cmocka_unit_test(input_frozen_by_replay_is_found),
        cmocka_unit_test(a_host_array_reused_too_early_is_found),
        cmocka_unit_test(a_caller_that_changes_its_images_within_the_step_is_refused),
        cmocka_unit_test(host_access_to_device_memory_is_fatal),
        cmocka_unit_test(a_commit_without_verdict_is_found),
        cmocka_unit_test(a_caller_that_commits_without_decide_is_refused),
        cmocka_unit_test(a_step_behind_a_failed_one_does_nothing),
        cmocka_unit_test(events_order_two_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
