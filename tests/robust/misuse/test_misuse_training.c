/* SPDX-License-Identifier: MIT
 *
 * test_misuse_training: what model.h, queue.h and trainer.h must refuse: NULL for each pointer, sizes of 0, -1 and far
 * too many, options and tensors out of range, calls out of order, one model or queue in two trainers. The status is the
 * documented one and the sentence names the argument. What a reader would get wrong: a refused call also changed
 * nothing, which is checked on the bytes that the trainer saves. The handles themselves are test_misuse_handles's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moco/moco.h"
#include "support/refused.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

static struct scratch_folder folder;
static struct rig rig;
static char *saved; /* the rig's state before the test */
static size_t saved_size;
static int64_t baseline;
static double numbers[64 * 64];

static int64_t live(void)
{
    int64_t bytes = -1;
    rig_ok(moco_context_memory(rig.context, &bytes, NULL, NULL));
    return bytes;
}

static char *state_bytes(size_t *size)
{
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "state"), "a note"));
    return rig_read_file(scratch_path(&folder, "state"), size);
}

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    spec.device = "ref";
    spec.model.width = 1.0 / 32; /* 16 features and 8 numbers of an embedding */
    spec.model.dim = 8;
    spec.trainer.batch_size = 4;
    spec.trainer.bn_group_size = 2;
    spec.trainer.precision = MOCO_PRECISION_AUTO;
    spec.queue_length = 12;
    scratch_folder_make(&folder);
    rig_open(&rig, &spec);
    rig_draw(&rig, 0);
    saved = state_bytes(&saved_size);
    baseline = live();
    return 0;
}

/* Every test here makes refused calls only on the rig: it is as it was, and so is its memory. */
static int tear_down(void **state)
{
    (void)state;
    size_t size;
    char *bytes = state_bytes(&size);
    int changed = size != saved_size || memcmp(bytes, saved, size) != 0;
    int64_t held = live() - baseline;
    free(bytes);
    free(saved);
    rig_close(&rig);
    scratch_folder_remove(&folder);
    if (changed || held != 0)
        print_error("refused calls changed the state (%d) or hold %lld bytes\n", changed, (long long)held);
    return changed || held != 0 ? -1 : 0;
}

static moco_tensor tensor_of(moco_dtype dtype, void *data, int ndim, const int64_t *shape)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = dtype;
    t.data = data;
    t.ndim = ndim;
    memcpy(t.shape, shape, (size_t)ndim * sizeof *shape);
    return t;
}
#define TENSOR(dtype, data, ...)                                                                                       \
    tensor_of(dtype, data, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* ---- models ---- */

static const struct bad_field bad_models[] = {
    BAD_I(moco_model_options, dim, 0),
    BAD_I(moco_model_options, dim, -1),
    BAD_I(moco_model_options, dim, INT32_MAX),
    BAD_S(moco_model_options, arch, NULL),
    BAD_S(moco_model_options, arch, ""),
    BAD_S(moco_model_options, arch, "resnet19"),
    BAD_S(moco_model_options, stem, NULL),
    BAD_S(moco_model_options, stem, "IMAGENET"),
    BAD_S(moco_model_options, head, NULL),
    BAD_S(moco_model_options, head, "%s%n"),
    BAD_D(moco_model_options, width, 0),
    BAD_D(moco_model_options, width, -1),
    BAD_D(moco_model_options, width, 1e300),
    BAD_D(moco_model_options, width, NAN),
    BAD_WORD(moco_model_options, mean[0], BAD_DOUBLE, 0, NAN, "mean"),
    BAD_WORD(moco_model_options, mean[2], BAD_DOUBLE, 0, INFINITY, "mean"),
    BAD_WORD(moco_model_options, std[0], BAD_DOUBLE, 0, 0, "std"),
    BAD_WORD(moco_model_options, std[1], BAD_DOUBLE, 0, -1, "std"),
    BAD_WORD(moco_model_options, std[2], BAD_DOUBLE, 0, NAN, "std"),
    BAD_WORD(moco_model_options, mean[1], BAD_DOUBLE, 0, 1e300, "mean"),
    BAD_WORD(moco_model_options, std[0], BAD_DOUBLE, 0, 1e-300, "std"),
    BAD_I(moco_model_options, image_size, 0),
    BAD_I(moco_model_options, image_size, -1),
    BAD_I(moco_model_options, image_size, INT32_MAX),
    BAD_I(moco_model_options, zero_init, 2),
    BAD_I(moco_model_options, zero_init, -1),
};

static void making_models(void **state)
{
    (void)state;
    moco_model *made = NULL;
    moco_memory_estimate estimate;
    moco_memory_estimate_init(&estimate);
    REFUSED(EINVAL, "model is NULL", moco_model_create(NULL, rig.device, &rig.spec.model));
    REFUSED(EINVAL, "options is NULL", moco_model_create(&made, rig.device, NULL));
    for (size_t i = 0; i < sizeof bad_models / sizeof *bad_models; i++) {
        moco_model_options options = rig.spec.model;
        bad_field_set(&options, &bad_models[i]);
        REFUSED(EINVAL, bad_field_word(&bad_models[i]), moco_model_create(&made, rig.device, &options));
        assert_null(made);
        REFUSED(EINVAL, bad_field_word(&bad_models[i]),
                moco_trainer_estimate(rig.device, &options, 12, &rig.spec.trainer, &estimate));
    }
    moco_model_free(NULL);
}

static void files_of_models(void **state)
{
    (void)state;
    moco_model *made = NULL;
    char missing[300];
    snprintf(missing, sizeof missing, "%s", scratch_path(&folder, "none/there"));
    scratch_write(&folder, "noise", "this is not a file of tensors", 29);
    REFUSED(EINVAL, "model is NULL", moco_model_open(NULL, rig.device, missing));
    REFUSED(EINVAL, "path is NULL", moco_model_open(&made, rig.device, NULL));
    REFUSED(EIO, "none/there", moco_model_open(&made, rig.device, missing));
    REFUSED(EFORMAT, "noise", moco_model_open(&made, rig.device, scratch_path(&folder, "noise")));
    assert_null(made);
    REFUSED(EINVAL, "path is NULL", moco_model_save(rig.model, NULL));
    REFUSED(EIO, "none", moco_model_save(rig.model, missing));
    REFUSED(EIO, "", moco_model_save(rig.model, ""));
    REFUSED(EINVAL, "path is NULL", moco_model_load(rig.model, NULL));
    REFUSED(ESTATE, "trainer uses", moco_model_load(rig.model, missing));
}

static void tensors_of_models(void **state)
{
    (void)state;
    moco_model *model; /* nobody's */
    moco_model_info info;
    moco_tensor good = TENSOR(MOCO_F64, numbers, 8);
    moco_tensor bad[] = {TENSOR(MOCO_F64, numbers, 7),        TENSOR(MOCO_F64, numbers, 8, 1),
                         TENSOR(MOCO_I64, numbers, 8),        TENSOR(MOCO_U8, numbers, 8),
                         TENSOR((moco_dtype)-1, numbers, 8),  TENSOR(MOCO_F64, numbers, 0),
                         TENSOR(MOCO_F64, numbers, INT64_MIN)};
    moco_model_info_init(&info);
    rig_ok(moco_model_create(&model, rig.device, &rig.spec.model));
    REFUSED(EINVAL, "info is NULL", moco_model_describe(model, NULL));
    rig_ok(moco_model_describe(model, &info));
    moco_augment_options recipe;
    static const char *const drawn[] = {"moco-v2", "cifar10", "simclr"};
    rig_ok(moco_augment_options_preset(&recipe, "eval", 16));
    REFUSED(EINVAL, "recipe is NULL", moco_model_set_recipe(model, NULL));
    REFUSED(EINVAL, "recipe is NULL", moco_model_recipe_sized(model, NULL, sizeof recipe));
    REFUSED(EINVAL, "recipe", moco_model_recipe_sized(model, &recipe, 3));
    REFUSED(ENOTFOUND, "no recipe", moco_model_recipe(model, &recipe));
    recipe.size = 0;
    REFUSED(EINVAL, "size is 0", moco_model_set_recipe(model, &recipe));
    for (int i = 0; i < 3; i++) {
        rig_ok(moco_augment_options_preset(&recipe, drawn[i], 16));
        REFUSED(EINVAL, "crop 1 does", moco_model_set_recipe(model, &recipe));
        recipe.crop = 0;
        REFUSED(EINVAL, "jitter_p does", moco_model_set_recipe(model, &recipe));
    }
    rig_ok(moco_augment_options_preset(&recipe, "eval", 16));
    recipe.flip_p = 0.5;
    REFUSED(EINVAL, "flip_p does", moco_model_set_recipe(model, &recipe));
    recipe.reserved0 = 1;
    REFUSED(EINVAL, "reserved0", moco_model_set_recipe(model, &recipe));
    REFUSED(ENOTFOUND, "no recipe", moco_model_recipe(model, &recipe));
    assert_non_null(moco_model_tensor_name(model, info.tensor_count - 1));
    assert_null(moco_model_tensor_name(model, info.tensor_count));
    assert_null(moco_model_tensor_name(model, -1));
    assert_null(moco_model_tensor_name(model, INT_MAX));
    REFUSED(EINVAL, "name is NULL", moco_model_get(model, NULL, &good));
    REFUSED(EINVAL, "name is NULL", moco_model_set(model, NULL, &good));
    REFUSED(ENOTFOUND, "fc.9", moco_model_get(model, "fc.9", &good));
    REFUSED(ENOTFOUND, "\"\"", moco_model_set(model, "", &good));
    REFUSED(EINVAL, "tensor is NULL", moco_model_get(model, "fc.2.bias", NULL));
    REFUSED(EINVAL, "tensor is NULL", moco_model_set(model, "fc.2.bias", NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *word = i < 4 ? "fc.2.bias" : "tensor";
        REFUSED(ESHAPE, word, moco_model_get(model, "fc.2.bias", &bad[i]));
        REFUSED(ESHAPE, word, moco_model_set(model, "fc.2.bias", &bad[i]));
    }
    bad[0] = TENSOR(MOCO_F64, NULL, 8);
    REFUSED(EINVAL, "data NULL", moco_model_set(model, "fc.2.bias", &bad[0]));
    for (int ndim = -1; ndim < 10; ndim += 10) {
        bad[0] = good;
        bad[0].ndim = ndim;
        REFUSED(ESHAPE, "dimensions", moco_model_get(model, "fc.2.bias", &bad[0]));
        REFUSED(ESHAPE, "dimensions", moco_model_set(model, "fc.2.bias", &bad[0]));
    }
    double count = -1;
    bad[0] = tensor_of(MOCO_F64, &count, 0, (int64_t[]){0});
    REFUSED(EINVAL, "num_batches_tracked", moco_model_set(model, "bn1.num_batches_tracked", &bad[0]));
    count = NAN;
    REFUSED(EINVAL, "num_batches_tracked", moco_model_set(model, "bn1.num_batches_tracked", &bad[0]));
    REFUSED(ESTATE, "trainer uses", moco_model_set(rig.model, "fc.2.bias", &good));
    rig_ok(moco_model_get(rig.model, "fc.2.bias", &good)); /* reading goes on */
    moco_model_free(model);
}

static void embedding(void **state)
{
    (void)state;
    moco_model *model;
    const moco_tensor images = TENSOR(MOCO_U8, rig.view[0], 4, 16, 16, 3);
    moco_tensor out = TENSOR(MOCO_F64, numbers, 4, 8);
    const moco_tensor bad[] = {
        TENSOR(MOCO_F64, rig.view[0], 4, 3, 16, 16),
        TENSOR(MOCO_U8, rig.view[0], 4, 3, 16, 16),
        TENSOR(MOCO_F32, rig.view[0], 4, 16, 16, 3),
        TENSOR(MOCO_U8, rig.view[0], 16, 16, 3),
        TENSOR(MOCO_U8, rig.view[0], 0, 16, 16, 3),
        TENSOR(MOCO_U8, rig.view[0], 4, 16385, 1, 3),
        TENSOR(MOCO_U8, rig.view[0], 4, -1, 16, 3),
        TENSOR(MOCO_U8, rig.view[0], INT64_MAX, 16, 16, 3),
        TENSOR(MOCO_F32, rig.view[0], 1, 3, 1, INT64_C(1) << 32),
    };
    const moco_tensor wrong[] = {TENSOR(MOCO_F64, numbers, 3, 8), TENSOR(MOCO_F64, numbers, 4, 9),
                                 TENSOR(MOCO_F64, numbers, 32), TENSOR(MOCO_I64, numbers, 4, 8),
                                 TENSOR(MOCO_BF16, numbers, 4, 8)};
    rig_ok(moco_model_create(&model, rig.device, &rig.spec.model));
    REFUSED(EINVAL, "images is NULL", moco_model_embed(model, NULL, MOCO_PROJECTION, &out));
    REFUSED(EINVAL, "out is NULL", moco_model_embed(model, &images, MOCO_PROJECTION, NULL));
    REFUSED(EINVAL, "what is 0", moco_model_embed(model, &images, (moco_embedding)0, &out));
    REFUSED(EINVAL, "what is 7", moco_model_embed(model, &images, (moco_embedding)7, &out));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(ESHAPE, "images", moco_model_embed(model, &bad[i], MOCO_PROJECTION, &out));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        moco_tensor given = wrong[i];
        REFUSED(ESHAPE, "out", moco_model_embed(model, &images, MOCO_PROJECTION, &given));
    }
    REFUSED(ESHAPE, "out has shape [4,8]",
            moco_model_embed(model, &images, MOCO_FEATURES, &out)); /* dim's, not theirs */
    out.data = NULL;
    REFUSED(EINVAL, "out has data NULL", moco_model_embed(model, &images, MOCO_PROJECTION, &out));
    moco_model_free(model);
}

static void serving(void **state)
{
    (void)state;
    moco_model *model;
    moco_encoder *encoder = NULL;
    moco_encoder_options options;
    const struct bad_field fields[] = {
        BAD_I(moco_encoder_options, deterministic, 2), BAD_I(moco_encoder_options, deterministic, -1),
        BAD_I(moco_encoder_options, workspaces, -1),   BAD_I(moco_encoder_options, workspaces, INT32_MAX),
        BAD_I(moco_encoder_options, most_images, -1),  BAD_I(moco_encoder_options, plans, -1),
        BAD_I(moco_encoder_options, plans, INT32_MAX), BAD_I(moco_encoder_options, precision, 77),
    };
    const moco_tensor images = TENSOR(MOCO_U8, rig.view[0], 4, 16, 16, 3), empty = TENSOR(MOCO_U8, NULL, 0, 16, 16, 3);
    moco_tensor out = TENSOR(MOCO_F64, numbers, 4, 8);
    moco_augment_options recipe;
    rig_ok(moco_model_create(&model, rig.device, &rig.spec.model));
    REFUSED(EINVAL, "encoder is NULL", moco_encoder_create(NULL, model, NULL));
    REFUSED(EINVAL, "encoder is NULL", moco_encoder_open(NULL, rig.device, "x", NULL));
    REFUSED(EINVAL, "path is NULL", moco_encoder_open(&encoder, rig.device, NULL, NULL));
    REFUSED(EIO, "/there-is-none", moco_encoder_open(&encoder, rig.device, "/there-is-none", NULL));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        moco_encoder_options_init(&options);
        bad_field_set(&options, &fields[i]);
        REFUSED(EINVAL, bad_field_word(&fields[i]), moco_encoder_create(&encoder, model, &options));
        assert_null(encoder);
    }
    moco_encoder_options_init(&options);
    options.workspaces = 1;
    rig_ok(moco_encoder_create(&encoder, model, &options));
    REFUSED(ENOTFOUND, "recipe", moco_encoder_recipe(encoder, &recipe));
    REFUSED(EINVAL, "images is NULL", moco_encoder_embed(encoder, NULL, MOCO_PROJECTION, &out));
    REFUSED(EINVAL, "what is 0", moco_encoder_embed(encoder, &images, (moco_embedding)0, &out));
    REFUSED(ESHAPE, "out", moco_encoder_embed(encoder, &images, MOCO_FEATURES, &out));
    REFUSED(EINVAL, "2 workspaces", moco_encoder_reserve(encoder, 2, &images, MOCO_PROJECTION));
    REFUSED(EINVAL, "0 workspaces", moco_encoder_reserve(encoder, 0, &images, MOCO_PROJECTION));
    REFUSED(ESHAPE, "images are 0", moco_encoder_reserve(encoder, 1, &empty, MOCO_PROJECTION));
    REFUSED(EINVAL, "images is NULL", moco_encoder_reserve(encoder, 1, NULL, MOCO_PROJECTION));
    REFUSED(EINVAL, "info is NULL", moco_encoder_describe(encoder, NULL));
    const char *const paths[] = {"a", "b", NULL, "d"};
    const void *const bytes[] = {numbers, NULL, numbers, numbers};
    const size_t sizes[] = {1, 1, 1, 1};
    moco_encode_options encode;
    moco_encode_options_init(&encode);
    rig_ok(moco_augment_options_preset(&recipe, "none", 16));
    REFUSED(ENOTFOUND, "no recipe", moco_encoder_embed_files(encoder, paths, 1, NULL, MOCO_PROJECTION, &out, NULL));
    encode.recipe = &recipe;
    REFUSED(EINVAL, "paths is NULL", moco_encoder_embed_files(encoder, NULL, 4, &encode, MOCO_PROJECTION, &out, NULL));
    REFUSED(EINVAL, "paths[2]", moco_encoder_embed_files(encoder, paths, 4, &encode, MOCO_PROJECTION, &out, NULL));
    REFUSED(EINVAL, "n is 0", moco_encoder_embed_files(encoder, paths, 0, &encode, MOCO_PROJECTION, &out, NULL));
    REFUSED(EINVAL, "bytes is NULL",
            moco_encoder_embed_bytes(encoder, NULL, sizes, 4, &encode, MOCO_PROJECTION, &out, NULL));
    REFUSED(EINVAL, "sizes is NULL",
            moco_encoder_embed_bytes(encoder, bytes, NULL, 4, &encode, MOCO_PROJECTION, &out, NULL));
    REFUSED(EINVAL, "bytes[1]",
            moco_encoder_embed_bytes(encoder, bytes, sizes, 4, &encode, MOCO_PROJECTION, &out, NULL));
    REFUSED(ESHAPE, "out", moco_encoder_embed_files(encoder, paths, 2, &encode, MOCO_PROJECTION, &out, NULL));
    encode.workers = -1;
    REFUSED(EINVAL, "workers", moco_encoder_embed_files(encoder, paths, 1, &encode, MOCO_PROJECTION, &out, NULL));
    encode.workers = 1;
    rig_ok(moco_augment_options_preset(&recipe, "moco-v2", 16));
    REFUSED(EINVAL, "", moco_encoder_embed_files(encoder, paths, 1, &encode, MOCO_PROJECTION, &out, NULL));
    moco_encoder_cancel(NULL);
    moco_encoder_free(NULL);
    moco_encoder_free(encoder);
    moco_model_free(model);
}

/* ---- queues ---- */

static void queues(void **state)
{
    (void)state;
    moco_queue *queue = NULL;
    int64_t length = 0, next = 0;
    moco_tensor all = TENSOR(MOCO_F64, numbers, 8, 12);
    moco_tensor bad[] = {TENSOR(MOCO_F64, numbers, 2, 7),         TENSOR(MOCO_F64, numbers, 8),
                         TENSOR(MOCO_I64, numbers, 2, 8),         TENSOR(MOCO_F64, numbers, 0, 8),
                         TENSOR(MOCO_F64, numbers, INT64_MAX, 8), TENSOR((moco_dtype)7, numbers, 2, 8)};
    REFUSED(EINVAL, "queue is NULL", moco_queue_create(NULL, rig.device, 8, 12, 0));
    REFUSED(EINVAL, "dim", moco_queue_create(&queue, rig.device, 0, 12, 0));
    REFUSED(EINVAL, "dim", moco_queue_create(&queue, rig.device, -1, 12, 0));
    REFUSED(EINVAL, "dim", moco_queue_create(&queue, rig.device, INT_MAX, 12, 0));
    REFUSED(EINVAL, "length", moco_queue_create(&queue, rig.device, 8, 0, 0));
    REFUSED(EINVAL, "length", moco_queue_create(&queue, rig.device, 8, -1, 0));
    REFUSED(EINVAL, "length", moco_queue_create(&queue, rig.device, 8, INT64_MAX, 0));
    REFUSED(EINVAL, "length", moco_queue_create(&queue, rig.device, 8, INT64_MIN, 0));
    assert_null(queue);
    rig_ok(moco_queue_create(&queue, rig.device, 8, 12, 0));
    REFUSED(EINVAL, "keys is NULL", moco_queue_push(queue, NULL));
    REFUSED(EINVAL, "keys is NULL", moco_queue_get(queue, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(ESHAPE, "keys", moco_queue_push(queue, &bad[i]));
        REFUSED(ESHAPE, "keys", moco_queue_get(queue, &bad[i]));
    }
    bad[0] = tensor_of(MOCO_F64, numbers, 0, (int64_t[]){0});
    REFUSED(ESHAPE, "keys", moco_queue_push(queue, &bad[0]));
    bad[0] = TENSOR(MOCO_F64, NULL, 2, 8);
    REFUSED(EINVAL, "data NULL", moco_queue_push(queue, &bad[0]));
    rig_ok(moco_queue_get(queue, &all));
    rig_ok(moco_queue_state(queue, &length, &next, NULL));
    assert_int_equal(length, 12);
    assert_int_equal(next, 0); /* none of them was pushed */
    rig_ok(moco_queue_state(queue, NULL, NULL, NULL));
    moco_queue_free(queue);
    moco_queue_free(NULL);
}

/* ---- trainers ---- */

static const struct bad_field bad_trainers[] = {
    BAD_I(moco_trainer_options, batch_size, 0),
    BAD_I(moco_trainer_options, batch_size, -1),
    BAD_I(moco_trainer_options, batch_size, INT32_MAX),
    BAD_I(moco_trainer_options, batch_size, 3), /* no multiple of a group of 2 */
    BAD_I(moco_trainer_options, bn_group_size, 0),
    BAD_I(moco_trainer_options, bn_group_size, -1),
    BAD_I(moco_trainer_options, bn_group_size, INT32_MAX),
    BAD_I(moco_trainer_options, groups_per_launch, -1),
    BAD_I(moco_trainer_options, groups_per_launch, INT32_MIN),
    BAD_I(moco_trainer_options, image_h, 0),
    BAD_I(moco_trainer_options, image_h, INT32_MAX),
    BAD_I(moco_trainer_options, image_w, -1),
    BAD_D(moco_trainer_options, temperature, 0),
    BAD_D(moco_trainer_options, temperature, -0.2),
    BAD_D(moco_trainer_options, temperature, NAN),
    BAD_D(moco_trainer_options, temperature, INFINITY),
    BAD_D(moco_trainer_options, key_momentum, -0.1),
    BAD_D(moco_trainer_options, key_momentum, 1.1),
    BAD_D(moco_trainer_options, key_momentum, NAN),
    BAD_D(moco_trainer_options, sgd_momentum, -0.1),
    BAD_D(moco_trainer_options, sgd_momentum, INFINITY),
    BAD_D(moco_trainer_options, weight_decay, -1),
    BAD_D(moco_trainer_options, weight_decay, NAN),
    BAD_I(moco_trainer_options, precision, -1),
    BAD_I(moco_trainer_options, precision, 6),
    BAD_I(moco_trainer_options, symmetric, 2),
    BAD_I(moco_trainer_options, shuffle, -1),
    BAD_I(moco_trainer_options, interleave, INT32_MIN),
    BAD_I(moco_trainer_options, negatives, 2),
    BAD_I(moco_trainer_options, encoder_k, -1),
    BAD_I(moco_trainer_options, encoder_k, 1), /* with negatives from a queue */
    BAD_I(moco_trainer_options, loss, 2),
    BAD_I(moco_trainer_options, loss, 1), /* with a momentum encoder */
    BAD_I(moco_trainer_options, optimizer, INT32_MIN),
    BAD_I(moco_trainer_options, recompute, 2),
    BAD_I(moco_trainer_options, recompute, -1),
    BAD_I(moco_trainer_options, ahead, 2),
    BAD_I(moco_trainer_options, ahead, -1),
    BAD_D(moco_trainer_options, trust_coefficient, 0),
    BAD_D(moco_trainer_options, trust_coefficient, NAN),
};

static void making_trainers(void **state)
{
    (void)state;
    moco_model *model;
    moco_queue *queue, *narrow;
    moco_device *device;
    moco_trainer *made = NULL;
    moco_memory_estimate e;
    const moco_model_options *m = &rig.spec.model;
    const moco_trainer_options *o = &rig.spec.trainer;
    moco_memory_estimate_init(&e);
    rig_ok(moco_model_create(&model, rig.device, m));
    rig_ok(moco_queue_create(&queue, rig.device, 8, 12, 0));
    rig_ok(moco_queue_create(&narrow, rig.device, 7, 12, 0));
    REFUSED(EINVAL, "trainer is NULL", moco_trainer_create(NULL, model, queue, o));
    REFUSED(EINVAL, "options is NULL", moco_trainer_create(&made, model, queue, NULL));
    REFUSED(EINVAL, "queue is NULL", moco_trainer_create(&made, model, NULL, o));
    REFUSED(EINVAL, "keys of 7", moco_trainer_create(&made, model, narrow, o));
    REFUSED(ESTATE, "model", moco_trainer_create(&made, rig.model, queue, o));
    REFUSED(ESTATE, "queue", moco_trainer_create(&made, model, rig.queue, o));
    moco_queue_free(narrow);
    rig_ok(moco_device_open(&device, rig.context, "ref"));
    rig_ok(moco_queue_create(&narrow, device, 8, 12, 0));
    REFUSED(EINVAL, "different devices", moco_trainer_create(&made, model, narrow, o));
    for (size_t i = 0; i < sizeof bad_trainers / sizeof *bad_trainers; i++) {
        moco_trainer_options options = *o;
        bad_field_set(&options, &bad_trainers[i]);
        REFUSED(EINVAL, bad_field_word(&bad_trainers[i]), moco_trainer_create(&made, model, queue, &options));
        assert_null(made);
        REFUSED(EINVAL, bad_field_word(&bad_trainers[i]), moco_trainer_estimate(rig.device, m, 12, &options, &e));
    }
    rig_ok(moco_trainer_create(&made, model, queue, o)); /* no refusal kept model or queue */
    moco_trainer_free(made);
    moco_trainer_free(NULL);
    moco_queue_free(narrow);
    moco_device_free(device);
    moco_queue_free(queue);
    moco_model_free(model);
}

/* A trainer that is gone gives model and queue back, to another trainer and to the caller. */
static void one_after_another(void **state)
{
    (void)state;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *first, *second = NULL;
    moco_tensor bias = TENSOR(MOCO_F64, numbers, 8);
    rig_ok(moco_model_create(&model, rig.device, &rig.spec.model));
    rig_ok(moco_queue_create(&queue, rig.device, 8, 12, 0));
    rig_ok(moco_model_get(model, "fc.2.bias", &bias));
    rig_ok(moco_trainer_create(&first, model, queue, &rig.spec.trainer));
    REFUSED(ESTATE, "model", moco_trainer_create(&second, model, queue, &rig.spec.trainer));
    REFUSED(ESTATE, "moco_trainer_set", moco_model_set(model, "fc.2.bias", &bias));
    REFUSED(ESTATE, "moco_trainer_load", moco_model_load(model, scratch_path(&folder, "state")));
    moco_trainer_free(first);
    rig_ok(moco_model_set(model, "fc.2.bias", &bias));
    rig_ok(moco_model_load(model, scratch_path(&folder, "state")));
    rig_ok(moco_trainer_create(&second, model, queue, &rig.spec.trainer));
    moco_trainer_free(second);
    moco_queue_free(queue);
    moco_model_free(model);
}

static void steps(void **state)
{
    (void)state;
    moco_step_report report;
    moco_step_report_init(&report);
    static const struct {
        struct bad_field field;
        moco_status status;
    } bad[] = {
        {BAD_WORD(moco_batch, n, BAD_INT32, 0, 0, "0 images"), MOCO_ESHAPE},
        {BAD_WORD(moco_batch, n, BAD_INT32, -1, 0, "-1 images"), MOCO_ESHAPE},
        {BAD_WORD(moco_batch, n, BAD_INT32, INT32_MAX, 0, "batch_size"), MOCO_ESHAPE},
        {BAD_WORD(moco_batch, h, BAD_INT32, 8, 0, "8 x 16"), MOCO_ESHAPE},
        {BAD_WORD(moco_batch, w, BAD_INT32, -1, 0, "16 x -1"), MOCO_ESHAPE},
        {BAD_I(moco_batch, views, 0), MOCO_ESHAPE},
        {BAD_I(moco_batch, views, 1), MOCO_ESHAPE},
        {BAD_I(moco_batch, views, 3), MOCO_ESHAPE},
        {BAD_I(moco_batch, reserved0, 1), MOCO_EINVAL},
        {BAD_S(moco_batch, view[0], NULL), MOCO_EINVAL},
        {BAD_S(moco_batch, view[1], NULL), MOCO_EINVAL},
        {BAD_L(moco_batch, epoch, -1), MOCO_EINVAL},
        {BAD_L(moco_batch, position, INT64_MIN), MOCO_EINVAL},
    };
    static const double rates[] = {-1, NAN, INFINITY, -INFINITY};
    REFUSED(EINVAL, "report is NULL", moco_trainer_report(rig.trainer, NULL));
    REFUSED(ESTATE, "no step", moco_trainer_report(rig.trainer, &report));
    REFUSED(EINVAL, "batch is NULL", moco_trainer_step(rig.trainer, NULL, 0.1));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moco_batch batch = rig.batch;
        bad_field_set(&batch, &bad[i].field);
        refused(moco_trainer_step(rig.trainer, &batch, 0.1), bad[i].status, bad_field_word(&bad[i].field),
                "moco_trainer_step()");
    }
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        REFUSED(EINVAL, "lr", moco_trainer_step(rig.trainer, &rig.batch, rates[i]));
    moco_trainer_cancel(NULL);
    moco_trainer_cancel(rig.trainer);
    REFUSED(ECANCELED, "cancelled", moco_trainer_step(rig.trainer, &rig.batch, 0.1));
    REFUSED(ESTATE, "no step", moco_trainer_report(rig.trainer, &report)); /* still none */
    rig_ok(moco_trainer_cursor(rig.trainer, NULL, NULL, NULL));
}

static void state_by_name(void **state)
{
    (void)state;
    moco_tensor good = TENSOR(MOCO_F64, numbers, 8), bad = TENSOR(MOCO_F64, numbers, 9);
    int64_t place = 12;
    moco_tensor pointer = TENSOR(MOCO_I64, &place, 1);
    assert_null(moco_trainer_tensor_name(rig.trainer, -1));
    assert_null(moco_trainer_tensor_name(rig.trainer, INT_MAX));
    REFUSED(EINVAL, "name is NULL", moco_trainer_get(rig.trainer, NULL, &good));
    REFUSED(EINVAL, "name is NULL", moco_trainer_set(rig.trainer, NULL, &good));
    REFUSED(ENOTFOUND, "fc.2.bias", moco_trainer_get(rig.trainer, "fc.2.bias", &good)); /* whose? */
    REFUSED(ENOTFOUND, "\"\"", moco_trainer_set(rig.trainer, "", &good));
    REFUSED(EINVAL, "tensor is NULL", moco_trainer_get(rig.trainer, "queue", NULL));
    REFUSED(EINVAL, "tensor is NULL", moco_trainer_set(rig.trainer, "queue", NULL));
    REFUSED(ESHAPE, "encoder_k.fc.2.bias", moco_trainer_get(rig.trainer, "encoder_k.fc.2.bias", &bad));
    REFUSED(ESHAPE, "momentum.encoder_q.fc.2.bias",
            moco_trainer_set(rig.trainer, "momentum.encoder_q.fc.2.bias", &bad));
    REFUSED(EINVAL, "grad.encoder_q.fc.2.bias", moco_trainer_set(rig.trainer, "grad.encoder_q.fc.2.bias", &good));
    REFUSED(EINVAL, "queue_ptr", moco_trainer_set(rig.trainer, "queue_ptr", &pointer));
    place = -1;
    REFUSED(EINVAL, "queue_ptr", moco_trainer_set(rig.trainer, "queue_ptr", &pointer));
    place = INT64_MAX;
    REFUSED(EINVAL, "queue_ptr", moco_trainer_set(rig.trainer, "queue_ptr", &pointer));
    good.data = NULL;
    REFUSED(EINVAL, "data NULL", moco_trainer_set(rig.trainer, "encoder_q.fc.2.bias", &good));
    rig_ok(moco_trainer_get(rig.trainer, "encoder_q.fc.2.bias", &good)); /* asks for the shape */
}

/* ---- files ---- */

static void files(void **state)
{
    (void)state;
    moco_model_options model;
    moco_trainer_options trainer;
    int64_t length;
    char note[7], path[300], missing[300], noise[300];
    snprintf(path, sizeof path, "%s", scratch_path(&folder, "state"));
    snprintf(missing, sizeof missing, "%s", scratch_path(&folder, "none/there"));
    snprintf(noise, sizeof noise, "%s", scratch_path(&folder, "noise"));
    scratch_write(&folder, "noise", "this is not a file of tensors", 29);
    moco_model_options_init(&model);
    moco_trainer_options_init(&trainer);
    REFUSED(EINVAL, "path is NULL", moco_trainer_save(rig.trainer, NULL, NULL));
    REFUSED(EIO, "none", moco_trainer_save(rig.trainer, missing, NULL));
    REFUSED(EINVAL, "path is NULL", moco_trainer_load(rig.trainer, NULL));
    REFUSED(EIO, "none/there", moco_trainer_load(rig.trainer, missing));
    REFUSED(EFORMAT, "noise", moco_trainer_load(rig.trainer, noise));
    REFUSED(EINVAL, "path is NULL", moco_checkpoint_describe(rig.context, NULL, &model, &trainer, &length, note, 7));
    REFUSED(EIO, "none/there", moco_checkpoint_describe(rig.context, missing, &model, &trainer, &length, note, 7));
    REFUSED(EFORMAT, "noise", moco_checkpoint_describe(rig.context, noise, &model, &trainer, &length, note, 7));
    REFUSED(ESHAPE, "note",
            moco_checkpoint_describe(rig.context, path, NULL, NULL, NULL, note, 6)); /* no room for the 0 */
    REFUSED(ESHAPE, "note", moco_checkpoint_describe(rig.context, path, NULL, NULL, NULL, note, 0));
    rig_ok(moco_checkpoint_describe(rig.context, path, NULL, NULL, NULL, NULL, SIZE_MAX));
    rig_ok(moco_checkpoint_describe(rig.context, path, &model, &trainer, &length, note, 7));
    assert_string_equal(note, "a note");
}

static void estimates(void **state)
{
    (void)state;
    moco_memory_estimate e;
    moco_model_options model = rig.spec.model;
    moco_trainer_options options = rig.spec.trainer;
    moco_memory_estimate_init(&e);
    REFUSED(EINVAL, "options is NULL", moco_trainer_estimate(rig.device, NULL, 12, &options, &e));
    REFUSED(EINVAL, "options is NULL", moco_trainer_estimate(rig.device, &model, 12, NULL, &e));
    REFUSED(EINVAL, "estimate is NULL", moco_trainer_estimate(rig.device, &model, 12, &options, NULL));
    REFUSED(EINVAL, "queue_length", moco_trainer_estimate(rig.device, &model, 0, &options, &e));
    REFUSED(EINVAL, "queue_length", moco_trainer_estimate(rig.device, &model, -1, &options, &e));
    REFUSED(EINVAL, "queue_length", moco_trainer_estimate(rig.device, &model, INT64_MAX, &options, &e));
    assert_int_equal(e.total_bytes, 0);
    /* The largest of everything: refused before a number of bytes wraps, and told while it does not. */
    options.groups_per_launch = 1;
    options.image_h = options.image_w = 16384;
    model.arch = "resnet152";
    model.width = 16;
    for (options.batch_size = 1 << 20; options.batch_size > 1 << 15; options.batch_size /= 2) {
        options.bn_group_size = options.batch_size;
        REFUSED(ENOMEM, "bytes", moco_trainer_estimate(rig.device, &model, INT64_C(1) << 31, &options, &e));
    }
    options.bn_group_size = options.batch_size;
    rig_ok(moco_trainer_estimate(rig.device, &model, INT64_C(1) << 31, &options, &e));
    assert_true(e.slab_bytes > INT64_C(1) << 60 && e.total_bytes > e.slab_bytes && e.step_flops > 1e20);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(making_models), CASE(files_of_models), CASE(tensors_of_models), CASE(embedding), CASE(serving),
        CASE(queues),        CASE(making_trainers), CASE(one_after_another), CASE(steps),     CASE(state_by_name),
        CASE(files),         CASE(estimates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
