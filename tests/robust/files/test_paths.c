/* SPDX-License-Identifier: MIT
 *
 * test_paths: every public function that takes a path, against everything that may stand there instead of what it
 * wants. What cannot be opened or read is MOCO_EIO, what can and is damaged is MOCO_EFORMAT, so that a caller knows
 * which of both to try again; the sentence names function, path and reason. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/files/file_faults.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

static struct scratch_folder folder;
static struct rig rig;
static moco_probe *probe;

/* ---- the calls ---- */

static moco_status image_read(const char *path)
{
    moco_image *image = NULL;
    moco_status status = moco_image_read(&image, rig.context, path, 0);
    moco_image_free(image);
    return status;
}

static moco_status open_folder(const char *path)
{
    moco_dataset *dataset = NULL;
    moco_status status = moco_dataset_open_folder(&dataset, rig.context, path);
    moco_dataset_free(dataset);
    return status;
}

static moco_status open_list(const char *path)
{
    moco_dataset *dataset = NULL;
    moco_status status = moco_dataset_open_list(&dataset, rig.context, path);
    moco_dataset_free(dataset);
    return status;
}

static moco_status open_tar(const char *path)
{
    moco_dataset *dataset = NULL;
    moco_status status = moco_dataset_open_tar(&dataset, rig.context, &path, 1);
    moco_dataset_free(dataset);
    return status;
}

static moco_status open_cifar10(const char *path)
{
    moco_dataset *dataset = NULL;
    moco_status status = moco_dataset_open_cifar10(&dataset, rig.context, &path, 1);
    moco_dataset_free(dataset);
    return status;
}

static moco_status model_open(const char *path)
{
    moco_model *model = NULL;
    moco_status status = moco_model_open(&model, rig.device, path);
    moco_model_free(model);
    return status;
}

static moco_status model_load(const char *path)
{
    moco_model *model = NULL;
    rig_ok(moco_model_create(&model, rig.device, &rig.spec.model));
    moco_status status = moco_model_load(model, path);
    moco_model_free(model);
    return status;
}

static moco_status model_save(const char *path)
{
    return moco_model_save(rig.model, path);
}

static moco_status trainer_load(const char *path)
{
    return moco_trainer_load(rig.trainer, path);
}

static moco_status trainer_save(const char *path)
{
    return moco_trainer_save(rig.trainer, path, NULL);
}

static moco_status describe(const char *path)
{
    return moco_checkpoint_describe(rig.context, path, NULL, NULL, NULL, NULL, 0);
}

static moco_status probe_open(const char *path)
{
    moco_probe *opened = NULL;
    moco_status status = moco_probe_open(&opened, rig.device, path, NULL, 0);
    moco_probe_free(opened);
    return status;
}

static moco_status probe_save(const char *path)
{
    return moco_probe_save(probe, path, NULL);
}

enum wants { READS, LISTS, WRITES };
static const struct {
    const char *name;
    moco_status (*call)(const char *path);
    enum wants wants;
} calls[] = {
    {"moco_image_read", image_read, READS},
    {"moco_dataset_open_folder", open_folder, LISTS},
    {"moco_dataset_open_list", open_list, READS},
    {"moco_dataset_open_tar", open_tar, READS},
    {"moco_dataset_open_cifar10", open_cifar10, READS},
    {"moco_model_open", model_open, READS},
    {"moco_model_load", model_load, READS},
    {"moco_model_save", model_save, WRITES},
    {"moco_trainer_load", trainer_load, READS},
    {"moco_trainer_save", trainer_save, WRITES},
    {"moco_checkpoint_describe", describe, READS},
    {"moco_probe_open", probe_open, READS},
    {"moco_probe_save", probe_save, WRITES},
};
#define CALL_KINDS (sizeof calls / sizeof calls[0])

/* ---- the places ---- */

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    moco_probe_options options;
    fault_off();
    scratch_folder_make(&folder);
    rig_open(&rig, &spec);
    moco_probe_options_init(&options);
    options.dim = 4;
    options.classes = 2;
    rig_ok(moco_probe_create(&probe, rig.device, &options));
    scratch_make_folder(&folder, "folder");
    scratch_write(&folder, "full/inside", "x", 1);
    char noise[2000]; /* longer than the header of any of the formats */
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * i * 31 + i / 7 + 1);
    scratch_write(&folder, "file", noise, sizeof noise);
    scratch_write(&folder, "empty", "", 0);
    if (mkfifo(scratch_path(&folder, "pipe"), 0600) != 0 || symlink("loop", scratch_path(&folder, "loop")) != 0 ||
        symlink("nowhere/at/all", scratch_path(&folder, "dangling")) != 0)
        return -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fault_off();
    moco_probe_free(probe);
    rig_close(&rig);
    scratch_folder_remove(&folder);
    return 0;
}

static void expect(size_t c, const char *path, moco_status wanted, const char *reason)
{
    moco_status status = calls[c].call(path);
    fault_off();
    if (status != wanted)
        fail_msg("%s(%s): status %d instead of %d: %s", calls[c].name, path, (int)status, (int)wanted, moco_error());
    char named[256]; /* of a long path sentences give the start */
    snprintf(named, sizeof named, "%s: %.200s", calls[c].name, path);
    if (strstr(moco_error(), named) != moco_error() || strstr(moco_error(), reason) == NULL)
        fail_msg("%s(%s): \"%s\" does not name the path and \"%s\"", calls[c].name, path, moco_error(), reason);
}

static void cannot_be_opened(void **state)
{
    (void)state;
    char long_name[512];
    memset(long_name, 'n', 300);
    long_name[300] = 0;
    const struct {
        const char *name;
        int error;                /* 0: another reason than the system's */
        int reads, lists, writes; /* who cannot */
    } places[] = {
        {"none", ENOENT, 1, 1, 0},      {"folder/none", ENOENT, 1, 1, 0},
        {"none/none", ENOENT, 1, 1, 1}, {"folder", 0, 1, 0, 1},
        {"pipe", 0, 1, 0, 1},           {"pipe", ENOTDIR, 0, 1, 0},
        {"file", ENOTDIR, 0, 1, 0},     {"file/inside", ENOTDIR, 1, 1, 1},
        {"loop", ELOOP, 1, 1, 0},       {"loop/file", ELOOP, 1, 1, 1},
        {"dangling", ENOENT, 1, 1, 0},  {long_name, ENAMETOOLONG, 1, 1, 0},
    };
    for (size_t p = 0; p < sizeof places / sizeof places[0]; p++)
        for (size_t c = 0; c < CALL_KINDS; c++) {
            int wanted = calls[c].wants == READS   ? places[p].reads
                         : calls[c].wants == LISTS ? places[p].lists
                                                   : places[p].writes;
            char path[4096];
            snprintf(path, sizeof path, "%s", scratch_path(&folder, places[p].name));
            if (wanted)
                expect(c, path, MOCO_EIO, places[p].error != 0 ? strerror(places[p].error) : "regular file");
        }
}

/* Whoever runs the tests may be allowed everything: the system's answer is made up. */
static void not_allowed(void **state)
{
    (void)state;
    static const int errors[] = {EACCES, EPERM, EIO, EMFILE, ENFILE, ESTALE};
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++)
        for (size_t c = 0; c < CALL_KINDS; c++) {
            char path[4096];
            if (calls[c].wants == LISTS) /* opendir is the C library's own call */
                continue;
            snprintf(path, sizeof path, "%s", scratch_path(&folder, "file"));
            fault_set(FAULT_ERROR, errors[e], 1, 0);
            expect(c, path, MOCO_EIO, strerror(errors[e]));
        }
}

/* Reading fails once or for ever: that says nothing about what is in the file. */
static void cannot_be_read(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ESTALE};
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++)
        for (int forever = 0; forever < 2; forever++)
            for (size_t c = 0; c < CALL_KINDS; c++)
                for (long at = 1; at < 3 && calls[c].wants == READS; at++) { /* fstat, pread */
                    char path[4096];
                    snprintf(path, sizeof path, "%s", scratch_path(&folder, "file"));
                    if (calls[c].call == open_cifar10 && at > 1)
                        continue; /* its size is wrong: nothing is read */
                    fault_set(FAULT_ERROR, errors[e], forever, at);
                    expect(c, path, MOCO_EIO, strerror(errors[e]));
                }
}

/* Interrupted without end: an error, and no endless loop. */
static void interrupted(void **state)
{
    (void)state;
    for (size_t c = 0; c < CALL_KINDS; c++)
        for (long at = 0; at < 3 && calls[c].wants != LISTS; at++) {
            char path[4096];
            snprintf(path, sizeof path, "%s", scratch_path(&folder, "file"));
            if (calls[c].wants == WRITES && at == 1) /* whether something is there is asked once */
                continue;
            if (calls[c].call == open_cifar10 && at > 1)
                continue;
            fault_set(FAULT_ERROR, EINTR, 1, at);
            expect(c, path, MOCO_EIO, strerror(EINTR));
        }
}

static void damaged(void **state)
{
    (void)state;
    static const char *const places[] = {"file", "empty"};
    for (size_t p = 0; p < 2; p++)
        for (size_t c = 0; c < CALL_KINDS; c++) {
            char path[4096];
            snprintf(path, sizeof path, "%s", scratch_path(&folder, places[p]));
            int no_picture = p == 1 && strncmp(calls[c].name, "moco_dataset", 12) == 0; /* MOCO_EINVAL */
            if (calls[c].wants == READS && !no_picture)
                expect(c, path, MOCO_EFORMAT, "");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cannot_be_opened), cmocka_unit_test(not_allowed), cmocka_unit_test(cannot_be_read),
        cmocka_unit_test(interrupted),      cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
