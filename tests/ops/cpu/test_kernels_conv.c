/* SPDX-License-Identifier: MIT
 *
 * test_kernels_conv: convolutions forward, backward to the data and to the weights by kernels of our own, at every
 * instruction set that has the loops, with 1, 2, 3, 4 and 6 threads, against plain double code. Levels without them say
 * so, and plans keep oneDNN's primitives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/not_tested.h"
#include "support/rigs/map_case.h"

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/kernels/simd_table.h"

/* Odd numbers of pixels, one pixel, kernels wider than the map, strides that leave rows and taps out, more inputs than
 * outputs and the other way round, several stretches, one and three blocks of channels. */
static const struct kern_conv shapes[] = {
    {.n = 1, .ci = 16, .co = 16, .h = 1, .w = 1, .kernel = 1, .stride = 1, .pad = 0},
    {.n = 3, .ci = 32, .co = 48, .h = 3, .w = 5, .kernel = 1, .stride = 1, .pad = 0},
    {.n = 2, .ci = 48, .co = 16, .h = 7, .w = 7, .kernel = 3, .stride = 1, .pad = 1},
    {.n = 2, .ci = 16, .co = 64, .h = 9, .w = 6, .kernel = 3, .stride = 2, .pad = 1},
    {.n = 3, .ci = 80, .co = 32, .h = 8, .w = 5, .kernel = 1, .stride = 2, .pad = 0},
    {.n = 1, .ci = 16, .co = 32, .h = 2, .w = 2, .kernel = 5, .stride = 1, .pad = 2},
    {.n = 2, .ci = 64, .co = 32, .h = 19, .w = 23, .kernel = 1, .stride = 1, .pad = 0},
    {.n = 1, .ci = 32, .co = 32, .h = 24, .w = 23, .kernel = 3, .stride = 1, .pad = 1},
    {.n = 2, .ci = 16, .co = 32, .h = 11, .w = 10, .kernel = 2, .stride = 3, .pad = 0},
    {.n = 1, .ci = 32, .co = 16, .h = 5, .w = 8, .kernel = 7, .stride = 2, .pad = 3},
    {.n = 5, .ci = 16, .co = 16, .h = 6, .w = 7, .kernel = 1, .stride = 2, .pad = 1},
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

/* The maps of a shape: x, or with `out` y. */
static struct kern_map map_of(const struct kern_conv *c, size_t lanes, int out)
{
    struct kern_map map = {.n = c->n, .groups = 1, .bf16 = c->bf16};
    map.c = out ? c->co : c->ci;
    map.h = out ? c->out_h : c->h;
    map.w = out ? c->out_w : c->w;
    map.block = c->bf16 ? map.c : (int)lanes;
    return map;
}

/* Numbers of a map [n][c][h][w], rounded to its type, and the map itself. */
static void *fill_map(const struct kern_map *map, uint64_t seed, double *plain)
{
    void *out = take(map_bytes(map));
    for (size_t i = 0; i < map_count(map); i++)
        plain[i] = map_round(map, draw_normal(seed, i));
    map_pack(map, plain, out);
    return out;
}

/* One term of a convolution: x's and y's place in [n][c][h][w], and the weight's in [co][ci][taps]. */
struct term {
    size_t x, y, weight;
};

/* Calls `body` for every term. */
static void each_term(const struct kern_conv *c, void (*body)(void *arg, const struct term *t), void *arg)
{
    int taps = c->kernel * c->kernel, places = c->out_h * c->out_w;
    for (int n = 0; n < c->n; n++)
        for (int p = 0; p < places; p++)
            for (int tap = 0; tap < taps; tap++) {
                int iy = p / c->out_w * c->stride - c->pad + tap / c->kernel;
                int ix = p % c->out_w * c->stride - c->pad + tap % c->kernel;
                if (iy < 0 || iy >= c->h || ix < 0 || ix >= c->w)
                    continue;
                for (int o = 0; o < c->co; o++)
                    for (int i = 0; i < c->ci; i++) {
                        struct term t = {.x = (size_t)(((n * c->ci + i) * c->h + iy) * c->w + ix),
                                         .y = (size_t)((n * c->co + o) * places + p),
                                         .weight = (size_t)((o * c->ci + i) * taps + tap)};
                        body(arg, &t);
                    }
            }
}

/* A case: what goes in and what shall come out, with the sums of the terms' absolute values. */
struct conv_case {
    struct kern_conv conv;
    size_t lanes, weights;
    struct kern_map x_map, y_map;
    double *x, *dy, *w, *want, *size;
    void *x_at, *dy_at;
    float *got;
    int back; /* of maps */
};

static void take_case(struct conv_case *t, const struct kern_conv *conv, size_t lanes)
{
    *t = (struct conv_case){.conv = *conv, .lanes = lanes};
    t->weights = (size_t)(conv->co * conv->ci * conv->kernel * conv->kernel);
    t->x_map = map_of(conv, lanes, 0);
    t->y_map = map_of(conv, lanes, 1);
    t->x = take(map_count(&t->x_map) * sizeof *t->x);
    t->dy = take(map_count(&t->y_map) * sizeof *t->dy);
    t->x_at = fill_map(&t->x_map, 1, t->x);
    t->dy_at = fill_map(&t->y_map, 2, t->dy);
}

static void drop_case(struct conv_case *t)
{
    void *blocks[] = {t->x, t->dy, t->w, t->want, t->size, t->x_at, t->dy_at, t->got};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

/* ---- backward to the weights ---- */

static void weight_term(void *arg, const struct term *t)
{
    struct conv_case *c = arg;
    double term = c->dy[t->y] * c->x[t->x];
    c->want[t->weight] += term;
    c->size[t->weight] += fabs(term);
}

static size_t place(const struct conv_case *t, size_t i)
{
    size_t taps = (size_t)(t->conv.kernel * t->conv.kernel), inputs = (size_t)t->conv.ci, lanes = t->lanes;
    size_t tap = i % taps, in = i / taps % inputs, out = i / taps / inputs;
    size_t block = (out / lanes * (inputs / lanes) + in / lanes) * taps + tap;
    return block * lanes * lanes + in % lanes * lanes + out % lanes;
}

/* Written, then added to what is there; nothing outside of scratch and result is touched. */
static void check_team(const struct kern_team *team, const struct conv_case *t)
{
    size_t bytes = kern_conv_weights_scratch(team, &t->conv);
    unsigned char *block = aligned_alloc(64, (bytes + 63) / 64 * 64 + GUARD);
    assert_non_null(block);
    memset(block + bytes, 0x5a, GUARD);
    memset(t->got, 0xff, t->weights * sizeof(float)); /* NaN */
    for (int times = 1; times <= 2; times++) {
        kern_conv_weights(team, &t->conv, t->x_at, t->dy_at, times - 1, t->got, block);
        for (size_t i = 0; i < t->weights; i++)
            check_near(t->got[place(t, i)], times * t->want[i], times * 1e-6 * t->size[i] + 1e-30, 0, "dw", i);
    }
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(block[bytes + i], 0x5a);
    free(block);
}

/* A level without the loops has neither kind; channels fit every level's lanes here. */
static int has_loops(const struct kern_team *team, const struct kern_conv *conv)
{
    int fits = kern_conv_fits(team, conv);
    assert_int_equal(fits, team->simd->conv->of[conv->bf16].place != NULL);
    return fits;
}

static void weights(void **state)
{
    (void)state;
    int checked[2] = {0};
    for (int s = 0; s < 2 * SHAPES; s++)
        for (struct team_walk walk = {0}; team_next(&walk);) {
            struct kern_conv conv = shape(s / 2);
            conv.bf16 = s % 2;
            if (!has_loops(&walk.team, &conv))
                continue;
            struct conv_case t;
            take_case(&t, &conv, (size_t)walk.team.simd->conv->lanes);
            t.want = take(t.weights * sizeof *t.want);
            t.size = take(t.weights * sizeof *t.size);
            t.got = take(t.weights * sizeof *t.got);
            memset(t.want, 0, t.weights * sizeof *t.want);
            memset(t.size, 0, t.weights * sizeof *t.size);
            each_term(&conv, weight_term, &t);
            checked[conv.bf16]++;
            check_team(&walk.team, &t);
            struct kern_team larger = walk.team; /* rows and channels both divided */
            for (larger.threads = 4; walk.team.threads == 3 && larger.threads <= 6; larger.threads += 2)
                check_team(&larger, &t);
            drop_case(&t);
        }
    if (checked[1] == 0)
        not_tested_here(NO_BF16);
}

/* ---- forward, and backward to the data ---- */

/* Weights [co][ci][taps] in the order that the kernel reads (kernels.h). */
static void *pack_weights(const struct kern_conv *c, size_t lanes, int back, const double *plain)
{
    size_t taps = (size_t)(c->kernel * c->kernel), co = (size_t)c->co, ci = (size_t)c->ci;
    size_t count = co * ci * taps, in = back ? co : ci, pair = c->bf16 ? 2 : 1;
    struct kern_map flat = {.n = 1, .groups = 1, .c = 1, .h = 1, .w = (int)count, .block = 1, .bf16 = c->bf16};
    double *ordered = take(count * sizeof *ordered);
    for (size_t i = 0; i < count; i++) {
        size_t tap = i % taps, from = i / taps % ci, to = i / taps / ci; /* the sum runs over `from` */
        if (back) {
            size_t swap = from;
            from = to;
            to = swap;
        }
        size_t block = (to / lanes * (in / lanes) + from / lanes) * taps + tap;
        if (back && !c->bf16)
            block = (from / lanes * (ci / lanes) + to / lanes) * taps + tap;
        ordered[block * lanes * lanes + from % lanes / pair * lanes * pair + to % lanes * pair + from % pair] =
            plain[i];
    }
    void *out = take(map_bytes(&flat));
    map_pack(&flat, ordered, out);
    free(ordered);
    return out;
}

static void map_term(void *arg, const struct term *t)
{
    struct conv_case *c = arg;
    double term = c->w[t->weight] * (c->back ? c->dy[t->y] : c->x[t->x]);
    c->want[c->back ? t->x : t->y] += term;
    c->size[c->back ? t->x : t->y] += fabs(term);
}

static void check_apply(const struct kern_team *team, const struct kern_conv *conv, int back)
{
    struct conv_case t;
    take_case(&t, conv, (size_t)team->simd->conv->lanes);
    t.back = back;
    const struct kern_map *to = back ? &t.x_map : &t.y_map;
    struct kern_map flat = {.n = 1, .groups = 1, .c = 1, .h = 1, .w = (int)t.weights, .block = 1, .bf16 = conv->bf16};
    size_t count = map_count(to);
    t.w = take(t.weights * sizeof *t.w);
    t.want = take(count * sizeof *t.want);
    t.size = take(count * sizeof *t.size);
    free(fill_map(&flat, 6, t.w));
    memset(t.want, 0, count * sizeof *t.want);
    memset(t.size, 0, count * sizeof *t.size);
    each_term(conv, map_term, &t);
    double *got = take(count * sizeof *got);
    void *to_at = take(map_bytes(to)), *packed = pack_weights(conv, t.lanes, back, t.w);
    memset(to_at, 0xff, map_bytes(to)); /* NaN */
    struct kern_team each = *team;
    for (int wide = 0; wide < (team->threads == 3 ? 2 : 1); wide++, each.threads = 6) {
        if (back)
            kern_conv_back_data(&each, conv, t.dy_at, packed, to_at);
        else
            kern_conv_forward(&each, conv, t.x_at, packed, to_at);
        map_unpack(to, to_at, got);
        for (size_t i = 0; i < count; i++)
            check_near(got[i], t.want[i], 1e-6 * t.size[i] + 1e-30, conv->bf16, back ? "dx" : "y", i);
    }
    free(got);
    free(to_at);
    free(packed);
    drop_case(&t);
}

/* Samples in every number that a tile can be short of. */
static void maps(void **state)
{
    (void)state;
    for (int s = 0; s < 2 * SHAPES; s++)
        for (struct team_walk walk = {0}; team_next(&walk);) {
            struct kern_conv c = shape(s / 2);
            c.bf16 = s % 2;
            c.n = 1 + (7 * s + 3 * walk.team.threads) % (c.ci * c.co < 10000 ? 17 : 3);
            if (!has_loops(&walk.team, &c))
                continue;
            check_apply(&walk.team, &c, 0);
            check_apply(&walk.team, &c, 1);
        }
}

/* Channels that do not come in blocks of 16 are not for this kernel. */
static void misfits(void **state)
{
    (void)state;
    for (struct team_walk walk = {0}; team_next(&walk);) {
        struct kern_conv conv = {
            .n = 2, .ci = 3, .co = 64, .h = 8, .w = 8, .out_h = 8, .out_w = 8, .kernel = 1, .stride = 1, .bf16 = 1};
        assert_int_equal(kern_conv_fits(&walk.team, &conv), 0);
        conv.ci = 16;
        conv.co = 24;
        assert_int_equal(kern_conv_fits(&walk.team, &conv), 0);
        conv.co = 32;
        conv.kernel = 8; /* more taps than a place has room for */
        assert_int_equal(kern_conv_fits(&walk.team, &conv), 0);
    }
}

/* The same bits from run to run, whatever stood in scratch before. */
static void repeats(void **state)
{
    (void)state;
    struct kern_conv conv = shape(7);
    conv.bf16 = 1;
    size_t in = (size_t)(conv.n * conv.h * conv.w * conv.ci), weights = 9 * 32 * 32;
    double *plain = take(in * sizeof *plain);
    struct kern_map map = map_of(&conv, 16, 0);
    void *x = fill_map(&map, 3, plain), *dy = fill_map(&map, 4, plain);
    float *first = take(weights * sizeof *first), *second = take(weights * sizeof *second);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        if (!kern_conv_fits(&walk.team, &conv))
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
        cmocka_unit_test(maps),
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
