/* SPDX-License-Identifier: MIT
 *
 * note_text: converts any bytes, for example a path, to text that the note of a checkpoint and a JSON string accept
 * unchanged: printable ASCII without quotes and backslashes. Other bytes, and '%', become % and two hexadecimal
 * digits. */
#ifndef MOCO_EXAMPLES_NOTE_TEXT_H
#define MOCO_EXAMPLES_NOTE_TEXT_H

#include <stddef.h>

/* 0: it does not fit `size` bytes with its 0; `text` is then "". */
int note_text_encode(const char *bytes, char *text, size_t size);
/* The way back. 0: no such text, or it does not fit. */
int note_text_decode(const char *text, char *bytes, size_t size);

#endif
