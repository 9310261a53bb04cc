/* SPDX-License-Identifier: MIT
 *
 * test_collapse: an encoder that answers the same vector to every image shows as chance, not as 100 %. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/rigs/train_rig.h"

/* The head's last layer answers its bias alone. Key momentum 1 and rate 0 keep it so. */
static void collapse(struct rig *rig, const char *encoder)
{
    char name[64];
    size_t count;
    snprintf(name, sizeof name, "%s.fc.2.weight", encoder);
    double *weight = rig_get(rig, name, &count);
    for (size_t i = 0; i < count; i++)
        weight[i] = 0;
    rig_set(rig, name, weight);
    free(weight);
}

static void a_collapsed_encoder_shows_as_chance(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    struct rig rig;
    spec.trainer.key_momentum = 1;
    rig_open(&rig, &spec);
    collapse(&rig, "encoder_q");
    collapse(&rig, "encoder_k");
    for (int i = 0; i < 4; i++) { /* the queue of 40 is full of the same key after 3 batches of 16 */
        rig_draw(&rig, i);
        rig_ok(moco_trainer_step(rig.trainer, &rig.batch, 0));
    }
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig.trainer, &report));
    assert_true(fabs(report.acc1 - 100.0 / 41) < 1e-6);
    assert_true(fabs(report.acc5 - 500.0 / 41) < 1e-6);
    assert_true(fabs(report.loss - report.chance_loss) < 1e-5);
    assert_true(report.feature_std < 1e-6);
    assert_true(fabs(report.pos_cosine - 1) < 1e-6 && fabs(report.neg_cosine - 1) < 1e-6);
    rig_close(&rig);
}

static void a_fresh_encoder_does_not(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    struct rig rig;
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 1);
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig.trainer, &report));
    assert_true(report.feature_std > 0.05 && report.feature_std <= 0.25); /* 1 / sqrt(16) at best */
    assert_true(report.acc1 > 100.0 / 41); /* negatives are noise, and the view is nearly the same */
    assert_true(report.loss < report.chance_loss);
    assert_true(report.grad_norm > 0 && report.lr == 0.05 && report.step == 1);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collapsed_encoder_shows_as_chance),
        cmocka_unit_test(a_fresh_encoder_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
