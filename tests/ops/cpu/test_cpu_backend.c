/* SPDX-License-Identifier: MIT
 *
 * test_cpu_backend: the device "cpu" against "ref", whole networks and odd graphs, and what only a compiled plan can
 * get wrong: layouts, lifetimes, in-place operations, strided gathers, summed gradients. What a reader would get wrong:
 * a ReLU whose input lies within rounding error of zero lets a gradient through on one device and not on the other, so
 * that gradients of deep networks agree to a percent where their forward agrees to 1e-5; shallow ones have the tight
 * bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/rigs/net_harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#define TOL_FORWARD 1e-4      /* measured 1e-6 to 3e-5 */
#define TOL_GRADIENT 1e-3     /* measured 1e-5, and 5e-4 where one ReLU flips */
#define TOL_GRADIENT_DEEP 0.1 /* measured 0.03 */
/* Two computations that round to bf16 at the same places differ from f32 by as much, though not alike: the mean of that
 * error over all tensors of a kind is the same to a tenth (measured over six seeds); a single tensor's, to three times,
 * where it hangs on the few ReLUs of a head. */
#define BF16_MEAN_RATIO 1.3
#define BF16_RATIO 4.0
#define BF16_FLOOR 0.01

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

struct net_case {
    int depth;
    double width;
    enum net_stem stem;
    enum net_head head;
    int image, n, groups, launches;
    double gradient; /* tolerance */
};

static const struct net_case cases[] = {
    {18, 0.25, STEM_SMALL, HEAD_MLP, 32, 8, 1, 1, TOL_GRADIENT},
    {18, 0.25, STEM_IMAGENET, HEAD_LINEAR, 40, 6, 3, 2, TOL_GRADIENT_DEEP}, /* odd maps: 5, 3 */
    {18, 0.1, STEM_CIFAR, HEAD_MLP, 16, 8, 2, 2, TOL_GRADIENT},             /* 6, 12, 24, 48 channels */
    {50, 0.25, STEM_SMALL, HEAD_MLP, 32, 6, 1, 2, TOL_GRADIENT_DEEP},
    {50, 0.1, STEM_CIFAR, HEAD_LINEAR, 16, 6, 3, 1,
     TOL_GRADIENT_DEEP}, /* strided 1 x 1 from fewer channels than a block */
    {34, 0.5, STEM_SMALL, HEAD_LINEAR, 16, 4, 1, 1, TOL_GRADIENT_DEEP},
    {18, 0.25, STEM_SMALL, HEAD_SIMCLR_V2, 32, 16, 2, 2, TOL_GRADIENT_DEEP}, /* BN of vectors */
    {18, 0.1, STEM_CIFAR, HEAD_SIMCLR_V1, 16, 16, 1, 1, TOL_GRADIENT_DEEP},
    {18, 0.25, STEM_CIFAR, HEAD_LINEAR, 96, 2, 1, 2, TOL_GRADIENT_DEEP}, /* so large that maps are recomputed */
};
#define CASES (sizeof cases / sizeof cases[0])

static struct harness_spec spec_of(const struct net_case *c, const char *device, int precision)
{
    return (struct harness_spec){.device = device,
                                 .precision = precision,
                                 .threads = 2,
                                 .n = c->n,
                                 .groups = c->groups,
                                 .launches = c->launches,
                                 .queue = 64,
                                 .seed = 3,
                                 .config = harness_net(c->depth, c->width, c->stem, c->head, 16, c->image)};
}

/* One training step and everything after it on one device. */
struct outcome {
    struct harness_tensors step, state;
    double *key, *infer;
    size_t count;
};

static void run(struct outcome *out, struct harness *h)
{
    out->count = (size_t)h->spec.n * (size_t)h->dim;
    out->key = take(out->count, sizeof(double));
    out->infer = take(out->count, sizeof(double));
    harness_train(h);
    out->step = harness_collect(h, HARNESS_STEP);
    harness_commit(h);
    harness_infer(h, h->graph->embedding, NULL, out->infer);
    harness_key(h, h->momentum.at, h->masters.at, 0.5, h->graph->embedding, out->key); /* half of every weight */
    harness_sgd(h, 0.05, 0.9, 1e-3, 1);
    out->state = harness_collect(h, HARNESS_STATE);
}

static void outcome_free(struct outcome *out)
{
    harness_tensors_free(&out->step);
    harness_tensors_free(&out->state);
    free(out->key);
    free(out->infer);
}

static void run_on(struct outcome *out, const struct harness_spec *spec)
{
    struct harness h;
    harness_open(&h, spec);
    run(out, &h);
    harness_close(&h);
}

static void expect_close(const char *what, size_t count, const double *a, const double *b, double tolerance)
{
    double error = harness_error(count, a, b);
    if (error > tolerance)
        fail_msg("%s: relative error %.3g, tolerance %.3g", what, error, tolerance);
}

static void compare_f32(const struct harness_spec *cpu, const struct harness_spec *ref, double gradient)
{
    struct outcome a, b;
    run_on(&a, cpu);
    run_on(&b, ref);
    harness_expect(&a.step, &b.step, "scalars", TOL_FORWARD);
    harness_expect(&a.step, &b.step, "out", TOL_FORWARD);
    harness_expect(&a.step, &b.step, "stage.", TOL_FORWARD);
    harness_expect(&a.step, &b.step, "grad.", gradient);
    harness_expect(&a.state, &b.state, "weight.", gradient);
    harness_expect(&a.state, &b.state, "momentum.", gradient);
    harness_expect(&a.state, &b.state, "running.", TOL_FORWARD);
    expect_close("key", a.count, a.key, b.key, TOL_FORWARD);
    expect_close("inference", a.count, a.infer, b.infer, TOL_FORWARD);
    outcome_free(&a);
    outcome_free(&b);
}

static void test_f32_equals_ref(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        struct harness_spec cpu = spec_of(&cases[i], "cpu", BE_F32), ref = spec_of(&cases[i], "ref", BE_F32);
        print_message("case %zu\n", i);
        compare_f32(&cpu, &ref, cases[i].gradient);
    }
}

/* ---- bf16 ---- */

/* Every tensor as near to f32 as ref's own rounding leaves it. */
static void expect_as_near(const struct harness_tensors *cpu, const struct harness_tensors *ref,
                           const struct harness_tensors *exact, const char *prefix)
{
    int seen = 0, bad = 0;
    double sum = 0, ref_sum = 0;
    for (int i = 0; i < cpu->count; i++) {
        const struct harness_tensor *x = &cpu->tensor[i];
        if (strncmp(x->name, prefix, strlen(prefix)) != 0)
            continue;
        const struct harness_tensor *y = harness_find(ref, x->name), *z = harness_find(exact, x->name);
        double error = harness_error(x->count, x->values, z->values);
        double ref_error = harness_error(y->count, y->values, z->values);
        seen++;
        sum += error;
        ref_sum += ref_error;
        if (error > BF16_RATIO * ref_error + BF16_FLOOR) {
            bad++;
            print_error("%s: %.3g from f32, ref in bf16 %.3g\n", x->name, error, ref_error);
        }
    }
    if (seen == 0 || bad > 0)
        fail_msg("%d of %d tensors \"%s*\" are off", bad, seen, prefix);
    if (sum > BF16_MEAN_RATIO * ref_sum + BF16_FLOOR * seen)
        fail_msg("\"%s*\": on average %.3g from f32, ref in bf16 %.3g", prefix, sum / seen, ref_sum / seen);
}

static void test_bf16_as_near_as_ref(void **state)
{
    (void)state;
    static const struct net_case wide[] = {
        {18, 0.25, STEM_CIFAR, HEAD_MLP, 32, 16, 2, 1, 0},
        {18, 0.1, STEM_IMAGENET, HEAD_LINEAR, 72, 8, 1, 1, 0},
        {50, 0.25, STEM_SMALL, HEAD_MLP, 32, 16, 1, 2, 0},
        {18, 0.25, STEM_SMALL, HEAD_SIMCLR_V2, 32, 32, 2, 1, 0},
    };
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        struct harness_spec spec = spec_of(&wide[i], "cpu", BE_BF16);
        struct harness h;
        if (!harness_try_open(&h, &spec))
            return; /* AVX2: oneDNN has no bf16 */
        struct outcome cpu, ref, exact;
        run(&cpu, &h);
        harness_close(&h);
        spec = spec_of(&wide[i], "ref", BE_BF16);
        run_on(&ref, &spec);
        spec = spec_of(&wide[i], "ref", BE_F64);
        run_on(&exact, &spec);
        print_message("case %zu\n", i);
        expect_as_near(&cpu.step, &ref.step, &exact.step, "out");
        expect_as_near(&cpu.step, &ref.step, &exact.step, "stage.");
        expect_as_near(&cpu.step, &ref.step, &exact.step, "grad.");
        expect_as_near(&cpu.state, &ref.state, &exact.state, "weight.");
        double mine = harness_error(cpu.count, cpu.key, exact.key), its = harness_error(ref.count, ref.key, exact.key);
        assert_true(mine <= BF16_RATIO * its + BF16_FLOOR);
        mine = harness_error(cpu.count, cpu.infer, exact.infer);
        its = harness_error(ref.count, ref.infer, exact.infer);
        assert_true(mine <= BF16_RATIO * its + BF16_FLOOR);
        outcome_free(&cpu);
        outcome_free(&ref);
        outcome_free(&exact);
    }
}

/* ---- graphs that no ResNet has ---- */

/* Convolution upon convolution, ReLU and ADD without batch norm, a value with four readers, batch norm of vectors;
 * layers without bias: batch norm behind a convolution, alone on a map, and a linear one with ReLU. */
static struct harness_outputs odd_graph(struct graph *g, int input, const void *user)
{
    int channels = *(const int *)user;
    int a = graph_relu(g, graph_conv(g, input, "a", channels, 3, 1, 1));
    int b = graph_conv(g, graph_conv(g, a, "b1", 2 * channels, 1, 1, 0), "b2", channels, 3, 1, 1);
    int c = graph_maxpool(g, graph_relu(g, graph_add(g, a, b)), 2, 2, 0);
    int d = graph_bn(g, graph_conv(g, c, "d", channels, 3, 1, 1), "d_bn");
    int e = graph_relu(g, graph_bn_with(g, graph_conv(g, c, "e", channels, 1, 1, 0), "e_bn", GRAPH_NO_BIAS));
    int f = graph_relu(g, graph_add(g, graph_add(g, c, d), e));
    int s = graph_bn(g, graph_conv(g, c, "s", 2 * channels, 1, 2, 0), "s_bn");
    int f_bn = graph_bn_with(g, f, "f_bn", GRAPH_NO_BIAS);
    int t = graph_add(g, graph_conv(g, f_bn, "t", 2 * channels, 3, 2, 1), s);
    int features = graph_gap(g, t);
    int hidden = graph_bn(g, graph_relu(g, graph_linear_with(g, features, "l1", 24, GRAPH_NO_BIAS)), "l1_bn");
    int projection = graph_linear(g, hidden, "l2", 8);
    return (struct harness_outputs){features, projection, graph_l2norm(g, projection)};
}

static void test_odd_graph(void **state)
{
    (void)state;
    static const int channels[] = {16, 8, 5};
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        struct net_case c = {18, 0.25, STEM_CIFAR, HEAD_MLP, 14, 6, 2, 2, 0};
        struct harness_spec cpu = spec_of(&c, "cpu", BE_F32), ref = spec_of(&c, "ref", BE_F32);
        cpu.build = ref.build = odd_graph;
        cpu.user = ref.user = &channels[i];
        print_message("%d channels\n", channels[i]);
        compare_f32(&cpu, &ref, TOL_GRADIENT);
    }
}

/* ---- what a plan promises, in each precision ---- */

static const struct net_case plain = {18, 0.25, STEM_SMALL, HEAD_MLP, 32, 6, 3, 2, 0};

static void assert_same(const struct harness_tensors *a, const struct harness_tensors *b)
{
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++)
        if (memcmp(a->tensor[i].values, b->tensor[i].values, a->tensor[i].count * sizeof(double)) != 0)
            fail_msg("%s differs", a->tensor[i].name);
}

static int open_plain(struct harness *h, int precision)
{
    struct harness_spec spec = spec_of(&plain, "cpu", precision);
    return harness_try_open(h, &spec);
}

static void each_precision(void (*check)(struct harness *h))
{
    static const int precisions[] = {BE_F32, BE_BF16};
    for (size_t i = 0; i < 2; i++) {
        struct harness h;
        if (!open_plain(&h, precisions[i]))
            continue; /* AVX2: oneDNN has no bf16 */
        check(&h);
        harness_close(&h);
    }
}

static void check_repeats(struct harness *h)
{
    harness_train(h);
    struct harness_tensors a = harness_collect(h, HARNESS_STEP);
    int64_t calls = h->ctx->alloc_calls;
    harness_train(h);
    harness_sgd(h, 0, 0, 0, 1);
    harness_commit(h);
    assert_int_equal(h->ctx->alloc_calls, calls);
    struct harness_tensors b = harness_collect(h, HARNESS_STEP);
    assert_same(&a, &b);
    harness_tensors_free(&a);
    harness_tensors_free(&b);
}

static void test_repeats_without_allocating(void **state)
{
    (void)state;
    each_precision(check_repeats);
}

/* A plan's memory is its own from forward to backward only: what others left in it (here NaN everywhere, then zeros)
 * reaches no number. */
static void check_left_over(struct harness *h)
{
    memset(h->slab.at, 0, h->slab.bytes);
    harness_train(h);
    struct harness_tensors zeros = harness_collect(h, HARNESS_STEP);
    memset(h->slab.at, 0xff, h->slab.bytes);
    harness_train(h);
    struct harness_tensors nans = harness_collect(h, HARNESS_STEP);
    assert_same(&zeros, &nans);
    harness_tensors_free(&zeros);
    harness_tensors_free(&nans);
}

static void test_what_is_left_in_memory(void **state)
{
    (void)state;
    each_precision(check_left_over);
}

/* Nor does what the plan's own steps leave in each other's scratch, as bits that are no number in bf16: oneDNN 2.6
 * multiplies what its scratch holds beside few channels by zero. */
static void test_few_channels(void **state)
{
    (void)state;
    static const double widths[] = {0.05, 0.1, 0.2};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        const struct net_case c = {18, widths[i], STEM_SMALL, HEAD_MLP, 8, 32, 1, 1, 0};
        struct harness_spec spec = spec_of(&c, "cpu", BE_BF16);
        struct harness h;
        spec.threads = 1;
        if (!harness_try_open(&h, &spec))
            return; /* AVX2: oneDNN has no bf16 */
        for (int step = 0; step < 12; step++) {
            harness_train(&h);
            struct harness_tensors t = harness_collect(&h, HARNESS_STEP);
            for (int k = 0; k < t.count; k++)
                for (size_t j = 0; j < t.tensor[k].count; j++)
                    if (!isfinite(t.tensor[k].values[j]))
                        fail_msg("width %g, step %d: %s holds a number that is not finite", widths[i], step,
                                 t.tensor[k].name);
            harness_tensors_free(&t);
            harness_sgd(&h, 0.06, 0.9, 5e-4, step == 0);
        }
        harness_close(&h);
    }
}

static void check_index(struct harness *h)
{
    size_t count = (size_t)h->spec.n * (size_t)h->dim;
    double *a = take(count, sizeof *a), *b = take(count, sizeof *b);
    const int32_t second[] = {6, 7, 8, 9, 10, 11}, scattered[] = {10, 3, 3, 0, 11, 7};
    harness_forward(h, 1, NULL);
    harness_read(h, (char *)h->out.at + count * sizeof(float), count, a);
    harness_forward(h, 0, second);
    harness_read(h, h->out.at, count, b);
    assert_memory_equal(a, b, count * sizeof *a);
    harness_forward(h, 0, scattered);
    harness_read(h, h->out.at, count, b);
    size_t area = (size_t)h->spec.config.image_h * (size_t)h->spec.config.image_w * 3;
    uint8_t *images = take((size_t)h->batch * area, 1), *kept = h->images;
    for (size_t i = 0; i < 6; i++)
        memcpy(images + i * area, kept + (size_t)scattered[i] * area, area);
    h->images = images;
    harness_forward(h, 0, NULL);
    h->images = kept;
    harness_read(h, h->out.at, count, a);
    assert_memory_equal(a, b, count * sizeof *a);
    free(images);
    free(a);
    free(b);
}

/* The second half of a launch from an array of its own. */
static void check_second(struct harness *h)
{
    struct err err = {0};
    size_t count = (size_t)h->spec.n * (size_t)h->dim;
    size_t area = (size_t)h->spec.config.image_h * (size_t)h->spec.config.image_w * 3;
    double *a = take(count, sizeof *a), *b = take(count, sizeof *b);
    const int32_t whole[] = {2, 0, 1, 9, 11, 7}, halves[] = {2, 0, 1, 2, 4, 0};
    harness_forward(h, 0, whole);
    harness_read(h, h->out.at, count, a);
    for (int indexed = 0; indexed < 2; indexed++) {
        struct be_forward io = {.images = h->images,
                                .second = h->images + (indexed ? 7 : 3) * area,
                                .index = indexed ? halves : NULL,
                                .weights = harness_weights(h),
                                .masters = h->masters.at,
                                .stage = h->stage.at,
                                .out = h->out.at};
        if (!indexed) {
            harness_forward(h, 0, NULL);
            harness_read(h, h->out.at, count, b);
        }
        harness_ok(h->be->forward(h->train, &io, &err), &err);
        double *got = take(count, sizeof *got);
        harness_read(h, h->out.at, count, got);
        assert_memory_equal(got, indexed ? a : b, count * sizeof *got);
        free(got);
    }
    free(a);
    free(b);
}

static void test_second_array(void **state)
{
    (void)state;
    each_precision(check_second);
    struct harness_spec spec = spec_of(&plain, "ref", BE_F64);
    struct harness h;
    harness_open(&h, &spec);
    check_second(&h);
    harness_close(&h);
}

static void test_index_gathers(void **state)
{
    (void)state;
    each_precision(check_index);
}

/* A key plan works in place and reads a block of its own, yet computes the same bits; its block is ema then readers. */
static void check_key(struct harness *h)
{
    size_t count = (size_t)h->spec.n * (size_t)h->dim;
    double *a = take(count, sizeof *a), *b = take(count, sizeof *b);
    harness_train(h);
    harness_key(h, h->masters.at, h->masters.at, 0.25, h->graph->embedding, a);
    harness_read(h, h->out.at, count, b);
    assert_memory_equal(a, b, count * sizeof *a);

    harness_key(h, h->gradients.at, h->masters.at, 0.3, h->graph->embedding, a);
    harness_follow(h, h->gradients.at, h->masters.at, 0.3);
    harness_key(h, h->gradients.at, h->gradients.at, 1, h->graph->embedding, b);
    assert_memory_equal(a, b, count * sizeof *a);
    free(a);
    free(b);
}

static void test_key_equals_train(void **state)
{
    (void)state;
    each_precision(check_key);
}

static void check_inference(struct harness *h)
{
    const struct graph *g = h->graph;
    size_t area = (size_t)h->spec.config.image_h * (size_t)h->spec.config.image_w, n = (size_t)h->spec.n;
    float *normalised = take(n * 3 * area, sizeof *normalised);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            for (size_t p = 0; p < area; p++)
                normalised[(i * 3 + c) * area + p] =
                    (float)(((double)h->images[(i * area + p) * 3 + c] / 255 - g->mean[c]) / g->std[c]);
    harness_train(h);
    harness_commit(h);
    const int outputs[] = {g->features, g->projection, g->embedding};
    for (size_t o = 0; o < 3; o++) {
        size_t count = n * (size_t)g->values[outputs[o]].c;
        double *a = take(count, sizeof *a), *b = take(count, sizeof *b);
        harness_infer(h, outputs[o], NULL, a);
        harness_infer(h, outputs[o], normalised, b);
        expect_close("normalised input", count, b, a, h->precision == BE_BF16 ? 0.02 : 1e-5);
        free(a);
        free(b);
    }
    free(normalised);
}

static void test_inference_input_and_outputs(void **state)
{
    (void)state;
    each_precision(check_inference);
}

/* ---- backward tells which gradients are final ---- */

struct announced {
    struct harness *h;
    unsigned char seen[256];
    double *values[256]; /* at the time of the call */
};

static void on_grad(void *user, int first, int count)
{
    struct announced *a = user;
    for (int p = first; p < first + count; p++) {
        assert_true(p >= 0 && p < a->h->graph->param_count && p < 256);
        assert_false(a->seen[p]);
        a->seen[p] = 1;
        a->values[p] = take((size_t)a->h->graph->params[p].count, sizeof(double));
        struct err err = {0};
        harness_ok(a->h->be->param_get(a->h->layout, a->h->gradients.at, p, a->values[p], &err), &err);
    }
}

static void check_announced(struct harness *h)
{
    struct announced a = {.h = h};
    struct err err = {0};
    harness_train(h);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        memset(a.seen, 0, sizeof a.seen);
        struct be_backward io = {.weights = harness_weights(h),
                                 .masters = h->masters.at,
                                 .d_out = h->d_out.at,
                                 .gradients = h->gradients.at,
                                 .accumulate = accumulate,
                                 .on_grad = on_grad,
                                 .user = &a};
        harness_forward(h, 0, NULL);
        harness_ok(h->be->backward(h->train, &io, &err), &err);
        for (int p = 0; p < h->graph->param_count; p++) {
            assert_true(a.seen[p]);
            size_t count = (size_t)h->graph->params[p].count;
            double *now = take(count, sizeof *now);
            harness_ok(h->be->param_get(h->layout, h->gradients.at, p, now, &err), &err);
            assert_memory_equal(now, a.values[p], count * sizeof *now);
            free(now);
            free(a.values[p]);
        }
    }
}

static void test_announced_gradients_are_final(void **state)
{
    (void)state;
    each_precision(check_announced);
}

/* ---- misuse, cancelling, the rest of the slots ---- */

static void test_cancel(void **state)
{
    (void)state;
    struct harness h;
    assert_true(open_plain(&h, BE_F32));
    harness_train(&h);
    _Atomic int flag = 1;
    struct err err = {0};
    struct be_forward forward = {.images = h.images,
                                 .weights = harness_weights(&h),
                                 .masters = h.masters.at,
                                 .stage = h.stage.at,
                                 .out = h.out.at,
                                 .cancel = &flag};
    struct be_backward backward = {.weights = harness_weights(&h),
                                   .masters = h.masters.at,
                                   .d_out = h.d_out.at,
                                   .gradients = h.gradients.at,
                                   .cancel = &flag};
    assert_int_equal(h.be->forward(h.train, &forward, &err), MOCO_ECANCELED);
    assert_int_equal(h.be->backward(h.train, &backward, &err), MOCO_ECANCELED);
    flag = 0;
    err = (struct err){0};
    harness_ok(h.be->forward(h.train, &forward, &err), &err);
    harness_ok(h.be->backward(h.train, &backward, &err), &err);
    harness_close(&h);
}

static void expect_plan(struct harness *h, struct be_plan_spec spec, moco_status expected)
{
    struct be_plan *plan = NULL;
    struct err err = {0};
    assert_int_equal(h->be->plan_create(&plan, h->dev, &spec, &err), expected);
    if (expected != MOCO_OK) {
        assert_null(plan);
        assert_true(strlen(err.text) > 10);
        return;
    }
    struct be_forward io = {0};
    assert_int_equal(h->be->forward(plan, &io, &err), MOCO_ESTATE); /* not bound */
    h->be->plan_free(plan);
}

static void test_misuse(void **state)
{
    (void)state;
    struct harness h;
    assert_true(open_plain(&h, BE_F32));
    struct be_plan_spec good = {.graph = h.graph,
                                .layout = h.layout,
                                .precision = BE_F32,
                                .pass = BE_TRAIN,
                                .n = 4,
                                .groups = 2,
                                .output = h.graph->embedding};
    struct be_plan_spec spec = good;
    expect_plan(&h, spec, MOCO_OK);
    spec = good, spec.groups = 3;
    expect_plan(&h, spec, MOCO_EINVAL);
    spec = good, spec.output = h.graph->features;
    expect_plan(&h, spec, MOCO_OK);
    spec = good, spec.pass = BE_KEY, spec.frozen = 1;
    expect_plan(&h, spec, MOCO_EINVAL);
    spec = good, spec.output = h.graph->value_count;
    expect_plan(&h, spec, MOCO_EINVAL);
    spec = good, spec.output = 1, spec.pass = BE_KEY; /* a feature map */
    expect_plan(&h, spec, MOCO_EINVAL);
    spec = good, spec.precision = BE_F64;
    expect_plan(&h, spec, MOCO_ENOTSUP);
    spec = good, spec.precision = BE_BF16; /* the layout is for f32 */
    expect_plan(&h, spec, MOCO_EINVAL);
    spec = good, spec.f32_input = 1;
    expect_plan(&h, spec, MOCO_EINVAL);
    harness_close(&h);
}

static void test_other_slots(void **state)
{
    (void)state;
    struct harness h;
    assert_true(open_plain(&h, BE_F32));
    struct err err = {0};
    double rate = 0;
    harness_ok(h.be->rate(h.dev, BE_F32, &rate, &err), &err);
    assert_true(rate > 1e8 && rate < 1e15);

    const float a[2 * 3] = {1, 2, 3, 4, 5, 6}, b[4 * 3] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1};
    float c[2 * 4];
    const float expected[2 * 4] = {1, 2, 3, 6, 4, 5, 6, 15};
    harness_ok(h.be->gemm_nt(h.dev, 2, 4, 3, a, b, c, &err), &err);
    assert_memory_equal(c, expected, sizeof c);

    harness_train(&h);
    double sum = 0, expected_sum = 0;
    int bad = 0;
    harness_ok(h.be->measure(h.layout, h.gradients.at, &sum, &bad, &err), &err);
    assert_int_equal(bad, -1);
    for (int p = 0; p < h.graph->param_count; p++) {
        size_t count = (size_t)h.graph->params[p].count;
        double *values = take(count, sizeof *values);
        harness_ok(h.be->param_get(h.layout, h.gradients.at, p, values, &err), &err);
        for (size_t i = 0; i < count; i++)
            expected_sum += values[i] * values[i];
        if (p == 9) {
            values[count - 1] = NAN;
            harness_ok(h.be->param_set(h.layout, h.gradients.at, p, values, &err), &err);
        }
        free(values);
    }
    assert_true(fabs(sum - expected_sum) < 1e-9 * expected_sum);
    harness_ok(h.be->measure(h.layout, h.gradients.at, &sum, &bad, &err), &err);
    assert_int_equal(bad, 9);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32_equals_ref),
        cmocka_unit_test(test_bf16_as_near_as_ref),
        cmocka_unit_test(test_odd_graph),
        cmocka_unit_test(test_repeats_without_allocating),
        cmocka_unit_test(test_what_is_left_in_memory),
        cmocka_unit_test(test_few_channels),
        cmocka_unit_test(test_index_gathers),
        cmocka_unit_test(test_second_array),
        cmocka_unit_test(test_key_equals_train),
        cmocka_unit_test(test_inference_input_and_outputs),
        cmocka_unit_test(test_announced_gradients_are_final),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_other_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* this build has no such device: tests of ref are elsewhere */
}

#endif
