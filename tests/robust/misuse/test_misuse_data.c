/* SPDX-License-Identifier: MIT
 *
 * test_misuse_data: what base.h, data.h, augment.h, random.h and preset.h must refuse: NULL for each pointer,
 * sizes of 0, -1 and far too many, values out of range, calls out of order. The status is the documented one, the
 * sentence names the argument, and no memory stays behind. The handles themselves are test_misuse_handles's. */
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

enum { SIDE = 8, IMAGES = 4 };

static uint8_t pixels[IMAGES * SIDE * SIDE * 3], view_pixels[SIDE * SIDE * 3];

/* ---- contexts and devices ---- */

static void contexts(void **state)
{
    (void)state;
    moco_context *made = NULL;
    moco_context_options options;
    static const struct bad_field bad[] = {
        BAD_I(moco_context_options, threads, -1),
        BAD_I(moco_context_options, threads, 4097),
        BAD_I(moco_context_options, threads, INT32_MAX),
    };
    REFUSED(EINVAL, "context is NULL", moco_context_create(NULL, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moco_context_options_init(&options);
        bad_field_set(&options, &bad[i]);
        REFUSED(EINVAL, bad_field_word(&bad[i]), moco_context_create(&made, &options));
        assert_null(made);
    }
    moco_context_options_init(&options);
    options.alloc = failing_alloc;
    REFUSED(EINVAL, "release", moco_context_create(&made, &options));
    moco_context_options_init(&options);
    options.release = failing_release;
    REFUSED(EINVAL, "alloc", moco_context_create(&made, &options));
    moco_context_options_init(&options);
    options.tuning_file = "";
    REFUSED(EINVAL, "tuning_file", moco_context_create(&made, &options));
    misuse_ok(moco_context_memory(misuse.context, NULL, NULL, NULL));
    moco_context_free(NULL);
}

static void devices(void **state)
{
    (void)state;
    moco_device *made = NULL;
    char name[5000];
    memset(name, 'r', sizeof name - 1);
    name[sizeof name - 1] = 0;
    REFUSED(EINVAL, "device is NULL", moco_device_open(NULL, misuse.context, "ref"));
    REFUSED(EINVAL, "name is NULL", moco_device_open(&made, misuse.context, NULL));
    REFUSED(ENODEV, "no device", moco_device_open(&made, misuse.context, ""));
    REFUSED(ENODEV, "quantum", moco_device_open(&made, misuse.context, "quantum"));
    REFUSED(ENODEV, "rrrr", moco_device_open(&made, misuse.context, name));
    REFUSED(ENODEV, "%n%s", moco_device_open(&made, misuse.context, "%n%s"));
    assert_null(made);
    REFUSED(EINVAL, "info is NULL", moco_device_describe(misuse.device, NULL));
    moco_device_free(NULL);
}

/* ---- structs ---- */

#define INITS(X)                                                                                                       \
    X(moco_tensor)                                                                                                     \
    X(moco_context_options)                                                                                            \
    X(moco_device_info)                                                                                                \
    X(moco_model_options)                                                                                              \
    X(moco_model_info)                                                                                                 \
    X(moco_batch)                                                                                                      \
    X(moco_trainer_options)                                                                                            \
    X(moco_step_report)                                                                                                \
    X(moco_memory_estimate)                                                                                            \
    X(moco_image_source)                                                                                               \
    X(moco_encoded_source)                                                                                             \
    X(moco_loader_options)                                                                                             \
    X(moco_loader_stats)                                                                                               \
    X(moco_view_params)                                                                                                \
    X(moco_feature_stats)                                                                                              \
    X(moco_probe_options)                                                                                              \
    X(moco_probe_fit_options)                                                                                          \
    X(moco_score)

/* An init macro with NULL, and sizes that no struct has: nothing is written. */
static void init_macros(void **state)
{
    (void)state;
#define LEFT_ALONE(type)                                                                                               \
    {                                                                                                                  \
        type given, before;                                                                                            \
        memset(&given, 0x5a, sizeof given);                                                                            \
        before = given;                                                                                                \
        type##_init((type *)NULL);                                                                                     \
        type##_init_sized(NULL, 0);                                                                                    \
        type##_init_sized(&given, 0);                                                                                  \
        type##_init_sized(&given, 7);                                                                                  \
        type##_init_sized(&given, 65537);                                                                              \
        type##_init_sized(&given, SIZE_MAX);                                                                           \
        assert_memory_equal(&given, &before, sizeof given);                                                            \
    }
    INITS(LEFT_ALONE)
#undef LEFT_ALONE
}

static void presets(void **state)
{
    (void)state;
    moco_preset preset;
    moco_model_options model;
    moco_trainer_options trainer;
    moco_augment_options recipe;
    static const size_t sizes[] = {0, 4, 12, 65544, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        REFUSED(EINVAL, "size", moco_preset_get_sized(&preset, sizes[i], "demo"));
        REFUSED(EINVAL, "size", moco_model_options_preset_sized(&model, sizes[i], "demo"));
        REFUSED(EINVAL, "size", moco_trainer_options_preset_sized(&trainer, sizes[i], "demo"));
        REFUSED(EINVAL, "size", moco_augment_options_preset_sized(&recipe, sizes[i], "demo", 32));
    }
    REFUSED(EINVAL, "preset is NULL", moco_preset_get((moco_preset *)NULL, "demo"));
    REFUSED(EINVAL, "options is NULL", moco_model_options_preset((moco_model_options *)NULL, "demo"));
    REFUSED(EINVAL, "options is NULL", moco_trainer_options_preset((moco_trainer_options *)NULL, "demo"));
    REFUSED(EINVAL, "options is NULL", moco_augment_options_preset((moco_augment_options *)NULL, "demo", 32));
    REFUSED(EINVAL, "name is NULL", moco_preset_get(&preset, NULL));
    REFUSED(EINVAL, "name is NULL", moco_model_options_preset(&model, NULL));
    REFUSED(EINVAL, "name is NULL", moco_trainer_options_preset(&trainer, NULL));
    REFUSED(EINVAL, "name is NULL", moco_augment_options_preset(&recipe, NULL, 32));
    REFUSED(ENOTFOUND, "moco-v2", moco_preset_get(&preset, ""));
    REFUSED(ENOTFOUND, "moco-v2", moco_model_options_preset(&model, "MOCO-V2"));
    REFUSED(ENOTFOUND, "cifar10", moco_trainer_options_preset(&trainer, "none"));
    REFUSED(ENOTFOUND, "moco-v2", moco_augment_options_preset(&recipe, "moco", 32));
    REFUSED(EINVAL, "size", moco_augment_options_preset(&recipe, "demo", 0));
    REFUSED(EINVAL, "size", moco_augment_options_preset(&recipe, "eval", INT_MAX));
    REFUSED(EINVAL, "size", moco_augment_options_preset(&recipe, "eval", INT_MIN));
    moco_preset unset = {0};
    misuse_ok(moco_preset_get(&preset, "demo"));
    assert_true(isnan(moco_preset_lr(NULL, 0, 1, 1)));
    assert_true(isnan(moco_preset_lr(&unset, 0, 1, 1)));
    assert_true(isnan(moco_preset_lr(&preset, 0, 0, 1)));
    assert_true(isnan(moco_preset_lr(&preset, 0, -1, 1)));
    assert_true(moco_preset_lr(&preset, 0, 1, 0) == preset.lr); /* no length: as moco_lr_cosine */
    preset.schedule = 77;
    assert_true(isnan(moco_preset_lr(&preset, 0, 1, 1)));
    assert_null(moco_preset_name(-1));
    assert_null(moco_preset_name(INT_MAX));
    assert_non_null(moco_preset_name(0));
}

/* ---- functions without a handle ---- */

static void pure_functions(void **state)
{
    (void)state;
    int32_t order[4];
    int64_t sample;
    REFUSED(EINVAL, "permutation is NULL", moco_shuffle_permutation(0, 0, 0, 4, NULL));
    REFUSED(EINVAL, "step", moco_shuffle_permutation(0, -1, 0, 4, order));
    REFUSED(EINVAL, "direction", moco_shuffle_permutation(0, 0, 2, 4, order));
    REFUSED(EINVAL, "direction", moco_shuffle_permutation(0, 0, -1, 4, order));
    REFUSED(EINVAL, "n is", moco_shuffle_permutation(0, 0, 0, 0, order));
    REFUSED(EINVAL, "n is", moco_shuffle_permutation(0, 0, 0, INT_MIN, order));
    misuse_ok(moco_shuffle_permutation(UINT64_MAX, INT64_MAX, 1, 4, order));
    REFUSED(EINVAL, "sample is NULL", moco_epoch_permutation(0, 0, 4, 0, NULL));
    REFUSED(EINVAL, "epoch", moco_epoch_permutation(0, -1, 4, 0, &sample));
    REFUSED(EINVAL, "n is", moco_epoch_permutation(0, 0, 0, 0, &sample));
    REFUSED(EINVAL, "n is", moco_epoch_permutation(0, 0, -1, 0, &sample));
    REFUSED(EINVAL, "n is", moco_epoch_permutation(0, 0, INT64_MAX, 0, &sample));
    REFUSED(EINVAL, "position", moco_epoch_permutation(0, 0, 4, -1, &sample));
    REFUSED(EINVAL, "position", moco_epoch_permutation(0, 0, 4, 4, &sample));
    misuse_ok(moco_epoch_permutation(UINT64_MAX, INT64_MAX, INT64_C(1) << 48, (INT64_C(1) << 48) - 1, &sample));
    assert_true(moco_lr_cosine(0.5, 3, 0) == 0.5);
    assert_true(moco_lr_warmup_cosine(0.5, 3, 0, 0) == 0.5); /* no length: as moco_lr_cosine */
    assert_true(moco_lr_warmup_cosine(0.5, 3, 10, 5) == 0.15);
    assert_true(moco_lr_steps(0.5, 3, NULL, 3, 0.1) == 0.5);
    assert_true(moco_lr_steps(0.5, 3, order, -1, 0.1) == 0.5);
    assert_int_equal(moco_dtype_size((moco_dtype)0), 0);
    assert_int_equal(moco_dtype_size((moco_dtype)INT_MAX), 0);
    assert_string_equal(moco_status_text((moco_status)-1000), "unknown status");
    assert_int_equal(moco_version(), MOCO_VERSION);
}

/* ---- data sets ---- */

static void opening_data_sets(void **state)
{
    (void)state;
    moco_dataset *made = NULL;
    const char *missing[] = {scratch_path(&misuse.folder, "none/there")},
               *holes[] = {scratch_path(&misuse.folder, "none/there"), NULL};
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_open_folder(NULL, misuse.context, "."));
    REFUSED(EINVAL, "path is NULL", moco_dataset_open_folder(&made, misuse.context, NULL));
    REFUSED(EINVAL, "path", moco_dataset_open_folder(&made, misuse.context, ""));
    REFUSED(EIO, "none/there", moco_dataset_open_folder(&made, misuse.context, missing[0]));
    REFUSED(EINVAL, misuse.folder.path, moco_dataset_open_folder(&made, misuse.context, misuse.folder.path));
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_open_list(NULL, misuse.context, "."));
    REFUSED(EINVAL, "path is NULL", moco_dataset_open_list(&made, misuse.context, NULL));
    REFUSED(EIO, "none/there", moco_dataset_open_list(&made, misuse.context, missing[0]));
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_open_cifar10(NULL, misuse.context, missing, 1));
    REFUSED(EINVAL, "paths is NULL", moco_dataset_open_cifar10(&made, misuse.context, NULL, 1));
    REFUSED(EINVAL, "paths[1] is NULL", moco_dataset_open_cifar10(&made, misuse.context, holes, 2));
    REFUSED(EINVAL, "count is 0", moco_dataset_open_cifar10(&made, misuse.context, missing, 0));
    REFUSED(EINVAL, "count is -1", moco_dataset_open_cifar10(&made, misuse.context, missing, -1));
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_open_tar(NULL, misuse.context, missing, 1));
    REFUSED(EINVAL, "paths is NULL", moco_dataset_open_tar(&made, misuse.context, NULL, 1));
    REFUSED(EINVAL, "paths[1] is NULL", moco_dataset_open_tar(&made, misuse.context, holes, 2));
    REFUSED(EINVAL, "count is 0", moco_dataset_open_tar(&made, misuse.context, missing, 0));
    REFUSED(EINVAL, "count is -2147483648", moco_dataset_open_tar(&made, misuse.context, missing, INT_MIN));
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_open_index(NULL, misuse.context, "."));
    REFUSED(EINVAL, "path is NULL", moco_dataset_open_index(&made, misuse.context, NULL));
    REFUSED(EIO, "none/there", moco_dataset_open_index(&made, misuse.context, missing[0]));
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_save_index(NULL, missing[0]));
    assert_null(made);
    moco_dataset_free(NULL);
}

static void data_in_memory(void **state)
{
    (void)state;
    moco_dataset *made = NULL;
    const moco_tensor bad[] = {
        TENSOR(MOCO_F32, pixels, IMAGES, 2, 8, 3),
        TENSOR((moco_dtype)0, pixels, IMAGES, 8, 8, 3),
        TENSOR((moco_dtype)99, pixels, IMAGES, 8, 8, 3),
        TENSOR(MOCO_U8, pixels, 8, 8, 3),
        TENSOR(MOCO_U8, pixels, 0, 8, 8, 3),
        TENSOR(MOCO_U8, pixels, -1, 8, 8, 3),
        TENSOR(MOCO_U8, pixels, IMAGES, 8, 8, 4),
        TENSOR(MOCO_U8, pixels, IMAGES, INT64_MIN, 8, 3),
        TENSOR(MOCO_U8, pixels, INT64_MAX, 8, 8, 3),
        TENSOR(MOCO_U8, pixels, 1, 1, 32768, 3),
        TENSOR(MOCO_U8, pixels, 1, INT64_C(1) << 32, 1, 3),
    };
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_from_memory(NULL, misuse.context, &bad[0], NULL));
    REFUSED(EINVAL, "images is NULL", moco_dataset_from_memory(&made, misuse.context, NULL, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(ESHAPE, "images", moco_dataset_from_memory(&made, misuse.context, &bad[i], NULL));
    moco_tensor t = TENSOR(MOCO_U8, NULL, IMAGES, 8, 8, 3);
    REFUSED(EINVAL, "data NULL", moco_dataset_from_memory(&made, misuse.context, &t, NULL));
    t.data = pixels;
    t.reserved0 = 1;
    REFUSED(EINVAL, "reserved0", moco_dataset_from_memory(&made, misuse.context, &t, NULL));
    t.reserved0 = 0;
    t.ndim = 9;
    REFUSED(ESHAPE, "dimensions", moco_dataset_from_memory(&made, misuse.context, &t, NULL));
    t.ndim = -1;
    REFUSED(ESHAPE, "dimensions", moco_dataset_from_memory(&made, misuse.context, &t, NULL));
    assert_null(made);
}

/* A picture source of a bad character: `user` says which. */
enum { GOOD, NO_PIXELS, NO_SIZE, NEGATIVE, HUGE_SIDES, END, POSITIVE };
static moco_status read_picture(void *user, int64_t id, const uint8_t **at, int32_t *w, int32_t *h)
{
    int how = *(const int *)user;
    (void)id;
    *at = how == NO_PIXELS ? NULL : pixels;
    *w = how == NO_SIZE ? 0 : how == NEGATIVE ? -8 : how == HUGE_SIDES ? INT32_MAX : SIDE;
    *h = how == HUGE_SIDES ? INT32_MAX : SIDE;
    return how == END ? MOCO_EEND : how == POSITIVE ? (moco_status)5 : MOCO_OK;
}

static int32_t read_label(void *user, int64_t id)
{
    (void)user;
    return id == 0 ? INT32_MAX : INT32_MIN;
}

static void data_by_callback(void **state)
{
    (void)state;
    int how = GOOD;
    moco_dataset *made = NULL;
    moco_image_source source, good;
    moco_image_source_init(&good);
    good.count = 2;
    good.classes = 3;
    good.read = read_picture;
    good.label = read_label;
    good.user = &how;
    static const struct bad_field bad[] = {
        BAD_L(moco_image_source, count, 0),         BAD_L(moco_image_source, count, -1),
        BAD_L(moco_image_source, count, INT64_MAX), BAD_L(moco_image_source, count, (INT64_C(1) << 48) + 1),
        BAD_I(moco_image_source, classes, 0),       BAD_I(moco_image_source, classes, -1),
        BAD_S(moco_image_source, read, NULL),       BAD_S(moco_image_source, label, NULL),
    };
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_from_callback(NULL, misuse.context, &good));
    REFUSED(EINVAL, "source is NULL", moco_dataset_from_callback(&made, misuse.context, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        source = good;
        bad_field_set(&source, &bad[i]);
        REFUSED(EINVAL, bad_field_word(&bad[i]), moco_dataset_from_callback(&made, misuse.context, &source));
        assert_null(made);
    }
    misuse_ok(moco_dataset_from_callback(&made, misuse.context, &good));
    assert_int_equal(moco_dataset_label(made, 0), -1); /* not below classes */
    assert_int_equal(moco_dataset_label(made, 1), -1);
    REFUSED(ENOTSUP, "from tar shards", moco_dataset_save_index(made, scratch_path(&misuse.folder, "index")));
    REFUSED(EINVAL, "path is NULL", moco_dataset_save_index(made, NULL));
    int64_t number;
    for (how = NO_SIZE; how <= HUGE_SIDES; how++) { /* bad pictures */
        misuse_ok(moco_dataset_verify(made, 0, 2, 0, NULL, NULL, &number));
        assert_int_equal(number, 2);
    }
    how = NO_PIXELS;
    REFUSED(EINVAL, "without pixels", moco_dataset_verify(made, 0, 2, 0, NULL, NULL, &number));
    for (how = END; how <= POSITIVE; how++) /* answers that a loop over batches would take for something else */
        REFUSED(EIO, "answered", moco_dataset_verify(made, 0, 2, 0, NULL, NULL, &number));
    moco_dataset_free(made);
}

static moco_status read_bytes(void *user, int64_t id, const void **at, size_t *size, void **cookie, char *reason,
                              size_t room)
{
    int how = *(const int *)user;
    (void)id;
    assert_true(*at == NULL && *size == 0 && *cookie == NULL && reason[0] == 0 && room == MOCO_REASON);
    memset(reason, '\x1b', room); /* as far as there is room, and without its end */
    *at = how == NO_PIXELS || how == NO_SIZE ? NULL : pixels;
    *size = how == NO_SIZE ? 0 : sizeof pixels;
    return how == END ? MOCO_EEND : how == POSITIVE ? (moco_status)5 : MOCO_OK;
}

static void data_by_encoded_callback(void **state)
{
    (void)state;
    int how = GOOD;
    int64_t number;
    moco_dataset *made = NULL;
    moco_encoded_source source, good;
    moco_encoded_source_init(&good);
    good.count = 2;
    good.classes = 3;
    good.read = read_bytes;
    good.label = read_label;
    good.user = &how;
    static const struct bad_field bad[] = {
        BAD_L(moco_encoded_source, count, 0),         BAD_L(moco_encoded_source, count, -1),
        BAD_L(moco_encoded_source, count, INT64_MAX), BAD_L(moco_encoded_source, count, (INT64_C(1) << 48) + 1),
        BAD_I(moco_encoded_source, classes, 0),       BAD_I(moco_encoded_source, classes, -1),
        BAD_S(moco_encoded_source, read, NULL),       BAD_S(moco_encoded_source, label, NULL),
    };
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_from_encoded(NULL, misuse.context, &good));
    REFUSED(EINVAL, "source is NULL", moco_dataset_from_encoded(&made, misuse.context, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        source = good;
        bad_field_set(&source, &bad[i]);
        REFUSED(EINVAL, bad_field_word(&bad[i]), moco_dataset_from_encoded(&made, misuse.context, &source));
        assert_null(made);
    }
    misuse_ok(moco_dataset_from_encoded(&made, misuse.context, &good));
    assert_int_equal(moco_dataset_label(made, 0), -1); /* not below classes */
    for (how = GOOD; how <= NO_SIZE; how += NO_SIZE) { /* no picture's bytes, and none */
        misuse_ok(moco_dataset_verify(made, 0, 2, 0, NULL, NULL, &number));
        assert_int_equal(number, 2);
    }
    how = NO_PIXELS;
    REFUSED(EINVAL, "bytes at NULL", moco_dataset_verify(made, 0, 2, 0, NULL, NULL, &number));
    for (how = END; how <= POSITIVE; how++)
        REFUSED(EIO, "answered", moco_dataset_verify(made, 0, 2, 0, NULL, NULL, &number));
    assert_null(strchr(moco_error(), '\x1b'));
    moco_dataset_free(made);
}

static void asking_data_sets(void **state)
{
    (void)state;
    moco_dataset *dataset;
    char text[8];
    int64_t number;
    static const int64_t outside[] = {-1, IMAGES, INT64_MAX, INT64_MIN};
    const moco_tensor images = TENSOR(MOCO_U8, pixels, IMAGES, SIDE, SIDE, 3);
    misuse_ok(moco_dataset_from_memory(&dataset, misuse.context, &images, NULL));
    REFUSED(EINVAL, "text is NULL", moco_dataset_path(dataset, 0, NULL, 8));
    REFUSED(ESHAPE, "0 bytes", moco_dataset_path(dataset, 0, text, 0));
    for (size_t i = 0; i < 4; i++) {
        REFUSED(EINVAL, "id is", moco_dataset_path(dataset, outside[i], text, sizeof text));
        assert_int_equal(moco_dataset_label(dataset, outside[i]), -1);
        assert_string_equal(moco_dataset_class_name(dataset, (int32_t)outside[i]), "");
    }
    assert_string_equal(moco_dataset_class_name(dataset, INT32_MAX), "");
    static const int indices[] = {0, -1, INT_MAX, INT_MIN};
    for (size_t i = 0; i < 4; i++) {
        number = 7;
        assert_null(moco_dataset_left_out(dataset, indices[i], &number));
        assert_int_equal(number, 0);
        assert_null(moco_dataset_left_out(dataset, indices[i], NULL));
    }
    assert_null(moco_dataset_index_hash(dataset));
    assert_null(moco_dataset_index_hash(NULL));
    assert_int_equal(moco_dataset_classes(dataset), 0);
    assert_int_equal(moco_dataset_count(dataset), IMAGES);
    REFUSED(EINVAL, "bad is NULL", moco_dataset_verify(dataset, 0, 1, 0, NULL, NULL, NULL));
    REFUSED(EINVAL, "first", moco_dataset_verify(dataset, -1, 1, 0, NULL, NULL, &number));
    REFUSED(EINVAL, "first", moco_dataset_verify(dataset, INT64_MAX, INT64_MAX, 0, NULL, NULL, &number));
    REFUSED(EINVAL, "first", moco_dataset_verify(dataset, INT64_MIN, INT64_MIN, 0, NULL, NULL, &number));
    REFUSED(EINVAL, "count", moco_dataset_verify(dataset, 0, -1, 0, NULL, NULL, &number));
    REFUSED(EINVAL, "count", moco_dataset_verify(dataset, 1, IMAGES, 0, NULL, NULL, &number));
    REFUSED(EINVAL, "max_pixels", moco_dataset_verify(dataset, 0, 1, -1, NULL, NULL, &number));
    misuse_ok(moco_dataset_verify(dataset, IMAGES, 0, INT64_MAX, NULL, NULL, &number));
    moco_dataset *matched = dataset;
    REFUSED(EINVAL, "out is NULL", moco_dataset_match_classes(NULL, dataset, dataset));
    REFUSED(EINVAL, "like is NULL", moco_dataset_match_classes(&matched, dataset, NULL));
    assert_null(matched);
    REFUSED(EINVAL, "dataset is NULL", moco_dataset_match_classes(&matched, NULL, dataset));
    REFUSED(EINVAL, "no classes", moco_dataset_match_classes(&matched, dataset, dataset));
    REFUSED(EINVAL, "out is NULL", moco_dataset_join(NULL, dataset, dataset));
    REFUSED(EINVAL, "first is NULL", moco_dataset_join(&matched, NULL, dataset));
    REFUSED(EINVAL, "second is NULL", moco_dataset_join(&matched, dataset, NULL));
    assert_null(matched);
    moco_dataset_free(dataset);
}

/* ---- pictures and views ---- */

static void pictures(void **state)
{
    (void)state;
    moco_image *made = NULL;
    REFUSED(EINVAL, "image is NULL", moco_image_read(NULL, misuse.context, "x", 0));
    REFUSED(EINVAL, "path is NULL", moco_image_read(&made, misuse.context, NULL, 0));
    REFUSED(EINVAL, "max_pixels", moco_image_read(&made, misuse.context, "x", -1));
    REFUSED(EIO, "none/there",
            moco_image_read(&made, misuse.context, scratch_path(&misuse.folder, "none/there"), INT64_MAX));
    REFUSED(EIO, "", moco_image_read(&made, misuse.context, "", 0));
    REFUSED(EINVAL, "image is NULL", moco_image_decode(NULL, misuse.context, "x", 1, 0));
    REFUSED(EINVAL, "bytes is NULL", moco_image_decode(&made, misuse.context, NULL, 1, 0));
    REFUSED(EINVAL, "max_pixels", moco_image_decode(&made, misuse.context, "x", 1, -1));
    REFUSED(EFORMAT, "empty", moco_image_decode(&made, misuse.context, "x", 0, 0));
    REFUSED(EFORMAT, "starts with bytes 78 00 00", moco_image_decode(&made, misuse.context, "x", 1, 0));
    assert_null(made);
    moco_image_free(NULL);
}

static void kept_pictures(void **state)
{
    (void)state;
    static uint8_t black[SIDE * SIDE * 3];
    moco_tensor image = TENSOR(MOCO_U8, black, 1, SIDE, SIDE, 3);
    moco_pictures *made = NULL;
    moco_dataset *dataset;
    int64_t bytes;
    misuse_ok(moco_dataset_from_memory(&dataset, misuse.context, &image, NULL));
    REFUSED(EINVAL, "pictures is NULL", moco_pictures_create(NULL, misuse.device, dataset, 0));
    REFUSED(EINVAL, "max_pixels", moco_pictures_create(&made, misuse.device, dataset, -1));
    REFUSED(ENOTSUP, "makes no views", moco_pictures_create(&made, misuse.device, dataset, INT64_MAX));
    REFUSED(EINVAL, "bytes is NULL", moco_pictures_estimate(misuse.device, dataset, NULL));
    REFUSED(ENOTSUP, "makes no views", moco_pictures_estimate(misuse.device, dataset, &bytes));
    assert_null(made);
    assert_int_equal(moco_pictures_bytes(NULL), 0);
    moco_pictures_free(NULL);
    moco_dataset_free(dataset);
}

static void recipes(void **state)
{
    (void)state;
    moco_augment *made = NULL;
    moco_augment_options recipe;
    static const struct bad_field bad[] = {
        BAD_I(moco_augment_options, size, 0),
        BAD_I(moco_augment_options, size, -1),
        BAD_I(moco_augment_options, size, INT32_MAX),
        BAD_I(moco_augment_options, crop, -1),
        BAD_I(moco_augment_options, crop, 4),
        BAD_WORD(moco_augment_options, scale[0], BAD_DOUBLE, 0, -1, "scale"),
        BAD_WORD(moco_augment_options, scale[1], BAD_DOUBLE, 0, NAN, "scale"),
        BAD_WORD(moco_augment_options, ratio[0], BAD_DOUBLE, 0, 0, "ratio"),
        BAD_WORD(moco_augment_options, ratio[1], BAD_DOUBLE, 0, INFINITY, "ratio"),
        BAD_D(moco_augment_options, jitter_p, 1.5),
        BAD_D(moco_augment_options, brightness, -1),
        BAD_D(moco_augment_options, contrast, NAN),
        BAD_D(moco_augment_options, saturation, INFINITY),
        BAD_D(moco_augment_options, hue, 0.6),
        BAD_D(moco_augment_options, grey_p, -0.1),
        BAD_I(moco_augment_options, grey_first, 2),
        BAD_I(moco_augment_options, reserved0, 1),
        BAD_D(moco_augment_options, blur_p, NAN),
        BAD_WORD(moco_augment_options, blur_sigma[0], BAD_DOUBLE, 0, -1, "blur_sigma"),
        BAD_WORD(moco_augment_options, blur_sigma[1], BAD_DOUBLE, 0, NAN, "blur_sigma"),
        BAD_D(moco_augment_options, flip_p, -INFINITY),
        BAD_I(moco_augment_options, interpolation, 2),
        BAD_I(moco_augment_options, crop_attempts, -1),
    };
    misuse_ok(moco_augment_options_preset(&recipe, "moco-v2", SIDE));
    REFUSED(EINVAL, "augment is NULL", moco_augment_create(NULL, misuse.context, &recipe));
    REFUSED(EINVAL, "recipe is NULL", moco_augment_create(&made, misuse.context, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        misuse_ok(moco_augment_options_preset(&recipe, "moco-v2", SIDE));
        bad_field_set(&recipe, &bad[i]);
        REFUSED(EINVAL, bad_field_word(&bad[i]), moco_augment_create(&made, misuse.context, &recipe));
        assert_null(made);
    }
    misuse_ok(moco_augment_options_preset(&recipe, "eval", SIDE));
    recipe.resize = SIDE - 1;
    REFUSED(EINVAL, "resize", moco_augment_create(&made, misuse.context, &recipe));
    misuse_ok(moco_augment_options_preset(&recipe, "simclr-eval", SIDE));
    recipe.centre_part = NAN;
    REFUSED(EINVAL, "centre_part", moco_augment_create(&made, misuse.context, &recipe));
    moco_augment_free(NULL);
}

static void drawing(void **state)
{
    (void)state;
    moco_augment *augment, *none;
    moco_augment_options recipe;
    moco_view_params params;
    moco_view_params_init(&params);
    misuse_ok(moco_augment_options_preset(&recipe, "moco-v2", SIDE));
    misuse_ok(moco_augment_create(&augment, misuse.context, &recipe));
    misuse_ok(moco_augment_options_preset(&recipe, "none", SIDE));
    misuse_ok(moco_augment_create(&none, misuse.context, &recipe));
    REFUSED(EINVAL, "params is NULL", moco_augment_draw(augment, 8, 8, 0, 0, 0, 0, NULL));
    REFUSED(EINVAL, "0 x 8", moco_augment_draw(augment, 0, 8, 0, 0, 0, 0, &params));
    REFUSED(EINVAL, "8 x -1", moco_augment_draw(augment, 8, -1, 0, 0, 0, 0, &params));
    REFUSED(EINVAL, "2147483647", moco_augment_draw(augment, INT_MAX, INT_MAX, 0, 0, 0, 0, &params));
    REFUSED(EINVAL, "epoch", moco_augment_draw(augment, 8, 8, 0, -1, 0, 0, &params));
    REFUSED(EINVAL, "sample", moco_augment_draw(augment, 8, 8, 0, 0, INT64_MIN, 0, &params));
    REFUSED(EINVAL, "view", moco_augment_draw(augment, 8, 8, 0, 0, 0, -1, &params));
    REFUSED(EINVAL, "view", moco_augment_draw(augment, 8, 8, 0, 0, 0, 256, &params));
    REFUSED(ESHAPE, "9", moco_augment_draw(none, 9, 8, 0, 0, 0, 0, &params));
    moco_augment_free(none);
    moco_augment_free(augment);
}

static void applying(void **state)
{
    (void)state;
    moco_augment *augment;
    moco_augment_options recipe;
    moco_view_params params, given;
    moco_tensor image = TENSOR(MOCO_U8, pixels, SIDE, SIDE, 3), view = TENSOR(MOCO_U8, view_pixels, SIDE, SIDE, 3);
    const moco_tensor bad[] = {TENSOR(MOCO_F32, view_pixels, SIDE, SIDE, 3), TENSOR(MOCO_U8, view_pixels, SIDE, SIDE),
                               TENSOR(MOCO_U8, view_pixels, SIDE, SIDE, 4), TENSOR(MOCO_U8, view_pixels, 0, SIDE, 3),
                               TENSOR(MOCO_U8, view_pixels, INT64_C(1) << 40, 1, 3)};
    static const struct bad_field wrong[] = {
        BAD_WORD(moco_view_params, crop[0], BAD_INT32, -1, 0, "crop"),
        BAD_WORD(moco_view_params, crop[1], BAD_INT32, INT32_MAX, 0, "crop"),
        BAD_WORD(moco_view_params, crop[2], BAD_INT32, 0, 0, "crop"),
        BAD_WORD(moco_view_params, crop[3], BAD_INT32, INT32_MAX, 0, "crop"),
        BAD_WORD(moco_view_params, resize[0], BAD_INT32, 0, 0, "resize"),
        BAD_WORD(moco_view_params, resize[1], BAD_INT32, INT32_MAX, 0, "resize"),
        BAD_WORD(moco_view_params, offset[0], BAD_INT32, -1, 0, "offset"),
        BAD_WORD(moco_view_params, offset[1], BAD_INT32, INT32_MAX, 0, "offset"),
        BAD_WORD(moco_view_params, order[0], BAD_INT32, 1, 0, "order"),
        BAD_WORD(moco_view_params, order[3], BAD_INT32, -1, 0, "order"),
        BAD_WORD(moco_view_params, factor[0], BAD_DOUBLE, 0, NAN, "factor[0]"),
        BAD_WORD(moco_view_params, factor[3], BAD_DOUBLE, 0, 0.6, "factor[3]"),
        BAD_D(moco_view_params, sigma, -1),
        BAD_D(moco_view_params, sigma, INFINITY),
    };
    moco_view_params_init(&params);
    misuse_ok(moco_augment_options_preset(&recipe, "moco-v2", SIDE));
    misuse_ok(moco_augment_create(&augment, misuse.context, &recipe));
    misuse_ok(moco_augment_draw(augment, SIDE, SIDE, 0, 0, 0, 0, &params));
    REFUSED(EINVAL, "image is NULL", moco_augment_apply(augment, NULL, &params, &view));
    REFUSED(EINVAL, "params is NULL", moco_augment_apply(augment, &image, NULL, &view));
    REFUSED(EINVAL, "view is NULL", moco_augment_apply(augment, &image, &params, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moco_tensor out = bad[i];
        REFUSED(ESHAPE, "image", moco_augment_apply(augment, &bad[i], &params, &view));
        REFUSED(ESHAPE, "view", moco_augment_apply(augment, &image, &params, &out));
    }
    moco_tensor small = TENSOR(MOCO_U8, view_pixels, SIDE - 1, SIDE, 3);
    REFUSED(ESHAPE, "view is [7,8,3]", moco_augment_apply(augment, &image, &params, &small));
    view.data = NULL;
    REFUSED(EINVAL, "data NULL", moco_augment_apply(augment, &image, &params, &view));
    view.data = view_pixels;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        given = params;
        bad_field_set(&given, &wrong[i]);
        REFUSED(EINVAL, bad_field_word(&wrong[i]), moco_augment_apply(augment, &image, &given, &view));
    }
    misuse_ok(moco_augment_apply(augment, &image, &params, &view));
    moco_augment_free(augment);
}

/* ---- loaders ---- */

static void loader_choices(void **state)
{
    (void)state;
    moco_loader *made = NULL;
    moco_dataset *dataset;
    moco_augment_options recipe, other;
    moco_loader_options options;
    const moco_tensor images = TENSOR(MOCO_U8, pixels, IMAGES, SIDE, SIDE, 3);
    static const struct bad_field bad[] = {
        BAD_I(moco_loader_options, batch_size, 0),
        BAD_I(moco_loader_options, batch_size, -1),
        BAD_I(moco_loader_options, batch_size, INT32_MAX),
        BAD_WORD(moco_loader_options, batch_size, BAD_INT32, 5, 0, "drop_last"),
        BAD_I(moco_loader_options, workers, -1),
        BAD_I(moco_loader_options, workers, INT32_MAX),
        BAD_I(moco_loader_options, prefetch, 0),
        BAD_I(moco_loader_options, prefetch, -1),
        BAD_I(moco_loader_options, prefetch, INT32_MAX),
        BAD_I(moco_loader_options, rank, -1),
        BAD_I(moco_loader_options, rank, 1),
        BAD_I(moco_loader_options, ranks, -1),
        BAD_I(moco_loader_options, ranks, INT32_MAX),
        BAD_WORD(moco_loader_options, ranks, BAD_INT32, 3, 0, "ranks is 3 and batch_size 2"),
        BAD_L(moco_loader_options, max_bad, -2),
        BAD_L(moco_loader_options, max_bad, INT64_MIN),
        BAD_L(moco_loader_options, max_pixels, -1),
        BAD_WORD(moco_loader_options, bad, BAD_INT32, -1, 0, "bad is -1"),
        BAD_WORD(moco_loader_options, bad, BAD_INT32, 3, 0, "bad is 3"),
        BAD_WORD(moco_loader_options, recipe[0], BAD_STRING, 0, 0, "recipe[0]"),
    };
    misuse_ok(moco_dataset_from_memory(&dataset, misuse.context, &images, NULL));
    misuse_ok(moco_augment_options_preset(&recipe, "none", SIDE));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moco_loader_options_init(&options);
        options.batch_size = 2;
        options.recipe[0] = &recipe;
        bad_field_set(&options, &bad[i]);
        REFUSED(EINVAL, bad_field_word(&bad[i]), moco_loader_create(&made, dataset, &options));
        assert_null(made);
    }
    options.recipe[0] = &recipe;
    REFUSED(EINVAL, "loader is NULL", moco_loader_create(NULL, dataset, &options));
    REFUSED(EINVAL, "options is NULL", moco_loader_create(&made, dataset, NULL));
    options.device = (moco_device *)(void *)dataset;
    REFUSED(EINVAL, "options.device", moco_loader_create(&made, dataset, &options));
    options.device = NULL;
    misuse_ok(moco_augment_options_preset(&other, "none", SIDE * 2));
    options.recipe[1] = &other;
    REFUSED(EINVAL, "8 and 16", moco_loader_create(&made, dataset, &options));
    other.reserved0 = 1;
    REFUSED(EINVAL, "reserved0", moco_loader_create(&made, dataset, &options));
    other.reserved0 = 0;
    other.struct_size = 0;
    REFUSED(EINVAL, "recipe[1]", moco_loader_create(&made, dataset, &options));
    moco_loader_free(NULL);
    moco_dataset_free(dataset);
}

static void loader_order(void **state)
{
    (void)state;
    moco_loader *loader;
    moco_dataset *dataset;
    moco_augment_options recipe;
    moco_loader_options options;
    moco_loader_stats stats;
    moco_batch batch;
    moco_batch_init(&batch);
    moco_loader_stats_init(&stats);
    const moco_tensor images = TENSOR(MOCO_U8, pixels, IMAGES, SIDE, SIDE, 3);
    misuse_ok(moco_dataset_from_memory(&dataset, misuse.context, &images, NULL));
    misuse_ok(moco_augment_options_preset(&recipe, "none", SIDE));
    moco_loader_options_init(&options);
    options.batch_size = IMAGES;
    options.workers = 1;
    options.recipe[0] = &recipe;
    misuse_ok(moco_loader_create(&loader, dataset, &options));
    moco_dataset_free(dataset); /* the loader holds it */
    REFUSED(ESTATE, "before start", moco_loader_next(loader, &batch));
    REFUSED(EINVAL, "epoch", moco_loader_start(loader, -1));
    REFUSED(EINVAL, "epoch", moco_loader_start(loader, INT64_MAX));
    REFUSED(EINVAL, "epoch", moco_loader_start_at(loader, INT64_MIN, 0));
    REFUSED(EINVAL, "position", moco_loader_start_at(loader, 0, -1));
    REFUSED(EINVAL, "position", moco_loader_start_at(loader, 0, IMAGES + 1));
    REFUSED(EINVAL, "position", moco_loader_start_at(loader, 0, INT64_MAX));
    REFUSED(EINVAL, "key views apart need two", moco_loader_start_keys(loader, 0, 0, 0, 0, 0));
    REFUSED(ESTATE, "before start", moco_loader_next(loader, &batch)); /* none of them started it */
    REFUSED(EINVAL, "stats is NULL", moco_loader_get_stats(loader, NULL));
    REFUSED(EINVAL, "report is NULL", moco_loader_bad_images(loader, NULL, NULL));
    misuse_ok(moco_loader_start(loader, 0));
    REFUSED(EINVAL, "batch is NULL", moco_loader_next(loader, NULL));
    misuse_ok(moco_loader_next(loader, &batch)); /* the refused call took none away */
    assert_int_equal(batch.n, IMAGES);
    const char before[] = "batch is NULL";
    for (int i = 0; i < 3; i++) {
        assert_int_equal(moco_loader_next(loader, &batch), MOCO_EEND);
        assert_non_null(strstr(moco_error(), before)); /* an end is no failure */
    }
    misuse_ok(moco_loader_start_at(loader, 1, IMAGES));
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_EEND);
    assert_int_equal(moco_loader_batches(loader), 1);
    misuse_ok(moco_loader_get_stats(loader, &stats));
    assert_int_equal(stats.images, IMAGES);
    moco_loader_free(loader);
}

static void loader_key_views(void **state)
{
    (void)state;
    moco_loader *loader;
    moco_dataset *dataset;
    moco_augment_options recipe;
    moco_loader_options options;
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(batch.key_step, -1);
    const moco_tensor images = TENSOR(MOCO_U8, pixels, IMAGES, SIDE, SIDE, 3);
    misuse_ok(moco_dataset_from_memory(&dataset, misuse.context, &images, NULL));
    misuse_ok(moco_augment_options_preset(&recipe, "none", SIDE));
    moco_loader_options_init(&options);
    options.batch_size = 2;
    options.recipe[0] = options.recipe[1] = &recipe;
    for (int i = 0; i < 2; i++) { /* what leaves batches that are not full */
        options.drop_last = i;
        options.bad = i == 1 ? MOCO_BAD_SKIP : MOCO_BAD_REPLACE;
        misuse_ok(moco_loader_create(&loader, dataset, &options));
        REFUSED(EINVAL, "drop_last must be 1", moco_loader_start_keys(loader, 0, 0, 0, 0, 0));
        moco_loader_free(loader);
    }
    options.bad = MOCO_BAD_REPLACE;
    misuse_ok(moco_loader_create(&loader, dataset, &options));
    REFUSED(EINVAL, "epoch", moco_loader_start_keys(loader, -1, 0, 0, 0, 0));
    REFUSED(EINVAL, "position", moco_loader_start_keys(loader, 0, IMAGES + 1, 0, 0, 0));
    REFUSED(EINVAL, "step", moco_loader_start_keys(loader, 0, 0, -1, 0, 0));
    REFUSED(EINVAL, "step", moco_loader_start_keys(loader, 0, 0, INT64_MAX, 0, 0));
    REFUSED(EINVAL, "symmetric", moco_loader_start_keys(loader, 0, 0, 0, 0, 2));
    REFUSED(ESTATE, "before start", moco_loader_next(loader, &batch));
    misuse_ok(moco_loader_start_keys(loader, 0, 0, 7, 9, 1));
    REFUSED(EINVAL, "step", moco_loader_start_keys(loader, 0, 0, -1, 0, 0)); /* and the epoch goes on */
    misuse_ok(moco_loader_next(loader, &batch));
    assert_true(batch.key[0] != NULL && batch.key[1] != NULL && batch.key_step == 7 && batch.key_seed == 9);
    moco_loader_free(loader);
    moco_dataset_free(dataset);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_teardown(test, misuse_back_to_baseline)
    const struct CMUnitTest tests[] = {
        CASE(contexts),         CASE(devices),          CASE(init_macros),
        CASE(presets),          CASE(pure_functions),   CASE(opening_data_sets),
        CASE(data_in_memory),   CASE(data_by_callback), CASE(data_by_encoded_callback),
        CASE(asking_data_sets), CASE(pictures),         CASE(kept_pictures),
        CASE(recipes),          CASE(drawing),          CASE(applying),
        CASE(loader_choices),   CASE(loader_order),     CASE(loader_key_views),
    };
    return cmocka_run_group_tests(tests, misuse_set_up, misuse_tear_down);
}
