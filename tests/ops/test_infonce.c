/* SPDX-License-Identifier: MIT
 *
 * test_infonce: the cpu device's one-pass InfoNCE at every instruction set with 1 to 3 threads against the plain double
 * definition: all sizes, extreme temperatures, ties, inputs that are not finite; and its exponential against libm's. */
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

#include "backend/cpu/kernels/infonce.h"
#include "backend/cpu/kernels/simd_table.h"

/* A loss, and what comes out. */
struct one_loss {
    const void *q, *k, *queue;
    int n, dim;
    int64_t length;
    double temperature, scale;
    void *d_q;
    double loss, top1, top5, pos, neg;
};

struct infonce_case {
    int n, dim;
    int64_t length;
    double temperature;
};

static const struct infonce_case cases[] = {
    {1, 1, 1, 0.2},      {2, 3, 5, 0.07},     {5, 7, 193, 0.2},     {33, 16, 200, 0.07}, {17, 24, 385, 0.5},
    {64, 64, 192, 0.07}, {65, 128, 777, 0.2}, {3, 130, 6, 0.01},    {9, 40, 0, 0.2},     {130, 20, 391, 0.005},
    {4, 2048, 67, 0.07}, {2, 48, 5000, 0.07}, {16, 100, 1000, 1e3},
};

/* Unit rows that share a direction, so that the softmax has something to choose from. */
static float *rows(uint64_t seed, size_t count, size_t dim)
{
    float *at = take(sizeof(float) * count * dim);
    for (size_t row = 0; row < count; row++) {
        double squares = 0;
        for (size_t d = 0; d < dim; d++) {
            double x = draw_normal(seed, row * dim + d) + draw_normal(99, d);
            at[row * dim + d] = (float)x;
            squares += x * x;
        }
        for (size_t d = 0; d < dim; d++)
            at[row * dim + d] = (float)((double)at[row * dim + d] / sqrt(squares));
    }
    return at;
}

static double dot(const float *a, const float *b, int dim)
{
    double sum = 0;
    for (int d = 0; d < dim; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

static double first(double m, double larger, double equal)
{
    return fmin(1, fmax(0, (m - larger) / (equal + 1)));
}

/* The definition, in double. `doubtful`: cosines so near the positive's that f32 may order them otherwise. */
static void define(const struct one_loss *io, struct one_loss *out, double *d_q, int *doubtful)
{
    const float *q = io->q, *k = io->k, *queue = io->queue;
    size_t dim = (size_t)io->dim, length = (size_t)io->length;
    double *logit = take(sizeof(double) * (length + 1));
    *out = *io;
    out->loss = out->top1 = out->top5 = out->pos = out->neg = 0;
    *doubtful = 0;
    for (size_t i = 0; i < (size_t)io->n; i++, q += dim, k += dim, d_q += dim) {
        double own = dot(q, k, io->dim), top = own, sum = 0, larger = 0, negatives = 0;
        for (size_t j = 0; j <= length; j++) {
            logit[j] = j == length ? own : dot(q, queue + j * dim, io->dim);
            top = fmax(top, logit[j]);
            if (j == length)
                continue;
            larger += logit[j] > own;
            negatives += logit[j];
            *doubtful += fabs(logit[j] - own) < 1e-6;
        }
        for (size_t j = 0; j <= length; j++)
            sum += exp((logit[j] - top) / io->temperature);
        memset(d_q, 0, sizeof *d_q * dim);
        for (size_t j = 0; j <= length; j++) {
            const float *row = j == length ? k : queue + j * dim;
            double p = exp((logit[j] - top) / io->temperature) / sum - (j == length ? 1 : 0);
            for (size_t d = 0; d < dim; d++)
                d_q[d] += io->scale / io->temperature * p * (double)row[d];
        }
        out->loss += (top - own) / io->temperature + log(sum);
        out->top1 += first(1, larger, 0);
        out->top5 += first(5, larger, 0);
        out->pos += own;
        out->neg += length > 0 ? negatives / (double)length : 0;
    }
    free(logit);
}

static struct one_loss make_case(const struct infonce_case *c)
{
    size_t n = (size_t)c->n, dim = (size_t)c->dim;
    struct one_loss io = {.n = c->n, .dim = c->dim, .length = c->length, .temperature = c->temperature, .scale = 0.25};
    float *q = rows(1, n, dim), *k = rows(2, n, dim);
    for (size_t i = 0; i < n * dim; i++) /* positives that are similar */
        k[i] = 0.5f * q[i] + 0.5f * k[i];
    io.q = q;
    io.k = k;
    io.queue = rows(3, (size_t)c->length, dim);
    io.d_q = take(sizeof(float) * n * dim);
    return io;
}

static void free_case(struct one_loss *io)
{
    free((void *)io->q);
    free((void *)io->k);
    free((void *)io->queue);
    free(io->d_q);
}

static void run(const struct kern_team *team, struct one_loss *io)
{
    size_t bytes = cpu_infonce_scratch(team, io->n, io->dim);
    assert_true(bytes <= 16 << 20);
    void *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, 0xff, bytes); /* NaN: nothing may be read before it is written */
    const struct be_infonce in = {.q = io->q,
                                  .k = io->k,
                                  .queue = io->queue,
                                  .n = io->n,
                                  .dim = io->dim,
                                  .length = io->length,
                                  .scale = io->scale,
                                  .d_q = io->d_q};
    struct host_sums sums;
    cpu_infonce(team, &in, io->temperature, scratch, &sums);
    io->loss = sums.loss;
    io->top1 = sums.top1;
    io->top5 = sums.top5;
    io->pos = sums.pos;
    io->neg = sums.neg;
    free(scratch);
}

static void against_definition(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct one_loss io = make_case(&cases[c]), want;
        size_t count = (size_t)io.n * (size_t)io.dim;
        double *d_q = take(sizeof(double) * count), norm = 0;
        int doubtful;
        define(&io, &want, d_q, &doubtful);
        for (size_t i = 0; i < count; i++)
            norm = fmax(norm, fabs(d_q[i]));
        for (struct team_walk walk = {0}; team_next(&walk);) {
            run(&walk.team, &io);
            /* a cosine's rounding, 1e-7 or so, is divided by the temperature */
            double slack = 3e-7 * (1 + 1 / io.temperature);
            check_near(io.loss, want.loss, slack * io.n, 0, "loss", c);
            check_near(io.pos, want.pos, 3e-7 * io.n, 0, "pos", c);
            check_near(io.neg, want.neg, 3e-7 * io.n, 0, "neg", c);
            check_near(io.top1, want.top1, doubtful, 0, "top1", c);
            check_near(io.top5, want.top5, doubtful, 0, "top5", c);
            double most = io.scale / io.temperature; /* of a gradient */
            for (size_t i = 0; i < count; i++)
                check_near((double)((float *)io.d_q)[i], d_q[i], slack * (norm + 0.1 * most) + 1e-7 * most, 0, "d_q",
                           i);
        }
        free(d_q);
        free_case(&io);
    }
}

/* More queries than a pass takes: the budget cuts them into chunks. */
static void chunks(void **state)
{
    (void)state;
    struct infonce_case large = {2600, 2048, 9, 0.2};
    struct one_loss io = make_case(&large), part = io;
    struct team_walk walk = {0};
    while (kern_level(walk.next / 3 + 1) != NULL && team_next(&walk)) { /* to the last level */
    }
    run(&walk.team, &io);
    float *whole = io.d_q, *own = take(sizeof(float) * 2048);
    double loss = 0;
    for (size_t i = 0; i < 2600; i++) {
        part.n = 1;
        part.q = (const float *)io.q + i * 2048;
        part.k = (const float *)io.k + i * 2048;
        part.d_q = own;
        if (i % 97 == 0 || i == 2599) {
            run(&walk.team, &part);
            assert_memory_equal(own, whole + i * 2048, sizeof(float) * 2048);
            loss += part.loss;
        }
    }
    assert_true(isfinite(loss) && isfinite(io.loss) && io.loss > loss);
    team_leave(&walk);
    free(own);
    free_case(&io);
}

/* A collapsed encoder is at chance, to the bit: 1 / (length + 1), 5 / (length + 1). */
static void ties(void **state)
{
    (void)state;
    static const int dims[] = {3, 16, 100, 128};
    for (size_t c = 0; c < sizeof dims / sizeof *dims; c++) {
        struct infonce_case same = {37, dims[c], 400, 0.2};
        struct one_loss io = make_case(&same);
        float *all[] = {(float *)io.q, (float *)io.k, (float *)io.queue};
        size_t counts[] = {37, 37, 400}, dim = (size_t)dims[c];
        float *one = rows(8, 1, dim);
        for (size_t a = 0; a < 3; a++)
            for (size_t row = 0; row < counts[a]; row++)
                memcpy(all[a] + row * dim, one, sizeof(float) * dim);
        for (struct team_walk walk = {0}; team_next(&walk);) {
            run(&walk.team, &io);
            check_near(io.top1, 37.0 / 401, 1e-12, 0, "top1", c);
            check_near(io.top5, 5 * 37.0 / 401, 1e-12, 0, "top5", c);
            check_near(io.loss, 37 * log(401), 1e-5, 0, "loss", c);
        }
        free(one);
        free_case(&io);
    }
}

static void not_finite(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct infonce_case small = {5, 20, 300, 0.2};
    for (int array = 0; array < 3; array++) {
        for (size_t b = 0; b < 3; b++) {
            struct one_loss io = make_case(&small);
            float *at[] = {(float *)io.q, (float *)io.k, (float *)io.queue};
            at[array][array < 2 ? 2 * 20 + 19 : 299 * 20 + 3] = bad[b];
            for (struct team_walk walk = {0}; team_next(&walk);) {
                run(&walk.team, &io);
                assert_false(isfinite(io.loss));
            }
            free_case(&io);
        }
    }
}

/* What infonce.h says of scratch. */
static void scratch_is_bounded(void **state)
{
    (void)state;
    static const int dims[] = {1, 128, 511, 512, 2048};
    for (int level = 0; kern_level(level) != NULL; level++)
        for (int threads = 1; threads <= 16; threads++)
            for (size_t c = 0; c < sizeof dims / sizeof *dims; c++)
                for (int n = 1; n < 1 << 20; n = 3 * n + 1) {
                    struct kern_team team = {kern_level(level), threads};
                    assert_true(cpu_infonce_scratch(&team, n, dims[c]) <= 16 << 20);
                }
}

static void repeatable(void **state)
{
    (void)state;
    struct infonce_case c = {70, 64, 900, 0.07};
    struct one_loss io = make_case(&c);
    float *before = take(sizeof(float) * 70 * 64);
    for (struct team_walk walk = {0}; team_next(&walk);) {
        run(&walk.team, &io);
        double loss = io.loss;
        memcpy(before, io.d_q, sizeof(float) * 70 * 64);
        run(&walk.team, &io);
        assert_true(loss == io.loss);
        assert_memory_equal(before, io.d_q, sizeof(float) * 70 * 64);
    }
    free(before);
    free_case(&io);
}

static void exponential(void **state)
{
    (void)state;
    enum { COUNT = 200003 };
    float *x = take(sizeof(float) * COUNT), *y = take(sizeof(float) * COUNT);
    for (size_t i = 0; i < COUNT; i++)
        x[i] = -87.0f * (float)i / (COUNT - 1) * (i % 2 ? 1 : (float)i / COUNT);
    for (int level = 0; kern_level(level) != NULL; level++) {
        kern_level(level)->infonce->exponentials(COUNT, x, y);
        for (size_t i = 0; i < COUNT; i++)
            check_near((double)y[i], exp((double)x[i]), 2 * 0x1p-24 * 1.01 * exp((double)x[i]), 0, "exp", i);
        const float edge[] = {0, -88, -1e30f, -INFINITY, NAN};
        float got[5];
        kern_level(level)->infonce->exponentials(5, edge, got);
        assert_true(got[0] == 1 && got[1] == 0 && got[2] == 0 && got[3] == 0 && isnan(got[4]));
    }
    free(x);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_definition), cmocka_unit_test(chunks),     cmocka_unit_test(ties),
        cmocka_unit_test(scratch_is_bounded), cmocka_unit_test(not_finite), cmocka_unit_test(repeatable),
        cmocka_unit_test(exponential),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
