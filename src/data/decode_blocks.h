/* SPDX-License-Identifier: MIT
 *
 * decode_blocks: where the coefficients of a JPEG of several scans live. libjpeg wants all of them until the last scan
 * has been read, two bytes a sample, and then turns them into rows from the top: so they lie in the room of the
 * picture, as far as it goes, and the picture is written over what has been used up. What a reader would get wrong:
 * `lead`, by which they start below the picture, makes the writing fall behind the reading; libjpeg, smoothing the
 * blocks of a file that ends early, looks two rows of blocks back. Each access is checked against what has been
 * written. */
#ifndef MOCO_DATA_DECODE_BLOCKS_H
#define MOCO_DATA_DECODE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

#include "ctx.h"

/* Set `picture` to `rows` before jpeg_start_decompress. */
struct blocks {
    struct ctx *ctx;
    uint8_t *picture; /* its rows come from the top, `stride` bytes each, no other way */
    size_t stride;
    JDIMENSION first, rows; /* of the whole that libjpeg counts */
    void (*realize)(j_common_ptr codec);
    struct jvirt_barray_control *arrays; /* one a component */
    size_t lead, band_bytes;             /* a band: the blocks of all components in one row of MCUs */
    JDIMENSION bands, inside;            /* of them in the picture: the first ones */
    uint8_t *spare;                      /* the others */
};

/* Stands in for the virtual arrays of `codec`, just created; takes its client_data. */
void blocks_install(struct blocks *b, struct ctx *ctx, j_decompress_ptr codec);
void blocks_free(struct blocks *b); /* after jpeg_destroy_decompress */

/* The most that blocks, picture and libjpeg's own rows take together. After jpeg_read_header. */
int64_t blocks_need(j_decompress_ptr codec);

#endif
