/* SPDX-License-Identifier: MIT
 *
 * test_cpu_slices: inference that runs its first layers in slices of a launch computes what a plan of one image does,
 * image by image, however the images are handed over. What a reader would get wrong: small networks are not sliced at
 * all; the size here is what makes the plan take slices, and the tests first look that it did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/rigs/net_harness.h"

#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/cpu_program.h"
#include "backend/cpu/ops/op_conv.h"

#define TOL_F32 1e-4  /* measured 1e-6: other primitives, other order of sums */
#define TOL_BF16 0.01 /* measured below 1e-6; another order of sums would flip single roundings */

enum { IMAGES = 48, SIZE = 128 };

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

static void open_net(struct harness *h, enum be_precision precision)
{
    struct harness_spec spec = {.device = "cpu",
                                .precision = precision,
                                .threads = 2,
                                .n = IMAGES,
                                .groups = 1,
                                .launches = 1,
                                .queue = 64,
                                .seed = 5,
                                .config = harness_net(18, 0.25, STEM_IMAGENET, HEAD_LINEAR, 16, SIZE)};
    harness_open(h, &spec);
    harness_forward(h, 0, NULL);
    harness_commit(h);
}

/* A bound and folded plan for the features of n images. */
struct inference {
    struct harness *h;
    struct be_weights *weights;
    struct be_plan *plan;
    struct be_memory slab, result;
    int n;
    size_t dim;
};

static void inference_open(struct inference *f, struct harness *h, int n, int f32_input)
{
    struct err err = {0};
    struct be_plan_bytes bytes;
    struct be_plan_spec spec = {.graph = h->graph,
                                .layout = h->layout,
                                .precision = h->precision,
                                .pass = BE_INFER,
                                .n = n,
                                .groups = 1,
                                .output = h->graph->features,
                                .weights = f->weights = harness_folded(h),
                                .f32_input = f32_input};
    f->h = h;
    f->n = n;
    f->dim = (size_t)h->graph->values[h->graph->features].c;
    harness_ok(h->be->plan_create(&f->plan, h->dev, &spec, &err), &err);
    h->be->plan_bytes(f->plan, &bytes);
    f->slab = harness_alloc(h, bytes.slab);
    f->result = harness_reals(h, (size_t)n * f->dim);
    harness_ok(h->be->plan_bind(f->plan, f->slab.at, &err), &err);
}

static void inference_run_halves(struct inference *f, const void *images, const void *second, const int32_t *index,
                                 double *out)
{
    struct err err = {0};
    struct be_forward io = {.images = images, .second = second, .index = index, .out = f->result.at};
    harness_ok(f->h->be->forward(f->plan, &io, &err), &err);
    harness_read(f->h, f->result.at, (size_t)f->n * f->dim, out);
}

static void inference_run(struct inference *f, const void *images, const int32_t *index, double *out)
{
    inference_run_halves(f, images, NULL, index, out);
}

static void inference_close(struct inference *f)
{
    f->h->be->plan_free(f->plan);
    f->h->be->weights_free(f->weights);
    f->h->be->release(f->h->dev, &f->slab);
    f->h->be->release(f->h->dev, &f->result);
}

/* Features of every image, by a plan that runs one at a time. */
static double *one_by_one(struct harness *h)
{
    struct inference one;
    inference_open(&one, h, 1, 0);
    assert_int_equal(one.plan->program.segment_count, 1);
    double *all = take(IMAGES * one.dim, sizeof *all);
    for (int i = 0; i < IMAGES; i++)
        inference_run(&one, h->images + (size_t)i * SIZE * SIZE * 3, NULL, all + (size_t)i * one.dim);
    inference_close(&one);
    return all;
}

static void expect_rows(const struct inference *f, const double *got, const double *all, const int32_t *index)
{
    double tolerance = f->h->precision == BE_BF16 ? TOL_BF16 : TOL_F32;
    for (int i = 0; i < IMAGES; i++) {
        double error = harness_error(f->dim, got + (size_t)i * f->dim, all + (size_t)index[i] * f->dim);
        if (!(error <= tolerance))
            fail_msg("image %d: relative error %.3g, tolerance %.3g", i, error, tolerance);
    }
}

static void check_precision(enum be_precision precision)
{
    struct harness h;
    struct inference all;
    int32_t order[IMAGES], scattered[IMAGES], halves[IMAGES];
    open_net(&h, precision);
    double *expected = one_by_one(&h);
    inference_open(&all, &h, IMAGES, 0);
    assert_int_equal(all.plan->program.segment_count, 2);
    assert_in_range(all.plan->program.segments[0].n, 1, IMAGES / 2);
    assert_int_equal(IMAGES % all.plan->program.segments[0].n, 0);
    double *got = take(IMAGES * all.dim, sizeof *got), *again = take(IMAGES * all.dim, sizeof *again);
    for (int i = 0; i < IMAGES; i++) {
        order[i] = i;
        scattered[i] = i * 13 % IMAGES;
        halves[i] = (i + IMAGES / 2) % IMAGES;
    }
    inference_run(&all, h.images, NULL, got);
    expect_rows(&all, got, expected, order);
    inference_run(&all, h.images, scattered, again);
    expect_rows(&all, again, expected, scattered);
    inference_run(&all, h.images, NULL, again); /* nothing of another run is left over */
    assert_memory_equal(got, again, IMAGES * all.dim * sizeof *got);
    size_t half = (size_t)IMAGES / 2 * SIZE * SIZE * 3;
    inference_run_halves(&all, h.images + half, h.images, NULL, again);
    expect_rows(&all, again, expected, halves);
    for (int i = 0; i < IMAGES; i++) {
        scattered[i] = i * 13 % (IMAGES / 2);
        halves[i] = (i < IMAGES / 2 ? IMAGES / 2 : 0) + scattered[i];
    }
    inference_run_halves(&all, h.images + half, h.images, scattered, again);
    expect_rows(&all, again, expected, halves);
    free(expected);
    free(got);
    free(again);
    inference_close(&all);
    harness_close(&h);
}

static void test_slices_compute_what_one_image_does(void **state)
{
    (void)state;
    check_precision(BE_F32);
    if (harness_has("cpu", BE_BF16))
        check_precision(BE_BF16);
}

static void test_slices_of_normalised_images(void **state)
{
    (void)state;
    struct harness h;
    struct inference all;
    open_net(&h, BE_F32);
    const struct graph *g = h.graph;
    size_t area = (size_t)SIZE * SIZE;
    float *normalised = take(IMAGES * 3 * area, sizeof *normalised);
    int32_t order[IMAGES];
    for (size_t i = 0; i < IMAGES; i++) {
        order[i] = (int32_t)i;
        for (size_t c = 0; c < 3; c++)
            for (size_t p = 0; p < area; p++)
                normalised[(i * 3 + c) * area + p] =
                    (float)(((double)h.images[(i * area + p) * 3 + c] / 255 - g->mean[c]) / g->std[c]);
    }
    double *expected = one_by_one(&h);
    inference_open(&all, &h, IMAGES, 1);
    assert_int_equal(all.plan->program.segment_count, 2);
    double *got = take(IMAGES * all.dim, sizeof *got);
    inference_run(&all, normalised, NULL, got);
    expect_rows(&all, got, expected, order);
    free(expected);
    free(got);
    free(normalised);
    inference_close(&all);
    harness_close(&h);
}

/* What is wide stands in NHWC, what is narrow in channel blocks, where the machine has blocks of 16. */
static void test_orders(void **state)
{
    (void)state;
    struct harness h;
    struct inference one;
    open_net(&h, BE_F32);
    inference_open(&one, &h, 1, 0);
    const struct be_plan *plan = one.plan;
    int wide = 0, narrow = 0;
    for (int i = 0; i < plan->program.node_count; i++) {
        const struct program_node *node = &plan->program.nodes[i];
        if (node->op->kind != OP_CONV)
            continue;
        int is_wide = cpu_is_wide(&h.graph->values[node->out]);
        wide += is_wide;
        narrow += !is_wide;
        if (cpu_block(plan->dev) == 16)
            assert_int_equal(cpu_value_order(plan, node->out), is_wide ? SHIM_NHWC : SHIM_BLOCK16);
        assert_false(((const struct op_conv *)node->state)->conv.run.reference);
    }
    assert_true(wide > 0 && narrow > 0);
    inference_close(&one);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_compute_what_one_image_does),
        cmocka_unit_test(test_slices_of_normalised_images),
        cmocka_unit_test(test_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* slices are the device cpu's, which this build has not */
}

#endif
