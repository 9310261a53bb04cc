/* SPDX-License-Identifier: MIT
 *
 * test_kernels_map: pictures, pooling, averages and the kernels over vectors of the cpu device, at every instruction
 * set with 1 to 3 threads, against plain double code. */
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

static const struct kern_map shapes[] = {
    {1, 1, 1, 5, 3, 1, 0},    {2, 1, 3, 7, 8, 3, 0},     {3, 1, 8, 6, 5, 8, 0},
    {2, 1, 24, 9, 7, 8, 0},   {2, 1, 24, 5, 7, 24, 0},   {2, 1, 32, 8, 8, 16, 0},
    {1, 1, 64, 11, 9, 64, 0}, {1, 1, 130, 3, 5, 130, 0}, {2, 1, 2048, 2, 3, 16, 0}};

enum { SHAPES = sizeof shapes / sizeof *shapes };

static double *numbers(const struct kern_map *map, uint64_t seed)
{
    double *out = take(sizeof *out * map_count(map));
    for (size_t i = 0; i < map_count(map); i++)
        out[i] = map_round(map, draw_normal(seed, i));
    return out;
}

static void *packed(const struct kern_map *map, const double *plain)
{
    void *out = take(map_bytes(map));
    map_pack(map, plain, out);
    return out;
}

/* ---- pictures ---- */

static void pictures(void **state)
{
    (void)state;
    static const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
    static const int32_t index[] = {2, 0, 2};
    enum { N = 3, H = 5, W = 37 };
    uint8_t images[N * H * W * 3];
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)(256 * draw_uniform(1, i));
    for (int kind = 0; kind < 8; kind++) {
        int plain = kind & 1, picked = kind & 4;
        struct kern_map map = {N, 1, 3, H, W, plain ? 1 : 3, kind >> 1 & 1};
        void *out = take(map_bytes(&map));
        double *got = take(sizeof(double) * map_count(&map));
        for (struct team_walk walk = {0}; team_next(&walk);) {
            kern_input(&walk.team, &map, plain, images, picked ? index : NULL, mean, std, out);
            map_unpack(&map, out, got);
            for (size_t i = 0; i < map_count(&map); i++) {
                size_t n = i / (3 * H * W), c = i / (H * W) % 3, pixel = i % (H * W);
                size_t image = picked ? (size_t)index[n] : n;
                double want = (images[(image * H * W + pixel) * 3 + c] / 255.0 - mean[c]) / std[c];
                check_near(got[i], want, 4e-7, map.bf16, "pixel", i);
            }
        }
        free(out);
        free(got);
    }
}

/* ---- max pooling ---- */

/* Values and winners by the definition; the first of equals wins. [n][c][out_h][out_w] */
static void pool_forward(const struct kern_map *in, const struct kern_pool *p, const double *x, double *y, int *winner)
{
    for (int plane = 0; plane < in->n * in->c; plane++, x += in->h * in->w)
        for (int o = 0; o < p->out_h * p->out_w; o++, y++, winner++) {
            *y = -INFINITY;
            for (int k = 0; k < p->kernel * p->kernel; k++) {
                int iy = o / p->out_w * p->stride - p->pad + k / p->kernel;
                int ix = o % p->out_w * p->stride - p->pad + k % p->kernel;
                if (iy < 0 || iy >= in->h || ix < 0 || ix >= in->w || x[iy * in->w + ix] <= *y)
                    continue;
                *y = x[iy * in->w + ix];
                *winner = k;
            }
        }
}

static void pool_backward(const struct kern_map *in, const struct kern_pool *p, const double *dy, const int *winner,
                          double *dx)
{
    memset(dx, 0, sizeof(double) * map_count(in));
    for (int plane = 0; plane < in->n * in->c; plane++, dx += in->h * in->w)
        for (int o = 0; o < p->out_h * p->out_w; o++, dy++, winner++) {
            int iy = o / p->out_w * p->stride - p->pad + *winner / p->kernel;
            int ix = o % p->out_w * p->stride - p->pad + *winner % p->kernel;
            dx[iy * in->w + ix] += *dy;
        }
}

static void check_pool(const struct kern_map *in, struct kern_pool p)
{
    p.out_h = (in->h + 2 * p.pad - p.kernel) / p.stride + 1;
    p.out_w = (in->w + 2 * p.pad - p.kernel) / p.stride + 1;
    struct kern_map out = *in;
    out.h = p.out_h;
    out.w = p.out_w;
    size_t inside = map_count(in), outside = map_count(&out);
    double *x = numbers(in, 1), *dy = numbers(&out, 2), *y = take(sizeof(double) * outside);
    double *dx = take(sizeof(double) * inside), *got = take(sizeof(double) * (inside + outside));
    for (size_t i = 0; i < inside; i++)
        x[i] = map_round(in, floor(2 * x[i])); /* many equals */
    int *winner = take(sizeof(int) * outside);
    pool_forward(in, &p, x, y, winner);
    pool_backward(in, &p, dy, winner, dx);
    void *x_map = packed(in, x), *dy_map = packed(&out, dy), *y_map = take(map_bytes(&out)),
         *dx_map = take(map_bytes(in));
    uint8_t *index = take(outside);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        memset(index, 0xff, outside);
        kern_maxpool(&walk.team, in, &p, x_map, y_map, NULL);
        kern_maxpool(&walk.team, in, &p, x_map, y_map, index);
        map_unpack(&out, y_map, got);
        for (size_t i = 0; i < outside; i++) {
            assert_true(got[i] == y[i]);
            assert_int_equal(index[map_place(&out, i)], winner[i]);
        }
        kern_maxpool_back(&walk.team, in, &p, dy_map, index, dx_map);
        map_unpack(in, dx_map, got);
        for (size_t i = 0; i < inside; i++)
            check_near(got[i], dx[i], 2e-6, in->bf16, "dx", i);
    }
    void *blocks[] = {x, dy, y, dx, got, winner, x_map, dy_map, y_map, dx_map, index};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

static void max_pooling(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2 * SHAPES; kind++) {
        struct kern_map map = shapes[kind / 2];
        map.bf16 = kind % 2;
        check_pool(&map, (struct kern_pool){3, 2, 1, 0, 0});
        check_pool(&map, (struct kern_pool){2, 2, 0, 0, 0});
        check_pool(&map, (struct kern_pool){3, 1, 1, 0, 0});
    }
}

static void pooling_keeps_nan(void **state)
{
    (void)state;
    struct kern_map map = {1, 1, 16, 3, 3, 16, 0};
    float x[9 * 16] = {0}, y[4 * 16];
    x[4 * 16 + 5] = NAN;
    for (struct team_walk walk = {0}; team_next(&walk);) {
        kern_maxpool(&walk.team, &map, &(struct kern_pool){3, 2, 1, 2, 2}, x, y, NULL);
        for (int i = 0; i < 4 * 16; i++)
            assert_int_equal(isnan(y[i]) != 0, i % 16 == 5);
    }
}

/* ---- averages ---- */

static void averages(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2 * SHAPES; kind++) {
        struct kern_map map = shapes[kind / 2];
        map.bf16 = kind % 2;
        size_t pixels = (size_t)map.h * (size_t)map.w, channels = map_count(&map) / pixels;
        double *x = numbers(&map, 1), *got = take(sizeof(double) * map_count(&map));
        float *y = take(sizeof(float) * channels);
        void *x_map = packed(&map, x), *dx = take(map_bytes(&map));
        for (struct team_walk walk = {0}; team_next(&walk);) {
            kern_gap(&walk.team, &map, x_map, y);
            for (size_t i = 0; i < channels; i++) {
                double sum = 0;
                for (size_t p = 0; p < pixels; p++)
                    sum += x[i * pixels + p];
                check_near((double)y[i], sum / (double)pixels, 5e-7, 0, "average", i);
            }
            kern_gap_back(&walk.team, &map, y, dx);
            map_unpack(&map, dx, got);
            for (size_t i = 0; i < map_count(&map); i++)
                check_near(got[i], (double)y[i / pixels] / (double)pixels, 2e-7, map.bf16, "spread", i);
        }
        free(x);
        free(got);
        free(y);
        free(x_map);
        free(dx);
    }
}

/* ---- number by number, and vectors ---- */

/* A NaN is not clipped to 0: forward, backward, and in a sum. */
static void relu_keeps_nan(void **state)
{
    (void)state;
    enum { COUNT = 67 };
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct kern_map map = {1, 1, COUNT, 1, 1, COUNT, bf16};
        double *a = numbers(&map, 1), *b = numbers(&map, 2), got[COUNT];
        a[5] = b[64] = NAN;
        b[5] = fabs(b[5]);
        for (struct team_walk walk = {0}; team_next(&walk);) {
            void *x = packed(&map, a), *y = packed(&map, b), *out = take(map_bytes(&map));
            kern_add(&walk.team, COUNT, bf16, x, y, 1, out);
            map_unpack(&map, out, got);
            for (int i = 0; i < COUNT; i++)
                assert_int_equal(isnan(got[i]) != 0, i == 5 || i == 64);
            kern_relu_back(&walk.team, COUNT, bf16, x, y, out);
            map_unpack(&map, out, got);
            for (int i = 0; i < COUNT; i++)
                assert_true(i == 5 ? isnan(got[i]) != 0 : got[i] == (b[i] <= 0 ? 0 : a[i]));
            kern_relu_back(&walk.team, COUNT, bf16, y, y, y);
            map_unpack(&map, y, got);
            for (int i = 0; i < COUNT; i++)
                assert_int_equal(isnan(got[i]) != 0, i == 64);
            free(x);
            free(y);
            free(out);
        }
        free(a);
        free(b);
    }
}

static void sums_and_relu(void **state)
{
    (void)state;
    static const int counts[] = {1, 15, 64, 67, 1000};
    for (int kind = 0; kind < 10; kind++) {
        struct kern_map map = {1, 1, counts[kind / 2], 1, 1, counts[kind / 2], kind % 2};
        size_t count = map_count(&map);
        double *a = numbers(&map, 1), *b = numbers(&map, 2), got[1000];
        for (struct team_walk walk = {0}; team_next(&walk);) {
            for (int way = 0; way < 6; way++) { /* relu or not; into a third, into a, into b */
                void *x = packed(&map, a), *y = packed(&map, b), *own = take(map_bytes(&map));
                void *out = way / 2 == 0 ? own : way / 2 == 1 ? x : y;
                kern_add(&walk.team, count, map.bf16, x, y, way % 2, out);
                map_unpack(&map, out, got);
                for (size_t i = 0; i < count; i++) {
                    double want = a[i] + b[i];
                    check_near(got[i], way % 2 && want < 0 ? 0 : want, 1e-6, map.bf16, "sum", i);
                }
                free(x);
                free(y);
                free(own);
            }
            void *x = packed(&map, a), *y = packed(&map, b);
            kern_relu_back(&walk.team, count, map.bf16, x, y, x);
            map_unpack(&map, x, got);
            for (size_t i = 0; i < count; i++)
                assert_true(got[i] == (b[i] > 0 ? a[i] : 0));
            kern_relu_back(&walk.team, count, map.bf16, y, y, y);
            map_unpack(&map, y, got);
            for (size_t i = 0; i < count; i++)
                assert_true(got[i] == (b[i] > 0 ? b[i] : 0));
            kern_zero(&walk.team, x, map_bytes(&map));
            map_unpack(&map, x, got);
            for (size_t i = 0; i < count; i++)
                assert_true(got[i] == 0);
            free(x);
            free(y);
        }
        free(a);
        free(b);
    }
}

static void biases(void **state)
{
    (void)state;
    static const int widths[] = {1, 7, 16, 100, 130};
    for (size_t k = 0; k < 5; k++) {
        enum { N = 71 };
        struct kern_map map = {N, 1, widths[k], 1, 1, widths[k], 0}, one = {1, 1, widths[k], 1, 1, widths[k], 0};
        size_t c = (size_t)widths[k];
        double *y = numbers(&map, 1), *b = numbers(&one, 2);
        float *bias = packed(&one, b), *d_bias = take(sizeof(float) * c);
        for (struct team_walk walk = {0}; team_next(&walk);) {
            for (int flag = 0; flag < 2; flag++) {
                float *got = packed(&map, y);
                for (size_t i = 0; i < c; i++)
                    d_bias[i] = 5;
                kern_bias_back(&walk.team, N, (int)c, got, d_bias, flag);
                for (size_t i = 0; i < c; i++) {
                    double sum = flag ? 5 : 0;
                    for (size_t n = 0; n < N; n++)
                        sum += y[n * c + i];
                    check_near((double)d_bias[i], sum, 1e-5, 0, "d_bias", i);
                }
                kern_bias(&walk.team, N, (int)c, bias, flag, got);
                for (size_t i = 0; i < N * c; i++) {
                    double want = y[i] + b[i % c];
                    check_near((double)got[i], flag && want < 0 ? 0 : want, 1e-6, 0, "biased", i);
                }
                free(got);
            }
        }
        free(y);
        free(b);
        free(bias);
        free(d_bias);
    }
}

static void unit_norm(void **state)
{
    (void)state;
    static const int widths[] = {1, 7, 16, 100, 128};
    for (size_t k = 0; k < 5; k++) {
        enum { N = 6 };
        struct kern_map map = {N, 1, widths[k], 1, 1, widths[k], 0};
        size_t c = (size_t)widths[k], count = N * c;
        double *x = numbers(&map, 1), *dy = numbers(&map, 2);
        for (size_t i = 0; i < c; i++) {
            x[i] = 0;                                     /* no direction */
            x[c + i] = (double)(float)(x[c + i] * 1e-14); /* shorter than the least norm */
            x[2 * c + i] *= 0x1p80;                       /* squares beyond f32 */
        }
        float *x_map = packed(&map, x), *dy_map = packed(&map, dy), *y = take(sizeof(float) * count);
        float *dx = take(sizeof(float) * count);
        for (struct team_walk walk = {0}; team_next(&walk);) {
            kern_l2norm(&walk.team, N, (int)c, x_map, y);
            kern_l2norm_back(&walk.team, N, (int)c, x_map, dy_map, dx);
            for (size_t i = 0; i < count; i++) {
                double squares = 0, along = 0;
                for (size_t j = i / c * c; j < i / c * c + c; j++) {
                    squares += x[j] * x[j];
                    along += x[j] * dy[j];
                }
                double norm = fmax(sqrt(squares), 1e-12);
                double want = (dy[i] - (norm > 1e-12 ? x[i] * along / squares : 0)) / norm;
                check_near((double)y[i], x[i] / norm, 2e-7, 0, "unit", i);
                check_near((double)dx[i], want, 1e-6 * (fabs(dy[i]) + 3) / norm, 0, "dx", i);
            }
        }
        free(x);
        free(dy);
        free(x_map);
        free(dy_map);
        free(y);
        free(dx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures),       cmocka_unit_test(max_pooling), cmocka_unit_test(pooling_keeps_nan),
        cmocka_unit_test(relu_keeps_nan), cmocka_unit_test(averages),    cmocka_unit_test(sums_and_relu),
        cmocka_unit_test(biases),         cmocka_unit_test(unit_norm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
