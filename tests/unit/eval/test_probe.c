/* SPDX-License-Identifier: MIT
 *
 * test_probe: a probe's steps against the same arithmetic in double, its gradient against finite differences; rates
 * side by side against each alone; what is scored against counting by hand; files, refusals and failing memory.
 * PyTorch's word on it is golden/test_probe.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/probe.h"
#include "permute.h"
#include "philox.h"
#include "support/failing_alloc.h"
#include "support/rigs/net_harness.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

enum { DIM = 7, CLASSES = 6, ROWS = 41 };

static struct ctx *ctx;
static const struct backend *be;
static struct be_device *dev;
static float rows[ROWS * DIM];
static int32_t labels[ROWS];

static int set_up(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 4, 0, 0, 0, RNG_TEST);
    for (int i = 0; i < ROWS; i++) {
        labels[i] = (int32_t)rng_below(&r, CLASSES);
        for (int d = 0; d < DIM; d++)
            rows[i * DIM + d] = (float)(0.5 * rng_normal(&r) + (d == labels[i] ? 1 : 0));
    }
    return ctx_create(&ctx, &(struct ctx_options){.threads = 2}, NULL) != MOCO_OK ||
           backend_find(&be, test_device(), NULL) != MOCO_OK || be->open(&dev, ctx, test_device(), NULL) != MOCO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    be->close(dev);
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

static struct probe_config config_of(int rates)
{
    struct probe_config c = {
        .dim = DIM, .classes = CLASSES, .rates = rates, .momentum = 0.9, .weight_decay = 1e-3, .seed = 11};
    for (int r = 0; r < rates; r++)
        c.lr[r] = 0.05 * (r + 1);
    return c;
}

static struct probe *make(const struct probe_config *config)
{
    struct probe *probe;
    struct err err = {0};
    harness_ok(probe_create(&probe, ctx, be, dev, config, &err), &err);
    return probe;
}

/* ---- against double ---- */

struct exact {
    double w[CLASSES * DIM], b[CLASSES], vw[CLASSES * DIM], vb[CLASSES];
};

static void exact_start(struct exact *e, const struct probe *probe)
{
    memset(e, 0, sizeof *e);
    for (int i = 0; i < CLASSES * DIM; i++)
        e->w[i] = probe->weight[i];
}

/* Mean loss; its gradient unless gw is NULL. */
static double exact_loss(const struct exact *e, const float *x, const int32_t *y, int n, double *gw, double *gb)
{
    double loss = 0;
    for (int i = 0; i < n; i++) {
        double z[CLASSES], sum = 0;
        for (int c = 0; c < CLASSES; c++) {
            z[c] = e->b[c];
            for (int d = 0; d < DIM; d++)
                z[c] += e->w[c * DIM + d] * (double)x[i * DIM + d];
            sum += exp(z[c]);
        }
        loss += (log(sum) - z[y[i]]) / n;
        for (int c = 0; gw != NULL && c < CLASSES; c++) {
            double g = (exp(z[c]) / sum - (c == y[i])) / n;
            gb[c] += g;
            for (int d = 0; d < DIM; d++)
                gw[c * DIM + d] += g * (double)x[i * DIM + d];
        }
    }
    return loss;
}

static double exact_step(struct exact *e, const float *x, const int32_t *y, int n, double lr,
                         const struct probe_config *c)
{
    double gw[CLASSES * DIM] = {0}, gb[CLASSES] = {0}, loss = exact_loss(e, x, y, n, gw, gb);
    for (int i = 0; i < CLASSES * DIM; i++) {
        e->vw[i] = c->momentum * e->vw[i] + gw[i] + c->weight_decay * e->w[i];
        e->w[i] -= lr * e->vw[i];
    }
    for (int i = 0; i < CLASSES; i++) {
        e->vb[i] = c->momentum * e->vb[i] + gb[i] + c->weight_decay * e->b[i];
        e->b[i] -= lr * e->vb[i];
    }
    return loss;
}

static double error_of(const float *ours, const double *exact, int count)
{
    double difference = 0, size = 0;
    for (int i = 0; i < count; i++) {
        difference += (ours[i] - exact[i]) * (ours[i] - exact[i]);
        size += exact[i] * exact[i];
    }
    return sqrt(difference / size);
}

/* Sixty steps of batches of different sizes at two rates: f32 stays within its own rounding of double. */
static void steps_are_sgd(void **state)
{
    (void)state;
    struct probe_config config = config_of(2);
    struct probe *probe = make(&config);
    struct exact e[2];
    exact_start(&e[0], probe);
    exact_start(&e[1], probe);
    for (int step = 0; step < 60; step++) {
        int n = 1 + step % 20, at = step % (ROWS - 20);
        double factor = step < 40 ? 1 : 0.1, loss[2], top1[2];
        struct err err = {0};
        harness_ok(probe_step(probe, rows + at * DIM, labels + at, n, factor, loss, top1, &err), &err);
        for (int r = 0; r < 2; r++) {
            double want = exact_step(&e[r], rows + at * DIM, labels + at, n, factor * config.lr[r], &config);
            assert_true(fabs(loss[r] - want) < 1e-5);
            assert_true(top1[r] >= 0 && top1[r] <= 1 && fabs(top1[r] * n - round(top1[r] * n)) < 1e-9);
        }
    }
    assert_int_equal(probe->steps, 60);
    for (int r = 0; r < 2; r++) {
        assert_true(error_of(probe->weight + r * CLASSES * DIM, e[r].w, CLASSES * DIM) < 1e-5);
        assert_true(error_of(probe->bias + r * CLASSES, e[r].b, CLASSES) < 1e-5);
        assert_true(error_of(probe->weight_v + r * CLASSES * DIM, e[r].vw, CLASSES * DIM) < 1e-4);
    }
    probe_free(probe);
}

/* The step of a probe without momentum is the gradient; central differences of the loss say what it must be. */
static void gradient_is_that_of_the_loss(void **state)
{
    (void)state;
    struct probe_config config = config_of(1);
    config.momentum = config.weight_decay = 0;
    config.lr[0] = 1;
    struct probe *probe = make(&config);
    struct exact e;
    struct err err = {0};
    double differences[CLASSES * DIM + CLASSES];
    float moved[CLASSES * DIM + CLASSES];
    exact_start(&e, probe);
    harness_ok(probe_step(probe, rows, labels, ROWS, 1, NULL, NULL, &err), &err);
    for (int i = 0; i < CLASSES * DIM + CLASSES; i++) {
        double *at = i < CLASSES * DIM ? &e.w[i] : &e.b[i - CLASSES * DIM], value = *at, h = 1e-5;
        *at = value + h;
        double above = exact_loss(&e, rows, labels, ROWS, NULL, NULL);
        *at = value - h;
        differences[i] = (above - exact_loss(&e, rows, labels, ROWS, NULL, NULL)) / (2 * h);
        *at = value;
        moved[i] = (float)(value - (i < CLASSES * DIM ? probe->weight[i] : probe->bias[i - CLASSES * DIM]));
    }
    assert_true(error_of(moved, differences, CLASSES * DIM + CLASSES) < 1e-5); /* f32 weights of 1 */
    probe_free(probe);
}

/* ---- several rates, whole trainings ---- */

static void each_rate_is_as_alone(void **state)
{
    (void)state;
    struct probe_config config = config_of(5);
    struct probe *all = make(&config);
    struct probe_fit fit = {.epochs = 9, .batch = 8, .milestones = {4, 7}};
    struct err err = {0};
    harness_ok(probe_fit(all, rows, labels, ROWS, &fit, &err), &err);
    for (int r = 0; r < 5; r++) {
        struct probe_config one = config_of(1);
        one.lr[0] = config.lr[r];
        struct probe *alone = make(&one);
        double want[CLASSES * DIM];
        harness_ok(probe_fit(alone, rows, labels, ROWS, &fit, &err), &err);
        assert_int_equal(alone->steps, all->steps);
        for (int i = 0; i < CLASSES * DIM; i++)
            want[i] = alone->weight[i];
        assert_true(error_of(all->weight + r * CLASSES * DIM, want, CLASSES * DIM) < 1e-5);
        probe_free(alone);
    }
    probe_free(all);
}

/* A training is its steps, in orders drawn from the probe's stream, and gives the same bits again. */
static void fit_is_its_steps(void **state)
{
    (void)state;
    struct probe_config config = config_of(3);
    struct probe *fitted = make(&config), *again = make(&config), *stepped = make(&config);
    struct probe_fit fit = {.epochs = 3, .batch = 16, .milestones = {1, 2}};
    struct err err = {0};
    size_t bytes = (size_t)3 * CLASSES * DIM * sizeof(float);
    harness_ok(probe_fit(fitted, rows, labels, ROWS, &fit, &err), &err);
    harness_ok(probe_fit(again, rows, labels, ROWS, &fit, &err), &err);
    assert_memory_equal(fitted->weight, again->weight, bytes);
    for (int epoch = 0; epoch < 3; epoch++) {
        int32_t order[ROWS], y[16];
        float x[16 * DIM];
        struct rng rng;
        rng_init(&rng, config.seed, (uint64_t)epoch, 0, 1, RNG_PROBE);
        permute_draw(&rng, ROWS, order);
        for (int at = 0; at < ROWS; at += 16) {
            int n = ROWS - at < 16 ? ROWS - at : 16;
            for (int i = 0; i < n; i++) {
                memcpy(x + i * DIM, rows + order[at + i] * DIM, DIM * sizeof *x);
                y[i] = labels[order[at + i]];
            }
            harness_ok(probe_step(stepped, x, y, n,
                                  epoch == 0   ? 1
                                  : epoch == 1 ? 0.1
                                               : 0.1 * 0.1,
                                  NULL, NULL, &err),
                       &err);
        }
    }
    assert_memory_equal(fitted->weight, stepped->weight, bytes);
    assert_int_equal(fitted->steps, 9);
    config.seed++;
    struct probe *other = make(&config);
    assert_memory_not_equal(fitted->weight, other->weight, bytes);
    probe_free(fitted);
    probe_free(again);
    probe_free(stepped);
    probe_free(other);
}

static int stop_after_two(void *user, int epoch, int epochs)
{
    assert_int_equal(epochs, 5);
    *(int *)user = epoch;
    return epoch == 2;
}

static void progress_stops(void **state)
{
    (void)state;
    struct probe_config config = config_of(1);
    struct probe *probe = make(&config);
    int reached = 0;
    struct probe_fit fit = {.epochs = 5, .batch = ROWS, .progress = stop_after_two, .user = &reached};
    struct err err = {0};
    assert_int_equal(probe_fit(probe, rows, labels, ROWS, &fit, &err), MOCO_ECANCELED);
    assert_int_equal(reached, 2);
    assert_int_equal(probe->steps, 2);
    probe_free(probe);
}

/* ---- scores ---- */

static void scores_are_counted(void **state)
{
    (void)state;
    enum { N = 2500 }; /* more than a block */
    struct probe_config config = config_of(3);
    struct probe *probe = make(&config);
    struct probe_fit fit = {.epochs = 40, .batch = 16};
    struct err err = {0};
    harness_ok(probe_fit(probe, rows, labels, ROWS, &fit, &err), &err);
    float *x = malloc(N * DIM * sizeof *x);
    int32_t *y = malloc(N * sizeof *y), *predicted = malloc(N * sizeof *predicted);
    assert_true(x != NULL && y != NULL && predicted != NULL);
    struct rng r;
    rng_init(&r, 5, 0, 0, 0, RNG_TEST);
    for (int i = 0; i < N; i++)
        y[i] = (int32_t)rng_below(&r, CLASSES);
    for (int i = 0; i < N * DIM; i++)
        x[i] = (float)rng_normal(&r);
    for (int rate = 0; rate < 3; rate++) {
        int64_t confusion[CLASSES * CLASSES] = {0}, right = 0, fifth = 0, seen = 0;
        double loss = 0;
        struct probe_score score = {0};
        /* in two pieces, which add up */
        harness_ok(probe_evaluate(probe, rate, x, y, 1100, &score, confusion, &err), &err);
        harness_ok(probe_evaluate(probe, rate, x + 1100 * DIM, y + 1100, N - 1100, &score, confusion, &err), &err);
        harness_ok(probe_predict(probe, rate, x, N, predicted, &err), &err);
        for (int i = 0; i < N; i++) {
            double z[CLASSES], sum = 0;
            int before = 0, best = 0;
            for (int c = 0; c < CLASSES; c++) {
                const float *w = probe->weight + (rate * CLASSES + c) * DIM;
                z[c] = probe->bias[rate * CLASSES + c];
                for (int d = 0; d < DIM; d++)
                    z[c] += (double)w[d] * (double)x[i * DIM + d];
                sum += exp(z[c]);
            }
            for (int c = 0; c < CLASSES; c++) {
                before += z[c] > z[y[i]];
                best = z[c] > z[best] ? c : best;
            }
            right += before < 1;
            fifth += before < 5;
            loss += log(sum) - z[y[i]];
            assert_int_equal(predicted[i], best);
        }
        assert_int_equal(score.n, N);
        assert_int_equal(score.top1, right);
        assert_int_equal(score.top5, fifth);
        assert_true(fifth < N && right < fifth);
        assert_true(fabs(score.loss - loss) < 1e-5 * loss);
        for (int a = 0; a < CLASSES; a++) {
            right -= confusion[a * CLASSES + a];
            for (int b = 0; b < CLASSES; b++)
                seen += confusion[a * CLASSES + b];
        }
        assert_int_equal(right, 0);
        assert_int_equal(seen, N);
    }
    free(x);
    free(y);
    free(predicted);
    probe_free(probe);
}

/* Equal logits: the class with the smaller number comes first, so that a label never profits from a tie. */
static void ties_and_the_best_rate(void **state)
{
    (void)state;
    struct probe_config config = config_of(3);
    struct probe *probe = make(&config);
    struct probe_score score = {0};
    struct err err = {0};
    const int32_t last = CLASSES - 1, first = 0;
    memset(probe->weight, 0, (size_t)3 * CLASSES * DIM * sizeof(float));
    harness_ok(probe_evaluate(probe, 0, rows, &last, 1, &score, NULL, &err), &err);
    assert_int_equal(score.top1, 0);
    assert_int_equal(score.top5, 0); /* five come before it */
    harness_ok(probe_evaluate(probe, 0, rows, &first, 1, &score, NULL, &err), &err);
    assert_int_equal(score.top1, 1);
    assert_int_equal(score.n, 2);
    int rate = -1;
    probe->bias[1 * CLASSES + first] = 1; /* rates 1 and 2 are right with the smaller loss; 2 is surest */
    probe->bias[2 * CLASSES + first] = 2;
    harness_ok(probe_best(probe, rows, &first, 1, &rate, &score, &err), &err);
    assert_int_equal(rate, 2);
    assert_int_equal(score.n, 1);
    harness_ok(probe_best(probe, rows, &last, 1, &rate, &score, &err), &err);
    assert_int_equal(rate, 0);
    probe_free(probe);
}

/* ---- files ---- */

static void a_file_goes_on_to_the_bit(void **state)
{
    (void)state;
    struct scratch_folder folder;
    scratch_folder_make(&folder);
    const char *path = scratch_path(&folder, "probe.safetensors");
    struct probe_config config = config_of(2);
    config.seed = UINT64_MAX;
    struct probe *probe = make(&config), *read;
    struct probe_fit fit = {.epochs = 2, .batch = 8};
    struct err err = {0};
    char note[8];
    harness_ok(probe_fit(probe, rows, labels, ROWS, &fit, &err), &err);
    harness_ok(probe_save(probe, path, "epoch 2", &err), &err);
    harness_ok(probe_open(&read, ctx, be, dev, path, note, sizeof note, &err), &err);
    assert_string_equal(note, "epoch 2");
    assert_memory_equal(&read->config, &config, sizeof config);
    assert_int_equal(read->steps, probe->steps);
    harness_ok(probe_fit(probe, rows, labels, ROWS, &fit, &err), &err);
    harness_ok(probe_fit(read, rows, labels, ROWS, &fit, &err), &err);
    assert_memory_equal(read->weight, probe->weight, (size_t)2 * CLASSES * DIM * sizeof(float));
    assert_memory_equal(read->bias, probe->bias, (size_t)2 * CLASSES * sizeof(float));
    probe_free(read);
    assert_int_equal(probe_open(&read, ctx, be, dev, path, note, sizeof note - 1, NULL), MOCO_ESHAPE);
    assert_null(read);
    err = (struct err){0};
    probe->weight[3] = NAN;
    assert_int_equal(probe_save(probe, path, NULL, &err), MOCO_ENUMERIC);
    assert_non_null(strstr(err.text, "fc.weight"));
    harness_ok(probe_open(&read, ctx, be, dev, path, NULL, 0, &(struct err){0}), &(struct err){0}); /* is still whole */
    probe_free(read);
    probe_free(probe);
    scratch_folder_remove(&folder);
}

/* ---- refusals ---- */

static void nothing_changes_on_refusal(void **state)
{
    (void)state;
    struct probe_config config = config_of(2);
    struct probe *probe = make(&config);
    size_t bytes = (size_t)2 * CLASSES * DIM * sizeof(float);
    float before[2 * CLASSES * DIM], bad[2 * DIM] = {0}, huge[2 * DIM];
    int32_t y[2] = {0, 1};
    struct err err = {0};
    struct probe_fit fit = {.epochs = 1, .batch = 4};
    memcpy(before, probe->weight, bytes);
    y[1] = -1;
    assert_int_equal(probe_step(probe, rows, y, 2, 1, NULL, NULL, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "labels[1] is -1: this row has no label"));
    err = (struct err){0};
    y[1] = CLASSES;
    assert_int_equal(probe_fit(probe, rows, y, 2, &fit, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "labels[1] is 6, but the probe has 6 classes"));
    err = (struct err){0};
    y[1] = 0;
    assert_int_equal(probe_fit(probe, rows, y, 2, &fit, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "one class"));
    err = (struct err){0};
    bad[DIM + 2] = INFINITY;
    assert_int_equal(probe_step(probe, bad, y, 2, 1, NULL, NULL, &err), MOCO_ENUMERIC);
    assert_non_null(strstr(err.text, "row 1"));
    err = (struct err){0};
    for (int i = 0; i < 2 * DIM; i++)
        huge[i] = 3e38f;
    memset(probe->weight, 0, bytes);
    for (int i = 0; i < DIM; i++)
        probe->weight[i] = 10;
    memcpy(before, probe->weight, bytes);
    y[0] = 1;
    assert_int_equal(probe_step(probe, huge, y, 2, 1, NULL, NULL, &err), MOCO_ENUMERIC);
    assert_non_null(strstr(err.text, "learning rate 0.05"));
    assert_memory_equal(before, probe->weight, bytes);
    assert_int_equal(probe->steps, 0);
    config.classes = 1;
    err = (struct err){0};
    struct probe *none;
    assert_int_equal(probe_create(&none, ctx, be, dev, &config, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "nothing to tell apart"));
    assert_null(none);
    probe_free(probe);
}

static void failing_memory(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            struct failing_alloc memory = {.fail_at = n, .forever = forever};
            struct ctx *failing;
            struct be_device *device = NULL;
            struct probe *probe = NULL;
            struct probe_config config = config_of(2);
            struct probe_fit fit = {.epochs = 1, .batch = 8};
            moco_status status =
                ctx_create(&failing,
                           &(struct ctx_options){
                               .alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
                           NULL);
            if (status == MOCO_OK) {
                status = be->open(&device, failing, test_device(), NULL);
                if (status == MOCO_OK)
                    status = probe_create(&probe, failing, be, device, &config, NULL);
                if (status == MOCO_OK)
                    status = probe_fit(probe, rows, labels, ROWS, &fit, NULL);
                probe_free(probe);
                if (device != NULL)
                    be->close(device);
                ctx_unref(failing);
            }
            assert_int_equal(memory.live, 0);
            if (memory.refused == 0) {
                assert_int_equal(status, MOCO_OK);
                assert_true(n >= 11);
                break;
            }
            assert_int_equal(status, MOCO_ENOMEM);
        }
}

/* A classifier whose numbers are lost, by a rate beyond reason or in a file, has nothing right and is not the best. */
static void a_lost_rate_is_never_right(void **state)
{
    (void)state;
    struct probe_config config = config_of(2);
    struct probe *probe = make(&config);
    struct probe_score score = {0};
    struct err err = {0};
    int rate = -1;
    for (int i = 0; i < CLASSES * DIM; i++)
        probe->weight[i] = NAN;
    harness_ok(probe_evaluate(probe, 0, rows, labels, ROWS, &score, NULL, &err), &err);
    assert_true(score.n == ROWS && score.top1 == 0);
    harness_ok(probe_best(probe, rows, labels, ROWS, &rate, &score, &err), &err);
    assert_int_equal(rate, 1);
    assert_true(score.top1 > 0);
    probe_free(probe);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(steps_are_sgd),
                                       CASE(gradient_is_that_of_the_loss),
                                       CASE(each_rate_is_as_alone),
                                       CASE(fit_is_its_steps),
                                       CASE(progress_stops),
                                       CASE(scores_are_counted),
                                       CASE(ties_and_the_best_rate),
                                       CASE(a_lost_rate_is_never_right),
                                       CASE(a_file_goes_on_to_the_bit),
                                       CASE(nothing_changes_on_refusal),
                                       CASE(failing_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
