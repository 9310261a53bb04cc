/* SPDX-License-Identifier: MIT
 *
 * test_bad_images: what cannot be read, through the public calls and from every
 * kind of source: skipped and told by id, path and reason, or the error that
 * names it, or replaced. test_loader holds the orders and threads. */
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

enum { COUNT = 6, SIDE = 16, SOURCES = 4 };

static struct data_rig rig;
static uint8_t pictures[COUNT][SIDE][SIDE][3];
static const int damaged[COUNT] = {1, 0, 0, 1, 0, 1}; /* first, middle, last */

/* a/0.png ... c/5.png, two each, three of them cut; in a folder, in a shard and
 * in a list. */
static int set_up(void **state)
{
    (void)state;
    char list[COUNT * 16] = "", command[600];
    if (data_rig_make(&rig) != 0)
        return -1;
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        draw_pixels(&pictures[i][0][0][0], SIDE, SIDE, i);
        struct bytes png =
            draw_png(&pictures[i][0][0][0], SIDE * 3, SIDE, SIDE, (struct png_kind){.color_type = 2, .depth = 8});
        snprintf(name, sizeof name, "%c/%d.png", 'a' + i / 2, i);
        scratch_write(&rig.folder, name, png.at, damaged[i] ? png.size / 2 : png.size);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s\n", name);
        free(png.at);
    }
    scratch_write(&rig.folder, "list.txt", (const uint8_t *)list, strlen(list));
    snprintf(command, sizeof command, "cd '%s' && tar -cf all.tar --sort=name a b c", rig.folder.path);
    return system(command) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return data_rig_free(&rig);
}

static moco_status read_picture(void *user, int64_t id, const uint8_t **pixels, int32_t *w, int32_t *h)
{
    (void)user;
    *pixels = &pictures[id][0][0][0];
    *w = *h = SIDE;
    return damaged[id] ? MOCO_EFORMAT : MOCO_OK;
}

static moco_dataset *open_source(int kind)
{
    char path[400];
    const char *const paths[] = {path};
    moco_dataset *ds = NULL;
    moco_image_source source;
    snprintf(path, sizeof path, "%s%s", rig.folder.path, (const char *const[]){"", "/all.tar", "/list.txt", ""}[kind]);
    moco_image_source_init(&source);
    source.count = COUNT;
    source.read = read_picture;
    moco_status status = kind == 0   ? moco_dataset_open_folder(&ds, rig.context, path)
                         : kind == 1 ? moco_dataset_open_tar(&ds, rig.context, paths, 1)
                         : kind == 2 ? moco_dataset_open_list(&ds, rig.context, path)
                                     : moco_dataset_from_callback(&ds, rig.context, &source);
    assert_int_equal(status, MOCO_OK);
    assert_int_equal(moco_dataset_count(ds), COUNT);
    return ds;
}

static moco_loader *load(moco_dataset *ds, moco_bad bad, int batch, int workers)
{
    moco_augment_options recipe;
    moco_loader_options o;
    moco_loader *loader;
    assert_int_equal(moco_augment_options_preset(&recipe, "none", SIDE), MOCO_OK);
    moco_loader_options_init(&o);
    o.batch_size = batch;
    o.workers = workers;
    o.permuted = o.drop_last = 0;
    o.bad = (int32_t)bad;
    o.recipe[0] = &recipe;
    assert_int_equal(moco_loader_create(&loader, ds, &o), MOCO_OK);
    assert_int_equal(moco_loader_start(loader, 0), MOCO_OK);
    return loader;
}

struct told {
    const moco_dataset *ds;
    int count, stop_at;
    int64_t last;
};

static int tell(void *user, int64_t id, const char *path, const char *reason)
{
    struct told *told = user;
    char wanted[400];
    assert_true(id > told->last && damaged[id]);
    assert_int_equal(moco_dataset_path(told->ds, id, wanted, sizeof wanted), MOCO_OK);
    assert_string_equal(path, wanted);
    assert_true(reason[0] != 0);
    told->last = id;
    return ++told->count == told->stop_at;
}

static void skipped(void **state)
{
    (void)state;
    static const int64_t readable[] = {1, 2, 4}, positions[] = {2, 4, 6};
    for (int kind = 0; kind < SOURCES; kind++)
        for (int workers = 0; workers < 3; workers++) {
            moco_dataset *ds = open_source(kind);
            moco_loader *loader = load(ds, MOCO_BAD_SKIP, 2, workers);
            struct told told = {ds, 0, 0, -1}, one = {ds, 0, 1, -1};
            moco_loader_stats stats;
            moco_batch batch;
            moco_batch_init(&batch);
            moco_loader_stats_init(&stats);
            assert_int_equal(moco_loader_bad_images(loader, tell, &told), MOCO_OK);
            assert_int_equal(told.count, 0);
            for (int i = 0; i < 3; i++) { /* of each pair one can be read */
                assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
                assert_int_equal(batch.n, 1);
                assert_int_equal(batch.ids[0], readable[i]);
                assert_int_equal(batch.position, positions[i]);
                assert_memory_equal(batch.view[0], pictures[readable[i]], sizeof pictures[0]);
            }
            assert_int_equal(moco_loader_next(loader, &batch), MOCO_EEND);
            assert_int_equal(moco_loader_get_stats(loader, &stats), MOCO_OK);
            assert_int_equal(stats.bad_images, 3);
            assert_int_equal(stats.images, 3);
            assert_int_equal(moco_loader_bad_images(loader, tell, &told), MOCO_OK);
            assert_int_equal(told.count, 3);
            assert_int_equal(moco_loader_bad_images(loader, tell, &one), MOCO_OK);
            assert_int_equal(one.count, 1);
            moco_loader_free(loader);
            moco_dataset_free(ds);
        }
}

static void failed_and_replaced(void **state)
{
    (void)state;
    static const int64_t shown[] = {1, 1, 2, 4, 4, 1};
    for (int kind = 0; kind < SOURCES; kind++) {
        moco_dataset *ds = open_source(kind);
        moco_batch batch;
        char path[400];
        moco_batch_init(&batch);
        moco_loader *loader = load(ds, MOCO_BAD_FAIL, 2, 2);
        assert_int_equal(moco_loader_next(loader, &batch), MOCO_EFORMAT);
        assert_int_equal(moco_dataset_path(ds, 0, path, sizeof path), MOCO_OK);
        assert_non_null(strstr(moco_error(), path[0] != 0 ? path : "image 0"));
        assert_int_equal(moco_loader_start_at(loader, 0, 1), MOCO_OK);
        assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK); /* 1 and 2 */
        assert_int_equal(moco_loader_next(loader, &batch), MOCO_EFORMAT);
        moco_loader_free(loader);
        loader = load(ds, MOCO_BAD_REPLACE, COUNT, 2);
        assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
        assert_int_equal(batch.n, COUNT);
        assert_memory_equal(batch.ids, shown, sizeof shown);
        struct told told = {ds, 0, 0, -1};
        assert_int_equal(moco_loader_bad_images(loader, tell, &told), MOCO_OK);
        assert_int_equal(told.count, 3);
        moco_loader_free(loader);
        moco_dataset_free(ds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_and_replaced, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
