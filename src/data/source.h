/* SPDX-License-Identifier: MIT
 *
 * source: the bytes of one picture, read through a window, so that a file costs the memory of the window and not of
 * its whole length. A failed read is remembered here, because the codecs can only say "no more data". */
#ifndef MOCO_DATA_SOURCE_H
#define MOCO_DATA_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct source {
    int fd;          /* -1: everything is in `window` from the start */
    int64_t at, end; /* the file's bytes not yet read: [at, end) */
    uint8_t *window;
    size_t window_size;
    moco_status status; /* MOCO_OK, or why a read failed */
    struct err error;
};

/* Reads on; *bytes is the window's new content, 0 bytes at the end or after a failure. The window is full unless the
 * end comes first, also where the system reads less at a time: libjpeg looks ahead by how much it was given, and a
 * picture's verdict is to depend on the picture alone. */
size_t source_next(struct source *source, const uint8_t **bytes);

#endif
