/* SPDX-License-Identifier: MIT
 *
 * test_memplan: over thousands of random lists of buffers, two that are alive together never share a byte, the slab is
 * no smaller than what is alive at once and little larger, and the plan is a pure function of the list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "backend/memplan.h"
#include "philox.h"
#include "support/failing_alloc.h"

#define MAX 200

static struct ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void check_plan(const struct memplan_buffer *b, int count, size_t total)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(b[i].offset % 64, 0);
        assert_true(b[i].offset <= total && b[i].bytes <= total - b[i].offset);
        for (int j = 0; j < i; j++) {
            int together = b[i].first <= b[j].last && b[j].first <= b[i].last;
            int overlap = b[i].offset < b[j].offset + b[j].bytes && b[j].offset < b[i].offset + b[i].bytes;
            if (together && overlap && b[i].bytes > 0 && b[j].bytes > 0)
                fail_msg("buffers %d and %d of %d overlap", j, i, count);
        }
    }
}

/* The most bytes that are alive at one step: no plan can do with less. */
static size_t peak(const struct memplan_buffer *b, int count, int steps)
{
    size_t most = 0;
    for (int step = 0; step < steps; step++) {
        size_t alive = 0;
        for (int i = 0; i < count; i++)
            if (b[i].first <= step && step <= b[i].last)
                alive += rounded(b[i].bytes);
        most = alive > most ? alive : most;
    }
    return most;
}

static int draw_list(struct rng *r, struct memplan_buffer *b, int steps)
{
    int count = (int)rng_below(r, MAX + 1);
    for (int i = 0; i < count; i++) {
        int first = (int)rng_below(r, (uint64_t)steps), span = (int)rng_below(r, 12);
        size_t bytes = (size_t)rng_below(r, UINT64_C(1) << rng_below(r, 24)); /* all magnitudes, often 0 */
        b[i] = (struct memplan_buffer){bytes, first, first + span < steps ? first + span : steps - 1, 12345};
    }
    return count;
}

static void test_random_lists(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 1, 0, 0, 0, RNG_TEST);
    double excess = 0;
    int lists = 0;
    for (int round = 0; round < 1500; round++) {
        struct memplan_buffer b[MAX], again[MAX];
        struct err err = {0};
        int steps = 1 + (int)rng_below(&r, 60), count = draw_list(&r, b, steps);
        memcpy(again, b, sizeof b);
        size_t total, second;
        assert_int_equal(memplan_solve(ctx, b, count, &total, &err), MOCO_OK);
        check_plan(b, count, total);
        size_t least = peak(b, count, steps);
        assert_true(total >= least);
        if (least > 0) {
            excess += (double)total / (double)least - 1;
            lists++;
            assert_true(total <= least + least / 2);
        } else {
            assert_int_equal(total, 0);
        }
        assert_int_equal(memplan_solve(ctx, again, count, &second, &err), MOCO_OK);
        assert_int_equal(total, second);
        for (int i = 0; i < count; i++)
            assert_int_equal(b[i].offset, again[i].offset);
    }
    assert_true(lists > 1000);
    print_message("slab over the peak of live bytes: %.2f %% on average of %d lists\n", 100 * excess / lists, lists);
    assert_true(excess / lists < 0.03);
}

/* Activations of a training step: kept from forward step i to backward step 2 n - 1 - i. All are alive in the middle.
 */
static void test_training_step(void **state)
{
    (void)state;
    enum { N = 50 };
    struct memplan_buffer b[2 * N];
    struct err err = {0};
    size_t total;
    for (int i = 0; i < N; i++) {
        b[2 * i] = (struct memplan_buffer){(size_t)(1000 + 37 * i), i, 2 * N - 1 - i, 0};
        b[2 * i + 1] = (struct memplan_buffer){(size_t)(500 + 64 * i), 2 * N - 1 - i, 2 * N - i, 0}; /* its gradient */
    }
    assert_int_equal(memplan_solve(ctx, b, 2 * N, &total, &err), MOCO_OK);
    check_plan(b, 2 * N, total);
    size_t least = peak(b, 2 * N, 2 * N + 1);
    assert_true(total >= least && total <= least + least / 10);
}

static void test_edges(void **state)
{
    (void)state;
    struct err err = {0};
    size_t total = 77;
    assert_int_equal(memplan_solve(ctx, NULL, 0, &total, &err), MOCO_OK);
    assert_int_equal(total, 0);

    struct memplan_buffer zero[2] = {{0, 0, 9, 99}, {1, 3, 3, 99}}; /* empty buffers need no place */
    assert_int_equal(memplan_solve(ctx, zero, 2, &total, &err), MOCO_OK);
    assert_int_equal(total, 64);
    assert_int_equal(zero[0].offset, 0);

    struct memplan_buffer touch[2] = {{64, 0, 4, 0}, {64, 4, 5, 0}}; /* steps are inclusive: both alive at 4 */
    assert_int_equal(memplan_solve(ctx, touch, 2, &total, &err), MOCO_OK);
    assert_int_equal(total, 128);
    struct memplan_buffer apart[2] = {{64, 0, 3, 0}, {64, 4, 5, 0}};
    assert_int_equal(memplan_solve(ctx, apart, 2, &total, &err), MOCO_OK);
    assert_int_equal(total, 64);

    struct memplan_buffer backwards = {64, 5, 4, 0};
    assert_int_equal(memplan_solve(ctx, &backwards, 1, &total, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "buffer 0 is alive from step 5 to step 4"));
}

static void test_overflow(void **state)
{
    (void)state;
    struct err err = {0};
    size_t total;
    struct memplan_buffer round_up = {SIZE_MAX - 5, 0, 0, 0};
    assert_int_equal(memplan_solve(ctx, &round_up, 1, &total, &err), MOCO_ENOMEM);
    err = (struct err){0};
    struct memplan_buffer sum[2] = {{SIZE_MAX / 2 + 100, 0, 0, 0}, {SIZE_MAX / 2 + 100, 0, 0, 0}};
    assert_int_equal(memplan_solve(ctx, sum, 2, &total, &err), MOCO_ENOMEM);
    assert_non_null(strstr(err.text, "memory plan"));
    sum[1].first = sum[1].last = 1; /* not at once: fits */
    err = (struct err){0};
    assert_int_equal(memplan_solve(ctx, sum, 2, &total, &err), MOCO_OK);
    assert_int_equal(sum[0].offset, sum[1].offset);
    assert_int_equal(memplan_solve(ctx, sum, -1, &total, &err), MOCO_EINVAL);
}

static void test_failing_allocation(void **state)
{
    (void)state;
    for (int at = 0; at < 3; at++) {
        struct failing_alloc f = {.fail_at = -1};
        struct ctx *failing = NULL;
        struct err err = {0};
        assert_int_equal(ctx_create(&failing,
                                    &(struct ctx_options){
                                        .alloc = failing_alloc, .release = failing_release, .user = &f, .threads = 1},
                                    &err),
                         MOCO_OK);
        f.fail_at = f.calls + at;
        struct memplan_buffer b[3] = {{10, 0, 1, 0}, {200, 1, 2, 0}, {30, 2, 3, 0}};
        size_t total;
        moco_status status = memplan_solve(failing, b, 3, &total, &err);
        assert_int_equal(status, at < 2 ? MOCO_ENOMEM : MOCO_OK);
        ctx_unref(failing);
        assert_int_equal(f.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lists), cmocka_unit_test(test_training_step),      cmocka_unit_test(test_edges),
        cmocka_unit_test(test_overflow),     cmocka_unit_test(test_failing_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
