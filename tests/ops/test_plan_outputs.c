/* SPDX-License-Identifier: MIT
 *
 * test_plan_outputs: plans for training that end in features, projection or embedding, under a loss that the device
 * does not know (softmax cross-entropy with labels, whose gradient is handed in), with statistics of batch norms of the
 * batch or frozen: ref against finite differences, the device of the tests against ref. What a reader would get wrong:
 * frozen statistics are those of earlier batches, so that with them the groups of a launch make no difference. */
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

enum { N = 6, GROUPS = 2, SETTLED = 3 };
enum output { FEATURES, PROJECTION, EMBEDDING, OUTPUTS };
static const char *const names[OUTPUTS] = {"features", "projection", "embedding"};

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

static void open_net(struct harness *h, const char *device, enum be_precision precision)
{
    struct harness_spec spec = {.device = device,
                                .precision = (int)precision,
                                .threads = 2,
                                .n = N,
                                .groups = GROUPS,
                                .queue = 16,
                                .seed = 11,
                                .config = harness_net(18, 0.25, STEM_CIFAR, HEAD_MLP, 16, 16)};
    harness_open(h, &spec);
    size_t count = (size_t)h->graph->stat_total;
    double *running = take(count, sizeof *running);
    for (int i = 0; i < h->graph->stat_count; i++) { /* the same on every device, and of no batch */
        const struct graph_stat *stat = &h->graph->stats[i];
        for (int c = 0; c < stat->channels; c++) {
            running[stat->offset + c] = 0.1 * sin(3 * i + c);
            running[stat->offset + stat->channels + c] = 1 + 0.5 * cos(5 * i + c);
        }
    }
    harness_write(h, h->running.at, running, count);
    free(running);
}

/* A bound plan beside the harness's own. */
struct trained {
    struct harness *h;
    struct be_plan *plan;
    struct be_memory slab, out, d_out;
    size_t dim;
    int frozen;
};

static void trained_open(struct trained *t, struct harness *h, enum output output, int frozen, int groups)
{
    struct err err = {0};
    struct be_plan_bytes bytes;
    int values[OUTPUTS] = {h->graph->features, h->graph->projection, h->graph->embedding};
    struct be_plan_spec spec = {.graph = h->graph,
                                .layout = h->layout,
                                .precision = h->precision,
                                .pass = BE_TRAIN,
                                .n = N,
                                .groups = groups,
                                .output = values[output],
                                .frozen = frozen};
    *t = (struct trained){.h = h, .dim = (size_t)h->graph->values[values[output]].c, .frozen = frozen};
    harness_ok(h->be->plan_create(&t->plan, h->dev, &spec, &err), &err);
    h->be->plan_bytes(t->plan, &bytes);
    t->slab = harness_alloc(h, bytes.slab);
    t->out = harness_reals(h, N * t->dim);
    t->d_out = harness_reals(h, N * t->dim);
    harness_ok(h->be->plan_bind(t->plan, t->slab.at, &err), &err);
}

static void trained_close(struct trained *t)
{
    t->h->be->plan_free(t->plan);
    t->h->be->release(t->h->dev, &t->slab);
    t->h->be->release(t->h->dev, &t->out);
    t->h->be->release(t->h->dev, &t->d_out);
}

/* Mean cross-entropy of the output taken as logits; its gradient goes to d (NULL: not wanted). */
static double cross_entropy(size_t dim, const double *logits, double *d)
{
    double loss = 0;
    for (int i = 0; i < N; i++, logits += dim) {
        size_t label = (size_t)(7 * i + 3) % dim;
        double most = logits[0], sum = 0;
        for (size_t k = 1; k < dim; k++)
            most = logits[k] > most ? logits[k] : most;
        for (size_t k = 0; k < dim; k++)
            sum += exp(logits[k] - most);
        loss += (most + log(sum) - logits[label]) / N;
        for (size_t k = 0; d != NULL && k < dim; k++)
            d[(size_t)i * dim + k] = (exp(logits[k] - most) / sum - (k == label)) / N;
    }
    return loss;
}

static double loss_of(struct trained *t, double *d)
{
    struct harness *h = t->h;
    struct err err = {0};
    double *out = take(N * t->dim, sizeof *out);
    struct be_forward io = {.images = h->images,
                            .weights = harness_weights(h),
                            .masters = h->masters.at,
                            .stats = t->frozen ? h->running.at : NULL,
                            .out = t->out.at};
    harness_ok(h->be->forward(t->plan, &io, &err), &err);
    harness_read(h, t->out.at, N * t->dim, out);
    double loss = cross_entropy(t->dim, out, d);
    free(out);
    return loss;
}

static void read_masks(struct trained *t, struct relu_masks *masks)
{
    test_mask_reader read = test_device_masks(test_device());
    *masks = relu_masks_new(t->h->graph, N);
    if (read == NULL)
        fail_msg("no reader of ReLU masks for device %s", test_device());
    read(t->plan, t->h->graph, masks);
}

/* `masks`: of the ReLUs, imposed on ref, or read from the device of the tests; NULL: neither. */
static void train_masked(struct trained *t, int accumulate, struct relu_masks *masks)
{
    struct harness *h = t->h;
    struct err err = {0};
    double *d = take(N * t->dim, sizeof *d);
    loss_of(t, d);
    double largest = 0;
    if (masks != NULL && masks->count == 0)
        read_masks(t, masks);
    else if (masks != NULL)
        relu_masks_impose(t->plan, h->graph, masks, &largest);
    harness_write(h, t->d_out.at, d, N * t->dim);
    struct be_backward io = {.weights = harness_weights(h),
                             .masters = h->masters.at,
                             .d_out = t->d_out.at,
                             .gradients = h->gradients.at,
                             .accumulate = accumulate};
    harness_ok(h->be->backward(t->plan, &io, &err), &err);
    free(d);
}

static void train(struct trained *t, int accumulate)
{
    train_masked(t, accumulate, NULL);
}

/* ---- ref against finite differences ---- */

/* Moves the parameters of a kind by `by` in a direction of unit length that follows from their numbers. Returns the
 * slope along it that the gradients give; *size: the norm of those gradients. */
static double move(struct harness *h, enum param_kind kind, double by, double *size)
{
    struct err err = {0};
    double slope = 0, length = 0, squares = 0;
    for (int turn = 0; turn < 2; turn++)
        for (int p = 0; p < h->graph->param_count; p++) {
            size_t count = (size_t)h->graph->params[p].count;
            if (h->graph->params[p].kind != kind)
                continue;
            double *w = take(count, sizeof *w), *g = take(count, sizeof *g);
            harness_ok(h->be->param_get(h->layout, h->masters.at, p, w, &err), &err);
            harness_ok(h->be->param_get(h->layout, h->gradients.at, p, g, &err), &err);
            for (size_t i = 0; i < count; i++) {
                double direction = sin(1.0 + 0.7 * p + 1.3 * (double)i);
                if (turn == 0)
                    length += direction * direction;
                w[i] += turn * by * direction / sqrt(length);
                slope += turn * g[i] * direction / sqrt(length);
                squares += turn * g[i] * g[i];
            }
            harness_ok(h->be->param_set(h->layout, h->masters.at, p, w, &err), &err);
            free(w);
            free(g);
        }
    *size = sqrt(squares);
    return slope;
}

/* For one of several steps: a long one may cross a kink of some ReLU, a short one drowns in rounding; a wrong gradient
 * agrees with none. */
static void expect_slope(struct trained *t, enum param_kind kind, const char *what)
{
    double best = INFINITY, slope = 0, size = 0;
    for (double step = 1e-4; step > 1e-8 && best > TOL_REF_NET_DIFFERENCE; step /= 10) {
        slope = move(t->h, kind, step, &size);
        double above = loss_of(t, NULL);
        move(t->h, kind, -2 * step, &size);
        double measured = (above - loss_of(t, NULL)) / (2 * step);
        move(t->h, kind, step, &size);
        best = fmin(best, fabs(measured - slope) / fmax(size, 1e-6));
    }
    if (!(best <= TOL_REF_NET_DIFFERENCE))
        fail_msg("%s, frozen %d: slope %.12g of parameters of kind %d is off by %.3g of their gradient's norm", what,
                 t->frozen, slope, (int)kind, best);
}

static void ref_is_the_slope_of_the_loss(void **state)
{
    (void)state;
    struct harness h;
    open_net(&h, "ref", BE_F64);
    for (enum output output = 0; output < OUTPUTS; output++)
        for (int frozen = 0; frozen < 2; frozen++) {
            struct trained t;
            trained_open(&t, &h, output, frozen, GROUPS);
            train(&t, 0);
            for (enum param_kind kind = PARAM_CONV; kind <= PARAM_BN_BIAS; kind++)
                expect_slope(&t, kind, names[output]);
            trained_close(&t);
        }
    harness_close(&h);
}

/* ---- the device against ref ---- */

static struct harness_tensors gradients_on(const char *device, enum be_precision precision, enum output output,
                                           int frozen, struct relu_masks *masks)
{
    struct harness h;
    struct trained t;
    open_net(&h, device, precision);
    harness_train(&h); /* gradients hold something else */
    trained_open(&t, &h, output, frozen, GROUPS);
    train_masked(&t, 0, masks);
    struct harness_tensors all = harness_collect(&h, HARNESS_STEP);
    trained_close(&t);
    harness_close(&h);
    return all;
}

static void compare(enum be_precision precision, enum output output, int frozen)
{
    struct relu_masks masks = {0};
    struct harness_tensors got = gradients_on(test_device(), precision, output, frozen, &masks);
    struct harness_tensors exact = gradients_on("ref", BE_F64, output, frozen, &masks);
    struct harness_tensors rounded = gradients_on("ref", precision, output, frozen, &masks);
    for (int i = 0; i < exact.count; i++) {
        const struct harness_tensor *e = &exact.tensor[i];
        if (strncmp(e->name, "grad.", 5) != 0)
            continue;
        double own = harness_error(e->count, harness_find(&rounded, e->name)->values, e->values);
        double error = harness_error(e->count, harness_find(&got, e->name)->values, e->values);
        double allowed = precision == BE_F32 ? TOL_DEVICE_F32(own) : TOL_DEVICE_BF16(own);
        if (!(error <= allowed))
            fail_msg("%s, frozen %d, precision %d: %s is off by %.3g; ref by %.3g", names[output], frozen,
                     (int)precision, e->name, error, own);
        int head = strncmp(e->name, "grad.fc.", 8) == 0, zero = 1;
        for (size_t k = 0; k < e->count; k++)
            zero &= harness_find(&got, e->name)->values[k] == 0;
        assert_int_equal(zero, head && output == FEATURES); /* the output does not depend on the head */
    }
    relu_masks_free(&masks);
    harness_tensors_free(&exact);
    harness_tensors_free(&rounded);
    harness_tensors_free(&got);
}

static void the_device_computes_what_ref_does(void **state)
{
    (void)state;
    for (enum be_precision precision = BE_F32; precision <= BE_BF16; precision++) {
        if (!harness_has(test_device(), precision)) {
            not_tested_here(NO_BF16);
            continue;
        }
        for (enum output output = 0; output < OUTPUTS; output++)
            for (int frozen = 0; frozen < 2; frozen++)
                compare(precision, output, frozen);
    }
}

/* ---- on every subject ---- */

static double *gradients_of(struct harness *h, size_t *count)
{
    struct harness_tensors all = harness_collect(h, HARNESS_STEP);
    double *values = NULL;
    *count = 0;
    for (int i = 0; i < all.count; i++)
        if (strncmp(all.tensor[i].name, "grad.", 5) == 0) {
            values = realloc(values, (*count + all.tensor[i].count) * sizeof *values);
            assert_non_null(values);
            memcpy(values + *count, all.tensor[i].values, all.tensor[i].count * sizeof *values);
            *count += all.tensor[i].count;
        }
    harness_tensors_free(&all);
    return values;
}

/* Two launches add; frozen statistics know no groups. */
static void launches_add_and_frozen_groups_are_one(void **state)
{
    (void)state;
    struct harness_subject subjects[HARNESS_SUBJECTS];
    int count = harness_subjects(subjects);
    for (int s = 0; s < count; s++)
        for (int frozen = 0; frozen < 2; frozen++) {
            struct harness h;
            struct trained t, whole;
            size_t numbers;
            open_net(&h, subjects[s].device, subjects[s].precision);
            trained_open(&t, &h, PROJECTION, frozen, GROUPS);
            train(&t, 0);
            double *once = gradients_of(&h, &numbers);
            train(&t, 1);
            double *twice = gradients_of(&h, &numbers);
            for (size_t i = 0; i < numbers; i++)
                once[i] *= 2;
            assert_true(harness_error(numbers, twice, once) <= TOL_REAL(h.info.real_bytes));
            free(twice);
            if (frozen) {
                trained_open(&whole, &h, PROJECTION, 1, 1);
                train(&whole, 0);
                double *other = gradients_of(&h, &numbers);
                for (size_t i = 0; i < numbers; i++)
                    other[i] *= 2;
                assert_memory_equal(other, once, numbers * sizeof *once);
                free(other);
                trained_close(&whole);
            }
            free(once);
            trained_close(&t);
            harness_close(&h);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_is_the_slope_of_the_loss),
        cmocka_unit_test(the_device_computes_what_ref_does),
        cmocka_unit_test(launches_add_and_frozen_groups_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
