/* SPDX-License-Identifier: MIT
 *
 * test_kernels_conv: a convolution's weight gradient by kernels_conv, at every instruction set that has the loops, with
 * 1, 2, 3, 4 and 6 threads, against plain double code. Levels without them say so, and plans keep oneDNN's primitive.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/map_case.h"
#include "support/not_tested.h"

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/simd_table.h"

/* Odd numbers of pixels, one pixel, kernels wider than the map, strides that leave rows out, more inputs than outputs
 * and the other way round, several stretches, one and three blocks of channels. */
static const struct kern_conv shapes[] = {
    {.n = 1, .ci = 16, .co = 16, .h = 1, .w = 1, .kernel = 1, .stride = 1, .pad = 0},
    {.n = 3, .ci = 32, .co = 48, .h = 3, .w = 5, .kernel = 1, .stride = 1, .pad = 0},
    {.n = 2, .ci = 48, .co = 16, .h = 7, .w = 7, .kernel = 3, .stride = 1, .pad = 1},
    {.n = 2, .ci = 16, .co = 64, .h = 9, .w = 6, .kernel = 3, .stride = 2, .pad = 1},
    {.n = 3, .ci = 80, .co = 32, .h = 8, .w = 5, .kernel = 1, .stride = 2, .pad = 0},
    {.n = 1, .ci = 16, .co = 32, .h = 2, .w = 2, .kernel = 5, .stride = 1, .pad = 2},
    {.n = 2, .ci = 64, .co = 32, .h = 19, .w = 23, .kernel = 1, .stride = 1, .pad = 0},
    {.n = 1, .ci = 32, .co = 32, .h = 24, .w = 23, .kernel = 3, .stride = 1, .pad = 1},
    {.n = 1, .ci = 2048, .co = 16, .h = 5, .w = 17, .kernel = 1, .stride = 1, .pad = 0},
};

enum { SHAPES = sizeof shapes / sizeof *shapes, GUARD = 64 };

static struct kern_conv shape(int i)
{
    struct kern_conv conv = shapes[i];
    conv.out_h = (conv.h + 2 * conv.pad - conv.kernel) / conv.stride + 1;
    conv.out_w = (conv.w + 2 * conv.pad - conv.kernel) / conv.stride + 1;
    return conv;
}

static uint16_t *numbers(size_t count, uint64_t seed, double *plain)
{
    struct kern_map map = {.n = 1, .groups = 1, .c = 1, .h = 1, .w = (int)count, .block = 1, .bf16 = 1};
    uint16_t *out = take(count * sizeof *out);
    for (size_t i = 0; i < count; i++)
        plain[i] = map_round(&map, draw_normal(seed, i));
    map_pack(&map, plain, out);
    return out;
}

/* dw[co][ci][ky][kx] and the sum of the absolute values of its terms. */
static void by_definition(const struct kern_conv *c, const double *x, const double *dy, double *dw, double *size)
{
    size_t at = 0;
    for (int o = 0; o < c->co; o++)
        for (int i = 0; i < c->ci; i++)
            for (int tap = 0; tap < c->kernel * c->kernel; tap++, at++) {
                dw[at] = size[at] = 0;
                for (int p = 0; p < c->n * c->out_h * c->out_w; p++) {
                    int iy = p / c->out_w % c->out_h * c->stride - c->pad + tap / c->kernel;
                    int ix = p % c->out_w * c->stride - c->pad + tap % c->kernel, n = p / c->out_w / c->out_h;
                    if (iy < 0 || iy >= c->h || ix < 0 || ix >= c->w)
                        continue;
                    double term = dy[p * c->co + o] * x[((n * c->h + iy) * c->w + ix) * c->ci + i];
                    dw[at] += term;
                    size[at] += fabs(term);
                }
            }
}

static size_t place(const struct kern_conv *c, size_t i)
{
    size_t taps = (size_t)(c->kernel * c->kernel), inputs = (size_t)c->ci;
    size_t tap = i % taps, in = i / taps % inputs, out = i / taps / inputs;
    return ((out / 16 * (inputs / 16) + in / 16) * taps + tap) * 256 + in % 16 * 16 + out % 16;
}

struct conv_case {
    struct kern_conv conv;
    size_t weights;
    double *want, *size;
    uint16_t *x, *dy;
    float *got;
};

/* Written, then added to what is there; nothing outside of scratch and result is touched. */
static void check_team(const struct kern_team *team, const struct conv_case *t)
{
    size_t bytes = kern_conv_weights_scratch(team, &t->conv);
    unsigned char *block = aligned_alloc(64, (bytes + 63) / 64 * 64 + GUARD);
    assert_non_null(block);
    memset(block + bytes, 0x5a, GUARD);
    memset(t->got, 0xff, t->weights * sizeof(float)); /* NaN */
    kern_conv_weights(team, &t->conv, t->x, t->dy, 0, t->got, block);
    for (size_t i = 0; i < t->weights; i++)
        check_near(t->got[place(&t->conv, i)], t->want[i], 1e-6 * t->size[i] + 1e-30, 0, "dw", i);
    kern_conv_weights(team, &t->conv, t->x, t->dy, 1, t->got, block);
    for (size_t i = 0; i < t->weights; i++)
        check_near(t->got[place(&t->conv, i)], 2 * t->want[i], 2e-6 * t->size[i] + 1e-30, 0, "dw twice", i);
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(block[bytes + i], 0x5a);
    free(block);
}

static void weights(void **state)
{
    (void)state;
    int levels = 0;
    for (int s = 0; s < SHAPES; s++) {
        struct conv_case t = {.conv = shape(s)};
        const struct kern_conv *c = &t.conv;
        size_t in = (size_t)(c->n * c->h * c->w * c->ci), out = (size_t)(c->n * c->out_h * c->out_w * c->co);
        t.weights = (size_t)(c->co * c->ci * c->kernel * c->kernel);
        double *x = take(in * sizeof *x), *dy = take(out * sizeof *dy);
        t.x = numbers(in, 1, x);
        t.dy = numbers(out, 2, dy);
        t.want = take(t.weights * sizeof *t.want);
        t.size = take(t.weights * sizeof *t.size);
        t.got = take(t.weights * sizeof *t.got);
        by_definition(c, x, dy, t.want, t.size);
        for (struct team_walk walk = {0}; team_next(&walk);) {
            if (!kern_conv_weights_fits(&walk.team, c)) {
                assert_true(walk.team.simd->conv->pack == NULL);
                continue;
            }
            levels++;
            check_team(&walk.team, &t);
            struct kern_team larger = walk.team; /* pixels and channels both divided */
            for (larger.threads = 4; walk.team.threads == 3 && larger.threads <= 6; larger.threads += 2)
                check_team(&larger, &t);
        }
        void *blocks[] = {x, dy, t.x, t.dy, t.want, t.size, t.got};
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
            free(blocks[i]);
    }
    if (levels == 0)
        not_tested_here(NO_BF16);
}

/* Channels that do not come in blocks of 16 are not for this kernel. */
static void misfits(void **state)
{
    (void)state;
    for (struct team_walk walk = {0}; team_next(&walk);) {
        struct kern_conv conv = {
            .n = 2, .ci = 3, .co = 64, .h = 8, .w = 8, .out_h = 8, .out_w = 8, .kernel = 1, .stride = 1};
        assert_int_equal(kern_conv_weights_fits(&walk.team, &conv), 0);
        conv.ci = 16;
        conv.co = 24;
        assert_int_equal(kern_conv_weights_fits(&walk.team, &conv), 0);
    }
}

/* The same bits from run to run, whatever stood in scratch before. */
static void repeats(void **state)
{
    (void)state;
    struct kern_conv conv = shape(7);
    size_t in = (size_t)(conv.n * conv.h * conv.w * conv.ci), weights = 9 * 32 * 32;
    double *plain = take(in * sizeof *plain);
    uint16_t *x = numbers(in, 3, plain), *dy = numbers(in, 4, plain);
    float *first = take(weights * sizeof *first), *second = take(weights * sizeof *second);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        if (!kern_conv_weights_fits(&walk.team, &conv))
            continue;
        size_t bytes = (kern_conv_weights_scratch(&walk.team, &conv) + 63) / 64 * 64;
        unsigned char *scratch = aligned_alloc(64, bytes);
        assert_non_null(scratch);
        memset(scratch, 0xff, bytes);
        kern_conv_weights(&walk.team, &conv, x, dy, 0, first, scratch);
        memset(scratch, 0x3c, bytes);
        kern_conv_weights(&walk.team, &conv, x, dy, 0, second, scratch);
        assert_memory_equal(first, second, weights * sizeof *first);
        free(scratch);
    }
    void *blocks[] = {plain, x, dy, first, second};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights),
        cmocka_unit_test(misfits),
        cmocka_unit_test(repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
