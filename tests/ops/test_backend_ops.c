/* SPDX-License-Identifier: MIT
 *
 * test_backend_ops: the device named by MOCO_TEST_DEVICE against `ref`, op by op and network by network, in every
 * precision it has: embedding, statistics, loss, every gradient, the updated weights, the key encoder's output and
 * inference. The yardstick of a tensor is `ref` itself: the error of the device against exact arithmetic may be a few
 * times that of `ref` with the same rounding points. What a reader would get wrong: the three runs of a case are of one
 * network with the same numbers, only rounded differently, and `ref` back-propagates through the ReLUs as the device
 * found them open: a number next to zero that falls on its other side would else add a whole number's gradient. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/devices/relu_masks.h"
#include "support/not_tested.h"
#include "support/rigs/net_harness.h"
#include "support/test_device.h"
#include "tolerances.h"

static const char *device, *oracle;

/* ---- what the ReLUs let through ---- */

#define MOST_LAUNCHES 2

struct watched {
    int impose; /* 0: read from the device; 1: imposed on ref */
    struct relu_masks masks[MOST_LAUNCHES];
    size_t flips, numbers;
    double largest;
};

static void watch(struct harness *h, int launch, void *user)
{
    struct watched *w = user;
    assert_true(launch < MOST_LAUNCHES);
    struct relu_masks *masks = &w->masks[launch];
    if (w->impose && masks->count > 0) {
        w->flips += relu_masks_impose(h->train, h->graph, masks, &w->largest);
        for (int i = 0; i < masks->count; i++)
            w->numbers += masks->size[i];
    }
    if (w->impose)
        return;
    if (test_device_masks(h->spec.device) == NULL)
        return;
    *masks = relu_masks_new(h->graph, h->spec.n);
    test_device_masks(h->spec.device)(h->train, h->graph, masks);
}

/* ---- a case on one device ---- */

/* Everything a step and its neighbours compute: two launches, SGD, statistics, then key and inference. */
static struct harness_tensors run(const struct harness_spec *base, const char *name, enum be_precision precision,
                                  struct watched *watched)
{
    struct harness h;
    struct harness_spec spec = *base;
    spec.device = name;
    spec.precision = (int)precision;
    spec.loss_scale = precision == BE_F16 ? 1024 : 1; /* which has no number for small gradients */
    spec.watch = watch;
    spec.watch_user = watched;
    harness_open(&h, &spec);
    harness_copy(&h, h.momentum.at, h.masters.at); /* any momentum will do */
    harness_train(&h);
    struct harness_tensors t = harness_collect(&h, HARNESS_STEP);
    size_t embedding = (size_t)spec.n * (size_t)h.dim;
    size_t features = (size_t)spec.n * (size_t)h.graph->values[h.graph->features].c;
    harness_settle(&h);
    harness_sgd(&h, 0.05, 0.9, 0.01, 0);
    struct harness_tensors state = harness_collect(&h, HARNESS_STATE);
    for (int i = 0; i < state.count; i++) {
        struct harness_tensor *to = harness_add(&t, state.tensor[i].count, state.tensor[i].name);
        memcpy(to->values, state.tensor[i].values, to->count * sizeof *to->values);
    }
    harness_tensors_free(&state);
    double *key = harness_add(&t, embedding, "key")->values;
    harness_key(&h, h.momentum.at, h.masters.at, 0.75, h.graph->embedding, key);
    double *infer = harness_add(&t, features, "features")->values;
    harness_infer(&h, h.graph->features, NULL, infer);
    harness_close(&h);
    return t;
}

static double allowed(enum be_precision precision, int deep, double error)
{
    if (precision == BE_BF16)
        return TOL_DEVICE_BF16(error);
    if (precision == BE_TF32 || precision == BE_F16)
        return TOL_DEVICE_TF32(error);
    return deep ? TOL_DEVICE_F32_DEEP(error) : TOL_DEVICE_F32(error);
}

/* Only numbers next to zero may fall on the other side of it, and few do. */
static void check_flips(const char *what, enum be_precision precision, const struct watched *w)
{
    double part = (double)w->flips / (double)w->numbers;
    if (part > (precision == BE_BF16 ? TOL_FLIPS_BF16 : precision == BE_F32 ? TOL_FLIPS_F32 : TOL_FLIPS_TF32))
        fail_msg("%s: %zu of %zu ReLUs are not as ref has them", what, w->flips, w->numbers);
    if (precision == BE_F32 && w->largest > TOL_FLIPPED_F32)
        fail_msg("%s: a ReLU closed before %.3g times the mean of its map", what, w->largest);
}

static int compare(const char *what, enum be_precision precision, int deep, const struct harness_tensors *got,
                   const struct harness_tensors *rounded, const struct harness_tensors *exact, double *worst)
{
    int bad = 0;
    assert_int_equal(got->count, exact->count);
    for (int i = 0; i < got->count; i++) {
        const struct harness_tensor *x = &got->tensor[i], *r = &rounded->tensor[i], *e = &exact->tensor[i];
        assert_string_equal(x->name, e->name);
        double error = harness_error(x->count, x->values, e->values),
               own = harness_error(r->count, r->values, e->values);
        if (deep && (precision == BE_BF16 || precision == BE_F16) && own > 0.5)
            continue; /* few samples' statistics, a step later: ref itself has lost this number in 16 bits */
        double most = allowed(precision, deep, own), part = error / most;
        *worst = part > *worst ? part : *worst;
        if (!(part <= 1)) {
            bad++;
            print_error("%s %s: %s: error %.3g, ref's %.3g, allowed %.3g\n", what,
                        backend_precision_name((int)precision), x->name, error, own, most);
        }
    }
    return bad;
}

static int there[BE_TF32 + 1];
static double worst_of[BE_TF32 + 1];

static void check(const char *what, const struct harness_spec *spec, int deep)
{
    int bad = 0;
    for (enum be_precision p = BE_F32; p <= BE_TF32; p++) {
        if (!there[p])
            continue;
        struct watched watched = {0};
        struct harness_tensors got = run(spec, device, p, &watched);
        watched.impose = 1;
        struct harness_tensors rounded = run(spec, oracle, p, &watched);
        watched.flips = watched.numbers = 0;
        watched.largest = 0;
        struct harness_tensors exact = run(spec, "ref", BE_F64, &watched);
        bad += compare(what, p, deep, &got, &rounded, &exact, &worst_of[p]);
        /* The yardstick measures rounding, not nonsense. */
        double own = harness_error(exact.tensor[1].count, rounded.tensor[1].values, exact.tensor[1].values);
        if (p == BE_F32 ? !(own > 0 && own < 1e-4) : !(own > 1e-5 && own < 0.4))
            fail_msg("%s: the embedding of ref in precision %d is off by %.3g", what, (int)p, own);
        check_flips(what, p, &watched);
        for (int i = 0; i < MOST_LAUNCHES; i++)
            relu_masks_free(&watched.masks[i]);
        harness_tensors_free(&rounded);
        harness_tensors_free(&got);
        harness_tensors_free(&exact);
    }
    if (bad > 0)
        fail_msg("%s: %d tensors are off", what, bad);
}

/* ---- ops ---- */

struct op_case {
    int h, w;                        /* of the picture */
    int ci, co, kernel, stride, pad; /* of the convolution or pooling under test */
};

static struct harness_outputs head(struct graph *g, int x)
{
    int features = graph_gap(g, x);
    int projection = graph_linear(g, features, "head", 6);
    return (struct harness_outputs){features, projection, graph_l2norm(g, projection)};
}

/* The op stands between a layer that makes its input and one that makes the gradient of its output interesting. */
static struct harness_outputs conv_case(struct graph *g, int input, const void *user)
{
    const struct op_case *o = user;
    int x = graph_relu(g, graph_bn(g, graph_conv(g, input, "before", o->ci, 3, 1, 1), "before_bn"));
    x = graph_conv(g, x, "op", o->co, o->kernel, o->stride, o->pad);
    return head(g, graph_relu(g, graph_bn(g, x, "after_bn")));
}

/* The convolution that reads the picture itself, and pooling behind it. */
static struct harness_outputs stem_case(struct graph *g, int input, const void *user)
{
    const struct op_case *o = user;
    int x = graph_relu(g, graph_bn(g, graph_conv(g, input, "stem", o->co, 7, 2, 3), "stem_bn"));
    x = graph_maxpool(g, x, o->kernel, o->stride, o->pad);
    return head(g, graph_relu(g, graph_bn(g, graph_conv(g, x, "after", o->co, 1, 1, 0), "after_bn")));
}

/* Additions of every kind: BN + BN, BN + identity, ReLU behind or not, one value with two and three readers. */
static struct harness_outputs add_case(struct graph *g, int input, const void *user)
{
    const struct op_case *o = user;
    int x = graph_relu(g, graph_bn(g, graph_conv(g, input, "a", o->ci, 3, 1, 1), "a_bn"));
    int left = graph_bn(g, graph_conv(g, x, "left", o->co, o->kernel, o->stride, o->pad), "left_bn");
    int right = graph_bn(g, graph_conv(g, x, "right", o->co, o->kernel, o->stride, o->pad), "right_bn");
    int sum = graph_relu(g, graph_add(g, left, right));
    int next = graph_bn(g, graph_conv(g, sum, "b", o->co, 1, 1, 0), "b_bn");
    int plain = graph_add(g, next, sum);
    int last = graph_bn(g, graph_conv(g, plain, "c", o->co, 3, 1, 1), "c_bn");
    return head(g, graph_relu(g, graph_add(g, last, sum)));
}

static const struct op_case conv_cases[] = {
    {9, 11, 16, 16, 1, 1, 0},  {9, 9, 16, 32, 1, 2, 0},  {10, 8, 3, 5, 1, 2, 0},   {8, 8, 4, 12, 1, 2, 0},
    {7, 7, 12, 4, 1, 2, 0},    {9, 7, 16, 16, 3, 1, 1},  {12, 9, 8, 24, 3, 2, 1},  {7, 13, 5, 7, 3, 2, 1},
    {14, 14, 32, 16, 3, 1, 1}, {11, 11, 16, 8, 5, 2, 2}, {15, 15, 3, 20, 7, 2, 3}, {6, 6, 64, 80, 1, 1, 0},
    {5, 5, 24, 40, 3, 1, 1},   {4, 4, 128, 64, 1, 1, 0}, {9, 9, 20, 36, 1, 2, 0},  {8, 8, 48, 48, 3, 2, 1},
};

static void check_ops(const char *kind, harness_build build, const struct op_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct op_case *o = &cases[i];
        char what[96];
        snprintf(what, sizeof what, "%s %d -> %d on %d x %d, kernel %d stride %d pad %d", kind, o->ci, o->co, o->h,
                 o->w, o->kernel, o->stride, o->pad);
        struct harness_spec spec = {.n = i % 2 == 0 ? 6 : 5,
                                    .groups = i % 2 == 0 ? 2 : 1,
                                    .launches = 2,
                                    .queue = 37,
                                    .threads = 2,
                                    .seed = 20 + i,
                                    .build = build,
                                    .user = o,
                                    .config = harness_net(18, 1, STEM_CIFAR, HEAD_LINEAR, 6, o->h)};
        spec.config.image_w = o->w;
        check(what, &spec, 0);
    }
}

static void test_conv(void **state)
{
    (void)state;
    check_ops("conv", conv_case, conv_cases, sizeof conv_cases / sizeof conv_cases[0]);
}

static void test_stem(void **state)
{
    (void)state;
    const struct op_case cases[] = {
        {32, 32, 3, 16, 3, 2, 1}, {33, 21, 3, 16, 3, 2, 1}, {19, 30, 3, 6, 2, 2, 0}, {24, 24, 3, 64, 3, 1, 1}};
    check_ops("stem", stem_case, cases, sizeof cases / sizeof cases[0]);
}

static void test_add(void **state)
{
    (void)state;
    const struct op_case cases[] = {{8, 8, 16, 16, 3, 1, 1}, {9, 7, 16, 32, 3, 2, 1}, {6, 9, 5, 7, 3, 1, 1}};
    check_ops("add", add_case, cases, sizeof cases / sizeof cases[0]);
}

/* ---- networks ---- */

static void test_networks(void **state)
{
    (void)state;
    const struct {
        int depth, image;
        double width;
        enum net_stem stem;
        enum net_head head;
        int n, groups, launches;
    } nets[] = {
        {18, 33, 0.25, STEM_IMAGENET, HEAD_LINEAR, 8, 2, 2}, {18, 16, 0.125, STEM_CIFAR, HEAD_MLP, 8, 1, 1},
        {18, 32, 0.25, STEM_SMALL, HEAD_MLP, 8, 1, 2},       {50, 40, 0.125, STEM_IMAGENET, HEAD_MLP, 16, 2, 1},
        {50, 16, 0.25, STEM_CIFAR, HEAD_LINEAR, 8, 1, 1},
    };
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        char what[96];
        snprintf(what, sizeof what, "resnet%d x %g stem %s head %s", nets[i].depth, nets[i].width,
                 net_stem_name(nets[i].stem), net_head_name(nets[i].head));
        struct harness_spec spec = {
            .n = nets[i].n,
            .groups = nets[i].groups,
            .launches = nets[i].launches,
            .queue = 64,
            .threads = 2,
            .seed = 40 + i,
            .config = harness_net(nets[i].depth, nets[i].width, nets[i].stem, nets[i].head, 16, nets[i].image)};
        check(what, &spec, nets[i].depth >= 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_stem),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_networks),
    };
    device = test_device();
    if (test_device_masks(device) == NULL)
        not_tested_here("gradients of numbers beside zero: nobody can tell which ReLUs of the device are open");
    oracle = harness_oracle(device);
    static const enum be_precision compared[] = {BE_F32, BE_BF16, BE_F16, BE_TF32}; /* with exact arithmetic */
    for (size_t i = 0; i < sizeof compared / sizeof *compared; i++)
        there[compared[i]] = harness_has(device, compared[i]);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("largest part of the tolerance used: f32 %.2f, bf16 %.2f, fp16 %.2f, tf32 %.2f\n", worst_of[BE_F32],
           worst_of[BE_BF16], worst_of[BE_F16], worst_of[BE_TF32]);
    return failed;
}
