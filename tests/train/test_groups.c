/* SPDX-License-Identifier: MIT
 *
 * test_groups: what must not depend on how a batch is cut into launches, and what shuffle, interleave, symmetric loss
 * and a queue of any length mean, each against the same thing said another way. In double on "ref", where the two sides
 * differ by the order of sums alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/train_rig.h"
#include "support/test_device.h"
#include "tolerances.h"

static struct rig_spec ref_spec(void)
{
    struct rig_spec spec = rig_spec();
    spec.device = "ref";
    return spec;
}

static void expect_close(struct rig *a, struct rig *b, const char *name, double tolerance)
{
    double error = rig_difference(a, b, name);
    if (!(error <= tolerance))
        fail_msg("%s differs by %g; at most %g was expected", name, error, tolerance);
}

static void expect_state_close(struct rig *a, struct rig *b, double tolerance)
{
    const char *name;
    for (int i = 0; (name = moco_trainer_tensor_name(a->trainer, i)) != NULL; i++)
        expect_close(a, b, name, tolerance);
}

static moco_step_report report_of(struct rig *rig)
{
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig->trainer, &report));
    return report;
}

static size_t image_bytes(const struct rig *rig)
{
    return (size_t)rig->batch.h * (size_t)rig->batch.w * 3;
}

/* view[p] <- view[from[p]] */
static void reorder(struct rig *rig, int view, const int *from)
{
    size_t bytes = image_bytes(rig);
    uint8_t *copy = malloc(bytes * (size_t)rig->batch.n);
    assert_non_null(copy);
    memcpy(copy, rig->view[view], bytes * (size_t)rig->batch.n);
    for (int p = 0; p < rig->batch.n; p++)
        memcpy(rig->view[view] + (size_t)p * bytes, copy + (size_t)from[p] * bytes, bytes);
    free(copy);
}

static void launches_do_not_matter(void **state)
{
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct rig_spec spec = ref_spec();
        struct rig one, two, four;
        spec.trainer.symmetric = symmetric;
        spec.trainer.groups_per_launch = 1;
        rig_open(&one, &spec);
        spec.trainer.groups_per_launch = 2;
        rig_open(&two, &spec);
        spec.trainer.groups_per_launch = 0; /* 16 images of 16 x 16 are far below a launch's pixels: all four */
        rig_open(&four, &spec);
        for (int i = 0; i < 3; i++) {
            rig_run(&one, i, i + 1);
            rig_run(&two, i, i + 1);
            rig_run(&four, i, i + 1);
            assert_true(fabs(report_of(&one).loss - report_of(&four).loss) < TOL_SUM_ORDER);
        }
        expect_state_close(&two, &one, TOL_SUM_ORDER);
        expect_state_close(&four, &one, TOL_SUM_ORDER);
        rig_close(&one);
        rig_close(&two);
        rig_close(&four);
    }
}

/* The same on the device under test, one step. */
static void launches_do_not_matter_on_the_device(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    struct rig one, four;
    rig_open(&one, &spec);
    spec.trainer.groups_per_launch = 4;
    rig_open(&four, &spec);
    rig_run(&one, 0, 1);
    rig_run(&four, 0, 1);
    expect_state_close(&four, &one, TOL_SUM_ORDER_F32);
    rig_close(&one);
    rig_close(&four);
}

/* An interleaved batch is a contiguous one whose images stand in another order. */
static void interleaving_is_an_order_of_the_batch(void **state)
{
    (void)state;
    struct rig_spec spec = ref_spec();
    struct rig contiguous, interleaved;
    spec.trainer.shuffle = 0;
    rig_open(&contiguous, &spec);
    spec.trainer.interleave = 1;
    rig_open(&interleaved, &spec);
    int from[16];
    for (int p = 0; p < 16; p++) /* group p / 4 of the contiguous batch: the samples n with n mod 4 == p / 4 */
        from[p] = p % 4 * 4 + p / 4;
    for (int i = 0; i < 2; i++) {
        rig_run(&interleaved, i, i + 1);
        rig_draw(&contiguous, i);
        reorder(&contiguous, 0, from);
        reorder(&contiguous, 1, from);
        rig_ok(moco_trainer_step(contiguous.trainer, &contiguous.batch, 0.05));
        assert_true(fabs(report_of(&interleaved).loss - report_of(&contiguous).loss) < TOL_SUM_ORDER);
        expect_close(&interleaved, &contiguous, "grad.encoder_q.layer2.0.conv1.weight", TOL_SUM_ORDER);
        expect_close(&interleaved, &contiguous, "encoder_k.bn1.running_var", TOL_SUM_ORDER);
    }
    /* Keys are enqueued in the order of the batch, whatever the groups. */
    size_t count;
    double *a = rig_get(&interleaved, "queue", &count), *b = rig_get(&contiguous, "queue", &count);
    for (int c = 0; c < 16; c++)
        for (int p = 0; p < 16; p++)
            assert_true(fabs(b[c * 40 + p] - a[c * 40 + from[p]]) < TOL_SUM_ORDER);
    free(a);
    free(b);
    rig_close(&contiguous);
    rig_close(&interleaved);
}

/* ShuffleBN is a batch whose key views were permuted beforehand, and keys put back to their samples. */
static void shuffling_permutes_the_key_groups(void **state)
{
    (void)state;
    struct rig_spec spec = ref_spec();
    struct rig shuffled, plain, off;
    rig_open(&shuffled, &spec);
    spec.trainer.shuffle = 0;
    rig_open(&plain, &spec);
    rig_open(&off, &spec);
    rig_run(&shuffled, 0, 1);
    rig_run(&off, 0, 1);
    int32_t permutation[16];
    rig_ok(moco_shuffle_permutation(spec.trainer.seed, 0, 0, 16, permutation));
    int from[16];
    for (int p = 0; p < 16; p++)
        from[p] = permutation[p];
    rig_draw(&plain, 0);
    reorder(&plain, 1, from);
    rig_ok(moco_trainer_step(plain.trainer, &plain.batch, 0.05));
    size_t count;
    double *a = rig_get(&shuffled, "queue", &count), *b = rig_get(&plain, "queue", &count);
    for (int c = 0; c < 16; c++)
        for (int p = 0; p < 16; p++)
            assert_true(fabs(b[c * 40 + p] - a[c * 40 + from[p]]) < TOL_SUM_ORDER);
    free(a);
    free(b);
    expect_close(&shuffled, &plain, "encoder_k.layer1.0.bn1.running_var", TOL_SUM_ORDER);
    assert_true(rig_difference(&shuffled, &off, "queue") > 1e-3);                    /* and it does make a difference */
    assert_true(rig_difference(&shuffled, &off, "encoder_q.bn1.running_mean") == 0); /* to keys alone */
    rig_close(&shuffled);
    rig_close(&plain);
    rig_close(&off);
}

/* Loss, gradient and queue of a symmetric step are those of two plain ones, views as given and exchanged. */
static void a_symmetric_step_is_both_directions(void **state)
{
    (void)state;
    struct rig_spec spec = ref_spec();
    struct rig plain, swapped, both;
    spec.trainer.shuffle = 0;
    rig_open(&plain, &spec);
    rig_open(&swapped, &spec);
    spec.trainer.symmetric = 1;
    rig_open(&both, &spec);
    rig_run(&plain, 0, 1);
    rig_run(&both, 0, 1);
    rig_draw(&swapped, 0);
    swapped.batch.view[0] = swapped.view[1];
    swapped.batch.view[1] = swapped.view[0];
    rig_ok(moco_trainer_step(swapped.trainer, &swapped.batch, 0.05));
    moco_step_report p = report_of(&plain), s = report_of(&swapped), b = report_of(&both);
    assert_true(fabs(b.loss - p.loss - s.loss) < TOL_SUM_ORDER);
    assert_true(fabs(b.chance_loss - 2 * log(41)) < 1e-12);
    assert_true(fabs(p.chance_loss - log(41)) < 1e-12);
    assert_true(fabs(b.acc1 - (p.acc1 + s.acc1) / 2) < 1e-9);
    assert_true(fabs(b.pos_cosine - (p.pos_cosine + s.pos_cosine) / 2) < TOL_SUM_ORDER);
    assert_true(fabs(b.queue_fill - 32.0 / 40) < 1e-12);
    size_t count;
    const char *const names[] = {"grad.encoder_q.conv1.weight", "grad.encoder_q.layer3.0.bn2.weight",
                                 "grad.encoder_q.fc.2.bias"};
    for (size_t i = 0; i < 3; i++) {
        double *x = rig_get(&plain, names[i], &count), *y = rig_get(&swapped, names[i], &count),
               *z = rig_get(&both, names[i], &count), off = 0, size = 0;
        for (size_t j = 0; j < count; j++) {
            off += (z[j] - x[j] - y[j]) * (z[j] - x[j] - y[j]);
            size += z[j] * z[j];
        }
        assert_true(sqrt(off / size) < TOL_SUM_ORDER);
        free(x);
        free(y);
        free(z);
    }
    /* Keys of view 1 first: they are the exchanged step's. Then keys of view 2. */
    double *x = rig_get(&plain, "queue", &count), *y = rig_get(&swapped, "queue", &count),
           *z = rig_get(&both, "queue", &count);
    for (int c = 0; c < 16; c++)
        for (int n = 0; n < 16; n++) {
            assert_true(fabs(z[c * 40 + n] - y[c * 40 + n]) < TOL_SUM_ORDER);
            assert_true(fabs(z[c * 40 + 16 + n] - x[c * 40 + n]) < TOL_SUM_ORDER);
        }
    free(x);
    free(y);
    free(z);
    /* Statistics moved twice, first by the first direction. */
    double *first = rig_get(&plain, "encoder_q.bn1.running_mean", &count),
           *second = rig_get(&swapped, "encoder_q.bn1.running_mean", &count),
           *moved = rig_get(&both, "encoder_q.bn1.running_mean", &count),
           *tracked = rig_get(&both, "encoder_k.bn1.num_batches_tracked", &(size_t){0});
    for (size_t c = 0; c < count; c++) /* each single step: 0.1 x the batch's mean, from 0 */
        assert_true(fabs(moved[c] - (0.9 * first[c] + second[c])) < TOL_SUM_ORDER);
    assert_true(tracked[0] == 2);
    free(first);
    free(second);
    free(moved);
    free(tracked);
    rig_close(&plain);
    rig_close(&swapped);
    rig_close(&both);
}

static void a_queue_of_any_length_wraps(void **state)
{
    (void)state;
    const struct {
        int64_t length;
        int symmetric;
    } cases[] = {{40, 0}, {23, 0}, {16, 0}, {10, 0}, {1, 0}, {23, 1}, {10, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig_spec spec = rig_spec();
        struct rig rig;
        int64_t pushed = 0, keys = cases[i].symmetric ? 32 : 16, length = cases[i].length;
        spec.queue_length = length;
        spec.trainer.symmetric = cases[i].symmetric;
        rig_open(&rig, &spec);
        for (int s = 0; s < 4; s++) {
            rig_run(&rig, s, s + 1);
            pushed += keys;
            int64_t next, filled;
            rig_ok(moco_queue_state(rig.queue, NULL, &next, &filled));
            assert_int_equal(next, pushed % length);
            assert_int_equal(filled, pushed < length ? pushed : length);
            assert_true(fabs(report_of(&rig).queue_fill - (double)filled / (double)length) < 1e-12);
        }
        rig_close(&rig);
    }
}

/* The order of a step: positives and negatives of step 0 come from a key encoder equal to the query encoder, and the
 * queue has not yet seen the batch. */
static void the_key_encoder_follows(void **state)
{
    (void)state;
    struct rig_spec spec = ref_spec();
    struct rig rig;
    rig_open(&rig, &spec);
    size_t count;
    const char *q = "encoder_q.layer1.0.conv1.weight", *k = "encoder_k.layer1.0.conv1.weight";
    double *q0 = rig_get(&rig, q, &count);
    rig_run(&rig, 0, 1);
    double *k1 = rig_get(&rig, k, &count), *q1 = rig_get(&rig, q, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(fabs(k1[i] - q0[i]) <= 1e-15 * fabs(q0[i])); /* the average was taken before SGD moved the query */
    rig_run(&rig, 1, 2);
    double *k2 = rig_get(&rig, k, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(fabs(k2[i] - (0.9 * k1[i] + 0.1 * q1[i])) < 1e-15);
    free(q0);
    free(k1);
    free(q1);
    free(k2);
    rig_close(&rig);
}

static void estimates_are_what_is_taken(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    struct rig rig;
    rig_open(&rig, &spec);
    int64_t calls_before, live_before, live_after;
    int64_t own = test_device_own_bytes(test_device());
    rig_ok(moco_context_memory(rig.context, &live_before, NULL, &calls_before));
    moco_memory_estimate e;
    moco_memory_estimate_init(&e);
    rig_ok(moco_trainer_estimate(rig.device, &spec.model, spec.queue_length, &rig.spec.trainer, &e));
    rig_ok(moco_context_memory(rig.context, &live_after, NULL, NULL));
    assert_int_equal(live_before, live_after);
    assert_int_equal(test_device_own_bytes(test_device()), own);
    assert_int_equal(e.launches, 4);
    moco_model_info info;
    moco_model_info_init(&info);
    rig_ok(moco_model_describe(rig.model, &info));
    assert_int_equal(e.parameters, info.parameters);
    assert_true(e.total_bytes >=
                e.weights_bytes + e.reader_bytes + e.gradient_bytes + e.momentum_bytes + e.queue_bytes + e.slab_bytes);
    /* What the trainer, model and queue hold beside it are plans and names. */
    assert_true(live_after + own >= e.total_bytes);
    assert_true(e.step_flops > 0);
    /* 3x3 convolutions at full width and 224 px: ResNet-50's 4.1 GMAC forward, four forwards' worth less the first's.
     */
    moco_model_options model;
    moco_trainer_options trainer;
    moco_model_options_init(&model);
    moco_trainer_options_init(&trainer);
    trainer.batch_size = 8;
    trainer.bn_group_size = 8;
    trainer.precision = rig.spec.trainer.precision;
    rig_ok(moco_trainer_estimate(rig.device, &model, 65536, &trainer, &e));
    assert_true(e.step_flops > 8 * 3.9 * 8.1e9 && e.step_flops < 8 * 4 * 8.4e9);
    assert_int_equal(e.parameters, 23508032 + 2048 * 2048 + 2048 + 128 * 2048 + 128);
    rig_expect(moco_trainer_estimate(rig.device, &model, 0, &trainer, &e), MOCO_EINVAL);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launches_do_not_matter),
        cmocka_unit_test(launches_do_not_matter_on_the_device),
        cmocka_unit_test(interleaving_is_an_order_of_the_batch),
        cmocka_unit_test(shuffling_permutes_the_key_groups),
        cmocka_unit_test(a_symmetric_step_is_both_directions),
        cmocka_unit_test(a_queue_of_any_length_wraps),
        cmocka_unit_test(the_key_encoder_follows),
        cmocka_unit_test(estimates_are_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
