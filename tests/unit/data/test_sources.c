/* SPDX-License-Identifier: MIT
 *
 * test_sources: tar shards, lists and the caller's own pictures deliver what the same pictures in a folder deliver;
 * labels; and what each of them refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moco/data.h"
#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/rigs/data_rig.h"

enum { COUNT = 9, SIDE = 20, SIZE = 16 };

static struct data_rig rig;
static uint8_t pictures[COUNT][SIDE][SIDE][3];

/* a/0.png ... c/8.png, three each, and beside each picture its label. */
static int set_up(void **state)
{
    (void)state;
    if (data_rig_make(&rig) != 0)
        return -1;
    for (int i = 0; i < COUNT; i++) {
        char name[32], label[4];
        draw_pixels(&pictures[i][0][0][0], SIDE, SIDE, i);
        struct bytes png =
            draw_png(&pictures[i][0][0][0], SIDE * 3, SIDE, SIDE, (struct png_kind){.color_type = 2, .depth = 8});
        snprintf(name, sizeof name, "%c/%d.png", 'a' + i / 3, i);
        scratch_write(&rig.folder, name, png.at, png.size);
        snprintf(name, sizeof name, "%c/%d.cls", 'a' + i / 3, i);
        scratch_write(&rig.folder, name, label, (size_t)snprintf(label, sizeof label, "%d\n", i / 3));
        free(png.at);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return data_rig_free(&rig);
}

static void shell(const char *command)
{
    char text[8192];
    snprintf(text, sizeof text, "cd '%s' && %s", rig.folder.path, command);
    assert_int_equal(system(text), 0);
}

static moco_loader *load(moco_dataset *ds, int workers)
{
    moco_augment_options recipe;
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v2", SIZE), MOCO_OK);
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = COUNT;
    o.workers = workers;
    o.recipe[0] = &recipe;
    moco_loader *loader;
    assert_int_equal(moco_loader_create(&loader, ds, &o), MOCO_OK);
    assert_int_equal(moco_loader_start(loader, 0), MOCO_OK);
    return loader;
}

/* Same labels and same views as a data set over the folder. */
static void equals_folder(moco_dataset *ds)
{
    moco_dataset *plain;
    assert_int_equal(moco_dataset_open_folder(&plain, rig.context, rig.folder.path), MOCO_OK);
    assert_int_equal(moco_dataset_count(ds), COUNT);
    assert_int_equal(moco_dataset_classes(ds), 3);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(moco_dataset_label(ds, i), moco_dataset_label(plain, i));
    moco_loader *a = load(plain, 0), *b = load(ds, 2);
    moco_batch x, y;
    moco_batch_init(&x);
    moco_batch_init(&y);
    assert_int_equal(moco_loader_next(a, &x), MOCO_OK);
    assert_int_equal(moco_loader_next(b, &y), MOCO_OK);
    assert_memory_equal(x.ids, y.ids, COUNT * sizeof *x.ids);
    assert_memory_equal(x.view[0], y.view[0], (size_t)COUNT * SIZE * SIZE * 3);
    moco_loader_free(a);
    moco_loader_free(b);
    moco_dataset_free(plain);
}

static void shards(void **state)
{
    (void)state;
    shell("tar -cf 1.tar --sort=name a b && tar --format=pax --sort=name -cf 2.tar c");
    char first[300], second[300], text[400];
    snprintf(first, sizeof first, "%s/1.tar", rig.folder.path);
    snprintf(second, sizeof second, "%s/2.tar", rig.folder.path);
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_tar(&ds, rig.context, (const char *const[]){first, second}, 2), MOCO_OK);
    assert_string_equal(rig.log, "");
    equals_folder(ds);
    assert_int_equal(moco_dataset_path(ds, 8, text, sizeof text), MOCO_OK);
    assert_non_null(strstr(text, "2.tar (offset "));
    moco_dataset_free(ds);
}

static void expect_tar(const char *command, moco_status wanted, const char *word)
{
    char path[300];
    moco_dataset *ds;
    shell(command);
    snprintf(path, sizeof path, "%s/t.tar", rig.folder.path);
    moco_status status = moco_dataset_open_tar(&ds, rig.context, (const char *const[]){path}, 1);
    if (status != wanted)
        fail_msg("%s: status %d: %s", command, (int)status, moco_error());
    if (wanted == MOCO_OK) {
        moco_dataset_free(ds);
        assert_non_null(strstr(rig.log, word));
    } else {
        assert_null(ds);
        if (strstr(moco_error(), word) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", moco_error(), word);
    }
}

static void shards_that_are_refused(void **state)
{
    (void)state;
    expect_tar("tar -cf t.tar a/0.png a/1.png a/0.cls", MOCO_EFORMAT, "comes back at offset");
    expect_tar("tar -cf t.tar a/0.png a/1.png a/0.cls", MOCO_EFORMAT, "as tar --sort=name packs them");
    expect_tar("tar --sort=name -cf t.tar a", MOCO_OK, "");
    expect_tar("tar -cf t.tar a/0.png a/1.png && tar -rf t.tar a/0.png", MOCO_EFORMAT, "comes back at offset");
    expect_tar("cp a/0.png a/0.jpg && tar -cf t.tar a/0.png a/0.jpg", MOCO_EFORMAT, "second one of its sample");
    expect_tar("cp a/0.png a/0.tiff && cp a/0.png a/x && tar -cf t.tar a/0.tiff a/0.cls a/x", MOCO_EINVAL,
               "t.tar, but 1 without an extension, 1 .tiff");
    expect_tar("cp a/0.png p.1.png && cp a/0.png p.2.png && tar -cf t.tar p.1.png p.2.png", MOCO_EINVAL, "first dot");
    expect_tar("tar --sort=name -czf t.tar b", MOCO_EFORMAT,
               "t.tar is compressed with gzip; unpack it once (gzip -dc <FILE >FILE.tar)");
    expect_tar("gzip -dc <t.tar >u.tar && mv u.tar t.tar", MOCO_OK, "");        /* what the sentence says */
    expect_tar("tar -czf t.tar a/1.cls", MOCO_EFORMAT, "compressed with gzip"); /* less than a header */
    /* A bare system has no other packer: the first bytes are what tells. */
    expect_tar("tar -cf u.tar a && { printf '\\3757zXZ\\000'; cat u.tar; } >t.tar", MOCO_EFORMAT, "compressed with xz");
    expect_tar("{ printf 'BZh91AY&SY'; cat u.tar; } >t.tar", MOCO_EFORMAT, "compressed with bzip2");
    expect_tar("{ printf '\\050\\265\\057\\375'; cat u.tar; } >t.tar", MOCO_EFORMAT, "compressed with zstd");
    expect_tar("{ printf 'PK\\003\\004'; cat u.tar; } >t.tar", MOCO_EFORMAT, "an archive of zip");
    expect_tar("cat u.tar u.tar >t.tar", MOCO_EFORMAT, "comes back at offset");
    expect_tar("tar -cf t.tar a/1.cls", MOCO_EINVAL, "no picture");
    expect_tar(": >t.tar", MOCO_EINVAL, "no picture");
    expect_tar("tar -cf t.tar a && head -c 2000 t.tar >u && mv u t.tar", MOCO_EFORMAT, "offset");
    expect_tar("rm -f t.tar", MOCO_EIO, "t.tar");
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_tar(&ds, rig.context, NULL, 1), MOCO_EINVAL);
    assert_int_equal(moco_dataset_open_tar(&ds, rig.context, (const char *const[]){NULL}, 1), MOCO_EINVAL);
}

static void shards_with_a_word_in_the_log(void **state)
{
    (void)state;
    expect_tar("tar -cf t.tar a/0.png a/1.cls", MOCO_OK, "1 samples have no picture");
    expect_tar("ln -s 0.png a/9.png; tar -cf t.tar a/0.png a/9.png", MOCO_OK, "1 members are links");
    expect_tar("tar -cf t.tar a/0.png && printf '%1024s' behind >>t.tar", MOCO_OK,
               "1024 bytes behind its closing blocks");
    expect_tar("tar -cf t.tar a/0.png && head -c 1024 t.tar >u && mv u t.tar", MOCO_OK, "closing blocks");
}

static moco_dataset *open_tar(const char *command)
{
    char path[300];
    moco_dataset *ds;
    shell(command);
    snprintf(path, sizeof path, "%s/t.tar", rig.folder.path);
    moco_status status = moco_dataset_open_tar(&ds, rig.context, (const char *const[]){path}, 1);
    if (status != MOCO_OK)
        fail_msg("%s: %s", command, moco_error());
    return ds;
}

/* As `cat` leaves them, with and without the closing blocks of the first, and as tar itself joins them. */
static void archives_one_after_another(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "tar -cf 1.tar --sort=name a && tar -cf 2.tar --sort=name b c && cat 1.tar 2.tar >t.tar",
        "cp 1.tar t.tar && tar -Af t.tar 2.tar",
        "{ head -c 9728 1.tar; cat 2.tar; } >t.tar",
        "{ cat 1.tar; head -c 100000 /dev/zero | head -c 99840; cat 2.tar; } >t.tar",
        "tar --format=pax -cf 2.tar --sort=name b c && cat 1.tar 2.tar >t.tar",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        moco_dataset *ds = open_tar(commands[i]);
        equals_folder(ds);
        moco_dataset_free(ds);
    }
    assert_null(strstr(rig.log, "t.tar"));
}

/* A member is what its last extension says, and the plain one goes first. */
static void shards_with_longer_extensions(void **state)
{
    (void)state;
    moco_dataset *ds = open_tar("cp a/0.png s.jpg && cp a/1.png s.seg.png && echo 2 >s.cls && cp a/2.png s.jpg.json && "
                                "cp a/1.png t.seg.png && cp a/2.png t.jpg && echo 1 >t.fine.cls && "
                                "cp a/1.png u.v2.JPE && cp a/1.png u.jpg.txt && "
                                "cp a/1.png v.1.png && cp a/1.png v.2.png && cp a/1.png w.png.tiff && "
                                "tar -cf t.tar s.* t.seg.png t.jpg t.fine.cls u.* v.* w.*");
    assert_int_equal(moco_dataset_count(ds), 3);
    static const int labels[] = {2, 1, -1}, from[] = {0, 2, 1};
    char at[400], command[600];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(moco_dataset_label(ds, i), labels[i]);
        assert_int_equal(moco_dataset_path(ds, i, at, sizeof at), MOCO_OK);
        long long offset = strtoll(strstr(at, "(offset ") + 8, NULL, 10);
        /* the bytes there are those of the picture that was copied */
        snprintf(command, sizeof command, "tail -c +%lld t.tar | cmp -n \"$(wc -c <a/%d.png)\" - a/%d.png", offset + 1,
                 from[i], from[i]);
        shell(command);
    }
    int64_t count;
    assert_string_equal(moco_dataset_left_out(ds, 0, &count), ".png");
    assert_int_equal(count, 2);
    assert_string_equal(moco_dataset_left_out(ds, 1, &count), ".tiff");
    assert_null(moco_dataset_left_out(ds, 2, NULL));
    assert_non_null(strstr(rig.log, "1 samples that are left out have several pictures"));
    moco_dataset_free(ds);
}

/* One warning for all shards; pictures without a label stay. */
static void shards_with_odd_labels(void **state)
{
    (void)state;
    shell(
        "echo cat >a/1.cls; printf ' 1\\r\\n' >a/2.cls; : >b/3.cls; printf '%100s' 1 >b/4.cls; echo 1048575 >c/6.cls; "
        "echo 1048576 >c/7.cls; echo 999999999 >c/8.cls; tar -cf 1.tar --sort=name a b && tar -cf 2.tar --sort=name c");
    char first[300], second[300];
    snprintf(first, sizeof first, "%s/1.tar", rig.folder.path);
    snprintf(second, sizeof second, "%s/2.tar", rig.folder.path);
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_tar(&ds, rig.context, (const char *const[]){first, second}, 2), MOCO_OK);
    static const int labels[COUNT] = {0, -1, 1, -1, -1, 1, 1048575, -1, -1};
    assert_int_equal(moco_dataset_count(ds), COUNT);
    assert_int_equal(moco_dataset_classes(ds), 1048576);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(moco_dataset_label(ds, i), labels[i]);
    moco_dataset_free(ds);
    char *once = strstr(rig.log, "5 pictures have no label");
    assert_non_null(once);
    assert_non_null(strstr(once, "1.tar at offset "));
    assert_null(strstr(once + 24, "no label"));
}

/* A picture that is damaged inside its shard is replaced, and named by its place. */
static void a_damaged_picture_in_a_shard(void **state)
{
    (void)state;
    shell("head -c 100 a/1.png >u && mv u a/1.png && tar -cf t.tar --sort=name a b");
    char path[300];
    snprintf(path, sizeof path, "%s/t.tar", rig.folder.path);
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_tar(&ds, rig.context, (const char *const[]){path}, 1), MOCO_OK);
    moco_augment_options recipe;
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v2", SIZE), MOCO_OK);
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = 6;
    o.recipe[0] = &recipe;
    moco_loader *loader;
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_loader_create(&loader, ds, &o), MOCO_OK);
    assert_int_equal(moco_loader_start(loader, 0), MOCO_OK);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
    moco_loader_stats stats;
    moco_loader_stats_init(&stats);
    assert_int_equal(moco_loader_get_stats(loader, &stats), MOCO_OK);
    assert_int_equal(stats.bad_images, 1);
    assert_non_null(strstr(rig.log, "t.tar (offset "));
    moco_loader_free(loader);
    moco_dataset_free(ds);
}

struct reports {
    int count;
    int64_t last;
    int stop;
    char path[400];
};

static int report(void *user, int64_t id, const char *path, const char *reason)
{
    struct reports *r = user;
    assert_true(reason[0] != 0);
    r->count++;
    r->last = id;
    snprintf(r->path, sizeof r->path, "%s", path);
    return r->stop;
}

/* A JPEG whose last bytes are missing passes a loader whose views do not show them, but not this. */
static void verifying(void **state)
{
    (void)state;
    struct bytes jpeg = draw_jpeg(&pictures[0][0][0][0], SIDE, SIDE, (struct jpeg_kind){.components = 3});
    scratch_write(&rig.folder, "a/0.jpg", jpeg.at, jpeg.size);
    scratch_write(&rig.folder, "a/1.jpg", jpeg.at, jpeg.size - 2); /* no end marker */
    free(jpeg.at);
    shell("head -c 100 b/3.png >u && mv u b/3.png");
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, rig.folder.path), MOCO_OK);
    int64_t bad, count = moco_dataset_count(ds);
    struct reports r = {0};
    assert_int_equal(moco_dataset_verify(ds, 0, count, 0, report, &r, &bad), MOCO_OK);
    assert_int_equal(bad, 2);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.last, 5); /* a/0.jpg, 0.png, 1.jpg, 1.png, 2.png, b/3.png */
    assert_string_equal(r.path, scratch_path(&rig.folder, "b/3.png"));
    assert_int_equal(moco_dataset_verify(ds, 3, 2, 0, NULL, NULL, &bad), MOCO_OK);
    assert_int_equal(bad, 0);
    r = (struct reports){.stop = 1};
    assert_int_equal(moco_dataset_verify(ds, 0, count, 0, report, &r, &bad), MOCO_ECANCELED);
    assert_int_equal(r.last, 2);
    assert_int_equal(moco_dataset_verify(ds, 0, count, SIDE * SIDE - 1, NULL, NULL, &bad), MOCO_OK);
    assert_int_equal(bad, count);
    assert_int_equal(moco_dataset_verify(ds, 1, count, 0, NULL, NULL, &bad), MOCO_EINVAL);
    assert_int_equal(moco_dataset_verify(ds, -1, 1, 0, NULL, NULL, &bad), MOCO_EINVAL);
    assert_int_equal(moco_dataset_verify(ds, INT64_MAX, 1, 0, NULL, NULL, &bad), MOCO_EINVAL);
    assert_int_equal(moco_dataset_verify(ds, 0, 1, 0, NULL, NULL, NULL), MOCO_EINVAL);
    assert_int_equal(moco_dataset_verify(NULL, 0, 1, 0, NULL, NULL, &bad), MOCO_EINVAL);
    moco_dataset_free(ds);
}

static void lists(void **state)
{
    (void)state;
    shell("for i in 0 1 2 3 4 5 6 7 8; do printf '%s\\t%s\\n' \"$(ls ?/$i.png)\" $((i / 3)); done >list.txt");
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_list(&ds, rig.context, scratch_path(&rig.folder, "list.txt")), MOCO_OK);
    equals_folder(ds);
    moco_dataset_free(ds);
    char text[400];
    snprintf(text, sizeof text, "\n%s/c/7.png\r\nb/3.png\t4\n\nb/4.png", rig.folder.path); /* no newline at the end */
    scratch_write(&rig.folder, "list.txt", text, strlen(text));
    assert_int_equal(moco_dataset_open_list(&ds, rig.context, scratch_path(&rig.folder, "list.txt")), MOCO_OK);
    assert_int_equal(moco_dataset_count(ds), 3);
    assert_int_equal(moco_dataset_classes(ds), 5);
    assert_int_equal(moco_dataset_label(ds, 0), -1);
    assert_int_equal(moco_dataset_label(ds, 1), 4);
    assert_int_equal(moco_dataset_label(ds, 2), -1);
    for (int i = 0; i < 3; i++) {
        const char *const names[] = {"c/7.png", "b/3.png", "b/4.png"};
        assert_int_equal(moco_dataset_path(ds, i, text, sizeof text), MOCO_OK);
        assert_string_equal(text, scratch_path(&rig.folder, names[i]));
    }
    moco_dataset_free(ds);
}

/* What is no label: its picture has none, and the log says so once. */
static void lists_with_odd_labels(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf"
                               "a/0.png\t1 \na/1.png\tcat\na b, c.png\t 2\r\nb/3.png\t\nb/4.png\t-1\n"
                               "b/5.png\t1048576\nc/6.png\t1234567890\nc/7.png\t99999999999999999999\nc/8.png\t1.0\n";
    static const int labels[] = {1, -1, 2, -1, -1, -1, -1, -1, -1};
    shell("cp a/0.png 'a b, c.png'");
    scratch_write(&rig.folder, "list.txt", text, sizeof text - 1);
    moco_dataset *ds;
    assert_int_equal(moco_dataset_open_list(&ds, rig.context, scratch_path(&rig.folder, "list.txt")), MOCO_OK);
    assert_int_equal(moco_dataset_count(ds), 9);
    assert_int_equal(moco_dataset_classes(ds), 3);
    for (int i = 0; i < 9; i++)
        assert_int_equal(moco_dataset_label(ds, i), labels[i]);
    int64_t unreadable;
    assert_int_equal(moco_dataset_verify(ds, 0, 9, 0, NULL, NULL, &unreadable), MOCO_OK);
    assert_int_equal(unreadable, 0);
    moco_dataset_free(ds);
    char *once = strstr(rig.log, "7 pictures have no label");
    assert_non_null(once);
    assert_non_null(strstr(once, "the first is that of line 2"));
    assert_null(strstr(once + 24, "no label"));
}

#define TEXT(s) s, sizeof(s) - 1

static void lists_that_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t size;
        moco_status status;
        const char *word;
    } cases[] = {
        {"", 0, MOCO_EINVAL, "names no picture"},
        {"\n\n", 2, MOCO_EINVAL, "names no picture"},
        {"\t3\n", 3, MOCO_EFORMAT, "label but no path"},
        {"a.png\nb\0c\n", 10, MOCO_EFORMAT, "line 2 holds a zero byte"},
        {"\xff\xfe"
         "a\0",
         4, MOCO_EFORMAT, "UTF-16"},
        {TEXT("a/0.png 0\nb/3.png 1\n"), MOCO_EFORMAT, "line 1 has a space where a tab must stand"},
        {TEXT("a/0.png,0\nb/3.png,1\n"), MOCO_EFORMAT, "line 1 has a comma where a tab must stand"},
        {TEXT("a/0.png;0\r\n"), MOCO_EFORMAT, "line 1 has a semicolon where a tab must stand"},
        {TEXT("a/0.png cat dog\n"), MOCO_EFORMAT, "line 1 has a space where a tab must stand"},
        {TEXT("a/0.png\t0\t1\n"), MOCO_EFORMAT, "line 1 has a second tab"},
        {TEXT("\xef\xbb\xbf"
              "a b.png 0\n"),
         MOCO_EFORMAT, "line 1 has a space where a tab must stand"},
        {TEXT("\npath\tlabel\na/0.png\t0\n"), MOCO_EFORMAT, "line 2 names path, but there is no such file"},
        {TEXT("filename,label\n"), MOCO_EFORMAT, "it looks like a header"},
        {TEXT("\"a/0.png\"\t0\n"), MOCO_EFORMAT, "without quotes"},
        {TEXT("a\\0.png\t0\n"), MOCO_EFORMAT, "write / between folders"},
        {TEXT("0\ta/0.png\n"), MOCO_EFORMAT, "the path comes first"},
        {TEXT("a/0.png \t0\n"), MOCO_EFORMAT, "ends in a space"},
        {TEXT("/none/a.png\t0\n"), MOCO_EFORMAT, "names /none/a.png, but there is no such file;"},
        {TEXT("a/gone.png\t0\n"), MOCO_EFORMAT, "no such file in /"},
    };
    moco_dataset *ds;
    shell("cp a/0.png 'a b.png'");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scratch_write(&rig.folder, "list.txt", cases[i].text, cases[i].size);
        assert_int_equal(moco_dataset_open_list(&ds, rig.context, scratch_path(&rig.folder, "list.txt")),
                         cases[i].status);
        if (strstr(moco_error(), cases[i].word) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", moco_error(), cases[i].word);
        assert_null(ds);
    }
    assert_int_equal(moco_dataset_open_list(&ds, rig.context, scratch_path(&rig.folder, "none.txt")), MOCO_EIO);
    assert_int_equal(moco_dataset_open_list(&ds, rig.context, NULL), MOCO_EINVAL);
}

/* ---- the caller's own pictures ---- */

struct camera {
    _Atomic int reads, open;
    int64_t bad, broken; /* ids; -1: none */
};

static moco_status camera_read(void *user, int64_t id, const uint8_t **pixels, int32_t *w, int32_t *h)
{
    struct camera *camera = user;
    if (id == camera->bad)
        return MOCO_EFORMAT;
    if (id == camera->broken)
        return MOCO_EDEVICE;
    atomic_fetch_add(&camera->reads, 1);
    atomic_fetch_add(&camera->open, 1);
    *pixels = &pictures[id][0][0][0];
    *w = *h = SIDE;
    return MOCO_OK;
}

static void camera_done(void *user, int64_t id, const uint8_t *pixels)
{
    if (pixels == &pictures[id][0][0][0])
        atomic_fetch_sub(&((struct camera *)user)->open, 1);
}

static int32_t camera_label(void *user, int64_t id)
{
    (void)user;
    return (int32_t)(id / 3);
}

static void callbacks(void **state)
{
    (void)state;
    struct camera camera = {.bad = -1, .broken = -1};
    moco_image_source source;
    moco_image_source_init(&source);
    source.count = COUNT;
    source.classes = 3;
    source.read = camera_read;
    source.done = camera_done;
    source.label = camera_label;
    source.user = &camera;
    moco_dataset *ds;
    assert_int_equal(moco_dataset_from_callback(&ds, rig.context, &source), MOCO_OK);
    equals_folder(ds);
    assert_int_equal(camera.reads, COUNT);
    assert_int_equal(camera.open, 0);
    camera.bad = 4;
    moco_loader *loader = load(ds, 2);
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
    moco_loader_free(loader);
    assert_non_null(strstr(rig.log, "image 4"));
    camera.bad = -1;
    camera.broken = 2;
    loader = load(ds, 2);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_EDEVICE);
    assert_non_null(strstr(moco_error(), "image 2"));
    moco_loader_free(loader);
    moco_dataset_free(ds);
    assert_int_equal(camera.open, 0);

    source.label = NULL;
    assert_int_equal(moco_dataset_from_callback(&ds, rig.context, &source), MOCO_EINVAL);
    source.classes = 0;
    source.count = 0;
    assert_int_equal(moco_dataset_from_callback(&ds, rig.context, &source), MOCO_EINVAL);
    source.count = 1;
    source.read = NULL;
    assert_int_equal(moco_dataset_from_callback(&ds, rig.context, &source), MOCO_EINVAL);
    assert_int_equal(moco_dataset_from_callback(&ds, rig.context, NULL), MOCO_EINVAL);
    assert_null(ds);
}

/* ---- the caller's own files ---- */

struct store {
    struct bytes file[COUNT];
    char released[COUNT]; /* what a query's result would be */
    _Atomic int reads, open;
    int64_t missing, broken, damaged; /* ids; -1: none */
};

static moco_status store_read(void *user, int64_t id, const void **bytes, size_t *size, void **cookie, char *reason,
                              size_t room)
{
    struct store *store = user;
    if (id == store->missing || id == store->broken) {
        snprintf(reason, room, "row %lld is gone", (long long)id + 100);
        return id == store->missing ? MOCO_EFORMAT : MOCO_EDEVICE;
    }
    atomic_fetch_add(&store->reads, 1);
    atomic_fetch_add(&store->open, 1);
    *bytes = store->file[id].at;
    *size = id == store->damaged ? store->file[id].size / 2 : store->file[id].size;
    *cookie = &store->released[id];
    return MOCO_OK;
}

static void store_done(void *user, int64_t id, const void *bytes, size_t size, void *cookie)
{
    struct store *store = user;
    if (bytes == store->file[id].at && size > 0 && cookie == &store->released[id])
        atomic_fetch_sub(&store->open, 1);
}

static void store_fails(struct store *store, moco_dataset *ds, moco_status status, const char *word)
{
    moco_batch batch;
    moco_batch_init(&batch);
    moco_loader *loader = load(ds, 2);
    assert_int_equal(moco_loader_next(loader, &batch), status);
    const char *said = status == MOCO_OK ? rig.log : moco_error();
    if (strstr(said, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", said, word);
    moco_loader_free(loader);
    assert_int_equal(store->open, 0);
    store->missing = store->broken = store->damaged = -1;
}

static void encoded_callbacks(void **state)
{
    (void)state;
    struct store store = {.missing = -1, .broken = -1, .damaged = -1};
    for (int i = 0; i < COUNT; i++)
        store.file[i] =
            draw_png(&pictures[i][0][0][0], SIDE * 3, SIDE, SIDE, (struct png_kind){.color_type = 2, .depth = 8});
    moco_encoded_source source;
    moco_encoded_source_init(&source);
    source.count = COUNT;
    source.classes = 3;
    source.read = store_read;
    source.done = store_done;
    source.label = camera_label;
    source.user = &store;
    moco_dataset *ds;
    assert_int_equal(moco_dataset_from_encoded(&ds, rig.context, &source), MOCO_OK);
    equals_folder(ds);
    assert_int_equal(store.reads, COUNT);
    assert_int_equal(store.open, 0);
    store.missing = 4;
    store_fails(&store, ds, MOCO_OK, "image 4");
    assert_non_null(strstr(rig.log, ": row 104 is gone"));
    store.damaged = 5;
    store_fails(&store, ds, MOCO_OK, "image 5");
    store.broken = 2;
    store_fails(&store, ds, MOCO_EDEVICE, ": row 102 is gone");
    moco_dataset_free(ds);
    source.done = NULL; /* whoever has nothing to release */
    assert_int_equal(moco_dataset_from_encoded(&ds, rig.context, &source), MOCO_OK);
    equals_folder(ds);
    moco_dataset_free(ds);
    for (int i = 0; i < COUNT; i++)
        free(store.file[i].at);
}

/* ---- failing memory ---- */

static moco_status open_all(moco_context *failing)
{
    char tar[300], list[300];
    snprintf(tar, sizeof tar, "%s/t.tar", rig.folder.path);
    snprintf(list, sizeof list, "%s/list.txt", rig.folder.path);
    moco_dataset *ds = NULL;
    moco_status status = moco_dataset_open_tar(&ds, failing, (const char *const[]){tar}, 1);
    moco_dataset_free(ds);
    if (status == MOCO_OK) {
        status = moco_dataset_open_list(&ds, failing, list);
        moco_dataset_free(ds);
    }
    return status;
}

static void failing_memory(void **state)
{
    (void)state;
    shell("tar --format=pax -cf t.tar --sort=name a b c && ls ?/?.png | sed 's/$/\\t1/' >list.txt");
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            struct failing_alloc memory = {.fail_at = n, .forever = forever};
            moco_context_options o;
            moco_context_options_init(&o);
            o.alloc = failing_alloc;
            o.release = failing_release;
            o.user = &memory;
            moco_context *failing;
            moco_status status = moco_context_create(&failing, &o);
            if (status == MOCO_OK) {
                status = open_all(failing);
                moco_context_free(failing);
            }
            assert_int_equal(memory.live, 0);
            if (memory.refused == 0) {
                assert_int_equal(status, MOCO_OK);
                assert_true(n > 12);
                break;
            }
            assert_int_equal(status, MOCO_ENOMEM);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shards, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shards_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shards_with_a_word_in_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(archives_one_after_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shards_with_longer_extensions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shards_with_odd_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_picture_in_a_shard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(verifying, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_with_odd_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(callbacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(encoded_callbacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
