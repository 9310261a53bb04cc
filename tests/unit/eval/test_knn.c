/* SPDX-License-Identifier: MIT
 *
 * test_knn: the classifier against a brute-force one in double, whatever the sizes of bank, queries and k; ties; what
 * it refuses; failing memory. The matrix product is the test's own: the classifier is what is tested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/knn.h"
#include "philox.h"
#include "support/failing_alloc.h"

static struct ctx *ctx;
static int log_lines;

static void count_log(void *user, int level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
    log_lines++;
}

static moco_status gemm_nt(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                           float *c, struct err *err)
{
    (void)dev;
    (void)err;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += a[i * k + l] * b[j * k + l];
            c[i * n + j] = sum;
        }
    return MOCO_OK;
}

static moco_status on_host(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg,
                           struct err *err)
{
    (void)dev;
    (void)err;
    for (int part = 2; part >= 0; part--)
        body(arg, part, 3);
    return MOCO_OK;
}

static const struct backend product_only = {.abi = BACKEND_ABI, .name = "test", .gemm_nt = gemm_nt, .on_host = on_host};

static int set_up(void **state)
{
    (void)state;
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1, .log = count_log}, NULL) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

static struct knn *make(int dim, int k, double temperature)
{
    struct knn *knn;
    struct err err = {0};
    assert_int_equal(knn_create(&knn, ctx, &product_only, NULL, dim, k, temperature, &err), MOCO_OK);
    return knn;
}

static double cosine(const float *a, const float *b, int dim)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < dim; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

struct candidate {
    double cosine;
    int32_t label;
};

static int nearer_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->cosine > y->cosine ? -1 : x->cosine < y->cosine;
}

/* The label, and whether the decision is too close to call in float. */
static int32_t brute_force(const float *bank, const int32_t *labels, int count, const float *query, int dim, int k,
                           double temperature, int classes, int *close)
{
    struct candidate *all = malloc((size_t)count * sizeof *all);
    double *votes = calloc((size_t)classes, sizeof *votes);
    assert_non_null(all);
    assert_non_null(votes);
    for (int i = 0; i < count; i++)
        all[i] = (struct candidate){cosine(bank + (size_t)i * (size_t)dim, query, dim), labels[i]};
    qsort(all, (size_t)count, sizeof *all, nearer_first);
    *close = k < count && all[k - 1].cosine - all[k].cosine < 1e-6;
    for (int i = 0; i < k && i < count; i++)
        votes[all[i].label] += exp(all[i].cosine / temperature);
    int32_t best = 0;
    for (int c = 1; c < classes; c++)
        if (votes[c] > votes[best])
            best = c;
    for (int c = 0; c < classes; c++)
        if (c != best && votes[c] > votes[best] * (1 - 1e-4))
            *close = 1;
    free(all);
    free(votes);
    return best;
}

static void agrees_with_brute_force(void **state)
{
    (void)state;
    const struct {
        int dim, k, bank, queries, classes;
        double temperature;
    } cases[] = {{3, 1, 1, 1, 1, 0.1},      {8, 5, 40, 30, 4, 0.1},   {8, 200, 300, 150, 10, 0.1},
                 {16, 20, 4097, 9, 3, 0.5}, {5, 64, 63, 129, 7, 1.0}, {2, 17, 9000, 3, 2, 0.01}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        int dim = cases[c].dim, bank_count = cases[c].bank, n = cases[c].queries, compared = 0;
        float *bank = malloc((size_t)bank_count * (size_t)dim * sizeof *bank);
        float *query = malloc((size_t)n * (size_t)dim * sizeof *query);
        int32_t *labels = malloc((size_t)bank_count * sizeof *labels), *got = malloc((size_t)n * sizeof *got);
        assert_true(bank != NULL && query != NULL && labels != NULL && got != NULL);
        struct rng r;
        rng_init(&r, 1, 0, c, 0, RNG_TEST);
        for (int i = 0; i < bank_count; i++) {
            labels[i] = (int32_t)rng_below(&r, (uint64_t)cases[c].classes);
            for (int d = 0; d < dim; d++)
                bank[i * dim + d] = (float)(3 * rng_normal(&r) + (d % cases[c].classes == labels[i] ? 2 : 0));
        }
        for (int i = 0; i < n * dim; i++)
            query[i] = (float)rng_normal(&r);
        struct knn *knn = make(dim, cases[c].k, cases[c].temperature);
        struct err err = {0};
        for (int at = 0, step = 1; at < bank_count; at += step, step = step * 2 + 1) /* the bank grows in pieces */
            assert_int_equal(knn_add(knn, bank + (size_t)at * (size_t)dim, labels + at,
                                     at + step < bank_count ? step : bank_count - at, &err),
                             MOCO_OK);
        assert_int_equal(knn_classify(knn, query, n, got, &err), MOCO_OK);
        for (int i = 0; i < n; i++) {
            int close;
            int32_t want = brute_force(bank, labels, bank_count, query + (size_t)i * (size_t)dim, dim, cases[c].k,
                                       cases[c].temperature, cases[c].classes, &close);
            if (!close) {
                assert_int_equal(got[i], want);
                compared++;
            }
        }
        assert_true(compared * 10 >= n * 8);
        knn_free(knn);
        free(bank);
        free(query);
        free(labels);
        free(got);
    }
}

static void ties_are_settled(void **state)
{
    (void)state;
    const float bank[] = {1, 0, 1, 0, 0, 1, 1, 0};
    const int32_t labels[] = {5, 2, 9, 7};
    const float query[] = {2, 0};
    int32_t got;
    struct err err = {0};
    struct knn *knn = make(2, 4, 0.1);
    assert_int_equal(knn_add(knn, bank, labels, 4, &err), MOCO_OK);
    assert_int_equal(knn_classify(knn, query, 1, &got, &err), MOCO_OK);
    assert_int_equal(got, 2); /* 5, 2 and 7 have one equal vote each */
    knn_free(knn);
    knn = make(2, 1, 0.1);
    assert_int_equal(knn_add(knn, bank, labels, 4, &err), MOCO_OK);
    assert_int_equal(knn_classify(knn, query, 1, &got, &err), MOCO_OK);
    assert_int_equal(got, 5); /* of equally near ones the first in the bank */
    knn_free(knn);
}

/* exp(1 / 0.0005) does not fit a double. */
static void a_small_temperature_does_not_overflow(void **state)
{
    (void)state;
    const float bank[] = {1, 0, 0.99f, 0.1f, 0.99f, -0.1f, 0, 1};
    const int32_t labels[] = {1, 0, 0, 0};
    const float query[] = {1, 0};
    int32_t got;
    struct err err = {0};
    struct knn *knn = make(2, 4, 0.0005);
    assert_int_equal(knn_add(knn, bank, labels, 4, &err), MOCO_OK);
    assert_int_equal(knn_classify(knn, query, 1, &got, &err), MOCO_OK);
    assert_int_equal(got, 1);
    knn_free(knn);
}

static void refusals(void **state)
{
    (void)state;
    struct knn *knn;
    const float rows[] = {1, 2, NAN, 1};
    const int32_t labels[] = {0, 1}, negative[] = {0, -1};
    int32_t got[2];
    assert_int_equal(knn_create(&knn, ctx, &product_only, NULL, 0, 1, 0.1, NULL), MOCO_EINVAL);
    assert_int_equal(knn_create(&knn, ctx, &product_only, NULL, 1, 0, 0.1, NULL), MOCO_EINVAL);
    assert_int_equal(knn_create(&knn, ctx, &product_only, NULL, 1, 1, 0, NULL), MOCO_EINVAL);
    assert_int_equal(knn_create(&knn, ctx, &product_only, NULL, 1, 1, NAN, NULL), MOCO_EINVAL);
    assert_null(knn);
    knn = make(2, 3, 0.1);
    struct err err = {0};
    assert_int_equal(knn_classify(knn, rows, 1, got, &err), MOCO_ESTATE);
    assert_int_equal(knn_add(knn, rows, negative, 2, NULL), MOCO_EINVAL);
    err = (struct err){0};
    assert_int_equal(knn_add(knn, rows, labels, 2, &err), MOCO_ENUMERIC);
    assert_non_null(strstr(err.text, "row 1"));
    assert_int_equal(knn_classify(knn, rows, 1, got, NULL), MOCO_ESTATE); /* the good row was not kept either */
    assert_int_equal(knn_add(knn, rows, labels, 1, NULL), MOCO_OK);
    int before = log_lines;
    assert_int_equal(knn_classify(knn, rows, 1, got, NULL), MOCO_OK);
    assert_int_equal(knn_classify(knn, rows, 1, got, NULL), MOCO_OK);
    assert_int_equal(log_lines, before + 1); /* fewer than k: said once */
    assert_int_equal(got[0], 0);
    assert_int_equal(knn_classify(knn, rows, 2, got, NULL), MOCO_ENUMERIC);
    knn_free(knn);
}

static void failing_memory(void **state)
{
    (void)state;
    const float rows[] = {1, 0, 0, 1};
    const int32_t labels[] = {0, 1};
    int32_t got[2];
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            struct failing_alloc memory = {.fail_at = n, .forever = forever};
            struct ctx *failing;
            moco_status status =
                ctx_create(&failing,
                           &(struct ctx_options){
                               .alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
                           NULL);
            if (status == MOCO_OK) {
                struct knn *knn = NULL;
                status = knn_create(&knn, failing, &product_only, NULL, 2, 2, 0.1, NULL);
                if (status == MOCO_OK)
                    status = knn_add(knn, rows, labels, 2, NULL);
                if (status == MOCO_OK)
                    status = knn_classify(knn, rows, 2, got, NULL);
                knn_free(knn);
                ctx_unref(failing);
            }
            assert_int_equal(memory.live, 0);
            if (memory.refused == 0) {
                assert_int_equal(status, MOCO_OK);
                assert_true(n >= 9);
                break;
            }
            assert_int_equal(status, MOCO_ENOMEM);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(agrees_with_brute_force, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ties_are_settled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_small_temperature_does_not_overflow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
