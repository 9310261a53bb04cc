/* SPDX-License-Identifier: MIT
 *
 * human: sizes, durations and the clock, in lines for people. A returned text is valid until the eighth later call. */
#ifndef MOCO_EXAMPLES_HUMAN_H
#define MOCO_EXAMPLES_HUMAN_H

#include <stddef.h>
#include <stdint.h>

const char *human_bytes(int64_t bytes);    /* "1.2 GB" (powers of 1024) */
const char *human_seconds(double seconds); /* "12 ms", "8.4 s", "3 min 20 s", "2 h 05 min", "3 d 4 h" */
const char *human_count(int64_t count);    /* "1,281,167" */

/* Writes `text`, for example the name of a file, as one line that moves no cursor, like the library's own sentences:
 * \n, \t, \r and \xNN for control characters and for bytes that are not UTF-8. `size`: 1 at least. */
void human_line(const char *text, char *out, size_t size);

double seconds_now(void); /* monotonic */

#endif
