/* SPDX-License-Identifier: MIT
 *
 * test_kernels_bn: batch norm of the cpu device, forward and backward, at every instruction set with 1 to 3 threads,
 * against plain double code: blocks, odd sizes, groups, both types, in place, large means, no variance at all. */
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

#define EPS 1e-5

/* n, groups, c, h, w, block */
static const struct kern_map shapes[] = {
    {4, 1, 1, 5, 3, 1, 0},       {4, 2, 3, 7, 5, 3, 0},       {6, 3, 7, 3, 3, 7, 0},     {4, 1, 8, 5, 5, 8, 0},
    {4, 4, 16, 9, 11, 16, 0},    {4, 2, 16, 3, 5, 8, 0},      {4, 2, 64, 7, 7, 16, 0},   {3, 1, 64, 13, 9, 8, 0},
    {2, 1, 24, 5, 7, 24, 0},     {4, 2, 24, 5, 7, 8, 0},      {3, 3, 64, 17, 15, 64, 0}, {2, 1, 130, 3, 5, 130, 0},
    {4, 2, 2048, 1, 1, 2048, 0}, {2, 1, 2048, 7, 7, 2048, 0}, {4, 2, 2048, 1, 1, 16, 0}, {2, 1, 48, 33, 31, 16, 0},
    {2, 1, 2051, 3, 1, 2051, 0}, {2, 2, 5000, 1, 3, 5000, 0},
};

/* Plain [n][c][h][w] arrays of one case, and its truth. */
struct bn_case {
    struct kern_map map;
    size_t count;
    double *x, *add, *dy, *dy2, *mean, *invstd, *unbiased; /* the last three: [group][c] */
    float *gamma, *beta;
};

static size_t channel_of(const struct kern_map *map, size_t i)
{
    return i / ((size_t)map->h * (size_t)map->w) % (size_t)map->c;
}

static size_t group_of(const struct kern_map *map, size_t i)
{
    return i / (map_count(map) / (size_t)map->groups);
}

static double *numbers(const struct kern_map *map, uint64_t seed, double offset, double spread)
{
    double *out = take(sizeof *out * map_count(map));
    for (size_t i = 0; i < map_count(map); i++) /* channel 2 is constant: no variance */
        out[i] = map_round(map, offset + (channel_of(map, i) == 2 && spread > 0 ? 0 : spread * draw_normal(seed, i)));
    return out;
}

static void statistics(struct bn_case *t)
{
    const struct kern_map *map = &t->map;
    size_t c = (size_t)map->c, channels = (size_t)map->groups * c;
    double count = (double)t->count / (double)channels;
    t->mean = calloc(channels, sizeof(double));
    t->invstd = calloc(channels, sizeof(double));
    t->unbiased = calloc(channels, sizeof(double));
    for (size_t i = 0; i < t->count; i++)
        t->mean[group_of(map, i) * c + channel_of(map, i)] += t->x[i] / count;
    for (size_t i = 0; i < t->count; i++) {
        size_t at = group_of(map, i) * c + channel_of(map, i);
        t->unbiased[at] += (t->x[i] - t->mean[at]) * (t->x[i] - t->mean[at]);
    }
    for (size_t at = 0; at < channels; at++) {
        t->invstd[at] = 1 / sqrt(t->unbiased[at] / count + EPS);
        t->unbiased[at] /= count - 1;
    }
}

static struct bn_case make_case(const struct kern_map *shape, int bf16, double offset, double spread)
{
    struct bn_case t = {.map = *shape};
    t.map.bf16 = bf16;
    t.count = map_count(shape);
    t.x = numbers(&t.map, 1, offset, spread);
    t.add = numbers(&t.map, 2, 0.1, -1);
    t.dy = numbers(&t.map, 3, 0.2, -1);
    t.dy2 = numbers(&t.map, 4, -0.1, -1);
    t.gamma = take(sizeof(float) * (size_t)shape->c);
    t.beta = take(sizeof(float) * (size_t)shape->c);
    for (int c = 0; c < shape->c; c++) {
        t.gamma[c] = (float)(0.5 + draw_uniform(5, (uint64_t)c));
        t.beta[c] = (float)draw_normal(6, (uint64_t)c);
    }
    statistics(&t);
    return t;
}

static void free_case(struct bn_case *t)
{
    free(t->x);
    free(t->add);
    free(t->dy);
    free(t->dy2);
    free(t->mean);
    free(t->invstd);
    free(t->unbiased);
    free(t->gamma);
    free(t->beta);
}

static void *packed(const struct bn_case *t, const double *plain)
{
    void *map = take(map_bytes(&t->map));
    map_pack(&t->map, plain, map);
    return map;
}

static void check_stats(const struct bn_case *t, const struct kern_team *team, float *saved)
{
    size_t c = (size_t)t->map.c, groups = (size_t)t->map.groups;
    void *x = packed(t, t->x), *scratch = take(kern_bn_scratch(team, &t->map));
    float *stage_mean = take(sizeof(float) * c), *stage_var = take(sizeof(float) * c);
    for (size_t i = 0; i < c; i++) {
        stage_mean[i] = 1;
        stage_var[i] = 2;
    }
    kern_bn_stats(team, &t->map, x, EPS, saved, NULL, NULL, scratch);
    kern_bn_stats(team, &t->map, x, EPS, saved, stage_mean, stage_var, scratch);
    for (size_t i = 0; i < c; i++) {
        double means = 1, variances = 2, slack = 1e-7;
        for (size_t g = 0; g < groups; g++) {
            double mean = t->mean[g * c + i], invstd = t->invstd[g * c + i], unbiased = t->unbiased[g * c + i];
            check_near((double)saved[2 * g * c + i], mean, 1e-7 * (fabs(mean) + 10 * sqrt(unbiased)), 0, "mean", i);
            check_near((double)saved[(2 * g + 1) * c + i], invstd, 2e-6 * invstd, 0, "invstd", i);
            means += mean;
            variances += unbiased;
            slack += 1e-7 * (2 * fabs(mean) + 10 * sqrt(unbiased));
        }
        check_near((double)stage_mean[i], means, slack, 0, "staged mean", i);
        check_near((double)stage_var[i], variances, 4e-6 * variances, 0, "staged variance", i);
    }
    free(x);
    free(scratch);
    free(stage_mean);
    free(stage_var);
}

/* Bit of number i of the map; runs start at whole bytes. */
static int mask_bit(const struct kern_map *map, const uint8_t *mask, size_t i)
{
    size_t place = map_place(map, i), run = (size_t)map->h * (size_t)map->w * (size_t)map->block;
    if (kern_mask_bytes(map) > map_count(map) / run * ((run + 7) / 8)) /* a run is a pixel */
        run = (size_t)map->block;
    size_t in = place % run;
    return mask[place / run * ((run + 7) / 8) + in / 8] >> in % 8 & 1;
}

enum { WITH_ADD = 1, WITH_RELU = 2, WITH_MASK = 4, IN_PLACE = 8 };

static void check_apply(const struct bn_case *t, const struct kern_team *team, const float *saved, int with,
                        uint8_t *mask)
{
    const struct kern_map *map = &t->map;
    size_t c = (size_t)map->c;
    void *x = packed(t, t->x), *add = packed(t, t->add), *y = with & IN_PLACE ? x : take(map_bytes(map));
    double *got = take(sizeof(double) * t->count);
    memset(mask, 0xa5, kern_mask_bytes(map));
    kern_bn_apply(team, map,
                  &(struct kern_bn_forward){.x = x,
                                            .saved = saved,
                                            .gamma = t->gamma,
                                            .beta = t->beta,
                                            .add = with & WITH_ADD ? add : NULL,
                                            .relu = with & WITH_RELU ? 1 : 0,
                                            .y = y,
                                            .mask = with & WITH_MASK ? mask : NULL});
    map_unpack(map, y, got);
    for (size_t i = 0; i < t->count; i++) {
        size_t at = 2 * group_of(map, i) * c + channel_of(map, i), channel = channel_of(map, i);
        double scale = (double)saved[at + c] * (double)t->gamma[channel], x_hat = (t->x[i] - (double)saved[at]) * scale;
        double want = x_hat + (double)t->beta[channel] + (with & WITH_ADD ? t->add[i] : 0);
        double slack = 4e-7 * (fabs(x_hat) + fabs((double)t->beta[channel]) + fabs(t->add[i]));
        if (with & WITH_RELU)
            want = want > 0 ? want : 0;
        check_near(got[i], want, slack, map->bf16, "y", i);
        if (with & WITH_MASK)
            assert_int_equal(mask_bit(map, mask, i), got[i] > 0);
    }
    if (y != x)
        free(y);
    free(x);
    free(add);
    free(got);
}

enum {
    WITH_DY2 = 1,
    MASKED = 2,
    WITH_DZ = 4,
    DZ_IS_DY = 8,
    DX_IS_DY = 16,
    DX_IS_DY2 = 32,
    DX_IS_DZ = 64,
    ADDING = 128
};

/* d of the definition, and its sums per group and channel: [group][c] of d, and of d * x_hat. */
static void true_gradients(const struct bn_case *t, const float *saved, const uint8_t *mask, int with, double *d,
                           double *sums, double *products)
{
    size_t c = (size_t)t->map.c;
    for (size_t i = 0; i < t->count; i++) {
        size_t at = group_of(&t->map, i) * c + channel_of(&t->map, i);
        const float *mean = saved + group_of(&t->map, i) * c + at; /* 2 * group * c + channel */
        d[i] = t->dy[i] + (with & WITH_DY2 ? t->dy2[i] : 0);
        if (with & MASKED && !mask_bit(&t->map, mask, i))
            d[i] = 0;
        sums[at] += d[i];
        products[at] += d[i] * (t->x[i] - (double)mean[0]) * (double)mean[c];
    }
}

static void check_backward(const struct bn_case *t, const struct kern_team *team, const float *saved,
                           const uint8_t *mask, int with)
{
    const struct kern_map *map = &t->map;
    size_t c = (size_t)map->c, groups = (size_t)map->groups;
    void *x = packed(t, t->x), *dy = packed(t, t->dy), *dy2 = packed(t, t->dy2), *own = take(map_bytes(map));
    void *other = take(map_bytes(map)), *scratch = take(kern_bn_scratch(team, map));
    void *dz = with & DZ_IS_DY ? dy : with & WITH_DZ ? own : NULL;
    void *dx = with & DX_IS_DY ? dy : with & DX_IS_DY2 ? dy2 : with & DX_IS_DZ ? dz : other;
    float *d_gamma = take(sizeof(float) * c), *d_beta = take(sizeof(float) * c);
    double *d = take(sizeof(double) * t->count), *got = take(sizeof(double) * t->count);
    double *sums = calloc(groups * c, sizeof(double)), *products = calloc(groups * c, sizeof(double));
    for (size_t i = 0; i < c; i++)
        d_gamma[i] = d_beta[i] = 3;
    true_gradients(t, saved, mask, with, d, sums, products);
    kern_bn_backward(team, map,
                     &(struct kern_bn_back){.x = x,
                                            .dy = dy,
                                            .dy2 = with & WITH_DY2 ? dy2 : NULL,
                                            .mask = with & MASKED ? mask : NULL,
                                            .saved = saved,
                                            .gamma = t->gamma,
                                            .dz = dz,
                                            .dx = dx,
                                            .d_gamma = d_gamma,
                                            .d_beta = d_beta,
                                            .accumulate = with & ADDING ? 1 : 0,
                                            .scratch = scratch});

    double count = (double)t->count / (double)(groups * c);
    for (size_t i = 0; i < c; i++) {
        double want_gamma = with & ADDING ? 3 : 0, want_beta = want_gamma;
        for (size_t g = 0; g < groups; g++) {
            want_gamma += products[g * c + i];
            want_beta += sums[g * c + i];
        }
        check_near((double)d_gamma[i], want_gamma, 4e-7 * (3 + sqrt((double)groups) * count), 0, "d_gamma", i);
        check_near((double)d_beta[i], want_beta, 4e-7 * (3 + sqrt((double)groups) * count), 0, "d_beta", i);
    }
    map_unpack(map, dx, got);
    for (size_t i = 0; i < t->count; i++) {
        size_t channel = channel_of(map, i), at = group_of(map, i) * c + channel;
        const float *mean = saved + group_of(map, i) * c + at;
        double invstd = (double)mean[c], x_hat = (t->x[i] - (double)mean[0]) * invstd;
        double scale = (double)t->gamma[channel] * invstd;
        double want = scale * (d[i] - sums[at] / count - x_hat * products[at] / count);
        double slack = 2e-6 * fabs(scale) * (1 + fabs(d[i]) + fabs(x_hat));
        if (map->bf16 && dz != NULL) /* read again after rounding */
            slack += fabs(scale * d[i]) * 0x1p-8;
        check_near(got[i], want, slack, map->bf16, "dx", i);
    }
    if (dz != NULL && dz != dx) {
        map_unpack(map, dz, got);
        for (size_t i = 0; i < t->count; i++)
            check_near(got[i], d[i], 2e-7 * fabs(d[i]), map->bf16, "dz", i);
    }
    void *blocks[] = {x, dy, dy2, own, other, scratch, d_gamma, d_beta, d, got, sums, products};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

static void check_case(const struct bn_case *t, int all)
{
    static const int forward[] = {WITH_RELU | WITH_MASK | WITH_ADD, 0, WITH_ADD | IN_PLACE, WITH_RELU | IN_PLACE};
    static const int backward[] = {MASKED | WITH_DY2 | WITH_DZ, 0,
                                   MASKED | DZ_IS_DY | ADDING,  MASKED | WITH_DY2 | DX_IS_DY2,
                                   DX_IS_DY | ADDING,           MASKED | WITH_DY2 | WITH_DZ | DX_IS_DZ,
                                   MASKED | DZ_IS_DY | DX_IS_DY};
    float *saved = take(sizeof(float) * 2 * (size_t)t->map.groups * (size_t)t->map.c);
    uint8_t *mask = take(kern_mask_bytes(&t->map));
    for (struct team_walk walk = {0}; team_next(&walk);) {
        check_stats(t, &walk.team, saved);
        for (size_t i = sizeof forward / sizeof *forward; i-- > 0;) /* the one that makes the mask comes last */
            if (all || i == 0)
                check_apply(t, &walk.team, saved, forward[i], mask);
        for (size_t i = 0; i < sizeof backward / sizeof *backward; i++)
            if (all || i == 0)
                check_backward(t, &walk.team, saved, mask, backward[i]);
    }
    free(saved);
    free(mask);
}

static void shapes_and_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int bf16 = 0; bf16 <= 1; bf16++) {
            struct bn_case t = make_case(&shapes[i], bf16, 0.3, 1);
            check_case(&t, t.count < 20000);
            free_case(&t);
        }
    }
}

/* A mean that is a million deviations away, in f32, where x itself has hardly a digit left of the deviation. */
static void large_mean(void **state)
{
    (void)state;
    static const struct kern_map some[] = {{4, 2, 16, 9, 7, 16, 0}, {4, 2, 3, 17, 9, 3, 0}, {4, 2, 64, 9, 7, 64, 0}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        struct bn_case t = make_case(&some[i], 0, 3000, 0.01);
        float *saved = take(sizeof(float) * 2 * (size_t)t.map.groups * (size_t)t.map.c);
        for (struct team_walk walk = {0}; team_next(&walk);)
            check_stats(&t, &walk.team, saved);
        free(saved);
        free_case(&t);
    }
}

/* One number far from all others, wherever it stands, costs no more than a few digits. */
static void outlier(void **state)
{
    (void)state;
    struct kern_map shape = {2, 1, 16, 8, 8, 16, 0};
    size_t pixels = 64, places[] = {0, 4, 27, 63};
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        struct bn_case t = make_case(&shape, 0, 0, 1);
        for (size_t c = 0; c < 16; c++)
            t.x[c * pixels + places[k]] = 1e5;
        free(t.mean);
        free(t.invstd);
        free(t.unbiased);
        statistics(&t);
        float *saved = take(sizeof(float) * 2 * (size_t)t.map.c);
        for (struct team_walk walk = {0}; team_next(&walk);)
            check_stats(&t, &walk.team, saved);
        free(saved);
        free_case(&t);
    }
}

/* A number that is not finite makes its channel's statistics so, in every channel and place. */
static void not_finite(void **state)
{
    (void)state;
    struct kern_map shape = {2, 1, 24, 3, 3, 8, 0};
    float *saved = take(sizeof(float) * 2 * 24);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        for (int bad = 0; bad < 2; bad++) {
            struct bn_case t = make_case(&shape, 0, 0, 1);
            size_t at = (size_t)(bad ? 23 * 9 + 8 : 5 * 9), channel = channel_of(&shape, at);
            t.x[at] = bad ? (double)INFINITY : (double)NAN;
            void *x = packed(&t, t.x), *scratch = take(kern_bn_scratch(&walk.team, &shape));
            kern_bn_stats(&walk.team, &shape, x, EPS, saved, NULL, NULL, scratch);
            for (size_t c = 0; c < 24; c++)
                assert_int_equal(isfinite(saved[c]) && isfinite(saved[24 + c]), c != channel);
            free(x);
            free(scratch);
            free_case(&t);
        }
    }
    free(saved);
}

/* The same team gives the same bits. */
static void repeatable(void **state)
{
    (void)state;
    struct kern_map shape = {6, 2, 24, 9, 7, 24, 0};
    struct bn_case t = make_case(&shape, 0, 1, 1);
    void *x = packed(&t, t.x);
    float first[4 * 24], again[4 * 24];
    for (struct team_walk walk = {0}; team_next(&walk);) {
        void *scratch = take(kern_bn_scratch(&walk.team, &shape));
        kern_bn_stats(&walk.team, &shape, x, EPS, first, NULL, NULL, scratch);
        kern_bn_stats(&walk.team, &shape, x, EPS, again, NULL, NULL, scratch);
        assert_memory_equal(first, again, sizeof first);
        free(scratch);
    }
    free(x);
    free_case(&t);
}

/* A map too large for the caches is written past them when it is not written in place: to the same bits. */
static void past_the_caches(void **state)
{
    (void)state;
    struct kern_map map = {4, 2, 24, 211, 211, 24, 0};
    size_t c = (size_t)map.c, count = map_count(&map), bytes = count * sizeof(float);
    float *x = take(bytes), *dy = take(bytes), *saved = take(sizeof(float) * 4 * c), *gamma = take(sizeof(float) * c);
    char *y = take(bytes), *over = take(bytes);
    assert_true(bytes / 2 > 8 << 20);
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)draw_uniform(1, i);
        dy[i] = (float)draw_uniform(2, i);
    }
    for (size_t i = 0; i < 4 * c; i++)
        saved[i] = 0.5f + (float)i / 100;
    for (size_t i = 0; i < c; i++)
        gamma[i] = 1 + (float)i / 50;
    for (struct team_walk walk = {0}; team_next(&walk);) {
        void *scratch = take(kern_bn_scratch(&walk.team, &map));
        float *d_gamma = take(sizeof(float) * c);
        for (map.bf16 = 0; map.bf16 <= 1; map.bf16++) { /* floats taken for pairs of bf16 are numbers, too */
            size_t all = map_bytes(&map);
            memcpy(over, x, all);
            struct kern_bn_forward apply = {.x = x, .saved = saved, .gamma = gamma, .add = dy, .relu = 1, .y = y};
            kern_bn_apply(&walk.team, &map, &apply);
            apply.x = apply.y = over;
            kern_bn_apply(&walk.team, &map, &apply);
            assert_memory_equal(y, over, all);
            memcpy(over, dy, all);
            struct kern_bn_back back = {
                .x = x, .dy = dy, .saved = saved, .gamma = gamma, .dx = y, .d_gamma = d_gamma, .scratch = scratch};
            kern_bn_backward(&walk.team, &map, &back);
            back.dy = back.dx = over;
            kern_bn_backward(&walk.team, &map, &back);
            assert_memory_equal(y, over, all);
        }
        free(scratch);
        free(d_gamma);
    }
    void *blocks[] = {x, dy, saved, gamma, y, over};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest bf16, of two equally near ones to the even one; NaN to a quiet one. */
static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(x != x ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Every number that bf16 has, denormals, infinities and NaN among them, comes out as plain code has it. */
static void every_bf16(void **state)
{
    (void)state;
    static const float scales[] = {1, 0.3f, 1e-3f, 3e-39f};
    struct kern_map map = {1, 1, 64, 32, 32, 64, 1};
    uint16_t *x = take(2 * 65536), *y = take(2 * 65536);
    float saved[2 * 64] = {0}, gamma[64];
    for (uint32_t i = 0; i < 65536; i++)
        x[i] = (uint16_t)i;
    for (size_t c = 0; c < 64; c++)
        saved[64 + c] = 1;
    for (struct team_walk walk = {0}; team_next(&walk);)
        for (size_t k = 0; k < sizeof scales / sizeof *scales; k++)
            for (int relu = 0; relu <= 1; relu++) {
                for (size_t c = 0; c < 64; c++)
                    gamma[c] = scales[k];
                kern_bn_apply(&walk.team, &map,
                              &(struct kern_bn_forward){.x = x, .saved = saved, .gamma = gamma, .relu = relu, .y = y});
                for (uint32_t i = 0; i < 65536; i++) {
                    float want = from_bits(i << 16) * scales[k] + 0.0f;
                    if (want == 0 || (relu && want < 0)) /* of either sign */
                        assert_int_equal(y[i] & 0x7fff, 0);
                    else
                        assert_int_equal(y[i], to_bf16(want));
                }
            }
    free(x);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_types), cmocka_unit_test(large_mean), cmocka_unit_test(outlier),
        cmocka_unit_test(not_finite),       cmocka_unit_test(repeatable), cmocka_unit_test(past_the_caches),
        cmocka_unit_test(every_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
