/* SPDX-License-Identifier: MIT
 *
 * test_misuse_eval: what eval.h and probe.h must refuse: NULL for each pointer, sizes and values out of range, labels
 * that are none, one class, files that are something else. The status is the documented one, the sentence says what is
 * needed, and no memory stays behind. The handles themselves are test_misuse_handles's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "moco/moco.h"
#include "support/refused.h"
#include "support/rigs/misuse_rig.h"

enum { DIM = 4, CLASSES = 3 };

static float vectors[2 * DIM] = {1, 2, 3, 4, 4, 3, 2, 1};
static int32_t labels[2] = {0, 2};

/* ---- kNN ---- */

static void neighbours(void **state)
{
    (void)state;
    moco_knn *knn = NULL;
    double accuracy;
    int32_t negative[2] = {0, -1};
    const moco_tensor good = TENSOR(MOCO_F32, vectors, 2, DIM);
    const moco_tensor bad[] = {TENSOR(MOCO_F64, vectors, 1, DIM), TENSOR(MOCO_F32, vectors, 2, DIM - 1),
                               TENSOR(MOCO_F32, vectors, DIM), TENSOR(MOCO_F32, vectors, 0, DIM),
                               TENSOR(MOCO_F32, vectors, INT64_MAX, DIM)};
    REFUSED(EINVAL, "knn is NULL", moco_knn_create(NULL, misuse.device, DIM, 1, 0.1));
    REFUSED(EINVAL, "dim", moco_knn_create(&knn, misuse.device, 0, 1, 0.1));
    REFUSED(EINVAL, "dim", moco_knn_create(&knn, misuse.device, -1, 1, 0.1));
    REFUSED(EINVAL, "dim", moco_knn_create(&knn, misuse.device, INT_MAX, 1, 0.1));
    REFUSED(EINVAL, "k is", moco_knn_create(&knn, misuse.device, DIM, 0, 0.1));
    REFUSED(EINVAL, "k is", moco_knn_create(&knn, misuse.device, DIM, INT_MIN, 0.1));
    REFUSED(EINVAL, "k is", moco_knn_create(&knn, misuse.device, DIM, INT_MAX, 0.1));
    REFUSED(EINVAL, "temperature", moco_knn_create(&knn, misuse.device, DIM, 1, 0));
    REFUSED(EINVAL, "temperature", moco_knn_create(&knn, misuse.device, DIM, 1, NAN));
    REFUSED(EINVAL, "temperature", moco_knn_create(&knn, misuse.device, DIM, 1, INFINITY));
    assert_null(knn);
    misuse_ok(moco_knn_create(&knn, misuse.device, DIM, 1, 0.1));
    REFUSED(ESTATE, "empty", moco_knn_classify(knn, &good, labels));
    REFUSED(ESTATE, "empty", moco_knn_accuracy(knn, &good, labels, &accuracy));
    REFUSED(EINVAL, "features is NULL", moco_knn_add(knn, NULL, labels));
    REFUSED(EINVAL, "labels is NULL", moco_knn_add(knn, &good, NULL));
    REFUSED(EINVAL, "labels[1]", moco_knn_add(knn, &good, negative));
    REFUSED(ESTATE, "empty", moco_knn_classify(knn, &good, labels)); /* nothing was added */
    misuse_ok(moco_knn_add(knn, &good, labels));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(ESHAPE, "features", moco_knn_add(knn, &bad[i], labels));
        REFUSED(ESHAPE, "features", moco_knn_classify(knn, &bad[i], labels));
        REFUSED(ESHAPE, "features", moco_knn_accuracy(knn, &bad[i], labels, &accuracy));
    }
    REFUSED(EINVAL, "features is NULL", moco_knn_classify(knn, NULL, labels));
    REFUSED(EINVAL, "labels is NULL", moco_knn_classify(knn, &good, NULL));
    REFUSED(EINVAL, "features is NULL", moco_knn_accuracy(knn, NULL, labels, &accuracy));
    REFUSED(EINVAL, "labels is NULL", moco_knn_accuracy(knn, &good, NULL, &accuracy));
    REFUSED(EINVAL, "accuracy is NULL", moco_knn_accuracy(knn, &good, labels, NULL));
    misuse_ok(moco_knn_accuracy(knn, &good, labels, &accuracy));
    moco_knn_free(knn);
    moco_knn_free(NULL);
}

/* Fewer vectors than k, and vectors of one class: both have an answer, and the first is said once. */
static void small_banks(void **state)
{
    (void)state;
    moco_knn *knn;
    int32_t one[2] = {7, 7}, got[2];
    const moco_tensor good = TENSOR(MOCO_F32, vectors, 2, DIM);
    misuse_ok(moco_knn_create(&knn, misuse.device, DIM, 200, 0.1));
    misuse_ok(moco_knn_add(knn, &good, one));
    misuse.log_line[0] = 0;
    misuse_ok(moco_knn_classify(knn, &good, got));
    assert_non_null(strstr(misuse.log_line, "2 vectors, fewer than k = 200: all of them vote"));
    misuse.log_line[0] = 0;
    misuse_ok(moco_knn_classify(knn, &good, got));
    assert_string_equal(misuse.log_line, "");
    assert_int_equal(got[0], 7);
    assert_int_equal(got[1], 7);
    moco_knn_free(knn);
}

/* A queue as the bank: its keys are found again under their labels, and rows of label -1 are not there. */
static void queue_as_bank(void **state)
{
    (void)state;
    moco_knn *knn;
    moco_queue *queue, *other;
    float keys[3 * DIM] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, asked[2 * DIM] = {0.9f, 0.1f, 0, 0, 0, 0.2f, 0.9f, 0};
    int32_t of_rows[5] = {4, 7, 9, -1, -1}, none[5] = {-1, -1, -1, -1, -1}, got[2];
    const moco_tensor pushed = TENSOR(MOCO_F32, keys, 3, DIM), queries = TENSOR(MOCO_F32, asked, 2, DIM);
    misuse_ok(moco_knn_create(&knn, misuse.device, DIM, 1, 0.1));
    misuse_ok(moco_queue_create(&queue, misuse.device, DIM, 5, 1));
    misuse_ok(moco_queue_create(&other, misuse.device, DIM + 1, 5, 1));
    misuse_ok(moco_queue_push(queue, &pushed));
    REFUSED(EINVAL, "labels is NULL", moco_knn_add_queue(knn, queue, NULL));
    REFUSED(ESHAPE, "keys have 5 numbers", moco_knn_add_queue(knn, other, of_rows));
    misuse_ok(moco_knn_add_queue(knn, queue, none));
    REFUSED(ESTATE, "empty", moco_knn_classify(knn, &queries, got));
    misuse_ok(moco_knn_add_queue(knn, queue, of_rows));
    misuse_ok(moco_knn_classify(knn, &queries, got));
    assert_int_equal(got[0], 4);
    assert_int_equal(got[1], 9);
    moco_queue_free(other);
    moco_queue_free(queue);
    moco_knn_free(knn);
}

/* ---- search ---- */

static void banks(void **state)
{
    (void)state;
    moco_bank *bank = NULL;
    moco_queue *queue;
    float rows[2 * DIM] = {1, 2, 3, 4, 4, 3, NAN, 1};
    int64_t ids[2] = {0, -3}, found[2], count;
    const moco_tensor good = TENSOR(MOCO_F32, rows, 1, DIM), broken = TENSOR(MOCO_F32, rows, 2, DIM);
    const moco_tensor bad[] = {TENSOR(MOCO_F64, rows, 1, DIM), TENSOR(MOCO_F32, rows, 2, DIM - 1),
                               TENSOR(MOCO_F32, rows, DIM), TENSOR(MOCO_F32, rows, 0, DIM),
                               TENSOR(MOCO_F32, rows, INT64_MAX, DIM)};
    REFUSED(EINVAL, "bank is NULL", moco_bank_create(NULL, misuse.device, DIM));
    REFUSED(EINVAL, "dim is 0", moco_bank_create(&bank, misuse.device, 0));
    REFUSED(EINVAL, "dim is", moco_bank_create(&bank, misuse.device, INT_MAX));
    REFUSED(EINVAL, "path is NULL", moco_bank_open(&bank, misuse.device, NULL, 0));
    REFUSED(EINVAL, "map is 2", moco_bank_open(&bank, misuse.device, "x", 2));
    REFUSED(EIO, "there-is-none", moco_bank_open(&bank, misuse.device, "/there-is-none", 1));
    assert_null(bank);
    misuse_ok(moco_bank_create(&bank, misuse.device, DIM));
    misuse_ok(moco_queue_create(&queue, misuse.device, DIM + 1, 5, 1));
    REFUSED(ESTATE, "empty", moco_knn_search(bank, &good, 1, found, NULL));
    REFUSED(ESTATE, "empty", moco_bank_save(bank, scratch_path(&misuse.folder, "none")));
    REFUSED(EINVAL, "path is NULL", moco_bank_save(bank, NULL));
    REFUSED(EINVAL, "vectors is NULL", moco_bank_append(bank, NULL, NULL));
    REFUSED(EINVAL, "ids[1] is -3", moco_bank_append(bank, &broken, ids));
    REFUSED(ENUMERIC, "row 1", moco_bank_append(bank, &broken, NULL));
    REFUSED(EINVAL, "ids is NULL", moco_bank_append_queue(bank, queue, NULL));
    REFUSED(ESHAPE, "keys have 5 numbers", moco_bank_append_queue(bank, queue, ids));
    misuse_ok(moco_bank_describe(bank, &count, NULL));
    assert_int_equal(count, 0); /* nothing stayed of what was refused */
    misuse_ok(moco_bank_append(bank, &good, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(ESHAPE, "vectors", moco_bank_append(bank, &bad[i], NULL));
        REFUSED(ESHAPE, "queries", moco_knn_search(bank, &bad[i], 1, found, NULL));
    }
    REFUSED(EINVAL, "queries is NULL", moco_knn_search(bank, NULL, 1, found, NULL));
    REFUSED(EINVAL, "ids is NULL", moco_knn_search(bank, &good, 1, NULL, NULL));
    REFUSED(EINVAL, "k is 0", moco_knn_search(bank, &good, 0, found, NULL));
    REFUSED(EINVAL, "k is", moco_knn_search(bank, &good, INT_MIN, found, NULL));
    REFUSED(EINVAL, "k is", moco_knn_search(bank, &good, (1 << 20) + 1, found, NULL));
    REFUSED(ENUMERIC, "row 1", moco_knn_search(bank, &broken, 1, found, NULL));
    moco_queue_free(queue);
    moco_bank_free(bank);
    moco_bank_free(NULL);
}

/* ---- statistics ---- */

static void statistics(void **state)
{
    (void)state;
    moco_feature_stats stats;
    float broken[2 * DIM] = {1, 2, 3, NAN, 1, 1, 1, 1};
    moco_feature_stats_init(&stats);
    const moco_tensor good = TENSOR(MOCO_F32, vectors, 2, DIM), one = TENSOR(MOCO_F32, vectors, 1, DIM);
    const moco_tensor nan = TENSOR(MOCO_F32, broken, 2, DIM);
    const moco_tensor bad[] = {TENSOR(MOCO_F64, vectors, 1, DIM), TENSOR(MOCO_F32, vectors, DIM),
                               TENSOR(MOCO_F32, vectors, 0, DIM), TENSOR(MOCO_F32, vectors, INT64_MAX, DIM)};
    const moco_tensor wide = TENSOR(MOCO_F32, vectors, 2, INT64_C(1) << 40), many = TENSOR(MOCO_F32, vectors, 2, 8193);
    REFUSED(EINVAL, "features is NULL", moco_feature_stats_compute(misuse.device, NULL, NULL, &stats, NULL));
    REFUSED(EINVAL, "stats is NULL", moco_feature_stats_compute(misuse.device, &good, NULL, NULL, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(ESHAPE, "features", moco_feature_stats_compute(misuse.device, &bad[i], NULL, &stats, NULL));
        REFUSED(ESHAPE, "pairs", moco_feature_stats_compute(misuse.device, &good, &bad[i], &stats, NULL));
    }
    REFUSED(ESHAPE, "pairs has shape [1,4]", moco_feature_stats_compute(misuse.device, &good, &one, &stats, NULL));
    REFUSED(EINVAL, "one row", moco_feature_stats_compute(misuse.device, &one, NULL, &stats, NULL));
    REFUSED(EINVAL, "dimensions", moco_feature_stats_compute(misuse.device, &wide, NULL, &stats, NULL));
    REFUSED(EINVAL, "8193 dimensions", moco_feature_stats_compute(misuse.device, &many, NULL, &stats, NULL));
    REFUSED(ENUMERIC, "row 0", moco_feature_stats_compute(misuse.device, &nan, NULL, &stats, NULL));
    REFUSED(ENUMERIC, "pairs", moco_feature_stats_compute(misuse.device, &good, &nan, &stats, NULL));
    stats.struct_size = 0;
    REFUSED(EINVAL, "init macro", moco_feature_stats_compute(misuse.device, &good, NULL, &stats, NULL));
    moco_feature_stats_init(&stats);
    misuse_ok(moco_feature_stats_compute(misuse.device, &good, &good, &stats, NULL));
}

/* ---- probes ---- */

static moco_probe_options options_of(void)
{
    moco_probe_options o;
    moco_probe_options_init(&o);
    o.dim = DIM;
    o.classes = CLASSES;
    return o;
}

static void probe_options(void **state)
{
    (void)state;
    moco_probe *probe = NULL;
    moco_probe_options o = options_of();
    static const struct bad_field bad[] = {
        BAD_I(moco_probe_options, dim, 0),
        BAD_I(moco_probe_options, dim, -1),
        BAD_I(moco_probe_options, dim, INT32_MAX),
        BAD_I(moco_probe_options, classes, 0),
        BAD_I(moco_probe_options, classes, -5),
        BAD_I(moco_probe_options, classes, INT32_MAX),
        BAD_WORD(moco_probe_options, classes, BAD_INT32, 1, 0, "nothing to tell apart"),
        BAD_I(moco_probe_options, rates, -1),
        BAD_I(moco_probe_options, rates, 17),
        BAD_D(moco_probe_options, lr[0], -0.1),
        BAD_D(moco_probe_options, lr[0], NAN),
        BAD_D(moco_probe_options, lr[0], INFINITY),
        BAD_D(moco_probe_options, momentum, -0.1),
        BAD_D(moco_probe_options, momentum, 1),
        BAD_D(moco_probe_options, momentum, NAN),
        BAD_D(moco_probe_options, weight_decay, -1),
        BAD_D(moco_probe_options, weight_decay, NAN),
        BAD_D(moco_probe_options, weight_decay, INFINITY),
    };
    REFUSED(EINVAL, "probe is NULL", moco_probe_create(NULL, misuse.device, &o));
    REFUSED(EINVAL, "options is NULL", moco_probe_create(&probe, misuse.device, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o = options_of();
        bad_field_set(&o, &bad[i]);
        REFUSED(EINVAL, bad_field_word(&bad[i]), moco_probe_create(&probe, misuse.device, &o));
        assert_null(probe);
    }
    o = options_of();
    o.struct_size = 0;
    REFUSED(EINVAL, "init macro", moco_probe_create(&probe, misuse.device, &o));
    moco_probe_free(NULL);
}

/* 0 rates are the sweep, and describe says which that is. */
static void sweep(void **state)
{
    (void)state;
    moco_probe *probe;
    moco_probe_options o = options_of();
    int64_t steps = -1;
    o.rates = 0;
    misuse_ok(moco_probe_create(&probe, misuse.device, &o));
    o.struct_size = 0;
    REFUSED(EINVAL, "init macro", moco_probe_describe(probe, &o, NULL));
    moco_probe_options_init(&o);
    misuse_ok(moco_probe_describe(probe, &o, &steps));
    assert_int_equal(o.rates, 10);
    assert_true(o.lr[0] == 0.003 && o.lr[8] == 30 && o.lr[9] == 100 && o.lr[10] == 0);
    assert_int_equal(o.dim, DIM);
    assert_int_equal(steps, 0);
    misuse_ok(moco_probe_describe(probe, NULL, NULL));
    moco_probe_free(probe);
}

static void probe_rows(void **state)
{
    (void)state;
    moco_probe *probe;
    moco_probe_options o = options_of();
    moco_score score;
    int32_t unlabelled[2] = {0, -1}, foreign[2] = {CLASSES, 0}, same[2] = {1, 1}, out[2];
    float broken[2 * DIM] = {1, 2, 3, 4, 1, INFINITY, 1, 1};
    const moco_tensor good = TENSOR(MOCO_F32, vectors, 2, DIM), nan = TENSOR(MOCO_F32, broken, 2, DIM);
    const moco_tensor bad[] = {TENSOR(MOCO_F64, vectors, 1, DIM), TENSOR(MOCO_F32, vectors, 2, DIM - 1),
                               TENSOR(MOCO_F32, vectors, DIM), TENSOR(MOCO_F32, vectors, 0, DIM),
                               TENSOR(MOCO_F32, vectors, INT64_MAX, DIM)};
    moco_score_init(&score);
    misuse_ok(moco_probe_create(&probe, misuse.device, &o));
    REFUSED(EINVAL, "features is NULL", moco_probe_step(probe, NULL, labels, 1, NULL, NULL));
    REFUSED(EINVAL, "features is NULL", moco_probe_fit(probe, NULL, labels, NULL));
    REFUSED(EINVAL, "features is NULL", moco_probe_evaluate(probe, NULL, labels, &score, NULL));
    REFUSED(EINVAL, "features is NULL", moco_probe_best(probe, NULL, labels, &score));
    REFUSED(EINVAL, "features is NULL", moco_probe_predict(probe, 0, NULL, out));
    REFUSED(EINVAL, "labels is NULL", moco_probe_step(probe, &good, NULL, 1, NULL, NULL));
    REFUSED(EINVAL, "labels is NULL", moco_probe_fit(probe, &good, NULL, NULL));
    REFUSED(EINVAL, "labels is NULL", moco_probe_evaluate(probe, &good, NULL, &score, NULL));
    REFUSED(EINVAL, "labels is NULL", moco_probe_best(probe, &good, NULL, &score));
    REFUSED(EINVAL, "labels is NULL", moco_probe_predict(probe, 0, &good, NULL));
    REFUSED(EINVAL, "score is NULL", moco_probe_evaluate(probe, &good, labels, NULL, NULL));
    REFUSED(EINVAL, "score is NULL", moco_probe_best(probe, &good, labels, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(ESHAPE, "features", moco_probe_step(probe, &bad[i], labels, 1, NULL, NULL));
        REFUSED(ESHAPE, "features", moco_probe_fit(probe, &bad[i], labels, NULL));
        REFUSED(ESHAPE, "features", moco_probe_evaluate(probe, &bad[i], labels, &score, NULL));
        REFUSED(ESHAPE, "features", moco_probe_best(probe, &bad[i], labels, &score));
        REFUSED(ESHAPE, "features", moco_probe_predict(probe, 0, &bad[i], out));
    }
    REFUSED(EINVAL, "labels[1] is -1: this row has no label", moco_probe_step(probe, &good, unlabelled, 1, NULL, NULL));
    REFUSED(EINVAL, "labels[1] is -1: this row has no label", moco_probe_fit(probe, &good, unlabelled, NULL));
    REFUSED(EINVAL, "labels[1] is -1: this row has no label",
            moco_probe_evaluate(probe, &good, unlabelled, &score, NULL));
    REFUSED(EINVAL, "labels[0] is 3, but the probe has 3 classes",
            moco_probe_step(probe, &good, foreign, 1, NULL, NULL));
    REFUSED(EINVAL, "labels[0] is 3, but the probe has 3 classes", moco_probe_best(probe, &good, foreign, &score));
    REFUSED(EINVAL, "one class", moco_probe_fit(probe, &good, same, NULL));
    REFUSED(ENUMERIC, "row 1", moco_probe_step(probe, &nan, labels, 1, NULL, NULL));
    REFUSED(ENUMERIC, "row 1", moco_probe_predict(probe, 0, &nan, out));
    REFUSED(EINVAL, "factor", moco_probe_step(probe, &good, labels, -1, NULL, NULL));
    REFUSED(EINVAL, "factor", moco_probe_step(probe, &good, labels, NAN, NULL, NULL));
    REFUSED(EINVAL, "rate is 1", moco_probe_predict(probe, 1, &good, out));
    REFUSED(EINVAL, "rate is -1", moco_probe_predict(probe, -1, &good, out));
    score.rate = 1;
    REFUSED(EINVAL, "rate is 1; the probe has 1", moco_probe_evaluate(probe, &good, labels, &score, NULL));
    score.struct_size = 4;
    REFUSED(EINVAL, "init macro", moco_probe_best(probe, &good, labels, &score));
    assert_int_equal(score.n, 0);
    int64_t steps;
    misuse_ok(moco_probe_describe(probe, NULL, &steps));
    assert_int_equal(steps, 0);
    moco_probe_free(probe);
}

static void probe_trainings(void **state)
{
    (void)state;
    moco_probe *probe;
    moco_probe_options o = options_of();
    moco_probe_fit_options fit;
    const moco_tensor good = TENSOR(MOCO_F32, vectors, 2, DIM);
    static const struct bad_field bad[] = {
        BAD_I(moco_probe_fit_options, epochs, 0),           BAD_I(moco_probe_fit_options, epochs, INT32_MAX),
        BAD_I(moco_probe_fit_options, batch_size, 0),       BAD_I(moco_probe_fit_options, batch_size, INT32_MIN),
        BAD_I(moco_probe_fit_options, batch_size, 1 << 21), BAD_I(moco_probe_fit_options, milestones[2], -1),
    };
    misuse_ok(moco_probe_create(&probe, misuse.device, &o));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moco_probe_fit_options_init(&fit);
        bad_field_set(&fit, &bad[i]);
        REFUSED(EINVAL, bad_field_word(&bad[i]), moco_probe_fit(probe, &good, labels, &fit));
    }
    fit.struct_size = 3;
    REFUSED(EINVAL, "init macro", moco_probe_fit(probe, &good, labels, &fit));
    moco_probe_fit_options_init(&fit);
    fit.epochs = 2;
    fit.batch_size = 1000; /* more than there are: all of them */
    misuse_ok(moco_probe_fit(probe, &good, labels, &fit));
    int64_t steps;
    misuse_ok(moco_probe_describe(probe, NULL, &steps));
    assert_int_equal(steps, 2);
    moco_probe_free(probe);
}

static void probe_files(void **state)
{
    (void)state;
    moco_probe *probe, *read = NULL;
    moco_model *model;
    moco_probe_options o = options_of();
    moco_model_options small;
    char note[8], saved[300], encoder[300], text[300];
    snprintf(saved, sizeof saved, "%s", scratch_path(&misuse.folder, "probe"));
    snprintf(encoder, sizeof encoder, "%s", scratch_path(&misuse.folder, "encoder"));
    snprintf(text, sizeof text, "%s", scratch_path(&misuse.folder, "text"));
    scratch_write(&misuse.folder, "text", "hello, world", 12);
    moco_model_options_init(&small);
    small.arch = "resnet18";
    small.stem = "small";
    small.width = 1.0 / 64;
    small.image_size = 8;
    misuse_ok(moco_model_create(&model, misuse.device, &small));
    misuse_ok(moco_model_save(model, encoder));
    misuse_ok(moco_probe_create(&probe, misuse.device, &o));
    REFUSED(EINVAL, "path is NULL", moco_probe_save(probe, NULL, NULL));
    REFUSED(EIO, "none", moco_probe_save(probe, scratch_path(&misuse.folder, "none/there"), NULL));
    REFUSED(EINVAL, "not UTF-8", moco_probe_save(probe, saved, "\xff\xfe"));
    misuse_ok(moco_probe_save(probe, saved, "a longer note"));
    REFUSED(EINVAL, "probe is NULL", moco_probe_open(NULL, misuse.device, saved, NULL, 0));
    REFUSED(EINVAL, "path is NULL", moco_probe_open(&read, misuse.device, NULL, NULL, 0));
    REFUSED(EIO, "none", moco_probe_open(&read, misuse.device, scratch_path(&misuse.folder, "none"), NULL, 0));
    REFUSED(EFORMAT, "text", moco_probe_open(&read, misuse.device, text, NULL, 0));
    REFUSED(EFORMAT, "not a probe", moco_probe_open(&read, misuse.device, encoder, NULL, 0));
    REFUSED(ESHAPE, "note", moco_probe_open(&read, misuse.device, saved, note, sizeof note));
    assert_null(read);
    REFUSED(EFORMAT, "holds a probe", moco_model_load(model, saved));
    REFUSED(EFORMAT, "a probe, not a training state",
            moco_checkpoint_describe(misuse.context, saved, NULL, NULL, NULL, NULL, 0));
    moco_model_free(model);
    moco_probe_free(probe);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_teardown(test, misuse_back_to_baseline)
    const struct CMUnitTest tests[] = {
        CASE(neighbours),    CASE(small_banks), CASE(queue_as_bank), CASE(banks),           CASE(statistics),
        CASE(probe_options), CASE(sweep),       CASE(probe_rows),    CASE(probe_trainings), CASE(probe_files)};
    return cmocka_run_group_tests(tests, misuse_set_up, misuse_tear_down);
}
