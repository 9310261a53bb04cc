/* SPDX-License-Identifier: MIT
 *
 * decode_blocks: memory for the coefficients of a JPEG of several scans. libjpeg needs all of them, two bytes a
 * sample, until it has read the last scan, and then turns them into rows from the top. They are therefore stored in
 * the memory of the picture, as far as it suffices, and the picture is written over those that have been used. What
 * a reader would get wrong: the coefficients start `lead` bytes below the picture, so that writing stays behind
 * reading. When libjpeg smooths the blocks of a file that ends early, it looks two rows of blocks back. Each access
 * is checked against what has been written. */
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
