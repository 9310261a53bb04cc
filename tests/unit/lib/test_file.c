/* SPDX-License-Identifier: MIT
 *
 * test_file: files read in pieces and replaced as a whole, on a real file system; failing system calls are tested in
 * robust/files/test_file_faults.c. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/file.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

static struct failing_alloc memory;
static struct ctx *ctx;
static struct err err;
static struct scratch_folder folder;

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static int descriptors;

static int set_up(void **state)
{
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    err = (struct err){0};
    struct ctx_options options = {.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1};
    scratch_folder_make(&folder);
    descriptors = open_descriptors();
    return ctx_create(&ctx, &options, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ctx_unref(ctx);
    scratch_folder_remove(&folder);
    return memory.live == 0 && open_descriptors() == descriptors ? 0 : -1;
}

/* Names in the folder, hidden ones too. */
static int entries(void)
{
    int count = -2;
    DIR *dir = opendir(folder.path);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void check_contents(const char *name, const char *expected, size_t size)
{
    char *bytes = NULL;
    size_t got = 0;
    assert_int_equal(file_read_all(ctx, scratch_path(&folder, name), 1 << 20, &bytes, &got, &err), MOCO_OK);
    assert_int_equal(got, size);
    assert_memory_equal(bytes, expected, size);
    assert_int_equal(bytes[size], 0);
    mem_free(ctx, bytes);
}

static void says(const char *part)
{
    if (strstr(err.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
    err = (struct err){0};
}

static void reading(void **state)
{
    (void)state;
    struct file f;
    char bytes[16] = "";
    scratch_write(&folder, "a", "0123456789", 10);
    assert_int_equal(file_open(&f, ctx, scratch_path(&folder, "a"), &err), MOCO_OK);
    assert_int_equal(f.size, 10);
    assert_int_equal(file_read_at(&f, 3, bytes, 4, &err), MOCO_OK);
    assert_memory_equal(bytes, "3456", 4);
    assert_int_equal(file_read_at(&f, 10, bytes, 0, &err), MOCO_OK);
    assert_int_equal(file_read_at(&f, 8, bytes, 3, &err), MOCO_EIO);
    says("ends at offset 10");
    assert_int_equal(truncate(f.path, 5), 0); /* it shrinks while it is open */
    assert_int_equal(file_read_at(&f, 3, bytes, 4, &err), MOCO_EIO);
    says("ends at offset 5 while it is being read; 2 more bytes were expected");
    assert_int_equal(file_read_at(&f, -1, bytes, 1, &err), MOCO_EIO);
    says("offset -1 failed: Invalid argument");
    file_close(&f);
    file_close(&f);
    file_close(&(struct file){0});
}

static void reading_all(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t size = 0;
    scratch_write(&folder, "a", "01\0003", 4);
    scratch_write(&folder, "empty", "", 0);
    check_contents("a", "01\0003", 4);
    check_contents("empty", "", 0);
    assert_int_equal(file_read_all(ctx, scratch_path(&folder, "a"), 3, &bytes, &size, &err), MOCO_EFORMAT);
    assert_null(bytes);
    says("it has 4 bytes; at most 3 are read");
}

static void not_files(void **state)
{
    (void)state;
    struct file f;
    assert_int_equal(file_open(&f, ctx, scratch_path(&folder, "none"), &err), MOCO_EIO);
    says("none: it cannot be opened: No such file");
    assert_int_equal(file_open(&f, ctx, folder.path, &err), MOCO_EIO);
    says("not a regular file");
    assert_int_equal(file_open(&f, ctx, "", &err), MOCO_EIO);
    says("No such file");
    assert_int_equal(mkfifo(scratch_path(&folder, "pipe"), 0600), 0);
    assert_int_equal(file_open(&f, ctx, scratch_path(&folder, "pipe"), &err), MOCO_EIO); /* and does not wait */
    says("not a regular file");
    assert_int_equal(file_open(&f, ctx, "/dev/zero", &err), MOCO_EIO);
    says("not a regular file");
    file_close(&f); /* a failed open leaves nothing to close */
}

static moco_status save(const char *path, const char *text)
{
    struct file_save s;
    TRY(file_save_begin(&s, ctx, path, (int64_t)strlen(text), &err));
    moco_status status = file_save_write_at(&s, 0, text, strlen(text), &err);
    if (status == MOCO_OK)
        return file_save_commit(&s, &err);
    file_save_abandon(&s);
    return status;
}

static void replacing(void **state)
{
    (void)state;
    struct file_save s;
    char here[4096];
    assert_int_equal(save(scratch_path(&folder, "a"), "first"), MOCO_OK);
    check_contents("a", "first", 5);
    assert_int_equal(file_save_begin(&s, ctx, scratch_path(&folder, "a"), 4096, &err), MOCO_OK);
    struct stat stat;
    assert_int_equal(fstat(s.fd, &stat), 0);
    assert_int_equal(stat.st_size, 4096); /* its room is taken before anything is written */
    assert_true(stat.st_blocks > 0);
    assert_int_equal(entries(), 2);
    assert_int_equal(file_save_write_at(&s, 4090, "end", 3, &err), MOCO_OK);
    assert_int_equal(file_save_write_at(&s, 0, "second", 6, &err), MOCO_OK);
    check_contents("a", "first", 5); /* until commit */
    assert_int_equal(file_save_commit(&s, &err), MOCO_OK);
    char expected[4096] = "second";
    memcpy(expected + 4090, "end", 3);
    check_contents("a", expected, 4096);
    file_save_abandon(&s);
    assert_int_equal(save(scratch_path(&folder, "empty"), ""), MOCO_OK);
    check_contents("empty", "", 0);
    assert_int_equal(entries(), 2);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder.path), 0);
    assert_int_equal(save("relative", "r"), MOCO_OK);
    assert_int_equal(file_save_begin(&s, ctx, "a", 1, &err), MOCO_OK);
    assert_int_equal(chdir(here), 0); /* the folder was settled at the start */
    assert_int_equal(file_save_write_at(&s, 0, "x", 1, &err), MOCO_OK);
    assert_int_equal(file_save_commit(&s, &err), MOCO_OK);
    check_contents("relative", "r", 1);
    check_contents("a", "x", 1);
}

static void modes_and_links(void **state)
{
    (void)state;
    struct stat stat;
    mode_t mask = umask(027);
    assert_int_equal(save(scratch_path(&folder, "a"), "one"), MOCO_OK);
    umask(mask);
    assert_int_equal(lstat(scratch_path(&folder, "a"), &stat), 0);
    assert_int_equal(stat.st_mode & 0777, 0640); /* as any file that a program makes */
    assert_int_equal(symlink("a", scratch_path(&folder, "link")), 0);
    assert_int_equal(save(scratch_path(&folder, "link"), "two"), MOCO_OK);
    assert_int_equal(lstat(scratch_path(&folder, "link"), &stat), 0);
    assert_true(S_ISREG(stat.st_mode));
    check_contents("a", "one", 3);
    check_contents("link", "two", 3);
}

static void giving_up(void **state)
{
    (void)state;
    struct file_save s;
    scratch_write(&folder, "a", "old", 3);
    assert_int_equal(file_save_begin(&s, ctx, scratch_path(&folder, "a"), 10, &err), MOCO_OK);
    assert_int_equal(file_save_write_at(&s, 0, "new", 3, &err), MOCO_OK);
    file_save_abandon(&s);
    file_save_abandon(&s);
    file_save_abandon(&(struct file_save){0});
    check_contents("a", "old", 3);
    assert_int_equal(entries(), 1);
}

/* Two at once to one path: each has a file of its own, the later commit wins, both are whole. */
static void two_at_once(void **state)
{
    (void)state;
    struct file_save one, two;
    assert_int_equal(file_save_begin(&one, ctx, scratch_path(&folder, "a"), 3, &err), MOCO_OK);
    assert_int_equal(file_save_begin(&two, ctx, scratch_path(&folder, "a"), 3, &err), MOCO_OK);
    assert_int_equal(entries(), 2);
    assert_int_equal(file_save_write_at(&one, 0, "one", 3, &err), MOCO_OK);
    assert_int_equal(file_save_write_at(&two, 0, "two", 3, &err), MOCO_OK);
    assert_int_equal(file_save_commit(&two, &err), MOCO_OK);
    check_contents("a", "two", 3);
    assert_int_equal(file_save_commit(&one, &err), MOCO_OK);
    check_contents("a", "one", 3);
    assert_int_equal(entries(), 1);
}

static void bad_places(void **state)
{
    (void)state;
    char name[300];
    scratch_make_folder(&folder, "sub");
    assert_int_equal(save(scratch_path(&folder, "none/a"), "x"), MOCO_EIO);
    says("its folder cannot be opened: No such file");
    assert_int_equal(save(scratch_path(&folder, "sub"), "x"), MOCO_EIO);
    says("no regular file");
    assert_int_equal(save(scratch_path(&folder, "sub/"), "x"), MOCO_EIO);
    says("the path names no file");
    assert_int_equal(save("", "x"), MOCO_EIO);
    says("the path names no file");
    assert_int_equal(save("/dev/null", "x"), MOCO_EIO); /* root could replace it */
    says("no regular file");
    assert_int_equal(access("/dev/null", W_OK), 0);
    memset(name, 'n', sizeof name);
    name[256] = 0;
    assert_int_equal(save(scratch_path(&folder, name), "x"), MOCO_EIO);
    says("File name too long");
    name[255] = 0; /* as long as a name can be: the temporary one is shorter */
    assert_int_equal(save(scratch_path(&folder, name), "long"), MOCO_OK);
    check_contents(name, "long", 4);
    assert_int_equal(entries(), 2);
}

static void no_memory(void **state)
{
    (void)state;
    scratch_write(&folder, "a", "old", 3);
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            long long live = memory.live;
            char *bytes = NULL;
            size_t size;
            memory = (struct failing_alloc){.live = live, .fail_at = n, .forever = forever};
            err = (struct err){0};
            moco_status status = save(scratch_path(&folder, "a"), "old");
            if (status == MOCO_OK)
                status = file_read_all(ctx, scratch_path(&folder, "a"), 100, &bytes, &size, &err);
            mem_free(ctx, bytes);
            memory.fail_at = -1;
            assert_int_equal(memory.live, live);
            assert_int_equal(entries(), 1);
            check_contents("a", "old", 3);
            if (status == MOCO_OK) {
                assert_true(n > 3);
                break;
            }
            assert_int_equal(status, MOCO_ENOMEM);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reading_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replacing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(modes_and_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(giving_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
