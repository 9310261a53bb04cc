/* SPDX-License-Identifier: MIT
 *
 * num: numbers as text and back, the same in every locale and rounding mode. The decimal point is always '.', digits
 * are not grouped, and the nearest number is meant. What a reader would get wrong: printf and strtod do follow the
 * locale and the rounding mode of the host program, so that files must not be written or read with them. */
#ifndef MOCO_LIB_NUM_H
#define MOCO_LIB_NUM_H

#include <stddef.h>
#include <stdint.h>

#define NUM_TEXT 32 /* room for any number and its 0 */

/* The shortest text that reads back as the same bits: 0.2, 65536, 1e-20, -0. "nan", "inf" and "-inf" for the others.
 * Returns its length. */
size_t num_format_double(char text[NUM_TEXT], double value);
size_t num_format_int(char text[NUM_TEXT], int64_t value);

/* The whole of `text` must be one number as JSON writes it: no '+', no leading zeros, no blanks, digits on both sides
 * of a point. 1 and the value, or 0: not one, or out of range (a double: infinite, or longer than 400 bytes). */
int num_parse_int(const char *text, size_t length, int64_t *value);
int num_parse_double(const char *text, size_t length, double *value);

/* 1: both texts are the same double. A text of 17 digits also matches the two neighbouring doubles, because printf
 * under another rounding mode, which this library once used, can be one off. */
int num_same_double(const char *a, const char *b);

/* The first of `count` numbers that is not finite; -1: all are. At the speed of memory: nearly always all are. */
int64_t num_not_finite_f32(const float *values, size_t count);
int64_t num_not_finite_f64(const double *values, size_t count);

#endif
