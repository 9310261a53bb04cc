/* SPDX-License-Identifier: MIT
 *
 * utf8: finds the ends of characters, and makes text fit for a terminal or a log. What a reader would get wrong:
 * file names are bytes, not text. They may hold a line end, an escape sequence or half a character. */
#ifndef MOCO_LIB_UTF8_H
#define MOCO_LIB_UTF8_H

#include <stddef.h>

/* Bytes of the UTF-8 character that `text` starts with, 0 if it is none (overlong, surrogate, beyond U+10FFFF, cut). */
size_t utf8_length(const char *text, size_t size);

/* Copies `text` into `out` (`room` bytes, 1 at least, its 0 among them) so that it prints as one line: control
 * characters become \n, \t, \r or \x1b, and so do the bytes of what is no UTF-8. What does not fit is cut off between
 * two characters. Text that is printable stays as it is, so that doing it twice changes nothing. */
void utf8_printable(char *out, size_t room, const char *text);

int utf8_ends_in(const char *text, const char *ending);

#endif
