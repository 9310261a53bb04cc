/* SPDX-License-Identifier: MIT
 *
 * test_bank: searches against a brute-force one in double, for few queries and many, few dimensions and many, k below and
 * above the bank's size; ties; that an answer does not depend on company; files, mapped ones too; threads; what is
 * refused; failing memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "philox.h"
#include "support/refused.h"
#include "support/rigs/misuse_rig.h"
#include "support/test_device.h"

static moco_device *device;

static int set_up(void **state)
{
    if (misuse_set_up(state) != 0)
        return -1;
    return moco_device_open(&device, misuse.context, test_device()) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    moco_device_free(device);
    return misuse_tear_down(state);
}

static float *noise(int64_t count, uint64_t seed)
{
    float *at = malloc((size_t)count * sizeof *at);
    struct rng r;
    rng_init(&r, seed, 0, 0, 0, RNG_TEST);
    assert_non_null(at);
    for (int64_t i = 0; i < count; i++)
        at[i] = (float)rng_normal(&r);
    return at;
}

static moco_tensor rows_of(float *data, int64_t n, int64_t dim)
{
    return tensor_of(MOCO_F32, data, 2, (int64_t[]){n, dim});
}

static moco_bank *bank_of(float *rows, const int64_t *ids, int64_t n, int dim)
{
    moco_bank *bank;
    misuse_ok(moco_bank_create(&bank, device, dim));
    for (int64_t at = 0, step = 1; at < n; at += step, step = 3 * step + 1) { /* it grows in pieces */
        moco_tensor piece = rows_of(rows + at * dim, at + step < n ? step : n - at, dim);
        misuse_ok(moco_bank_append(bank, &piece, ids != NULL ? ids + at : NULL));
    }
    return bank;
}

static double cosine(const float *a, const float *b, int dim)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < dim; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

struct candidate {
    double cosine;
    int64_t place;
};

static int nearer_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->cosine != y->cosine)
        return x->cosine > y->cosine ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Holds an answer against all cosines in double: cosines to f32's rounding of unit vectors, ids wherever two candidates
 * are further apart than that. */
static void check_answer(const float *rows, int64_t n, int dim, const float *query, int k, const int64_t *ids,
                         const float *cosines)
{
    struct candidate *all = malloc((size_t)n * sizeof *all);
    int settled = 0;
    assert_non_null(all);
    for (int64_t i = 0; i < n; i++)
        all[i] = (struct candidate){cosine(query, rows + i * dim, dim), i};
    qsort(all, (size_t)n, sizeof *all, nearer_first);
    for (int i = 0; i < k; i++) {
        if (i >= n) {
            assert_int_equal(ids[i], -1);
            assert_true(isinf(cosines[i]) && cosines[i] < 0);
            continue;
        }
        assert_true(fabs((double)cosines[i] - all[i].cosine) < 3e-7);
        int clear = (i == 0 || all[i - 1].cosine - all[i].cosine > 1e-6) &&
                    (i + 1 == n || all[i].cosine - all[i + 1].cosine > 1e-6);
        if (clear)
            assert_int_equal(ids[i], 1000 + all[i].place);
        settled += clear;
    }
    assert_true(settled * 2 >= (k < n ? k : (int)n) || dim < 3);
    free(all);
}

static void agrees_with_brute_force(void **state)
{
    (void)state;
    static const struct {
        int dim, k;
        int64_t bank, queries;
    } cases[] = {{3, 1, 1, 1},      {8, 5, 40, 3},    {128, 10, 5000, 1}, {128, 10, 5000, 64}, {13, 300, 200, 2},
                 {17, 20, 4097, 9}, {64, 7, 9000, 7}, {2, 50, 600, 530},  {5, 1000, 3000, 8},  {2048, 3, 70, 5}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int dim = cases[c].dim, k = cases[c].k;
        int64_t n = cases[c].bank, m = cases[c].queries;
        float *rows = noise(n * dim, c), *queries = noise(m * dim, 100 + c);
        int64_t *ids = malloc((size_t)n * sizeof *ids), *found = malloc((size_t)(m * k) * sizeof *found);
        float *cosines = malloc((size_t)(m * k) * sizeof *cosines);
        assert_true(ids != NULL && found != NULL && cosines != NULL);
        for (int64_t i = 0; i < n; i++)
            ids[i] = 1000 + i;
        moco_bank *bank = bank_of(rows, ids, n, dim);
        moco_tensor asked = rows_of(queries, m, dim);
        misuse_ok(moco_knn_search(bank, &asked, k, found, cosines));
        for (int64_t q = 0; q < m; q++)
            check_answer(rows, n, dim, queries + q * dim, k, found + q * k, cosines + q * k);
        moco_bank_free(bank);
        free(rows);
        free(queries);
        free(ids);
        free(found);
        free(cosines);
    }
}

/* Every way through the code answers the same bits: one at a time, in fives, all at once, without cosines. */
static void an_answer_does_not_depend_on_company(void **state)
{
    (void)state;
    enum { N = 6000, M = 40, DIM = 24, K = 9 };
    float *rows = noise(N * DIM, 1), *queries = noise(M * DIM, 2);
    static int64_t all[M * K], some[M * K];
    static float cosines[M * K], again[M * K];
    for (int i = N / 12; i < N; i++) /* each is there twelve times, equally near or but for the last bits */
        for (int d = 0; d < DIM; d++)
            rows[i * DIM + d] = rows[i % (N / 12) * DIM + d] * (1 + (float)((i / (N / 12) + d) % 3) * 1.2e-7f);
    moco_bank *bank = bank_of(rows, NULL, N, DIM);
    moco_tensor asked = rows_of(queries, M, DIM);
    misuse_ok(moco_knn_search(bank, &asked, K, all, cosines));
    for (int at_once = 1; at_once <= 20; at_once += 4) {
        for (int q = 0; q < M; q += at_once) {
            moco_tensor few = rows_of(queries + q * DIM, at_once < M - q ? at_once : M - q, DIM);
            misuse_ok(moco_knn_search(bank, &few, K, some + q * K, again + q * K));
        }
        assert_memory_equal(all, some, sizeof all);
        assert_memory_equal(cosines, again, sizeof cosines);
    }
    misuse_ok(moco_knn_search(bank, &asked, K, some, NULL));
    assert_memory_equal(all, some, sizeof all);
    moco_bank_free(bank);
    free(rows);
    free(queries);
}

static void equally_near_ones_come_in_the_banks_order(void **state)
{
    (void)state;
    enum { N = 3000 };
    static float rows[2 * N], query[20] = {3, 0, 1, 0};
    static int64_t found[10 * N];
    for (int i = 0; i < N; i++)
        rows[2 * i] = 1 + (float)(i % 7); /* one direction, many lengths */
    moco_bank *bank = bank_of(rows, NULL, N, 2);
    for (int m = 1; m <= 10; m += 9) {
        for (int q = 0; q < m; q++)
            query[2 * q] = 3;
        moco_tensor asked = rows_of(query, m, 2);
        misuse_ok(moco_knn_search(bank, &asked, N, found, NULL));
        for (int q = 0; q < m; q++)
            for (int i = 0; i < N; i++)
                assert_int_equal(found[q * N + i], i);
        misuse_ok(moco_knn_search(bank, &asked, 5, found, NULL));
        for (int i = 0; i < 5 * m; i++)
            assert_int_equal(found[i], i % 5);
    }
    moco_bank_free(bank);
}

static void a_saved_bank_answers_the_same_read_or_mapped(void **state)
{
    (void)state;
    enum { N = 700, M = 12, DIM = 30, K = 6, MORE = 50 };
    float *rows = noise((N + MORE) * DIM, 5), *queries = noise(M * DIM, 6);
    static int64_t ids[N + MORE], want[M * K], got[M * K], count;
    static float cosines[M * K], again[M * K];
    char path[300], second[300];
    int dim;
    snprintf(path, sizeof path, "%s", scratch_path(&misuse.folder, "bank"));
    snprintf(second, sizeof second, "%s", scratch_path(&misuse.folder, "second"));
    for (int i = 0; i < N + MORE; i++)
        ids[i] = INT64_C(1) << 40 | i;
    moco_bank *bank = bank_of(rows, ids, N, DIM), *both = bank_of(rows, ids, N + MORE, DIM), *opened;
    moco_tensor asked = rows_of(queries, M, DIM), more = rows_of(rows + N * DIM, MORE, DIM);
    misuse_ok(moco_bank_save(bank, path));
    for (int map = 0; map <= 1; map++) {
        misuse_ok(moco_bank_open(&opened, device, path, map));
        misuse_ok(moco_bank_describe(opened, &count, &dim));
        assert_int_equal(count, N);
        assert_int_equal(dim, DIM);
        misuse_ok(moco_knn_search(bank, &asked, K, want, cosines));
        misuse_ok(moco_knn_search(opened, &asked, K, got, again));
        assert_memory_equal(want, got, sizeof want);
        assert_memory_equal(cosines, again, sizeof cosines);
        misuse_ok(moco_bank_append(opened, &more, ids + N));    /* beside the file */
        misuse_ok(moco_bank_save(opened, map ? path : second)); /* a mapped file gives way to a new one */
        misuse_ok(moco_knn_search(both, &asked, K, want, cosines));
        misuse_ok(moco_knn_search(opened, &asked, K, got, again));
        assert_memory_equal(want, got, sizeof want);
        for (int q = 0; q < M; q++) { /* one at a time goes another way */
            moco_tensor one = rows_of(queries + q * DIM, 1, DIM);
            misuse_ok(moco_knn_search(opened, &one, K, got + q * K, again + q * K));
        }
        assert_memory_equal(want, got, sizeof want);
        assert_memory_equal(cosines, again, sizeof cosines);
        moco_bank_free(opened);
    }
    misuse_ok(moco_bank_open(&opened, device, path, 0));
    misuse_ok(moco_bank_describe(opened, &count, NULL));
    assert_int_equal(count, N + MORE);
    moco_bank_free(opened);
    moco_bank_free(both);
    moco_bank_free(bank);
    free(rows);
    free(queries);
}

static void keys_of_a_queue_are_found(void **state)
{
    (void)state;
    moco_bank *bank;
    moco_queue *queue;
    float keys[3 * 4] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, asked[2 * 4] = {0.9f, 0.1f, 0, 0, 0, 0.2f, 0.9f, 0};
    int64_t ids[5] = {4, 7, 9, -1, -1}, found[2], count;
    moco_tensor pushed = rows_of(keys, 3, 4), queries = rows_of(asked, 2, 4);
    misuse_ok(moco_bank_create(&bank, device, 4));
    misuse_ok(moco_queue_create(&queue, device, 4, 5, 1));
    misuse_ok(moco_queue_push(queue, &pushed));
    misuse_ok(moco_bank_append_queue(bank, queue, ids));
    misuse_ok(moco_bank_describe(bank, &count, NULL));
    assert_int_equal(count, 3);
    misuse_ok(moco_knn_search(bank, &queries, 1, found, NULL));
    assert_int_equal(found[0], 4);
    assert_int_equal(found[1], 9);
    moco_queue_free(queue);
    moco_bank_free(bank);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 30 };

struct seeker {
    moco_bank *bank;
    float *queries;
    int64_t want[8 * 5];
    int right;
};

static void *seek(void *arg)
{
    struct seeker *s = arg;
    int64_t found[8 * 5];
    for (int i = 0; i < ROUNDS; i++) {
        moco_tensor asked = rows_of(s->queries, i % 2 == 0 ? 8 : 3, 16);
        size_t bytes = sizeof(int64_t) * 5 * (i % 2 == 0 ? 8 : 3);
        s->right += moco_knn_search(s->bank, &asked, 5, found, NULL) == MOCO_OK && memcmp(found, s->want, bytes) == 0;
    }
    return NULL;
}

static void threads_search_one_bank_at_once(void **state)
{
    (void)state;
    static struct seeker seekers[THREADS];
    pthread_t threads[THREADS];
    float *rows = noise(2000 * 16, 9);
    moco_bank *bank = bank_of(rows, NULL, 2000, 16);
    for (int t = 0; t < THREADS; t++) {
        seekers[t] = (struct seeker){.bank = bank, .queries = noise(8 * 16, 50 + (uint64_t)t)};
        moco_tensor asked = rows_of(seekers[t].queries, 8, 16);
        misuse_ok(moco_knn_search(bank, &asked, 5, seekers[t].want, NULL));
    }
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, seek, &seekers[t]), 0);
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        assert_int_equal(seekers[t].right, ROUNDS);
        free(seekers[t].queries);
    }
    moco_bank_free(bank);
    free(rows);
}

/* ---- files and memory ---- */

static void write_file(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* A byte changed anywhere, or the end cut off: read, it is told; mapped, whatever is in the header and the size is. */
static void damaged_files(void **state)
{
    (void)state;
    enum { N = 3, DIM = 4 };
    float rows[N * DIM] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    static char bytes[4096], copy[4096];
    char path[300];
    moco_bank *bank = bank_of(rows, NULL, N, DIM), *opened;
    snprintf(path, sizeof path, "%s", scratch_path(&misuse.folder, "damaged"));
    misuse_ok(moco_bank_save(bank, path));
    moco_bank_free(bank);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file), data = N * DIM * sizeof(float) + N * sizeof(int64_t);
    fclose(file);
    assert_true(size > data && size < sizeof bytes);
    for (size_t i = 0; i < size; i += i + data < size ? 5 : 1) {
        memcpy(copy, bytes, size);
        copy[i] ^= 0x24;
        write_file(path, copy, size);
        assert_int_not_equal(moco_bank_open(&opened, device, path, 0), MOCO_OK);
        assert_null(opened);
        if (i + data < size) {
            assert_int_not_equal(moco_bank_open(&opened, device, path, 1), MOCO_OK);
            assert_null(opened);
        }
    }
    for (size_t cut = 1; cut < size; cut += 7) {
        write_file(path, bytes, size - cut);
        for (int map = 0; map <= 1; map++)
            assert_int_equal(moco_bank_open(&opened, device, path, map), MOCO_EFORMAT);
    }
}

static void other_files_are_named(void **state)
{
    (void)state;
    char path[300];
    moco_model *model;
    moco_bank *bank = NULL;
    moco_model_options o;
    float row[4] = {1, 2, 3, 4};
    moco_model_options_init(&o);
    o.arch = "resnet18";
    o.width = 0.0625;
    o.dim = 4;
    o.image_size = 8;
    snprintf(path, sizeof path, "%s", scratch_path(&misuse.folder, "other"));
    misuse_ok(moco_model_create(&model, misuse.device, &o));
    misuse_ok(moco_model_save(model, path));
    REFUSED(EFORMAT, "not a bank of vectors, but an encoder", moco_bank_open(&bank, device, path, 0));
    bank = bank_of(row, NULL, 1, 4);
    misuse_ok(moco_bank_save(bank, path));
    REFUSED(EFORMAT, "a bank of vectors, not an encoder", moco_model_load(model, path));
    moco_bank_free(bank);
    moco_model_free(model);
}

static void failing_memory(void **state)
{
    (void)state;
    float rows[6] = {1, 0, 0, 1, 1, 1};
    int64_t found[9];
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            struct failing_alloc memory = {.fail_at = n, .forever = forever};
            moco_context_options o;
            moco_context *context;
            moco_device *own = NULL;
            moco_bank *bank = NULL, *opened = NULL;
            moco_tensor three = rows_of(rows, 3, 2);
            char path[300];
            snprintf(path, sizeof path, "%s", scratch_path(&misuse.folder, "memory"));
            moco_context_options_init(&o);
            o.threads = 1;
            o.alloc = failing_alloc;
            o.release = failing_release;
            o.user = &memory;
            moco_status status = moco_context_create(&context, &o);
            if (status == MOCO_OK)
                status = moco_device_open(&own, context, "ref");
            if (status == MOCO_OK)
                status = moco_bank_create(&bank, own, 2);
            if (status == MOCO_OK)
                status = moco_bank_append(bank, &three, NULL);
            if (status == MOCO_OK)
                status = moco_knn_search(bank, &three, 3, found, NULL);
            if (status == MOCO_OK)
                status = moco_bank_save(bank, path);
            for (int map = 0; map <= 1 && status == MOCO_OK; map++) {
                status = moco_bank_open(&opened, own, path, map);
                moco_bank_free(opened);
            }
            moco_bank_free(bank);
            moco_device_free(own);
            moco_context_free(context);
            assert_int_equal(memory.live, 0);
            if (memory.refused == 0) {
                assert_int_equal(status, MOCO_OK);
                assert_true(n >= 12);
                break;
            }
            assert_int_equal(status, MOCO_ENOMEM);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_brute_force),
        cmocka_unit_test(an_answer_does_not_depend_on_company),
        cmocka_unit_test(equally_near_ones_come_in_the_banks_order),
        cmocka_unit_test(a_saved_bank_answers_the_same_read_or_mapped),
        cmocka_unit_test(keys_of_a_queue_are_found),
        cmocka_unit_test(threads_search_one_bank_at_once),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(failing_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
