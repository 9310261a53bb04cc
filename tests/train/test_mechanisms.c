/* SPDX-License-Identifier: MIT
 *
 * test_mechanisms: what SimCLR, the end-to-end mechanism and MoCo with the batch's own keys mean, each against the same
 * thing said another way, in double on "ref"; that each learns on the device under test; and that what the estimate
 * says is what a trainer takes. PyTorch's numbers are test_golden's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/train_rig.h"
#include "support/test_device.h"
#include "tolerances.h"

#define LEARNING_STEPS 300

static struct rig_spec ref_spec(int mechanism)
{
    struct rig_spec spec = rig_spec();
    spec.device = "ref";
    rig_mechanism(&spec, mechanism);
    return spec;
}

static moco_step_report report_of(struct rig *rig)
{
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig->trainer, &report));
    return report;
}

/* The largest difference of a state tensor of two rigs, relative in norm. */
static double state_difference(struct rig *a, struct rig *b)
{
    double most = 0;
    const char *name;
    for (int i = 0; (name = moco_trainer_tensor_name(a->trainer, i)) != NULL; i++)
        most = fmax(most, rig_difference(a, b, name));
    return most;
}

static void swap_views(struct rig *rig)
{
    uint8_t *first = rig->view[0];
    rig->view[0] = rig->view[1];
    rig->view[1] = first;
    rig->batch.view[0] = rig->view[0];
    rig->batch.view[1] = rig->view[1];
}

static void simclr_does_not_know_which_view_is_which(void **state)
{
    (void)state;
    struct rig_spec spec = ref_spec(RIG_SIMCLR);
    struct rig a, b;
    rig_open(&a, &spec);
    rig_open(&b, &spec);
    rig_draw(&a, 0);
    rig_draw(&b, 0);
    swap_views(&b);
    rig_ok(moco_trainer_step(a.trainer, &a.batch, 0.05));
    rig_ok(moco_trainer_step(b.trainer, &b.batch, 0.05));
    assert_true(fabs(report_of(&a).loss - report_of(&b).loss) < 1e-12);
    assert_true(report_of(&a).acc1 == report_of(&b).acc1);
    assert_true(state_difference(&a, &b) < TOL_SUM_ORDER);
    rig_close(&a);
    rig_close(&b);
}

/* Shuffling within the one group that a view is changes the order of sums alone; among groups it changes who is
 * normalised with whom. */
static void shuffling_pairs_matters_among_groups_only(void **state)
{
    (void)state;
    for (int groups = 1; groups <= 4; groups *= 4) {
        struct rig_spec spec = ref_spec(RIG_END_TO_END);
        struct rig with, without;
        spec.trainer.bn_group_size = 16 / groups;
        rig_open(&with, &spec);
        spec.trainer.shuffle = 0;
        rig_open(&without, &spec);
        rig_run(&with, 0, 1);
        rig_run(&without, 0, 1);
        double off = rig_difference(&with, &without, "grad.encoder_q.layer1.0.conv1.weight");
        assert_true(groups == 1 ? off < TOL_SUM_ORDER : off > 1e-3);
        rig_close(&with);
        rig_close(&without);
    }
}

/* A momentum encoder's queries do not see each other, whatever their negatives are. */
static void launches_do_not_matter_to_keys_of_the_batch(void **state)
{
    (void)state;
    struct rig_spec spec = ref_spec(RIG_BATCH_KEYS);
    struct rig one, all;
    spec.trainer.groups_per_launch = 1;
    rig_open(&one, &spec);
    spec.trainer.groups_per_launch = 4;
    rig_open(&all, &spec);
    for (int i = 0; i < 3; i++) {
        rig_run(&one, i, i + 1);
        rig_run(&all, i, i + 1);
        assert_true(fabs(report_of(&one).loss - report_of(&all).loss) < 1e-10);
    }
    assert_true(state_difference(&one, &all) < TOL_SUM_ORDER);
    rig_close(&one);
    rig_close(&all);
}

/* Images that are all the same: every candidate is as good as the positive. */
static void sameness_is_chance(void **state)
{
    (void)state;
    static const double candidates[RIG_MECHANISMS] = {41, 16, 16, 31, 31}; /* of 16 images, queue of 40 */
    for (int m = RIG_BATCH_KEYS; m < RIG_MECHANISMS; m++) {
        struct rig_spec spec = rig_spec();
        struct rig rig;
        spec.flat_images = 1;
        rig_mechanism(&spec, m);
        rig_open(&rig, &spec);
        rig_run(&rig, 0, 1);
        moco_step_report r = report_of(&rig);
        double directions = m == RIG_END_TO_END ? 1 : 2;
        assert_true(fabs(r.chance_loss - directions * log(candidates[m])) < 1e-12);
        assert_true(fabs(r.loss - r.chance_loss) < 1e-4);
        assert_true(fabs(r.acc1 - 100 / candidates[m]) < 1e-6);
        assert_true(fabs(r.acc5 - 500 / candidates[m]) < 1e-6);
        assert_true(r.queue_fill == 0);
        rig_close(&rig);
    }
}

/* Pairs are noisy copies: in 300 steps each mechanism tells them apart better than at the start. */
static void each_learns(void **state)
{
    (void)state;
    for (int m = RIG_BATCH_KEYS; m < RIG_MECHANISMS; m++) {
        struct rig_spec spec = rig_spec();
        struct rig rig;
        double first = 0, last = 0;
        if (test_device_is_exact(test_device()) && m != RIG_SIMCLR)
            continue; /* one is enough there: each takes seconds */
        rig_mechanism(&spec, m);
        rig_open(&rig, &spec);
        for (int i = 0; i < LEARNING_STEPS; i++) {
            rig_run(&rig, i, i + 1);
            if (i < 20)
                first += report_of(&rig).loss / 20;
            if (i >= LEARNING_STEPS - 20)
                last += report_of(&rig).loss / 20;
        }
        if (!(last < 0.9 * first))
            fail_msg("mechanism %d: the loss went from %g to %g", m, first, last);
        rig_close(&rig);
    }
}

static void estimates_are_what_is_taken(void **state)
{
    (void)state;
    for (int m = 0; m < RIG_MECHANISMS; m++) {
        struct rig_spec spec = rig_spec();
        struct rig rig;
        moco_memory_estimate e;
        int64_t live, calls;
        rig_mechanism(&spec, m);
        rig_open(&rig, &spec);
        rig_ok(moco_context_memory(rig.context, &live, NULL, &calls));
        moco_memory_estimate_init(&e);
        rig_ok(moco_trainer_estimate(rig.device, &spec.model, m == RIG_MOCO ? spec.queue_length : 0, &rig.spec.trainer,
                                     &e));
        /* Beside it there are plans, graphs and names: a few megabytes on the cpu device, whatever the batch. */
        live += test_device_own_bytes(test_device());
        assert_true(live >= e.total_bytes);
        if (live - e.total_bytes > 6 << 20)
            fail_msg("mechanism %d holds %lld bytes, and the estimate says %lld", m, (long long)live,
                     (long long)e.total_bytes);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simclr_does_not_know_which_view_is_which),
        cmocka_unit_test(shuffling_pairs_matters_among_groups_only),
        cmocka_unit_test(launches_do_not_matter_to_keys_of_the_batch),
        cmocka_unit_test(sameness_is_chance),
        cmocka_unit_test(each_learns),
        cmocka_unit_test(estimates_are_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
