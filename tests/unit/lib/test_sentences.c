/* SPDX-License-Identifier: MIT
 *
 * test_sentences: error sentences and log lines are one line of printable UTF-8 each, whatever the names in them hold,
 * and text that is printable stays as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ctx.h"
#include "err.h"
#include "moco/moco.h"
#include "support/scratch_folder.h"
#include "utf8.h"

static const struct {
    const char *raw, *printable;
} cases[] = {
    {"", ""},
    {"plain text, \"quoted\" and \\ and 100 %", "plain text, \"quoted\" and \\ and 100 %"},
    {"na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80", "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80"},
    {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
    {"\x1b[2J\x7f\x01", "\\x1b[2J\\x7f\\x01"},
    {"half \xe2\x82", "half \\xe2\\x82"},
    {"\xff\xfe latin \xe9t\xe9", "\\xff\\xfe latin \\xe9t\\xe9"},
    {"overlong \xc0\xaf surrogate \xed\xa0\x80", "overlong \\xc0\\xaf surrogate \\xed\\xa0\\x80"},
    {"\xc2\x9b"
     "31m and \xc2\xa0",
     "\\xc2\\x9b31m and \xc2\xa0"}, /* CSI in one character; a blank is none */
    {"line\xe2\x80\xa8"
     "ends",
     "line\\xe2\\x80\\xa8"
     "ends"},
};
#define CASES (sizeof cases / sizeof cases[0])

static void expect_printable(const char *text)
{
    size_t size = strlen(text);
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_length(text + at, size - at);
        if (length == 0 || (unsigned char)text[at] < 0x20 || text[at] == 0x7f)
            fail_msg("byte %zu of \"%s\"", at, text);
    }
}

static void made_printable(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        char once[256], twice[256];
        utf8_printable(once, sizeof once, cases[i].raw);
        assert_string_equal(once, cases[i].printable);
        utf8_printable(twice, sizeof twice, once);
        assert_string_equal(twice, once);
    }
}

/* Whatever the room, what is kept is whole characters from the start, and as many as fit. */
static void cut_between_characters(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++)
        for (size_t room = 1; room < 64; room++) {
            char text[80];
            memset(text, 'x', sizeof text);
            utf8_printable(text, room, cases[i].raw);
            assert_true(strlen(text) < room && text[room] == 'x');
            assert_memory_equal(text, cases[i].printable, strlen(text));
            expect_printable(text);
            assert_true(strlen(cases[i].printable) < room || strlen(text) + 12 >= room);
        }
}

static void sentences(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        struct err err = {0};
        char wanted[256];
        assert_int_equal(err_set(&err, MOCO_EIO, "%s: failed", cases[i].raw), MOCO_EIO);
        snprintf(wanted, sizeof wanted, "%s: failed", cases[i].printable);
        assert_string_equal(err.text, wanted);
        err_prefix(&err, cases[i].raw);
        snprintf(wanted, sizeof wanted, "%s: %s: failed", cases[i].printable, cases[i].printable);
        assert_string_equal(err.text, wanted);
        assert_int_equal(err.status, MOCO_EIO);
    }
    /* longer than there is room for, each byte at the end once */
    for (size_t lead = 0; lead < 8; lead++) {
        char name[3000];
        struct err err = {0};
        memset(name, 'a', lead);
        for (size_t at = lead; at + 4 < sizeof name; at += 3)
            memcpy(name + at, "\xe2\x82\xac", 4);
        err_set(&err, MOCO_EIO, "%s", name);
        expect_printable(err.text);
        assert_true(strlen(err.text) >= sizeof err.text - 3);
        err_prefix(&err, name);
        expect_printable(err.text);
        assert_true(strlen(err.text) >= sizeof err.text - 3);
    }
}

static char last_line[2048];

static void keep_line(void *user, int level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(last_line, sizeof last_line, "%s", line);
}

static void log_lines(void **state)
{
    (void)state;
    struct ctx *ctx = NULL;
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.log = keep_line, .threads = 1}, NULL), MOCO_OK);
    for (size_t i = 0; i < CASES; i++) {
        ctx_log(ctx, LOG_WARN, "%s", cases[i].raw);
        assert_string_equal(last_line, cases[i].printable);
    }
    ctx_unref(ctx);
}

/* The same through the door: a model that is not there, a class folder without a picture. */
static void from_outside(void **state)
{
    (void)state;
    struct scratch_folder folder;
    moco_context *context;
    moco_context_options options;
    moco_image *image;
    moco_dataset *dataset;
    moco_context_options_init(&options);
    options.log = keep_line;
    options.threads = 1;
    scratch_folder_make(&folder);
    assert_int_equal(moco_context_create(&context, &options), MOCO_OK);
    assert_int_equal(moco_image_read(&image, context, "no\x1b[31m\nsuch\xff.jpg", 0), MOCO_EIO);
    expect_printable(moco_error());
    assert_non_null(strstr(moco_error(), "no\\x1b[31m\\nsuch\\xff.jpg"));
    scratch_write(&folder, "cat\x1b\n/1.txt", "x", 1);
    assert_int_equal(moco_dataset_open_folder(&dataset, context, folder.path), MOCO_EINVAL);
    assert_non_null(strstr(last_line, "cat\\x1b\\n"));
    expect_printable(last_line);
    expect_printable(moco_error());
    moco_context_free(context);
    scratch_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_printable), cmocka_unit_test(cut_between_characters), cmocka_unit_test(sentences),
        cmocka_unit_test(log_lines),      cmocka_unit_test(from_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
