/* SPDX-License-Identifier: MIT
 *
 * test_json: the parser against what is and is not JSON (the cases of RFC 8259, one by one), tokens and their places,
 * decoding in place, and the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "support/failing_alloc.h"
#include "utf8.h"

/* Reads all tokens from a copy that ends where the text ends, so that a sanitizer sees a byte too many. */
static moco_status read_all(const char *text, size_t size, struct err *err)
{
    struct json j;
    struct json_token t;
    char *copy = malloc(size > 0 ? size : 1);
    moco_status status;
    memcpy(copy, text, size);
    json_start(&j, copy, size, 0);
    do {
        status = json_next(&j, &t, err);
        if (status == MOCO_OK && (t.kind == JSON_KEY || t.kind == JSON_STRING)) {
            char *decoded = malloc(t.length > 0 ? t.length : 1);
            assert_true(json_decode(&t, decoded) <= t.length);
            free(decoded);
        }
    } while (status == MOCO_OK && t.kind != JSON_END);
    free(copy);
    return status;
}

static void accepted(void **state)
{
    (void)state;
    static const char *const good[] = {"{}",
                                       "[]",
                                       " [ ] ",
                                       "\t\n\r{ }\n",
                                       "null",
                                       "true",
                                       "false",
                                       "0",
                                       "-0",
                                       "-1.5e+10",
                                       "\"\"",
                                       "\"a\"",
                                       "[1,2,3]",
                                       "[[],[[]],{}]",
                                       "{\"a\":1}",
                                       "{\"a\":{\"b\":[null,true,false]},\"c\":\"d\"}",
                                       "{\"\":0}",
                                       "{\"a\":1,\"a\":2}",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                                       "\"\\u0000\"",
                                       "\"\\uD834\\uDd1e\"",
                                       "\"\\u00e9\"",
                                       "\"\x7f\"",
                                       "\"\xc2\x80\"",
                                       "\"\xdf\xbf\"",
                                       "\"\xe0\xa0\x80\"",
                                       "\"\xed\x9f\xbf\"",
                                       "\"\xee\x80\x80\"",
                                       "\"\xef\xbf\xbf\"",
                                       "\"\xf0\x90\x80\x80\"",
                                       "\"\xf4\x8f\xbf\xbf\"",
                                       "[1 , 2]",
                                       "{\"a\" : 1 }",
                                       "9223372036854775808"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct err err = {0};
        if (read_all(good[i], strlen(good[i]), &err) != MOCO_OK)
            fail_msg("%s: %s", good[i], err.text);
    }
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t at; /* of the byte that the sentence must name */
    } bad[] = {{"", 0},
               {" ", 1},
               {"{", 1},
               {"[", 1},
               {"}", 0},
               {"]", 0},
               {"{]", 1},
               {"[}", 1},
               {"[1", 2},
               {"[1,", 3},
               {"[1,]", 3},
               {"[,1]", 1},
               {"[1,,2]", 3},
               {"[1 2]", 3},
               {"{\"a\"", 4},
               {"{\"a\":", 5},
               {"{\"a\":1", 6},
               {"{\"a\":1,", 7},
               {"{\"a\":1,}", 7},
               {"{,}", 1},
               {"{\"a\" 1}", 5},
               {"{\"a\",1}", 4},
               {"{a:1}", 1},
               {"{1:1}", 1},
               {"{'a':1}", 1},
               {"{\"a\":}", 5},
               {"{null:1}", 1},
               {"[\"a\":1]", 4},
               {"1 2", 2},
               {"{} {}", 3},
               {"{}x", 2},
               {"nul", 0},
               {"nulll", 4},
               {"True", 0},
               {"NaN", 0},
               {"Infinity", 0},
               {"-Infinity", 0},
               {"-", 0},
               {"+1", 0},
               {"01", 0},
               {"-01", 0},
               {".5", 0},
               {"5.", 0},
               {"1e", 0},
               {"1e999", 0},
               {"1E400000000e", 0},
               {"0x10", 1},
               {"1_0", 1},
               {"// c\n1", 0},
               {"[/*c*/1]", 1},
               {"#c\n1", 0},
               {"\"", 0},
               {"\"abc", 0},
               {"\"\\\"", 0},
               {"\"\\\\\\\"", 0},
               {"\"\n\"", 1},
               {"\"\x1f\"", 1},
               {"\"\\x41\"", 1},
               {"\"\\'\"", 1},
               {"\"\\u12\"", 1},
               {"\"\\u12g4\"", 1},
               {"\"\\U0041\"", 1},
               {"\"\\", 1},
               {"\"\\u\"", 1},
               {"\"\\ud800\"", 1},
               {"\"\\ud800x\"", 1},
               {"\"\\ud800\\n\"", 1},
               {"\"\\ud800\\u0041\"", 1},
               {"\"\\ud800\\ud800\"", 1},
               {"\"\\udc00\"", 1},
               {"\"\\ud800\\udc0\"", 1},
               {"\"\x80\"", 1},
               {"\"\xc0\xaf\"", 1},
               {"\"\xc1\xbf\"", 1},
               {"\"\xc2\"", 1},
               {"\"\xe0\x9f\xbf\"", 1},
               {"\"\xed\xa0\x80\"", 1},
               {"\"\xe2\x82\"", 1},
               {"\"\xe2\x28\xa1\"", 1},
               {"\"\xe2\x82\x28\"", 1},
               {"\"\xf0\x8f\xbf\xbf\"", 1},
               {"\"\xf4\x90\x80\x80\"", 1},
               {"\"\xf5\x80\x80\x80\"", 1},
               {"\"\xf0\x90\x80\"", 1},
               {"\"\xff\"", 1},
               {"\"\xfe\"", 1},
               {"\xef\xbb\xbf{}", 0},
               {"{\"a\":\xff}", 5},
               {"\xc2\xa0{}", 0},
               {"\f{}", 0},
               {"\v1", 0},
               {"[true,fals]", 6}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        char place[40];
        snprintf(place, sizeof place, "JSON at byte %zu: ", bad[i].at);
        if (read_all(bad[i].text, strlen(bad[i].text), &err) != MOCO_EFORMAT ||
            strncmp(err.text, place, strlen(place)) != 0)
            fail_msg("%s: \"%s\", not at byte %zu", bad[i].text, err.text, bad[i].at);
    }
    assert_int_equal(read_all("{}\0", 3, NULL), MOCO_EFORMAT); /* a 0 ends nothing */
    assert_int_equal(read_all("[1,\0002]", 6, NULL), MOCO_EFORMAT);
    assert_int_equal(read_all("\"a\0b\"", 5, NULL), MOCO_EFORMAT);
    assert_int_equal(read_all("\"\\\0\"", 4, NULL), MOCO_EFORMAT);
}

/* Every prefix of a text is no JSON, and none is read beyond its end. */
static void truncated(void **state)
{
    (void)state;
    static const char text[] =
        "{\"k\\u00e9\\ud834\\udd1e\":[1,-2.5e-3,true,null,{\"x\":\"\xf0\x9f\x98\x80\"}],\"\\n\":false}";
    for (size_t size = 0; size < sizeof text - 1; size++)
        assert_int_equal(read_all(text, size, NULL), MOCO_EFORMAT);
    assert_int_equal(read_all(text, sizeof text - 1, NULL), MOCO_OK);
}

static void depth(void **state)
{
    (void)state;
    for (int array = 0; array < 2; array++)
        for (int levels = JSON_DEPTH_MAX; levels <= JSON_DEPTH_MAX + 1; levels++) {
            char text[JSON_DEPTH_MAX * 8] = "";
            struct err err = {0};
            for (int i = 0; i < levels; i++)
                strcat(text, array || i == levels - 1 ? "[" : "{\"a\":");
            for (int i = levels - 1; i >= 0; i--)
                strcat(text, array || i == levels - 1 ? "]" : "}");
            assert_int_equal(read_all(text, strlen(text), &err), levels > JSON_DEPTH_MAX ? MOCO_EFORMAT : MOCO_OK);
            if (levels > JSON_DEPTH_MAX)
                assert_non_null(strstr(err.text, "nested too deeply"));
        }
    size_t size = 5000000;
    char *text = malloc(size);
    memset(text, '[', size);
    assert_int_equal(read_all(text, size, NULL), MOCO_EFORMAT);
    free(text);
}

static void tokens(void **state)
{
    (void)state;
    static const char text[] =
        " {\"a\": [1, -7, 9223372036854775807, 9223372036854775808, -0, 1.0, 1e2],\"s\\n\":\"x\"} ";
    static const struct {
        enum json_kind kind;
        size_t at;
        int64_t integer;
        double real;
    } expected[] = {{JSON_OBJECT, 1, 0, 0},
                    {JSON_KEY, 2, 0, 0},
                    {JSON_ARRAY, 7, 0, 0},
                    {JSON_INT, 8, 1, 1},
                    {JSON_INT, 11, -7, -7},
                    {JSON_INT, 15, INT64_MAX, 9223372036854775808.0},
                    {JSON_REAL, 36, 0, 9223372036854775808.0},
                    {JSON_REAL, 57, 0, 0},
                    {JSON_REAL, 61, 0, 1},
                    {JSON_REAL, 66, 0, 100},
                    {JSON_ARRAY_END, 69, 0, 0},
                    {JSON_KEY, 71, 0, 0},
                    {JSON_STRING, 77, 0, 0},
                    {JSON_OBJECT_END, 80, 0, 0},
                    {JSON_END, 82, 0, 0}};
    struct json j;
    struct json_token t;
    struct err err = {0};
    json_start(&j, text, sizeof text - 1, 1000);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(json_next(&j, &t, &err), MOCO_OK);
        assert_int_equal(t.kind, expected[i].kind);
        assert_int_equal(t.at, 1000 + expected[i].at);
        if (t.kind == JSON_INT)
            assert_true(t.integer == expected[i].integer);
        if (t.kind == JSON_INT || t.kind == JSON_REAL)
            assert_true(t.real == expected[i].real);
        if (i == 11) {
            assert_true(t.escaped && t.length == 3 && json_equals(&t, "s\n"));
            assert_false(json_equals(&t, "s\\n"));
        }
    }
    assert_int_equal(json_next(&j, &t, NULL), MOCO_ESTATE);
    json_start(&j, "[x", 2, 0);
    assert_int_equal(json_next(&j, &t, NULL), MOCO_OK);
    assert_int_equal(json_next(&j, &t, NULL), MOCO_EFORMAT);
    assert_int_equal(json_next(&j, &t, NULL), MOCO_ESTATE); /* not a second guess */
}

static void skipping(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[[1,{\"b\":[]}],2],\"c\":{\"d\":{}},\"e\":5,\"f\":true}";
    struct json j;
    struct json_token t;
    int keys = 0;
    json_start(&j, text, sizeof text - 1, 0);
    assert_int_equal(json_expect(&j, JSON_OBJECT, "it", &t, NULL), MOCO_OK);
    for (;;) {
        assert_int_equal(json_next(&j, &t, NULL), MOCO_OK);
        if (t.kind == JSON_OBJECT_END)
            break;
        assert_int_equal(t.kind, JSON_KEY);
        keys++;
        assert_int_equal(json_next(&j, &t, NULL), MOCO_OK);
        assert_int_equal(json_skip(&j, &t, NULL), MOCO_OK);
    }
    assert_int_equal(keys, 4);
    struct err err = {0};
    json_start(&j, " 5", 2, 0);
    assert_int_equal(json_expect(&j, JSON_OBJECT, "the header", &t, &err), MOCO_EFORMAT);
    assert_string_equal(err.text, "JSON at byte 1: the header must be an object but is an integer");
    json_start(&j, "[[1,", 4, 0);
    assert_int_equal(json_next(&j, &t, NULL), MOCO_OK);
    assert_int_equal(json_skip(&j, &t, NULL), MOCO_EFORMAT);
}

static void decoding(void **state)
{
    (void)state;
    static const char text[] = "\"A\\u0041\\u00e9\\u20ac\\ud834\\udd1e\\u0000\\\"\\\\\\/\\b\\f\\n\\r\\tz\xc3\xa9\"";
    static const char expected[] = "AA\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e\0\"\\/\b\f\n\r\tz\xc3\xa9";
    char copy[sizeof text], apart[sizeof text];
    struct json j;
    struct json_token t;
    memcpy(copy, text, sizeof text);
    json_start(&j, copy, sizeof text - 1, 0);
    assert_int_equal(json_next(&j, &t, NULL), MOCO_OK);
    assert_int_equal(json_decode(&t, apart), sizeof expected - 1);
    assert_memory_equal(apart, expected, sizeof expected - 1);
    assert_int_equal(json_decode(&t, copy + 1), sizeof expected - 1); /* over itself */
    assert_memory_equal(copy + 1, expected, sizeof expected - 1);
}

static void utf8(void **state)
{
    (void)state;
    for (unsigned c = 0x80; c <= 0x10ffff;
         c += c < 0x1100 ? 1 : 97) { /* every length, against an encoder of four lines */
        int surrogate = c >= 0xd800 && c <= 0xdfff;
        char text[4];
        size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
        text[0] = (char)(lead[length] | c >> 6 * (length - 1));
        for (size_t i = 1; i < length; i++)
            text[i] = (char)(0x80 | (c >> 6 * (length - 1 - i) & 0x3f));
        assert_int_equal(utf8_length(text, length), surrogate ? 0 : length);
        assert_int_equal(utf8_length(text, length - 1), 0);
    }
    assert_int_equal(utf8_length("a", 1), 1);
    assert_int_equal(utf8_length("", 0), 0);
}

/* ---- the writer ---- */

static struct failing_alloc memory;
static struct ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    struct ctx_options options = {.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1};
    return ctx_create(&ctx, &options, NULL) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ctx_unref(ctx);
    return memory.live == 0 ? 0 : -1;
}

static void write_some(struct json_writer *w)
{
    json_put_object(w);
    json_put_key(w, "k\"ey");
    json_put_array(w);
    json_put_int(w, INT64_MIN);
    json_put_double(w, 0.1);
    json_put_double(w, (double)NAN);
    json_put_double(w, -(double)INFINITY);
    json_put_bool(w, 1);
    json_put_bool(w, 0);
    json_put_null(w);
    json_put_array(w);
    json_put_array_end(w);
    json_put_object(w);
    json_put_object_end(w);
    json_put_array_end(w);
    json_put_key(w, "s");
    json_put_string(w, "a\\b\x01\t\n\x1f\x7f/\xe2\x82\xac");
    json_put_object_end(w);
    json_put_raw(w, "\n", 1);
}

static void writing(void **state)
{
    (void)state;
    struct json_writer w;
    struct err err = {0};
    json_writer_start(&w, ctx, &err);
    write_some(&w);
    assert_int_equal(w.status, MOCO_OK);
    assert_string_equal(w.text, "{\"k\\\"ey\":[-9223372036854775808,0.1,null,null,true,false,null,[],{}],"
                                "\"s\":\"a\\\\b\\u0001\\u0009\\n\\u001f\x7f/\xe2\x82\xac\"}\n");
    assert_int_equal(w.used, strlen(w.text));
    assert_int_equal(read_all(w.text, w.used, &err), MOCO_OK);
    json_writer_free(&w);
    json_writer_free(&w);
}

static void writing_bad_text(void **state)
{
    (void)state;
    struct json_writer w;
    struct err err = {0};
    json_writer_start(&w, ctx, &err);
    json_put_array(&w);
    json_put_string(&w, "ab\xff");
    assert_int_equal(w.status, MOCO_EINVAL);
    assert_string_equal(err.text, "a text is not UTF-8 at its byte 2 (0xff)");
    size_t used = w.used;
    json_put_int(&w, 5);
    assert_int_equal(w.used, used); /* nothing happens after a failure */
    json_writer_free(&w);
}

static void writing_without_memory(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            struct json_writer w;
            struct err err = {0};
            long long live = memory.live;
            memory = (struct failing_alloc){.live = live, .fail_at = n, .forever = forever};
            json_writer_start(&w, ctx, &err);
            write_some(&w);
            moco_status status = w.status;
            json_writer_free(&w);
            assert_int_equal(memory.live, live);
            if (status == MOCO_OK) {
                assert_true(n > 1);
                break;
            }
            assert_int_equal(status, MOCO_ENOMEM);
            assert_int_equal(err.status, MOCO_ENOMEM);
        }
    memory.fail_at = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(refused),
        cmocka_unit_test(truncated),
        cmocka_unit_test(depth),
        cmocka_unit_test(tokens),
        cmocka_unit_test(skipping),
        cmocka_unit_test(decoding),
        cmocka_unit_test(utf8),
        cmocka_unit_test_setup_teardown(writing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writing_bad_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writing_without_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
