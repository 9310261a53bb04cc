/* SPDX-License-Identifier: MIT
 *
 * test_checkpoint: a training state on disk against damage, through the public calls: bits of header and payload, cuts,
 * other versions and configurations, a disk that fills or fails at any call of a save.
 * Whatever happens, the trainer stays as it was to the bit, and the file at the path is the old or the new one. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <stdlib.h>

#include "philox.h"
#include "support/files/file_faults.h"
#include "support/files/forged_file.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

static struct scratch_folder folder;
static struct rig rig;    /* two steps into training; every failure must leave it so */
static char *bytes;       /* its checkpoint */
static size_t size, data; /* of the file; where the tensors begin */
static char good[4096], bad[4096];

static struct rig_spec tiny(void)
{
    struct rig_spec spec = rig_spec();
    spec.model.width = 1.0 / 32;
    spec.model.dim = 8;
    return spec;
}

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = tiny();
    fault_off();
    scratch_folder_make(&folder);
    snprintf(good, sizeof good, "%s", scratch_path(&folder, "good"));
    snprintf(bad, sizeof bad, "%s", scratch_path(&folder, "bad"));
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 2);
    rig_ok(moco_trainer_save(rig.trainer, good, "note"));
    bytes = rig_read_file(good, &size);
    data = 8;
    for (int i = 0; i < 8; i++)
        data += (size_t)(unsigned char)bytes[i] << 8 * i;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fault_off();
    free(bytes);
    rig_close(&rig);
    scratch_folder_remove(&folder);
    return 0;
}

/* The trainer saves what it saved before. */
static void expect_unchanged(void)
{
    size_t now;
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "now"), "note"));
    char *again = rig_read_file(scratch_path(&folder, "now"), &now);
    assert_int_equal(now, size);
    assert_memory_equal(again, bytes, size);
    free(again);
}

static void expect_refused(const char *what, size_t where)
{
    moco_status status = moco_trainer_load(rig.trainer, bad);
    if (status != MOCO_EFORMAT || strstr(moco_error(), bad) == NULL)
        fail_msg("%s at %zu of %zu bytes: status %d, \"%s\"", what, where, size, (int)status, moco_error());
}

/* ---- damage ---- */

/* Flips a bit of the file in place, so that a thousand damaged files cost no thousand copies. */
static void flip(int fd, size_t bit)
{
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    assert_int_equal(pwrite(fd, bytes + bit / 8, 1, (off_t)(bit / 8)), 1);
}

/* The length and the first bytes bit by bit, a bit of every 61st byte of the header after that (all of a small header
 * are flipped in unit/files/test_safetensors.c), and random ones of the tensors. */
static void flipped_bits(void **state)
{
    (void)state;
    const char *wanted = getenv("MOCO_TEST_PAYLOAD_BITS"); /* a campaign flips 100,000 */
    int payload = wanted != NULL ? atoi(wanted) : 1500;
    scratch_write(&folder, "bad", bytes, size);
    int fd = open(bad, O_RDWR);
    assert_true(fd >= 0);
    for (size_t bit = 0; bit < 8 * data; bit += bit < 8 * 64 ? 1 : 8 * 61 + 1) {
        flip(fd, bit);
        expect_refused("header bit", bit);
        flip(fd, bit);
    }
    struct rng rng;
    rng_init(&rng, 3, 0, 0, 0, RNG_TEST);
    for (int i = 0; i < payload; i++) {
        size_t bit = 8 * data + (size_t)rng_below(&rng, 8 * (size - data));
        flip(fd, bit);
        expect_refused("payload bit", bit);
        flip(fd, bit);
    }
    close(fd);
    expect_unchanged();
    rig_ok(moco_trainer_load(rig.trainer, bad)); /* every bit is back */
    expect_unchanged();
}

static void cut_files(void **state)
{
    (void)state;
    scratch_write(&folder, "bad", bytes, size);
    for (size_t cut = size; cut-- > 0; cut -= cut > 64 && cut < size - 64 ? (cut > 997 ? 997 : cut - 64) : 0) {
        assert_int_equal(truncate(bad, (off_t)cut), 0);
        expect_refused("cut", cut);
    }
    char *longer = calloc(1, size + 1);
    memcpy(longer, bytes, size);
    scratch_write(&folder, "bad", longer, size + 1);
    free(longer);
    expect_refused("one byte more", size + 1);
    expect_unchanged();
}

/* ---- other files ---- */

/* Copies the checkpoint with one text changed, sound in itself. */
static void rewrite(const char *key, const char *value)
{
    struct forged f;
    forged_read(&f, good);
    forged_text(&f, key, value);
    forged_write(&f, bad);
    forged_free(&f);
}

static void other_versions(void **state)
{
    (void)state;
    static const char *const versions[] = {"0", "2", "", "one", "-1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        rewrite("moco.format", versions[i]);
        expect_refused("version", i);
        assert_non_null(strstr(moco_error(), "format"));
    }
    rewrite("format", "other");
    expect_refused("format", 0);
    rewrite("moco.format", NULL); /* somebody's: torch's order of axes, and nothing of ours */
    expect_refused("format", 1);
    assert_non_null(strstr(moco_error(), "not one that libmoco wrote"));
    rewrite("format", "moco"); /* of before, and without the version that stood beside it then */
    expect_refused("format", 2);
    assert_non_null(strstr(moco_error(), "format_version"));
    rewrite("kind", "encoder");
    expect_refused("kind", 0);
    expect_unchanged();
}

/* Sound checkpoints of trainings that differ in one thing from this one. */
static void other_configurations(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct rig_spec spec = tiny();
        static const char *const says[] = {"arch", "stem", "head", "dim", "width", "queue", "temperature", "batch"};
        struct rig other;
        spec.model.arch = i == 0 ? "resnet34" : spec.model.arch;
        spec.model.stem = i == 1 ? "imagenet" : spec.model.stem;
        spec.model.head = i == 2 ? "linear" : spec.model.head;
        spec.model.dim = i == 3 ? 16 : spec.model.dim;
        spec.model.width = i == 4 ? 1.0 / 16 : spec.model.width;
        spec.queue_length = i == 5 ? 48 : spec.queue_length;
        spec.trainer.temperature = i == 6 ? 0.07 : spec.trainer.temperature;
        spec.trainer.batch_size = i == 7 ? 8 : spec.trainer.batch_size;
        rig_open(&other, &spec);
        rig_ok(moco_trainer_save(other.trainer, bad, NULL));
        rig_close(&other);
        rig_expect(moco_trainer_load(rig.trainer, bad), MOCO_EINVAL);
        if (strstr(moco_error(), says[i]) == NULL || strstr(moco_error(), bad) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", moco_error(), says[i]);
    }
    expect_unchanged();
}

/* ---- rounding modes ---- */

/* What was saved in any rounding mode is the same file, and loads in any other; so does what an earlier version wrote,
 * whose numbers were rounded as the host's were. */
static void rounding_modes(void **state)
{
    (void)state;
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    static const char *const keys[] = {"model.width",         "model.mean.0",         "model.std.2",
                                       "trainer.temperature", "trainer.key_momentum", "trainer.weight_decay"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        size_t now;
        fesetround(modes[i]);
        moco_status status = moco_trainer_save(rig.trainer, bad, "note");
        fesetround(FE_TONEAREST);
        rig_ok(status);
        char *there = rig_read_file(bad, &now);
        assert_int_equal(now, size);
        assert_memory_equal(there, bytes, size);
        free(there);
        for (size_t j = 0; j < sizeof modes / sizeof modes[0]; j++) {
            fesetround(modes[j]);
            status = moco_trainer_load(rig.trainer, bad);
            fesetround(FE_TONEAREST);
            rig_ok(status);
        }
        struct forged f;
        forged_read(&f, good);
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            char text[64] = "";
            for (int t = 0; t < f.text_count; t++)
                if (strcmp(f.texts[t].key, keys[k]) == 0)
                    snprintf(text, sizeof text, "%s", f.texts[t].value);
            double value = strtod(text, NULL);
            fesetround(modes[i]);
            for (int precision = 1; precision <= 17; precision++) {
                snprintf(text, sizeof text, "%.*e", precision - 1, value);
                if (strtod(text, NULL) == value)
                    break;
            }
            fesetround(FE_TONEAREST);
            forged_text(&f, keys[k], text);
        }
        forged_write(&f, bad);
        forged_free(&f);
        rig_ok(moco_trainer_load(rig.trainer, bad));
        moco_model *model;
        rig_ok(moco_model_open(&model, rig.device, bad));
        rig_ok(moco_model_load(model, good));
        moco_model_free(model);
    }
    expect_unchanged();
}

/* ---- disks ---- */

static void expect_file(const char *what)
{
    size_t now;
    char *there = rig_read_file(bad, &now);
    if (now != size || memcmp(there, bytes, size) != 0)
        fail_msg("%s: the file that was there is another one", what);
    free(there);
}

/* A disk that is full, or fails, from the n-th call on. The old file stays, and the next save works. */
static void full_disk(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    scratch_write(&folder, "bad", bytes, size);
    fault_off();
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "now"), "another note"));
    long rename = strchr(fault.log, 'n') != NULL ? strchr(fault.log, 'n') - fault.log : fault.calls - 4;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        for (long at = 3; at < rename;
             at += at < 8 || at > rename - 4 ? 1 : 29) { /* 3: after the folder was looked at */
            fault_set(FAULT_ERROR, errors[i], 0, at);
            moco_status status = moco_trainer_save(rig.trainer, bad, "another note");
            assert_int_equal(fault.hits, 1);
            fault_off();
            if (status != MOCO_EIO || strstr(moco_error(), strerror(errors[i])) == NULL)
                fail_msg("call %ld: status %d, \"%s\"", at, (int)status, moco_error());
            expect_file("a failed save");
        }
    expect_unchanged();
    rig_ok(moco_trainer_save(rig.trainer, bad, "note"));
    expect_file("a save after failures");
}

static void failing_reads(void **state)
{
    (void)state;
    fault_off();
    rig_ok(moco_trainer_load(rig.trainer, good));
    long calls = fault.calls - 1; /* the last one closes */
    for (long at = 0; at < calls; at += at < 8 ? 1 : 1 + calls / 40) {
        fault_set(FAULT_ERROR, EIO, 0, at);
        moco_status status = moco_trainer_load(rig.trainer, good);
        fault_off();
        if (status != MOCO_EIO || strstr(moco_error(), strerror(EIO)) == NULL)
            fail_msg("call %ld: status %d, \"%s\"", at, (int)status, moco_error());
    }
    expect_unchanged();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(flipped_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_configurations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rounding_modes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_reads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
