/* SPDX-License-Identifier: MIT
 *
 * test_cuda_storage: the CUDA backend in bf16 and fp16, on its simulated driver, where test_backend_ops does not look: what
 * is rounded and where, to the bit. Copies of weights are those of the masters, rounded, and channels that pad a picture are
 * zeros; a gradient of weights is a number of 16 bits until it is added; what a plan leaves unwritten is never read; the order
 * of threads changes nothing; and our own kernel stands in where cuDNN has no engine. Planted and found: a picture's padding
 * that is not written (in map.cu, in slab.cu), an update that leaves the copies as they were, a gradient that is not rounded; and
 * in product.cuh and mma.cuh columns of the left factor as of TF32, pairs of a factor across k the wrong way round, the last
 * 16 of a depth left out, fp16 multiplied as bf16, and in product.cu what is added to a result taken twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "half.h"
#include "support/cudasim/sim_dnn.h"
#include "support/cudasim/sim_driver.h"
#include "support/cudasim/simt.h"
#include "support/devices/relu_masks.h"
#include "support/rigs/net_harness.h"
#include "support/test_device.h"
#include "tolerances.h"

static const enum be_precision halves[] = {BE_BF16, BE_F16};
#define FOR_EACH_HALF(p) for (const enum be_precision *p = halves; p < halves + sizeof halves / sizeof halves[0]; p++)

static struct harness_spec spec_of(const char *device, enum be_precision precision)
{
    struct harness_spec spec = {.device = device,
                                .precision = (int)precision,
                                .threads = 1,
                                .n = 6,
                                .groups = 2,
                                .queue = 9,
                                .seed = 5,
                                .loss_scale = precision == BE_F16 ? 1024 : 1};
    spec.config = harness_net(18, 0.125, STEM_IMAGENET, HEAD_MLP, 12, 33);
    return spec;
}

static float widened(enum be_precision precision, uint16_t bits)
{
    return precision == BE_BF16 ? bf16_to_float(bits) : f16_to_float(bits);
}

static uint16_t rounded(enum be_precision precision, double value)
{
    return precision == BE_BF16 ? bf16_from_float((float)value) : f16_from_float((float)value);
}

/* ---- copies ---- */

static void fill(struct harness *h, const struct be_memory *memory, int byte)
{
    struct err err = {0};
    void *bytes = malloc(memory->bytes);
    assert_non_null(bytes);
    memset(bytes, byte, memory->bytes);
    harness_ok(h->be->write(h->dev, memory->at, bytes, memory->bytes, &err), &err);
    free(bytes);
}

/* Of one parameter: a copy, or (behind the copies) what is none; `from`: in the reference's order. */
static void check_one(const struct harness *h, int param, const char *block, int with_rest, const double *from)
{
    const struct cuda_place *p = &h->layout->place[param];
    const uint16_t *copy = (const uint16_t *)(const void *)block + p->copy;
    const float *rest = (const float *)(const void *)(block + cuda_copies_bytes(h->layout, h->precision)) + p->rest;
    if (p->copy < 0) {
        for (int64_t i = 0; i < p->count && with_rest; i++)
            assert_true(rest[i] == (float)from[i]);
        return;
    }
    assert_int_equal(p->padded, p->in == 3 ? 8 : p->in);
    for (int64_t i = 0; i < (int64_t)p->out * p->area * p->padded; i++) {
        int64_t in = i % p->padded, yx = i / p->padded % p->area, out = i / p->padded / p->area;
        uint16_t wanted = in < p->in ? rounded(h->precision, from[(out * p->in + in) * p->area + yx]) : 0;
        assert_int_equal(copy[i], wanted);
    }
}

static void check_copies(struct harness *h, const struct be_memory *at, int with_rest, const void *slab)
{
    struct err err = {0};
    char *block = malloc(at->bytes);
    assert_non_null(block);
    harness_ok(h->be->read(h->dev, block, at->at, at->bytes, &err), &err);
    for (int p = 0; p < h->graph->param_count; p++) {
        double *from = malloc((size_t)h->graph->params[p].count * sizeof *from);
        assert_non_null(from);
        harness_ok(h->be->param_get(h->layout, slab, p, from, &err), &err);
        check_one(h, p, block, with_rest, from);
        free(from);
    }
    free(block);
}

/* By readers, by ema_readers, and by the update that changed the masters. */
static void copies_are_the_masters_rounded(void **state)
{
    (void)state;
    FOR_EACH_HALF(precision)
    {
        struct harness h;
        struct harness_spec spec = spec_of("cudasim:0", *precision);
        struct err err = {0};
        harness_open(&h, &spec);
        struct be_memory key = harness_alloc(&h, h.be->key_bytes(h.layout)), k = harness_alloc(&h, h.masters.bytes);
        assert_true(2 * h.readers.bytes < h.masters.bytes + 4096);
        fill(&h, &h.readers, 0xff);
        harness_refresh(&h);
        check_copies(&h, &h.readers, 0, h.masters.at);
        harness_copy(&h, k.at, h.masters.at);
        harness_train(&h);
        harness_sgd(&h, 0.5, 0.9, 0.01, 1);
        check_copies(&h, &h.readers, 0, h.masters.at);
        fill(&h, &key, 0xff);
        harness_begin(&h, &(struct be_scalars){.key_momentum = 0.75, .loss_scale = 1});
        harness_ok(h.be->ema_readers(h.program, k.at, h.masters.at, key.at, &err), &err);
        harness_drop(&h);
        harness_follow(&h, k.at, h.masters.at, 0.75);
        check_copies(&h, &key, 1, k.at);
        h.be->release(h.dev, &key);
        h.be->release(h.dev, &k);
        harness_close(&h);
    }
}

/* ---- a step ---- */

static struct harness_tensors step_of(const struct harness_spec *spec, int poison)
{
    struct harness h;
    harness_open(&h, spec);
    struct be_memory *all[] = {&h.slab, &h.out, &h.d_out, &h.scratch, &h.gradients};
    for (int i = 0; i < 5; i++)
        fill(&h, all[i], poison);
    harness_train(&h);
    struct harness_tensors step = harness_collect(&h, HARNESS_STEP);
    harness_close(&h);
    return step;
}

static int is_conv(const char *name)
{
    return strncmp(name, "grad.", 5) == 0 && (strstr(name, "conv") != NULL || strstr(name, "downsample.0") != NULL);
}

/* Of one launch, as it left cuDNN: and `ref:1` has them so, while `ref` in bf16 has not. */
static void gradients_of_convolutions_are_rounded_before_they_are_added(void **state)
{
    (void)state;
    static const char *const devices[] = {"cudasim:0", "ref:1", "ref"};
    FOR_EACH_HALF(precision)
    for (int d = 0; d < 3; d++) {
        struct harness_spec spec = spec_of(devices[d], *precision);
        struct harness_tensors step = step_of(&spec, 0);
        int convolutions = 0, coarse = 0;
        for (int i = 0; i < step.count; i++) {
            const struct harness_tensor *t = &step.tensor[i];
            size_t same = 0;
            if (!is_conv(t->name))
                continue;
            for (size_t k = 0; k < t->count; k++) {
                double value = t->values[k] * spec.loss_scale;
                same += (double)widened(*precision, rounded(*precision, value)) == value;
            }
            convolutions++;
            coarse += same == t->count;
        }
        assert_int_equal(convolutions, 20);
        assert_int_equal(coarse, d < 2 || *precision == BE_F16 ? convolutions : 0);
        harness_tensors_free(&step);
    }
}

static void expect_same_bits(const struct harness_tensors *a, const struct harness_tensors *b)
{
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++)
        if (memcmp(a->tensor[i].values, b->tensor[i].values, a->tensor[i].count * sizeof(double)) != 0)
            fail_msg("%s has other bits", a->tensor[i].name);
}

/* 0xff: NaN in every number, also of 16 bits. Another order of threads; and another time. */
static void nothing_unwritten_is_read_and_no_order_of_threads_matters(void **state)
{
    (void)state;
    FOR_EACH_HALF(precision)
    {
        struct harness_spec spec = spec_of("cudasim:0", *precision);
        simt_seed(1);
        struct harness_tensors clean = step_of(&spec, 0);
        simt_seed(2);
        struct harness_tensors poisoned = step_of(&spec, 0xff);
        expect_same_bits(&clean, &poisoned);
        harness_tensors_free(&clean);
        harness_tensors_free(&poisoned);
        assert_int_equal(sim_live(), 0);
    }
}

enum { MOST_LAUNCHES = 2 };

/* What the ReLUs of one run let through, which others are to have open, too. */
struct opened {
    int impose;
    struct relu_masks masks[MOST_LAUNCHES];
};

static void watch(struct harness *h, int launch, void *user)
{
    struct opened *o = user;
    double largest = 0;
    assert_true(launch < MOST_LAUNCHES);
    if (o->impose) {
        relu_masks_impose(h->train, h->graph, &o->masks[launch], &largest);
        return;
    }
    o->masks[launch] = relu_masks_new(h->graph, h->spec.n);
    test_device_masks(h->spec.device)(h->train, h->graph, &o->masks[launch]);
}

/* A step, and features of inference, where what is added comes with the product. */
static struct harness_tensors step_through(const char *name, enum be_precision precision, struct opened *opened)
{
    struct harness h;
    struct harness_spec spec = spec_of(name, precision);
    spec.watch = watch;
    spec.watch_user = opened;
    harness_open(&h, &spec);
    harness_train(&h);
    struct harness_tensors t = harness_collect(&h, HARNESS_STEP);
    size_t features = (size_t)spec.n * (size_t)h.graph->values[h.graph->features].c;
    harness_settle(&h);
    harness_infer(&h, h.graph->features, NULL, harness_add(&t, features, "features")->values);
    harness_close(&h);
    return t;
}

/* On tensor cores, of 16 bits as they are stored, as near to exact arithmetic as ref with the same rounding points; and it is
 * not cuDNN that computes. */
static void without_an_engine_our_own_kernel_computes_the_same(void **state)
{
    (void)state;
    FOR_EACH_HALF(precision)
    {
        struct harness_spec spec = spec_of("cudasim:0", *precision);
        struct harness_tensors by = step_of(&spec, 0);
        struct opened opened = {0};
        sim_dnn_without_engines(1);
        struct harness_tensors own = step_through("cudasim:0", *precision, &opened);
        sim_dnn_without_engines(0);
        opened.impose = 1;
        struct harness_tensors truth = step_through("ref", BE_F64, &opened);
        struct harness_tensors rounded = step_through("ref:1", *precision, &opened);
        int other = 0;
        for (int i = 0; i < truth.count; i++) {
            const struct harness_tensor *t = &truth.tensor[i];
            double error = harness_error(t->count, own.tensor[i].values, t->values);
            double usual = harness_error(t->count, rounded.tensor[i].values, t->values);
            other += i < by.count && error != harness_error(t->count, by.tensor[i].values, t->values);
            assert_true(usual < 1);
            if (!(error <= (*precision == BE_BF16 ? TOL_DEVICE_BF16(usual) : TOL_DEVICE_TF32(usual))))
                fail_msg("%s: %s is off by %.3g, and ref by %.3g", backend_precision_name((int)*precision), t->name,
                         error, usual);
        }
        assert_true(other > 0);
        for (int i = 0; i < MOST_LAUNCHES; i++)
            relu_masks_free(&opened.masks[i]);
        harness_tensors_free(&truth);
        harness_tensors_free(&rounded);
        harness_tensors_free(&by);
        harness_tensors_free(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_the_masters_rounded),
        cmocka_unit_test(gradients_of_convolutions_are_rounded_before_they_are_added),
        cmocka_unit_test(nothing_unwritten_is_read_and_no_order_of_threads_matters),
        cmocka_unit_test(without_an_engine_our_own_kernel_computes_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
