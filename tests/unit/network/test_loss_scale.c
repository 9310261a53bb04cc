/* SPDX-License-Identifier: MIT
 *
 * test_loss_scale: fp16's loss scale. A gradient that overflows skips the step: the counters move, the scale is halved, and
 * nothing else; the report says so. When it cannot be halved any more, the step fails and nothing moves at all. A training that
 * is saved and loaded anywhere among skipped steps goes on to the same bytes, ranks skip alike, and files that lie about
 * the scale are refused. On "ref", which mimics it, and on the device of the tests if it has fp16. Planted and found: a
 * scale that is not saved, a scale that is not taken out of the update, a skipped step that moves the key encoder, a step given
 * behind one in flight without the scale that this one leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "algo/trainer_update.h"
#include "support/files/forged_file.h"
#include "support/rigs/net_harness.h"
#include "support/rigs/rank_rig.h"
#include "support/rigs/train_rig.h"
#include "support/test_device.h"

static const char *devices[2] = {"ref", NULL};
#define FOR_EACH_DEVICE(d) for (const char *const *d = devices; d < devices + 2 && *d != NULL; d++)

/* Of the rig, whose BN groups are tiny, the first gradients overflow until the scale is 8192. */
static struct rig_spec spec_of(const char *device)
{
    struct rig_spec spec = rig_spec();
    spec.device = device;
    spec.trainer.precision = MOCO_PRECISION_F16;
    return spec;
}

static moco_step_report report_of(struct rig *rig)
{
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig->trainer, &report));
    return report;
}

static void the_scale_by_itself(void **state)
{
    (void)state;
    struct loss_scale s = loss_scale_first(BE_F16), one = loss_scale_first(BE_BF16);
    assert_true(s.scale == 65536 && one.scale == 1);
    for (int i = 0; i < LOSS_SCALE_GROWS; i++) {
        assert_true(s.scale == 65536 && s.since == i);
        loss_scale_committed(&s, BE_F16);
        loss_scale_committed(&one, BE_BF16);
    }
    assert_true(s.scale == 131072 && s.since == 0 && one.scale == 1);
    loss_scale_committed(&s, BE_F16);
    assert_true(loss_scale_overflowed(&s) && s.scale == 65536 && s.since == 0 && s.skipped == 1);
    for (int i = 0; i < 100 * LOSS_SCALE_GROWS; i++)
        loss_scale_committed(&s, BE_F16);
    assert_true(s.scale == LOSS_SCALE_MOST);
    for (int i = 0; i < 24; i++)
        assert_true(loss_scale_overflowed(&s));
    assert_true(s.scale == 1 && s.skipped == 25);
    assert_false(loss_scale_overflowed(&s));
    assert_true(s.scale == 1 && s.skipped == 25);
}

static void expect_same_weights(struct rig *rig, double *const before[2])
{
    static const char *const names[] = {"encoder_q.conv1.weight", "encoder_k.conv1.weight"};
    for (int i = 0; i < 2; i++) {
        size_t count;
        double *now = rig_get(rig, names[i], &count);
        assert_memory_equal(now, before[i], count * sizeof *now);
        free(now);
    }
}

/* Those that are skipped and those that are not, in whatever order they come. */
static void a_gradient_that_overflows_skips_the_step(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig_spec spec = spec_of(*device);
        struct rig rig;
        double scale = 65536;
        int skipped = 0, committed = 0;
        rig_open(&rig, &spec);
        for (int step = 0; step < 30 && committed < 3; step++) {
            size_t count;
            double *const before[2] = {rig_get(&rig, "encoder_q.conv1.weight", &count),
                                       rig_get(&rig, "encoder_k.conv1.weight", &count)};
            double *queue = rig_get(&rig, "queue", &count);
            int64_t at, position;
            rig_ok(rig_step(&rig, step));
            moco_step_report r = report_of(&rig);
            rig_ok(moco_trainer_cursor(rig.trainer, &at, NULL, &position));
            assert_true(r.step == step + 1 && at == step + 1 && isfinite(r.loss) && r.loss_scale == scale);
            assert_int_equal(position, rig.batch.position);
            if (r.skipped > skipped) {
                double *now = rig_get(&rig, "queue", &count);
                assert_memory_equal(now, queue, count * sizeof *now);
                free(now);
                expect_same_weights(&rig, before);
                assert_true(r.skipped == skipped + 1 && r.grad_norm == 0);
                skipped++;
                scale /= 2;
            } else {
                assert_true(r.grad_norm > 0 && isfinite(r.grad_norm));
                committed++;
            }
            free(before[0]);
            free(before[1]);
            free(queue);
        }
        assert_true(skipped > 1 && committed == 3);
        rig_close(&rig);
    }
}

static void path_of(char *path, size_t size, const char *name)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, size, "%s/loss_scale_%d_%s.safetensors", folder != NULL ? folder : "/tmp", (int)getpid(), name);
}

/* The same step with another scale is the same but for what is too small for fp16: the scale is taken out of gradients, of
 * their norm and of the update. */
static void the_scale_is_taken_out(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig_spec spec = spec_of(*device);
        struct rig rig, other;
        struct forged file;
        char path[256];
        path_of(path, sizeof path, "other");
        rig_open(&rig, &spec);
        rig_open(&other, &spec);
        rig_run(&rig, 0, 3);
        rig_ok(moco_trainer_save(rig.trainer, path, NULL));
        forged_read(&file, path);
        forged_text(&file, "state.loss_scale", "2048");
        forged_write(&file, path);
        forged_free(&file);
        rig_ok(moco_trainer_load(other.trainer, path));
        rig_ok(rig_step(&rig, 3));
        rig_ok(rig_step(&other, 3));
        moco_step_report r = report_of(&rig), o = report_of(&other);
        assert_true(r.loss_scale == 8192 && o.loss_scale == 2048 && r.skipped == 3 && o.skipped == 3);
        assert_true(fabs(r.grad_norm / o.grad_norm - 1) < 0.01);
        static const char *const names[] = {"grad.encoder_q.fc.2.weight", "grad.encoder_q.conv1.weight",
                                            "momentum.encoder_q.fc.2.weight", "encoder_q.conv1.weight"};
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            assert_true(rig_difference(&rig, &other, names[i]) < 0.01);
        unlink(path);
        rig_close(&rig);
        rig_close(&other);
    }
}

static void below_one_a_step_fails(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of("ref");
    struct rig rig, twin;
    spec.trainer.temperature = 1e-9; /* gradients overflow at any scale */
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 16);
    rig_run(&twin, 0, 16);
    assert_true(report_of(&rig).skipped == 16 && report_of(&rig).loss_scale == 2);
    for (int i = 0; i < 2; i++) {
        rig_expect(rig_step(&rig, 16), MOCO_ENUMERIC);
        assert_non_null(strstr(moco_error(), "at a loss scale of 1, which cannot be smaller"));
    }
    rig_expect_equal(&rig, &twin);
    rig_close(&rig);
    rig_close(&twin);
}

/* Saved behind a step that was skipped, and behind one that was not. */
static void it_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    FOR_EACH_DEVICE(device)
    {
        struct rig_spec spec = spec_of(*device);
        struct rig whole;
        char path[256];
        enum { STEPS = 9 };
        path_of(path, sizeof path, "half");
        rig_open(&whole, &spec);
        rig_run(&whole, 0, STEPS);
        assert_true(report_of(&whole).skipped > 1 && report_of(&whole).skipped < STEPS);
        for (int at = 2; at < STEPS; at += 4) {
            struct rig half, rest;
            rig_open(&half, &spec);
            rig_run(&half, 0, at);
            rig_ok(moco_trainer_save(half.trainer, path, NULL));
            rig_close(&half);
            rig_open(&rest, &spec);
            rig_ok(moco_trainer_load(rest.trainer, path));
            rig_run(&rest, at, STEPS);
            rig_expect_equal(&whole, &rest);
            assert_true(report_of(&rest).skipped == report_of(&whole).skipped);
            rig_close(&rest);
        }
        unlink(path);
        rig_close(&whole);
    }
}

static void files_that_lie_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        moco_status status;
    } lies[] = {{"state.loss_scale", "0.5", MOCO_EFORMAT},
                {"state.loss_scale", "3", MOCO_EFORMAT},
                {"state.loss_scale", "33554432", MOCO_EFORMAT},
                {"state.loss_scale", "nan", MOCO_EFORMAT},
                {"state.loss_scale_since", NULL, MOCO_EFORMAT},
                {"state.loss_scale_since", "2000", MOCO_EFORMAT},
                {"state.skipped", "-1", MOCO_EFORMAT},
                {"state.skipped", "3", MOCO_EFORMAT},
                {"state.loss_scale", NULL, MOCO_OK} /* as in a file of another precision: it begins anew */};
    struct rig_spec spec = spec_of("ref");
    struct rig rig;
    struct forged sound;
    char path[256], forged[256];
    path_of(path, sizeof path, "sound");
    path_of(forged, sizeof forged, "forged");
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 2);
    rig_ok(moco_trainer_save(rig.trainer, path, NULL));
    forged_read(&sound, path);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct forged lie;
        forged_copy(&lie, &sound);
        forged_text(&lie, lies[i].key, lies[i].value);
        forged_write(&lie, forged);
        rig_expect(moco_trainer_load(rig.trainer, forged), lies[i].status);
        forged_free(&lie);
    }
    rig_ok(rig_step(&rig, 2));
    assert_true(report_of(&rig).loss_scale == 65536);
    forged_free(&sound);
    unlink(path);
    unlink(forged);
    rig_close(&rig);
}

/* ---- a step in flight ---- */

/* The scale doubles behind a step that is in flight when the next one, which has to have it, is given: on devices that run
 * behind their caller. */
static void a_scale_that_doubles_in_flight_is_the_next_steps(void **state)
{
    (void)state;
    static const char *const behind[] = {"late", "cudasim:0"};
    for (int d = 0; d < 2; d++) {
        struct rig_spec spec = spec_of(behind[d]);
        struct rig rig, twin;
        struct forged file;
        char path[256];
        path_of(path, sizeof path, "doubles");
        spec.model.width = 1.0 / 32;
        rig_open(&twin, &spec);
        spec.trainer.ahead = 1;
        rig_open(&rig, &spec);
        rig_ok(moco_trainer_save(twin.trainer, path, NULL));
        forged_read(&file, path);
        forged_text(&file, "state.loss_scale", "64");
        forged_text(&file, "state.loss_scale_since", "1997");
        forged_write(&file, path);
        forged_free(&file);
        rig_ok(moco_trainer_load(rig.trainer, path));
        rig_ok(moco_trainer_load(twin.trainer, path));
        for (int s = 0; s < 6; s++) {
            rig_run(&twin, s, s + 1);
            rig_run(&rig, s, s + 1);
            assert_true(report_of(&twin).loss_scale == (s < 3 ? 64 : 128) && report_of(&twin).skipped == 0);
            assert_true(s == 0 || report_of(&rig).loss_scale == (s < 4 ? 64 : 128));
        }
        rig_expect_equal(&rig, &twin);
        unlink(path);
        rig_close(&rig);
        rig_close(&twin);
    }
}

/* ---- ranks ---- */

enum { TEAM_STEPS = 8 };

static void train(struct rank *rank)
{
    for (int i = 0; i < TEAM_STEPS && rank->status == MOCO_OK; i++)
        rank_step(rank, i);
}

static void ranks_skip_alike(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of("ref");
    struct team team;
    rank_narrow(&spec);
    team_open(&team, &spec, 2, NULL);
    team_run(&team, train);
    for (int r = 0; r < 2; r++)
        if (team.rank[r].status != MOCO_OK)
            fail_msg("rank %d: %s", r, team.rank[r].sentence);
    moco_step_report a = report_of(&team.rank[0].rig), b = report_of(&team.rank[1].rig);
    assert_true(a.skipped > 1 && a.skipped < TEAM_STEPS && a.step == TEAM_STEPS);
    assert_true(a.skipped == b.skipped && a.loss_scale == b.loss_scale && a.grad_norm == b.grad_norm);
    rig_expect_equal(&team.rank[0].rig, &team.rank[1].rig);
    team_close(&team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scale_by_itself),
        cmocka_unit_test(a_gradient_that_overflows_skips_the_step),
        cmocka_unit_test(the_scale_is_taken_out),
        cmocka_unit_test(below_one_a_step_fails),
        cmocka_unit_test(it_goes_on_to_the_same_bytes),
        cmocka_unit_test(files_that_lie_are_refused),
        cmocka_unit_test(a_scale_that_doubles_in_flight_is_the_next_steps),
        cmocka_unit_test(ranks_skip_alike),
    };
    if (harness_has(test_device(), BE_F16) && strcmp(test_device(), "ref") != 0)
        devices[1] = test_device();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
