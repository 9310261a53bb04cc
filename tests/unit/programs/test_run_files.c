/* SPDX-License-Identifier: MIT
 *
 * test_run_files: what the programs' run folders stand on: a log whose lines are whole or owed, and a sketch that tells
 * a part of a data set from another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "images/data_sketch.h"
#include "support/log_file.h"
#include "support/scratch_folder.h"

static void expect_bytes(const char *path, const char *wanted)
{
    char bytes[64];
    FILE *f = fopen(path, "r");
    size_t size = f != NULL ? fread(bytes, 1, sizeof bytes, f) : 0;
    assert_non_null(f);
    fclose(f);
    if (size != strlen(wanted) || memcmp(bytes, wanted, size) != 0)
        fail_msg("%s holds %.*s, not %s", path, (int)size, bytes, wanted);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* A limit cuts a line in its middle, as a full disk does. */
static void a_line_is_whole_or_owed(void **state)
{
    (void)state;
    const char *path = scratch_path(&scratch_group, "log");
    struct log_file log;
    struct err err = {0};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(log_file_open(&log, path, &err), MOCO_OK);
    assert_int_equal(log_file_put(&log, "one\n", &err), MOCO_OK);
    limit_files(6);
    moco_status put = log_file_put(&log, "two and more\n", &err), again = log_file_put(&log, "three\n", NULL),
                sync = log_file_sync(&log, NULL);
    limit_files(RLIM_INFINITY);
    assert_int_equal(put, MOCO_EIO);
    assert_non_null(strstr(err.text, "cannot be written"));
    assert_int_equal(again, MOCO_EIO);
    assert_int_equal(sync, MOCO_EIO); /* nothing may be saved that the log does not know of */
    expect_bytes(path, "one\n");
    assert_int_equal(log_file_sync(&log, NULL), MOCO_OK);
    expect_bytes(path, "one\ntwo and more\nthree\n");
    assert_int_equal(log_file_put(&log, "four\n", NULL), MOCO_OK);
    log_file_close(&log);
    expect_bytes(path, "one\ntwo and more\nthree\nfour\n");
}

static int until_c(void *user, const char *line)
{
    ++*(int *)user;
    return line[0] != 'c';
}

static void cutting_ends_before_a_line_or_a_torn_one(void **state)
{
    (void)state;
    const char *path = scratch_path(&scratch_group, "cut");
    static const struct {
        const char *before, *after;
        int lines;
    } cases[] = {{"a\nb\nc\nd\n", "a\nb\n", 3}, {"a\nb\nd", "a\nb\n", 2}, {"", "", 0}, {"torn", "", 0}, {"c\n", "", 1},
                 {"a\n\nb\n", "a\n\nb\n", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log_file log;
        int lines = 0;
        FILE *f = fopen(path, "w");
        fputs(cases[i].before, f);
        fclose(f);
        assert_int_equal(log_file_open(&log, path, NULL), MOCO_OK);
        assert_int_equal(log_file_cut(&log, until_c, &lines, NULL), MOCO_OK);
        assert_int_equal(log.end, strlen(cases[i].after));
        assert_int_equal(lines, cases[i].lines);
        log_file_close(&log);
        expect_bytes(path, cases[i].after);
    }
}

static int count_long(void *user, const char *line)
{
    *(int64_t *)user += (int64_t)strlen(line);
    return 1;
}

/* Lines of every length around the pieces that are read. */
static void lines_of_any_length_are_whole(void **state)
{
    (void)state;
    const char *path = scratch_path(&scratch_group, "long");
    struct log_file log;
    int64_t total = 0, wanted = 0;
    FILE *f = fopen(path, "w");
    for (int n = 0; n < 300000; n = n * 3 + 1, wanted += n)
        fprintf(f, "%0*d\n", n > 0 ? n : 1, 0);
    fclose(f);
    assert_int_equal(log_file_open(&log, path, NULL), MOCO_OK);
    int64_t end = log.end;
    assert_int_equal(log_file_cut(&log, count_long, &total, NULL), MOCO_OK);
    assert_int_equal(log.end, end);
    log_file_close(&log);
    int64_t lines = 0;
    for (int n = 0; n < 300000; n = n * 3 + 1)
        lines++;
    assert_int_equal(total, end - lines);
}

/* ---- the sketch ---- */

/* Of names FIRST, FIRST + 1, ... but for those that `left_out` divides (0: none). */
static struct data_sketch sketch_of(const char *prefix, int first, int count, int left_out)
{
    struct data_sketch s = {0};
    char name[64];
    for (int i = first; i < first + count; i++) {
        snprintf(name, sizeof name, "class/%s%06d.png", prefix, i);
        if (left_out == 0 || i % left_out != 0)
            data_sketch_add(&s, name);
    }
    return s;
}

static void a_sketch_tells_a_part_from_another_set(void **state)
{
    (void)state;
    static const int sizes[] = {1, 5, 31, 32, 33, 1000, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int n = sizes[i];
        struct data_sketch whole = sketch_of("a", 1, n, 0), less = sketch_of("a", 1, n, 7),
                           other = sketch_of("b", 1, n > 1 ? n - 1 : 1, 0), more = sketch_of("a", 1, 2 * n, 3), read;
        char text[SKETCH_TEXT];
        assert_true(data_sketch_is_part(&whole, &whole));
        assert_true(data_sketch_is_part(&less, &whole));
        assert_false(data_sketch_is_part(&other, &whole));
        assert_true(n < 5 || !data_sketch_is_part(&more, &whole));
        struct data_sketch few = sketch_of("b", 1, 3, 0); /* too few to be among the least */
        assert_false(data_sketch_is_part(&few, &whole));
        data_sketch_text(&whole, text);
        assert_true(data_sketch_parse(&read, text));
        assert_int_equal(read.count, whole.count);
        assert_memory_equal(read.least, whole.least, sizeof read.least[0] * (size_t)read.count);
    }
}

static void what_is_no_sketch_is_none(void **state)
{
    (void)state;
    struct data_sketch s;
    char long_text[SKETCH_TEXT + 16];
    memset(long_text, '0', sizeof long_text);
    long_text[sizeof long_text - 1] = 0;
    static const char *const bad[] = {
        "", "0", "000000000000000g", "00000000000000001", "fffffffffffffffe0000000000000000", "-000000000000001"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(data_sketch_parse(&s, bad[i]));
    assert_false(data_sketch_parse(&s, long_text));
    assert_true(data_sketch_parse(&s, "0000000000000001ffffffffffffffff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_whole_or_owed),       cmocka_unit_test(cutting_ends_before_a_line_or_a_torn_one),
        cmocka_unit_test(lines_of_any_length_are_whole), cmocka_unit_test(a_sketch_tells_a_part_from_another_set),
        cmocka_unit_test(what_is_no_sketch_is_none),
    };
    return cmocka_run_group_tests(tests, scratch_group_make, scratch_group_remove);
}
