/* SPDX-License-Identifier: MIT
 *
 * test_kernels_winograd: 3 x 3 convolutions of inference by Winograd's way, with tiles of 2 x 2 and of 4 x 4 outputs, at
 * every instruction set that has the loops, with 1 to 3 threads, in both orders of channels, against plain double code;
 * and that a sample's bits depend neither on the launch that it is in nor on the number of threads. */
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

#include "backend/cpu/kernels/simd_table.h"

/* One pixel, maps smaller than a tile, whole tiles, tiles that are cut off on either side, one channel more than a
 * stretch, and what makes several groups and large weights. */
static const struct kern_winograd shapes[] = {
    {.n = 1, .ci = 16, .co = 32, .h = 1, .w = 1},  {.n = 3, .ci = 32, .co = 32, .h = 3, .w = 5},
    {.n = 2, .ci = 48, .co = 64, .h = 8, .w = 8},  {.n = 5, .ci = 16, .co = 96, .h = 7, .w = 6},
    {.n = 1, .ci = 144, .co = 32, .h = 9, .w = 2}, {.n = 2, .ci = 160, .co = 96, .h = 24, .w = 23},
};

enum { SHAPES = sizeof shapes / sizeof *shapes, AREA = 9, GUARD = 64 };

struct winograd_case {
    struct kern_winograd conv;
    size_t xs, ys, ws; /* numbers */
    double *x, *y, *w, *scale, *bias, *want, *size;
};

static double *draw(size_t count, uint64_t seed)
{
    double *out = take(count * sizeof *out);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)draw_normal(seed, i);
    return out;
}

/* Output channel o of a sample at (y, x): the sum, and that of the absolute values. */
static double at_place(const struct winograd_case *t, int n, int o, int y, int x, double *size)
{
    const struct kern_winograd *c = &t->conv;
    double sum = 0;
    for (int i = 0; i < c->ci; i++)
        for (int tap = 0; tap < AREA; tap++) {
            int row = y + tap / 3 - 1, column = x + tap % 3 - 1;
            if (row < 0 || row >= c->h || column < 0 || column >= c->w)
                continue;
            double term =
                t->x[((n * c->ci + i) * c->h + row) * c->w + column] * t->w[(o * c->ci + i) * AREA + tap] * t->scale[o];
            sum += term;
            *size += fabs(term);
        }
    return sum;
}

static void take_case(struct winograd_case *t, const struct kern_winograd *conv)
{
    *t = (struct winograd_case){.conv = *conv};
    size_t n = (size_t)conv->n, ci = (size_t)conv->ci, co = (size_t)conv->co, map = (size_t)conv->h * (size_t)conv->w;
    t->xs = n * ci * map;
    t->ys = n * co * map;
    t->ws = co * ci * AREA;
    t->x = draw(t->xs, 1);
    t->y = draw(t->ys, 2);
    t->w = draw(t->ws, 3);
    t->scale = draw(co, 4);
    t->bias = draw(co, 5);
    t->want = take(t->ys * sizeof(double));
    t->size = take(t->ys * sizeof(double));
    for (size_t i = 0; i < t->ys; i++) {
        size_t o = i / map % co;
        t->size[i] = 0;
        t->want[i] =
            at_place(t, (int)(i / map / co), (int)o, (int)(i % map) / conv->w, (int)(i % map) % conv->w, &t->size[i]) +
            t->bias[o];
    }
}

static void drop_case(struct winograd_case *t)
{
    double *blocks[] = {t->x, t->y, t->w, t->scale, t->bias, t->want, t->size};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

static float *floats(const double *from, size_t count)
{
    float *out = take(count * sizeof *out);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)from[i];
    return out;
}

static float *weights_of(const struct kern_team *team, const struct winograd_case *t, const struct kern_winograd *conv)
{
    size_t lanes = (size_t)team->simd->winograd->lanes, inputs = (size_t)conv->ci;
    float *slab = take(t->ws * sizeof *slab), *scale = floats(t->scale, (size_t)conv->co);
    float *out = take(kern_winograd_weights_bytes(conv));
    for (size_t i = 0; i < t->ws; i++) {
        size_t tap = i % AREA, in = i / AREA % inputs, o = i / AREA / inputs;
        size_t block = (o / lanes * (inputs / lanes) + in / lanes) * AREA + tap;
        slab[block * lanes * lanes + in % lanes * lanes + o % lanes] = (float)t->w[i];
    }
    kern_winograd_weights(team, conv, slab, scale, out);
    free(slab);
    free(scale);
    return out;
}

/* What comes of samples [first, first + n) of the case, [n][co][h][w]; relu is what sum is. */
static double *compute(const struct kern_team *team, const struct winograd_case *t, const float *weights, int blocked,
                       int first, int n, int sum)
{
    struct kern_winograd conv = t->conv;
    int lanes = team->simd->winograd->lanes;
    conv.n = n;
    conv.blocked = blocked;
    struct kern_map x = {.n = n, .groups = 1, .c = conv.ci, .h = conv.h, .w = conv.w}, y = x;
    y.c = conv.co;
    x.block = blocked ? lanes : x.c;
    y.block = blocked ? lanes : y.c;
    size_t bytes = kern_winograd_scratch(team, &conv), half = (size_t)first;
    unsigned char *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64 + GUARD);
    assert_non_null(scratch);
    memset(scratch, 0xff, bytes); /* NaN */
    memset(scratch + bytes, 0x5a, GUARD);
    void *x_at = take(map_bytes(&x)), *y_at = take(map_bytes(&y));
    map_pack(&x, t->x + half * (t->xs / (size_t)t->conv.n), x_at);
    map_pack(&y, t->y + half * (t->ys / (size_t)t->conv.n), y_at);
    float *bias = floats(t->bias, (size_t)conv.co);
    struct kern_winograd_io io = {
        .x = x_at, .weights = weights, .bias = bias, .y = y_at, .sum = sum, .relu = sum, .scratch = scratch};
    kern_winograd_forward(team, &conv, &io);
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(scratch[bytes + i], 0x5a);
    double *out = take(map_count(&y) * sizeof *out);
    map_unpack(&y, y_at, out);
    free(scratch);
    free(x_at);
    free(y_at);
    free(bias);
    return out;
}

static void check_values(const struct winograd_case *t, const double *got, int sum)
{
    double slack = t->conv.tile == 4 ? 4e-6 : 1e-6; /* of the absolute terms: sums of tiles of 4 x 4 go up to 25-fold */
    for (size_t i = 0; i < t->ys; i++) {
        double want = t->want[i] + (sum ? t->y[i] : 0);
        check_near(got[i], sum && want < 0 ? 0 : want, slack * t->size[i] + 1e-6 * fabs(t->y[i]) + 1e-6, 0, "y", i);
    }
}

/* The last sample alone, and all of them, in both orders; with and without what is added. */
static void check_team(const struct kern_team *team, const struct winograd_case *t, double **bits)
{
    float *weights = weights_of(team, t, &t->conv);
    size_t sample = t->ys / (size_t)t->conv.n, last = (size_t)t->conv.n - 1;
    for (int sum = 0; sum < 2; sum++)
        for (int blocked = 0; blocked < 2; blocked++) {
            double *all = compute(team, t, weights, blocked, 0, t->conv.n, sum);
            double *one = compute(team, t, weights, blocked, (int)last, 1, sum);
            check_values(t, all, sum);
            assert_memory_equal(one, all + last * sample, sample * sizeof *one);
            if (bits[sum] == NULL)
                bits[sum] = take(t->ys * sizeof *all);
            else
                assert_memory_equal(all, bits[sum], t->ys * sizeof *all);
            memcpy(bits[sum], all, t->ys * sizeof *all);
            free(all);
            free(one);
        }
    free(weights);
}

static void values_and_bits(void **state)
{
    (void)state;
    for (int s = 0; s < 2 * SHAPES; s++) {
        struct winograd_case t;
        struct kern_winograd conv = shapes[s / 2];
        conv.tile = s % 2 ? 4 : 2;
        take_case(&t, &conv);
        double *bits[2] = {NULL, NULL};
        const char *level = NULL;
        for (struct team_walk walk = {0}; team_next(&walk);) {
            if (!kern_winograd_fits(&walk.team, &conv)) {
                assert_null(walk.team.simd->winograd->input); /* channels are whole panels at every level */
                continue;
            }
            if (level == NULL || strcmp(level, walk.level) != 0)
                for (int i = 0; i < 2; i++) {
                    free(bits[i]);
                    bits[i] = NULL;
                }
            level = walk.level;
            check_team(&walk.team, &t, bits);
        }
        free(bits[0]);
        free(bits[1]);
        drop_case(&t);
    }
}

static void channels_that_do_not_fit(void **state)
{
    (void)state;
    for (struct team_walk walk = {0}; team_next(&walk);) {
        int lanes = walk.team.simd->winograd->lanes;
        struct kern_winograd inputs = {.n = 1, .ci = lanes / 2, .co = 4 * lanes, .h = 4, .w = 4, .tile = 2},
                             outputs = {.n = 1, .ci = lanes, .co = 3 * lanes, .h = 4, .w = 4, .tile = 2};
        assert_int_equal(kern_winograd_fits(&walk.team, &inputs), 0);
        assert_int_equal(kern_winograd_fits(&walk.team, &outputs), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_and_bits), cmocka_unit_test(channels_that_do_not_fit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
