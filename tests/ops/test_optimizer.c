/* SPDX-License-Identifier: MIT
 *
 * test_optimizer: SGD, LARS, moving average, gradient check, conversion to bf16 and its tiles over slabs of the cpu
 * device, at every instruction set with 1 to 3 threads, against double; and that cutting a slab changes no bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/map_case.h"

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/kernels/optimizer.h"
#include "backend/cpu/kernels/simd_table.h"
#include "half.h"

static const size_t counts[] = {1, 15, 63, 64, 65, 1000, 20011};

enum { MOST = 20011, COUNTS = sizeof counts / sizeof *counts };

static float *draw(uint64_t seed)
{
    float *at = take(sizeof(float) * MOST);
    for (size_t i = 0; i < MOST; i++)
        at[i] = (float)draw_normal(seed, i);
    return at;
}

static float *copy(const float *from)
{
    return memcpy(take(sizeof(float) * MOST), from, sizeof(float) * MOST);
}

static void sgd(void **state)
{
    (void)state;
    const double lr = 0.03, momentum = 0.9, decay = 1e-2;
    float *p = draw(1), *g = draw(2), *v = draw(3);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        for (size_t c = 0; c < COUNTS; c++) {
            size_t count = counts[c], cut = count / 3;
            float *p1 = copy(p), *v1 = copy(v), *p2 = copy(p), *v2 = copy(v);
            walk.team.simd->slab->sgd(count, (float)lr, (float)momentum, (float)decay, p1, g, v1);
            for (size_t i = 0; i < count; i++) {
                double step = (double)g[i] + decay * (double)p[i] + momentum * (double)v[i];
                check_near((double)v1[i], step, 1e-6, 0, "v", i);
                check_near((double)p1[i], (double)p[i] - lr * step, 5e-7, 0, "p", i);
            }
            assert_memory_equal(p1 + count, p + count, sizeof(float) * (MOST - count));
            assert_memory_equal(v1 + count, v + count, sizeof(float) * (MOST - count));
            walk.team.simd->slab->sgd(cut, (float)lr, (float)momentum, (float)decay, p2, g, v2);
            walk.team.simd->slab->sgd(count - cut, (float)lr, (float)momentum, (float)decay, p2 + cut, g + cut,
                                      v2 + cut);
            assert_memory_equal(p1, p2, sizeof(float) * count);
            assert_memory_equal(v1, v2, sizeof(float) * count);
            free(p1);
            free(v1);
            free(p2);
            free(v2);
        }
    }
    free(p);
    free(g);
    free(v);
}

static void lars(void **state)
{
    (void)state;
    const double rate = 0.03, momentum = 0.9, decay = 1e-2;
    float *p = draw(1), *g = draw(2), *v = draw(3);
    for (size_t c = 0; c < COUNTS; c++) {
        double weights = 0, pulls = 0, alone[2] = {0};
        size_t count = counts[c];
        for (size_t i = 0; i < count; i++) {
            double pull = (double)g[i] + decay * (double)p[i];
            weights += (double)p[i] * (double)p[i];
            pulls += pull * pull;
        }
        for (struct team_walk walk = {0}; team_next(&walk);) {
            double weight, pull;
            slab_norms(&walk.team, count, decay, p, g, &weight, &pull);
            check_near(weight, sqrt(weights), 1e-13 * sqrt(weights), 0, "weight", c);
            check_near(pull, sqrt(pulls), 1e-6 * sqrt(pulls), 0, "pull", c);
            if (walk.team.threads == 1) {
                alone[0] = weight;
                alone[1] = pull;
            }
            assert_true(weight == alone[0] && pull == alone[1]); /* whatever the number of threads */
            float *p1 = copy(p), *v1 = copy(v);
            walk.team.simd->slab->lars(count, (float)rate, (float)momentum, (float)decay, p1, g, v1);
            for (size_t i = 0; i < count; i++) {
                double step = momentum * (double)v[i] + rate * ((double)g[i] + decay * (double)p[i]);
                check_near((double)v1[i], step, 1e-6, 0, "v", i);
                check_near((double)p1[i], (double)p[i] - step, 1e-6, 0, "p", i);
            }
            assert_memory_equal(p1 + count, p + count, sizeof(float) * (MOST - count));
            assert_memory_equal(v1 + count, v + count, sizeof(float) * (MOST - count));
            free(p1);
            free(v1);
        }
    }
    free(p);
    free(g);
    free(v);
}

static void moving_average(void **state)
{
    (void)state;
    static const double momenta[] = {0, 0.3, 0.99, 0.999, 1};
    float *k = draw(1), *q = draw(2);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        for (size_t c = 0; c < COUNTS * 5; c++) {
            size_t count = counts[c / 5], cut = count / 3;
            double m = momenta[c % 5];
            float *out = copy(q), *again = copy(k);
            kern_ema(&walk.team, count, m, k, q, out);
            for (size_t i = 0; i < count; i++) {
                double want = m * (double)k[i] + (1 - m) * (double)q[i];
                check_near((double)out[i], want, m == 0 || m == 1 ? 0 : 4e-7, 0, "ema", i);
            }
            assert_memory_equal(out + count, q + count, sizeof(float) * (MOST - count));
            kern_ema(&walk.team, cut, m, again, q, again); /* in place, in two pieces */
            kern_ema(&walk.team, count - cut, m, again + cut, q + cut, again + cut);
            assert_memory_equal(out, again, sizeof(float) * count);
            kern_ema(&walk.team, count, m, k, k, out); /* equal ones stay */
            assert_memory_equal(out, k, sizeof(float) * count);
            free(out);
            free(again);
        }
    }
    free(k);
    free(q);
}

static void check(void **state)
{
    (void)state;
    static const struct slab_range ranges[] = {{0, 10}, {16, 900}, {1000, 1}, {1024, 18000}};
    static const size_t places[] = {9, 16, 1000, 19023};
    static const float bad_values[] = {NAN, INFINITY, -INFINITY};
    float *g = draw(1);
    g[5] = 1e30f; /* its square is beyond f32, but not beyond the check */
    double alone = 0, squares = 0, want = 0;
    for (size_t i = 0; i < MOST; i++)
        want += (double)g[i] * (double)g[i];
    int bad;
    for (struct team_walk walk = {0}; team_next(&walk);) {
        slab_check(&walk.team, MOST, g, ranges, 4, &squares, &bad);
        assert_int_equal(bad, -1);
        check_near(squares, want, 1e-13 * want, 0, "squares", 0);
        if (walk.team.threads == 1)
            alone = squares;
        assert_true(squares == alone); /* whatever the number of threads */
        for (int i = 0; i < 12; i++) {
            float kept = g[places[i / 3]];
            g[places[i / 3]] = bad_values[i % 3];
            slab_check(&walk.team, MOST, g, ranges, 4, &squares, &bad);
            assert_int_equal(bad, i / 3);
            assert_false(isfinite(squares));
            g[places[i / 3]] = kept;
        }
        slab_check(&walk.team, 0, g, ranges, 0, &squares, &bad);
        assert_true(squares == 0 && bad == -1);
    }
    free(g);
}

static void sums(void **state)
{
    (void)state;
    float *a = draw(1), *b = draw(2);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        for (size_t c = 0; c < COUNTS; c++) {
            float *to = copy(a);
            kern_add_floats(&walk.team, counts[c], b, to);
            for (size_t i = 0; i < MOST; i++)
                assert_true(to[i] == (i < counts[c] ? a[i] + b[i] : a[i]));
            free(to);
        }
    }
    free(a);
    free(b);
}

/* Every bf16, its neighbours and the middles between two: the bits of lib/half.h. */
static void bf16(void **state)
{
    (void)state;
    static const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    enum { ALL = 6 * 65536 };
    float *from = take(sizeof(float) * ALL);
    uint16_t *got = take(sizeof(uint16_t) * ALL);
    for (uint32_t i = 0; i < ALL; i++) {
        uint32_t bits = i / 6 << 16 | low[i % 6];
        memcpy(&from[i], &bits, sizeof bits);
    }
    for (struct team_walk walk = {0}; team_next(&walk);) {
        walk.team.simd->slab->to_bf16(ALL, from, got);
        for (size_t i = 0; i < ALL; i++)
            if (got[i] != bf16_from_float(from[i]))
                fail_msg("%s: %a becomes %04x, not %04x", walk.level, (double)from[i], (unsigned)got[i],
                         (unsigned)bf16_from_float(from[i]));
    }
    free(from);
    free(got);
}

/* A tile of weights in pairs, into lines that lie apart; nothing between them is written. */
static void tiles(void **state)
{
    (void)state;
    enum { APART = 96, BYTES = 8 * APART * 2 };
    float *from = draw(1);
    from[3] = NAN, from[40] = -INFINITY, from[77] = 1e-40f;
    uint16_t *to = aligned_alloc(64, BYTES);
    assert_non_null(to);
    for (int level = 0; kern_level(level) != NULL; level++)
        for (int of_outputs = 0; of_outputs < 2; of_outputs++) {
            memset(to, 0xa5, BYTES);
            kern_level(level)->slab->tile(from, of_outputs, to, APART);
            for (int at = 0; at < 8 * APART; at++) {
                int line = at / APART, other = at % APART / 2, pair = 2 * line + at % 2;
                int i = of_outputs ? other : pair, o = of_outputs ? pair : other;
                assert_int_equal(to[at], other < 16 ? bf16_from_float(from[i * 16 + o]) : 0xa5a5);
            }
        }
    free(to);
    free(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd),  cmocka_unit_test(lars), cmocka_unit_test(moving_average), cmocka_unit_test(check),
        cmocka_unit_test(sums), cmocka_unit_test(bf16), cmocka_unit_test(tiles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
