/* SPDX-License-Identifier: MIT
 *
 * num: see num.h. The C library converts (exactly, in glibc and musl). Its decimal point, which may be several
 * bytes, is found by printing one half, and replaced. The C library rounds in the mode of the calling thread, so
 * that each conversion sets rounding to nearest. */
#include "num.h"

#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 400 /* bytes of a double's text */
#define POINT_MAX 16

/* Switches this thread to rounding to nearest; returns what to switch back to, or -1: nothing. */
static int nearest_begin(void)
{
    int mode = fegetround();
    return mode != FE_TONEAREST && fesetround(FE_TONEAREST) == 0 ? mode : -1;
}

static void nearest_end(int mode)
{
    if (mode >= 0)
        fesetround(mode);
}

/* What this thread's locale prints between 0 and 5. */
static size_t locale_point(char point[POINT_MAX])
{
    char half[POINT_MAX + 2];
    int length = snprintf(half, sizeof half, "%.1f", 0.5);
    if (length < 3 || (size_t)length >= sizeof half) {
        point[0] = '.';
        return 1;
    }
    memcpy(point, half + 1, (size_t)length - 2);
    return (size_t)length - 2;
}

/* Digits and decimal exponent of |value| with `precision` digits: value = 0.d1d2d3... * 10^exponent. */
static int digits_of(double value, int precision, char digits[20])
{
    char text[64];
    snprintf(text, sizeof text, "%.*e", precision - 1, value);
    int count = 0;
    const char *at = text;
    for (; *at != 0 && *at != 'e'; at++)
        if (*at >= '0' && *at <= '9' && count < 19)
            digits[count++] = *at;
    digits[count] = 0;
    return *at == 'e' ? (int)strtol(at + 1, NULL, 10) + 1 : 1;
}

static double value_of(const char *digits, int exponent)
{
    char text[64];
    snprintf(text, sizeof text, "%se%d", digits, exponent - (int)strlen(digits)); /* no point: any locale reads it */
    return strtod(text, NULL);
}

size_t num_format_double(char text[NUM_TEXT], double value)
{
    if (isnan(value) || isinf(value))
        return (size_t)snprintf(text, NUM_TEXT, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    const char *sign = signbit(value) ? "-" : "";
    value = fabs(value);
    if (value == 0)
        return (size_t)snprintf(text, NUM_TEXT, "%s0", sign);
    char digits[20];
    int exponent = 0, mode = nearest_begin();
    for (int precision = 1; precision <= 17; precision++) {
        exponent = digits_of(value, precision, digits);
        if (value_of(digits, exponent) == value)
            break;
    }
    nearest_end(mode);
    int count = (int)strlen(digits);
    if (exponent > 17 || exponent < -4)
        return (size_t)snprintf(text, NUM_TEXT, "%s%c%s%se%d", sign, digits[0], count > 1 ? "." : "", digits + 1,
                                exponent - 1);
    if (exponent <= 0)
        return (size_t)snprintf(text, NUM_TEXT, "%s0.%.*s%s", sign, -exponent, "0000", digits);
    if (exponent >= count)
        return (size_t)snprintf(text, NUM_TEXT, "%s%s%.*s", sign, digits, exponent - count, "0000000000000000");
    return (size_t)snprintf(text, NUM_TEXT, "%s%.*s.%s", sign, exponent, digits, digits + exponent);
}

size_t num_format_int(char text[NUM_TEXT], int64_t value)
{
    return (size_t)snprintf(text, NUM_TEXT, "%lld", (long long)value);
}

static size_t digits_from(const char *text, size_t length, size_t at)
{
    size_t from = at;
    while (at < length && text[at] >= '0' && text[at] <= '9')
        at++;
    return at - from;
}

/* The length of the integer part, sign included, that `text` starts with; 0: none. */
static size_t integer_part(const char *text, size_t length)
{
    size_t sign = length > 0 && text[0] == '-' ? 1 : 0, digits = digits_from(text, length, sign);
    if (digits == 0 || (digits > 1 && text[sign] == '0'))
        return 0;
    return sign + digits;
}

int num_parse_int(const char *text, size_t length, int64_t *value)
{
    if (length == 0 || integer_part(text, length) != length)
        return 0;
    int negative = text[0] == '-';
    int64_t sum = 0;
    for (size_t i = (size_t)negative; i < length; i++) {
        int64_t digit = text[i] - '0';
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, negative ? -digit : digit, &sum))
            return 0;
    }
    *value = sum;
    return 1;
}

int num_parse_double(const char *text, size_t length, double *value)
{
    size_t at = integer_part(text, length), point_at = 0;
    if (at == 0 || length > LONGEST)
        return 0;
    if (at < length && text[at] == '.') {
        point_at = at;
        size_t digits = digits_from(text, length, at + 1);
        if (digits == 0)
            return 0;
        at += 1 + digits;
    }
    if (at < length && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < length && (text[at] == '+' || text[at] == '-'))
            at++;
        size_t digits = digits_from(text, length, at);
        if (digits == 0)
            return 0;
        at += digits;
    }
    if (at != length)
        return 0;
    char copy[LONGEST + POINT_MAX + 1], point[POINT_MAX];
    size_t used = point_at > 0 ? point_at : length;
    memcpy(copy, text, used);
    if (point_at > 0) {
        size_t bytes = locale_point(point);
        memcpy(copy + used, point, bytes);
        used += bytes;
        memcpy(copy + used, text + point_at + 1, length - point_at - 1);
        used += length - point_at - 1;
    }
    copy[used] = 0;
    char *end = NULL;
    int mode = nearest_begin();
    double read = strtod(copy, &end);
    nearest_end(mode);
    if (end != copy + used || isinf(read))
        return 0;
    *value = read;
    return 1;
}

/* Significant digits of a number as num_parse_double takes it; zeros behind the last other digit count, too. */
static int significant(const char *text)
{
    int count = 0;
    for (; *text != 0 && *text != 'e' && *text != 'E'; text++)
        count += *text >= '0' && *text <= '9' && (count > 0 || *text != '0');
    return count;
}

int num_same_double(const char *a, const char *b)
{
    double x, y;
    if (!num_parse_double(a, strlen(a), &x) || !num_parse_double(b, strlen(b), &y))
        return 0;
    if (x == y)
        return 1;
    return (significant(a) >= 17 || significant(b) >= 17) && (nextafter(x, y) == y);
}

/* ---- is every number finite? ----
 *
 * Numbers are looked at in strides without branches, and one by one in a stride that holds a bad one. An exponent of ones
 * is the only one that overflows into the sign's place when 1 is added to it. */

enum { STRIDE_BYTES = 4096, VECTOR_BYTES = 32 };
typedef uint32_t words32 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t words64 __attribute__((vector_size(VECTOR_BYTES)));

static int stride_bad_f32(const float *values)
{
    words32 found = {0}, x;
    for (size_t at = 0; at < STRIDE_BYTES; at += sizeof x) {
        memcpy(&x, (const char *)values + at, sizeof x);
        found |= (x & UINT32_C(0x7fffffff)) + UINT32_C(0x00800000);
    }
    uint32_t all = 0;
    for (size_t k = 0; k < sizeof x / sizeof all; k++)
        all |= found[k];
    return all >> 31 != 0;
}

static int stride_bad_f64(const double *values)
{
    words64 found = {0}, x;
    for (size_t at = 0; at < STRIDE_BYTES; at += sizeof x) {
        memcpy(&x, (const char *)values + at, sizeof x);
        found |= (x & UINT64_C(0x7fffffffffffffff)) + UINT64_C(0x0010000000000000);
    }
    uint64_t all = 0;
    for (size_t k = 0; k < sizeof x / sizeof all; k++)
        all |= found[k];
    return all >> 63 != 0;
}

int64_t num_not_finite_f32(const float *values, size_t count)
{
    const size_t stride = STRIDE_BYTES / sizeof *values;
    size_t i = 0;
    while (count - i >= stride && !stride_bad_f32(values + i))
        i += stride;
    while (i < count && isfinite(values[i]))
        i++;
    return i < count ? (int64_t)i : -1;
}

int64_t num_not_finite_f64(const double *values, size_t count)
{
    const size_t stride = STRIDE_BYTES / sizeof *values;
    size_t i = 0;
    while (count - i >= stride && !stride_bad_f64(values + i))
        i += stride;
    while (i < count && isfinite(values[i]))
        i++;
    return i < count ? (int64_t)i : -1;
}
