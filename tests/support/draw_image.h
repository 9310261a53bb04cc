/* SPDX-License-Identifier: MIT
 *
 * draw_image: pictures, and JPEG and PNG files of them, written with libjpeg and libpng: what the tests of decoding and
 * loading feed. Every call that returns bytes returns malloc'ed memory. */
#ifndef MOCO_TESTS_DRAW_IMAGE_H
#define MOCO_TESTS_DRAW_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *at;
    size_t size;
};

/* Waves and edges in every channel, from integers alone: test_pillow.py draws the same. */
void draw_pixels(uint8_t *rgb, int w, int h, int seed);

struct jpeg_kind {
    int components;   /* 1 grey, 3 colour, 4 CMYK as Adobe stores it (inverted) */
    int progressive;  /* 1: as libjpeg likes it; or one of enum jpeg_scans */
    int quality;      /* 0: 90 */
    int across, down; /* samples of luma for one of chroma; 0: 2 and 2 */
    int restarts;     /* a marker after as many blocks; 0: none */
    int arithmetic;   /* coded so instead of by Huffman: needs C_ARITH_CODING_SUPPORTED */
};
enum jpeg_scans {
    JPEG_SCAN_EACH = 2, /* one scan per coefficient */
    JPEG_SCANS_MISSING, /* progressive, without the finer coefficients: decoders smooth the blocks */
    JPEG_SCANS_PLANES   /* not progressive: one scan per component */
};
/* `pixels` has `components` bytes per pixel. */
struct bytes draw_jpeg(const uint8_t *pixels, int w, int h, struct jpeg_kind kind);

struct png_kind {
    int color_type; /* PNG_COLOR_TYPE_... */
    int depth;
    int interlaced;
    int transparent; /* 1: a tRNS chunk */
    int text;        /* 1: a compressed text chunk of this many MiB of zeros */
};
/* Rows are what libpng wants for that type and depth, `row_bytes` each; a palette has entry i = (i, 255 - i, 7 i). */
struct bytes draw_png(const uint8_t *rows, size_t row_bytes, int w, int h, struct png_kind kind);

#endif
