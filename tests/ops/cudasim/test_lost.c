/* SPDX-License-Identifier: MIT
 *
 * test_lost: a GPU that is lost while a trainer has two steps with it (options.ahead): whichever kernel or graph of the two
 * faults, the loss is told once, by the call that waits for it; no step counts that had not landed; everything can be freed; and the
 * checkpoint on disk is what it was, from which the training goes on to the same bytes. On the simulated driver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cudasim/sim_driver.h"
#include "support/rigs/ahead_rig.h"

static int warnings; /* of failures that nobody was told of */

static void note_warning(void *user, int level, const char *text)
{
    (void)user;
    warnings += level == MOCO_LOG_WARN && strstr(text, "nobody was told") != NULL;
}

enum { KEPT = 4 }; /* steps of the checkpoint; those behind it repeat a recording */

/* Every call from here on fails, no step counts that had not landed, and the file is what it was. */
static void expect_lost(struct rig *rig, int64_t landed, const char *path)
{
    size_t before, after;
    char *kept = rig_read_file(path, &before);
    double zeros[2] = {0, 0};
    for (int look = LOOK_GET; look <= LOOK_EMBED; look++)
        assert_true(ahead_look_at(rig, (enum ahead_look)look, zeros, &scratch_group) != MOCO_OK);
    assert_true(rig_step(rig, landed) != MOCO_OK);
    assert_true(moco_trainer_save(rig->trainer, path, NULL) != MOCO_OK);
    rig_expect(moco_trainer_load(rig->trainer, path), MOCO_EDEVICE);
    assert_int_equal(ahead_step(rig), landed);
    char *same = rig_read_file(path, &after);
    assert_int_equal(before, after);
    assert_memory_equal(kept, same, before);
    free(kept);
    free(same);
}

/* The training goes on from the file, on a card that was reset, to the bytes of `expected`. */
static void expect_goes_on(const struct rig_spec *spec, const char *path, const char *expected)
{
    struct rig rig;
    size_t bytes[2];
    rig_open(&rig, spec);
    rig_ok(moco_trainer_load(rig.trainer, path));
    assert_int_equal(ahead_step(&rig), KEPT);
    rig_run(&rig, KEPT, KEPT + 2);
    rig_ok(moco_trainer_save(rig.trainer, path, NULL));
    char *a = rig_read_file(path, &bytes[0]), *b = rig_read_file(expected, &bytes[1]);
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(a, b, bytes[0]);
    free(a);
    free(b);
    rig_close(&rig);
}

/* A kernel or a graph of two steps, of which the second is given before the first is over, faults when it runs: number `fault`
 * of them. 0: there are not so many. */
static int lose_device(const struct rig_spec *spec, int fault, const char *path)
{
    struct rig rig;
    warnings = 0;
    rig_open(&rig, spec);
    rig_run(&rig, 0, KEPT);
    rig_ok(moco_trainer_save(rig.trainer, path, NULL));
    sim_plant(SIM_KERNEL_FAULTS, fault);
    rig_ok(rig_step(&rig, KEPT)); /* nobody waits */
    assert_int_equal(ahead_step(&rig), KEPT);
    int64_t landed = KEPT;
    moco_status status = rig_step(&rig, KEPT + 1);
    if (status == MOCO_OK) {
        landed++;
        status = moco_trainer_wait(rig.trainer);
    }
    int due = sim_planted_is_due();
    sim_plant(SIM_SOUND, 0);
    rig_expect(status, due ? MOCO_OK : MOCO_EDEVICE);
    if (!due) {
        ahead_says("the device is lost");
        assert_int_equal(landed, KEPT + fault / 4);
        rig_ok(moco_trainer_wait(rig.trainer)); /* told once */
        expect_lost(&rig, landed, path);
    }
    rig_close(&rig);
    assert_int_equal(warnings, 0);
    assert_int_equal(sim_live(), 0);
    return !due;
}

static void a_device_that_is_lost_with_two_steps_is_told_once(void **state)
{
    (void)state;
    struct rig twin;
    struct rig_spec spec = ahead_spec("cudasim:0", RIG_MOCO);
    char path[320], expected[320];
    int faults = 0;
    spec.context.log = note_warning;
    snprintf(path, sizeof path, "%s", scratch_path(&scratch_group, "kept"));
    snprintf(expected, sizeof expected, "%s", scratch_path(&scratch_group, "expected"));
    rig_open(&twin, &spec);
    rig_run(&twin, 0, KEPT + 2);
    rig_ok(moco_trainer_save(twin.trainer, expected, NULL));
    rig_close(&twin);
    for (; lose_device(&spec, faults, path); faults++)
        expect_goes_on(&spec, path, expected);
    assert_int_equal(faults, 8); /* of each step: its work, the decision, the commit, the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_lost_with_two_steps_is_told_once),
    };
    return cmocka_run_group_tests(tests, scratch_group_make, scratch_group_remove);
}
