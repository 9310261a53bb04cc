/* SPDX-License-Identifier: MIT
 *
 * test_augment: the drawn parameters have the distributions of SPEC 1.4 and depend on each other as they should and not
 * otherwise; applying them gives Pillow's bytes on every instruction set (checksums of drawn pictures). All streams are
 * fixed, so a threshold of one in ten thousand either passes for ever or never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/view/augment.h"
#include "data/view/view_kernels.h"
#include "golden/view_fixtures.h"
#include "support/draw_image.h"
#include "support/failing_alloc.h"

#define N 20000

static moco_augment_options recipe(const char *name, int size)
{
    moco_augment_options o = {0};
    struct err err = {0};
    assert_int_equal(augment_recipe(&o, name, size, &err), MOCO_OK);
    return o;
}

static struct augment_params draw(const moco_augment_options *o, int w, int h, uint64_t epoch, uint64_t sample,
                                  unsigned view)
{
    struct augment_params p;
    struct rng rng;
    struct err err = {0};
    rng_init(&rng, 11, epoch, sample, view, RNG_AUGMENT);
    assert_int_equal(augment_draw(o, w, h, &rng, &p, &err), MOCO_OK);
    return p;
}

/* ---- statistics ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Kolmogorov-Smirnov against the uniform distribution on [low, high]; 2.23 is passed once in 20,000 times. */
static void assert_uniform(const char *what, double *x, int n, double low, double high)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    double worst = 0;
    for (int i = 0; i < n; i++) {
        double u = (x[i] - low) / (high - low), above = (i + 1.0) / n - u, below = u - (double)i / n;
        worst = fmax(worst, fmax(above, below));
    }
    if (worst * sqrt(n) > 2.23)
        fail_msg("%s is not uniform on [%g, %g]: sqrt(n) D = %g, from %g to %g", what, low, high, worst * sqrt(n), x[0],
                 x[n - 1]);
}

static void assert_same_distribution(const char *what, double *a, double *b, int n)
{
    qsort(a, (size_t)n, sizeof *a, ascending);
    qsort(b, (size_t)n, sizeof *b, ascending);
    double worst = 0;
    for (int i = 0, j = 0; i < n && j < n;) {
        double at = a[i] < b[j] ? a[i] : b[j];
        while (i < n && a[i] <= at)
            i++;
        while (j < n && b[j] <= at)
            j++;
        worst = fmax(worst, fabs((double)(i - j) / n));
    }
    if (worst * sqrt(n / 2.0) > 2.23)
        fail_msg("%s: two samples differ: %g", what, worst * sqrt(n / 2.0));
}

static void assert_probability(const char *what, int hits, int n, double p)
{
    double z = (hits - n * p) / sqrt(n * p * (1 - p));
    if (fabs(z) > 4)
        fail_msg("%s: %d of %d, expected %g: z = %g", what, hits, n, n * p, z);
}

/* Mean + 4 standard deviations of chi-square with cells - 1 degrees of freedom. */
static void assert_even(const char *what, const int *cell, int cells, int n)
{
    double expected = (double)n / cells, sum = 0;
    for (int i = 0; i < cells; i++)
        sum += (cell[i] - expected) * (cell[i] - expected) / expected;
    if (sum > cells - 1 + 4.5 * sqrt(2.0 * (cells - 1)))
        fail_msg("%s: chi-square %g over %d cells", what, sum, cells);
}

static void assert_uncorrelated(const char *what, const double *a, const double *b, int n)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ma += a[i] / n;
        mb += b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        ab += (a[i] - ma) * (b[i] - mb);
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
    }
    if (fabs(ab / sqrt(aa * bb)) * sqrt(n) > 4)
        fail_msg("%s: correlation %g of %d", what, ab / sqrt(aa * bb), n);
}

/* Rank of an order of four among the 24. */
static int order_number(const int op[4])
{
    int number = 0;
    for (int i = 0; i < 4; i++) {
        int smaller = 0;
        for (int j = i + 1; j < 4; j++)
            smaller += op[j] < op[i];
        number = number * (4 - i) + smaller;
    }
    return number;
}

/* ---- draws ---- */

static void test_colour_draws(void **state)
{
    (void)state;
    static double factor[4][N], sigma[N];
    moco_augment_options o = recipe("moco-v2", 224);
    int order[24] = {0}, jitter = 0, grey = 0, blurred = 0, flip = 0;
    for (int i = 0; i < N; i++) {
        struct augment_params p = draw(&o, 500, 375, 0, (uint64_t)i, 0);
        order[order_number(p.op)]++;
        for (int k = 0; k < 4; k++)
            factor[k][i] = p.factor[k];
        jitter += p.jitter;
        grey += p.grey;
        flip += p.flip;
        if (p.sigma > 0)
            sigma[blurred++] = p.sigma;
        assert_true(!p.grey_first && !p.skip[0] && !p.skip[1] && !p.skip[2] && !p.skip[3]);
    }
    assert_even("order of the four ops", order, 24, N);
    assert_uniform("brightness", factor[0], N, 0.6, 1.4);
    assert_uniform("contrast", factor[1], N, 0.6, 1.4);
    assert_uniform("saturation", factor[2], N, 0.6, 1.4);
    assert_uniform("hue", factor[3], N, -0.1, 0.1);
    assert_uniform("sigma", sigma, blurred, 0.1, 2.0);
    assert_probability("jitter", jitter, N, 0.8);
    assert_probability("grey", grey, N, 0.2);
    assert_probability("blur", blurred, N, 0.5);
    assert_probability("flip", flip, N, 0.5);
    o = recipe("moco-v1", 224);
    for (int i = 0; i < 1000; i++) {
        struct augment_params p = draw(&o, 500, 375, 0, (uint64_t)i, 0);
        assert_true(p.jitter && p.grey_first && p.sigma == 0 && fabs(p.factor[3]) <= 0.4);
    }
}

/* SPEC 2: the ranges of strength 1 and 0.5, the resize, the middle 87.5 %. */
static void test_simclr_draws(void **state)
{
    (void)state;
    static double factor[4][N], sigma[N];
    for (int cifar = 0; cifar < 2; cifar++) {
        double s = cifar ? 0.5 : 1;
        moco_augment_options o = recipe(cifar ? "simclr-cifar10" : "simclr", cifar ? 32 : 224);
        int jitter = 0, grey = 0, blurred = 0, flip = 0;
        for (int i = 0; i < N; i++) {
            struct augment_params p = draw(&o, 500, 375, 0, (uint64_t)i, 0);
            for (int k = 0; k < 4; k++)
                factor[k][i] = p.factor[k];
            jitter += p.jitter;
            grey += p.grey;
            flip += p.flip;
            if (p.sigma > 0)
                sigma[blurred++] = p.sigma;
            assert_true(p.interpolation == AUGMENT_BICUBIC && !p.grey_first);
        }
        assert_uniform("brightness", factor[0], N, 1 - 0.8 * s, 1 + 0.8 * s);
        assert_uniform("contrast", factor[1], N, 1 - 0.8 * s, 1 + 0.8 * s);
        assert_uniform("saturation", factor[2], N, 1 - 0.8 * s, 1 + 0.8 * s);
        assert_uniform("hue", factor[3], N, -0.2 * s, 0.2 * s);
        assert_probability("jitter", jitter, N, 0.8);
        assert_probability("grey", grey, N, 0.2);
        assert_probability("flip", flip, N, 0.5);
        if (cifar) {
            assert_int_equal(blurred, 0);
            continue;
        }
        assert_probability("blur", blurred, N, 0.5);
        assert_uniform("sigma", sigma, blurred, 0.1, 2.0);
    }
    moco_augment_options e = recipe("simclr-eval", 224), v2 = recipe("moco-v2", 224);
    struct augment_params p = draw(&e, 500, 375, 0, 0, 0);
    assert_true(p.w == 328 && p.h == 328 && p.x == 86 && p.y == 24 && p.rw == 224 && p.rh == 224);
    assert_true(p.interpolation == AUGMENT_BICUBIC && !p.jitter && !p.flip && !p.grey && p.sigma == 0);
    p = draw(&e, 1, 700, 0, 0, 0);
    assert_true(p.w == 1 && p.h == 1 && p.x == 0 && p.y == 350);
    assert_int_equal(draw(&v2, 500, 375, 0, 0, 0).interpolation, AUGMENT_BILINEAR);
}

/* Where every box fits, area and ratio keep their own distributions, and the place is uniform. */
static void test_crop_draws(void **state)
{
    (void)state;
    static double area[N], ratio[N], x[N], y[N];
    moco_augment_options o = recipe("moco-v2", 224);
    o.scale[1] = 0.5;
    for (int i = 0; i < N; i++) {
        struct augment_params p = draw(&o, 4000, 4000, 0, (uint64_t)i, 0);
        assert_true(p.x >= 0 && p.y >= 0 && p.x + p.w <= 4000 && p.y + p.h <= 4000 && p.rw == 224 && p.rh == 224);
        area[i] = (double)p.w * p.h / 16e6;
        ratio[i] = log((double)p.w / p.h);
        x[i] = (p.x + 0.5) / (4000 - p.w + 1);
        y[i] = (p.y + 0.5) / (4000 - p.h + 1);
    }
    assert_uncorrelated("x and y", x, y, N);
    assert_uncorrelated("area and ratio", area, ratio, N);
    assert_uniform("area", area, N, 0.2, 0.5);
    assert_uniform("log ratio", ratio, N, log(0.75), log(4.0 / 3));
    assert_uniform("x", x, N, 0, 1);
    assert_uniform("y", y, N, 0, 1);
}

/* The whole rule with its rejections, written again from torchvision's description, with other random numbers. */
static void simulate(struct rng *rng, int w, int h, const double scale[2], int attempts, double *area, double *shape)
{
    for (int attempt = 0; attempt < attempts; attempt++) {
        double target = w * h * (scale[0] + (scale[1] - scale[0]) * rng_uniform(rng));
        double aspect = exp(log(0.75) + (log(4.0 / 3) - log(0.75)) * rng_uniform(rng));
        double cw = nearbyint(sqrt(target * aspect)), ch = nearbyint(sqrt(target / aspect));
        if (cw >= 1 && cw <= w && ch >= 1 && ch <= h) {
            *area = cw * ch;
            *shape = cw / ch;
            return;
        }
    }
    double cw = (double)w / h > 4.0 / 3 ? nearbyint(h * 4.0 / 3) : w,
           ch = (double)w / h < 0.75 ? nearbyint(w / 0.75) : h;
    *area = cw * ch;
    *shape = cw / ch;
}

static void test_crop_rejections(void **state)
{
    (void)state;
    static const int sizes[][2] = {{500, 375}, {375, 500}, {224, 224}, {600, 200}, {32, 32}, {900, 150}};
    static const char *const names[] = {"moco-v2", "moco-v2", "moco-v2", "moco-v2", "cifar10", "simclr"};
    static double area[2][N], shape[2][N];
    for (int s = 0; s < 6; s++) {
        moco_augment_options o = recipe(names[s], 32);
        int w = sizes[s][0], h = sizes[s][1];
        for (int i = 0; i < N; i++) {
            struct augment_params p = draw(&o, w, h, 1, (uint64_t)i, 1);
            struct rng rng;
            rng_init(&rng, 3, 0, (uint64_t)i, 0, RNG_TEST);
            area[0][i] = (double)p.w * p.h;
            shape[0][i] = (double)p.w / p.h;
            simulate(&rng, w, h, o.scale, s == 5 ? 100 : 10, &area[1][i], &shape[1][i]);
        }
        assert_same_distribution("area", area[0], area[1], N);
        assert_same_distribution("shape", shape[0], shape[1], N);
    }
}

static void test_crop_of_strips(void **state)
{
    (void)state;
    moco_augment_options o = recipe("moco-v2", 224), e = recipe("eval", 224);
    struct augment_params p = draw(&o, 10, 1000, 0, 0, 0); /* no box fits: the middle, as tall as the ratio allows */
    assert_true(p.x == 0 && p.w == 10 && p.h == 13 && p.y == 493);
    p = draw(&o, 1000, 10, 0, 0, 0);
    assert_true(p.y == 0 && p.h == 10 && p.w == 13 && p.x == 493);
    p = draw(&o, 1, 1, 0, 0, 0);
    assert_true(p.w == 1 && p.h == 1 && p.x == 0 && p.y == 0);
    p = draw(&e, 500, 375, 0, 0, 0);
    assert_true(p.rw == 341 && p.rh == 256 && p.ox == 58 && p.oy == 16 && p.w == 500 && p.h == 375);
    p = draw(&e, 1, 60000, 0, 0, 0);
    assert_true(p.rw == 256 && p.rh <= 16 * 256 && p.h == 16 && p.y == 29992);
}

static void test_independence(void **state)
{
    (void)state;
    moco_augment_options o = recipe("moco-v2", 224);
    static double base[4][N], other[4][N];
    static int pairs[24 * 24];
    static const char *const names[3] = {"views", "epochs", "samples"};
    for (int kind = 0; kind < 3; kind++) {
        memset(pairs, 0, sizeof pairs);
        for (int i = 0; i < N; i++) {
            struct augment_params p = draw(&o, 500, 375, 2, (uint64_t)i, 0);
            struct augment_params q =
                draw(&o, 500, 375, kind == 1 ? 3 : 2, (uint64_t)(kind == 2 ? i + 1 : i), kind == 0);
            pairs[order_number(p.op) * 24 + order_number(q.op)]++;
            double of_p[4] = {p.factor[0], p.factor[3], (double)p.w * p.h, p.flip};
            double of_q[4] = {q.factor[0], q.factor[3], (double)q.w * q.h, q.flip};
            for (int k = 0; k < 4; k++) {
                base[k][i] = of_p[k];
                other[k][i] = of_q[k];
            }
        }
        assert_even(names[kind], pairs, 24 * 24, N);
        for (int k = 0; k < 4; k++)
            for (int m = 0; m < 4; m++)
                assert_uncorrelated(names[kind], base[k], other[m], N);
    }
}

/* A decision moves neither with the probability of another nor with the picture's size. */
static void test_draws_are_fixed_in_place(void **state)
{
    (void)state;
    moco_augment_options v2 = recipe("moco-v2", 224), never = v2;
    never.jitter_p = never.blur_p = never.grey_p = 0;
    for (int i = 0; i < 200; i++) {
        struct augment_params a = draw(&v2, 500, 375, 0, (uint64_t)i, 0),
                              again = draw(&v2, 500, 375, 0, (uint64_t)i, 0);
        struct augment_params small = draw(&v2, 90, 700, 0, (uint64_t)i, 0),
                              b = draw(&never, 500, 375, 0, (uint64_t)i, 0);
        assert_memory_equal(&a, &again, sizeof a);
        assert_true(small.flip == a.flip && small.jitter == a.jitter && small.sigma == a.sigma);
        assert_memory_equal(small.factor, a.factor, sizeof a.factor);
        assert_true(b.x == a.x && b.y == a.y && b.w == a.w && b.h == a.h && b.flip == a.flip);
        assert_memory_equal(b.factor, a.factor, sizeof a.factor);
        assert_true(!b.jitter && !b.grey && b.sigma == 0);
    }
}

static void test_options_are_checked(void **state)
{
    (void)state;
    const moco_augment_options good = recipe("moco-v2", 224);
    moco_augment_options o = good;
    struct err err;
#define REFUSED(change, word)                                                                                          \
    do {                                                                                                               \
        o = good;                                                                                                      \
        change;                                                                                                        \
        err = (struct err){0};                                                                                         \
        assert_int_equal(augment_check(&o, &err), MOCO_EINVAL);                                                        \
        assert_non_null(strstr(err.text, word));                                                                       \
    } while (0)
    REFUSED(o.size = 0, "size");
    REFUSED(o.size = AUGMENT_SIZE_MAX + 1, "size");
    REFUSED(o.crop = 4, "crop");
    REFUSED(o.scale[0] = -0.1, "scale");
    REFUSED(o.scale[1] = 1.1, "scale");
    REFUSED(o.scale[0] = NAN, "scale");
    REFUSED(o.ratio[0] = 0, "ratio");
    REFUSED(o.ratio[0] = 2, "ratio");
    REFUSED(o.jitter_p = NAN, "jitter_p");
    REFUSED(o.grey_p = 1.5, "grey_p");
    REFUSED(o.blur_p = -1, "blur_p");
    REFUSED(o.flip_p = 2, "flip_p");
    REFUSED(o.contrast = -0.4, "contrast");
    REFUSED(o.hue = 0.6, "hue");
    REFUSED(o.blur_sigma[1] = INFINITY, "blur_sigma");
    REFUSED(o.grey_first = 2, "grey_first");
    REFUSED(o.interpolation = -1, "interpolation");
    REFUSED(o.crop_attempts = 1001, "crop_attempts");
    REFUSED((o.crop = AUGMENT_CROP_MIDDLE), "centre_part");
    REFUSED((o.crop = AUGMENT_CROP_MIDDLE, o.centre_part = 1.01), "centre_part");
    REFUSED((o.crop = AUGMENT_CROP_CENTRE, o.resize = 100), "resize");
#undef REFUSED
    err = (struct err){0};
    assert_int_equal(augment_recipe(&o, "moco-v3", 224, &err), MOCO_ENOTFOUND);
    assert_non_null(strstr(err.text, "moco-v2"));
    moco_augment_options none = recipe("none", 32);
    struct rng rng = {0};
    struct augment_params p;
    err = (struct err){0};
    assert_int_equal(augment_draw(&none, 32, 31, &rng, &p, &err), MOCO_ESHAPE);
    assert_non_null(strstr(err.text, "32 x 31"));
}

/* ---- pixels ---- */

static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

static void test_pillow_checksums(void **state)
{
    (void)state;
    struct ctx *ctx;
    struct err err = {0};
    struct augment_scratch scratch;
    static uint8_t pixels[300 * 300 * 3], view[224 * 224 * 3];
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err), MOCO_OK);
    augment_scratch_init(&scratch, ctx);
    for (int level = 0; (scratch.kernels = view_kernels_level(level)) != NULL; level++)
        for (size_t i = 0; i < sizeof view_fixtures / sizeof *view_fixtures; i++) {
            const struct view_fixture *f = &view_fixtures[i];
            struct image image = {.pixels = pixels, .w = f->w, .h = f->h, .stride = (size_t)f->w * 3};
            draw_pixels(pixels, f->w, f->h, f->seed);
            assert_int_equal(augment_apply(&f->params, &image, f->size, &scratch, view, &err), MOCO_OK);
            uint32_t crc = crc32_of(view, (size_t)f->size * (size_t)f->size * 3);
            if (crc != f->crc)
                fail_msg("fixture %zu on %s: %08x, Pillow %08x", i, scratch.kernels->name, crc, f->crc);
        }
    augment_scratch_free(&scratch);
    assert_int_equal(ctx->live_bytes, 0);
    ctx_unref(ctx);
}

/* Red, grey, then hue by a third is the grey of red; hue, then grey, is the grey of green. */
static void test_order_v1_v2(void **state)
{
    (void)state;
    struct ctx *ctx;
    struct err err = {0};
    struct augment_scratch scratch;
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err), MOCO_OK);
    augment_scratch_init(&scratch, ctx);
    static const uint8_t red[3] = {255, 0, 0};
    struct image image = {.pixels = red, .w = 1, .h = 1, .stride = 3};
    struct augment_params p = {.w = 1,
                               .h = 1,
                               .rw = 2,
                               .rh = 2,
                               .jitter = 1,
                               .op = {3, 2, 1, 0},
                               .skip = {1, 1, 1, 0},
                               .factor = {1, 1, 1, 1.0 / 3},
                               .grey = 1};
    uint8_t view[12];
    for (int first = 0; first < 2; first++) {
        p.grey_first = first;
        assert_int_equal(augment_apply(&p, &image, 2, &scratch, view, &err), MOCO_OK);
        for (int i = 0; i < 12; i++)
            assert_int_equal(view[i], first ? 76 : 150);
    }
    augment_scratch_free(&scratch);
    ctx_unref(ctx);
}

static void test_no_memory(void **state)
{
    (void)state;
    static uint8_t pixels[64 * 48 * 3], view[32 * 32 * 3];
    draw_pixels(pixels, 64, 48, 1);
    struct image image = {.pixels = pixels, .w = 64, .h = 48, .stride = 64 * 3};
    moco_augment_options o = recipe("moco-v2", 32);
    o.blur_p = 1;
    struct augment_params p = draw(&o, 64, 48, 0, 0, 0);
    moco_status status = MOCO_ENOMEM;
    int n = 1;
    for (; status != MOCO_OK; n++) {
        struct failing_alloc hook = {.fail_at = n};
        struct ctx *ctx;
        struct err err = {0};
        struct augment_scratch scratch;
        assert_int_equal(
            ctx_create(
                &ctx,
                &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &hook, .threads = 1},
                &err),
            MOCO_OK);
        augment_scratch_init(&scratch, ctx);
        status = augment_apply(&p, &image, 32, &scratch, view, &err);
        assert_true(status == MOCO_OK || status == MOCO_ENOMEM);
        if (status == MOCO_ENOMEM) /* the scratch is still good for the next view */
            assert_int_equal(augment_apply(&p, &image, 32, &scratch, view, &err), MOCO_OK);
        augment_scratch_free(&scratch);
        ctx_unref(ctx);
        assert_int_equal(hook.live, 0);
    }
    assert_in_range(n, 6, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colour_draws),        cmocka_unit_test(test_crop_draws),
        cmocka_unit_test(test_crop_rejections),     cmocka_unit_test(test_crop_of_strips),
        cmocka_unit_test(test_independence),        cmocka_unit_test(test_draws_are_fixed_in_place),
        cmocka_unit_test(test_options_are_checked), cmocka_unit_test(test_pillow_checksums),
        cmocka_unit_test(test_order_v1_v2),         cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_simclr_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
