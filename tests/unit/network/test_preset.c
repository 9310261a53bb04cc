/* SPDX-License-Identifier: MIT
 *
 * test_preset: the learning rate of a preset's step, against the schedules of the sources that the preset names,
 * written out by hand: the reference's adjust_learning_rate, its CIFAR notebook, google-research/simclr's warm-up and
 * cosine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "moco/moco.h"

#define PER_EPOCH 10

static moco_preset preset(const char *name)
{
    moco_preset p;
    assert_int_equal(moco_preset_get(&p, name), MOCO_OK);
    return p;
}

/* The rate in the first and in the last step of `epoch`, which are the same in schedules that move per epoch. */
static double rate_of_epoch(const moco_preset *p, int64_t epoch, int64_t epochs)
{
    double first = moco_preset_lr(p, epoch * PER_EPOCH, PER_EPOCH, epochs);
    assert_true(first == moco_preset_lr(p, (epoch + 1) * PER_EPOCH - 1, PER_EPOCH, epochs));
    return first;
}

static void moco_v1_falls_at_epochs_120_and_160(void **state)
{
    (void)state;
    moco_preset p = preset("moco-v1");
    assert_true(rate_of_epoch(&p, 0, 200) == 0.03);
    assert_true(rate_of_epoch(&p, 119, 200) == 0.03);
    assert_true(rate_of_epoch(&p, 120, 200) == 0.03 * 0.1);
    assert_true(rate_of_epoch(&p, 159, 200) == 0.03 * 0.1);
    assert_true(rate_of_epoch(&p, 160, 200) == 0.03 * 0.1 * 0.1);
    assert_true(rate_of_epoch(&p, 130, 800) == 0.03 * 0.1); /* milestones do not stretch */
}

static void moco_v2_follows_a_cosine_by_epochs(void **state)
{
    (void)state;
    static const char *const names[] = {"moco-v2", "end-to-end"};
    for (int i = 0; i < 2; i++) {
        moco_preset p = preset(names[i]);
        for (int epoch = 0; epoch < 200; epoch += 7)
            assert_true(fabs(rate_of_epoch(&p, epoch, 200) - 0.03 * 0.5 * (1 + cos(acos(-1) * epoch / 200))) < 1e-16);
        assert_true(rate_of_epoch(&p, 400, 800) == moco_lr_cosine(0.03, 400, 800));
    }
}

static void cifar10_counts_epochs_from_1(void **state)
{
    (void)state;
    moco_preset p = preset("cifar10");
    assert_true(rate_of_epoch(&p, 0, 200) == moco_lr_cosine(0.06, 1, 200));
    assert_true(rate_of_epoch(&p, 199, 200) < 1e-16);
}

static void simclr_warms_up_and_moves_by_steps(void **state)
{
    (void)state;
    moco_preset p = preset("simclr");
    int64_t warm = p.warmup_epochs * PER_EPOCH;
    assert_int_equal(p.warmup_epochs, 10);
    assert_true(moco_preset_lr(&p, 0, PER_EPOCH, 200) == 0);
    assert_true(fabs(moco_preset_lr(&p, warm / 2, PER_EPOCH, 200) - 0.15) < 1e-15);
    assert_true(moco_preset_lr(&p, warm, PER_EPOCH, 200) == 0.3);
    int64_t middle = warm + (200 * PER_EPOCH - warm) / 2;
    assert_true(fabs(moco_preset_lr(&p, middle, PER_EPOCH, 200) - 0.15) < 1e-15);
    assert_true(moco_preset_lr(&p, middle + 1, PER_EPOCH, 200) < moco_preset_lr(&p, middle, PER_EPOCH, 200));
}

static void a_rate_of_ones_own_scales_the_schedule(void **state)
{
    (void)state;
    const char *name;
    for (int i = 0; (name = moco_preset_name(i)) != NULL; i++) {
        moco_preset p = preset(name);
        double before = moco_preset_lr(&p, 777, PER_EPOCH, p.epochs);
        p.lr *= 4;
        assert_true(moco_preset_lr(&p, 777, PER_EPOCH, p.epochs) == 4 * before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moco_v1_falls_at_epochs_120_and_160),    cmocka_unit_test(moco_v2_follows_a_cosine_by_epochs),
        cmocka_unit_test(cifar10_counts_epochs_from_1),           cmocka_unit_test(simclr_warms_up_and_moves_by_steps),
        cmocka_unit_test(a_rate_of_ones_own_scales_the_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
