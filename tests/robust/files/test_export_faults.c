/* SPDX-License-Identifier: MIT
 *
 * test_export_faults: every allocation and every system call of an export fails, for every form. What must hold: a
 * status and a sentence; what was at the path is there to the byte, or the new file is, whole; no temporary file, folder
 * or memory is left. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>

#include "moco/moco.h"
#include "support/failing_alloc.h"
#include "support/files/file_faults.h"
#include "support/scratch_folder.h"

static struct failing_alloc memory;
static struct scratch_folder folder;
static moco_context *context;
static moco_device *device;
static moco_model *model, *plain; /* a small one, and one that timm has a name for */
static moco_queue *queue;
static moco_trainer *trainer;
static moco_weights *weights; /* of somebody else */

static void ok(moco_status status)
{
    if (status != MOCO_OK)
        fail_msg("%s", moco_error());
}

static int set_up(void **state)
{
    (void)state;
    moco_context_options options;
    moco_model_options network;
    moco_trainer_options training;
    memory = (struct failing_alloc){.fail_at = -1};
    scratch_folder_make(&folder);
    moco_context_options_init(&options);
    options.threads = 1;
    options.alloc = failing_alloc;
    options.release = failing_release;
    options.user = &memory;
    moco_model_options_init(&network);
    moco_trainer_options_init(&training);
    network.arch = "resnet18";
    network.image_size = 32;
    training.batch_size = training.bn_group_size = 2;
    training.image_h = training.image_w = 16;
    ok(moco_context_create(&context, &options));
    ok(moco_device_open(&device, context, "ref"));
    network.width = 1;
    network.dim = 4;
    ok(moco_model_create(&plain, device, &network));
    network.width = 1.0 / 64;
    ok(moco_model_create(&model, device, &network));
    ok(moco_queue_create(&queue, device, 4, 8, 0));
    ok(moco_trainer_create(&trainer, model, queue, &training));
    ok(moco_weights_open(&weights, context, "tests/golden/fixtures/weights-torch-2/moco.zip.pth"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    moco_weights_free(weights);
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_model_free(plain);
    moco_device_free(device);
    moco_context_free(context);
    scratch_folder_remove(&folder);
    return memory.live == 0 ? 0 : -1;
}

/* ---- the forms ---- */

static const char *const names[] = {"a.safetensors", "a.pth",         "a.pkl", "a.onnx",
                                    "a.pth.tar",     "w.safetensors", "w.pth", "a/"};
enum { STATE = 4, COPY = 5, COPY_TORCH = 6, FOLDER = 7, FORMS = 8 };

static moco_status export_form(int form)
{
    const char *path = scratch_path(&folder, names[form]);
    return form == STATE                        ? moco_trainer_export(trainer, path, NULL)
           : form == COPY || form == COPY_TORCH ? moco_weights_save(weights, path)
           : form == FOLDER                     ? moco_model_export(plain, path, NULL)
                                                : moco_model_export(model, path, NULL);
}

/* The file that is looked at. */
static const char *file_of(int form)
{
    return scratch_path(&folder, form == FOLDER ? "a/model.safetensors" : names[form]);
}

static char *content(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static int count_entries(const char *name)
{
    int count = -2;
    DIR *dir = opendir(name);
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void expect_content(int form, const char *wanted, size_t wanted_size, const char *what, long number)
{
    size_t size = 0;
    char *bytes = content(file_of(form), &size);
    if (bytes == NULL || size != wanted_size || memcmp(bytes, wanted, size) != 0)
        fail_msg("%s: after %s number %ld: %zu bytes, not the %zu that belong there", names[form], what, number, size,
                 wanted_size);
    free(bytes);
}

/* What a first export writes, and the same file in the place of another one. */
static char *written(int form, size_t *size)
{
    ok(export_form(form));
    char *bytes = content(file_of(form), size);
    assert_non_null(bytes);
    return bytes;
}

/* ---- failures ---- */

static const char old[] = "what was there before";

static void put_old(int form)
{
    scratch_write(&folder, form == FOLDER ? "a/model.safetensors" : names[form], old, sizeof old);
}

static void allocations(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++) {
        size_t size;
        char *whole = written(form, &size);
        int entries = count_entries(folder.path),
            inner = form == FOLDER ? count_entries(scratch_path(&folder, "a")) : 0;
        long n = 0;
        for (;; n++) {
            put_old(form);
            long long live = memory.live;
            memory.fail_at = memory.calls + n;
            moco_status status = export_form(form);
            memory.fail_at = -1;
            assert_int_equal(memory.live, live);
            assert_int_equal(count_entries(folder.path), entries);
            if (form == FOLDER)
                assert_int_equal(count_entries(scratch_path(&folder, "a")), inner);
            if (status == MOCO_OK)
                break;
            assert_int_equal(status, MOCO_ENOMEM);
            assert_non_null(strstr(moco_error(), form == COPY || form == COPY_TORCH ? "_save: " : "_export: "));
            expect_content(form, old, sizeof old, "allocation", n);
        }
        assert_true(n > 5);
        expect_content(form, whole, size, "allocation", n);
        free(whole);
    }
}

/* The last sync, of the folder, comes when the new file is in place. */
static int is_whole_all_the_same(void)
{
    return fault.hit[CALL_SYNC] > 0 && fault.seen[CALL_RENAME] > 0;
}

static void system_calls(void **state)
{
    (void)state;
    for (int form = 0; form < FOLDER; form++) {
        size_t size;
        char *whole = written(form, &size);
        int entries = count_entries(folder.path);
        fault_off();
        ok(export_form(form));
        long calls = fault.calls;
        assert_true(calls > 6);
        for (long n = 0; n < calls; n += n < 40 || n > calls - 12 ? 1 : 7) {
            put_old(form);
            fault_set(FAULT_ERROR, ENOSPC, 0, n);
            moco_status status = export_form(form);
            int all_the_same = is_whole_all_the_same() || fault.hit[CALL_STAT] > 0, failed = status != MOCO_OK,
                late = fault.hit[CALL_CLOSE] > 0 && fault.seen[CALL_RENAME] > 0;
            fault_off();
            assert_int_equal(count_entries(folder.path), entries);
            if (failed) {
                assert_int_equal(status, MOCO_EIO);
                assert_non_null(strstr(moco_error(), "No space left"));
            } else if (!all_the_same && !late) {
                fail_msg("%s: call %ld failed and nothing was said", names[form], n);
            }
            if (failed && !all_the_same)
                expect_content(form, old, sizeof old, "call", n);
            else
                expect_content(form, whole, size, "call", n);
        }
        free(whole);
    }
}

/* A folder that was made for a file that could not be written is not left; one that was there is. */
static void folders(void **state)
{
    (void)state;
    size_t size;
    char *whole = written(FOLDER, &size);
    const char *config = scratch_path(&folder, "a/config.json");
    size_t config_size;
    char *config_bytes = content(config, &config_size);
    fault_off();
    ok(export_form(FOLDER));
    long calls = fault.calls;
    for (long n = 0; n < calls; n++) {
        if (n > 30 && n < calls - 20)
            continue;
        put_old(FOLDER);
        fault_set(FAULT_ERROR, ENOSPC, 0, n);
        moco_status status = export_form(FOLDER);
        int renamed = fault.seen[CALL_RENAME] - fault.hit[CALL_RENAME];
        fault_off();
        assert_int_equal(count_entries(scratch_path(&folder, "a")), 2);
        if (status != MOCO_OK && renamed == 0)
            expect_content(FOLDER, old, sizeof old, "call", n);
        else
            expect_content(FOLDER, whole, size, "call", n);
        size_t now;
        char *bytes = content(scratch_path(&folder, "a/config.json"), &now);
        assert_int_equal(now, config_size); /* the same network: old or new, it is this */
        assert_memory_equal(bytes, config_bytes, now);
        free(bytes);
    }
    unlink(scratch_path(&folder, "a/config.json"));
    unlink(scratch_path(&folder, "a/model.safetensors"));
    rmdir(scratch_path(&folder, "a"));
    fault_set(FAULT_ERROR, ENOSPC, 0, 8);
    assert_int_equal(export_form(FOLDER), MOCO_EIO);
    fault_off();
    assert_int_not_equal(access(scratch_path(&folder, "a"), F_OK), 0);
    free(config_bytes);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(allocations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(system_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folders, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
