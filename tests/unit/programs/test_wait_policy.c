/* SPDX-License-Identifier: MIT
 *
 * test_wait_policy: what a program makes of --wait and of the environment, and that it never starts itself again twice.
 * The starting itself is in tests/train/run/test_wait.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "support/wait_policy.h"

static struct wait_plan plan(const char *wanted, const char *policy, const char *spins, const char *ours)
{
    struct wait_environment e = {policy, spins, ours};
    return wait_policy_plan(wanted, &e);
}

static void assert_plan(struct wait_plan p, enum wait_kind kind, int restart)
{
    assert_int_equal(p.kind, kind);
    assert_int_equal(p.restart, restart);
}

static void nothing_said(void **state)
{
    (void)state;
    assert_plan(plan("", NULL, NULL, NULL), WAIT_AUTO, 1);
    assert_plan(plan("", "active", NULL, NULL), WAIT_GIVEN, 0); /* the user's wish */
    assert_plan(plan("", "PASSIVE", NULL, NULL), WAIT_GIVEN, 0);
    assert_plan(plan("", NULL, "100", NULL), WAIT_GIVEN, 0);
    assert_plan(plan("", "", NULL, NULL), WAIT_GIVEN, 0);
}

static void the_command_line_wins(void **state)
{
    (void)state;
    assert_plan(plan("auto", "active", NULL, NULL), WAIT_AUTO, 1);
    assert_plan(plan("passive", NULL, "300000", NULL), WAIT_PASSIVE, 1);
    assert_plan(plan("active", "passive", NULL, NULL), WAIT_ACTIVE, 1);
    assert_plan(plan("active", NULL, NULL, NULL), WAIT_ACTIVE, 0); /* what OpenMP does as it comes */
}

/* What a program leaves for itself, started again, and for the programs that it starts. */
static void started_again(void **state)
{
    (void)state;
    assert_plan(plan("", NULL, "950", "auto 950"), WAIT_AUTO, 0);
    assert_plan(plan("auto", NULL, "950", "auto 950"), WAIT_AUTO, 0);
    assert_plan(plan("", "passive", "0", "passive 0"), WAIT_PASSIVE, 0);
    assert_plan(plan("passive", "passive", "0", "passive 0"), WAIT_PASSIVE, 0);
    assert_plan(plan("", NULL, NULL, "active"), WAIT_ACTIVE, 0); /* a child of compare --wait active */
    assert_plan(plan("active", NULL, NULL, "active"), WAIT_ACTIVE, 0);
    assert_plan(plan("passive", NULL, "950", "auto 950"), WAIT_PASSIVE, 1); /* a child told otherwise */
    assert_plan(plan("active", "passive", "0", "passive 0"), WAIT_ACTIVE, 1);
}

/* MOCO_WAIT of an earlier program, and the user has said something since; or rubbish. */
static void ours_no_longer(void **state)
{
    (void)state;
    assert_plan(plan("", NULL, "7", "auto 950"), WAIT_GIVEN, 0);
    assert_plan(plan("", "active", "950", "auto 950"), WAIT_GIVEN, 0);
    assert_plan(plan("", "active", NULL, "active"), WAIT_GIVEN, 0);
    assert_plan(plan("", NULL, NULL, "auto 950"), WAIT_AUTO, 1);
    assert_plan(plan("", NULL, NULL, "auto"), WAIT_AUTO, 1);
    assert_plan(plan("", NULL, NULL, "automatic 950"), WAIT_AUTO, 1);
    assert_plan(plan("", NULL, NULL, ""), WAIT_AUTO, 1);
}

static void spins(void **state)
{
    (void)state;
    assert_int_equal(wait_policy_spins(26), 2307);
    assert_int_equal(wait_policy_spins(5), 12000);
    assert_int_equal(wait_policy_spins(1e9), 50); /* a clock that stood still, or a very slow machine */
    assert_int_equal(wait_policy_spins(0), 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_said),  cmocka_unit_test(the_command_line_wins),
        cmocka_unit_test(started_again), cmocka_unit_test(ours_no_longer),
        cmocka_unit_test(spins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
