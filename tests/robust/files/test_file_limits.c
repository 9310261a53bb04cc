/* SPDX-License-Identifier: MIT
 *
 * test_file_limits: a process whose files may not grow beyond a size (ulimit -f, RLIMIT_FSIZE). The system ends a
 * process that writes beyond it with SIGXFSZ; every save of the library answers MOCO_EIO instead, before it has made a
 * file. What was at the path stays, nothing is left beside it, and with just enough room the save works. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

static struct scratch_folder folder;
static struct rig rig;
static moco_probe *probe;

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    moco_probe_options options;
    scratch_folder_make(&folder);
    rig_open(&rig, &spec);
    moco_probe_options_init(&options);
    options.dim = 50;
    options.classes = 10;
    rig_ok(moco_probe_create(&probe, rig.device, &options));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    moco_probe_free(probe);
    rig_close(&rig);
    scratch_folder_remove(&folder);
    return 0;
}

static moco_status save(int what, const char *path)
{
    return what == 0   ? moco_model_save(rig.model, path)
           : what == 1 ? moco_trainer_save(rig.trainer, path, "note")
                       : moco_probe_save(probe, path, NULL);
}

static int entries(void)
{
    int count = -2;
    DIR *dir = opendir(folder.path);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static moco_status limited(int what, const char *path, size_t most)
{
    struct rlimit limit, before;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = most;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    moco_status status = save(what, path);
    setrlimit(RLIMIT_FSIZE, &before);
    return status;
}

static void too_large(void **state)
{
    (void)state;
    for (int ignored = 0; ignored < 2; ignored++) {
        signal(SIGXFSZ, ignored ? SIG_IGN : SIG_DFL);
        for (int what = 0; what < 3; what++) {
            char path[4096], number[64];
            size_t size, now;
            snprintf(path, sizeof path, "%s", scratch_path(&folder, "state"));
            rig_ok(save(what, path));
            char *before = rig_read_file(path, &size);
            const size_t limits[] = {0, 1, size / 2, size - 1};
            for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
                rig_expect(limited(what, path, limits[i]), MOCO_EIO);
                snprintf(number, sizeof number, " %zu bytes (ulimit -f)", limits[i]);
                if (strstr(moco_error(), number) == NULL || strstr(moco_error(), path) == NULL)
                    fail_msg("%s", moco_error());
                assert_int_equal(entries(), 1);
                char *after = rig_read_file(path, &now);
                assert_int_equal(now, size);
                assert_memory_equal(before, after, size);
                free(after);
            }
            rig_ok(limited(what, path, size));
            assert_int_equal(remove(path), 0);
            rig_expect(limited(what, path, size - 1), MOCO_EIO); /* where there was none, there is none */
            assert_int_equal(entries(), 0);
            free(before);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(too_large)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
