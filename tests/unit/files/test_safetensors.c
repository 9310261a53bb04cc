/* SPDX-License-Identifier: MIT
 *
 * test_safetensors: files written and read back: contents, order, equal bytes for equal content, hashes that stand for
 * the whole file, typed texts, and every refusal of writer and reader that needs no malformed file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file/file.h"
#include "format/safetensors.h"
#include "hash.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

static struct failing_alloc memory;
static struct ctx *ctx;
static struct err err;
static struct scratch_folder folder;
static const char *path;

static int set_up(void **state)
{
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    err = (struct err){0};
    struct ctx_options options = {.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1};
    scratch_folder_make(&folder);
    path = strcpy(malloc(4096), scratch_path(&folder, "model.safetensors"));
    return ctx_create(&ctx, &options, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ctx_unref(ctx);
    free((char *)(uintptr_t)path);
    scratch_folder_remove(&folder);
    return memory.live == 0 ? 0 : -1;
}

/* ---- a file with every dtype, names in no order, an empty tensor and a scalar ---- */

#define COUNT 8

static const struct safetensors_tensor sample[COUNT] = {
    {.name = "b.bias", .dtype = SAFETENSORS_F32, .ndim = 1, .shape = {5}},
    {.name = "a.weight", .dtype = SAFETENSORS_F32, .ndim = 4, .shape = {2, 3, 1, 2}},
    {.name = "flag", .dtype = SAFETENSORS_BOOL, .ndim = 1, .shape = {3}},
    {.name = "queue_ptr", .dtype = SAFETENSORS_I64, .ndim = 1, .shape = {1}},
    {.name = "empty", .dtype = SAFETENSORS_F32, .ndim = 2, .shape = {0, 4}},
    {.name = "scalar", .dtype = SAFETENSORS_F64, .ndim = 0},
    {.name = "half \"quoted\" \\ \xc3\xa9\n", .dtype = SAFETENSORS_BF16, .ndim = 1, .shape = {7}},
    {.name = "", .dtype = SAFETENSORS_U8, .ndim = 2, .shape = {1, 1}},
};
static const int64_t sample_bytes[COUNT] = {20, 48, 3, 8, 0, 8, 14, 1};

static const struct safetensors_text texts[] = {
    {"format", "moco checkpoint 1"},
    {"temperature", "0.2"},
    {"steps", "-42"},
    {"note", "two\nlines, \"quoted\" \xe2\x82\xac"},
};
#define TEXTS ((int64_t)(sizeof texts / sizeof texts[0]))

static uint8_t byte_of(int64_t tensor, int64_t at)
{
    return (uint8_t)(tensor * 41 + at * 7 + 1);
}

/* Tensors in the order of `order`, each in pieces of `piece` bytes. */
static moco_status write_sample(const char *to, const struct safetensors_tensor *list, const struct safetensors_text *t,
                                const int *order, size_t piece, unsigned flags)
{
    struct safetensors_writer *w = NULL;
    TRY(safetensors_create(&w, ctx, to, list, COUNT, t, TEXTS, flags, &err));
    for (int i = 0; i < COUNT; i++) {
        int64_t which = order[i];
        int64_t same = 0; /* the same tensor in `sample` */
        while (strcmp(sample[same].name, list[which].name) != 0)
            same++;
        uint8_t bytes[64];
        for (int64_t at = 0; at < sample_bytes[same]; at++)
            bytes[at] = byte_of(same, at);
        for (size_t at = 0; at < (size_t)sample_bytes[same]; at += piece) {
            size_t size = (size_t)sample_bytes[same] - at < piece ? (size_t)sample_bytes[same] - at : piece;
            moco_status status = safetensors_write(w, which, bytes + at, size, &err);
            if (status != MOCO_OK) {
                safetensors_abandon(w);
                return status;
            }
        }
    }
    return safetensors_commit(w, &err);
}

static const int forward[COUNT] = {0, 1, 2, 3, 4, 5, 6, 7}, backward[COUNT] = {7, 6, 5, 4, 3, 2, 1, 0};

static void make_sample(unsigned flags)
{
    assert_int_equal(write_sample(path, sample, texts, forward, 64, flags), MOCO_OK);
}

static char *contents(const char *from, size_t *size)
{
    char *bytes = NULL;
    assert_int_equal(file_read_all(ctx, from, 1 << 20, &bytes, size, &err), MOCO_OK);
    return bytes;
}

static struct safetensors *reopen(void)
{
    struct safetensors *f = NULL;
    if (safetensors_open(&f, ctx, path, 0, &err) != MOCO_OK)
        fail_msg("%s", err.text);
    return f;
}

static void round_trip(void **state)
{
    (void)state;
    static const char *const in_file_order[COUNT] = {
        "queue_ptr", "scalar", "a.weight", "b.bias", "empty", "half \"quoted\" \\ \xc3\xa9\n", "", "flag"};
    make_sample(SAFETENSORS_HASHES);
    struct safetensors *f = reopen();
    assert_string_equal(safetensors_path(f), path);
    assert_int_equal(safetensors_count(f), COUNT);
    for (int i = 0; i < COUNT; i++) {
        const struct safetensors_tensor *t = safetensors_find(f, sample[i].name);
        assert_non_null(t);
        assert_string_equal(t->name, sample[i].name);
        assert_int_equal(t->dtype, sample[i].dtype);
        assert_int_equal(t->ndim, sample[i].ndim);
        assert_memory_equal(t->shape, sample[i].shape, sizeof t->shape);
        assert_int_equal(t->bytes, sample_bytes[i]);
        assert_int_equal(t->offset % (int64_t)safetensors_dtype_size(t->dtype), 0);
        uint8_t bytes[64];
        assert_int_equal(safetensors_load(f, t, bytes, &err), MOCO_OK);
        for (int64_t at = 0; at < t->bytes; at++)
            assert_int_equal(bytes[at], byte_of(i, at));
        if (t->bytes >= 3) {
            assert_int_equal(safetensors_read(f, t, 2, bytes, 1, &err), MOCO_OK);
            assert_int_equal(bytes[0], byte_of(i, 2));
        }
    }
    for (int i = 0; i < COUNT; i++) { /* by element size, then by name (bytes) */
        const char *name = safetensors_at(f, i)->name;
        if (strcmp(name, in_file_order[i]) != 0)
            fail_msg("tensor %d is %s, not %s", i, name, in_file_order[i]);
    }
    assert_null(safetensors_at(f, COUNT));
    assert_null(safetensors_at(f, -1));
    assert_null(safetensors_find(f, "a.weigh"));
    assert_null(safetensors_find(f, "zzz"));
    for (int64_t i = 0; i < TEXTS; i++)
        assert_string_equal(safetensors_find_text(f, texts[i].key), texts[i].value);
    assert_null(safetensors_find_text(f, "nothing"));
    assert_int_equal(safetensors_verify(f, NULL, NULL, &err), MOCO_OK);
    safetensors_close(f);
}

static void no_tensors_no_texts(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    for (unsigned flags = 0; flags <= SAFETENSORS_HASHES; flags++) {
        assert_int_equal(safetensors_create(&w, ctx, path, NULL, 0, NULL, 0, flags, &err), MOCO_OK);
        assert_int_equal(safetensors_commit(w, &err), MOCO_OK);
        struct safetensors *f = reopen();
        assert_int_equal(safetensors_count(f), 0);
        assert_null(safetensors_find(f, ""));
        assert_int_equal(safetensors_verify(f, NULL, NULL, &err), flags != 0 ? MOCO_OK : MOCO_EFORMAT);
        err = (struct err){0};
        safetensors_close(f);
    }
}

/* Whatever order tensors and texts are listed and written in, and in whatever pieces. */
static void equal_content_equal_bytes(void **state)
{
    (void)state;
    size_t size, again_size;
    make_sample(SAFETENSORS_HASHES);
    char *bytes = contents(path, &size);
    struct safetensors_tensor list[COUNT];
    struct safetensors_text reversed[4];
    for (int i = 0; i < COUNT; i++)
        list[i] = sample[COUNT - 1 - i];
    for (int i = 0; i < TEXTS; i++)
        reversed[i] = texts[TEXTS - 1 - i];
    for (size_t piece = 1; piece < 9; piece += 7) {
        assert_int_equal(write_sample(path, list, reversed, piece == 1 ? forward : backward, piece, SAFETENSORS_HASHES),
                         MOCO_OK);
        char *again = contents(path, &again_size);
        assert_int_equal(size, again_size);
        assert_memory_equal(bytes, again, size);
        mem_free(ctx, again);
    }
    mem_free(ctx, bytes);
}

/* The bytes of a small file, written out: the format may not drift from version to version. */
static void bytes_of_a_file(void **state)
{
    (void)state;
    static const char json[] =
        "{\"__metadata__\":{\"k\":\"v\\u0001\",\"xxh3\":\"8f8a2bd4c8d2bf9e8b4c8a2ad5d1a7f4\",\"xxh3:x\":\""
        "8f8a2bd4c8d2bf9e8b4c8a2ad5d1a7f4\"},\"x\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}";
    const struct safetensors_tensor x = {.name = "x", .dtype = SAFETENSORS_U8, .ndim = 1, .shape = {3}};
    const struct safetensors_text text = {"k", "v\x01"};
    struct safetensors_writer *w = NULL;
    size_t size;
    assert_int_equal(safetensors_create(&w, ctx, path, &x, 1, &text, 1, SAFETENSORS_HASHES, &err), MOCO_OK);
    assert_int_equal(safetensors_write(w, 0, "abc", 3, &err), MOCO_OK);
    assert_int_equal(safetensors_commit(w, &err), MOCO_OK);
    char *bytes = contents(path, &size), expected[256];
    size_t padded = (sizeof json - 1 + 7) / 8 * 8; /* 8 bytes of length in front change nothing */
    memset(expected, ' ', sizeof expected);
    memcpy(expected, json, sizeof json - 1);
    struct hash h;
    char digits[HASH_DIGITS + 1];
    hash_start(&h);
    hash_add(&h, "abc", 3);
    hash_text(&h, digits);
    memcpy(strstr(expected, "xxh3:x") + 9, digits, HASH_DIGITS);
    char *own = strstr(expected, "\"xxh3\"") + 8;
    memset(own, '0', HASH_DIGITS);
    const char length[8] = {(char)padded};
    hash_start(&h);
    hash_add(&h, length, 8);
    hash_add(&h, expected, padded);
    hash_text(&h, digits);
    memcpy(own, digits, HASH_DIGITS);
    assert_int_equal(size, 8 + padded + 3);
    assert_memory_equal(bytes, length, 8);
    assert_memory_equal(bytes + 8, expected, padded);
    assert_memory_equal(bytes + 8 + padded, "abc", 3);
    mem_free(ctx, bytes);
}

/* ---- hashes ---- */

/* Every bit of a file that carries hashes: opening or verifying notices each, and load gives out no wrong byte. */
static void every_bit(void **state)
{
    (void)state;
    size_t size;
    make_sample(SAFETENSORS_HASHES);
    char *bytes = contents(path, &size);
    int opened = 0;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        scratch_write(&folder, "model.safetensors", bytes, size);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        struct safetensors *f = NULL;
        err = (struct err){0};
        moco_status status = safetensors_open(&f, ctx, path, 0, &err);
        if (status == MOCO_OK) {
            opened++;
            status = safetensors_verify(f, NULL, NULL, &err);
        }
        if (status != MOCO_EFORMAT)
            fail_msg("bit %zu of %zu bytes flipped: status %d", bit, size, status);
        assert_non_null(strstr(err.text, path));
        for (int64_t i = 0; f != NULL && i < safetensors_count(f); i++) {
            const struct safetensors_tensor *t = safetensors_at(f, i);
            char into[64];
            int64_t first = t->offset, last = t->offset + t->bytes;
            int hit = (int64_t)(bit / 8) >= first && (int64_t)(bit / 8) < last,
                header = (int64_t)bit / 8 < safetensors_at(f, 0)->offset;
            assert_int_equal(safetensors_load(f, t, into, NULL), hit || header ? MOCO_EFORMAT : MOCO_OK);
        }
        safetensors_close(f);
    }
    assert_true(opened > 8 * 100); /* payload bits at least: the hashes did the work, not the parser */
    mem_free(ctx, bytes);
}

static int stop(void *user)
{
    int *calls = user;
    return --*calls < 0;
}

static void verifying(void **state)
{
    (void)state;
    int calls = 2;
    make_sample(SAFETENSORS_HASHES);
    struct safetensors *f = reopen();
    assert_int_equal(safetensors_verify_header(f, &err), MOCO_OK);
    assert_int_equal(safetensors_verify(f, stop, &calls, &err), MOCO_ECANCELED);
    safetensors_close(f);
    err = (struct err){0};
    make_sample(0);
    f = reopen();
    assert_int_equal(safetensors_verify_header(f, &err), MOCO_EFORMAT);
    assert_non_null(strstr(err.text, "no hash"));
    assert_int_equal(safetensors_verify(f, NULL, NULL, &err), MOCO_EFORMAT);
    char byte[64];
    assert_int_equal(safetensors_load(f, safetensors_find(f, "b.bias"), byte, NULL), MOCO_EFORMAT);
    assert_int_equal(safetensors_read(f, safetensors_find(f, "b.bias"), 0, byte, 20, NULL), MOCO_OK);
    safetensors_close(f);
}

/* A file that is cut or changed after it was verified. */
static void changes_while_open(void **state)
{
    (void)state;
    size_t size;
    char into[64];
    make_sample(SAFETENSORS_HASHES);
    struct safetensors *f = reopen();
    char *bytes = contents(path, &size);
    const struct safetensors_tensor *last = safetensors_find(f, "flag"), *first = safetensors_find(f, "scalar");
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    assert_int_equal(safetensors_verify(f, NULL, NULL, &err), MOCO_EIO);
    assert_non_null(strstr(err.text, "ends at offset"));
    assert_int_equal(safetensors_load(f, last, into, NULL), MOCO_EIO);
    assert_int_equal(safetensors_load(f, first, into, NULL), MOCO_OK);
    bytes[first->offset] ^= 1;
    scratch_write(&folder, "model.safetensors", bytes, size);
    assert_int_equal(safetensors_load(f, first, into, NULL), MOCO_EFORMAT);
    assert_int_equal(safetensors_load(f, last, into, NULL), MOCO_OK);
    mem_free(ctx, bytes);
    safetensors_close(f);
}

/* ---- texts ---- */

static void typed_texts(void **state)
{
    (void)state;
    struct safetensors_metadata m;
    struct safetensors_writer *w = NULL;
    const char *text = NULL;
    int64_t whole = 0;
    double real = 0;
    safetensors_metadata_init(&m, ctx);
    assert_int_equal(safetensors_metadata_add(&m, "arch", "resnet50", &err), MOCO_OK);
    assert_int_equal(safetensors_metadata_add_int(&m, "least", INT64_MIN, &err), MOCO_OK);
    assert_int_equal(safetensors_metadata_add_int(&m, "most", INT64_MAX, &err), MOCO_OK);
    assert_int_equal(safetensors_metadata_add_double(&m, "third", 1.0 / 3, &err), MOCO_OK);
    assert_int_equal(safetensors_metadata_add_double(&m, "tiny", DBL_TRUE_MIN, &err), MOCO_OK);
    assert_int_equal(safetensors_metadata_add_double(&m, "bad", 0.0 / (double)(real == 1), NULL), MOCO_EINVAL);
    assert_int_equal(safetensors_metadata_add_double(&m, "bad", 1.0 / (double)(real == 1), NULL), MOCO_EINVAL);
    assert_int_equal(m.count, 5);
    assert_int_equal(safetensors_create(&w, ctx, path, NULL, 0, m.items, m.count, 0, &err), MOCO_OK);
    safetensors_metadata_free(&m);
    safetensors_metadata_free(&m);
    assert_int_equal(safetensors_commit(w, &err), MOCO_OK);
    struct safetensors *f = reopen();
    assert_int_equal(safetensors_get_text(f, "arch", &text, &err), MOCO_OK);
    assert_string_equal(text, "resnet50");
    assert_int_equal(safetensors_get_int(f, "least", INT64_MIN, INT64_MAX, &whole, &err), MOCO_OK);
    assert_true(whole == INT64_MIN);
    assert_int_equal(safetensors_get_int(f, "most", 0, INT64_MAX, &whole, &err), MOCO_OK);
    assert_true(whole == INT64_MAX);
    assert_int_equal(safetensors_get_double(f, "third", 0, 1, &real, &err), MOCO_OK);
    assert_true(real == 1.0 / 3);
    assert_int_equal(safetensors_get_double(f, "tiny", 0, 1, &real, &err), MOCO_OK);
    assert_true(real == DBL_TRUE_MIN);
    assert_int_equal(safetensors_get_text(f, "no", &text, &err), MOCO_EFORMAT);
    assert_non_null(strstr(err.text, "__metadata__ has no no"));
    err = (struct err){0};
    assert_int_equal(safetensors_get_int(f, "most", 0, 5, &whole, &err), MOCO_EFORMAT);
    assert_non_null(
        strstr(err.text, "most in __metadata__ is \"9223372036854775807\"; it must be an integer from 0 to 5"));
    err = (struct err){0};
    assert_int_equal(safetensors_get_int(f, "arch", 0, 5, &whole, NULL), MOCO_EFORMAT);
    assert_int_equal(safetensors_get_int(f, "third", 0, 5, &whole, NULL), MOCO_EFORMAT);
    assert_int_equal(safetensors_get_double(f, "third", 0.5, 1, &real, &err), MOCO_EFORMAT);
    assert_non_null(strstr(err.text, "is \"0.3333333333333333\"; it must be a number from 0.5 to 1"));
    assert_true(whole == INT64_MAX && real == DBL_TRUE_MIN); /* untouched */
    safetensors_close(f);
}

/* ---- refusals ---- */

static moco_status try_create(const struct safetensors_tensor *list, int64_t count, const struct safetensors_text *t,
                              int64_t text_count, const char *reason)
{
    struct safetensors_writer *w = NULL;
    err = (struct err){0};
    moco_status status = safetensors_create(&w, ctx, path, list, count, t, text_count, SAFETENSORS_HASHES, &err);
    assert_null(w);
    assert_non_null(strstr(err.text, path));
    if (strstr(err.text, reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
    assert_int_equal(access(path, F_OK), -1);
    return status;
}

static void refused_lists(void **state)
{
    (void)state;
    struct safetensors_tensor t[2] = {{.name = "a", .dtype = SAFETENSORS_F32, .ndim = 1, .shape = {4}},
                                      {.name = "a", .dtype = SAFETENSORS_U8, .ndim = 1, .shape = {4}}};
    assert_int_equal(try_create(t, 2, NULL, 0, "tensor a is listed twice"), MOCO_EINVAL);
    t[1].name = "__metadata__";
    assert_int_equal(try_create(t, 2, NULL, 0, "reserves"), MOCO_EINVAL);
    t[1].name = NULL;
    assert_int_equal(try_create(t, 2, NULL, 0, "no name"), MOCO_EINVAL);
    t[1].name = "bad \xff";
    assert_int_equal(try_create(t, 2, NULL, 0, "not UTF-8"), MOCO_EINVAL);
    t[1].name = "b";
    t[1].dtype = SAFETENSORS_DTYPE_COUNT;
    assert_int_equal(try_create(t, 2, NULL, 0, "dtype"), MOCO_EINVAL);
    t[1].dtype = SAFETENSORS_F64;
    t[1].ndim = 9;
    assert_int_equal(try_create(t, 2, NULL, 0, "9 dimensions"), MOCO_EINVAL);
    t[1].ndim = -1;
    assert_int_equal(try_create(t, 2, NULL, 0, "-1 dimensions"), MOCO_EINVAL);
    t[1].ndim = 2;
    t[1].shape[1] = -3;
    assert_int_equal(try_create(t, 2, NULL, 0, "negative or overflows"), MOCO_EINVAL);
    t[1].shape[0] = t[1].shape[1] = (int64_t)1 << 32;
    assert_int_equal(try_create(t, 2, NULL, 0, "negative or overflows"), MOCO_EINVAL);
    t[1].shape[0] = ((int64_t)1 << 59) - 1;
    t[1].shape[1] = 1;
    t[0] = (struct safetensors_tensor){.name = "c", .dtype = SAFETENSORS_I8, .ndim = 1, .shape = {100}};
    assert_int_equal(try_create(t, 2, NULL, 0, "2^62"), MOCO_EINVAL);
    assert_int_equal(try_create(t, -1, NULL, 0, "-1 tensors"), MOCO_EINVAL);
    struct safetensors_text twice[2] = {{"k", "1"}, {"k", "2"}};
    assert_int_equal(try_create(NULL, 0, twice, 2, "text k is listed twice"), MOCO_EINVAL);
    twice[1].key = "xxh3";
    assert_int_equal(try_create(NULL, 0, twice, 2, "kept for hashes"), MOCO_EINVAL);
    twice[1].key = "xxh3:weight";
    assert_int_equal(try_create(NULL, 0, twice, 2, "kept for hashes"), MOCO_EINVAL);
    twice[1] = (struct safetensors_text){"note", "\xed\xa0\x80"};
    assert_int_equal(try_create(NULL, 0, twice, 2, "not UTF-8"), MOCO_EINVAL);
    twice[1].value = NULL;
    assert_int_equal(try_create(NULL, 0, twice, 2, "no value"), MOCO_EINVAL);
    char *long_text = malloc((size_t)SAFETENSORS_HEADER_MAX + 1);
    memset(long_text, 'x', (size_t)SAFETENSORS_HEADER_MAX);
    long_text[SAFETENSORS_HEADER_MAX] = 0;
    twice[1].value = long_text;
    assert_int_equal(try_create(NULL, 0, twice, 2, "at most 16777216"), MOCO_EINVAL);
    free(long_text);
}

static void refused_writes(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    char bytes[64] = {0};
    assert_int_equal(safetensors_create(&w, ctx, path, sample, COUNT, NULL, 0, 0, &err), MOCO_OK);
    assert_int_equal(safetensors_write(w, -1, bytes, 1, NULL), MOCO_EINVAL);
    assert_int_equal(safetensors_write(w, COUNT, bytes, 1, NULL), MOCO_EINVAL);
    assert_int_equal(safetensors_write(w, 0, bytes, 21, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "tensor b.bias has 20 bytes; 0 and 21 more were given"));
    err = (struct err){0};
    assert_int_equal(safetensors_write(w, 0, bytes, 8, &err), MOCO_OK);
    assert_int_equal(safetensors_write(w, 1, bytes, 8, &err), MOCO_ESTATE); /* b.bias is not whole yet */
    err = (struct err){0};
    assert_int_equal(safetensors_write(w, 0, bytes, 12, &err), MOCO_OK);
    assert_int_equal(safetensors_write(w, 1, bytes, 48, &err), MOCO_OK);
    assert_int_equal(safetensors_write(w, 0, bytes, 1, NULL), MOCO_EINVAL); /* it is full */
    assert_int_equal(safetensors_write(w, 0, bytes, 0, &err), MOCO_OK);
    assert_int_equal(safetensors_commit(w, &err), MOCO_ESTATE); /* the others were never written */
    assert_non_null(strstr(err.text, "were written"));
    assert_int_equal(rmdir(folder.path), 0); /* and nothing is left */
    scratch_folder_make(&folder);
}

static void refused_reads(void **state)
{
    (void)state;
    struct safetensors *f = NULL;
    char bytes[64];
    assert_int_equal(safetensors_open(&f, ctx, path, 0, &err), MOCO_EIO);
    assert_non_null(strstr(err.text, "No such file"));
    err = (struct err){0};
    assert_int_equal(safetensors_open(&f, ctx, folder.path, 0, &err), MOCO_EIO);
    assert_non_null(strstr(err.text, "regular file"));
    err = (struct err){0};
    make_sample(SAFETENSORS_HASHES);
    assert_int_equal(safetensors_open(&f, ctx, path, 100, &err), MOCO_EFORMAT);
    assert_non_null(strstr(err.text, "at most 100 are read"));
    err = (struct err){0};
    f = reopen();
    const struct safetensors_tensor *t = safetensors_find(f, "b.bias");
    assert_int_equal(safetensors_read(f, t, 0, bytes, 21, NULL), MOCO_EINVAL);
    assert_int_equal(safetensors_read(f, t, 20, bytes, 1, NULL), MOCO_EINVAL);
    assert_int_equal(safetensors_read(f, t, -1, bytes, 1, NULL), MOCO_EINVAL);
    assert_int_equal(safetensors_read(f, t, 1, bytes, SIZE_MAX, NULL), MOCO_EINVAL);
    assert_int_equal(safetensors_read(f, t, 20, bytes, 0, &err), MOCO_OK);
    safetensors_close(f);
}

/* ---- memory ---- */

static moco_status write_and_read(void)
{
    struct safetensors *f = NULL;
    struct safetensors_metadata m;
    safetensors_metadata_init(&m, ctx);
    moco_status status = safetensors_metadata_add_int(&m, "k", 1, &err);
    safetensors_metadata_free(&m);
    TRY(status);
    TRY(write_sample(path, sample, texts, forward, 64, SAFETENSORS_HASHES));
    TRY(safetensors_open(&f, ctx, path, 0, &err));
    status = safetensors_verify(f, NULL, NULL, &err);
    safetensors_close(f);
    return status;
}

static void failing_memory(void **state)
{
    (void)state;
    size_t size;
    make_sample(0);
    char *before = contents(path, &size);
    for (int forever = 0; forever < 2; forever++) {
        long long n = 0;
        for (;; n++) {
            long long live = memory.live;
            int opened = 0;
            memory = (struct failing_alloc){.live = live, .fail_at = n, .forever = forever};
            err = (struct err){0};
            moco_status status = write_and_read();
            memory.fail_at = -1;
            assert_int_equal(memory.live, live);
            if (status == MOCO_OK)
                break;
            assert_int_equal(status, MOCO_ENOMEM);
            assert_non_null(strstr(err.text, "no memory for"));
            struct safetensors *f = reopen(); /* the old file or the whole new one */
            opened = safetensors_verify(f, NULL, NULL, NULL) == MOCO_OK;
            safetensors_close(f);
            if (!opened) {
                size_t now;
                char *after = contents(path, &now);
                assert_int_equal(now, size);
                assert_memory_equal(after, before, size);
                mem_free(ctx, after);
            }
        }
        assert_true(n > 20);
        make_sample(0);
    }
    mem_free(ctx, before);
}

/* 600 tensors of some size: what writing and reading hold does not grow with the tensors' bytes. */
static void memory_is_bounded(void **state)
{
    (void)state;
    enum { MANY = 600, ELEMENTS = 4096 };
    struct safetensors_tensor *list = calloc(MANY, sizeof *list);
    char(*names)[32] = calloc(MANY, sizeof *names), *payload = calloc(ELEMENTS, 4);
    struct safetensors_writer *w = NULL;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "layer%d.weight", i);
        list[i] =
            (struct safetensors_tensor){.name = names[i], .dtype = SAFETENSORS_F32, .ndim = 1, .shape = {ELEMENTS}};
    }
    ctx->peak_bytes = ctx->live_bytes;
    assert_int_equal(safetensors_create(&w, ctx, path, list, MANY, NULL, 0, SAFETENSORS_HASHES, &err), MOCO_OK);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(safetensors_write(w, i, payload, ELEMENTS * 4, &err), MOCO_OK);
    assert_int_equal(safetensors_commit(w, &err), MOCO_OK);
    struct safetensors *f = reopen();
    assert_int_equal(safetensors_verify(f, NULL, NULL, &err), MOCO_OK);
    safetensors_close(f);
    assert_true(ctx->peak_bytes < (int64_t)1 << 20); /* the file has 9.4 MiB */
    free(list);
    free(names);
    free(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_tensors_no_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(equal_content_equal_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_of_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_bit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(verifying, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_while_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(typed_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_is_bounded, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
