/* SPDX-License-Identifier: MIT
 *
 * image: a decoded picture that somebody else owns. */
#ifndef MOCO_DATA_IMAGE_H
#define MOCO_DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* RGB, 8 bits, interleaved; rows `stride` bytes apart. Borrowed from whoever made it. */
struct image {
    const uint8_t *pixels;
    int w, h;
    size_t stride;
};

#endif
