/* SPDX-License-Identifier: MIT
 *
 * test_dataset_match: labels of one data set in another, by the names of classes: other order, missing and extra
 * folders, pixels of the right image, and handles freed in any order; and two sets one after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moco/data.h"
#include "support/draw_image.h"
#include "support/rigs/data_rig.h"

#define SIDE 8

static struct data_rig rig;

static int set_up(void **state)
{
    (void)state;
    return data_rig_make(&rig);
}

static int tear_down(void **state)
{
    (void)state;
    return data_rig_free(&rig);
}

/* A picture of one colour, which says which it is. */
static void picture(const char *name, uint8_t grey)
{
    uint8_t pixels[SIDE * SIDE * 3];
    memset(pixels, grey, sizeof pixels);
    struct bytes png = draw_png(pixels, (size_t)SIDE * 3, SIDE, SIDE, (struct png_kind){.color_type = 2, .depth = 8});
    scratch_write(&rig.folder, name, png.at, png.size);
    free(png.at);
}

static moco_dataset *open(const char *name)
{
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, scratch_path(&rig.folder, name)), MOCO_OK);
    return ds;
}

/* Train has ant, bee, cat; val has bee, cat, dog and asp, whose folder comes first. */
static void draw_sets(void)
{
    picture("train/ant/0.png", 1);
    picture("train/bee/0.png", 2);
    picture("train/cat/0.png", 3);
    picture("val/asp/0.png", 10);
    picture("val/bee/0.png", 20);
    picture("val/bee/1.png", 21);
    picture("val/cat/0.png", 30);
    picture("val/dog/0.png", 40);
}

static void test_names(void **state)
{
    (void)state;
    draw_sets();
    moco_dataset *train = open("train"), *val = open("val"), *matched;
    assert_int_equal(moco_dataset_label(val, 1), 1); /* bee, by place: ant's place is taken by asp */
    assert_int_equal(moco_dataset_match_classes(&matched, val, train), MOCO_OK);
    assert_int_equal(moco_dataset_count(matched), 3);
    assert_int_equal(moco_dataset_classes(matched), 3);
    const int32_t labels[3] = {1, 1, 2};
    const char *const ends[3] = {"bee/0.png", "bee/1.png", "cat/0.png"};
    for (int i = 0; i < 3; i++) {
        char path[4096];
        assert_int_equal(moco_dataset_label(matched, i), labels[i]);
        assert_int_equal(moco_dataset_path(matched, i, path, sizeof path), MOCO_OK);
        assert_string_equal(path + strlen(path) - strlen(ends[i]), ends[i]);
        assert_string_equal(moco_dataset_class_name(matched, i), moco_dataset_class_name(train, i));
    }
    assert_int_equal(moco_dataset_label(matched, 3), -1);
    moco_dataset_free(matched);

    assert_int_equal(moco_dataset_match_classes(&matched, train, val), MOCO_OK); /* the other way round */
    assert_int_equal(moco_dataset_count(matched), 2);
    assert_int_equal(moco_dataset_label(matched, 0), 1);
    assert_int_equal(moco_dataset_label(matched, 1), 2);
    moco_dataset_free(matched);

    assert_int_equal(moco_dataset_match_classes(&matched, train, train), MOCO_OK); /* nothing left out */
    assert_int_equal(moco_dataset_count(matched), 3);
    assert_int_equal(moco_dataset_label(matched, 2), 2);
    moco_dataset_free(matched);
    moco_dataset_free(train);
    moco_dataset_free(val);
}

static void test_pixels_and_order_of_freeing(void **state)
{
    (void)state;
    draw_sets();
    moco_dataset *train = open("train"), *val = open("val"), *matched;
    assert_int_equal(moco_dataset_match_classes(&matched, val, train), MOCO_OK);
    moco_dataset_free(train);
    moco_dataset_free(val); /* held by `matched` */
    moco_augment_options recipe;
    assert_int_equal(moco_augment_options_preset(&recipe, "none", SIDE), MOCO_OK);
    moco_loader_options options;
    moco_loader_options_init(&options);
    options.batch_size = 3;
    options.permuted = options.drop_last = 0;
    options.workers = 2;
    options.recipe[0] = &recipe;
    moco_loader *loader;
    assert_int_equal(moco_loader_create(&loader, matched, &options), MOCO_OK);
    moco_dataset_free(matched); /* held by the loader */
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_loader_start(loader, 0), MOCO_OK);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
    assert_int_equal(batch.n, 3);
    const uint8_t grey[3] = {20, 21, 30};
    for (int i = 0; i < 3; i++)
        assert_int_equal(batch.view[0][i * SIDE * SIDE * 3], grey[i]);
    moco_loader_free(loader);
}

static void test_nothing_to_match(void **state)
{
    (void)state;
    draw_sets();
    picture("other/elk/0.png", 5);
    picture("flat/0.png", 6);
    moco_dataset *train = open("train"), *other = open("other"), *flat = open("flat"), *matched;
    assert_int_equal(moco_dataset_match_classes(&matched, other, train), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "\"elk\""));
    assert_null(matched);
    assert_int_equal(moco_dataset_match_classes(&matched, flat, train), MOCO_EINVAL);
    assert_int_equal(moco_dataset_match_classes(&matched, train, flat), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "like has no classes"));
    moco_dataset_free(train);
    moco_dataset_free(other);
    moco_dataset_free(flat);
}

/* ---- one after the other ---- */

static void test_joined_names(void **state)
{
    (void)state;
    draw_sets();
    scratch_write(&rig.folder, "train/ant/x.tiff", "", 0);
    scratch_write(&rig.folder, "val/bee/y.tiff", "", 0);
    scratch_write(&rig.folder, "val/bee/none", "", 0);
    moco_dataset *train = open("train"), *val = open("val"), *both, *all;
    assert_int_equal(moco_dataset_join(&both, train, val), MOCO_OK);
    moco_dataset_free(train); /* held by `both` */
    const int32_t labels[8] = {0, 1, 2, 3, 1, 1, 2, 4};
    const uint8_t greys[8] = {1, 2, 3, 10, 20, 21, 30, 40};
    const char *const names[5] = {"ant", "bee", "cat", "asp", "dog"};
    assert_int_equal(moco_dataset_count(both), 8);
    assert_int_equal(moco_dataset_classes(both), 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(moco_dataset_class_name(both, i), names[i]);
    for (int i = 0; i < 8; i++)
        assert_int_equal(moco_dataset_label(both, i), labels[i]);
    int64_t files;
    assert_string_equal(moco_dataset_left_out(both, 0, &files), ".tiff");
    assert_int_equal(files, 2);
    assert_string_equal(moco_dataset_left_out(both, 1, &files), "");
    assert_int_equal(moco_dataset_join(&all, both, val), MOCO_OK);
    assert_int_equal(moco_dataset_count(all), 13);
    assert_int_equal(moco_dataset_classes(all), 5);
    char path[4096];
    assert_int_equal(moco_dataset_path(all, 8, path, sizeof path), MOCO_OK);
    assert_non_null(strstr(path, "val/asp/0.png"));
    assert_int_equal(moco_dataset_label(all, 8), 3);
    moco_augment_options recipe;
    moco_loader_options o;
    moco_loader *loader;
    moco_batch batch;
    moco_augment_options_preset(&recipe, "none", SIDE);
    moco_loader_options_init(&o);
    moco_batch_init(&batch);
    o.batch_size = 8;
    o.permuted = 0;
    o.recipe[0] = &recipe;
    assert_int_equal(moco_loader_create(&loader, both, &o), MOCO_OK);
    moco_dataset_free(both);
    moco_dataset_free(val);
    moco_dataset_free(all);
    assert_int_equal(moco_loader_start(loader, 0), MOCO_OK);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
    for (int i = 0; i < 8; i++)
        assert_int_equal(batch.view[0][i * SIDE * SIDE * 3], greys[i]);
    moco_loader_free(loader);
}

static moco_dataset *numbered(const int32_t *labels)
{
    static uint8_t pixels[2 * SIDE * SIDE * 3];
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_U8;
    t.ndim = 4;
    t.shape[0] = 2;
    t.shape[1] = t.shape[2] = SIDE;
    t.shape[3] = 3;
    t.data = pixels;
    moco_dataset *ds;
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, &t, labels), MOCO_OK);
    return ds;
}

static void test_joined_numbers(void **state)
{
    (void)state;
    moco_dataset *some = numbered((const int32_t[]){0, 4}), *more = numbered((const int32_t[]){1, 2}),
                 *none = numbered(NULL), *both, *all;
    assert_int_equal(moco_dataset_join(&both, more, some), MOCO_OK);
    assert_int_equal(moco_dataset_classes(both), 5);
    assert_int_equal(moco_dataset_label(both, 1), 2);
    assert_int_equal(moco_dataset_label(both, 3), 4);
    assert_int_equal(moco_dataset_join(&all, none, both), MOCO_OK);
    assert_int_equal(moco_dataset_classes(all), 5);
    assert_int_equal(moco_dataset_label(all, 0), -1);
    assert_int_equal(moco_dataset_label(all, 5), 4);
    assert_string_equal(moco_dataset_class_name(all, 4), "");
    draw_sets();
    moco_dataset *named = open("train"), *odd;
    assert_int_equal(moco_dataset_join(&odd, named, some), MOCO_EINVAL);
    assert_null(odd);
    assert_non_null(strstr(moco_error(), "(\"ant\")"));
    assert_int_equal(moco_dataset_join(&odd, some, named), MOCO_EINVAL);
    assert_int_equal(moco_dataset_join(&odd, named, none), MOCO_OK);
    assert_int_equal(moco_dataset_label(odd, 4), -1);
    assert_string_equal(moco_dataset_class_name(odd, 2), "cat");
    moco_dataset *const every[] = {some, more, none, both, all, named, odd};
    for (int i = 0; i < 7; i++)
        moco_dataset_free(every[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_joined_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_joined_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pixels_and_order_of_freeing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_to_match, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
