/* SPDX-License-Identifier: MIT
 *
 * test_folder_faults: a folder of pictures whose listing fails is an error that names it, never a shorter data set. The
 * Makefile links this with --wrap for the calls below. What a reader would get wrong: file systems may leave d_type
 * open, and then what an entry is must be asked for, which may fail too. */
#define _DEFAULT_SOURCE /* d_type */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "moco/data.h"
#include "support/rigs/data_rig.h"

enum call { NONE, OPENDIR, READDIR, FSTATAT };

static struct {
    enum call call;
    int at, error;    /* the call with this number fails, from 0 */
    const char *name; /* if not NULL: FSTATAT fails for this one only */
    int untyped;      /* entries come without their type */
    int counted, failed;
} fault;

static struct data_rig rig;

static int fails(enum call call, const char *name)
{
    if (fault.call != call || (fault.name != NULL && strcmp(fault.name, name) != 0) || fault.counted++ != fault.at)
        return 0;
    fault.failed++;
    errno = fault.error;
    return 1;
}

DIR *__real_opendir(const char *path);
struct dirent *__real_readdir(DIR *dir);
int __real_fstatat(int folder, const char *path, struct stat *stat, int flags);
DIR *__wrap_opendir(const char *path);
struct dirent *__wrap_readdir(DIR *dir);
int __wrap_fstatat(int folder, const char *path, struct stat *stat, int flags);

DIR *__wrap_opendir(const char *path)
{
    return fails(OPENDIR, path) ? NULL : __real_opendir(path);
}

struct dirent *__wrap_readdir(DIR *dir)
{
    if (fails(READDIR, ""))
        return NULL;
    struct dirent *entry = __real_readdir(dir);
    if (entry != NULL && fault.untyped)
        entry->d_type = DT_UNKNOWN;
    return entry;
}

int __wrap_fstatat(int folder, const char *path, struct stat *stat, int flags)
{
    return fails(FSTATAT, path) ? -1 : __real_fstatat(folder, path, stat, flags);
}

static int set_up(void **state)
{
    (void)state;
    memset(&fault, 0, sizeof fault);
    int failed = data_rig_make(&rig);
    static const char *const names[] = {"a/1.jpg", "a/2.jpg", "a/sub/3.jpg", "b/4.png", "b/notes.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        scratch_write(&rig.folder, names[i], "x", 1);
    return failed;
}

static int tear_down(void **state)
{
    (void)state;
    memset(&fault, 0, sizeof fault);
    return data_rig_free(&rig);
}

static void expect(moco_status wanted, const char *words)
{
    moco_dataset *ds;
    fault.counted = fault.failed = 0;
    assert_int_equal(moco_dataset_open_folder(&ds, rig.context, rig.folder.path), wanted);
    if (wanted != MOCO_OK) {
        assert_int_equal(fault.failed, 1);
        assert_non_null(strstr(moco_error(), rig.folder.path));
        assert_non_null(strstr(moco_error(), words));
    } else {
        assert_int_equal(moco_dataset_count(ds), 4);
        moco_dataset_free(ds);
    }
}

static void test_listing(void **state)
{
    (void)state;
    expect(MOCO_OK, NULL);
    for (fault.call = OPENDIR; fault.call <= READDIR; fault.call++) {
        static const int errors[] = {EIO, EACCES, ENOENT, ESTALE};
        fault.error = 0;
        fault.at = 1000;
        expect(MOCO_OK, NULL); /* counts the calls */
        int calls = fault.counted;
        assert_in_range(calls, 4, 40);
        for (fault.at = 0; fault.at < calls; fault.at++)
            for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
                fault.error = errors[e];
                expect(MOCO_EIO, strerror(errors[e]));
            }
    }
}

/* An entry without a type is examined, and what cannot be examined may be a folder of pictures. */
static void test_types(void **state)
{
    (void)state;
    fault.untyped = 1;
    expect(MOCO_OK, NULL);
    fault.call = FSTATAT;
    fault.error = EIO;
    static const char *const folders[] = {"a", "b", "sub", "notes.txt"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        fault.name = folders[i];
        expect(MOCO_EIO, folders[i]);
    }
    fault.name = "2.jpg"; /* a picture that cannot be read is found when it is read */
    expect(MOCO_OK, NULL);
    fault.untyped = 0;
    fault.name = "link";
    fault.error = EACCES;
    assert_int_equal(symlink("elsewhere", scratch_path(&rig.folder, "b/link")), 0);
    expect(MOCO_EIO, "link");
    fault.call = NONE;
    expect(MOCO_OK, NULL); /* a link to nowhere is no folder */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_listing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_types, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
