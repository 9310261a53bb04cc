/* SPDX-License-Identifier: MIT
 *
 * test_file_faults: every system call of saving and of reading a file fails in every way, once and for ever, comes back
 * short, or is where the process is killed. What must hold: a call that was interrupted or short is made good; any
 * other failure is told with the system's reason; what was at the path is there, or the new file is, whole; no
 * temporary file, descriptor or memory is left. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "file/file.h"
#include "format/safetensors.h"
#include "support/failing_alloc.h"
#include "support/files/file_faults.h"
#include "support/scratch_folder.h"

static struct failing_alloc memory;
static struct ctx *ctx;
static struct err err;
static struct scratch_folder folder;
static char path[4096];

/* ---- the file: version 1 is there, version 2 is being saved ---- */

#define TENSORS 3
static const struct safetensors_tensor list[TENSORS] = {
    {.name = "w", .dtype = SAFETENSORS_F32, .ndim = 2, .shape = {16, 16}},
    {.name = "b", .dtype = SAFETENSORS_F32, .ndim = 1, .shape = {3}},
    {.name = "n", .dtype = SAFETENSORS_I64, .ndim = 0},
};
static const size_t list_bytes[TENSORS] = {1024, 12, 8};

static moco_status save(int version)
{
    struct safetensors_writer *w = NULL;
    char bytes[1024];
    struct safetensors_text text = {"version", version == 1 ? "1" : "2"};
    TRY(safetensors_create(&w, ctx, path, list, TENSORS, &text, 1, SAFETENSORS_HASHES, &err));
    for (int i = 0; i < TENSORS; i++) {
        memset(bytes, 16 * version + i, sizeof bytes);
        for (size_t at = 0; at < list_bytes[i]; at += 500) {
            size_t size = list_bytes[i] - at < 500 ? list_bytes[i] - at : 500;
            moco_status status = safetensors_write(w, i, bytes, size, &err);
            if (status != MOCO_OK) {
                safetensors_abandon(w);
                return status;
            }
        }
    }
    return safetensors_commit(w, &err);
}

static moco_status read_back(int *version)
{
    struct safetensors *f = NULL;
    int64_t number = 0;
    TRY(safetensors_open(&f, ctx, path, 0, &err));
    moco_status status = safetensors_verify(f, NULL, NULL, &err);
    if (status == MOCO_OK)
        status = safetensors_get_int(f, "version", 1, 2, &number, &err);
    safetensors_close(f);
    *version = (int)number;
    return status;
}

static int version_there(void)
{
    int version = 0;
    fault_off();
    err = (struct err){0};
    if (read_back(&version) != MOCO_OK)
        fail_msg("%s", err.text);
    return version;
}

/* ---- the surroundings ---- */

static int count_entries(const char *name)
{
    int count = -2;
    DIR *dir = opendir(name);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static int set_up(void **state)
{
    (void)state;
    fault_off();
    memory = (struct failing_alloc){.fail_at = -1};
    err = (struct err){0};
    struct ctx_options options = {.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1};
    scratch_folder_make(&folder);
    snprintf(path, sizeof path, "%s", scratch_path(&folder, "a.safetensors"));
    return ctx_create(&ctx, &options, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    fault_off();
    ctx_unref(ctx);
    scratch_folder_remove(&folder);
    return memory.live == 0 ? 0 : -1;
}

/* ---- saving ---- */

/* Must a fault here make the save fail? The first close is that of the new file; the others tell nothing. */
static int must_fail(long first_close)
{
    if (fault.kind == FAULT_SHORT || (fault.error == EINTR && !fault.forever && fault.kind == FAULT_ERROR))
        return 0;
    if (fault.kind == FAULT_END)
        return fault.hit[CALL_WRITE] > 0;
    if (fault.hit[CALL_CLOSE] > 0 && fault.at <= first_close && fault.error != EINTR)
        return 1;
    return fault.hit[CALL_OPEN] + fault.hit[CALL_RESERVE] + fault.hit[CALL_WRITE] + fault.hit[CALL_SYNC] +
               fault.hit[CALL_RENAME] >
           0;
}

static void check_save(const char *what, moco_status status, int fails, int synced_folder)
{
    int left = count_entries(folder.path) - 1, unlinked = fault.hit[CALL_UNLINK] == 0;
    char calls[sizeof fault.log];
    memcpy(calls, fault.log, sizeof calls);
    if ((status != MOCO_OK) != fails)
        fail_msg("%s: status %d after calls %s: %s", what, status, calls, err.text);
    if (status != MOCO_OK) {
        assert_int_equal(status, fault.error == ENOMEM ? MOCO_ENOMEM : MOCO_EIO);
        const char *reason = fault.kind == FAULT_END ? strerror(EIO) : strerror(fault.error);
        if (strstr(err.text, reason) == NULL || strstr(err.text, path) == NULL)
            fail_msg("%s: after %s: \"%s\" does not say \"%s\"", what, calls, err.text, reason);
    }
    if (left != 0 && unlinked)
        fail_msg("%s: after %s a temporary file is left", what, calls);
    int version = version_there();
    if (version != (status == MOCO_OK || synced_folder ? 2 : 1))
        fail_msg("%s: after %s version %d is there, status %d", what, calls, version, status);
}

/* One kind of fault at every call of a save in turn, until it comes too late. */
static void walk_saves(enum fault_kind kind, int error, int forever)
{
    char what[100], undisturbed[sizeof fault.log];
    for (long at = 0;; at++) {
        scratch_folder_remove(&folder);
        scratch_folder_make(&folder);
        snprintf(path, sizeof path, "%s", scratch_path(&folder, "a.safetensors"));
        fault_off();
        assert_int_equal(save(1), MOCO_OK);
        memcpy(undisturbed, fault.log, sizeof undisturbed);
        long first_close = strchr(strchr(undisturbed, 's'), 'c') - undisturbed;
        long last_sync = strrchr(undisturbed, 's') - undisturbed;
        long long live = memory.live;
        int descriptors = count_entries("/proc/self/fd");
        err = (struct err){0};
        fault_set(kind, error, forever, at);
        moco_status status = save(2);
        snprintf(what, sizeof what, "%s %s at call %ld%s",
                 kind == FAULT_ERROR   ? "error"
                 : kind == FAULT_SHORT ? "short"
                                       : "end",
                 strerror(error), at, forever ? " and later" : "");
        int done = fault.hits == 0, fails = must_fail(first_close),
            folder_only = at == last_sync && fault.hit[CALL_SYNC] > 0;
        check_save(what, status, fails, folder_only);
        assert_int_equal(memory.live, live);
        assert_int_equal(count_entries("/proc/self/fd"), descriptors);
        if (done) {
            assert_true(at > 12); /* open 2, stat, reserve, 5 pieces of tensors, header, 2 syncs, 2 closes, rename */
            return;
        }
    }
}

static void failing_saves(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC, EDQUOT, ESTALE, EROFS, EINTR, ENOMEM, EACCES, EFBIG};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        for (int forever = 0; forever < 2; forever++)
            walk_saves(FAULT_ERROR, errors[i], forever);
}

static void short_writes(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++) {
        walk_saves(FAULT_SHORT, 0, forever);
        walk_saves(FAULT_END, 0, forever);
    }
}

/* File systems without reservation: as if nothing had been asked. Without directory fsync: the same. */
static void unable_file_systems(void **state)
{
    (void)state;
    static const int errors[] = {EOPNOTSUPP, EINVAL, ENOSYS};
    assert_int_equal(save(1), MOCO_OK);
    long reserve = strchr(fault.log, 'p') - fault.log, last_sync = strrchr(fault.log, 's') - fault.log;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        fault_set(FAULT_ERROR, errors[i], 0, reserve);
        assert_int_equal(save(2), MOCO_OK);
        assert_int_equal(fault.hit[CALL_RESERVE], 1);
        assert_int_equal(version_there(), 2);
    }
    fault_set(FAULT_ERROR, EINVAL, 0, last_sync);
    assert_int_equal(save(1), MOCO_OK);
    assert_int_equal(fault.hit[CALL_SYNC], 1);
    assert_int_equal(version_there(), 1);
}

/* What a power cut can leave depends on the order alone: the new file is whole and durable before it gets the name, and
 * the name is made durable last. */
static void order_of_calls(void **state)
{
    (void)state;
    assert_int_equal(save(1), MOCO_OK);
    assert_int_equal(fault.calls, strlen(fault.log));
    const char *reserve = strchr(fault.log, 'p'), *first_write = strchr(fault.log, 'w'),
               *last_write = strrchr(fault.log, 'w'), *sync = strchr(fault.log, 's'), *rename = strchr(fault.log, 'n'),
               *last_sync = strrchr(fault.log, 's');
    assert_true(reserve < first_write && last_write < sync && sync < rename && rename < last_sync);
    assert_int_equal(fault.seen[CALL_SYNC], 2);
    assert_int_equal(fault.seen[CALL_RENAME], 1);
    assert_int_equal(fault.seen[CALL_WRITE], 6); /* 3 + 1 + 1 pieces of tensors, and the header */
    assert_int_equal(fault.seen[CALL_UNLINK], 0);
}

/* The process is killed before each call, or in the middle of each write. The file is the old or the new one. */
static void killed_while_saving(void **state)
{
    (void)state;
    int old = 0, new = 0;
    for (int half = 0; half < 2; half++)
        for (long at = 0;; at++) {
            int status = 0;
            fault_off();
            assert_int_equal(save(1), MOCO_OK);
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                fault_set(FAULT_KILL, 0, 0, at);
                fault.half = half;
                _exit(save(2) == MOCO_OK ? 0 : 1);
            }
            assert_int_equal(waitpid(child, &status, 0), child);
            int version = version_there();
            if (WIFEXITED(status)) { /* killed no more: it came to its end */
                assert_int_equal(WEXITSTATUS(status), 0);
                assert_int_equal(version, 2);
                break;
            }
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            old += version == 1;
            new += version == 2;
            assert_int_equal(save(2), MOCO_OK); /* what the dead one left is in nobody's way */
            assert_int_equal(version_there(), 2);
        }
    assert_true(old > 20 && new >= 4);
}

/* ---- reading ---- */

static void walk_reads(enum fault_kind kind, int error, int forever, int harmless)
{
    int version;
    for (long at = 0;; at++) {
        long long live = memory.live;
        int descriptors = count_entries("/proc/self/fd");
        err = (struct err){0};
        version = 0;
        fault_set(kind, error, forever, at);
        moco_status status = read_back(&version);
        int faults = fault.hit[CALL_OPEN] + fault.hit[CALL_STAT] + fault.hit[CALL_READ];
        if (kind == FAULT_SHORT || kind == FAULT_END)
            faults = fault.hit[CALL_READ];
        int hits = fault.hits, fault_stat = fault.hit[CALL_STAT]; /* fstat is never interrupted: not tried again */
        fault_off();
        if ((harmless && !(kind == FAULT_ERROR && fault_stat)) || faults == 0) {
            assert_int_equal(status, MOCO_OK);
            assert_int_equal(version, 1);
        } else {
            const char *reason = kind == FAULT_END ? "while it is being read" : strerror(error);
            assert_int_equal(status, error == ENOMEM ? MOCO_ENOMEM : MOCO_EIO);
            if (strstr(err.text, reason) == NULL || strstr(err.text, path) == NULL)
                fail_msg("call %ld: \"%s\" does not say \"%s\"", at, err.text, reason);
        }
        assert_int_equal(memory.live, live);
        assert_int_equal(count_entries("/proc/self/fd"), descriptors);
        if (hits == 0) {
            assert_true(at >= 7); /* open, stat, 2 reads of the header, 3 tensors, close */
            return;
        }
    }
}

static void failing_reads(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ESTALE, EACCES, ENOMEM};
    assert_int_equal(save(1), MOCO_OK);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        for (int forever = 0; forever < 2; forever++)
            walk_reads(FAULT_ERROR, errors[i], forever, 0);
    walk_reads(FAULT_ERROR, EINTR, 0, 1);
    for (int forever = 0; forever < 2; forever++) {
        walk_reads(FAULT_SHORT, 0, forever, 1);
        walk_reads(FAULT_END, 0, forever, 0);
    }
}

/* Interrupted for ever: an error in the end, not an endless loop. */
static void interrupted_for_ever(void **state)
{
    (void)state;
    int version;
    assert_int_equal(save(1), MOCO_OK);
    for (long at = 0; at < 7; at++) {
        err = (struct err){0};
        fault_set(FAULT_ERROR, EINTR, 1, at);
        assert_int_equal(read_back(&version), MOCO_EIO);
        assert_non_null(strstr(err.text, strerror(EINTR)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(order_of_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_saves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unable_file_systems, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_while_saving, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interrupted_for_ever, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
