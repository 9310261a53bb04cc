/* SPDX-License-Identifier: MIT
 *
 * test_ref_gradients: what `ref` computes is what the ops are defined as, and every backward is the derivative of its
 * forward: by central differences, op by op, and through whole networks from weights to loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host_program.h"
#include "backend/ref/ref_ops.h"
#include "philox.h"
#include "support/rigs/net_harness.h"
#include "tolerances.h"

static double *numbers(size_t count, uint64_t stream)
{
    struct rng rng;
    double *x = malloc((count > 0 ? count : 1) * sizeof *x);
    assert_non_null(x);
    rng_init(&rng, 11, stream, 0, 0, RNG_TEST);
    for (size_t i = 0; i < count; i++)
        x[i] = rng_normal(&rng);
    return x;
}

/* ---- one op at a time ---- */

/* Anything that maps inputs to `out`; the loss is the sum of weight * out. */
struct probe {
    const char *name;
    void (*eval)(const void *op);
    const void *op;
    const double *out, *weight;
    size_t count;
};

static double loss_of(const struct probe *p)
{
    double sum = 0;
    p->eval(p->op);
    for (size_t i = 0; i < p->count; i++)
        sum += p->weight[i] * p->out[i];
    return sum;
}

/* d loss / d x[i] for every i, against the analytic gradient. */
static void expect_gradient(const struct probe *p, const char *input, double *x, size_t count, const double *gradient)
{
    const double step = 1e-5;
    double *numeric = malloc(count * sizeof *numeric);
    assert_non_null(numeric);
    for (size_t i = 0; i < count; i++) {
        double x0 = x[i];
        x[i] = x0 + step;
        double above = loss_of(p);
        x[i] = x0 - step;
        double below = loss_of(p);
        x[i] = x0;
        numeric[i] = (above - below) / (2 * step);
    }
    double error = harness_error(count, gradient, numeric);
    if (!(error <= TOL_REF_DIFFERENCE))
        fail_msg("%s: gradient of %s is off by %.3g", p->name, input, error);
    free(numeric);
}

/* ---- convolution ---- */

struct conv_op {
    struct ref_conv v;
    double *x, *weight, *y, *scratch;
};

static void eval_conv(const void *op)
{
    const struct conv_op *o = op;
    ref_conv_forward(&o->v, o->x, o->weight, o->y, o->scratch);
}

/* The definition, one output at a time. */
static double conv_at(const struct conv_op *o, int n, int co, int oy, int ox)
{
    const struct ref_shape *in = &o->v.in;
    int k = o->v.window.kernel;
    double sum = 0;
    for (int ci = 0; ci < in->c; ci++)
        for (int ky = 0; ky < k; ky++)
            for (int kx = 0; kx < k; kx++) {
                int y = oy * o->v.window.stride - o->v.window.pad + ky;
                int x = ox * o->v.window.stride - o->v.window.pad + kx;
                if (y >= 0 && y < in->h && x >= 0 && x < in->w)
                    sum += o->x[((n * in->h + y) * in->w + x) * in->c + ci] *
                           o->weight[((co * in->c + ci) * k + ky) * k + kx];
            }
    return sum;
}

static struct ref_conv window(int n, int ci, int h, int w, int co, int kernel, int stride, int pad)
{
    return (struct ref_conv){{n, ci, h, w},
                             {n, co, (h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1},
                             {kernel, stride, pad}};
}

static void one_conv(const struct ref_conv *v)
{
    size_t inputs = ref_count(&v->in), outputs = ref_count(&v->out);
    size_t weights = (size_t)v->out.c * (size_t)v->in.c * (size_t)v->window.kernel * (size_t)v->window.kernel;
    struct conv_op o = {*v, numbers(inputs, 1), numbers(weights, 2), numbers(outputs, 3),
                        numbers(ref_conv_scratch(v), 4)};
    double *dy = numbers(outputs, 5), *dx = numbers(inputs, 6), *dw = numbers(weights, 7);
    char name[96];
    snprintf(name, sizeof name, "conv %d x %d x %d x %d -> %d, kernel %d stride %d pad %d", v->in.n, v->in.c, v->in.h,
             v->in.w, v->out.c, v->window.kernel, v->window.stride, v->window.pad);
    eval_conv(&o);
    for (int n = 0; n < v->out.n; n++)
        for (int co = 0; co < v->out.c; co++)
            for (int y = 0; y < v->out.h; y++)
                for (int x = 0; x < v->out.w; x++) {
                    double is = o.y[((n * v->out.h + y) * v->out.w + x) * v->out.c + co];
                    double is_to_be = conv_at(&o, n, co, y, x);
                    if (!(fabs(is - is_to_be) <= 1e-12 * (1 + fabs(is_to_be))))
                        fail_msg("%s: output %d,%d,%d,%d is %g, not %g", name, n, co, y, x, is, is_to_be);
                }
    ref_conv_backward_data(v, o.weight, dy, dx, o.scratch);
    ref_conv_backward_weight(v, o.x, dy, dw, o.scratch);
    struct probe p = {name, eval_conv, &o, o.y, dy, outputs};
    expect_gradient(&p, "input", o.x, inputs, dx);
    expect_gradient(&p, "weight", o.weight, weights, dw);
    double *all[] = {o.x, o.weight, o.y, o.scratch, dy, dx, dw};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void test_conv(void **state)
{
    (void)state;
    const struct ref_conv cases[] = {
        window(1, 1, 1, 1, 1, 1, 1, 0),  window(2, 3, 5, 7, 4, 1, 1, 0), window(2, 5, 7, 6, 3, 1, 2, 0),
        window(2, 3, 6, 5, 2, 3, 1, 1),  window(2, 2, 7, 9, 3, 3, 2, 1), window(1, 3, 11, 9, 2, 7, 2, 3),
        window(2, 1, 4, 4, 1, 2, 3, 1),  window(1, 2, 2, 3, 2, 5, 1, 2), window(3, 4, 5, 5, 1, 3, 3, 0),
        window(1, 8, 3, 3, 70, 3, 1, 1), window(5, 2, 5, 6, 3, 4, 1, 3), window(7, 13, 1, 1, 9, 1, 1, 0),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        one_conv(&cases[i]);
}

/* ---- batch norm ---- */

struct bn_op {
    struct ref_shape s;
    int groups;
    double *x, *gamma, *beta, *saved, *y;
};

#define EPS 1e-3 /* large enough to show in a gradient */

static void eval_bn(const void *op)
{
    const struct bn_op *o = op;
    ref_bn_stats(&o->s, o->groups, o->x, EPS, o->saved, NULL);
    ref_bn_apply(&o->s, o->groups, o->x, o->saved, o->gamma, o->beta, o->y);
}

/* Mean, both variances and output of one channel, from the definition. */
static void expect_bn(const struct bn_op *o, const double *stage, int channel)
{
    int area = o->s.h * o->s.w, m = o->s.n / o->groups * area;
    double mean_sum = 0, var_sum = 0;
    for (int g = 0; g < o->groups; g++) {
        double mean = 0, square = 0;
        for (int p = g * m; p < (g + 1) * m; p++)
            mean += o->x[p * o->s.c + channel] / m;
        for (int p = g * m; p < (g + 1) * m; p++)
            square += pow(o->x[p * o->s.c + channel] - mean, 2);
        mean_sum += mean;
        var_sum += m > 1 ? square / (m - 1) : 0;
        for (int p = g * m; p < (g + 1) * m; p++) {
            double y =
                (o->x[p * o->s.c + channel] - mean) / sqrt(square / m + EPS) * o->gamma[channel] + o->beta[channel];
            assert_true(fabs(o->y[p * o->s.c + channel] - y) <= 1e-12 * (1 + fabs(y)));
        }
    }
    assert_true(fabs(stage[channel] - 5 - mean_sum) <= 1e-12);
    assert_true(fabs(stage[o->s.c + channel] - 5 - var_sum) <= 1e-11);
}

static void one_bn(struct ref_shape s, int groups)
{
    size_t count = ref_count(&s), c = (size_t)s.c, saved = 2 * c * (size_t)groups;
    struct bn_op o = {s, groups, numbers(count, 1), numbers(c, 2), numbers(c, 3), numbers(saved, 4), numbers(count, 5)};
    double *dy = numbers(count, 6), *dx = numbers(count, 7), *dg = numbers(c, 8), *db = numbers(c, 9);
    double *scratch = numbers(2 * c, 10), *stage = numbers(2 * c, 11);
    char name[64];
    snprintf(name, sizeof name, "bn %d x %d x %d x %d in %d groups", s.n, s.c, s.h, s.w, groups);
    eval_bn(&o);
    for (size_t i = 0; i < 2 * c; i++)
        stage[i] = 5; /* statistics are added to what is there */
    ref_bn_stats(&s, groups, o.x, EPS, o.saved, stage);
    for (int i = 0; i < s.c; i++)
        expect_bn(&o, stage, i);
    struct ref_bn_back back = {.shape = s,
                               .groups = groups,
                               .x = o.x,
                               .saved = o.saved,
                               .gamma = o.gamma,
                               .dy = dy,
                               .dx = dx,
                               .d_gamma = dg,
                               .d_beta = db,
                               .scratch = scratch};
    ref_bn_backward(&back);
    struct probe p = {name, eval_bn, &o, o.y, dy, count};
    expect_gradient(&p, "input", o.x, count, dx);
    expect_gradient(&p, "weight", o.gamma, c, dg);
    expect_gradient(&p, "bias", o.beta, c, db);
    ref_bn_stats(&s, groups, o.x, EPS, o.saved, NULL); /* the probe left those of its last step */
    back.dx = dy;
    ref_bn_backward(&back);
    assert_memory_equal(dx, dy, count * sizeof *dx); /* in place */
    double *all[] = {o.x, o.gamma, o.beta, o.saved, o.y, dy, dx, dg, db, scratch, stage};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void test_bn(void **state)
{
    (void)state;
    one_bn((struct ref_shape){2, 3, 3, 5}, 1);
    one_bn((struct ref_shape){6, 2, 3, 1}, 3);
    one_bn((struct ref_shape){4, 5, 1, 1}, 2);
    one_bn((struct ref_shape){8, 1, 2, 2}, 4);
    one_bn((struct ref_shape){3, 2, 4, 3}, 3);
}

/* The variance of numbers that are large against their spread must not cancel, and one number has none. */
static void test_bn_extremes(void **state)
{
    (void)state;
    double x[4] = {1e8, 1e8 + 1, 1e8 + 2, 1e8 + 3}, saved[2], stage[2] = {0, 0};
    ref_bn_stats(&(struct ref_shape){4, 1, 1, 1}, 1, x, 0, saved, stage);
    assert_true(saved[0] == 1e8 + 1.5);
    assert_true(fabs(saved[1] - 1 / sqrt(1.25)) < 1e-12 && fabs(stage[1] - 5.0 / 3) < 1e-12);
    double alone = 3, zero[2] = {0, 0};
    ref_bn_stats(&(struct ref_shape){1, 1, 1, 1}, 1, &alone, 0.25, saved, zero);
    assert_true(saved[0] == 3 && saved[1] == 2 && zero[0] == 3 && zero[1] == 0);
}

/* ---- pooling ---- */

struct pool_op {
    struct ref_conv v;
    double *x, *y;
};

static void eval_maxpool(const void *op)
{
    const struct pool_op *o = op;
    ref_maxpool(&o->v, o->x, o->y, NULL);
}

static void eval_gap(const void *op)
{
    const struct pool_op *o = op;
    ref_gap(&o->v.in, o->x, o->y);
}

static void one_maxpool(const struct ref_conv *v)
{
    size_t inputs = ref_count(&v->in), outputs = ref_count(&v->out);
    struct pool_op o = {*v, numbers(inputs, 1), numbers(outputs, 2)};
    double *dy = numbers(outputs, 3), *dx = numbers(inputs, 4);
    uint16_t *winner = malloc(outputs * sizeof *winner);
    assert_non_null(winner);
    for (size_t i = 0; i < inputs; i++)
        o.x[i] -= 10; /* padding counted as zero would win */
    ref_maxpool(v, o.x, o.y, winner);
    for (size_t p = 0; p < outputs; p++) {
        int c = (int)p % v->out.c, ox = (int)p / v->out.c % v->out.w, oy = (int)p / v->out.c / v->out.w % v->out.h;
        int n = (int)p / v->out.c / v->out.w / v->out.h;
        double best = -INFINITY;
        for (int y = oy * v->window.stride - v->window.pad;
             y < oy * v->window.stride - v->window.pad + v->window.kernel; y++)
            for (int x = ox * v->window.stride - v->window.pad;
                 x < ox * v->window.stride - v->window.pad + v->window.kernel; x++)
                if (y >= 0 && y < v->in.h && x >= 0 && x < v->in.w)
                    best = fmax(best, o.x[((n * v->in.h + y) * v->in.w + x) * v->in.c + c]);
        assert_true(o.y[p] == best);
    }
    ref_maxpool_backward(v, winner, dy, dx);
    struct probe p = {"maxpool", eval_maxpool, &o, o.y, dy, outputs};
    expect_gradient(&p, "input", o.x, inputs, dx);
    double *all[] = {o.x, o.y, dy, dx};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    free(winner);
}

static void test_maxpool(void **state)
{
    (void)state;
    const struct ref_conv cases[] = {
        window(2, 3, 7, 9, 3, 3, 2, 1), window(1, 2, 4, 4, 2, 2, 2, 0),     window(1, 1, 5, 3, 1, 3, 1, 1),
        window(2, 1, 1, 1, 1, 3, 2, 1), window(1, 1, 40, 35, 1, 31, 7, 15),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        one_maxpool(&cases[i]);
    /* The first of equals wins, as in PyTorch. */
    const struct ref_conv ties = window(1, 1, 2, 2, 1, 2, 2, 0);
    const double x[4] = {1, 2, 2, 2};
    double y;
    uint16_t winner;
    ref_maxpool(&ties, x, &y, &winner);
    assert_true(y == 2 && winner == 1);
}

static void test_gap(void **state)
{
    (void)state;
    struct pool_op o = {.v = {.in = {3, 4, 3, 5}}, .x = numbers(180, 1), .y = numbers(12, 2)};
    double *dy = numbers(12, 3), *dx = numbers(180, 4), mean = 0;
    eval_gap(&o);
    for (int p = 0; p < 15; p++)
        mean += o.x[(2 * 15 + p) * 4 + 1] / 15;
    assert_true(fabs(o.y[2 * 4 + 1] - mean) < 1e-14);
    ref_gap_backward(&o.v.in, dy, dx);
    struct probe p = {"gap", eval_gap, &o, o.y, dy, 12};
    expect_gradient(&p, "input", o.x, 180, dx);
    double *all[] = {o.x, o.y, dy, dx};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* ---- pointwise ---- */

struct row_op {
    int n, c;
    double *x, *b, *y;
};

static void eval_relu(const void *op)
{
    const struct row_op *o = op;
    ref_relu((size_t)o->n * (size_t)o->c, o->x, o->y);
}

static void eval_bias(const void *op)
{
    const struct row_op *o = op;
    memcpy(o->y, o->x, (size_t)o->n * (size_t)o->c * sizeof *o->y);
    ref_bias(&(struct ref_shape){o->n, o->c, 1, 1}, o->b, o->y);
}

static void eval_l2norm(const void *op)
{
    const struct row_op *o = op;
    ref_l2norm(o->n, o->c, o->x, o->y);
}

static void test_pointwise(void **state)
{
    (void)state;
    struct row_op o = {5, 7, numbers(35, 1), numbers(7, 2), numbers(35, 3)};
    double *dy = numbers(35, 4), *dx = numbers(35, 5), *db = numbers(7, 6);
    eval_relu(&o);
    for (int i = 0; i < 35; i++)
        assert_true(o.y[i] == (o.x[i] > 0 ? o.x[i] : 0));
    ref_relu_backward(35, o.y, dy, dx);
    struct probe p = {"relu", eval_relu, &o, o.y, dy, 35};
    expect_gradient(&p, "input", o.x, 35, dx);

    ref_bias_backward(&(struct ref_shape){5, 7, 1, 1}, dy, db);
    p.name = "bias";
    p.eval = eval_bias;
    expect_gradient(&p, "bias", o.b, 7, db);

    eval_l2norm(&o);
    for (int r = 0; r < 5; r++) {
        double square = 0;
        for (int i = 0; i < 7; i++)
            square += o.y[r * 7 + i] * o.y[r * 7 + i];
        assert_true(fabs(square - 1) < 1e-14);
    }
    ref_l2norm_backward(5, 7, o.x, dy, dx);
    p.name = "l2norm";
    p.eval = eval_l2norm;
    expect_gradient(&p, "input", o.x, 35, dx);

    /* Below the floor the divisor is 1e-12 whatever the row. */
    const double tiny[2] = {3e-13, -4e-13}, one[2] = {1, 2};
    double y[2], d[2];
    ref_l2norm(1, 2, tiny, y);
    assert_true(fabs(y[0] - 0.3) < 1e-12 && fabs(y[1] + 0.4) < 1e-12);
    ref_l2norm_backward(1, 2, tiny, one, d);
    assert_true(fabs(d[0] - 1e12) < 1 && fabs(d[1] - 2e12) < 1);

    /* What is not finite must reach the loss. */
    const double bad[3] = {NAN, -1, INFINITY};
    double out[3];
    ref_relu(3, bad, out);
    assert_true(isnan(out[0]) && out[1] == 0 && isinf(out[2]));
    ref_l2norm(1, 3, bad, out);
    assert_true(isnan(out[0]));
    double *all[] = {o.x, o.b, o.y, dy, dx, db};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void test_input(void **state)
{
    (void)state;
    const uint8_t images[12] = {0, 51, 255, 10, 20, 30, 1, 2, 3, 4, 5, 6}; /* two of 1 x 2 pixels */
    const int32_t index[3] = {1, 0, 1};
    const double mean[3] = {0.5, 0.25, 0.125}, std[3] = {0.5, 0.2, 0.1};
    double out[18];
    ref_input(&(struct ref_shape){3, 3, 1, 2}, images, index, mean, std, out);
    assert_true(out[6] == -1 && fabs(out[7] - (0.2 - 0.25) / 0.2) < 1e-15 && fabs(out[8] - 8.75) < 1e-14);
    assert_memory_equal(out, out + 12, 6 * sizeof *out);
    assert_true(fabs(out[5] - (6 / 255.0 - 0.125) / 0.1) < 1e-14);
    const float planes[6] = {1, 2, 3, 4, 5, 6}; /* three channels of two pixels */
    ref_input_planes(&(struct ref_shape){1, 3, 1, 2}, planes, out);
    const double wanted[6] = {1, 3, 5, 2, 4, 6};
    assert_memory_equal(out, wanted, sizeof wanted);
}

/* ---- InfoNCE ---- */

static void test_infonce(void **state)
{
    (void)state;
    enum { N = 3, DIM = 5, K = 9 };
    struct err err = {0};
    double *q = numbers(N * DIM, 1), *k = numbers(N * DIM, 2), *queue = numbers(K * DIM, 3), d_q[N * DIM];
    double scratch[64], other[N * DIM], numeric[N * DIM];
    assert_true(backend_ref.infonce_scratch(NULL, N, DIM, K) <= sizeof scratch);
    struct be_infonce io = {.q = q, .k = k, .queue = queue, .n = N, .dim = DIM, .length = K, .scale = 0.25, .d_q = d_q};
    const struct be_program open = {
        .now = {.temperature = 0.7, .loss_scale = 1}, .so_far = {.bad = BE_NOTHING}, .phase = HOST_WORK};
    struct be_program program = open;
    harness_ok(backend_ref.infonce(&program, &io, scratch, &err), &err);
    io.d_q = other;
    for (int i = 0; i < N * DIM; i++) {
        double q0 = q[i], at[2];
        for (int side = 0; side < 2; side++) {
            q[i] = q0 + (side ? 1e-5 : -1e-5);
            program = open;
            harness_ok(backend_ref.infonce(&program, &io, scratch, &err), &err);
            at[side] = program.so_far.loss;
        }
        q[i] = q0;
        numeric[i] = 0.25 * (at[1] - at[0]) / 2e-5;
    }
    assert_true(harness_error(N * DIM, d_q, numeric) <= TOL_REF_DIFFERENCE);
    free(q);
    free(k);
    free(queue);
}

/* ---- whole networks ---- */

/* (loss(x + h d) - loss(x - h d)) / 2h along direction d of parameter `param`. */
static double slope(struct harness *h, int param, const double *x, const double *d, double step, double *work)
{
    double at[2];
    struct err err = {0};
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < h->graph->params[param].count; i++)
            work[i] = x[i] + (side ? step : -step) * d[i];
        harness_ok(h->be->param_set(h->layout, h->masters.at, param, work, &err), &err);
        at[side] = harness_loss(h);
    }
    harness_ok(h->be->param_set(h->layout, h->masters.at, param, x, &err), &err);
    return (at[1] - at[0]) / (2 * step);
}

/* Along `d` (unit length) the loss must change as the gradient says, for one of several steps: a long step may cross a
 * kink of some ReLU, a short one drowns in rounding; a wrong gradient agrees with none. */
static void expect_slope(struct harness *h, const char *net, int param, const double *x, const double *g,
                         const double *d, const char *which, double *work)
{
    double expected = 0, size = 0, best = INFINITY;
    for (int64_t i = 0; i < h->graph->params[param].count; i++) {
        expected += g[i] * d[i];
        size += g[i] * g[i];
    }
    size = sqrt(size);
    for (double step = 1e-4; step > 1e-8 && best > TOL_REF_NET_DIFFERENCE; step /= 10)
        best = fmin(best, fabs(slope(h, param, x, d, step, work) - expected) / fmax(size, 1e-6));
    if (!(best <= TOL_REF_NET_DIFFERENCE))
        fail_msg("%s: gradient of %s along %s is off by %.3g", net, h->graph->params[param].name, which, best);
}

static void check_network(struct harness *h, const char *name)
{
    harness_train(h);
    struct harness_tensors t = harness_collect(h, HARNESS_STEP | HARNESS_STATE);
    for (int p = 0; p < h->graph->param_count; p++) {
        char text[112];
        int64_t count = h->graph->params[p].count, top = 0;
        snprintf(text, sizeof text, "grad.%s", h->graph->params[p].name);
        const double *g = harness_find(&t, text)->values;
        snprintf(text, sizeof text, "weight.%s", h->graph->params[p].name);
        const double *x = harness_find(&t, text)->values;
        double *d = numbers((size_t)count, (uint64_t)(100 + p)), *work = numbers((size_t)count, 1), size = 0, slant = 0;
        for (int64_t i = 0; i < count; i++) {
            size += d[i] * d[i];
            slant += g[i] * g[i];
            top = fabs(g[i]) > fabs(g[top]) ? i : top;
        }
        /* Half at random, half along the gradient: the slope is then of the gradient's own size. */
        for (int64_t i = 0; i < count; i++)
            d[i] = (d[i] / sqrt(size) + (slant > 0 ? g[i] / sqrt(slant) : 0)) / 2;
        expect_slope(h, name, p, x, g, d, "a direction", work);
        memset(d, 0, (size_t)count * sizeof *d);
        d[top] = 1;
        expect_slope(h, name, p, x, g, d, "one number", work);
        free(d);
        free(work);
    }
    harness_tensors_free(&t);
}

static void test_networks(void **state)
{
    (void)state;
    const struct {
        int depth, image;
        enum net_stem stem;
        enum net_head head;
        int n, groups, launches;
    } nets[] = {
        {18, 34, STEM_IMAGENET, HEAD_LINEAR, 4, 1, 1}, {18, 11, STEM_CIFAR, HEAD_MLP, 9, 3, 1},
        {18, 18, STEM_SMALL, HEAD_LINEAR, 6, 1, 2},    {50, 35, STEM_IMAGENET, HEAD_MLP, 4, 1, 1},
        {50, 9, STEM_CIFAR, HEAD_LINEAR, 12, 3, 1},    {50, 18, STEM_SMALL, HEAD_MLP, 5, 1, 1},
        {18, 18, STEM_SMALL, HEAD_SIMCLR_V1, 8, 2, 1}, {18, 11, STEM_CIFAR, HEAD_SIMCLR_V2, 8, 1, 2},
    };
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        char name[96];
        snprintf(name, sizeof name, "resnet%d stem %s head %s in %d groups", nets[i].depth, net_stem_name(nets[i].stem),
                 net_head_name(nets[i].head), nets[i].groups);
        struct harness h;
        struct harness_spec spec = {
            .device = "ref",
            .n = nets[i].n,
            .groups = nets[i].groups,
            .launches = nets[i].launches,
            .queue = 20,
            .seed = 5 + i,
            .config = harness_net(nets[i].depth, 0.03125, nets[i].stem, nets[i].head, 6, nets[i].image)};
        harness_open(&h, &spec);
        check_network(&h, name);
        harness_close(&h);
    }
}

/* What no ResNet has: values with three readers, ReLU and addition without BN, BN that
 * two ops read, pooling between, non-square pictures. */
static struct harness_outputs tangle(struct graph *g, int input, const void *user)
{
    (void)user;
    int a = graph_conv(g, input, "a", 4, 3, 1, 1);
    int b = graph_bn(g, a, "b");
    int c = graph_relu(g, graph_conv(g, b, "c", 4, 1, 1, 0));
    int d = graph_add(g, graph_relu(g, b), c);
    int e = graph_add(g, d, a);
    int f = graph_maxpool(g, graph_add(g, graph_bn(g, e, "f"), graph_add(g, c, d)), 3, 2, 1);
    int left = graph_bn(g, graph_conv(g, f, "left", 5, 3, 2, 0), "left_bn");
    int right = graph_bn(g, graph_conv(g, f, "right", 5, 3, 2, 0), "right_bn");
    int features = graph_gap(g, graph_relu(g, graph_add(g, left, right)));
    int projection = graph_linear(g, features, "head", 6);
    return (struct harness_outputs){features, projection, graph_l2norm(g, projection)};
}

static void test_tangle(void **state)
{
    (void)state;
    struct harness h;
    struct harness_spec spec = {.device = "ref",
                                .n = 6,
                                .groups = 2,
                                .launches = 2,
                                .queue = 20,
                                .seed = 9,
                                .build = tangle,
                                .config = harness_net(18, 1, STEM_CIFAR, HEAD_LINEAR, 6, 10)};
    spec.config.image_w = 13;
    harness_open(&h, &spec);
    check_network(&h, "tangle");
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),    cmocka_unit_test(test_bn),      cmocka_unit_test(test_bn_extremes),
        cmocka_unit_test(test_maxpool), cmocka_unit_test(test_gap),     cmocka_unit_test(test_pointwise),
        cmocka_unit_test(test_input),   cmocka_unit_test(test_infonce), cmocka_unit_test(test_networks),
        cmocka_unit_test(test_tangle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
