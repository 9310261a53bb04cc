/* SPDX-License-Identifier: MIT
 *
 * test_ranks: a training of several ranks is that of one, up to the order of sums, and all ranks hold the same bits; one
 * that fails, is cancelled or has no batch stops the step of all, with one status and one sentence, and nothing has
 * changed. Ranks are threads here. What a reader would get wrong: in f32 the same is true of one step only: a narrow
 * network at this rate multiplies a rounding error by hundreds a step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/devices/failing_device.h"
#include "support/rigs/rank_rig.h"
#include "support/test_device.h"
#include "tolerances.h"

#define STEPS (RANK_NARROW ? 1 : 3)

static struct team team;

/* Batch 32 in 8 groups, and gradients in a dozen buckets. */
static struct rig_spec spec_of(const char *device)
{
    struct rig_spec spec = rig_spec();
    spec.device = device;
    spec.trainer.batch_size = 32;
    spec.queue_length = 72;
    rank_narrow(&spec);
    return spec;
}

static void open_team(const struct rig_spec *spec, int ranks)
{
    moco_comm_options o;
    moco_comm_options_init(&o);
    o.bucket_bytes = 100e3;
    team_open(&team, spec, ranks, &o);
}

static void expect_all(moco_status status, const char *sentence)
{
    for (int r = 0; r < team.ranks; r++) {
        const struct rank *k = &team.rank[r];
        if (k->status != status || strcmp(k->sentence, team.rank[0].sentence) != 0 ||
            strstr(k->sentence, sentence) == NULL)
            fail_msg("rank %d of %d: status %d instead of %d, or not \"%s\": %s", r, team.ranks, (int)k->status,
                     (int)status, sentence, k->sentence);
    }
}

static void expect_same_on_all(void)
{
    for (int r = 1; r < team.ranks; r++)
        rig_expect_equal(&team.rank[r].rig, &team.rank[0].rig);
}

static int steps_wanted;

static void run_steps(struct rank *k)
{
    for (int i = 0; i < steps_wanted && (i == 0 || k->status == MOCO_OK); i++)
        rank_step(k, i);
}

static void run_one(struct rank *k)
{
    rank_step(k, 0);
}

static moco_step_report report_of(struct rig *rig)
{
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig->trainer, &report));
    return report;
}

static void expect_near(double a, double b, double tolerance, const char *what)
{
    if (!(fabs(a - b) <= tolerance * (1 + fabs(b))))
        fail_msg("%d ranks: %s is %.17g, and %.17g with one", team.ranks, what, a, b);
}

/* Every tensor, and what the report says. */
static void expect_training_of(struct rig *one, double tolerance)
{
    const char *name;
    moco_step_report a = report_of(&team.rank[0].rig), b = report_of(one);
    for (int i = 0; (name = moco_trainer_tensor_name(one->trainer, i)) != NULL; i++) {
        double error = rig_difference(&team.rank[0].rig, one, name);
        if (!(error <= tolerance))
            fail_msg("%d ranks: %s differs by %g; at most %g was expected", team.ranks, name, error, tolerance);
    }
    expect_near(a.loss, b.loss, tolerance, "the loss");
    expect_near(a.acc1, b.acc1, tolerance, "acc1");
    expect_near(a.pos_cosine, b.pos_cosine, tolerance, "pos_cosine");
    expect_near(a.neg_cosine, b.neg_cosine, tolerance, "neg_cosine");
    expect_near(a.feature_std, b.feature_std, tolerance, "feature_std");
    expect_near(a.grad_norm, b.grad_norm, tolerance, "grad_norm");
    assert_true(a.step == b.step && a.chance_loss == b.chance_loss && a.queue_fill == b.queue_fill);
}

/* 1 rank of R groups, ..., R ranks of one. */
static void expect_equal_trainings(const struct rig_spec *spec, int most, int steps, double tolerance)
{
    struct rig one;
    rig_open(&one, spec);
    rig_run(&one, 0, steps);
    for (int ranks = 1; ranks <= most; ranks *= 2) {
        open_team(spec, ranks);
        expect_all(MOCO_OK, "");
        steps_wanted = steps;
        team_run(&team, run_steps);
        expect_all(MOCO_OK, "");
        expect_same_on_all();
        if (ranks == 1)
            rig_expect_equal(&team.rank[0].rig, &one); /* to the bit */
        expect_training_of(&one, tolerance);
        team_close(&team);
    }
    rig_close(&one);
}

static void ranks_train_as_one(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of("ref");
    expect_equal_trainings(&spec, RANK_NARROW ? 4 : 8, STEPS, TOL_SUM_ORDER);
}

static void in_whatever_order_and_direction(void **state)
{
    (void)state;
    for (int variant = 1; variant < 8; variant++) {
        struct rig_spec spec = spec_of("ref");
        spec.trainer.symmetric = variant & 1;
        spec.trainer.interleave = variant >> 1 & 1;
        spec.trainer.shuffle = !(variant >> 2);
        spec.trainer.groups_per_launch = variant == 3 ? 2 : variant == 5 ? 3 : 1;
        expect_equal_trainings(&spec, 4, 2 + (variant < 4), TOL_SUM_ORDER);
    }
}

static void whatever_the_mechanism(void **state)
{
    (void)state;
    for (int m = 1; m < RIG_MECHANISMS; m++)
        for (int interleave = 0; interleave < 2; interleave++) {
            struct rig_spec spec = spec_of("ref");
            rig_mechanism(&spec, m);
            spec.trainer.bn_group_size = 4;
            spec.trainer.interleave = interleave;
            expect_equal_trainings(&spec, 4, 2, TOL_SUM_ORDER);
        }
}

static void on_the_device_in_one_step(void **state)
{
    (void)state;
    if (test_device_own_bytes(test_device()) != 0 || test_device_is_behind(test_device()))
        return; /* late: below; a GPU each: ops/cudasim/test_nccl.c */
    for (int m = 0; m < RIG_SIMCLR_LARS; m++) {
        struct rig_spec spec = spec_of(NULL);
        rig_mechanism(&spec, m);
        spec.trainer.bn_group_size = 4;
        expect_equal_trainings(&spec, 8, 1, TOL_SUM_ORDER_F32);
    }
}

/* ---- a device behind its caller, which records ---- */

static void run_next(struct rank *k)
{
    int64_t step = 0;
    moco_trainer_cursor(k->rig.trainer, &step, NULL, NULL);
    rank_step(k, step);
}

/* To the bit, step by step: of the first, which is queued call by call, of the second, which is recorded, and of those that
 * repeat it: what was encoded, the first queries, backward with the last keys' place in front and all buckets behind, what
 * is looked at, and the commit. */
static void expect_as_on_ref(const struct rig_spec *spec, int ranks)
{
    static struct team ref;
    enum { AS_CALLED = 2, ALL = 5 };
    struct rig_spec on_late = *spec;
    int parts = 4 - (spec->trainer.encoder_k == MOCO_KEY_SHARED);
    open_team(spec, ranks);
    ref = team;
    on_late.device = "late";
    open_team(&on_late, ranks);
    for (int s = 0; s < ALL; s++) {
        struct team late = team;
        int64_t before = test_device_repeats();
        team_run(&team, run_next);
        expect_all(MOCO_OK, "");
        assert_int_equal(test_device_repeats() - before, s < AS_CALLED ? 0 : ranks * (parts + 1));
        late = team;
        team = ref;
        team_run(&team, run_next);
        expect_all(MOCO_OK, "");
        ref = team;
        team = late;
        for (int r = 0; r < ranks; r++)
            rig_expect_equal(&team.rank[r].rig, &ref.rank[r].rig);
    }
    team_close(&team);
    team_close(&ref);
}

static void recorded_steps_are_those_of_ref(void **state)
{
    (void)state;
    for (int m = 0; m < RIG_MECHANISMS; m++) {
        struct rig_spec spec = spec_of("ref");
        rig_mechanism(&spec, m);
        spec.trainer.symmetric = m == RIG_MOCO;
        spec.trainer.bn_group_size = 4;
        expect_as_on_ref(&spec, m == RIG_MOCO ? 4 : 2);
    }
}

/* ---- refused ---- */

static void expect_not_made(const struct rig_spec *spec, int ranks, moco_status status, const char *sentence)
{
    open_team(spec, ranks);
    expect_all(status, sentence);
    for (int r = 0; r < ranks; r++)
        assert_null(team.rank[r].rig.trainer);
    team_close(&team);
}

static void what_cannot_be_shared_is_refused(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of("ref");
    expect_not_made(&spec, 3, MOCO_EINVAL, "8 BN groups of 4, which cannot be shared evenly by 3 ranks; 2 ranks can");
    rig_mechanism(&spec, RIG_SIMCLR);
    expect_not_made(&spec, 2, MOCO_ENOTSUP, "statistics cannot be taken over 2 ranks: it needs one rank");
    failing_device_over("late", 0);
    spec = spec_of("failing");
    expect_not_made(&spec, 2, MOCO_ENOTSUP, "device failing has memory of its own");
    failing_device_over("ref", 1);
}

static void open_unlike(struct rank *k)
{
    struct rig_spec spec = spec_of("ref");
    if (k->rank == 2)
        spec.trainer.temperature = 0.07;
    rank_close(k);
    rank_open(k, &spec);
}

static void ranks_must_be_made_alike(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of("ref");
    open_team(&spec, 4);
    team_run(&team, open_unlike);
    expect_all(MOCO_EINVAL, "trainer.temperature is 0.2 on rank 0 and 0.07 on rank 2");
    team_close(&team);
}

/* ---- failures ---- */

/* What a body is to do on which rank. */
static struct {
    int who, call, half, step, calls;
} plan;

/* A step that fails on one rank, which is tried again. */
static void fail_and_retry(struct rank *k)
{
    rank_draw(k, plan.step);
    failing_device_arm(k->rank == plan.who ? plan.call : -1, plan.half);
    rank_note(k, moco_trainer_step(k->rig.trainer, &k->batch, 0.05));
    if (k->rank == plan.who)
        plan.calls = failing_device_calls();
    failing_device_arm(-1, 0);
}

static void run_second(struct rank *k)
{
    rank_step(k, 1);
}

static void run_until_step(struct rank *k)
{
    for (int i = 0; i < plan.step && (i == 0 || k->status == MOCO_OK); i++)
        rank_step(k, i);
}

/* In step `step`, counted from 0. */
static void one_rank_may_fail_at_any_call(const char *device, int step, int mechanism, int half)
{
    static struct team twin;
    struct rig_spec spec = spec_of("failing");
    failing_device_over(device, 1);
    plan.step = step;
    spec.trainer.batch_size = 8;
    spec.trainer.symmetric = mechanism == RIG_MOCO;
    rig_mechanism(&spec, mechanism);
    spec.trainer.bn_group_size = 2;
    open_team(&spec, 4);
    team_run(&team, run_until_step);
    expect_all(MOCO_OK, "");
    twin = team;
    open_team(&spec, 4);
    team_run(&team, run_until_step);
    struct team one = twin;
    twin = team;
    team = one;
    plan.half = half;
    for (plan.call = 0;; plan.call++) {
        plan.who = plan.call % 4;
        team_run(&team, fail_and_retry);
        if (team.rank[plan.who].status == MOCO_OK)
            break;
        char sentence[100];
        snprintf(sentence, sizeof sentence, "rank %d of 4: the device was told to fail at call %d", plan.who,
                 plan.call);
        expect_all(MOCO_EDEVICE, sentence);
        if (!half) /* a device that has failed is given nothing more */
            assert_int_equal(plan.calls, plan.call + 1);
        if (plan.call % 8 == 0)
            for (int r = 0; r < 4; r++)
                rig_expect_equal(&team.rank[r].rig, &twin.rank[r].rig);
    }
    expect_all(MOCO_OK, "");
    print_message("%d calls\n", plan.call);
    assert_true(plan.call >= 12);
    for (int more = 0; more < 2; more++) { /* the one that was tried, and the next, which may be repeated */
        one = team;
        if (more) {
            team_run(&team, run_next);
            expect_all(MOCO_OK, "");
            one = team;
        }
        team = twin;
        team_run(&team, run_next);
        expect_all(MOCO_OK, "");
        twin = team;
        for (int r = 0; r < 4; r++)
            rig_expect_equal(&team.rank[r].rig, &one.rank[r].rig);
        team = one;
    }
    team_close(&team);
    team_close(&twin);
    failing_device_over("ref", 1);
}

static void all_fail_with_one(void **state)
{
    (void)state;
    one_rank_may_fail_at_any_call("ref", 1, RIG_MOCO, 0);
    one_rank_may_fail_at_any_call("ref", 1, RIG_MOCO, 1);
    one_rank_may_fail_at_any_call("ref", 1, RIG_BATCH_KEYS, 1);
    one_rank_may_fail_at_any_call("ref", 1, RIG_END_TO_END, 1);
}

/* While it is recorded, and where each part of it is repeated. */
static void all_fail_with_one_that_records(void **state)
{
    (void)state;
    for (int step = 1; step < 4; step++) {
        one_rank_may_fail_at_any_call("late", step, RIG_MOCO, 1);
        one_rank_may_fail_at_any_call("late", step, RIG_END_TO_END, 0);
    }
}

static void cancel_trainer(void *trainer)
{
    moco_trainer_cancel(trainer);
}

static void cancel_within(struct rank *k)
{
    rank_draw(k, plan.step);
    if (k->rank == plan.who)
        failing_device_call(plan.call, cancel_trainer, k->rig.trainer);
    rank_note(k, moco_trainer_step(k->rig.trainer, &k->batch, 0.05));
    failing_device_arm(-1, 0);
}

/* At whatever call of a step that is repeated: all return it, until the ranks have agreed. */
static void a_cancel_stops_a_repeated_step(void **state)
{
    (void)state;
    static struct team twin;
    int stopped = 0;
    struct rig_spec spec = spec_of("failing");
    failing_device_over("late", 1);
    plan.step = 3;
    open_team(&spec, 2);
    team_run(&team, run_until_step);
    twin = team;
    open_team(&spec, 2);
    team_run(&team, run_until_step);
    expect_all(MOCO_OK, "");
    for (plan.call = 0; plan.call == 0 || team.rank[0].status != MOCO_OK; plan.call++) {
        plan.who = plan.call % 2;
        team_run(&team, cancel_within);
        if (team.rank[0].status != MOCO_OK) {
            char sentence[80];
            snprintf(sentence, sizeof sentence, "rank %d of 2: step 3 was cancelled", plan.who);
            expect_all(MOCO_ECANCELED, sentence);
            stopped++;
        }
    }
    expect_all(MOCO_OK, "");
    assert_true(stopped >= (RANK_NARROW ? 8 : 12));
    struct team one = team;
    team = twin;
    team_run(&team, run_next);
    expect_all(MOCO_OK, "");
    for (int r = 0; r < 2; r++)
        rig_expect_equal(&team.rank[r].rig, &one.rank[r].rig);
    team_close(&team);
    team_close(&one);
    failing_device_over("ref", 1);
}

/* ---- cancelled, gone, apart ---- */

/* `halts` is called on the thread of rank plan.who while all make step 1; then all try again. */
static void expect_step_stopped(void (*halt)(struct rank *rank), moco_status status, const char *sentence)
{
    static struct team twin;
    struct rig_spec spec = spec_of("ref");
    open_team(&spec, 4);
    team_run(&team, run_one);
    team_run(&team, run_second);
    twin = team;
    open_team(&spec, 4);
    team_run(&team, run_one);
    for (plan.who = 0; plan.who < 4; plan.who++) {
        char who[200];
        snprintf(who, sizeof who, sentence, plan.who);
        team_run(&team, halt);
        expect_all(status, who);
    }
    team_run(&team, run_second);
    expect_all(MOCO_OK, "");
    for (int r = 0; r < 4; r++)
        rig_expect_equal(&team.rank[r].rig, &twin.rank[r].rig);
    team_close(&team);
    team_close(&twin);
}

static void cancel_before(struct rank *k)
{
    if (k->rank == plan.who)
        moco_trainer_cancel(k->rig.trainer);
    rank_step(k, 1);
}

static void leave(struct rank *k)
{
    if (k->rank == plan.who)
        rank_note(k, moco_trainer_leave(k->rig.trainer, MOCO_EBADDATA, "ten images cannot be read"));
    else
        rank_step(k, 1);
    /* Each function puts its own name in front. */
    memmove(k->sentence, strchr(k->sentence, ' '), strlen(strchr(k->sentence, ' ')) + 1);
}

static void bring_a_wrong_batch(struct rank *k)
{
    rank_draw(k, 1);
    k->batch.h += k->rank == plan.who;
    rank_note(k, moco_trainer_step(k->rig.trainer, &k->batch, 0.05));
}

static void bring_no_batch(struct rank *k)
{
    rank_draw(k, 1);
    k->batch.struct_size *= k->rank != plan.who;
    rank_note(k, moco_trainer_step(k->rig.trainer, &k->batch, 0.05));
}

static void bring_views_together(struct rank *k)
{
    rank_draw(k, 1);
    if (k->rank == plan.who) {
        k->batch.key[0] = NULL;
        k->batch.view[1] = k->share[1];
        k->batch.views = 2;
    }
    rank_note(k, moco_trainer_step(k->rig.trainer, &k->batch, 0.05));
}

static void a_step_that_stops_on_one_has_not_been(void **state)
{
    (void)state;
    expect_step_stopped(cancel_before, MOCO_ECANCELED, "rank %d of 4: step 1 was cancelled");
    expect_step_stopped(leave, MOCO_EBADDATA, "rank %d of 4: ten images cannot be read");
    expect_step_stopped(bring_a_wrong_batch, MOCO_ESHAPE, "rank %d of 4: the batch has images of");
    expect_step_stopped(bring_no_batch, MOCO_EINVAL, "rank %d of 4: batch has struct_size 0");
    expect_step_stopped(bring_views_together, MOCO_EINVAL, "rank %d of 4: batch.key[0] is NULL; with 4 ranks");
}

/* From a progress callback, in the middle of a launch's work. */
static moco_trainer *cancelled_in_progress;
static _Atomic int cancel_after;

static void progress(void *user, int done, int launches)
{
    (void)user, (void)launches;
    if (cancel_after == done && cancelled_in_progress != NULL)
        moco_trainer_cancel(cancelled_in_progress);
}

static void a_cancel_at_any_launch_stops_all(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of("ref");
    struct rig one;
    spec.trainer.progress = progress;
    open_team(&spec, 4);
    for (cancel_after = 1; cancel_after <= 4; cancel_after++) { /* 2 launches of keys, 2 of queries: all ranks report */
        cancelled_in_progress = team.rank[2].rig.trainer;
        team_run(&team, run_one);
        expect_all(MOCO_ECANCELED, "rank 2 of 4: ");
    }
    cancelled_in_progress = NULL;
    steps_wanted = STEPS;
    team_run(&team, run_steps);
    expect_all(MOCO_OK, "");
    expect_same_on_all();
    rig_open(&one, &spec);
    rig_run(&one, 0, STEPS);
    expect_training_of(&one, TOL_SUM_ORDER);
    rig_close(&one);
    team_close(&team);
}

static int differ;

static void step_apart(struct rank *k)
{
    int other = k->rank == 3;
    rank_draw(k, 1);
    if (other && differ == 0)
        k->batch.position += 32;
    if (other && differ == 1) {
        size_t count;
        moco_tensor bias;
        double values[64];
        moco_tensor_init(&bias);
        rank_note(k, moco_trainer_get(k->rig.trainer, "encoder_k.fc.2.bias", &bias));
        count = (size_t)bias.shape[0];
        bias.dtype = MOCO_F64;
        bias.data = values;
        rank_note(k, count <= 64 ? moco_trainer_get(k->rig.trainer, "encoder_k.fc.2.bias", &bias) : MOCO_ESHAPE);
        values[0] += 1e-9;
        rank_note(k, moco_trainer_set(k->rig.trainer, "encoder_k.fc.2.bias", &bias));
    }
    if (other && differ == 3) {
        double key[16] = {1};
        moco_tensor keys;
        moco_tensor_init(&keys);
        keys.dtype = MOCO_F64;
        keys.ndim = 2;
        keys.shape[0] = 1;
        keys.shape[1] = 16;
        keys.data = key;
        rank_note(k, moco_queue_push(k->rig.queue, &keys));
    }
    rank_note(k, moco_trainer_step(k->rig.trainer, &k->batch, other && differ == 2 ? 0.06 : 0.05));
}

static void ranks_that_are_not_together_are_told(void **state)
{
    (void)state;
    static const char *const words[] = {"ranks bring different batches: rank 0 one of epoch 0 that ends at 64",
                                        "statistics or queue of rank 3 are not those of rank 0",
                                        "rank 0 with 0.05, rank 3 with 0.06",
                                        "queue of rank 3 are not those of rank 0"};
    for (differ = 0; differ < 4; differ++) {
        struct rig_spec spec = spec_of("ref");
        open_team(&spec, 4);
        team_run(&team, run_one);
        team_run(&team, step_apart);
        expect_all(MOCO_ESTATE, words[differ]);
        team_close(&team);
    }
}

/* A rank that goes away for good: the others do not wait for ever, and can save what they have. */
static void go_away(struct rank *k)
{
    if (k->rank == 1)
        moco_comm_cancel(k->comm);
    rank_step(k, 1);
}

static void a_rank_that_is_lost_leaves_the_state_whole(void **state)
{
    (void)state;
    struct rig one;
    struct rig_spec spec = spec_of("ref");
    moco_comm_info info;
    moco_comm_info_init(&info);
    open_team(&spec, 4);
    rig_open(&one, &spec);
    team_run(&team, run_one);
    rig_run(&one, 0, 1);
    expect_all(MOCO_OK, "");
    team_run(&team, go_away);
    for (int r = 0; r < 4; r++) {
        assert_int_equal(team.rank[r].status, MOCO_ECOMM);
        assert_non_null(strstr(team.rank[r].sentence, "start all ranks from the last checkpoint"));
        rig_ok(moco_comm_describe(team.rank[r].comm, &info));
        assert_true(info.broken && info.rank == r && info.ranks == 4);
    }
    assert_non_null(strstr(team.rank[0].sentence, "rank 1 has left"));
    expect_training_of(&one, TOL_SUM_ORDER);
    expect_same_on_all();
    rig_close(&one);
    team_close(&team);
}

/* What a step of several ranks takes, it has taken before. */
static void a_step_takes_no_memory(void **state)
{
    (void)state;
    int64_t calls[4], after;
    struct rig_spec spec = spec_of("ref");
    open_team(&spec, 4);
    team_run(&team, run_one);
    for (int r = 0; r < 4; r++)
        rig_ok(moco_context_memory(team.rank[r].rig.context, NULL, NULL, &calls[r]));
    for (int i = 0; i < 3; i++)
        team_run(&team, run_second);
    for (int r = 0; r < 4; r++) {
        rig_ok(moco_context_memory(team.rank[r].rig.context, NULL, NULL, &after));
        assert_int_equal(after, calls[r]);
    }
    team_close(&team);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_train_as_one),
        cmocka_unit_test(recorded_steps_are_those_of_ref),
        cmocka_unit_test(a_cancel_stops_a_repeated_step),
        cmocka_unit_test(what_cannot_be_shared_is_refused),
        cmocka_unit_test(ranks_must_be_made_alike),
        cmocka_unit_test(a_step_that_stops_on_one_has_not_been),
        cmocka_unit_test(a_cancel_at_any_launch_stops_all),
        cmocka_unit_test(ranks_that_are_not_together_are_told),
        cmocka_unit_test(a_rank_that_is_lost_leaves_the_state_whole),
        cmocka_unit_test(a_step_takes_no_memory),
    };
    const struct CMUnitTest of_all_kinds[] = {
        cmocka_unit_test(in_whatever_order_and_direction), cmocka_unit_test(whatever_the_mechanism),
        cmocka_unit_test(on_the_device_in_one_step),       cmocka_unit_test(all_fail_with_one),
        cmocka_unit_test(all_fail_with_one_that_records),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + (RANK_NARROW ? 0 : cmocka_run_group_tests(of_all_kinds, NULL, NULL));
}
