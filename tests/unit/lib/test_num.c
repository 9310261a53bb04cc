/* SPDX-License-Identifier: MIT
 *
 * test_num: numbers to text and back: every bit, the shortest form, the same under a locale with a comma and in every
 * rounding mode, and what is no number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"
#include "philox.h"
#include "support/scratch_folder.h"

static void check_format(double value, const char *expected)
{
    char text[NUM_TEXT];
    size_t length = num_format_double(text, value);
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
}

static void known_texts(void **state)
{
    (void)state;
    check_format(0.0, "0");
    check_format(-0.0, "-0");
    check_format(0.2, "0.2");
    check_format(0.1 + 0.2, "0.30000000000000004");
    check_format(1.0 / 3, "0.3333333333333333");
    check_format(-65536, "-65536");
    check_format(123456.75, "123456.75");
    check_format(1e-4, "0.0001");
    check_format(0.00001, "0.00001");
    check_format(0.000001, "1e-6");
    check_format(1.5e-7, "1.5e-7");
    check_format(1e16, "10000000000000000");
    check_format(1e17, "1e17");
    check_format(9007199254740993e1, "90071992547409940");
    check_format(DBL_MAX, "1.7976931348623157e308");
    check_format(DBL_MIN, "2.2250738585072014e-308");
    check_format(DBL_TRUE_MIN, "5e-324");
    check_format(-5e-324, "-5e-324");
    check_format((double)NAN, "nan");
    check_format((double)INFINITY, "inf");
    check_format(-(double)INFINITY, "-inf");
}

/* The first bad number is found, wherever it lies, and the largest numbers are none. */
static void not_finite(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static const float bad32[] = {NAN, -NAN, INFINITY, -INFINITY};
    static float f32[COUNT];
    static double f64[COUNT];
    for (int i = 0; i < COUNT; i++) {
        f32[i] = i % 3 == 0 ? -FLT_MAX : i % 3 == 1 ? FLT_MAX : 1.4e-45f;
        f64[i] = i % 3 == 0 ? -DBL_MAX : i % 3 == 1 ? DBL_MAX : DBL_TRUE_MIN;
    }
    for (size_t count = 0; count <= COUNT; count += 100) {
        assert_int_equal(num_not_finite_f32(f32, count), -1);
        assert_int_equal(num_not_finite_f64(f64, count), -1);
    }
    for (int i = 0; i < COUNT; i++) {
        float was32 = f32[i];
        double was64 = f64[i];
        f32[i] = bad32[i % 4];
        f64[i] = (double)bad32[i % 4];
        assert_int_equal(num_not_finite_f32(f32, COUNT), i);
        assert_int_equal(num_not_finite_f64(f64, COUNT), i);
        assert_int_equal(num_not_finite_f32(f32, (size_t)i), -1);
        assert_int_equal(num_not_finite_f64(f64, (size_t)i), -1);
        f32[i] = was32;
        f64[i] = was64;
    }
}

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void check_round_trip(double value)
{
    char text[NUM_TEXT], shorter[64];
    double back = 0;
    size_t length = num_format_double(text, value);
    assert_in_range(length, 1, NUM_TEXT - 1);
    if (!num_parse_double(text, length, &back) || memcmp(&back, &value, sizeof value) != 0)
        fail_msg("%s reads back as %a, not %a", text, back, value);
    int digits = 0, leading = 1; /* as many as printf needs, no more */
    for (const char *at = text; *at != 0 && *at != 'e'; at++) {
        leading = leading && (*at < '1' || *at > '9');
        digits += !leading && *at != '.';
    }
    while (digits > 1 && text[length - 1] == '0' && strpbrk(text, ".e") == NULL) {
        digits--; /* zeros in front of the point */
        text[--length] = 0;
    }
    if (digits > 1) {
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
        assert_true(strtod(shorter, NULL) != value);
    }
}

static void round_trips(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t words[4];
        philox4x32((const uint32_t[4]){i}, (const uint32_t[2]){7}, words);
        double value = from_bits((uint64_t)words[0] << 32 | words[1]);
        if (isfinite(value))
            check_round_trip(value);
        check_round_trip((double)(int32_t)words[2] / 1024);
        check_round_trip((double)(float)words[3]);
        check_round_trip(from_bits(words[2])); /* subnormal */
    }
    for (int e = -1074; e < 1024; e++)
        check_round_trip(ldexp(1, e));
}

/* Makes a locale whose point is a comma and whose thousands are grouped, and switches to it. 0: localedef or the files
 * it needs (Debian's package locales) are not here. */
static int comma_locale(const struct scratch_folder *folder)
{
    static const char source[] = "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n";
    char command[1024];
    scratch_write(folder, "comma.src", source, sizeof source - 1);
    snprintf(command, sizeof command, "localedef -c -i %s/comma.src %s/comma >/dev/null 2>&1", folder->path,
             folder->path);
    int status = system(command); /* not 0: warnings about the categories it does not define */
    setenv("LOCPATH", folder->path, 1);
    return status != -1 && setlocale(LC_NUMERIC, "comma") != NULL;
}

static void other_locale(void **state)
{
    (void)state;
    struct scratch_folder folder;
    double value = 0;
    char text[16];
    scratch_folder_make(&folder);
    if (comma_locale(&folder)) {
        snprintf(text, sizeof text, "%.1f", 0.5);
        assert_string_equal(text, "0,5"); /* the locale is in force */
    } else {
        puts(
            "SKIPPED: localedef could make no locale with a comma (Debian: locales); the \"C\" locale alone was tried");
    }
    check_format(1.5, "1.5");
    check_format(1234567.25, "1234567.25");
    check_format(0.25e-10, "2.5e-11");
    assert_true(num_parse_double("1234.5e-1", 9, &value) && value == 123.45);
    assert_true(num_parse_double("-0.125", 6, &value) && value == -0.125);
    assert_false(num_parse_double("1,5", 3, &value));
    setlocale(LC_NUMERIC, "C");
    unsetenv("LOCPATH");
    scratch_folder_remove(&folder);
}

static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

/* What this library wrote before it minded the mode, under the mode that is in force. */
static void older_text(char text[64], double value)
{
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, 64, "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

static void rounding_modes(void **state)
{
    (void)state;
    int odd = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t words[4];
        philox4x32((const uint32_t[4]){i}, (const uint32_t[2]){9}, words);
        double value = i == 0 ? 0.2 : from_bits((uint64_t)words[0] << 32 | words[1]), back;
        char nearest[NUM_TEXT], text[NUM_TEXT], older[64];
        if (!isfinite(value))
            continue;
        size_t length = num_format_double(nearest, value);
        for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
            assert_int_equal(fesetround(modes[m]), 0);
            num_format_double(text, value);
            int read = num_parse_double(nearest, length, &back), kept = fegetround();
            older_text(older, value);
            fesetround(FE_TONEAREST);
            if (strcmp(text, nearest) != 0 || !read || memcmp(&back, &value, sizeof value) != 0 || kept != modes[m])
                fail_msg("mode %d: %s, %s reads as %a, then mode %d", modes[m], text, nearest, back, kept);
            odd += strtod(older, NULL) != value;
            if (!num_same_double(older, nearest) || !num_same_double(nearest, older))
                fail_msg("%s is not taken for %s", older, nearest);
        }
    }
    assert_true(odd > 100); /* some were one off, and so the rule for 17 digits is needed */
    static const char *const others[][2] = {{"0.2", "0.20000000000000007"},
                                            {"0.2", "0.3"},
                                            {"1", "1.0000000000000004"},
                                            {"0.2", "0.2x"},
                                            {"infonce", "ntxent"},
                                            {"", ""},
                                            {"0.2", "0.21"},
                                            {"16", "17"},
                                            {"2", "2.000000000000001"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (num_same_double(others[i][0], others[i][1]) || num_same_double(others[i][1], others[i][0]))
            fail_msg("\"%s\" is taken for \"%s\"", others[i][1], others[i][0]);
    assert_true(num_same_double("0.2", "2e-1") && num_same_double("0.2", "0.20000000000000001"));
}

static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int good;
        int64_t value;
    } cases[] = {
        {"0", 1, 0},
        {"-0", 1, 0},
        {"7", 1, 7},
        {"-12", 1, -12},
        {"9223372036854775807", 1, INT64_MAX},
        {"-9223372036854775808", 1, INT64_MIN},
        {"9223372036854775808", 0, 0},
        {"-9223372036854775809", 0, 0},
        {"18446744073709551616", 0, 0},
        {"99999999999999999999999999", 0, 0},
        {"", 0, 0},
        {"-", 0, 0},
        {"+1", 0, 0},
        {"01", 0, 0},
        {"-01", 0, 0},
        {" 1", 0, 0},
        {"1 ", 0, 0},
        {"1.0", 0, 0},
        {"1e3", 0, 0},
        {"0x10", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 77;
        int good = num_parse_int(cases[i].text, strlen(cases[i].text), &value);
        if (good != cases[i].good || value != (good ? cases[i].value : 77))
            fail_msg("\"%s\": %d, %lld", cases[i].text, good, (long long)value);
        if (good && strcmp(cases[i].text, "-0") != 0) {
            char text[NUM_TEXT];
            assert_int_equal(num_format_int(text, value), strlen(cases[i].text));
            assert_string_equal(text, cases[i].text);
        }
    }
    int64_t value = 0;
    assert_true(num_parse_int("123456", 3, &value) && value == 123); /* the length counts, not a 0 */
}

static void not_doubles(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "-",     "+1",   ".5",    "5.",  "1e",  "1e+",   "1.e5",    "00.5",
                                      "nan",   "inf",   "-inf", "0x1",   "1,5", "1 ",  " 1",    "1e999",   "-1e999",
                                      "1.5.5", "1e5.5", "--1",  "1_000", "1f",  "NaN", "1e5e5", "Infinity"};
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1", 1},      {"-0", -0.0}, {"0.5", 0.5},        {"1E5", 1e5},         {"1e+05", 1e5},
                {"1e-999", 0}, {"0e999", 0}, {"-2.50e-1", -0.25}, {"123.4560", 123.456}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double value = 77;
        if (num_parse_double(bad[i], strlen(bad[i]), &value) || value != 77)
            fail_msg("\"%s\" was taken for %g", bad[i], value);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double value = 77;
        if (!num_parse_double(good[i].text, strlen(good[i].text), &value) ||
            memcmp(&value, &good[i].value, sizeof value) != 0)
            fail_msg("\"%s\" was taken for %g", good[i].text, value);
    }
    char digits[500];
    double value = 0;
    memset(digits, '3', sizeof digits);
    digits[1] = '.';
    assert_true(num_parse_double(digits, 400, &value) && value == 3.0 + 1.0 / 3);
    assert_false(num_parse_double(digits, 401, &value));
    assert_true(num_parse_double("1.25xyz", 4, &value) && value == 1.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_finite),   cmocka_unit_test(known_texts),    cmocka_unit_test(round_trips),
        cmocka_unit_test(other_locale), cmocka_unit_test(rounding_modes), cmocka_unit_test(integers),
        cmocka_unit_test(not_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
