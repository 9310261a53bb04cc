/* SPDX-License-Identifier: MIT
 *
 * test_late_device: the device of the tests that runs behind its caller does so: when works are done, how many steps are
 * in flight, what is recorded and repeated, and what it refuses by name. test_late_faults.c is what it is for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "support/late/late_device.h"
#include "support/rigs/step_rig.h"

#define OK STEP_OK
#define REFUSED STEP_REFUSED

static void open_late(struct step_rig *r, int replay)
{
    step_rig_open(r, &backend_late, replay);
    OK(r->be->sync(r->dev, &err));
}

/* ---- nothing is done before somebody waits ---- */

static void calls_return_before_they_are_done(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_outcome o;
    int known;
    open_late(&r, 0);
    assert_int_equal(late_pending(r.dev), 0);
    step_rig_step(&r, 0, NULL);
    int64_t first = late_pending(r.dev);
    assert_true(first > 15);
    assert_int_equal(r.be->behind(r.program), 1);
    step_rig_step(&r, 1, NULL);
    assert_int_equal(late_pending(r.dev), 2 * first);
    assert_int_equal(r.be->behind(r.program), 2);
    OK(r.be->outcome(r.program, 0, &known, &o, &err)); /* asked, not waited for */
    assert_int_equal(known, 0);
    o = step_rig_outcome(&r);
    assert_int_equal(o.step, 0);
    assert_int_equal(late_pending(r.dev), first); /* the second step is not needed for that */
    for (known = 0; !known;)
        OK(r.be->outcome(r.program, 0, &known, &o, &err));
    assert_int_equal(o.step, 1);
    REFUSED(r.be->outcome(r.program, 1, &known, &o, &err), MOCO_ESTATE, "no step has ended");
    step_rig_close(&r);
}

/* ---- two steps in flight ---- */

static void no_more_steps_than_it_says_are_in_flight(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    int skip;
    open_late(&r, 0);
    for (int s = 0; s < r.info.behind; s++)
        step_rig_step(&r, s, NULL);
    step_rig_draw(&r, 9, &scalars, ranges);
    REFUSED(step_rig_begin(&r, &scalars, &at, &skip, &err), MOCO_ESTATE, "have not been fetched");
    assert_int_equal(step_rig_outcome(&r).step, 0);
    OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
    REFUSED(step_rig_begin(&r, &scalars, &at, &skip, &err), MOCO_ESTATE, "has not ended");
    step_rig_close(&r); /* with a step open and an outcome not fetched */
}

/* The flag is looked at when the queue gets there, which is after the call. */
static void a_flag_set_behind_decide_still_cancels(void **state)
{
    (void)state;
    struct step_rig r;
    _Atomic int *cancel;
    static _Atomic int other;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    int skip;
    open_late(&r, 1);
    OK(r.be->cancel_alloc(r.dev, &cancel, &err));
    for (int s = 0; s < 4; s++) { /* eager, recorded, repeated */
        step_rig_step(&r, s, &(struct step_rig_how){.cancel = cancel});
        atomic_store(cancel, s % 2);
        struct be_outcome o = step_rig_outcome(&r);
        assert_int_equal(o.cancelled, s % 2);
        assert_int_equal(o.committed, s % 2 == 0);
        assert_true(o.bad == BE_NOTHING && !o.follows);
        atomic_store(cancel, 0);
    }
    step_rig_draw(&r, 9, &scalars, ranges);
    OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
    REFUSED(r.be->decide(r.program, &other, 0, &skip, &err), MOCO_EINVAL, "not made by cancel_alloc");
    r.be->program_drop(r.program);
    r.be->cancel_free(r.dev, cancel);
    step_rig_close(&r);
}

static void a_dropped_step_leaves_nothing(void **state)
{
    (void)state;
    struct step_rig r, twin;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    int skip;
    open_late(&r, 1);
    step_rig_open(&twin, &backend_ref, 0);
    for (int s = 0; s < 5; s++) { /* each tried first, and left at another place */
        step_rig_draw(&r, 50 + s, &scalars, ranges);
        OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
        if (s > 0 && !skip)
            OK(step_rig_work(&r, &at, &err));
        r.be->program_drop(r.program);
        assert_int_equal(r.be->behind(r.program), 0);
        step_rig_step(&r, s, NULL);
        step_rig_step(&twin, s, NULL);
        struct be_outcome o = step_rig_outcome(&r), expected = step_rig_outcome(&twin);
        assert_true(step_rig_same_outcome(&o, &expected));
    }
    assert_true(step_rig_same_state(&r, &twin));
    assert_true(late_repeats(r.dev) > 0);
    step_rig_close(&r);
    step_rig_close(&twin);
}

/* ---- recordings ---- */

static void what_does_not_belong_into_a_recording_is_refused(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    double number = 0;
    int skip;
    open_late(&r, 1);
    for (int s = 0; s < 3; s++) {
        step_rig_draw(&r, s, &scalars, ranges);
        OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
        assert_int_equal(skip, s == 2);
        REFUSED(r.be->read(r.dev, &number, r.q.at, sizeof number, &err), MOCO_ESTATE, "read waits within a step");
        REFUSED(r.be->sync(r.dev, &err), MOCO_ESTATE, "sync waits within a step");
        REFUSED(r.be->write(r.dev, r.q.at, &number, sizeof number, &err), MOCO_ESTATE, "write within a step");
        if (skip)
            REFUSED(step_rig_work(&r, &at, &err), MOCO_ESTATE, "the device repeats this part");
        r.be->program_drop(r.program);
        step_rig_step(&r, s, NULL);
        assert_true(step_rig_outcome(&r).committed);
    }
    step_rig_close(&r);
}

/* As a checkpoint does that is taken in: other memory in the old one's place. */
static void memory_that_moved_asks_for_a_reset(void **state)
{
    (void)state;
    struct step_rig r, twin;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    struct be_memory other;
    int skip;
    open_late(&r, 1);
    step_rig_open(&twin, &backend_ref, 0);
    for (int s = 0; s < 8; s++) {
        if (s == 4) {
            OK(r.be->alloc(r.dev, r.momentum.bytes, &other, &err));
            OK(r.be->copy(r.dev, other.at, r.momentum.at, other.bytes, &err));
            r.be->release(r.dev, &r.momentum);
            r.momentum = other;
            step_rig_draw(&r, s, &scalars, ranges);
            REFUSED(step_rig_begin(&r, &scalars, &at, &skip, &err), MOCO_EDEVICE, "sgd was recorded");
            r.be->program_reset(r.program);
        }
        struct step_rig_how how = {0};
        step_rig_step(&r, s, &how);
        step_rig_step(&twin, s, NULL);
        assert_int_equal(how.skipped, s % 4 >= 2);
        struct be_outcome o = step_rig_outcome(&r), expected = step_rig_outcome(&twin);
        assert_true(step_rig_same_outcome(&o, &expected));
    }
    assert_true(step_rig_same_state(&r, &twin));
    step_rig_close(&r);
    step_rig_close(&twin);
}

/* ---- arguments, and a device that is lost ---- */

static void a_host_pointer_is_refused_by_name(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    int skip;
    open_late(&r, 0);
    step_rig_draw(&r, 0, &scalars, ranges);
    OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
    REFUSED(r.be->gather(r.program, r.in_order.at, r.keys.at, r.index, STEP_N, STEP_DIM, &err), MOCO_EINVAL,
            "gather: index");
    struct be_forward io = {
        .images = r.view[0], .weights = r.q.at, .masters = r.q.at, .stage = r.stage_q.at, .out = r.embedding.at};
    REFUSED(r.be->forward(r.query, &io, &err), MOCO_EINVAL, "forward: images");
    REFUSED(r.be->zero(r.dev, r.queue.at, r.queue.bytes + 1, &err), MOCO_EINVAL, "zero: at");
    r.be->program_drop(r.program);
    step_rig_close(&r);
}

static void a_failed_work_is_a_lost_device(void **state)
{
    (void)state;
    struct step_rig r;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    struct be_outcome o;
    int skip, known;
    double number;
    open_late(&r, 0);
    step_rig_step(&r, 0, NULL);
    late_break(r.dev);
    OK(r.be->ready(r.dev, &err)); /* nobody has waited yet */
    REFUSED(r.be->outcome(r.program, 1, &known, &o, &err), MOCO_EDEVICE, "program_begin failed");
    REFUSED(r.be->ready(r.dev, &err), MOCO_EDEVICE, "lost");
    REFUSED(r.be->read(r.dev, &number, r.q.at, sizeof number, &err), MOCO_EDEVICE, "lost");
    REFUSED(r.be->write(r.dev, r.q.at, &number, sizeof number, &err), MOCO_EDEVICE, "lost");
    step_rig_draw(&r, 1, &scalars, ranges);
    REFUSED(step_rig_begin(&r, &scalars, &at, &skip, &err), MOCO_EDEVICE, "lost");
    step_rig_close(&r); /* releases, frees and closes all the same */
}

/* ---- events between devices ---- */

/* What an engine between ranks does with events: two devices, each with half of a batch's gradient, which a third party
 * sums as soon as both are final; nobody but it waits. */
struct rank {
    struct step_rig rig;
    void *event;
    int named;
};

static void mark_when_all_are_final(void *user, int first, int count)
{
    struct rank *rank = user;
    (void)first;
    rank->named += count;
    if (rank->named == rank->rig.graph->param_count)
        OK(rank->rig.be->mark(rank->rig.dev, &rank->event, &err));
}

static void a_reduction_is_ordered_with_backward(void **state)
{
    (void)state;
    struct rank ranks[2] = {{.named = 0}};
    size_t bytes = 0;
    double *sums[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        struct step_rig *r = &ranks[i].rig;
        struct be_scalars scalars, others;
        struct be_range ranges[1], other_ranges[1];
        struct be_input at;
        int skip;
        open_late(r, 0);
        step_rig_draw(r, 0, &scalars, ranges);
        step_rig_draw(r, i, &others, other_ranges); /* images of its own, and the rates of all */
        OK(step_rig_begin(r, &scalars, &at, &skip, &err));
        OK(step_rig_work(r, &at, &err));
        struct be_backward back = {.weights = r->q.at,
                                   .masters = r->q.at,
                                   .d_out = r->d_query.at,
                                   .gradients = r->gradients.at,
                                   .accumulate = 1,
                                   .on_grad = mark_when_all_are_final,
                                   .user = &ranks[i]};
        OK(r->be->backward(r->query, &back, &err)); /* twice the gradient */
        assert_int_equal(ranks[i].named, r->graph->param_count);
        assert_true(late_pending(r->dev) > 10);
        bytes = r->gradients.bytes;
    }
    struct step_rig *first = &ranks[0].rig, *second = &ranks[1].rig;
    OK(first->be->await(first->dev, ranks[1].event, &err));
    for (int i = 0; i < 2; i++) {
        sums[i] = malloc(bytes);
        assert_non_null(sums[i]);
    }
    OK(first->be->read(first->dev, sums[0], first->gradients.at, bytes, &err));
    assert_int_equal(late_pending(second->dev), 0); /* up to its event, without having been asked */
    OK(second->be->read(second->dev, sums[1], second->gradients.at, bytes, &err));
    for (size_t i = 0; i < bytes / sizeof(double); i++)
        sums[0][i] += sums[1][i];
    for (int i = 0; i < 2; i++) {
        struct step_rig *r = &ranks[i].rig;
        int skip;
        OK(r->be->write(r->dev, r->gradients.at, sums[0], bytes, &err));
        OK(r->be->decide(r->program, NULL, 0, &skip, &err));
        OK(step_rig_commit(r, &err));
        OK(r->be->program_end(r->program, &err));
        assert_true(step_rig_outcome(r).committed);
    }
    size_t n;
    char *x = step_rig_state(first, &n), *y = step_rig_state(second, &n);
    assert_memory_equal(x, y, first->q.bytes); /* one weight update on both */
    free(x);
    free(y);
    for (int i = 0; i < 2; i++) {
        free(sums[i]);
        step_rig_close(&ranks[i].rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_return_before_they_are_done),
        cmocka_unit_test(no_more_steps_than_it_says_are_in_flight),
        cmocka_unit_test(a_flag_set_behind_decide_still_cancels),
        cmocka_unit_test(a_dropped_step_leaves_nothing),
        cmocka_unit_test(what_does_not_belong_into_a_recording_is_refused),
        cmocka_unit_test(memory_that_moved_asks_for_a_reset),
        cmocka_unit_test(a_host_pointer_is_refused_by_name),
        cmocka_unit_test(a_failed_work_is_a_lost_device),
        cmocka_unit_test(a_reduction_is_ordered_with_backward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
