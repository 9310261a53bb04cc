/* SPDX-License-Identifier: MIT
 *
 * test_power_loss: what a disk may hold after the power fails during a save. The calls of one save are logged; then
 * every prefix of the log is replayed as the disk may have kept it: of what was not yet synced any 512-byte sectors,
 * the new length or the old, and the rename whether or not the folder was synced. In each the path must hold the old
 * file or the new one, and after the last call the new one. What a reader would get wrong: nothing is killed here
 * (test_file_faults does that); a rename may reach the disk before the data do, unless the data were synced first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "format/safetensors.h"
#include "philox.h"
#include "support/scratch_folder.h"

#define SECTOR 512
#define FILE_MAX 65536
#define OPS_MAX 64
#define STATES 300 /* random choices of sectors at each place of the log */

/* ---- the log ---- */

enum op_kind { OP_RESERVE_BYTES, OP_WRITE_BYTES, OP_SYNC_FILE, OP_RENAME_FILE, OP_SYNC_FOLDER };

static struct op {
    enum op_kind kind;
    size_t at, size;
    const char *bytes; /* WRITE: in `kept` */
} ops[OPS_MAX];
static int op_count, logging;
static char kept[2 * FILE_MAX];
static size_t kept_bytes;

static void note(enum op_kind kind, size_t at, size_t size, const void *bytes)
{
    if (!logging)
        return;
    assert_true(op_count < OPS_MAX && kept_bytes + size <= sizeof kept);
    ops[op_count++] = (struct op){kind, at, size, kept + kept_bytes};
    if (bytes != NULL) {
        memcpy(kept + kept_bytes, bytes, size);
        kept_bytes += size;
    }
}

int __real_posix_fallocate(int fd, off_t at, off_t size);
ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t at);
int __real_fsync(int fd);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_posix_fallocate(int fd, off_t at, off_t size);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);

int __wrap_posix_fallocate(int fd, off_t at, off_t size)
{
    note(OP_RESERVE_BYTES, (size_t)at, (size_t)size, NULL);
    return __real_posix_fallocate(fd, at, size);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    note(OP_WRITE_BYTES, (size_t)at, size, bytes);
    return __real_pwrite(fd, bytes, size, at);
}

int __wrap_fsync(int fd)
{
    struct stat stat;
    assert_int_equal(fstat(fd, &stat), 0);
    note(S_ISDIR(stat.st_mode) ? OP_SYNC_FOLDER : OP_SYNC_FILE, 0, 0, NULL);
    return __real_fsync(fd);
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    note(OP_RENAME_FILE, 0, 0, NULL);
    return __real_renameat(from_folder, from, to_folder, to);
}

/* ---- the save ---- */

static struct ctx *ctx;
static struct err err;
static struct scratch_folder folder;
static char path[4096], old_file[FILE_MAX], new_file[FILE_MAX];
static size_t old_size, new_size;

static size_t read_all(char *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t size = fread(bytes, 1, FILE_MAX, f);
    fclose(f);
    assert_true(size > 0 && size < FILE_MAX);
    return size;
}

static void save(int version)
{
    static const struct safetensors_tensor list[2] = {
        {.name = "w", .dtype = SAFETENSORS_F32, .ndim = 2, .shape = {64, 64}},
        {.name = "b", .dtype = SAFETENSORS_F32, .ndim = 1, .shape = {300}},
    };
    static const size_t bytes_of[2] = {16384, 1200};
    char bytes[16384];
    struct safetensors_writer *w = NULL;
    struct safetensors_text text = {"version", version == 1 ? "1" : "2"};
    assert_int_equal(safetensors_create(&w, ctx, path, list, 2, &text, 1, SAFETENSORS_HASHES, &err), MOCO_OK);
    for (int i = 0; i < 2; i++) {
        memset(bytes, 16 * version + i, sizeof bytes);
        assert_int_equal(safetensors_write(w, i, bytes, bytes_of[i], &err), MOCO_OK);
    }
    assert_int_equal(safetensors_commit(w, &err), MOCO_OK);
}

static int set_up(void **state)
{
    (void)state;
    struct ctx_options options = {.threads = 1};
    scratch_folder_make(&folder);
    snprintf(path, sizeof path, "%s", scratch_path(&folder, "a.safetensors"));
    if (ctx_create(&ctx, &options, &err) != MOCO_OK)
        return -1;
    save(1);
    old_size = read_all(old_file);
    logging = 1;
    save(2);
    logging = 0;
    new_size = read_all(new_file);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ctx_unref(ctx);
    scratch_folder_remove(&folder);
    return 0;
}

/* ---- replaying ---- */

/* The new file's bytes as the system sees them and as the disk is sure to have them, and its name. */
struct disk {
    char seen[FILE_MAX], sure[FILE_MAX];
    size_t seen_size, sure_size;
    int renamed, rename_sure;
};

static void replay(struct disk *d, int count, enum op_kind ignored)
{
    memset(d, 0, sizeof *d);
    for (int i = 0; i < count; i++) {
        const struct op *op = &ops[i];
        size_t end = op->at + op->size;
        if (op->kind == ignored)
            continue;
        if (op->kind == OP_WRITE_BYTES)
            memcpy(d->seen + op->at, op->bytes, op->size);
        if ((op->kind == OP_WRITE_BYTES || op->kind == OP_RESERVE_BYTES) && end > d->seen_size)
            d->seen_size = end;
        if (op->kind == OP_SYNC_FILE) {
            memcpy(d->sure, d->seen, sizeof d->sure);
            d->sure_size = d->seen_size;
        }
        d->renamed |= op->kind == OP_RENAME_FILE;
        d->rename_sure |= op->kind == OP_SYNC_FOLDER && d->renamed;
    }
}

/* One state in which the power may have left the file: `choice` 0 nothing beyond what is sure, 1 everything, else any
 * sectors. Returns its size. */
static size_t torn(const struct disk *d, struct rng *rng, int choice, char *bytes)
{
    memcpy(bytes, d->sure, FILE_MAX);
    int longer = choice == 1 || (choice > 1 && rng_below(rng, 2) == 1);
    for (size_t at = 0; at < d->seen_size; at += SECTOR)
        if (choice == 1 || (choice > 1 && rng_below(rng, 2) == 1))
            memcpy(bytes + at, d->seen + at, SECTOR);
    return longer ? d->seen_size : d->sure_size;
}

static int same(const char *bytes, size_t size, const char *as, size_t as_size)
{
    return size == as_size && memcmp(bytes, as, size) == 0;
}

/* Number of states, over every prefix of the log, in which the path holds neither file; `old` counts those with the old
 * one after the save was said to be done. */
static int garbage(enum op_kind ignored, int *old)
{
    static struct disk d;
    static char bytes[FILE_MAX];
    struct rng rng;
    int bad = 0;
    rng_init(&rng, 11, 0, 0, 0, RNG_TEST);
    *old = 0;
    for (int count = 0; count <= op_count; count++) {
        replay(&d, count, ignored);
        if (count == op_count && !d.rename_sure)
            ++*old;
        for (int choice = 0; d.renamed && choice < STATES; choice++) {
            size_t size = torn(&d, &rng, choice, bytes);
            bad += !same(bytes, size, new_file, new_size); /* before the rename the path is the old file's */
        }
    }
    return bad;
}

static void every_state_is_old_or_new(void **state)
{
    (void)state;
    int old;
    assert_false(same(old_file, old_size, new_file, new_size));
    assert_int_equal(garbage((enum op_kind) - 1, &old), 0);
    assert_int_equal(old, 0);
}

/* The replay finds what it is there for: without the sync of the file a torn file takes the path, without that of the
 * folder a save that was said to be done is gone. */
static void the_replay_bites(void **state)
{
    (void)state;
    int old;
    assert_true(garbage(OP_SYNC_FILE, &old) > STATES / 2);
    assert_int_equal(garbage(OP_SYNC_FOLDER, &old), 0);
    assert_int_equal(old, 1);
    assert_true(op_count >= 6); /* reserve, writes of two tensors and the header, sync, rename, sync */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_is_old_or_new),
        cmocka_unit_test(the_replay_bites),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
