/* SPDX-License-Identifier: MIT
 *
 * test_dataset: data sets and loaders through the public interface: order, labels, links, hidden names, CIFAR-10 files,
 * wrong arguments, and handles freed in any order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moco/data.h"
#include "moco/random.h"
#include "support/draw_image.h"
#include "support/rigs/data_rig.h"

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

static void touch(const char *name)
{
    scratch_write(&rig.folder, name, "x", 1);
}

/* The data set's paths without the folder's, one a line, each with its label. */
static char *listing(const moco_dataset *ds)
{
    static char text[8192];
    char path[4096];
    text[0] = 0;
    for (int64_t i = 0; i < moco_dataset_count(ds); i++) {
        assert_int_equal(moco_dataset_path(ds, i, path, sizeof path), MOCO_OK);
        assert_memory_equal(path, rig.folder.path, strlen(rig.folder.path));
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%d %s\n", (int)moco_dataset_label(ds, i),
                 path + strlen(rig.folder.path));
    }
    return text;
}

static moco_dataset *open_folder(const char *name)
{
    moco_dataset *ds;
    moco_status status =
        moco_dataset_open_folder(&ds, rig.context, name != NULL ? scratch_path(&rig.folder, name) : rig.folder.path);
    if (status != MOCO_OK)
        print_error("%s\n", moco_error());
    assert_int_equal(status, MOCO_OK);
    return ds;
}

static void test_class_folders(void **state)
{
    (void)state;
    static const char *const names[] = {"b/10.jpg",         "b/9.JPEG",   "b/Z.png",   "b/a.Png",      "b/notes.txt",
                                        "b/.hidden.jpg",    "B/x.jpg",    "a b/x.jpg", "b/sub/y.jpg",  "b/sub-x/y.jpg",
                                        "b/sub/deep/y.jpg", ".git/x.jpg", "top.jpg",   "empty/readme", "z/q.jpeg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        touch(names[i]);
    touch("elsewhere/linked.jpg");
    assert_int_equal(rename(scratch_path(&rig.folder, "elsewhere"), scratch_path(&rig.folder, ".elsewhere")), 0);
    assert_int_equal(symlink("../.elsewhere", scratch_path(&rig.folder, "z/link")), 0);
    assert_int_equal(symlink("../.elsewhere/linked.jpg", scratch_path(&rig.folder, "z/link.jpg")), 0);
    assert_int_equal(symlink("..", scratch_path(&rig.folder, "z/circle")), 0);
    assert_int_equal(symlink(".elsewhere", scratch_path(&rig.folder, "class-link")), 0);
    moco_dataset *ds = open_folder(NULL);
    assert_string_equal(listing(ds), "0 /B/x.jpg\n"
                                     "1 /a b/x.jpg\n"
                                     "2 /b/10.jpg\n"
                                     "2 /b/9.JPEG\n"
                                     "2 /b/Z.png\n"
                                     "2 /b/a.Png\n"
                                     "2 /b/sub/y.jpg\n"
                                     "2 /b/sub-x/y.jpg\n"
                                     "2 /b/sub/deep/y.jpg\n"
                                     "3 /class-link/linked.jpg\n"
                                     "4 /z/link.jpg\n"
                                     "4 /z/q.jpeg\n"
                                     "4 /z/link/linked.jpg\n");
    assert_int_equal(moco_dataset_classes(ds), 5);
    assert_string_equal(moco_dataset_class_name(ds, 1), "a b");
    assert_string_equal(moco_dataset_class_name(ds, 4), "z");
    assert_string_equal(moco_dataset_class_name(ds, 5), "");
    assert_int_equal(moco_dataset_label(ds, 13), -1);
    assert_int_equal(moco_dataset_label(ds, -1), -1);
    assert_non_null(strstr(rig.log, "empty holds no image"));
    assert_non_null(strstr(rig.log, "circle is a link back"));
    assert_non_null(strstr(rig.log, "the 1 images beside them are left out"));
    assert_non_null(strstr(rig.log, "3 files are left out: 1 without an extension, 1 .jpg, 1 .txt"));
    char small[8];
    assert_int_equal(moco_dataset_path(ds, 0, small, sizeof small), MOCO_ESHAPE);
    assert_int_equal(moco_dataset_path(ds, 13, small, sizeof small), MOCO_EINVAL);
    moco_dataset_free(ds);
}

/* What moco_dataset_left_out lists, as "12 .tiff, 3 .bmp". */
static const char *left_out(const moco_dataset *ds)
{
    static char text[4096];
    const char *extension;
    int64_t count;
    text[0] = 0;
    for (int i = 0; (extension = moco_dataset_left_out(ds, i, &count)) != NULL; i++) {
        assert_string_equal(moco_dataset_left_out(ds, i, NULL), extension);
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%d %s", i > 0 ? ", " : "", (int)count, extension);
    }
    assert_int_equal(count, 0);
    assert_null(moco_dataset_left_out(ds, -1, &count));
    return text;
}

/* Every way to write a JPEG's extension; everything else is counted, a picture beside class folders too. */
static void test_left_out(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a/1.jpe",        "a/2.JFIF",         "a/3.Jpg",      "a/4.jpEG",
        "a/5.tiff",       "a/6.TIFF",         "a/sub/7.tiff", "b/1.PNG",
        "b/2.bmp",        "b/3.bmp",          "b/4.tar.gz",   "b/none",
        "b/dot.",         "b/Thumbs.db",      "b/._1.jpg",    "b/.DS_Store",
        "b/a.strange ex", "b/a.\x1b[31m",     "b/5.tiff",     "top.jpg",
        "top2.jpg",       "READ.ME",          "b/x.jpg.json", "b/jpg",
        "c/only.tiff",    "c/.hidden/x.tiff", "d/sub/.jpg",   "b/way.too-long-to-be-an-extension"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        touch(names[i]);
    moco_dataset *ds = open_folder(NULL);
    assert_string_equal(listing(ds), "0 /a/1.jpe\n0 /a/2.JFIF\n0 /a/3.Jpg\n0 /a/4.jpEG\n1 /b/1.PNG\n");
    assert_int_equal(moco_dataset_classes(ds), 2);
    assert_string_equal(moco_dataset_class_name(ds, 1), "b");
    assert_string_equal(left_out(ds), "6 , 5 .tiff, 2 .bmp, 2 .jpg, 1 .db, 1 .gz, 1 .json, 1 .me");
    assert_non_null(strstr(rig.log, "19 files are left out: 6 without an extension, 5 .tiff, 2 .bmp"));
    moco_dataset_free(ds);
    char name[32];
    for (int i = 0; i < 80; i++) { /* of 80 extensions 64 are told apart */
        snprintf(name, sizeof name, "many/%d.x%d", i, i);
        touch(name);
    }
    touch("many/1.jpg");
    ds = open_folder("many");
    int64_t count;
    assert_string_equal(moco_dataset_left_out(ds, 0, &count), "*");
    assert_int_equal(count, 16);
    assert_string_equal(moco_dataset_left_out(ds, 64, &count), ".x9");
    assert_null(moco_dataset_left_out(ds, 65, &count));
    moco_dataset_free(ds);
    assert_null(moco_dataset_left_out(NULL, 0, &count));
    touch("nothing/x.tiff");
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, scratch_path(&rig.folder, "nothing")), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "1 files have other names: 1 .tiff"));
}

static void test_flat_folder(void **state)
{
    (void)state;
    touch("flat/b.jpg");
    touch("flat/a.png");
    touch("flat/C.jpeg");
    scratch_make_folder(&rig.folder, "flat/empty");
    moco_dataset *ds = open_folder("flat//");
    assert_string_equal(listing(ds), "-1 /flat/C.jpeg\n-1 /flat/a.png\n-1 /flat/b.jpg\n");
    assert_int_equal(moco_dataset_classes(ds), 0);
    assert_string_equal(moco_dataset_class_name(ds, 0), "");
    moco_dataset_free(ds);
}

/* 5,000 names: sorted, found again, and at most 100 bytes each. */
static void test_many_names(void **state)
{
    (void)state;
    int64_t before, after;
    char path[512];
    moco_context_memory(rig.context, &before, NULL, NULL);
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "%s/n%05d_%d.JPEG", rig.folder.path, (i * 7919) % 5000, i % 3);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fclose(file);
    }
    moco_dataset *ds = open_folder(NULL);
    assert_int_equal(moco_dataset_count(ds), 5000);
    char previous[512] = "";
    for (int64_t i = 0; i < 5000; i++) {
        assert_int_equal(moco_dataset_path(ds, i, path, sizeof path), MOCO_OK);
        assert_true(strcmp(previous, path) < 0);
        memcpy(previous, path, sizeof previous);
    }
    moco_context_memory(rig.context, &after, NULL, NULL);
    assert_true(after - before < 5000 * 40);
    moco_dataset_free(ds);
}

static void test_folder_failures(void **state)
{
    (void)state;
    moco_dataset *ds;
    touch("class/readme.txt");
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, rig.folder.path), MOCO_EINVAL);
    assert_null(ds);
    assert_non_null(strstr(moco_error(), "no image"));
    assert_non_null(strstr(moco_error(), rig.folder.path));
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, scratch_path(&rig.folder, "gone")), MOCO_EIO);
    assert_non_null(strstr(moco_error(), "gone"));
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, scratch_path(&rig.folder, "class/readme.txt")),
                     MOCO_EIO);
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, ""), MOCO_EINVAL);
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, NULL), MOCO_EINVAL);
    assert_int_equal(moco_dataset_open_folder(&ds, NULL, rig.folder.path), MOCO_EINVAL);
    assert_int_equal(moco_dataset_open_folder(NULL, rig.context, rig.folder.path), MOCO_EINVAL);
    char deep[600] = "d";
    for (int i = 0; i < 70; i++)
        strcat(deep, "/d");
    strcat(deep, "/x.jpg");
    touch(deep);
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, rig.folder.path), MOCO_ENOTSUP);
}

static void write_cifar(const char *name, int records, int first)
{
    uint8_t *bytes = malloc((size_t)records * 3073);
    for (int r = 0; r < records; r++) {
        bytes[r * 3073] = (uint8_t)((first + r) % 10);
        for (int i = 0; i < 3072; i++)
            bytes[r * 3073 + 1 + i] = (uint8_t)((first + r) * 7 + i / 1024 * 50 + i % 1024);
    }
    scratch_write(&rig.folder, name, bytes, (size_t)records * 3073);
    free(bytes);
}

static void test_cifar(void **state)
{
    (void)state;
    moco_dataset *ds;
    write_cifar("one.bin", 5, 0);
    write_cifar("none.bin", 0, 0);
    write_cifar("two.bin", 100, 5);
    const char *paths[3] = {scratch_path(&rig.folder, "one.bin"), scratch_path(&rig.folder, "none.bin"),
                            scratch_path(&rig.folder, "two.bin")};
    assert_int_equal(moco_dataset_open_cifar10(&ds, rig.context, paths, 3), MOCO_OK);
    assert_int_equal(moco_dataset_count(ds), 105);
    assert_int_equal(moco_dataset_classes(ds), 10);
    assert_string_equal(moco_dataset_class_name(ds, 9), "truck");
    char text[512];
    assert_int_equal(moco_dataset_path(ds, 6, text, sizeof text), MOCO_OK);
    assert_non_null(strstr(text, "two.bin#1"));
    moco_augment_options recipe;
    assert_int_equal(moco_augment_options_preset(&recipe, "none", 32), MOCO_OK);
    moco_loader_options options;
    moco_loader_options_init(&options);
    options.batch_size = 105;
    options.permuted = 0;
    options.recipe[0] = &recipe;
    moco_loader *loader;
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_loader_create(&loader, ds, &options), MOCO_OK);
    assert_int_equal(moco_loader_start(loader, 0), MOCO_OK);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
    assert_true(batch.n == 105 && batch.views == 1 && batch.view[1] == NULL);
    for (int r = 0; r < 105; r++) {
        assert_int_equal(moco_dataset_label(ds, r), r % 10);
        for (int i = 0; i < 3072; i++)
            assert_int_equal(batch.view[0][r * 3072 + i], (uint8_t)(r * 7 + i % 3 * 50 + i / 3));
    }
    assert_int_equal(truncate(paths[2], 3073 * 20), 0); /* under our feet: an I/O error, not a bad image */
    assert_int_equal(moco_loader_start(loader, 1), MOCO_OK);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_EIO);
    assert_non_null(strstr(moco_error(), "two.bin: it ends at offset"));
    moco_loader_free(loader);
    moco_dataset_free(ds);
    scratch_write(&rig.folder, "odd.bin", "123", 3);
    paths[0] = scratch_path(&rig.folder, "odd.bin");
    assert_int_equal(moco_dataset_open_cifar10(&ds, rig.context, paths, 1), MOCO_EFORMAT);
    write_cifar("label.bin", 70, 0);
    FILE *file = fopen(scratch_path(&rig.folder, "label.bin"), "r+b");
    fseek(file, 3073 * 66, SEEK_SET);
    fputc(10, file);
    fclose(file);
    paths[0] = scratch_path(&rig.folder, "label.bin");
    assert_int_equal(moco_dataset_open_cifar10(&ds, rig.context, paths, 1), MOCO_EFORMAT);
    assert_non_null(strstr(moco_error(), "label 10 at offset 202818"));
    paths[0] = scratch_path(&rig.folder, "none.bin");
    assert_int_equal(moco_dataset_open_cifar10(&ds, rig.context, paths, 1), MOCO_EINVAL);
    paths[0] = scratch_path(&rig.folder, "gone.bin");
    assert_int_equal(moco_dataset_open_cifar10(&ds, rig.context, paths, 1), MOCO_EIO);
    assert_int_equal(moco_dataset_open_cifar10(&ds, rig.context, paths, 0), MOCO_EINVAL);
    paths[0] = NULL;
    assert_int_equal(moco_dataset_open_cifar10(&ds, rig.context, paths, 1), MOCO_EINVAL);
    assert_null(ds);
}

static uint8_t pixels[40 * 12 * 12 * 3];

static moco_tensor images(void)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_U8;
    t.ndim = 4;
    t.shape[0] = 40;
    t.shape[1] = t.shape[2] = 12;
    t.shape[3] = 3;
    t.data = pixels;
    for (int i = 0; i < 40; i++)
        draw_pixels(pixels + i * 432, 12, 12, i);
    return t;
}

static void test_memory_and_order_of_freeing(void **state)
{
    (void)state;
    moco_tensor t = images();
    int32_t labels[40];
    for (int i = 0; i < 40; i++)
        labels[i] = i % 3 - 1;
    moco_dataset *ds;
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, &t, labels), MOCO_OK);
    assert_int_equal(moco_dataset_classes(ds), 2);
    assert_int_equal(moco_dataset_label(ds, 0), -1);
    assert_int_equal(moco_dataset_label(ds, 2), 1);
    char text[4] = "abc";
    assert_int_equal(moco_dataset_path(ds, 0, text, sizeof text), MOCO_OK);
    assert_string_equal(text, "");
    moco_augment_options recipe;
    assert_int_equal(moco_augment_options_preset(&recipe, "cifar10", 8), MOCO_OK);
    moco_loader_options options;
    moco_loader_options_init(&options);
    options.batch_size = 16;
    options.workers = 2;
    options.seed = 9;
    options.recipe[0] = options.recipe[1] = &recipe;
    moco_loader *loader;
    assert_int_equal(moco_loader_create(&loader, ds, &options), MOCO_OK);
    moco_dataset_free(ds); /* the loader holds it */
    assert_int_equal(moco_dataset_count(ds), 0);
    assert_int_equal(moco_loader_batches(loader), 2);
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_loader_start_at(loader, 3, 16), MOCO_OK);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
    assert_true(batch.n == 16 && batch.h == 8 && batch.w == 8 && batch.views == 2);
    assert_true(batch.position == 32 && batch.epoch == 3);
    for (int i = 0; i < 16; i++) {
        int64_t sample;
        assert_int_equal(moco_epoch_permutation(9, 3, 40, 16 + i, &sample), MOCO_OK);
        assert_int_equal(batch.ids[i], sample);
    }
    assert_memory_not_equal(batch.view[0], batch.view[1], 16 * 8 * 8 * 3);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_EEND);
    moco_loader_stats stats;
    moco_loader_stats_init(&stats);
    assert_int_equal(moco_loader_get_stats(loader, &stats), MOCO_OK);
    assert_true(stats.images == 16 && stats.bad_images == 0);
    moco_loader_free(loader);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    moco_tensor t = images();
    moco_dataset *ds = NULL;
    t.dtype = MOCO_F32;
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, &t, NULL), MOCO_ESHAPE);
    t = images();
    t.shape[3] = 4;
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, &t, NULL), MOCO_ESHAPE);
    t = images();
    t.data = NULL;
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, &t, NULL), MOCO_EINVAL);
    t = images();
    int32_t labels[40] = {0};
    labels[39] = -2;
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, &t, labels), MOCO_EINVAL);
    assert_null(ds);
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, NULL, NULL), MOCO_EINVAL);
    assert_int_equal(moco_dataset_from_memory(&ds, rig.context, &t, NULL), MOCO_OK);

    moco_augment_options recipe, other;
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v9", 8), MOCO_ENOTFOUND);
    assert_int_equal(moco_augment_options_preset(&recipe, NULL, 8), MOCO_EINVAL);
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v2", 0), MOCO_EINVAL);
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v2", 8), MOCO_OK);
    assert_int_equal(recipe.struct_size, sizeof recipe);
    moco_loader_options options;
    moco_loader_options_init(&options);
    moco_loader *loader;
    assert_int_equal(moco_loader_create(&loader, ds, &options), MOCO_EINVAL); /* no recipe */
    options.recipe[0] = &recipe;
    assert_int_equal(moco_loader_create(&loader, ds, &options), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "40 images"));
    assert_non_null(strstr(moco_error(), "256"));
    options.batch_size = 8;
    other = recipe;
    other.reserved0 = 1;
    options.recipe[0] = &other;
    assert_int_equal(moco_loader_create(&loader, ds, &options), MOCO_EINVAL);
    options.recipe[0] = &recipe;
    options.struct_size = 0;
    assert_int_equal(moco_loader_create(&loader, ds, &options), MOCO_EINVAL);
    options.struct_size = sizeof options;
    assert_int_equal(moco_loader_create(&loader, NULL, &options), MOCO_EINVAL);
    assert_int_equal(moco_loader_create(&loader, (moco_dataset *)(void *)rig.context, &options), MOCO_EINVAL);
    assert_int_equal(moco_loader_create(NULL, ds, &options), MOCO_EINVAL);
    assert_int_equal(moco_loader_create(&loader, ds, NULL), MOCO_EINVAL);
    assert_null(loader);
    assert_int_equal(moco_loader_create(&loader, ds, &options), MOCO_OK);
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_ESTATE);
    assert_int_equal(moco_loader_next(loader, NULL), MOCO_EINVAL);
    assert_int_equal(moco_loader_next(NULL, &batch), MOCO_EINVAL);
    assert_int_equal(moco_loader_start(NULL, 0), MOCO_EINVAL);
    assert_int_equal(moco_loader_start(loader, -1), MOCO_EINVAL);
    assert_int_equal(moco_loader_start_at(loader, 0, 41), MOCO_EINVAL);
    assert_int_equal(moco_loader_get_stats(loader, NULL), MOCO_EINVAL);
    assert_int_equal(moco_loader_batches(NULL), 0);
    moco_loader_free(NULL);
    moco_dataset_free(NULL);
    moco_loader_free(loader);
    moco_dataset_free(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_class_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flat_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_folder_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cifar, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_and_order_of_freeing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_arguments, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
