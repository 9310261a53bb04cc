/* SPDX-License-Identifier: MIT
 *
 * thumbnail: a small picture as text: JPEG in base64, ready for a data: address. */
#ifndef MOCO_EXAMPLES_THUMBNAIL_H
#define MOCO_EXAMPLES_THUMBNAIL_H

#include <stdint.h>

#include "err.h"

#define THUMBNAIL_SIDE 96 /* pixels at most; a smaller picture stays as it is */

/* `pixels`: RGB [side,side,3]. Malloc'ed. */
moco_status thumbnail_make(const uint8_t *pixels, int side, char **base64, struct err *err);

int thumbnail_valid(const char *base64); /* 1: nothing but base64 is in it */

#endif
