/* SPDX-License-Identifier: MIT
 *
 * thumbnail: see thumbnail.h. When something fails, libjpeg leaves by longjmp. It is therefore called in one small
 * function that owns nothing else. */
#include "thumbnail.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#define QUALITY 90
#define SHEET_QUALITY 80

struct failure {
    struct jpeg_error_mgr manager; /* first, so that a pointer to it is one to this */
    jmp_buf out;
};

static void leave(j_common_ptr codec)
{
    longjmp(((struct failure *)codec->err)->out, 1);
}

static void be_silent(j_common_ptr codec)
{
    (void)codec;
}

/* Every pixel is the mean of the square of pixels that it replaces, with partial pixels at the edges. */
void thumbnail_shrink(const uint8_t *from, int side, uint8_t *to, int small, size_t pitch)
{
    double scale = (double)side / small;
    for (int y = 0; y < small; y++)
        for (int x = 0; x < small; x++) {
            double sum[3] = {0}, weight = 0, top = y * scale, left = x * scale;
            for (int j = (int)top; j < side && j < top + scale; j++)
                for (int i = (int)left; i < side && i < left + scale; i++) {
                    double high = (j + 1 < top + scale ? j + 1 : top + scale) - (j > top ? j : top);
                    double wide = (i + 1 < left + scale ? i + 1 : left + scale) - (i > left ? i : left);
                    for (int k = 0; k < 3; k++)
                        sum[k] += high * wide * from[((size_t)j * (size_t)side + (size_t)i) * 3 + (size_t)k];
                    weight += high * wide;
                }
            for (int k = 0; k < 3; k++)
                to[(size_t)y * pitch + (size_t)x * 3 + (size_t)k] = (uint8_t)(sum[k] / weight + 0.5);
        }
}

/* 1: it went well. `*bytes` is malloc'ed by libjpeg and to be freed in any case. */
static int compress(const uint8_t *pixels, int width, int height, int quality, unsigned char **bytes,
                    unsigned long *size)
{
    struct jpeg_compress_struct codec;
    struct failure failure;
    codec.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = leave;
    failure.manager.output_message = be_silent;
    if (setjmp(failure.out)) {
        jpeg_destroy_compress(&codec);
        *bytes = NULL; /* libjpeg may have freed it already: out of memory, a leak is the lesser evil */
        return 0;
    }
    jpeg_create_compress(&codec);
    jpeg_mem_dest(&codec, bytes, size);
    codec.image_width = (JDIMENSION)width;
    codec.image_height = (JDIMENSION)height;
    codec.input_components = 3;
    codec.in_color_space = JCS_RGB;
    jpeg_set_defaults(&codec);
    jpeg_set_quality(&codec, quality, TRUE);
    if (quality >= QUALITY)
        codec.comp_info[0].h_samp_factor = codec.comp_info[0].v_samp_factor =
            1; /* small pictures: colour at full size */
    codec.optimize_coding = TRUE;
    jpeg_start_compress(&codec, TRUE);
    while (codec.next_scanline < codec.image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)codec.next_scanline * (size_t)width * 3);
        jpeg_write_scanlines(&codec, &row, 1);
    }
    jpeg_finish_compress(&codec);
    jpeg_destroy_compress(&codec);
    return 1;
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *encode(const unsigned char *bytes, size_t size)
{
    char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < size; i += 3) {
        unsigned long word = (unsigned long)bytes[i] << 16;
        word |= i + 1 < size ? (unsigned long)bytes[i + 1] << 8 : 0;
        word |= i + 2 < size ? (unsigned long)bytes[i + 2] : 0;
        *to++ = digits[word >> 18];
        *to++ = digits[word >> 12 & 63];
        *to++ = i + 1 < size ? digits[word >> 6 & 63] : '=';
        *to++ = i + 2 < size ? digits[word & 63] : '=';
    }
    *to = 0;
    return text;
}

moco_status thumbnail_make(const uint8_t *pixels, int side, char **base64, struct err *err)
{
    int small = side < THUMBNAIL_SIDE ? side : THUMBNAIL_SIDE;
    uint8_t *shrunk = malloc((size_t)small * (size_t)small * 3);
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    *base64 = NULL;
    if (shrunk != NULL) {
        thumbnail_shrink(pixels, side, shrunk, small, (size_t)small * 3);
        if (compress(shrunk, small, small, QUALITY, &bytes, &size))
            *base64 = encode(bytes, size);
    }
    free(bytes);
    free(shrunk);
    return *base64 != NULL ? MOCO_OK : err_set(err, MOCO_ENOMEM, "out of memory for a thumbnail");
}

moco_status thumbnail_sheet(const uint8_t *pixels, int width, int height, char **base64, struct err *err)
{
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    *base64 = NULL;
    if (compress(pixels, width, height, SHEET_QUALITY, &bytes, &size))
        *base64 = encode(bytes, size);
    free(bytes);
    return *base64 != NULL ? MOCO_OK : err_set(err, MOCO_ENOMEM, "out of memory for a sheet of thumbnails");
}

int thumbnail_valid(const char *base64)
{
    size_t body = strspn(base64, digits), padding = strspn(base64 + body, "=");
    return body > 0 && padding <= 2 && base64[body + padding] == 0;
}
