/* SPDX-License-Identifier: MIT
 *
 * test_index: shards that are opened by an index file deliver what the shards themselves deliver, epoch by epoch; a file
 * that is damaged anywhere, cut, or older than its shards is found with one sentence that says to make it again. */
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
#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/rigs/data_rig.h"

enum { COUNT = 9, SIDE = 20, SIZE = 16, ENTRY = 24, PAGE = 4096 };

static struct data_rig rig;
static char first[300], second[300], at[300];

static void shell(const char *command)
{
    char text[8192];
    snprintf(text, sizeof text, "cd '%s' && %s", rig.folder.path, command);
    assert_int_equal(system(text), 0);
}

/* 1.tar with six pictures, whose labels are 0 and 1, and 2.tar with three that have none. */
static int set_up(void **state)
{
    (void)state;
    if (data_rig_make(&rig) != 0)
        return -1;
    for (int i = 0; i < COUNT; i++) {
        uint8_t pixels[SIDE * SIDE * 3];
        char name[32], label[4];
        draw_pixels(pixels, SIDE, SIDE, i);
        struct bytes png = draw_png(pixels, SIDE * 3, SIDE, SIDE, (struct png_kind){.color_type = 2, .depth = 8});
        snprintf(name, sizeof name, "%c/%d.png", 'a' + i / 3, i);
        scratch_write(&rig.folder, name, png.at, png.size);
        free(png.at);
        snprintf(name, sizeof name, "%c/%d.cls", 'a' + i / 3, i);
        if (i < 6)
            scratch_write(&rig.folder, name, label, (size_t)snprintf(label, sizeof label, "%d\n", i / 3));
    }
    shell("tar -cf 1.tar --sort=name a b && tar -cf 2.tar --sort=name c");
    snprintf(first, sizeof first, "%s/1.tar", rig.folder.path);
    snprintf(second, sizeof second, "%s/2.tar", rig.folder.path);
    snprintf(at, sizeof at, "%s/index", rig.folder.path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return data_rig_free(&rig);
}

static moco_dataset *open_shards(void)
{
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_tar(&ds, rig.context, (const char *const[]){first, second}, 2), MOCO_OK);
    return ds;
}

static void make_index(void)
{
    moco_dataset *ds = open_shards();
    assert_int_equal(moco_dataset_save_index(ds, at), MOCO_OK);
    moco_dataset_free(ds);
}

static void expect_refused(const char *what, moco_status wanted, const char *word)
{
    moco_dataset *ds = NULL;
    moco_status status = moco_dataset_open_index(&ds, rig.context, at);
    if (status != wanted || ds != NULL || strstr(moco_error(), word) == NULL || strstr(moco_error(), at) == NULL)
        fail_msg("%s: status %d instead of %d, or not \"%s\": %s", what, (int)status, (int)wanted, word, moco_error());
}

/* ---- the same data set ---- */

static moco_loader *load(moco_dataset *ds)
{
    moco_augment_options recipe;
    moco_loader_options o;
    moco_loader *loader;
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v2", SIZE), MOCO_OK);
    moco_loader_options_init(&o);
    o.batch_size = 3;
    o.workers = 2;
    o.permuted = o.drop_last = 1;
    o.recipe[0] = o.recipe[1] = &recipe;
    assert_int_equal(moco_loader_create(&loader, ds, &o), MOCO_OK);
    return loader;
}

static void expect_same_epochs(moco_dataset *a, moco_dataset *b)
{
    moco_loader *x = load(a), *y = load(b);
    moco_batch m, n;
    moco_batch_init(&m);
    moco_batch_init(&n);
    for (int epoch = 0; epoch < 3; epoch++) {
        assert_int_equal(moco_loader_start(x, epoch), MOCO_OK);
        assert_int_equal(moco_loader_start(y, epoch), MOCO_OK);
        for (int i = 0; i < COUNT / 3; i++) {
            assert_int_equal(moco_loader_next(x, &m), MOCO_OK);
            assert_int_equal(moco_loader_next(y, &n), MOCO_OK);
            assert_memory_equal(m.ids, n.ids, 3 * sizeof *m.ids);
            for (int v = 0; v < 2; v++)
                assert_memory_equal(m.view[v], n.view[v], (size_t)3 * SIZE * SIZE * 3);
        }
    }
    moco_loader_free(x);
    moco_loader_free(y);
}

static void delivers_what_the_shards_deliver(void **state)
{
    (void)state;
    moco_dataset *shards = open_shards(), *index;
    assert_int_equal(moco_dataset_save_index(shards, at), MOCO_OK);
    assert_int_equal(moco_dataset_open_index(&index, rig.context, at), MOCO_OK);
    assert_int_equal(moco_dataset_count(index), COUNT);
    assert_int_equal(moco_dataset_classes(index), 2);
    for (int i = 0; i < COUNT; i++) {
        char a[400], b[400];
        assert_int_equal(moco_dataset_label(index, i), moco_dataset_label(shards, i));
        assert_int_equal(moco_dataset_path(shards, i, a, sizeof a), MOCO_OK);
        assert_int_equal(moco_dataset_path(index, i, b, sizeof b), MOCO_OK);
        assert_string_equal(a, b);
    }
    expect_same_epochs(shards, index);
    assert_int_equal(moco_dataset_save_index(index, at), MOCO_ENOTSUP);
    assert_null(moco_dataset_index_hash(shards));
    assert_int_equal(strlen(moco_dataset_index_hash(index)), 32);
    moco_dataset_free(shards);
    moco_dataset_free(index);
}

/* ---- files that must not be used ---- */

static void change(long offset, int mask)
{
    FILE *file = fopen(at, "r+b");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(byte ^ mask, file);
    fclose(file);
}

/* The entry of picture `id` is damaged: its picture cannot be read, and the others can. */
static void expect_damaged(int id, long offset)
{
    moco_dataset *ds;
    int64_t bad = 0;
    char word[64], text[400];
    assert_int_equal(moco_dataset_open_index(&ds, rig.context, at), MOCO_OK);
    snprintf(word, sizeof word, "entry of picture %d is damaged; make the index again", id);
    if (moco_dataset_verify(ds, 0, COUNT, 0, NULL, NULL, &bad) != MOCO_EIO || strstr(moco_error(), word) == NULL)
        fail_msg("byte %ld: not \"%s\": %s", offset, word, moco_error());
    assert_int_equal(moco_dataset_label(ds, id), -1);
    assert_int_equal(moco_dataset_path(ds, id, text, sizeof text), MOCO_OK);
    assert_non_null(strstr(text, "damaged entry"));
    assert_int_equal(moco_dataset_verify(ds, 0, id, 0, NULL, NULL, &bad), MOCO_OK);
    assert_int_equal(moco_dataset_verify(ds, id + 1, COUNT - id - 1, 0, NULL, NULL, &bad), MOCO_OK);
    moco_dataset_free(ds);
}

static void every_byte_counts(void **state)
{
    (void)state;
    make_index();
    long table = (long)(104 + 2 * 32 + strlen(first) + 1 + strlen(second) + 1);
    for (long i = 0; i < table; i++) {
        change(i, 1 << i % 8);
        expect_refused("a changed head", MOCO_EFORMAT, "make the index again");
        change(i, 1 << i % 8);
    }
    for (long i = 0; i < COUNT * ENTRY; i++) {
        change(PAGE + i, 1 << i % 8);
        expect_damaged((int)(i / ENTRY), PAGE + i);
        change(PAGE + i, 1 << i % 8);
    }
    shell("dd if=index of=entry bs=1 skip=4096 count=24 2>/dev/null"); /* a good one, at another place */
    shell("dd if=entry of=index bs=1 seek=4120 conv=notrunc 2>/dev/null");
    expect_damaged(1, PAGE + ENTRY);
}

static void every_length_counts(void **state)
{
    (void)state;
    make_index();
    for (long size = PAGE + COUNT * ENTRY - 1; size >= 0; size -= size > 200 ? 37 : 1) {
        assert_int_equal(truncate(at, size), 0);
        expect_refused("a file that was cut", MOCO_EFORMAT, "make the index again");
    }
    make_index();
    shell("printf x >>index");
    expect_refused("a longer file", MOCO_EFORMAT, "not the length");
    shell("cp 1.tar index");
    expect_refused("a shard", MOCO_EFORMAT, "no index of shards");
}

static void older_than_its_shards(void **state)
{
    (void)state;
    make_index();
    shell("touch -d @1000000000 2.tar");
    expect_refused("a shard of another time", MOCO_EIO, "2.tar has been written to since");
    make_index();
    shell("cp -p 2.tar kept && printf x >>2.tar && touch -r kept 2.tar");
    expect_refused("a shard of another size", MOCO_EIO, "2.tar has been written to since");
    shell("rm 2.tar");
    expect_refused("no shard", MOCO_EIO, "2.tar: it cannot be found");
    shell("mv kept 2.tar");
    moco_dataset *ds = open_shards();
    shell(": >2.tar");
    assert_int_equal(moco_dataset_save_index(ds, at), MOCO_EIO);
    assert_non_null(strstr(moco_error(), "2.tar is shorter than it was"));
    moco_dataset_free(ds);
    shell("tar -cf 2.tar --sort=name c");
}

static void out_of_memory(void **state)
{
    (void)state;
    make_index();
    int refused = 0;
    for (int64_t call = 0;; call++) {
        struct failing_alloc memory = {.fail_at = call};
        moco_context_options o;
        moco_context *context;
        moco_dataset *ds = NULL;
        moco_context_options_init(&o);
        o.alloc = failing_alloc;
        o.release = failing_release;
        o.user = &memory;
        if (moco_context_create(&context, &o) != MOCO_OK) {
            refused++;
            continue;
        }
        moco_status status = moco_dataset_open_index(&ds, context, at);
        assert_true(status == MOCO_OK || (status == MOCO_ENOMEM && ds == NULL));
        moco_dataset_free(ds);
        moco_context_free(context);
        assert_int_equal(memory.live, 0);
        if (status == MOCO_OK && memory.refused == 0)
            break;
        refused++;
    }
    assert_true(refused >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_what_the_shards_deliver),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(every_length_counts),
        cmocka_unit_test(older_than_its_shards),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
