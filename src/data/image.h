/* SPDX-License-Identifier: MIT
 *
 * image: a decoded picture in memory that belongs to somebody else. */
#ifndef MOCO_DATA_IMAGE_H
#define MOCO_DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* RGB, 8 bits, interleaved; rows are `stride` bytes apart. Borrowed. `pixels` points at pixel (x0, y0) of the
 * picture of w x h: 0, 0 unless only a part of it was decoded. */
struct image {
    const uint8_t *pixels;
    int w, h;
    size_t stride;
    int x0, y0;
};

struct image_box {
    int x, y, w, h;
};

#endif
