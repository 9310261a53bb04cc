/* SPDX-License-Identifier: MIT
 *
 * test_feature_stats: the spectrum of matrices whose eigenvalues are known; spread, uniformity and alignment against
 * the plain sums over all pairs; features of known rank, collapsed ones, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/feature_stats.h"
#include "eval/spectrum.h"
#include "philox.h"
#include "support/failing_alloc.h"
#include "support/rigs/net_harness.h"
#include "support/test_device.h"

static struct ctx *ctx;
static const struct backend *be;
static struct be_device *dev;

static int set_up(void **state)
{
    (void)state;
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

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

/* ---- spectrum ---- */

static int larger_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* matrix = H diag(values) H for a few random reflections H: its eigenvalues are known. */
static void rotate(double *matrix, const double *values, int n, struct rng *r)
{
    double *u = room((size_t)n, sizeof *u), *product = room((size_t)n, sizeof *product);
    for (int i = 0; i < n; i++)
        matrix[i * n + i] = values[i];
    for (int turn = 0; turn < 3; turn++) {
        double squares = 0, inner = 0;
        for (int i = 0; i < n; i++) {
            u[i] = rng_normal(r);
            squares += u[i] * u[i];
        }
        for (int i = 0; i < n; i++) {
            product[i] = 0;
            for (int j = 0; j < n; j++)
                product[i] += matrix[i * n + j] * u[j] * 2 / squares;
        }
        for (int i = 0; i < n; i++)
            inner += u[i] * product[i] / squares;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                matrix[i * n + j] -= u[i] * product[j] + product[i] * u[j] - 2 * inner * u[i] * u[j];
    }
    free(u);
    free(product);
}

static void known_spectra(void **state)
{
    (void)state;
    const int sizes[] = {1, 2, 3, 4, 9, 40, 130};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < 5; kind++) {
            int n = sizes[s];
            double *matrix = room((size_t)n * (size_t)n, sizeof *matrix), *values = room((size_t)n, sizeof *values);
            double *got = room((size_t)n, sizeof *got);
            struct rng r;
            rng_init(&r, (uint64_t)n, (uint64_t)kind, 0, 0, RNG_TEST);
            for (int i = 0; i < n; i++) /* any; over many scales; in clusters; one; none */
                values[i] = kind == 0   ? rng_normal(&r)
                            : kind == 1 ? pow(10, -10.0 * i / n)
                            : kind == 2 ? i % 3
                            : kind == 3 ? (i == n / 2) * 5.0
                                        : 0;
            rotate(matrix, values, n, &r);
            for (int i = 0; i < n; i++)
                for (int j = i + 1; j < n; j++)
                    matrix[i * n + j] = NAN; /* the upper triangle is not read */
            qsort(values, (size_t)n, sizeof *values, larger_first);
            struct err err = {0};
            harness_ok(spectrum(ctx, n, matrix, got, &err), &err);
            for (int i = 0; i < n; i++)
                if (!(fabs(got[i] - values[i]) < 1e-12 * (1 + fabs(values[0]))))
                    fail_msg("size %d, kind %d: eigenvalue %d is %.17g, not %.17g", n, kind, i, got[i], values[i]);
            free(matrix);
            free(values);
            free(got);
        }
}

/* Nothing to reflect: a diagonal matrix, one that is zero but for its corner, and one of three diagonals already. */
static void sparse_spectra(void **state)
{
    (void)state;
    struct err err = {0};
    double got[4];
    double diagonal[16] = {3, 0, 0, 0, 0, -1, 0, 0, 0, 0, 7, 0, 0, 0, 0, 2};
    double corner[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
    double three[16] = {2, 0, 0, 0, -1, 2, 0, 0, 0, -1, 2, 0, 0, 0, -1, 2};
    const double want[3][4] = {
        {7, 3, 2, -1}, {1, 0, 0, -1}, {3.618033988749895, 2.618033988749895, 1.381966011250105, 0.38196601125010515}};
    double *const all[3] = {diagonal, corner, three};
    for (int m = 0; m < 3; m++) {
        harness_ok(spectrum(ctx, 4, all[m], got, &err), &err);
        for (int i = 0; i < 4; i++)
            assert_true(fabs(got[i] - want[m][i]) < 1e-13);
    }
}

/* ---- statistics ---- */

/* Rows around a mean, with `rank` directions of equal weight. */
static void draw(float *rows, int n, int dim, int rank, double offset, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed, 0, 0, 0, RNG_TEST);
    double *directions = room((size_t)rank * (size_t)dim, sizeof *directions);
    for (int i = 0; i < rank * dim; i++)
        directions[i] = rng_normal(&r);
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < dim; d++)
            rows[i * dim + d] = (float)offset;
        for (int k = 0; k < rank; k++) {
            double weight = rng_normal(&r);
            for (int d = 0; d < dim; d++)
                rows[i * dim + d] += (float)(weight * directions[k * dim + d]);
        }
    }
    free(directions);
}

static double unit(const float *row, int dim, int d)
{
    double squares = 0;
    for (int i = 0; i < dim; i++)
        squares += (double)row[i] * row[i];
    return row[d] / sqrt(squares);
}

static void against_plain_sums(void **state)
{
    (void)state;
    const struct {
        int n, dim;
    } cases[] = {{2, 1}, {2, 5}, {70, 16}, {1030, 6}, {1500, 33}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int n = cases[c].n, dim = cases[c].dim;
        float *x = room((size_t)n * (size_t)dim, sizeof *x), *y = room((size_t)n * (size_t)dim, sizeof *y);
        double *ux = room((size_t)n * (size_t)dim, sizeof *ux), *values = room((size_t)dim, sizeof *values);
        draw(x, n, dim, dim, 1, c);
        draw(y, n, dim, dim, 1, c + 10);
        double aligned = 0, uniform = 0, spread = 0, least = INFINITY, total = 0, sum = 0;
        for (int i = 0; i < n; i++)
            for (int d = 0; d < dim; d++) {
                double difference = unit(x + i * dim, dim, d) - unit(y + i * dim, dim, d);
                ux[i * dim + d] = unit(x + i * dim, dim, d);
                aligned += difference * difference / n;
            }
        for (int i = 0; i < n; i++)
            for (int j = i + 1; j < n; j++) {
                double distance = 0;
                for (int d = 0; d < dim; d++)
                    distance += pow(ux[i * dim + d] - ux[j * dim + d], 2);
                uniform += exp(-2 * distance) / (0.5 * n * (n - 1.0));
            }
        for (int d = 0; d < dim; d++) {
            double mean = 0, variance = 0;
            for (int i = 0; i < n; i++)
                mean += ux[i * dim + d] / n;
            for (int i = 0; i < n; i++)
                variance += pow(ux[i * dim + d] - mean, 2) / n;
            spread += sqrt(variance) / dim;
            least = fmin(least, sqrt(variance));
            total += variance;
        }
        struct feature_stats s;
        struct err err = {0};
        harness_ok(feature_stats(ctx, be, dev, x, y, n, dim, &s, values, &err), &err);
        assert_true(fabs(s.alignment - aligned) < 1e-6);
        assert_true(fabs(s.uniformity - log(uniform)) < 1e-5);
        assert_true(fabs(s.std_mean - spread) < 1e-6);
        assert_true(fabs(s.std_min - least) < 1e-6);
        assert_true(s.effective_rank >= 0 && s.effective_rank <= dim + 1e-9);
        for (int d = 0; d < dim; d++) {
            sum += values[d];
            assert_true(d == 0 || values[d] <= values[d - 1]);
        }
        assert_true(fabs(sum - total) < 1e-6); /* trace */
        harness_ok(feature_stats(ctx, be, dev, x, NULL, n, dim, &s, NULL, &err), &err);
        assert_true(isnan(s.alignment));
        free(x);
        free(y);
        free(ux);
        free(values);
    }
}

/* Points +-e_i: each axis is used alike, so that the effective rank is exactly their number. */
static void rank_of_axes(void **state)
{
    (void)state;
    enum { DIM = 24 };
    for (int rank = 1; rank <= DIM; rank += 7) {
        float *x = room((size_t)rank * 2 * DIM, sizeof *x);
        double values[DIM];
        for (int i = 0; i < rank; i++) {
            x[2 * i * DIM + i] = 3;
            x[(2 * i + 1) * DIM + i] = -3;
        }
        struct feature_stats s;
        struct err err = {0};
        harness_ok(feature_stats(ctx, be, dev, x, x, rank * 2, DIM, &s, values, &err), &err);
        assert_true(fabs(s.effective_rank - rank) < 1e-5 * rank);
        assert_true(s.alignment == 0);
        assert_true(fabs(values[rank - 1] - 1.0 / rank) < 1e-6);
        assert_true(rank == DIM || fabs(values[rank]) < 1e-6);
        assert_int_equal(s.collapsed, 0); /* two rows are always on a line */
        free(x);
    }
}

/* Noise of 1e-5 around one point, a line, and a cloud of a few directions in 200 dimensions. */
static void collapse_is_told(void **state)
{
    (void)state;
    enum { N = 300, DIM = 200 };
    float *x = room((size_t)N * DIM, sizeof *x);
    struct feature_stats s;
    struct err err = {0};
    draw(x, N, DIM, DIM, 1e6, 3);
    harness_ok(feature_stats(ctx, be, dev, x, NULL, N, DIM, &s, NULL, &err), &err);
    assert_int_equal(s.collapsed, 1);
    assert_true(s.uniformity > -1e-3);
    for (int i = 1; i < N; i++)
        memcpy(x + i * DIM, x, DIM * sizeof *x);
    harness_ok(feature_stats(ctx, be, dev, x, NULL, N, DIM, &s, NULL, &err), &err);
    assert_int_equal(s.collapsed, 1);
    assert_true(s.effective_rank == 0 && s.std_mean < 1e-7);
    draw(x, N, DIM, 1, 0, 4);
    harness_ok(feature_stats(ctx, be, dev, x, NULL, N, DIM, &s, NULL, &err), &err);
    assert_int_equal(s.collapsed, 1);
    assert_true(fabs(s.effective_rank - 1) < 0.01);
    for (int n = 3; n <= 4; n++) { /* three good rows have little more: told from four on */
        harness_ok(feature_stats(ctx, be, dev, x, NULL, n, DIM, &s, NULL, &err), &err);
        assert_int_equal(s.collapsed, n > 3);
    }
    draw(x, N, DIM, 8, 0.1, 5);
    harness_ok(feature_stats(ctx, be, dev, x, NULL, N, DIM, &s, NULL, &err), &err);
    assert_int_equal(s.collapsed, 0);
    assert_true(s.effective_rank > 6 && s.effective_rank < 10);
    free(x);
}

static void refusals(void **state)
{
    (void)state;
    const float x[6] = {1, 2, 3, 4, 5, 6}, bad[6] = {1, 2, 3, 4, 5, NAN};
    struct feature_stats s;
    struct err err = {0};
    assert_int_equal(feature_stats(ctx, be, dev, x, NULL, 1, 6, &s, NULL, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "one row"));
    err = (struct err){0};
    assert_int_equal(feature_stats(ctx, be, dev, x, NULL, 2, FEATURE_STATS_DIM + 1, &s, NULL, &err), MOCO_EINVAL);
    err = (struct err){0};
    assert_int_equal(feature_stats(ctx, be, dev, bad, NULL, 3, 2, &s, NULL, &err), MOCO_ENUMERIC);
    assert_non_null(strstr(err.text, "row 2"));
    err = (struct err){0};
    assert_int_equal(feature_stats(ctx, be, dev, x, bad, 3, 2, &s, NULL, &err), MOCO_ENUMERIC);
    assert_non_null(strstr(err.text, "pairs"));
}

static void failing_memory(void **state)
{
    (void)state;
    float x[40 * 3];
    draw(x, 40, 3, 3, 0, 6);
    for (long long n = 0;; n++) {
        struct failing_alloc memory = {.fail_at = n};
        struct ctx *failing;
        struct feature_stats s;
        moco_status status = ctx_create(
            &failing,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            NULL);
        if (status == MOCO_OK) {
            status = feature_stats(failing, be, dev, x, NULL, 40, 3, &s, NULL, NULL);
            ctx_unref(failing);
        }
        assert_int_equal(memory.live, 0);
        if (memory.refused == 0) {
            assert_int_equal(status, MOCO_OK);
            assert_true(n >= 8);
            break;
        }
        assert_int_equal(status, MOCO_ENOMEM);
    }
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(known_spectra), CASE(sparse_spectra),   CASE(against_plain_sums),
                                       CASE(rank_of_axes),  CASE(collapse_is_told), CASE(refusals),
                                       CASE(failing_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
