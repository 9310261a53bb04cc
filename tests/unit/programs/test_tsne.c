/* SPDX-License-Identifier: MIT
 *
 * test_tsne: the map of a report against what defines it: perplexities are reached, the gradient is that of the
 * divergence (finite differences), trustworthiness is what counting all ranks gives, clouds that lie apart stay apart,
 * and the same points give the same map to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure/pca.h"
#include "measure/tsne.h"

static uint64_t seed;

static double uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

/* `clouds` clouds of n points in all, about points that lie on the axes. */
static float *clouds_of(int64_t n, int32_t dim, int clouds, double apart)
{
    float *rows = malloc((size_t)n * (size_t)dim * sizeof *rows);
    seed = 7;
    assert_non_null(rows);
    for (int64_t i = 0; i < n; i++)
        for (int32_t j = 0; j < dim; j++)
            rows[i * dim + j] = (float)(normal() + (j == i % clouds ? apart : 0));
    return rows;
}

static float *square_of(int64_t n)
{
    float *d = malloc((size_t)n * (size_t)n * sizeof *d);
    assert_non_null(d);
    return d;
}

static void distances_are_those_of_the_rows(void **state)
{
    enum { N = 9 };
    (void)state;
    for (int32_t dim = 1; dim <= 11; dim++) { /* with and without a rest of four */
        float *rows = clouds_of(N, dim, 1, 0), *d = square_of(N);
        plane_distances(rows, N, dim, d);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0;
                for (int32_t k = 0; k < dim; k++)
                    sum += pow((double)rows[i * dim + k] - rows[j * dim + k], 2);
                assert_true(fabs(d[i * N + j] - sum) <= 1e-6 * sum);
            }
        free(rows);
        free(d);
    }
}

/* The conditional affinities come back from the joint ones by the search's own condition: for each point, a Gaussian of
 * one width over its distances has the entropy of the perplexity. That width is looked for here by another way, over a
 * grid that gets finer, in the definition of the perplexity. */
static double perplexity_at(const float *d, int64_t n, int64_t i, double beta)
{
    double sum = 0, entropy = 0;
    for (int64_t j = 0; j < n; j++)
        sum += j == i ? 0 : exp(-beta * d[i * n + j]);
    for (int64_t j = 0; j < n; j++) {
        double p = j == i ? 0 : exp(-beta * d[i * n + j]) / sum;
        entropy -= p > 0 ? p * log2(p) : 0;
    }
    return pow(2, entropy);
}

static void affinities_have_the_perplexity(void **state)
{
    enum { N = 60, DIM = 5 };
    const double wanted = 12;
    float *rows = clouds_of(N, DIM, 3, 4), *d = square_of(N), *p = square_of(N);
    double beta[N], norm[N], sum = 0;
    (void)state;
    plane_distances(rows, N, DIM, d);
    assert_int_equal(tsne_affinities(d, N, wanted, p, NULL), MOCO_OK);
    for (int i = 0; i < N; i++) {
        double low = 1e-6, high = 1e3;
        for (int round = 0; round < 200; round++) {
            double middle = sqrt(low * high);
            if (perplexity_at(d, N, i, middle) > wanted)
                low = middle;
            else
                high = middle;
        }
        beta[i] = low;
        norm[i] = 0;
        for (int j = 0; j < N; j++)
            norm[i] += j == i ? 0 : exp(-beta[i] * d[i * N + j]);
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double right =
                i == j ? 0
                       : (exp(-beta[i] * d[i * N + j]) / norm[i] + exp(-beta[j] * d[j * N + i]) / norm[j]) / (2.0 * N);
            sum += p[i * N + j];
            assert_true(fabs(p[i * N + j] - right) <= 1e-5 * right + 1e-9);
        }
    assert_true(fabs(sum - 1) < 1e-5);
    free(rows);
    free(d);
    free(p);
}

static void gradient_is_that_of_the_divergence(void **state)
{
    enum { N = 27, DIM = 4 }; /* with a rest of eight */
    const double h = 1e-5;
    float *rows = clouds_of(N, DIM, 2, 3), *d = square_of(N), *p = square_of(N);
    double x[N], y[N], gx[N], gy[N], room[3 * N];
    (void)state;
    plane_distances(rows, N, DIM, d);
    assert_int_equal(tsne_affinities(d, N, 6, p, NULL), MOCO_OK);
    for (int i = 0; i < N; i++) {
        x[i] = (float)normal();
        y[i] = (float)normal();
    }
    tsne_gradient(p, N, 1, x, y, (float *)room, gx, gy);
    for (int i = 0; i < 2 * N; i++) {
        double *at = i < N ? &x[i] : &y[i - N], was = *at, found = i < N ? gx[i] : gy[i - N];
        *at = was + h;
        double above = tsne_divergence(p, N, x, y);
        *at = was - h;
        double below = tsne_divergence(p, N, x, y);
        *at = was;
        assert_true(fabs((above - below) / (2 * h) - found) < 1e-6);
        assert_true(fabs(found) > 1e-5); /* so that the difference says something */
    }
    free(rows);
    free(d);
    free(p);
}

/* By sorting, as the definition has it. */
static double trust_by_ranks(const float *d, int n, const double *x, const double *y, int k)
{
    double penalty = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            int rank = 1, place = 1;
            double own = hypot(x[i] - x[j], y[i] - y[j]);
            for (int l = 0; l < n; l++) {
                rank += l != i && l != j && d[i * n + l] < d[i * n + j];
                place += l != i && l != j && hypot(x[i] - x[l], y[i] - y[l]) < own;
            }
            penalty += i != j && place <= k && rank > k ? rank - k : 0;
        }
    return 1 - 2.0 / (n * k * (2.0 * n - 3.0 * k - 1)) * penalty;
}

static void trust_is_counted_right(void **state)
{
    enum { N = 80, DIM = 6, K = 12 };
    float *rows = clouds_of(N, DIM, 4, 5), *d = square_of(N), plain[2 * N];
    double x[N], y[N], trust;
    (void)state;
    plane_distances(rows, N, DIM, d);
    for (int i = 0; i < N; i++) {
        plain[2 * i] = (float)(x[i] = (float)normal());
        plain[2 * i + 1] = (float)(y[i] = (float)normal());
    }
    assert_int_equal(plane_trust(d, N, x, y, K, &trust, NULL), MOCO_OK);
    assert_true(fabs(trust - trust_by_ranks(d, N, x, y, K)) < 1e-12);
    assert_true(trust > 0.3 && trust < 0.7); /* chance */
    plane_distances(plain, N, 2, d);         /* a plane keeps itself */
    assert_int_equal(plane_trust(d, N, x, y, K, &trust, NULL), MOCO_OK);
    assert_true(trust > 1 - 1e-12);
    assert_int_equal(plane_trust(d, 2 * K + 1, x, y, K, &trust, NULL), MOCO_OK);
    assert_true(isnan(trust));
    free(rows);
    free(d);
}

static void map_of(const float *d, float *rows, int64_t n, int32_t dim, double *x, double *y, double *perplexity)
{
    double part[2];
    *perplexity = TSNE_PERPLEXITY;
    assert_int_equal(pca_plane(rows, n, dim, x, y, part, NULL), MOCO_OK);
    assert_int_equal(tsne_plane(d, n, perplexity, NULL, x, y, NULL), MOCO_OK);
}

/* Six clouds in six directions: no plane through them keeps them apart; a map does. */
static void clouds_stay_clouds(void **state)
{
    enum { N = 240, DIM = 20, CLOUDS = 6 };
    float *rows = clouds_of(N, DIM, CLOUDS, 12), *d = square_of(N);
    double x[N], y[N], px[N], py[N], part[2], perplexity, trust[2];
    int strangers = 0;
    (void)state;
    plane_distances(rows, N, DIM, d);
    assert_int_equal(pca_plane(rows, N, DIM, px, py, part, NULL), MOCO_OK);
    map_of(d, rows, N, DIM, x, y, &perplexity);
    assert_true(perplexity == TSNE_PERPLEXITY);
    for (int i = 0; i < N; i++) {
        int nearest = -1;
        double least = INFINITY;
        for (int j = 0; j < N; j++)
            if (j != i && hypot(x[i] - x[j], y[i] - y[j]) < least) {
                least = hypot(x[i] - x[j], y[i] - y[j]);
                nearest = j;
            }
        strangers += nearest % CLOUDS != i % CLOUDS;
    }
    assert_int_equal(strangers, 0);
    assert_int_equal(plane_trust(d, N, px, py, TSNE_NEIGHBOURS, &trust[0], NULL), MOCO_OK);
    assert_int_equal(plane_trust(d, N, x, y, TSNE_NEIGHBOURS, &trust[1], NULL), MOCO_OK);
    assert_true(trust[1] > 0.9 && trust[1] > trust[0]);
    free(rows);
    free(d);
}

static void the_same_again(void **state)
{
    enum { N = 90, DIM = 8 };
    float *rows = clouds_of(N, DIM, 3, 5), *d = square_of(N);
    double one[2 * N], two[2 * N], perplexity;
    (void)state;
    plane_distances(rows, N, DIM, d);
    map_of(d, rows, N, DIM, one, one + N, &perplexity);
    free(rows); /* they have been centred */
    rows = clouds_of(N, DIM, 3, 5);
    map_of(d, rows, N, DIM, two, two + N, &perplexity);
    assert_true(perplexity < TSNE_PERPLEXITY && perplexity > 29);
    assert_memory_equal(one, two, sizeof one);
    free(rows);
    free(d);
}

/* Few points, points that are all one, two heaps: nothing ends in a number that is none. */
static void odd_clouds(void **state)
{
    static const int64_t counts[] = {1, 2, 3, 4, 5, 13, 40};
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
        for (int kind = 0; kind < 3; kind++) {
            int64_t n = counts[c];
            float rows[3 * 40], d[40 * 40];
            double x[40], y[40], perplexity;
            for (int64_t i = 0; i < 3 * n; i++)
                rows[i] = kind == 0 ? 0.5f : kind == 1 ? (float)(i / 3 % 2) : (float)i;
            plane_distances(rows, n, 3, d);
            map_of(d, rows, n, 3, x, y, &perplexity);
            for (int64_t i = 0; i < n; i++)
                assert_true(isfinite(x[i]) && isfinite(y[i]));
        }
}

static int at_once(void)
{
    return 1;
}

static void it_can_be_stopped(void **state)
{
    enum { N = 20 };
    float *rows = clouds_of(N, 3, 2, 5), *d = square_of(N);
    double x[N] = {0}, y[N] = {0}, perplexity = 5;
    (void)state;
    plane_distances(rows, N, 3, d);
    assert_int_equal(tsne_plane(d, N, &perplexity, at_once, x, y, NULL), MOCO_ECANCELED);
    free(rows);
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_those_of_the_rows),
        cmocka_unit_test(affinities_have_the_perplexity),
        cmocka_unit_test(gradient_is_that_of_the_divergence),
        cmocka_unit_test(trust_is_counted_right),
        cmocka_unit_test(clouds_stay_clouds),
        cmocka_unit_test(the_same_again),
        cmocka_unit_test(odd_clouds),
        cmocka_unit_test(it_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
