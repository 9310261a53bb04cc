/* SPDX-License-Identifier: MIT
 *
 * test_embed: what an encoder makes of images, through the public calls: every head, output, type of input and of
 * output, on the device of the tests against "ref", and the head by hand on top of the features; and that nothing which
 * is not finite comes out, or goes in unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "philox.h"
#include "support/rigs/misuse_rig.h"
#include "support/rigs/train_rig.h"
#include "support/test_device.h"

enum { N = 5, SIDE = 16, DIM = 8, FEATURES = 64 };

static uint8_t pixels[N][SIDE][SIDE][3];
static float planes[N][3][SIDE][SIDE];
static const char *const heads[] = {"linear", "mlp", "simclr-v1", "simclr-v2"};

struct place {
    moco_context *context;
    moco_device *device;
    moco_model *model;
};

static void place_open(struct place *p, const char *device, const char *head)
{
    moco_context_options options;
    moco_context_options_init(&options);
    options.threads = 1;
    struct rig_spec spec = rig_spec();
    spec.model.head = head;
    spec.model.dim = DIM;
    rig_ok(moco_context_create(&p->context, &options));
    rig_ok(moco_device_open(&p->device, p->context, device));
    rig_ok(moco_model_create(&p->model, p->device, &spec.model));
}

static void place_close(struct place *p)
{
    moco_model_free(p->model);
    moco_device_free(p->device);
    moco_context_free(p->context);
}

static double *get(struct place *p, const char *name, int64_t *count)
{
    moco_tensor t;
    moco_tensor_init(&t);
    rig_ok(moco_model_get(p->model, name, &t));
    *count = 1;
    for (int d = 0; d < t.ndim; d++)
        *count *= t.shape[d];
    t.dtype = MOCO_F64;
    t.data = calloc((size_t)*count, sizeof(double));
    assert_non_null(t.data);
    rig_ok(moco_model_get(p->model, name, &t));
    return t.data;
}

static moco_status set(struct place *p, const char *name, double *values)
{
    moco_tensor t;
    moco_tensor_init(&t);
    rig_ok(moco_model_get(p->model, name, &t));
    t.dtype = MOCO_F64;
    t.data = values;
    return moco_model_set(p->model, name, &t);
}

/* Statistics and weights of BN that are not 0 and 1: functions of their names. */
static void stir(struct place *p)
{
    moco_model_info info;
    moco_model_info_init(&info);
    rig_ok(moco_model_describe(p->model, &info));
    for (int i = 0; i < info.tensor_count; i++) {
        const char *name = moco_model_tensor_name(p->model, i);
        int var = strstr(name, "running_var") != NULL, mean = strstr(name, "running_mean") != NULL;
        if (!var && !mean)
            continue;
        struct rng rng;
        int64_t count;
        double *values = get(p, name, &count);
        rng_init(&rng, 5, (uint64_t)i, 0, 0, RNG_TEST);
        for (int64_t j = 0; j < count; j++)
            values[j] = (float)(var ? 0.5 + rng_uniform(&rng) : 0.2 * (rng_uniform(&rng) - 0.5));
        rig_ok(set(p, name, values));
        free(values);
    }
}

static void embed(struct place *p, int f32_input, int n, moco_embedding what, int f64, void *out)
{
    int dim = what == MOCO_FEATURES ? FEATURES : DIM;
    moco_tensor in = f32_input ? tensor_of(MOCO_F32, planes, 4, (int64_t[]){n, 3, SIDE, SIDE})
                               : tensor_of(MOCO_U8, pixels, 4, (int64_t[]){n, SIDE, SIDE, 3});
    moco_tensor rows = tensor_of(f64 ? MOCO_F64 : MOCO_F32, out, 2, (int64_t[]){n, dim});
    rig_ok(moco_model_embed(p->model, &in, what, &rows));
}

static void expect_near(const char *what, const char *head, size_t count, const double *a, const double *b,
                        double tolerance)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        off += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    if (!(size > 0 && sqrt(off / size) <= tolerance))
        fail_msg("%s of head %s is off by %.3g, allowed %.3g", what, head, sqrt(off / size), tolerance);
}

/* ---- a head by hand ---- */

/* y[N][out] = x[N][in] w[out][in]^T + b. Returns `out`. */
static int linear(struct place *p, const char *layer, int bias, const double *x, int in, double *y)
{
    char name[40];
    int64_t count, out;
    snprintf(name, sizeof name, "%s.weight", layer);
    double *w = get(p, name, &count), *b = NULL;
    out = count / in;
    if (bias) {
        snprintf(name, sizeof name, "%s.bias", layer);
        b = get(p, name, &count);
    }
    for (int n = 0; n < N; n++)
        for (int64_t o = 0; o < out; o++) {
            double sum = b != NULL ? b[o] : 0;
            for (int i = 0; i < in; i++)
                sum += x[n * in + i] * w[o * in + i];
            y[n * out + o] = sum;
        }
    free(w);
    free(b);
    return (int)out;
}

static void norm(struct place *p, const char *layer, int bias, int dim, double *x)
{
    static const char *const parts[] = {"weight", "running_mean", "running_var", "bias"};
    double *v[4] = {0};
    for (int i = 0; i < 3 + bias; i++) {
        char name[40];
        int64_t count;
        snprintf(name, sizeof name, "%s.%s", layer, parts[i]);
        v[i] = get(p, name, &count);
        assert_int_equal(count, dim);
    }
    for (int n = 0; n < N; n++)
        for (int c = 0; c < dim; c++)
            x[n * dim + c] = (x[n * dim + c] - v[1][c]) / sqrt(v[2][c] + 1e-5) * v[0][c] + (bias ? v[3][c] : 0);
    for (int i = 0; i < 4; i++)
        free(v[i]);
}

static void relu(int dim, double *x)
{
    for (int i = 0; i < N * dim; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
}

static void head_by_hand(struct place *p, const char *head, const double *features, double *out)
{
    double a[N * FEATURES], b[N * FEATURES];
    if (strcmp(head, "linear") == 0) {
        linear(p, "fc", 1, features, FEATURES, out);
    } else if (strcmp(head, "mlp") == 0) {
        int hidden = linear(p, "fc.0", 1, features, FEATURES, a);
        relu(hidden, a);
        linear(p, "fc.2", 1, a, hidden, out);
    } else {
        int layers = strcmp(head, "simclr-v1") == 0 ? 2 : 3, in = FEATURES;
        memcpy(a, features, sizeof a);
        for (int i = 0; i < layers; i++) {
            char name[16];
            int last = i == layers - 1;
            snprintf(name, sizeof name, "fc.%d", 3 * i);
            in = linear(p, name, 0, a, in, b);
            snprintf(name, sizeof name, "fc.%d", 3 * i + 1);
            norm(p, name, !last, in, b);
            if (!last)
                relu(in, b);
            memcpy(a, b, sizeof a);
        }
        memcpy(out, a, N * DIM * sizeof *out);
    }
}

/* ---- tests ---- */

static void every_head_gives_every_output(void **state)
{
    (void)state;
    for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
        struct place ref, dev;
        place_open(&ref, "ref", heads[h]);
        place_open(&dev, test_device(), heads[h]);
        stir(&ref);
        stir(&dev);
        double features[N * FEATURES], projection[N * DIM], by_hand[N * DIM];
        embed(&ref, 1, N, MOCO_FEATURES, 1, features);
        embed(&ref, 1, N, MOCO_PROJECTION, 1, projection);
        head_by_hand(&ref, heads[h], features, by_hand);
        expect_near("the projection of ref", heads[h], N * DIM, projection, by_hand, 1e-10);
        for (int round = 0; round < 8; round++) { /* outputs and inputs in turn: each asks for another plan */
            moco_embedding what = round % 2 == 0 ? MOCO_FEATURES : MOCO_PROJECTION;
            size_t count = what == MOCO_FEATURES ? N * FEATURES : N * DIM;
            double out[N * FEATURES];
            float narrow[N * FEATURES];
            embed(&dev, round / 2 % 2, N, what, 1, out);
            expect_near(what == MOCO_FEATURES ? "features" : "the projection", heads[h], count, out,
                        what == MOCO_FEATURES ? features : projection, 2e-5);
            embed(&dev, round / 2 % 2, N, what, 0, narrow);
            for (size_t i = 0; i < count; i++)
                assert_true((float)out[i] == narrow[i]);
        }
        place_close(&ref);
        place_close(&dev);
    }
}

static void an_input_that_is_not_finite_is_named(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const int at[] = {0, 3 * SIDE * SIDE * 2 + SIDE * SIDE + 3 * SIDE + 7, N * 3 * SIDE * SIDE - 1};
    static const char *const words[] = {"number 0 of image 0 (channel 0, row 0, column 0)",
                                        "number 311 of image 2 (channel 1, row 3, column 7)",
                                        "number 767 of image 4 (channel 2, row 15, column 15)"};
    struct place p;
    place_open(&p, test_device(), "mlp");
    float before[N * DIM], after[N * DIM];
    embed(&p, 1, N, MOCO_PROJECTION, 0, before);
    memcpy(after, before, sizeof after);
    for (int what = MOCO_FEATURES; what <= MOCO_PROJECTION; what++)
        for (int i = 0; i < 3; i++) {
            float old = ((float *)planes)[at[i]], out[N * FEATURES];
            moco_tensor in = tensor_of(MOCO_F32, planes, 4, (int64_t[]){N, 3, SIDE, SIDE});
            moco_tensor rows = tensor_of(MOCO_F32, out, 2, (int64_t[]){N, what == MOCO_FEATURES ? FEATURES : DIM});
            ((float *)planes)[at[i]] = bad[i];
            rig_expect(moco_model_embed(p.model, &in, (moco_embedding)what, &rows), MOCO_ENUMERIC);
            if (strstr(moco_error(), words[i]) == NULL)
                fail_msg("the sentence does not say %s: %s", words[i], moco_error());
            ((float *)planes)[at[i]] = old;
        }
    embed(&p, 1, N, MOCO_PROJECTION, 0, after);
    assert_memory_equal(before, after, sizeof before);
    place_close(&p);
}

/* Weights that are finite, and an output that is not. */
static void an_embedding_that_is_not_finite_is_named(void **state)
{
    (void)state;
    struct place p;
    int64_t count;
    place_open(&p, test_device(), "linear");
    double *weights = get(&p, "fc.weight", &count), out[N * DIM];
    float narrow[N * DIM];
    int ref = test_device_is_exact(test_device());
    for (int64_t i = 0; i < count; i++)
        weights[i] = ref ? 1.7e308 : 3.4e38;
    rig_ok(set(&p, "fc.weight", weights));
    moco_tensor in = tensor_of(MOCO_U8, pixels, 4, (int64_t[]){N, SIDE, SIDE, 3});
    moco_tensor rows = tensor_of(MOCO_F64, out, 2, (int64_t[]){N, DIM});
    rig_expect(moco_model_embed(p.model, &in, MOCO_PROJECTION, &rows), MOCO_ENUMERIC);
    assert_non_null(strstr(moco_error(), "embedding of image 0 "));
    for (int64_t i = 0; i < count; i++)
        weights[i] = 1e100 / (ref ? 1 : 1e90);
    rig_ok(set(&p, "fc.weight", weights));
    rig_ok(moco_model_embed(p.model, &in, MOCO_PROJECTION, &rows));
    moco_tensor narrow_rows = tensor_of(MOCO_F32, narrow, 2, (int64_t[]){N, DIM});
    rig_expect(moco_model_embed(p.model, &in, MOCO_PROJECTION, &narrow_rows), ref ? MOCO_ENUMERIC : MOCO_OK);
    free(weights);
    place_close(&p);
}

static void numbers_that_no_network_has_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double value;
        moco_status status;
    } cases[] = {{"conv1.weight", NAN, MOCO_ENUMERIC},
                 {"conv1.weight", INFINITY, MOCO_ENUMERIC},
                 {"layer1.0.bn1.bias", -INFINITY, MOCO_ENUMERIC},
                 {"fc.2.bias", NAN, MOCO_ENUMERIC},
                 {"bn1.running_mean", NAN, MOCO_ENUMERIC},
                 {"bn1.running_var", INFINITY, MOCO_ENUMERIC},
                 {"bn1.running_var", -1e-6, MOCO_EINVAL},
                 {"layer4.0.bn1.running_var", -1, MOCO_EINVAL}};
    struct place p;
    float before[N * DIM], after[N * DIM];
    place_open(&p, test_device(), "mlp");
    embed(&p, 0, N, MOCO_PROJECTION, 0, before);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t count;
        double *values = get(&p, cases[i].name, &count), old = values[count - 1];
        char number[40];
        snprintf(number, sizeof number, "number %lld of %s ", (long long)count - 1, cases[i].name);
        values[count - 1] = cases[i].value;
        rig_expect(set(&p, cases[i].name, values), cases[i].status);
        if (strstr(moco_error(), number) == NULL)
            fail_msg("the sentence does not say %s: %s", number, moco_error());
        values[count - 1] = old;
        free(values);
    }
    embed(&p, 0, N, MOCO_PROJECTION, 0, after);
    assert_memory_equal(before, after, sizeof before);
    int64_t count;
    double *zero = get(&p, "bn1.running_var", &count);
    zero[0] = 0; /* of a channel that never changed */
    rig_ok(set(&p, "bn1.running_var", zero));
    free(zero);
    place_close(&p);
}

static void keys_that_are_not_finite_are_not_pushed(void **state)
{
    (void)state;
    struct place p;
    place_open(&p, test_device(), "mlp");
    moco_queue *queue;
    rig_ok(moco_queue_create(&queue, p.device, DIM, 6, 1));
    float keys[2 * DIM];
    int64_t next;
    for (int i = 0; i < 2 * DIM; i++)
        keys[i] = 1;
    keys[DIM + 2] = NAN;
    moco_tensor tensor = tensor_of(MOCO_F32, keys, 2, (int64_t[]){2, DIM});
    rig_expect(moco_queue_push(queue, &tensor), MOCO_ENUMERIC);
    assert_non_null(strstr(moco_error(), "number 2 of keys, row 1 "));
    rig_ok(moco_queue_state(queue, NULL, &next, NULL));
    assert_int_equal(next, 0);
    moco_queue_free(queue);
    place_close(&p);
}

static int draw(void **state)
{
    (void)state;
    const struct rig_spec spec = rig_spec();
    struct rng rng;
    rng_init(&rng, 3, 0, 0, 0, RNG_TEST);
    for (int n = 0; n < N; n++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                for (int c = 0; c < 3; c++) {
                    pixels[n][y][x][c] = (uint8_t)(rng_u32(&rng) >> 24);
                    planes[n][c][y][x] = (float)((pixels[n][y][x][c] / 255.0 - spec.model.mean[c]) / spec.model.std[c]);
                }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_head_gives_every_output),
        cmocka_unit_test(an_input_that_is_not_finite_is_named),
        cmocka_unit_test(an_embedding_that_is_not_finite_is_named),
        cmocka_unit_test(numbers_that_no_network_has_are_refused),
        cmocka_unit_test(keys_that_are_not_finite_are_not_pushed),
    };
    return cmocka_run_group_tests(tests, draw, NULL);
}
