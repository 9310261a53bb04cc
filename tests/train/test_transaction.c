/* SPDX-License-Identifier: MIT
 *
 * test_transaction: a step that was cancelled, or that met a number that is not finite, has not been: the next step
 * gives the same bits as that of a twin which never tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

/* Cancels after launch number `at`, and counts. */
struct watcher {
    moco_trainer *trainer;
    int at, calls, last, launches;
};

static void watch(void *user, int done, int launches)
{
    struct watcher *w = user;
    w->calls++;
    assert_int_equal(done, w->last + 1); /* each launch once, in order */
    w->last = done;
    w->launches = launches;
    if (done == w->at)
        moco_trainer_cancel(w->trainer);
}

static void open_watched(struct rig *rig, struct watcher *w, int symmetric, int mechanism)
{
    struct rig_spec spec = rig_spec();
    spec.trainer.progress = watch;
    spec.trainer.progress_user = w;
    spec.trainer.symmetric = symmetric;
    rig_mechanism(&spec, mechanism);
    rig_open(rig, &spec);
    *w = (struct watcher){.trainer = rig->trainer};
}

static void progress_counts_every_launch(void **state)
{
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct rig rig;
        struct watcher w;
        open_watched(&rig, &w, symmetric, RIG_MOCO);
        rig_ok(rig_step(&rig, 0));
        assert_int_equal(w.calls, symmetric ? 16 : 8); /* 4 launches, key and query, per direction */
        assert_int_equal(w.launches, w.calls);
        rig_close(&rig);
    }
    struct rig rig;
    struct watcher w;
    open_watched(&rig, &w, 0, RIG_SIMCLR);
    rig_ok(rig_step(&rig, 0));
    assert_int_equal(w.calls, 1); /* the whole batch is one launch */
    assert_int_equal(w.launches, 1);
    rig_close(&rig);
}

static void a_cancelled_step_has_not_been(void **state)
{
    (void)state;
    for (int i = 0; i < RIG_MECHANISMS + 1; i++) {
        struct rig rig, twin;
        struct watcher w, idle;
        int symmetric = i == 0, mechanism = i == 0 ? RIG_MOCO : i - 1;
        open_watched(&rig, &w, symmetric, mechanism);
        open_watched(&twin, &idle, symmetric, mechanism);
        int launches = mechanism == RIG_BATCH_KEYS || symmetric ? 16 : mechanism == RIG_MOCO ? 8 : 1;
        for (int at = 1; at <= launches; at++) {
            w.last = w.calls = 0;
            w.at = at;
            rig_expect(rig_step(&rig, at - 1), MOCO_ECANCELED);
            /* Nothing ran on after it; a device behind its caller had been given all of the step, and drops it later. */
            assert_int_equal(w.calls, test_device_is_behind(test_device()) ? launches : at);
            int64_t step;
            rig_ok(moco_trainer_cursor(rig.trainer, &step, NULL, NULL));
            assert_int_equal(step, at - 1);
            rig_expect_equal(&rig, &twin);
            w.last = w.at = idle.last = 0;
            rig_ok(rig_step(&rig, at - 1)); /* taken effect once: the retry goes through */
            rig_ok(rig_step(&twin, at - 1));
            rig_expect_equal(&rig, &twin);
        }
        rig_close(&rig);
        rig_close(&twin);
    }
}

static void a_cancel_between_steps_drops_the_next_once(void **state)
{
    (void)state;
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 1);
    rig_run(&twin, 0, 1);
    moco_trainer_cancel(rig.trainer);
    moco_trainer_cancel(rig.trainer);
    rig.batch.n++; /* a call that is wrong does not take the cancel */
    rig_expect(moco_trainer_step(rig.trainer, &rig.batch, 0.05), MOCO_ESHAPE);
    rig.batch.n--;
    rig_expect(rig_step(&rig, 1), MOCO_ECANCELED);
    rig_run(&rig, 1, 3);
    rig_run(&twin, 1, 3);
    rig_expect_equal(&rig, &twin);
    moco_trainer_cancel(NULL);
    rig_close(&rig);
    rig_close(&twin);
}

/* A number that is not finite does not get in: the call names the tensor, and nothing has changed. */
static void plant(struct rig *rig, struct rig *twin, const char *name, double value)
{
    size_t count;
    double *values = rig_get(rig, name, &count);
    size_t at = count / 2;
    values[at] = value;
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    rig_ok(moco_trainer_get(rig->trainer, name, &tensor));
    tensor.dtype = MOCO_F64;
    tensor.data = values;
    rig_expect(moco_trainer_set(rig->trainer, name, &tensor), value < 0 && value > -2 ? MOCO_EINVAL : MOCO_ENUMERIC);
    if (strstr(moco_error(), name) == NULL)
        fail_msg("the sentence does not name %s: %s", name, moco_error());
    char number[40];
    snprintf(number, sizeof number, "number %zu ", at);
    if (strstr(moco_error(), number) == NULL)
        fail_msg("the sentence does not say %s: %s", number, moco_error());
    free(values);
    rig_expect_equal(rig, twin);
}

static void a_bad_number_is_not_let_in(void **state)
{
    (void)state;
    const char *const names[] = {"encoder_q.layer1.0.conv1.weight",
                                 "encoder_q.bn1.weight",
                                 "encoder_q.fc.2.bias",
                                 "encoder_k.layer2.0.conv1.weight",
                                 "encoder_q.layer4.1.bn2.running_var",
                                 "encoder_k.bn1.running_mean",
                                 "momentum.encoder_q.fc.0.weight",
                                 "queue"};
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 1);
    rig_run(&twin, 0, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        plant(&rig, &twin, names[i], NAN);
        plant(&rig, &twin, names[i], i % 2 == 0 ? INFINITY : -INFINITY);
        if (!test_device_is_exact(spec.device != NULL ? spec.device : test_device()))
            plant(&rig, &twin, names[i], 1e300); /* infinite as the f32 that it would become */
    }
    plant(&rig, &twin, "encoder_q.bn1.running_var", -1e-3);
    plant(&rig, &twin, "encoder_k.layer4.1.bn2.running_var", -1);
    rig_run(&rig, 1, 2);
    rig_run(&twin, 1, 2);
    rig_expect_equal(&rig, &twin);
    rig_close(&rig);
    rig_close(&twin);
}

/* A state that overflows the loss has only finite numbers in it. */
static void a_loss_that_overflows_is_refused(void **state)
{
    (void)state;
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    spec.trainer.temperature = 1e-3;
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    size_t count;
    double *queue = rig_get(&rig, "queue", &count), *huge = calloc(count, sizeof *huge);
    assert_non_null(huge);
    double largest = test_device_is_exact(rig.spec.device) ? 1e308 : 3e38;
    for (size_t i = 0; i < count; i++)
        huge[i] = queue[i] < 0 ? -largest : largest;
    rig_set(&rig, "queue", huge);
    rig_expect(rig_step(&rig, 0), MOCO_ENUMERIC);
    assert_non_null(strstr(moco_error(), "loss"));
    rig_set(&rig, "queue", queue);
    rig_run(&rig, 0, 1);
    rig_run(&twin, 0, 1);
    rig_expect_equal(&rig, &twin);
    free(queue);
    free(huge);
    rig_close(&rig);
    rig_close(&twin);
}

/* The step that would make a weight or momentum infinite says so itself, and has not been. */
static void an_update_that_overflows_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"encoder_q.fc.0.weight", "momentum.encoder_q.fc.0.weight"};
    for (int i = 0; i < 2 * RIG_MECHANISMS; i++) {
        int mechanism = i / 2;
        struct rig rig, twin;
        struct rig_spec spec = rig_spec();
        rig_mechanism(&spec, mechanism);
        rig_open(&rig, &spec);
        rig_open(&twin, &spec);
        rig_run(&rig, 0, 1);
        rig_run(&twin, 0, 1);
        if (i % 2 == 1) { /* numbers that are near the edge already */
            size_t count;
            double *values = rig_get(&rig, names[1], &count);
            for (size_t at = 0; at < count; at++)
                values[at] = 1e10;
            rig_set(&rig, names[1], values);
            rig_set(&twin, names[1], values);
            free(values);
        }
        double largest = test_device_is_exact(test_device()) ? 1.7e308 : 3.4e38;
        rig_draw(&rig, 1);
        for (int bad = 0; bad < 2; bad++) {
            moco_status status = moco_trainer_step(rig.trainer, &rig.batch, largest * (bad == 0 ? 1 : 0.9));
            if (status == MOCO_OK && i % 2 == 0) /* gradients so small that even this rate does no harm */
                break;
            rig_expect(status, MOCO_ENUMERIC);
            if (strstr(moco_error(), "the update of step 1 ") == NULL || strstr(moco_error(), "encoder_q.") == NULL)
                fail_msg("the sentence does not say which step and tensor: %s", moco_error());
            rig_expect_equal(&rig, &twin);
        }
        int64_t step;
        rig_ok(moco_trainer_cursor(rig.trainer, &step, NULL, NULL));
        if (step == 1) {
            rig_run(&rig, 1, 3);
            rig_run(&twin, 1, 3);
            rig_expect_equal(&rig, &twin);
        }
        rig_close(&rig);
        rig_close(&twin);
    }
}

static void wrong_calls_change_nothing(void **state)
{
    (void)state;
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_draw(&rig, 0);
    const moco_batch good = rig.batch;
    moco_step_report report;
    moco_step_report_init(&report);
    rig_expect(moco_trainer_report(rig.trainer, &report), MOCO_ESTATE);
    rig_expect(moco_trainer_step(NULL, &good, 0.1), MOCO_EINVAL);
    rig_expect(moco_trainer_step(rig.trainer, NULL, 0.1), MOCO_EINVAL);
    rig_expect(moco_trainer_step(rig.trainer, &good, -0.1), MOCO_EINVAL);
    rig_expect(moco_trainer_step(rig.trainer, &good, NAN), MOCO_EINVAL);
    rig_expect(moco_trainer_step(rig.trainer, &good, INFINITY), MOCO_EINVAL);
    moco_batch b = good;
    b.h = 32;
    rig_expect(moco_trainer_step(rig.trainer, &b, 0.1), MOCO_ESHAPE);
    b = good;
    b.views = 1;
    rig_expect(moco_trainer_step(rig.trainer, &b, 0.1), MOCO_ESHAPE);
    b = good;
    b.view[1] = NULL;
    rig_expect(moco_trainer_step(rig.trainer, &b, 0.1), MOCO_EINVAL);
    b = good;
    b.position = -1;
    rig_expect(moco_trainer_step(rig.trainer, &b, 0.1), MOCO_EINVAL);
    b = good;
    b.struct_size = 0;
    rig_expect(moco_trainer_step(rig.trainer, &b, 0.1), MOCO_EINVAL);
    double one = 1;
    moco_tensor scalar;
    moco_tensor_init(&scalar);
    scalar.dtype = MOCO_F64;
    scalar.data = &one;
    rig_expect(moco_model_set(rig.model, "bn1.num_batches_tracked", &scalar), MOCO_ESTATE);
    rig_expect(moco_model_load(rig.model, "/nonexistent/file"), MOCO_ESTATE);
    rig_expect(moco_trainer_set(rig.trainer, "encoder_q.conv1.weight", &scalar), MOCO_ESHAPE);
    rig_expect(moco_trainer_set(rig.trainer, "encoder_q.conv9.weight", &scalar), MOCO_ENOTFOUND);
    scalar.ndim = 1;
    scalar.shape[0] = 1;
    one = 40; /* the length of the queue: one past its end */
    rig_expect(moco_trainer_set(rig.trainer, "queue_ptr", &scalar), MOCO_EINVAL);
    size_t count;
    double *zeros = rig_get(&rig, "grad.encoder_q.bn1.bias", &count);
    moco_tensor vector = scalar;
    vector.data = zeros;
    vector.shape[0] = (int64_t)count;
    rig_expect(moco_trainer_set(rig.trainer, "grad.encoder_q.bn1.bias", &vector), MOCO_EINVAL);
    free(zeros);
    moco_trainer *second = NULL;
    rig_expect(moco_trainer_create(&second, rig.model, twin.queue, &rig.spec.trainer), MOCO_EINVAL); /* two devices */
    moco_queue *other;
    rig_ok(moco_queue_create(&other, rig.device, spec.model.dim, 8, 1));
    rig_expect(moco_trainer_create(&second, rig.model, other, &rig.spec.trainer), MOCO_ESTATE);
    moco_model *fresh;
    rig_ok(moco_model_create(&fresh, rig.device, &spec.model));
    rig_expect(moco_trainer_create(&second, fresh, rig.queue, &rig.spec.trainer), MOCO_ESTATE);
    assert_null(second);
    rig_ok(moco_trainer_create(&second, fresh, other, &rig.spec.trainer)); /* the failure above has let go of both */
    moco_trainer_free(second);
    rig_ok(moco_trainer_create(&second, fresh, other, &rig.spec.trainer));
    moco_trainer_free(second);
    moco_model_free(fresh);
    moco_queue_free(other);
    rig_expect_equal(&rig, &twin);
    rig_close(&rig);
    rig_close(&twin);
}

/* Each option out of range, and the word the sentence must hold. */
static void every_option_is_checked(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    moco_model *model;
    moco_queue *queue;
    rig_ok(moco_model_create(&model, rig.device, &spec.model));
    rig_ok(moco_queue_create(&queue, rig.device, spec.model.dim, 8, 1));
#define REFUSED(field, value, status, word)                                                                            \
    do {                                                                                                               \
        moco_trainer_options o = rig.spec.trainer;                                                                     \
        moco_trainer *trainer = NULL;                                                                                  \
        o.field = value;                                                                                               \
        rig_expect(moco_trainer_create(&trainer, model, queue, &o), status);                                           \
        assert_null(trainer);                                                                                          \
        if (strstr(moco_error(), word) == NULL)                                                                        \
            fail_msg("the sentence does not say %s: %s", word, moco_error());                                          \
    } while (0)
    REFUSED(batch_size, 0, MOCO_EINVAL, "batch_size");
    REFUSED(batch_size, 18, MOCO_EINVAL, "batch_size 18 is not a multiple of bn_group_size 4");
    REFUSED(bn_group_size, 0, MOCO_EINVAL, "bn_group_size");
    REFUSED(bn_group_size, -4, MOCO_EINVAL, "bn_group_size");
    REFUSED(bn_group_size, 1, MOCO_EINVAL, "bn_group_size is 1"); /* layer4 is 1 x 1: no variance of one number */
    REFUSED(groups_per_launch, -1, MOCO_EINVAL, "groups_per_launch");
    REFUSED(image_h, 0, MOCO_EINVAL, "0");
    REFUSED(temperature, 0, MOCO_EINVAL, "temperature");
    REFUSED(temperature, NAN, MOCO_EINVAL, "temperature");
    REFUSED(key_momentum, 1.5, MOCO_EINVAL, "key_momentum");
    REFUSED(key_momentum, -0.1, MOCO_EINVAL, "key_momentum");
    REFUSED(sgd_momentum, NAN, MOCO_EINVAL, "sgd_momentum");
    REFUSED(weight_decay, -1, MOCO_EINVAL, "weight_decay");
    REFUSED(precision, 9, MOCO_EINVAL, "precision is 9");
    REFUSED(symmetric, 2, MOCO_EINVAL, "symmetric");
    REFUSED(shuffle, -1, MOCO_EINVAL, "shuffle");
    REFUSED(interleave, 7, MOCO_EINVAL, "interleave");
    REFUSED(negatives, 2, MOCO_EINVAL, "negatives is 2");
    REFUSED(encoder_k, -1, MOCO_EINVAL, "encoder_k is -1");
    REFUSED(loss, 9, MOCO_EINVAL, "loss is 9");
    REFUSED(optimizer, 2, MOCO_EINVAL, "optimizer is 2");
    REFUSED(trust_coefficient, 0, MOCO_EINVAL, "trust_coefficient");
    REFUSED(trust_coefficient, NAN, MOCO_EINVAL, "trust_coefficient");
    REFUSED(encoder_k, MOCO_KEY_SHARED, MOCO_EINVAL, "encoder_k is shared and negatives is queue");
    REFUSED(loss, MOCO_LOSS_NTXENT, MOCO_EINVAL, "loss is NT-Xent and encoder_k is momentum");
    REFUSED(negatives, MOCO_NEGATIVES_BATCH, MOCO_EINVAL, "negatives is batch and a queue is given");
    REFUSED(bn_group_size, 32, MOCO_EINVAL, "batch_size 16 is not a multiple of bn_group_size 32");
    REFUSED(struct_size, 12, MOCO_EINVAL, "init");
#undef REFUSED
    moco_queue *narrow;
    moco_trainer *trainer;
    rig_ok(moco_queue_create(&narrow, rig.device, spec.model.dim - 1, 8, 1));
    rig_expect(moco_trainer_create(&trainer, model, narrow, &rig.spec.trainer), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "15"));
    moco_queue_free(narrow);
    moco_model_free(model);
    moco_queue_free(queue);
    rig_close(&rig);
}

/* Parts that do not go together, without a queue. */
static void mechanisms_are_checked(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_spec spec = rig_spec();
    rig_mechanism(&spec, RIG_SIMCLR);
    rig_open(&rig, &spec);
    moco_model *model;
    moco_queue *queue;
    rig_ok(moco_model_create(&model, rig.device, &spec.model));
    rig_ok(moco_queue_create(&queue, rig.device, spec.model.dim, 8, 1));
#define REFUSED(field, value, word)                                                                                    \
    do {                                                                                                               \
        moco_trainer_options o = rig.spec.trainer;                                                                     \
        moco_trainer *trainer = NULL;                                                                                  \
        moco_memory_estimate e;                                                                                        \
        moco_memory_estimate_init(&e);                                                                                 \
        o.field = value;                                                                                               \
        rig_expect(moco_trainer_create(&trainer, model, NULL, &o), MOCO_EINVAL);                                       \
        assert_null(trainer);                                                                                          \
        if (strstr(moco_error(), word) == NULL)                                                                        \
            fail_msg("the sentence does not say %s: %s", word, moco_error());                                          \
        int64_t length = o.negatives == MOCO_NEGATIVES_QUEUE ? 8 : 0;                                                  \
        rig_expect(moco_trainer_estimate(rig.device, &spec.model, length, &o, &e), MOCO_EINVAL);                       \
    } while (0)
    REFUSED(negatives, MOCO_NEGATIVES_QUEUE, "encoder_k is shared and negatives is queue");
    REFUSED(encoder_k, MOCO_KEY_MOMENTUM, "loss is NT-Xent and encoder_k is momentum");
    REFUSED(symmetric, 1, "symmetric is 1 and encoder_k is shared");
    REFUSED(batch_size, 1, "batch_size is 1");
    REFUSED(batch_size, 8, "batch_size 8 is not a multiple of bn_group_size 32, nor is that twice the batch");
    REFUSED(bn_group_size, 64, "bn_group_size 64");
    REFUSED(groups_per_launch, 2, "groups_per_launch is 2 and encoder_k is shared");
#undef REFUSED
    moco_trainer *trainer = NULL;
    moco_trainer_options o = spec.trainer;
    moco_memory_estimate e;
    moco_memory_estimate_init(&e);
    rig_expect(moco_trainer_create(&trainer, model, queue, &rig.spec.trainer), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "pass NULL"));
    rig_expect(moco_trainer_estimate(rig.device, &spec.model, 8, &rig.spec.trainer, &e), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "queue_length is 8"));
    moco_trainer_options_init(&o);
    o.batch_size = o.bn_group_size = 4;
    o.image_h = o.image_w = 16;
    rig_expect(moco_trainer_create(&trainer, model, NULL, &o), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "queue is NULL"));
    moco_queue_free(queue);
    moco_model_free(model);
    rig_close(&rig);
}

/* What the paper shows: with a momentum encoder a step's memory does not depend on the batch, and with a shared one it
 * grows with it. */
static void memory_tells_the_mechanisms_apart(void **state)
{
    (void)state;
    int64_t slab[RIG_MECHANISMS][2], weights[RIG_MECHANISMS], queue[RIG_MECHANISMS];
    struct rig rig;
    struct rig_spec plain = rig_spec();
    rig_open(&rig, &plain);
    for (int m = 0; m < RIG_MECHANISMS; m++)
        for (int large = 0; large < 2; large++) {
            struct rig_spec spec = rig_spec();
            moco_memory_estimate e;
            moco_memory_estimate_init(&e);
            spec.trainer.batch_size = large ? 64 : 16;
            rig_mechanism(&spec, m);
            rig_ok(moco_trainer_estimate(rig.device, &spec.model, m == RIG_MOCO ? 40 : 0, &spec.trainer, &e));
            assert_int_equal(e.launches, m >= RIG_END_TO_END ? 1 : large ? 16 : 4);
            slab[m][large] = e.slab_bytes;
            weights[m] = e.weights_bytes;
            queue[m] = e.queue_bytes;
        }
    for (int m = 0; m < RIG_MECHANISMS; m++) {
        double grows = (double)slab[m][1] / (double)slab[m][0];
        if (m >= RIG_END_TO_END ? grows < 2.5 : grows > 1.1)
            fail_msg("mechanism %d: four times the batch takes %.2f times the launch's memory", m, grows);
        assert_int_equal(queue[m] > 0, m == RIG_MOCO);
    }
    assert_int_equal(weights[RIG_MOCO], 2 * weights[RIG_END_TO_END]);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_counts_every_launch),
        cmocka_unit_test(a_cancelled_step_has_not_been),
        cmocka_unit_test(a_cancel_between_steps_drops_the_next_once),
        cmocka_unit_test(a_bad_number_is_not_let_in),
        cmocka_unit_test(a_loss_that_overflows_is_refused),
        cmocka_unit_test(an_update_that_overflows_is_refused),
        cmocka_unit_test(wrong_calls_change_nothing),
        cmocka_unit_test(every_option_is_checked),
        cmocka_unit_test(mechanisms_are_checked),
        cmocka_unit_test(memory_tells_the_mechanisms_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
