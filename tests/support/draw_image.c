/* SPDX-License-Identifier: MIT
 *
 * draw_image: see draw_image.h. */
#include "support/draw_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

void draw_pixels(uint8_t *rgb, int w, int h, int seed)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) {
                int wave = (x * x * (c + 1) + y * y * (3 - c) + x * y * (seed % 5 + 1)) / 64 + seed * 37 + c * 85;
                int fold = wave & 511;
                int edge = ((x / 16 + y / 16 + c) & 3) == 0 ? 60 : 0;
                int value = (fold < 256 ? fold : 511 - fold) + edge;
                rgb[((size_t)y * (size_t)w + (size_t)x) * 3 + (size_t)c] = (uint8_t)(value > 255 ? 255 : value);
            }
}

static int scan_script(jpeg_scan_info *scans, int components, enum jpeg_scans kind)
{
    int count = 0;
    for (int c = 0; c < components && kind == JPEG_SCANS_PLANES; c++)
        scans[count++] = (jpeg_scan_info){1, {c}, 0, 63, 0, 0};
    if (kind == JPEG_SCANS_PLANES)
        return count;
    scans[count++] = (jpeg_scan_info){components, {0, 1, 2, 3}, 0, 0, 0, 0};
    for (int c = 0; c < components; c++)
        for (int k = 1; k < (kind == JPEG_SCANS_MISSING ? 3 : 64); k++)
            scans[count++] = (jpeg_scan_info){1, {c}, k, k, 0, kind == JPEG_SCANS_MISSING};
    return count;
}

struct bytes draw_jpeg(const uint8_t *pixels, int w, int h, struct jpeg_kind kind)
{
    struct jpeg_compress_struct codec;
    struct jpeg_error_mgr errors;
    static jpeg_scan_info scans[4 * 64];
    unsigned char *at = NULL;
    unsigned long size = 0;
    codec.err = jpeg_std_error(&errors);
    jpeg_create_compress(&codec);
    jpeg_mem_dest(&codec, &at, &size);
    codec.image_width = (JDIMENSION)w;
    codec.image_height = (JDIMENSION)h;
    codec.input_components = kind.components;
    codec.in_color_space = kind.components == 1 ? JCS_GRAYSCALE : kind.components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&codec);
    jpeg_set_quality(&codec, kind.quality > 0 ? kind.quality : 90, TRUE);
    if (kind.components == 4)
        jpeg_set_colorspace(&codec, JCS_YCCK);
    if (kind.across > 0)
        codec.comp_info[0].h_samp_factor = kind.across;
    if (kind.down > 0)
        codec.comp_info[0].v_samp_factor = kind.down;
    if (kind.components == 4) { /* the black is as fine as the luma */
        codec.comp_info[3].h_samp_factor = codec.comp_info[0].h_samp_factor;
        codec.comp_info[3].v_samp_factor = codec.comp_info[0].v_samp_factor;
    }
    codec.arith_code = kind.arithmetic;
    codec.restart_interval = (unsigned)kind.restarts;
    if (kind.progressive == 1) {
        jpeg_simple_progression(&codec);
    } else if (kind.progressive > 1) {
        codec.scan_info = scans;
        codec.num_scans = scan_script(scans, kind.components, (enum jpeg_scans)kind.progressive);
    }
    jpeg_start_compress(&codec, TRUE);
    while (codec.next_scanline < codec.image_height) {
        JSAMPROW row =
            (JSAMPROW)(uintptr_t)(pixels + (size_t)codec.next_scanline * (size_t)w * (size_t)kind.components);
        jpeg_write_scanlines(&codec, &row, 1);
    }
    jpeg_finish_compress(&codec);
    jpeg_destroy_compress(&codec);
    return (struct bytes){at, (size_t)size};
}

static void png_put(png_structp codec, png_bytep from, size_t size)
{
    struct bytes *b = png_get_io_ptr(codec);
    uint8_t *grown = realloc(b->at, b->size + size);
    if (grown == NULL)
        png_error(codec, "no memory");
    memcpy(grown + b->size, from, size);
    b->at = grown;
    b->size += size;
}

static void png_flush_nothing(png_structp codec)
{
    (void)codec;
}

static void png_extras(png_structp codec, png_infop info, struct png_kind kind)
{
    if (kind.color_type == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[256];
        for (int i = 0; i < 256; i++)
            palette[i] = (png_color){(png_byte)i, (png_byte)(255 - i), (png_byte)(7 * i)};
        png_set_PLTE(codec, info, palette, 1 << kind.depth);
    }
    if (kind.transparent) {
        png_byte alpha[2] = {0, 128};
        png_color_16 key = {.red = 10, .green = 20, .blue = 30, .gray = 1};
        png_set_tRNS(codec, info, alpha, kind.color_type == PNG_COLOR_TYPE_PALETTE ? 2 : 0, &key);
    }
}

struct bytes draw_png(const uint8_t *rows, size_t row_bytes, int w, int h, struct png_kind kind)
{
    struct bytes out = {0};
    png_structp codec = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(codec);
    png_bytep *row = malloc((size_t)h * sizeof *row);
    size_t zeros = (size_t)kind.text << 20;
    char *text = kind.text > 0 ? malloc(zeros + 1) : NULL;
    for (int y = 0; y < h; y++)
        row[y] = (png_bytep)(uintptr_t)(rows + (size_t)y * row_bytes);
    png_set_write_fn(codec, &out, png_put, png_flush_nothing);
    png_set_IHDR(codec, info, (png_uint_32)w, (png_uint_32)h, kind.depth, kind.color_type,
                 kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_extras(codec, info, kind);
    if (text != NULL) {
        memset(text, 'a', zeros);
        text[zeros] = 0;
        png_text chunk = {.compression = PNG_TEXT_COMPRESSION_zTXt, .key = (char *)(uintptr_t) "Comment", .text = text};
        png_set_text(codec, info, &chunk, 1);
    }
    png_write_info(codec, info);
    png_write_image(codec, row);
    png_write_end(codec, NULL);
    png_destroy_write_struct(&codec, &info);
    free(row);
    free(text);
    return out;
}
