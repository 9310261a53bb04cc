/* SPDX-License-Identifier: MIT
 *
 * thumbnail: a small picture as text: JPEG in base64, ready for a data: address; or many of them on one sheet, which
 * takes a fraction of the room that they would take alone. */
#ifndef MOCO_EXAMPLES_THUMBNAIL_H
#define MOCO_EXAMPLES_THUMBNAIL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define THUMBNAIL_SIDE 96 /* pixels at most; a smaller picture stays as it is */

/* `pixels`: RGB [side,side,3]. Malloc'ed. */
moco_status thumbnail_make(const uint8_t *pixels, int side, char **base64, struct err *err);

/* `from`: RGB [side,side,3], to [small,small,3] at `to`, whose rows are `pitch` bytes apart. Every pixel is the mean of
 * those that it stands for. small <= side. */
void thumbnail_shrink(const uint8_t *from, int side, uint8_t *to, int small, size_t pitch);

/* `pixels`: RGB [height,width,3], compressed more than a thumbnail is. Malloc'ed. */
moco_status thumbnail_sheet(const uint8_t *pixels, int width, int height, char **base64, struct err *err);

int thumbnail_valid(const char *base64); /* 1: nothing but base64 is in it */

#endif
