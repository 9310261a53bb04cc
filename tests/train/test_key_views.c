/* SPDX-License-Identifier: MIT
 *
 * test_key_views: key views that come apart, in the order of the step's shuffle, train to the same bits as key views
 * that come with the batch, whatever the mechanism and the BN groups; and those of another step are refused, with the
 * place to go on from. On "ref" and on the device under test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/train_rig.h"

#define STEPS 3
#define RATE 0.05

static const char *const devices[] = {"ref", NULL};

static size_t image_bytes(const struct rig *rig)
{
    return (size_t)rig->batch.h * (size_t)rig->batch.w * 3;
}

/* Key views of direction `d` for step `step`, from the views as they are drawn now. The caller frees. */
static uint8_t *key_views(const struct rig *rig, int64_t step, int d)
{
    size_t image = image_bytes(rig);
    int32_t place[64], n = rig->batch.n;
    uint8_t *key = malloc((size_t)n * image);
    assert_true(key != NULL && n <= 64);
    rig_ok(moco_shuffle_permutation(rig->spec.trainer.seed, step, d, n, place));
    for (int p = 0; p < n; p++)
        memcpy(key + (size_t)p * image, rig->view[1 - d] + (size_t)place[p] * image, image);
    return key;
}

/* The batch as drawn, with key views apart for step `step`; views that are not needed are not there. */
static moco_batch apart(const struct rig *rig, int64_t step)
{
    moco_batch batch = rig->batch;
    int symmetric = rig->spec.trainer.symmetric;
    batch.key[0] = key_views(rig, step, 0);
    batch.key[1] = symmetric ? key_views(rig, step, 1) : NULL;
    batch.key_step = step;
    batch.key_seed = rig->spec.trainer.seed;
    if (!symmetric) {
        batch.views = 1;
        batch.view[1] = NULL;
    }
    return batch;
}

static void let_go(const moco_batch *batch)
{
    free((void *)(uintptr_t)batch->key[0]);
    free((void *)(uintptr_t)batch->key[1]);
}

static void expect_same_training(const struct rig_spec *spec)
{
    struct rig together, separate;
    moco_step_report a, b;
    moco_step_report_init(&a);
    moco_step_report_init(&b);
    rig_open(&together, spec);
    rig_open(&separate, spec);
    for (int step = 0; step < STEPS; step++) {
        rig_run(&together, step, step + 1);
        rig_draw(&separate, step);
        moco_batch batch = apart(&separate, step);
        rig_ok(moco_trainer_step(separate.trainer, &batch, RATE));
        let_go(&batch);
        rig_ok(moco_trainer_report(together.trainer, &a));
        rig_ok(moco_trainer_report(separate.trainer, &b));
        assert_memory_equal(&a, &b, sizeof a);
    }
    rig_expect_equal(&together, &separate);
    rig_close(&together);
    rig_close(&separate);
}

static void training_is_the_same_to_the_bit(void **state)
{
    (void)state;
    static const int group_sizes[] = {2, 4, 16};
    for (int i = 0; i < 2; i++)
        for (int variant = 0; variant < 12; variant++) {
            struct rig_spec spec = rig_spec();
            spec.device = devices[i];
            spec.trainer.symmetric = variant % 2;
            spec.trainer.interleave = variant / 2 % 2;
            spec.trainer.bn_group_size = group_sizes[variant / 4];
            spec.trainer.groups_per_launch = variant % 3 == 0 ? 0 : 1;
            expect_same_training(&spec);
        }
}

static void whatever_the_mechanism(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int m = 1; m < RIG_MECHANISMS; m++)
            for (int interleave = 0; interleave < 2; interleave++) {
                struct rig_spec spec = rig_spec();
                spec.device = devices[i];
                rig_mechanism(&spec, m);
                spec.trainer.interleave = interleave;
                expect_same_training(&spec);
            }
}

/* ---- refused ---- */

static void expect_refused(struct rig *rig, const moco_batch *batch, moco_status status, const char *words)
{
    rig_expect(moco_trainer_step(rig->trainer, batch, RATE), status);
    if (strstr(moco_error(), words) == NULL)
        fail_msg("the sentence does not say \"%s\": %s", words, moco_error());
}

static void those_of_another_step_are_refused(void **state)
{
    (void)state;
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 2);
    rig_run(&twin, 0, 3);
    rig_draw(&rig, 2);
    static const int64_t others[] = {0, 1, 3, INT64_MAX, -1};
    for (int i = 0; i < 5; i++) {
        moco_batch batch = apart(&rig, 2);
        batch.key_step = others[i];
        expect_refused(&rig, &batch, MOCO_ESTATE, "the trainer is at step 2");
        expect_refused(&rig, &batch, MOCO_ESTATE, "moco_loader_start_keys, at epoch 0, position 32, step 2");
        let_go(&batch);
    }
    /* A step that failed is tried again with the same batch. */
    moco_batch batch = apart(&rig, 2);
    moco_trainer_cancel(rig.trainer);
    expect_refused(&rig, &batch, MOCO_ECANCELED, "cancelled");
    rig_ok(moco_trainer_step(rig.trainer, &batch, RATE));
    rig_expect_equal(&rig, &twin);
    let_go(&batch);
    rig_close(&rig);
    rig_close(&twin);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    for (spec.trainer.symmetric = 0; spec.trainer.symmetric < 2; spec.trainer.symmetric++) {
        rig_open(&rig, &spec);
        rig_open(&twin, &spec);
        rig_draw(&rig, 0);
        const moco_batch good = apart(&rig, 0);
        moco_batch bad = good;
        bad.key_seed++;
        expect_refused(&rig, &bad, MOCO_EINVAL, "batch.key_seed is 6; the trainer's seed is 5");
        bad = good;
        bad.key[0] = NULL;
        bad.key[1] = good.key[0];
        expect_refused(&rig, &bad, MOCO_EINVAL, "batch.key[0] is NULL");
        if (spec.trainer.symmetric) {
            bad = good;
            bad.key[1] = NULL;
            expect_refused(&rig, &bad, MOCO_EINVAL, "batch.key[1] is NULL and the other is not; a symmetric loss");
            bad = good;
            bad.views = 1;
            expect_refused(&rig, &bad, MOCO_ESHAPE, "1 views");
            bad = good;
            bad.view[1] = NULL;
            expect_refused(&rig, &bad, MOCO_EINVAL, "batch.view[1] is NULL");
        }
        bad = good;
        bad.view[0] = NULL;
        expect_refused(&rig, &bad, MOCO_EINVAL, "batch.view[0] is NULL");
        bad = good;
        bad.views = 3;
        expect_refused(&rig, &bad, MOCO_ESHAPE, "3 views");
        rig_expect_equal(&rig, &twin);
        let_go(&good);
        rig_close(&rig);
        rig_close(&twin);
    }
    spec.trainer.symmetric = 0;
    spec.trainer.shuffle = 0;
    rig_open(&rig, &spec);
    rig_draw(&rig, 0);
    moco_batch batch = apart(&rig, 0);
    expect_refused(&rig, &batch, MOCO_EINVAL, "the trainer's shuffle is 0");
    let_go(&batch);
    rig_close(&rig);
}

/* ---- with a loader ---- */

#define IMAGES 56 /* three batches of 16, and some */

static moco_loader *open_loader(const struct rig *rig, moco_dataset *dataset)
{
    moco_augment_options recipe;
    moco_loader_options options;
    moco_loader *loader = NULL;
    rig_ok(moco_augment_options_preset(&recipe, "cifar10", rig->spec.trainer.image_h));
    moco_loader_options_init(&options);
    options.batch_size = rig->spec.trainer.batch_size;
    options.workers = 1;
    options.recipe[0] = options.recipe[1] = &recipe;
    rig_ok(moco_loader_create(&loader, dataset, &options));
    return loader;
}

/* From where the trainer is to the end of that epoch, or until `steps` are committed. */
static void train(struct rig *rig, moco_loader *loader, int keys, int64_t steps)
{
    moco_batch batch;
    moco_status status;
    int64_t step, epoch, position;
    const moco_trainer_options *o = &rig->spec.trainer;
    moco_batch_init(&batch);
    rig_ok(moco_trainer_cursor(rig->trainer, &step, &epoch, &position));
    if (position == IMAGES / 16 * 16) {
        epoch++;
        position = 0;
    }
    if (keys)
        rig_ok(moco_loader_start_keys(loader, epoch, position, step, o->seed, o->symmetric));
    else
        rig_ok(moco_loader_start_at(loader, epoch, position));
    for (; step < steps && (status = moco_loader_next(loader, &batch)) != MOCO_EEND; step++) {
        rig_ok(status);
        rig_ok(moco_trainer_step(rig->trainer, &batch, RATE));
    }
}

static void a_loader_makes_them(void **state)
{
    (void)state;
    static uint8_t pixels[IMAGES * 20 * 20 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 13);
    moco_tensor images;
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.data = pixels;
    const int64_t shape[4] = {IMAGES, 20, 20, 3};
    memcpy(images.shape, shape, sizeof shape);
    struct rig_spec spec = rig_spec();
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct rig together, separate;
        moco_dataset *dataset = NULL;
        spec.trainer.symmetric = symmetric;
        rig_open(&together, &spec);
        rig_open(&separate, &spec);
        rig_ok(moco_dataset_from_memory(&dataset, together.context, &images, NULL));
        moco_loader *loader = open_loader(&together, dataset), *keys = open_loader(&separate, dataset);
        while (1) { /* starts and stops in the middle of epochs, not at the same steps */
            int64_t a, b;
            train(&together, loader, 0, 7);
            train(&separate, keys, 1, 2);
            train(&separate, keys, 1, 7);
            rig_ok(moco_trainer_cursor(together.trainer, &a, NULL, NULL));
            rig_ok(moco_trainer_cursor(separate.trainer, &b, NULL, NULL));
            if (a == 7 && b == 7)
                break;
        }
        rig_expect_equal(&together, &separate);
        moco_loader_free(loader);
        moco_loader_free(keys);
        moco_dataset_free(dataset);
        rig_close(&together);
        rig_close(&separate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_is_the_same_to_the_bit),
        cmocka_unit_test(whatever_the_mechanism),
        cmocka_unit_test(those_of_another_step_are_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_loader_makes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
