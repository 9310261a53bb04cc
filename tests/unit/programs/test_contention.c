/* SPDX-License-Identifier: MIT
 *
 * test_contention: when a program says that others take its processors, on numbers as they were measured: two cores,
 * ten seconds each. Nothing here looks at this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "support/contention.h"

static double share(double own, double all, int processors, int64_t preempted)
{
    struct contention_use use = {10, own, all, processors, preempted};
    return contention_share(&use);
}

static void others_that_take_what_it_wants(void **state)
{
    (void)state;
    assert_in_range((int)(100 * share(10.1, 20.0, 2, 2100)), 48, 50); /* a second process of the same kind */
    assert_in_range((int)(100 * share(3, 19.9, 2, 600)), 83, 85);     /* nine others */
    assert_true(share(155, 318, 32, 9000) > 0.4);
}

static void quiet_machines(void **state)
{
    (void)state;
    assert_true(share(19.6, 19.8, 2, 60) == 0);   /* both cores are its own */
    assert_true(share(19.8, 20.0, 2, 9000) == 0); /* 8 threads on 2 cores, and the loader's: its own threads push */
    assert_true(share(10.0, 10.2, 2, 12) == 0);   /* one thread */
    assert_true(share(2, 2.2, 2, 5) == 0);        /* waits for data */
    assert_true(share(20, 300, 32, 3) == 0);      /* others are busy, cores are idle */
}

static void others_that_do_not_disturb(void **state)
{
    (void)state;
    assert_true(share(12, 20, 2, 90) == 0);      /* they run at a low priority, on what it leaves */
    assert_true(share(17.5, 19.5, 2, 900) == 0); /* a tenth: nothing to do about it */
    assert_true(share(10, 15, 2, 900) == 0);     /* a quarter is idle */
}

/* Counters of different clocks, a processor that was taken away, a stretch of no length. */
static void numbers_that_cannot_be(void **state)
{
    (void)state;
    struct contention_use none = {0, 0, 0, 2, 0};
    assert_true(contention_share(&none) == 0);
    assert_true(share(20, 19, 2, 900) == 0);
    assert_true(share(-5, 40, 2, 900) <= 1);
    assert_true(share(10, 20, 0, 900) == 0);
}

static void the_sentence(void **state)
{
    (void)state;
    char text[400];
    contention_sentence(0.473, "--wait passive", text, sizeof text);
    assert_string_equal(text, "other programs take 47 % of the processors, and a step waits for the slowest of its "
                              "threads: --wait passive, or a lower priority for them (nice) loses less time");
    contention_sentence(0.5, "", text, sizeof text);
    assert_non_null(strstr(text, "threads: a lower priority for them"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_that_take_what_it_wants),
        cmocka_unit_test(quiet_machines),
        cmocka_unit_test(others_that_do_not_disturb),
        cmocka_unit_test(numbers_that_cannot_be),
        cmocka_unit_test(the_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
