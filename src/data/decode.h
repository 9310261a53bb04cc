/* SPDX-License-Identifier: MIT
 *
 * decode: decodes JPEG, PNG and WebP files to RGB, as PIL's Image.open(...).convert("RGB") gives them. The content
 * decides which kind a file is, never the name. Files are untrusted: sizes are refused before memory is taken for
 * them, and scans are counted. A picture is bad if coefficients or pixels are missing, damaged or invented, as far
 * as its file shows that, because a picture that is grey from the middle on is worse than none. Anything else that
 * is odd or wrong about a file is ignored.
 *
 * Memory for a picture of n pixels is never more than 8 n bytes and 4 MiB; otherwise the picture is refused. RGB
 * takes 3 n, less if only a part is needed. Files of several scans (progressive JPEG) need all coefficients at once,
 * two bytes a sample: 3 n with the usual 4:2:0, 6 n in full colour, 8 n for CMYK; the picture is written over them.
 * WebP's codec needs the bytes of the file in one piece, which are added; see decode_webp.c.
 *
 * Statuses: MOCO_EFORMAT is about this image; MOCO_EIO, MOCO_ENOMEM and MOCO_ECANCELED are not. */
#ifndef MOCO_DATA_DECODE_H
#define MOCO_DATA_DECODE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "ctx.h"
#include "image.h"

#define DECODE_MAX_PIXELS (INT64_C(64) << 20)

/* One per thread: limits, and memory that is reused from image to image. */
struct decoder {
    struct ctx *ctx;
    int64_t max_pixels;        /* of one image; scans x pixels is held to ten times as much */
    const _Atomic int *cancel; /* polled; non-zero: MOCO_ECANCELED. NULL: never */
    /* Asked, once the size of a picture is known, which part of it is wanted; NULL: all of it. The part's pixels are
     * what decoding everything gives. A codec may decode more, and then may not ask. Damage below the part is not seen.
     */
    moco_status (*wish)(void *user, int w, int h, struct image_box *box, struct err *err);
    void *wish_user;
    int unopened;    /* the last MOCO_EFORMAT of a file says that it could not be opened, not what is in it */
    uint8_t *window; /* on the file */
    uint8_t *pixels; /* of the last image */
};
void decoder_init(struct decoder *decoder, struct ctx *ctx, int64_t max_pixels, const _Atomic int *cancel);
void decoder_free(struct decoder *decoder);

/* `image` is borrowed from the decoder until its next call. */
moco_status decode_memory(struct decoder *decoder, const void *bytes, size_t size, struct image *image,
                          struct err *err);

/* A file that cannot be opened for a reason of its own (gone, not readable, not a regular file) is MOCO_EFORMAT. The
 * error sentence does not name the path: the caller does. */
moco_status decode_file(struct decoder *decoder, const char *path, struct image *image, struct err *err);

/* The same of `size` bytes at `offset` of a file. */
moco_status decode_part(struct decoder *decoder, const char *path, int64_t offset, int64_t size, struct image *image,
                        struct err *err);

#endif
