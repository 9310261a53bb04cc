/* SPDX-License-Identifier: MIT
 *
 * test_wait_beside: when a run waits briefly, on stretches as they are measured (two cores, a quarter of a second), and
 * that a team of OpenMP threads then comes, and goes again. Nothing here looks
 * at how busy this machine is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <sched.h>

#include "support/wait_beside.h"

static const struct contention_use alone = {0.25, 0.49, 0.5, 2, 1}, shared = {0.25, 0.25, 0.5, 2, 60},
                                   quieter = {0.25, 0.3, 0.36, 2, 2}; /* its threads sleep: a third is idle */

static int look(struct wait_beside *w, const struct contention_use *use, int times)
{
    int brief = w->brief;
    for (int i = 0; i < times; i++)
        brief = wait_beside_look(w, use);
    return brief;
}

static void one_look_is_not_enough(void **state)
{
    (void)state;
    struct wait_beside w = {0};
    assert_int_equal(look(&w, &alone, 40), 0);
    assert_int_equal(look(&w, &shared, 1), 0);
    assert_int_equal(look(&w, &alone, 1), 0);
    assert_int_equal(look(&w, &shared, 2), 1);
}

/* Who waits briefly sleeps more, and others take what is left. */
static void what_keeps_it_brief(void **state)
{
    (void)state;
    struct wait_beside w = {0};
    look(&w, &shared, 2);
    assert_int_equal(look(&w, &quieter, 100), 1);
    assert_int_equal(look(&w, &alone, 7), 1);
    assert_int_equal(look(&w, &alone, 1), 0);
    assert_int_equal(look(&w, &quieter, 100), 0); /* that alone does not make it so */
}

/* Others that come and go: each return that was too early makes the next one later, up to a minute. */
static void it_does_not_flutter(void **state)
{
    (void)state;
    struct wait_beside w = {0};
    int expected = 8;
    look(&w, &shared, 2);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(look(&w, &alone, expected - 1), 1);
        assert_int_equal(look(&w, &alone, 1), 0);
        assert_int_equal(look(&w, &shared, 2), 1);
        expected = 2 * expected < 240 ? 2 * expected : 240;
    }
    look(&w, &alone, 240);
    look(&w, &alone, 9); /* alone for longer: forgiven */
    look(&w, &shared, 2);
    assert_int_equal(look(&w, &alone, 8), 0);
}

static void stretches_that_cannot_be(void **state)
{
    (void)state;
    struct wait_beside w = {0};
    const struct contention_use none = {0, 0, 0, 2, 0}, backwards = {0.25, 0.6, 0.5, 2, 60};
    assert_int_equal(look(&w, &none, 10), 0);
    assert_int_equal(look(&w, &backwards, 10), 0);
    look(&w, &shared, 2);
    assert_int_equal(look(&w, &none, 8), 0);
}

/* ---- the team ---- */

static int threads_here(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *e; (e = readdir(tasks)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* The thread that forms it and one more, for all processors compute. */
static void the_team_comes_and_goes(void **state)
{
    (void)state;
#ifdef MOCO_HAVE_ONEDNN
    const int more = 2;
#else
    const int more = 0; /* there is no GNU OpenMP in the process */
#endif
    const int before = threads_here();
    wait_beside_team(1);
    int there = 0;
    for (int tries = 0; tries < 100000 && !there; tries++) { /* libgomp starts it meanwhile */
        there = threads_here() >= before + more;
        wait_beside_team(1); /* once is enough */
        sched_yield();
    }
    assert_true(there);
    wait_beside_team(0);
    wait_beside_team(0);
    for (int tries = 0; tries < 100000 && threads_here() > before; tries++)
        sched_yield();
    assert_int_equal(threads_here(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_look_is_not_enough),  cmocka_unit_test(what_keeps_it_brief),
        cmocka_unit_test(it_does_not_flutter),     cmocka_unit_test(stretches_that_cannot_be),
        cmocka_unit_test(the_team_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
