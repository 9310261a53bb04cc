/* SPDX-License-Identifier: MIT
 *
 * test_safetensors_hostile: files made to mislead a reader. Each must be refused with MOCO_EFORMAT and a sentence that
 * names the file and the reason meant here (a refusal for another reason would hide that a rule is missing), or be
 * accepted where the format allows it; memory stays below 4 x the file + 1 MiB, processor time below a second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/safetensors.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
#define SECONDS 20 /* the promise is about the library as it is built for use */
#else
#define SECONDS 1
#endif

static struct failing_alloc memory;
static struct ctx *ctx;
static struct scratch_folder folder;

static int set_up(void **state)
{
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    struct ctx_options options = {.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1};
    scratch_folder_make(&folder);
    return ctx_create(&ctx, &options, NULL) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ctx_unref(ctx);
    scratch_folder_remove(&folder);
    return memory.live == 0 ? 0 : -1;
}

/* ---- one file: `reason` NULL means that it must be accepted ---- */

static void check_bytes(const char *what, const void *bytes, size_t size, const char *reason)
{
    struct safetensors *f = NULL;
    struct err err = {0};
    const char *path = scratch_path(&folder, "hostile");
    scratch_write(&folder, "hostile", bytes, size);
    int64_t live = ctx->live_bytes;
    ctx->peak_bytes = live;
    clock_t start = clock();
    moco_status status = safetensors_open(&f, ctx, path, 0, &err);
    if (status == MOCO_OK) { /* what is said about the tensors can be relied on */
        char byte;
        for (int64_t i = 0; i < safetensors_count(f); i++) {
            const struct safetensors_tensor *t = safetensors_at(f, i);
            assert_ptr_equal(safetensors_find(f, t->name), t);
            if (t->bytes > 0)
                assert_int_equal(safetensors_read(f, t, t->bytes - 1, &byte, 1, &err), MOCO_OK);
        }
        if (safetensors_verify(f, NULL, NULL, NULL) == MOCO_OK)
            fail_msg("%.60s: it was taken for a file with hashes", what);
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    int64_t most = ctx->peak_bytes - live;
    safetensors_close(f);
    assert_int_equal(ctx->live_bytes, live);
    if (most > 4 * (int64_t)size + (1 << 20))
        fail_msg("%.60s: %lld bytes of memory for a file of %zu", what, (long long)most, size);
    if (seconds > SECONDS)
        fail_msg("%.60s: %f s", what, seconds);
    if (reason == NULL && status != MOCO_OK)
        fail_msg("%.60s: refused: %s", what, err.text);
    if (reason != NULL &&
        (status != MOCO_EFORMAT || strstr(err.text, reason) == NULL || strstr(err.text, path) == NULL))
        fail_msg("%.60s: status %d, \"%s\" does not say \"%s\"", what, status, err.text, reason);
}

static void check_length(uint64_t length, const void *json, size_t size, const char *reason)
{
    char what[64], *bytes = malloc(8 + size);
    snprintf(what, sizeof what, "length %llu of %zu", (unsigned long long)length, size);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(length >> 8 * i & 0xff);
    memcpy(bytes + 8, json, size);
    check_bytes(what, bytes, 8 + size, reason);
    free(bytes);
}

/* A header of `json` (`size` bytes of it) and `data` bytes behind it. */
static void check_json(const char *json, size_t size, size_t data, const char *reason)
{
    char *bytes = calloc(1, 8 + size + data);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((uint64_t)size >> 8 * i & 0xff);
    memcpy(bytes + 8, json, size);
    check_bytes(json, bytes, 8 + size + data, reason);
    free(bytes);
}

struct row {
    const char *json;
    size_t data;
    const char *reason;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_json(rows[i].json, strlen(rows[i].json), rows[i].data, rows[i].reason);
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

/* ---- the rows ---- */

static void lengths(void **state)
{
    (void)state;
    static const char json[] = "{}      ";
    for (size_t size = 0; size < 8; size++)
        check_bytes("fewer than 8 bytes", "\2\0\0\0\0\0\0\0", size, "a safetensors file has at least 10");
    check_length(0, "", 0, "does not begin with {");
    check_length(0, json, 8, "does not begin with {");
    check_length(1, json, 8, "JSON at byte 9");
    check_length(2, json, 2, NULL);
    check_length(8, json, 8, NULL);
    check_length(7, json, 8, "the tensors end at byte 15; the file at 16"); /* file - 9 */
    check_length(9, json, 8, "said to be 9 bytes long; 8 bytes follow");    /* file - 7 */
    check_length(16, json, 8, "said to be 16 bytes long");                  /* the file's own size */
    check_length(UINT64_C(1) << 31, json, 8, "said to be 2147483648 bytes long");
    check_length((UINT64_C(1) << 32) + 8, json, 8, "said to be 4294967304 bytes long"); /* 8 in 32 bits */
    check_length(UINT64_C(1) << 63, json, 8, "said to be 9223372036854775808 bytes long");
    check_length((UINT64_C(1) << 63) - 1, json, 8, "bytes long");
    check_length(UINT64_MAX, json, 8, "said to be 18446744073709551615 bytes long");
    check_length(UINT64_MAX - 7, json, 8, "bytes long"); /* + 8 wraps to 0 */
    size_t big = (size_t)SAFETENSORS_HEADER_MAX + 1;
    char *blanks = malloc(big);
    memset(blanks, ' ', big);
    memcpy(blanks, "{}", 2);
    check_length(big, blanks, big, "at most 16777216 are read");
    check_length(big - 1, blanks, big - 1, NULL);
    free(blanks);
}

static void not_json(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[]", 0, "does not begin with {"},
        {" {}", 0, "does not begin with {"},
        {"null", 0, "does not begin with {"},
        {"\xef\xbb\xbf{}", 0, "does not begin with {"}, /* BOM */
        {"{", 0, "JSON at byte 9"},
        {"{}}", 0, "something follows"},
        {"{}{}", 0, "something follows"},
        {"{} x", 0, "something follows"},
        {"{}/* */", 0, "something follows"},
        {"{/* */}", 0, "a key in quotes was expected"},
        {"{,}", 0, "a key in quotes was expected"},
        {"{\"a\":}", 0, "a value was expected"},
        {"{\"a\":NaN}", 0, "a value was expected"},
        {"{\"\xff\":{}}", 0, "not UTF-8"},
        {"{\"\xc0\xaf\":{}}", 0, "not UTF-8"},
        {"{\"\xed\xa0\x80\":{}}", 0, "not UTF-8"},
        {"{\"\\ud800\":{}}", 0, "surrogate"},
        {"{\"a\nb\":{}}", 0, "control character"},
        {"{'a':{}}", 0, "a key in quotes was expected"},
        {"{}\t\r\n ", 0, NULL},
        {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "NUL"},
    };
    CHECK_ROWS(rows);
    check_json("{}\0", 3, 0, "something follows");
    check_json("{}\0\0\0\0\0\0", 8, 0, "something follows");
    check_json("{\"a\0\":{}}", 9, 0, "control character");
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"
#define ONE(dtype, shape, offsets) "{\"a\":" T(dtype, shape, offsets) "}"

static void fields(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {ONE("F32", "2", "0,8"), 8, NULL},
        {"{\"a\":{}}", 0, "lacks dtype, shape or one of its two data_offsets"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "lacks"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "lacks"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "lacks"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1,
         "none of dtype, shape, data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "is there twice"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "is there twice"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"data_offsets\":[0,1]}}", 1, "is there twice"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"sh\\u0061pe\":[1],\"data_offsets\":[0,1]}}", 1, "is there twice"},
        {"{\"a\":{\"DTYPE\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "none of dtype"},
        {"{\"a\":5}", 0, "a tensor's entry must be an object but is an integer"},
        {"{\"a\":null}", 0, "must be an object"},
        {"{\"a\":[]}", 0, "must be an object"},
        {"{\"a\":\"x\"}", 0, "must be an object"},
        {"{\"a\":{\"dtype\":5,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype must be a string"},
        {"{\"a\":{\"dtype\":null,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype must be a string"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, "shape must be an array"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{}}}", 1, "data_offsets must be an array"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[[1]],\"data_offsets\":[0,1]}}", 1, "shape [ is not an integer"},
        {ONE("U8", "\"1\"", "0,1"), 1, "is not an integer"},
        {ONE("U8", "null", "0,1"), 1, "is not an integer"},
        {ONE("U8", "1", ""), 1, "lacks"},
        {ONE("U8", "1", "1"), 1, "lacks"},
        {ONE("U8", "1", "0,1,1"), 1, "data_offsets has more than 2 entries"},
        {"{\"a\":" T("U8", "1", "0,1") ",\"a\":" T("U8", "1", "1,2") "}", 2, "tensor a is there twice"},
        {"{\"a\":" T("U8", "1", "0,1") ",\"\\u0061\":" T("U8", "1", "1,2") "}", 2, "tensor a is there twice"},
        {"{\"a\":" T("U8", "0", "0,0") ",\"a\":" T("U8", "0", "0,0") "}", 0, "tensor a is there twice"},
        {"{\"\":" T("U8", "1", "0,1") ",\"\xc3\xa9\\n\\\"\":" T("U8", "1", "1,2") "}", 2,
         NULL}, /* odd names are names */
    };
    CHECK_ROWS(rows);
}

static void dtypes(void **state)
{
    (void)state;
    static const char *const unknown[] = {"F4",  "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0",
                                          "U16", "U32",     "U64",     "C64",     "f32",     "F32 ",
                                          "",    "float32", "I4",      "F128",    "F3",      "F\\u00332x"};
    static const char *const known[] = {"F64", "I64", "F32", "I32",  "F16",      "BF16",
                                        "I16", "I8",  "U8",  "BOOL", "F\\u00332"};
    static const int size[] = {8, 8, 4, 4, 2, 2, 2, 1, 1, 1, 4};
    char json[128];
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        int length = snprintf(json, sizeof json, ONE("%s", "2", "0,2"), unknown[i]);
        check_json(json, (size_t)length, 2, "is none that is known here");
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int length = snprintf(json, sizeof json, ONE("%s", "3", "0,%d"), known[i], 3 * size[i]);
        check_json(json, (size_t)length, 3 * (size_t)size[i], NULL);
        length = snprintf(json, sizeof json, ONE("%s", "3", "0,%d"), known[i], 3 * size[i] + 1);
        check_json(json, (size_t)length, 3 * (size_t)size[i] + 1, "shape and dtype ask for");
    }
}

/* Numbers that another reader rounds, wraps or takes for something else. */
static void numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {"4e0",
                                      "4.0",
                                      "-1",
                                      "-0",
                                      "9223372036854775808",
                                      "18446744073709551616",
                                      "18446744073709551620",
                                      "1e400",
                                      "04",
                                      "+4",
                                      "0x4",
                                      "4.",
                                      "true",
                                      "340282366920938463463374607431768211460"};
    static const char *const huge[] = {"9007199254740993", "9223372036854775807", "4294967300"};
    char json[160];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *reason = strchr("+", bad[i][0]) != NULL ? "a value was expected"
                             : strcmp(bad[i], "04") == 0 || strcmp(bad[i], "4.") == 0 || strcmp(bad[i], "1e400") == 0
                                 ? "not a number that JSON knows"
                             : strcmp(bad[i], "0x4") == 0 ? "a comma or ] was expected"
                                                          : "is not an integer from 0 to 2^63-1";
        int length = snprintf(json, sizeof json, ONE("U8", "%s", "0,4"), bad[i]);
        check_json(json, (size_t)length, 4, reason);
        length = snprintf(json, sizeof json, ONE("U8", "4", "0,%s"), bad[i]);
        check_json(json, (size_t)length, 4, reason);
        length = snprintf(json, sizeof json, ONE("U8", "4", "%s,4"), bad[i]);
        check_json(json, (size_t)length, 4, reason);
    }
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        int length = snprintf(json, sizeof json, ONE("U8", "%s", "0,4"), huge[i]);
        check_json(json, (size_t)length, 4, "ask for");
        length = snprintf(json, sizeof json, ONE("U8", "4", "0,%s"), huge[i]);
        check_json(json, (size_t)length, 4, "of the 4 bytes behind the header");
        length = snprintf(json, sizeof json, ONE("U8", "4", "%s,4"), huge[i]);
        check_json(json, (size_t)length, 4, "of the 4 bytes behind the header");
    }
}

static void shapes(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {ONE("F32", "", "0,4"), 4, NULL}, /* one element */
        {ONE("F32", "", "0,0"), 0, "ask for 4 bytes, its offsets for 0"},
        {ONE("F32", "0", "0,0"), 0, NULL},
        {ONE("F32", "0", "0,4"), 4, "ask for 0 bytes, its offsets for 4"},
        {ONE("F32", "3,0,5", "0,0"), 0, NULL},
        {ONE("U8", "1,1,1,1,1,1,1,1", "0,1"), 1, NULL},
        {ONE("U8", "1,1,1,1,1,1,1,1,1", "0,1"), 1, "shape has more than 8 entries"},
        {ONE("U8", "4294967296,4294967296", "0,0"), 0, "does not fit 63 bits"},           /* 2^64: wraps to 0 */
        {ONE("U8", "4294967297,4294967297", "0,1"), 1, "does not fit 63 bits"},           /* wraps to small */
        {ONE("F32", "4611686018427387905", "0,4"), 4, "does not fit 63 bits"},            /* times 4 wraps to 4 */
        {ONE("F64", "2305843009213693953", "0,8"), 8, "does not fit 63 bits"},            /* times 8 wraps to 8 */
        {ONE("U8", "9223372036854775807,9223372036854775807", "0,1"), 1, "does not fit"}, /* wraps to 1 */
        {ONE("F32", "1000,1000", "0,82"), 82, "ask for 4000000 bytes, its offsets for 82"},
        {ONE("F32", "2", "0,4"), 4, "ask for 8 bytes"},
        {ONE("F32", "1", "0,8"), 8, "ask for 4 bytes"},
    };
    CHECK_ROWS(rows);
}

static void offsets(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {ONE("U8", "4", "4,0"), 4, "said to lie from 4 to 0"},
        {ONE("U8", "4", "0,4"), 3, "of the 3 bytes behind the header"},
        {ONE("U8", "4", "1,5"), 4, "of the 4 bytes"},
        {ONE("U8", "4", "1,5"), 5, "tensor a begins at byte"}, /* a hole in front */
        {ONE("U8", "4", "0,4"), 5, "the tensors end at byte"}, /* bytes behind */
        {ONE("U8", "0", "1,1"), 1, "tensor a begins at byte"},
        {ONE("U8", "0", "5,5"), 1, "of the 1 bytes"},
        {"{}", 1, "the tensors end at byte 10; the file at 11"},
        {"{\"a\":" T("U8", "4", "0,4") ",\"b\":" T("U8", "4", "0,4") "}", 4,
         "tensor b begins at byte"}, /* one place for two */
        {"{\"a\":" T("U8", "4", "0,4") ",\"b\":" T("U8", "4", "2,6") "}", 6, "tensor b begins at byte"},
        {"{\"a\":" T("U8", "8", "0,8") ",\"b\":" T("U8", "2", "2,4") "}", 8, "tensor b begins at byte"},
        {"{\"a\":" T("U8", "2", "0,2") ",\"b\":" T("U8", "2", "3,5") "}", 5, "tensor b begins at byte"}, /* a hole */
        {"{\"b\":" T("U8", "2", "2,4") ",\"a\":" T("U8", "2", "0,2") "}", 4, NULL},                      /* unsorted */
        {"{\"c\":" T("U8", "1", "3,4") ",\"a\":" T("F16", "1", "0,2") ",\"b\":" T("BOOL", "1", "2,3") "}", 4, NULL},
        {"{\"a\":" T("U8", "2", "0,2") ",\"e\":" T("F32", "0", "0,0") "}", 2, NULL}, /* empty ones share offsets */
        {"{\"a\":" T("U8", "2", "0,2") ",\"e\":" T("F32", "0", "2,2") ",\"f\":" T("I64", "0,7", "2,2") "}", 2, NULL},
        {"{\"a\":" T("U8", "2", "0,2") ",\"e\":" T("F32", "0", "1,1") "}", 2, "tensor e begins at byte"},
    };
    CHECK_ROWS(rows);
}

#define META(text) "{\"__metadata__\":" text "}"

static void metadata(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {META("{}"), 0, NULL},
        {META("{\"a\":\"b\",\"\":\"\"}"), 0, NULL},
        {META("{\"a\":5}"), 0, "a value in __metadata__ must be a string but is an integer"},
        {META("{\"a\":null}"), 0, "must be a string"},
        {META("{\"a\":{}}"), 0, "must be a string"},
        {META("{\"a\":[\"b\"]}"), 0, "must be a string"},
        {META("{\"a\":true}"), 0, "must be a string"},
        {META("[]"), 0, "__metadata__ must be an object"},
        {META("\"x\""), 0, "__metadata__ must be an object"},
        {META("null"), 0, "__metadata__ must be an object"},
        {META("{\"a\":\"b\",\"a\":\"c\"}"), 0, "key a of __metadata__ is there twice"},
        {META("{\"a\":\"b\",\"\\u0061\":\"c\"}"), 0, "key a of __metadata__ is there twice"},
        {META("{\"a\":\"b\\u0000\"}"), 0, "NUL"},
        {META("{\"a\\u0000\":\"b\"}"), 0, "NUL"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice"},
        {"{\"__metadata__\":{},\"__met\\u0061data__\":{}}", 0, "is there twice"},
        {META("{\"xxh3\":\"\"}"), 0, NULL}, /* no hash of ours: open does not mind, verify does */
        {META("{\"xxh3\":\"0123456789abcdef0123456789abcdef\"}"), 0, NULL},
        {META("{\"xxh3\":\"00000000000000000000000000000000\",\"xxh3\":\"x\"}"), 0, "is there twice"},
        {META("{\"xxh3\":\"\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\\u0030\"}"), 0, NULL},
        {"{\"a\":" T("U8", "1", "0,1") ",\"__metadata__\":{\"k\":\"v\"}}", 1, NULL}, /* anywhere */
    };
    CHECK_ROWS(rows);
}

/* ---- size ---- */

struct text {
    char *bytes;
    size_t used;
};

static void add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    t->used += (size_t)vsnprintf(t->bytes + t->used, (size_t)SAFETENSORS_HEADER_MAX + 256 - t->used, format, args);
    va_end(args);
}

/* Headers up to the limit: many tensors in the worst orders, as little text as possible per entry, deep nesting. */
static void large(void **state)
{
    (void)state;
    struct text t = {malloc((size_t)SAFETENSORS_HEADER_MAX + 256), 0};
    enum { MANY = 150000 };
    for (int order = 0; order < 3; order++) {
        t.used = 0;
        for (int i = 0; i < MANY; i++) {
            int place = order == 0 ? i : order == 1 ? MANY - 1 - i : (int)((int64_t)i * 61657 % MANY); /* coprime */
            add(&t, "%c\"encoder.layer%d.weight\":" T("U8", "1", "%d,%d"), i == 0 ? '{' : ',',
                order == 2 ? i * 7 % MANY : i, place, place + 1);
        }
        add(&t, "}");
        check_json(t.bytes, t.used, MANY, NULL);
    }
    t.used = 0;
    for (int i = 0; t.used < (size_t)SAFETENSORS_HEADER_MAX - 64; i++)
        add(&t, "%c\"%x\":" T("U8", "0", "0,0"), i == 0 ? '{' : ',', i);
    add(&t, "}");
    check_json(t.bytes, t.used, 0, NULL);
    t.used = 0;
    add(&t, "{\"__metadata__\":");
    for (int i = 0; t.used < (size_t)SAFETENSORS_HEADER_MAX - 64; i++)
        add(&t, "%c\"%x\":\"\"", i == 0 ? '{' : ',', i);
    add(&t, "}}");
    check_json(t.bytes, t.used, 0, NULL);
    memset(t.bytes, '[', (size_t)SAFETENSORS_HEADER_MAX);
    memcpy(t.bytes, "{\"a\":{\"shape\":", 14);
    check_json(t.bytes, 5000000, 0, "shape [ is not an integer");
    memcpy(t.bytes, "{\"a\":         ", 14);
    check_json(t.bytes, 5000000, 0, "must be an object");
    memset(t.bytes, 'n', (size_t)SAFETENSORS_HEADER_MAX);
    memcpy(t.bytes, "{\"", 2);
    check_json(t.bytes, (size_t)SAFETENSORS_HEADER_MAX, 0, "the string does not end");
    free(t.bytes);
}

/* ---- every cut and every bit of a tiny file without hashes: nothing crashes, and what opens holds together ---- */

static const char tiny[] =
    "{\"__metadata__\":{\"k\":\"v\\n\"},\"w\":" T("F32", "2,1", "0,8") ",\"b\":" T("U8", "3", "8,11") "}";

static size_t make_tiny(char bytes[512])
{
    size_t json = sizeof tiny - 1;
    memset(bytes, 0, 512);
    bytes[0] = (char)json;
    memcpy(bytes + 8, tiny, json);
    return 8 + json + 11;
}

static void every_truncation(void **state)
{
    (void)state;
    char bytes[512];
    size_t size = make_tiny(bytes);
    check_bytes("whole", bytes, size, NULL);
    for (size_t cut = 0; cut < size; cut++)
        check_bytes("cut", bytes, cut,
                    cut < 8           ? "at least 10"
                    : cut < size - 11 ? "said to be"
                                      : "bytes behind the header");
    check_bytes("one more", bytes, size + 1, "the tensors end at byte");
}

static void every_bit(void **state)
{
    (void)state;
    char bytes[512];
    size_t size = make_tiny(bytes);
    int accepted = 0;
    for (size_t bit = 0; bit < 8 * (size - 11); bit++) {
        struct safetensors *f = NULL;
        struct err err = {0};
        int64_t live = ctx->live_bytes;
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        scratch_write(&folder, "bit", bytes, size);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        ctx->peak_bytes = live;
        moco_status status = safetensors_open(&f, ctx, scratch_path(&folder, "bit"), 0, &err);
        if (status == MOCO_OK) { /* a name or text became another one, or [2,1] [3]: still a whole file */
            int64_t end = safetensors_at(f, 0)->offset;
            for (int64_t i = 0; i < safetensors_count(f); i++) {
                const struct safetensors_tensor *t = safetensors_at(f, i);
                assert_int_equal(t->offset, end);
                end += t->bytes;
            }
            assert_int_equal(end, size);
            accepted++;
        } else if (status != MOCO_EFORMAT || err.text[0] == 0) {
            fail_msg("bit %zu: status %d, \"%s\"", bit, status, err.text);
        }
        assert_true(ctx->peak_bytes - live <= 4 * (int64_t)size + (1 << 20));
        safetensors_close(f);
        assert_int_equal(ctx->live_bytes, live);
    }
    assert_in_range(accepted, 1, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dtypes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shapes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(offsets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(metadata, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_truncation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_bit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
