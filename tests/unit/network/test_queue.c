/* SPDX-License-Identifier: MIT
 *
 * test_queue: the ring of keys through the public calls against the plainest model of one, in which keys are pushed one
 * at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "philox.h"
#include "support/rigs/train_rig.h"
#include "support/test_device.h"

#define DIM 5
#define LENGTH_MAX 40

static moco_context *context;
static moco_device *device;

static int open_device(void **state)
{
    (void)state;
    rig_ok(moco_context_create(&context, NULL));
    rig_ok(moco_device_open(&device, context, test_device()));
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}

static moco_tensor matrix(void *data, int dtype, int64_t rows, int64_t columns)
{
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    tensor.dtype = dtype;
    tensor.ndim = 2;
    tensor.shape[0] = rows;
    tensor.shape[1] = columns;
    tensor.data = data;
    return tensor;
}

static void get_keys(moco_queue *queue, int64_t length, double *keys)
{
    moco_tensor tensor = matrix(keys, MOCO_F64, DIM, length);
    rig_ok(moco_queue_get(queue, &tensor));
}

static void initial_rows_are_unit_vectors_of_the_seed(void **state)
{
    (void)state;
    enum { LENGTH = 300 };
    static double a[DIM * LENGTH], b[DIM * LENGTH], other[DIM * LENGTH];
    double *const out[] = {a, b, other};
    const uint64_t seeds[] = {9, 9, 10};
    for (int i = 0; i < 3; i++) {
        moco_queue *queue;
        rig_ok(moco_queue_create(&queue, device, DIM, LENGTH, seeds[i]));
        get_keys(queue, LENGTH, out[i]);
        int64_t length, next, filled;
        rig_ok(moco_queue_state(queue, &length, &next, &filled));
        assert_int_equal(length, LENGTH);
        assert_int_equal(next, 0);
        assert_int_equal(filled, 0);
        moco_queue_free(queue);
    }
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, other, sizeof a);
    double mean = 0;
    for (int row = 0; row < LENGTH; row++) {
        double squares = 0, expected[DIM], norm = 0;
        struct rng rng;
        rng_init(&rng, 9, 0, (uint64_t)row, 0, RNG_QUEUE);
        for (int c = 0; c < DIM; c++) {
            expected[c] = rng_normal(&rng);
            norm += expected[c] * expected[c];
        }
        for (int c = 0; c < DIM; c++) {
            assert_true(fabs(a[c * LENGTH + row] - expected[c] / sqrt(norm)) < 1e-7);
            squares += a[c * LENGTH + row] * a[c * LENGTH + row];
            mean += a[c * LENGTH + row] / (DIM * LENGTH);
        }
        assert_true(fabs(squares - 1) < 1e-6);
    }
    assert_true(fabs(mean) < 0.05); /* sd of a mean of 1500 numbers of variance 1/5: 0.012 */
}

struct model {
    double rows[LENGTH_MAX][DIM];
    int64_t length, next, filled;
};

static void model_push(struct model *m, const double *key)
{
    memcpy(m->rows[m->next], key, sizeof m->rows[0]);
    m->next = (m->next + 1) % m->length;
    m->filled += m->filled < m->length;
}

static void expect_model(moco_queue *queue, const struct model *m)
{
    double keys[DIM * LENGTH_MAX];
    int64_t length, next, filled;
    get_keys(queue, m->length, keys);
    rig_ok(moco_queue_state(queue, &length, &next, &filled));
    assert_int_equal(next, m->next);
    assert_int_equal(filled, m->filled);
    for (int64_t row = 0; row < m->length; row++)
        for (int c = 0; c < DIM; c++)
            assert_true(keys[c * m->length + row] == m->rows[row][c]);
}

/* Pushes of 1 to 2.5 x length keys, so that every way of wrapping comes up. */
static void pushes(int64_t length, int dtype)
{
    moco_queue *queue;
    struct model m = {.length = length};
    struct rng rng;
    double keys[DIM * LENGTH_MAX], batch[DIM * LENGTH_MAX * 3];
    float batch32[DIM * LENGTH_MAX * 3];
    rig_ok(moco_queue_create(&queue, device, DIM, length, 1));
    get_keys(queue, length, keys);
    for (int64_t row = 0; row < length; row++)
        for (int c = 0; c < DIM; c++)
            m.rows[row][c] = keys[c * length + row];
    rng_init(&rng, 4, (uint64_t)length, 0, 0, RNG_TEST);
    for (int round = 0; round < 60; round++) {
        int64_t n = 1 + (int64_t)rng_below(&rng, (uint64_t)(length * 5 / 2));
        for (int64_t i = 0; i < n * DIM; i++)
            batch[i] = batch32[i] = (float)rng_normal(&rng); /* exact in both types */
        moco_tensor tensor = matrix(dtype == MOCO_F64 ? (void *)batch : (void *)batch32, dtype, n, DIM);
        rig_ok(moco_queue_push(queue, &tensor));
        for (int64_t i = 0; i < n; i++)
            model_push(&m, batch + i * DIM);
        expect_model(queue, &m);
    }
    moco_queue_free(queue);
}

static void pushes_wrap_exactly(void **state)
{
    (void)state;
    const int64_t lengths[] = {1, 2, 7, 32, LENGTH_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        pushes(lengths[i], MOCO_F64);
        pushes(lengths[i], MOCO_F32);
    }
}

static void arguments_are_checked(void **state)
{
    (void)state;
    moco_queue *queue = (moco_queue *)&context;
    rig_expect(moco_queue_create(NULL, device, DIM, 8, 1), MOCO_EINVAL);
    rig_expect(moco_queue_create(&queue, NULL, DIM, 8, 1), MOCO_EINVAL);
    assert_null(queue);
    rig_expect(moco_queue_create(&queue, device, 0, 8, 1), MOCO_EINVAL);
    rig_expect(moco_queue_create(&queue, device, DIM, 0, 1), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "length is 0"));
    rig_expect(moco_queue_create(&queue, device, DIM, INT64_MAX, 1), MOCO_EINVAL);
    rig_ok(moco_queue_create(&queue, device, DIM, 8, 1));
    double keys[DIM * 8] = {0};
    moco_tensor tensor = matrix(keys, MOCO_F64, 2, DIM + 1);
    rig_expect(moco_queue_push(queue, &tensor), MOCO_ESHAPE);
    assert_non_null(strstr(moco_error(), "[2,6]"));
    tensor = matrix(keys, MOCO_I64, 2, DIM);
    rig_expect(moco_queue_push(queue, &tensor), MOCO_ESHAPE);
    tensor = matrix(NULL, MOCO_F64, 2, DIM);
    rig_expect(moco_queue_push(queue, &tensor), MOCO_EINVAL);
    tensor = matrix(keys, MOCO_F64, 8, DIM); /* the transpose of what get wants */
    rig_expect(moco_queue_get(queue, &tensor), MOCO_ESHAPE);
    tensor = matrix(NULL, 0, 0, 0);
    rig_ok(moco_queue_get(queue, &tensor)); /* a probe */
    assert_int_equal(tensor.ndim, 2);
    assert_int_equal(tensor.shape[0], DIM);
    assert_int_equal(tensor.shape[1], 8);
    rig_expect(moco_queue_state(NULL, NULL, NULL, NULL), MOCO_EINVAL);
    rig_ok(moco_queue_state(queue, NULL, NULL, NULL));
    moco_queue_free(queue);
    moco_queue_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initial_rows_are_unit_vectors_of_the_seed),
        cmocka_unit_test(pushes_wrap_exactly),
        cmocka_unit_test(arguments_are_checked),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
