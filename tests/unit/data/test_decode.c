/* SPDX-License-Identifier: MIT
 *
 * test_decode: pictures of every kind become the right pixels, and files of every badness become MOCO_EFORMAT with a
 * sentence, within bounded memory. The pixels are compared with Pillow's in tests/golden/test_pillow.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>

#include "data/decode/decode_codec.h"
#include "philox.h"
#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

#define W 61
#define H 45

static struct ctx *ctx;
static struct decoder decoder;
static uint8_t picture[W * H * 3];

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    draw_pixels(picture, W, H, 3);
    if (ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) != MOCO_OK)
        return -1;
    decoder_init(&decoder, ctx, DECODE_MAX_PIXELS, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    decoder_free(&decoder);
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

static void decode_well(struct bytes file, int w, int h, struct image *image)
{
    struct err err = {0};
    moco_status status = decode_memory(&decoder, file.at, file.size, image, &err);
    if (status != MOCO_OK)
        print_error("%s\n", err.text);
    assert_int_equal(status, MOCO_OK);
    assert_int_equal(image->w, w);
    assert_int_equal(image->h, h);
}

/* Returns the sentence. */
static const char *decode_badly(const void *bytes, size_t size)
{
    static struct err err;
    struct image image;
    err = (struct err){0};
    moco_status status = decode_memory(&decoder, bytes, size, &image, &err);
    if (status != MOCO_EFORMAT)
        print_error("%zu bytes: status %d %s\n", size, (int)status, err.text);
    assert_int_equal(status, MOCO_EFORMAT);
    assert_true(strlen(err.text) > 10);
    return err.text;
}

static void test_png_kinds(void **state)
{
    (void)state;
    struct image image;
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        struct bytes file = draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, interlaced, 1, 0});
        decode_well(file, W, H, &image);
        assert_memory_equal(image.pixels, picture, sizeof picture);
        free(file.at);
        static const int depths[] = {1, 2, 4, 8};
        for (int d = 0; d < 4; d++) {
            int depth = depths[d], most = (1 << depth) - 1, per_byte = 8 / depth;
            static uint8_t rows[W * H];
            size_t row_bytes = (size_t)(W + per_byte - 1) / (size_t)per_byte;
            for (size_t i = 0; i < row_bytes * H; i++)
                rows[i] = (uint8_t)(i * 2654435761u >> 13);
            for (int palette = 0; palette < 2; palette++) {
                int type = palette ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_GRAY;
                file = draw_png(rows, row_bytes, W, H, (struct png_kind){type, depth, interlaced, interlaced, 0});
                decode_well(file, W, H, &image);
                for (int y = 0; y < H; y++)
                    for (int x = 0; x < W; x++) {
                        int byte = rows[(size_t)y * row_bytes + (size_t)(x / per_byte)];
                        int value = byte >> (8 - depth - x % per_byte * depth) & most;
                        const uint8_t *pixel = image.pixels + (y * W + x) * 3;
                        assert_int_equal(pixel[0], palette ? value : value * 255 / most);
                        assert_int_equal(pixel[1], palette ? 255 - value : value * 255 / most);
                        assert_int_equal(pixel[2], palette ? 7 * value & 255 : value * 255 / most);
                    }
                free(file.at);
            }
        }
    }
}

static void test_png_wide_and_alpha(void **state)
{
    (void)state;
    struct image image;
    static uint8_t rows[W * H * 8];
    for (size_t i = 0; i < sizeof rows; i++)
        rows[i] = (uint8_t)(i * 2654435761u >> 11);
    static const struct {
        int type, depth, channels;
    } kinds[] = {{PNG_COLOR_TYPE_GRAY, 16, 1},      {PNG_COLOR_TYPE_RGB, 16, 3},
                 {PNG_COLOR_TYPE_RGB_ALPHA, 8, 4},  {PNG_COLOR_TYPE_RGB_ALPHA, 16, 4},
                 {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2}, {PNG_COLOR_TYPE_GRAY_ALPHA, 16, 2}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        int wide = kinds[k].depth / 8, step = wide * kinds[k].channels;
        struct bytes file =
            draw_png(rows, (size_t)(W * step), W, H, (struct png_kind){kinds[k].type, kinds[k].depth, 0, 0, 0});
        decode_well(file, W, H, &image);
        for (int i = 0; i < W * H; i++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(image.pixels[3 * i + c], rows[i * step + (kinds[k].channels > 2 ? c * wide : 0)]);
        free(file.at);
    }
}

static double mean_difference(const uint8_t *a, const uint8_t *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += abs(a[i] - b[i]);
    return sum / (double)count;
}

static void test_jpeg_kinds(void **state)
{
    (void)state;
    struct image image;
    static uint8_t grey[W * H], cmyk[W * H * 4], expected[W * H * 3];
    for (int progressive = 0; progressive < 3; progressive++) {
        struct bytes file =
            draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = progressive, .quality = 98});
        decode_well(file, W, H, &image);
        assert_true(mean_difference(image.pixels, picture, sizeof picture) < 12);
        free(file.at);
        for (int i = 0; i < W * H; i++)
            grey[i] = picture[3 * i + 1];
        file = draw_jpeg(grey, W, H, (struct jpeg_kind){.components = 1, .progressive = progressive, .quality = 98});
        decode_well(file, W, H, &image);
        for (int i = 0; i < W * H; i++) {
            assert_int_equal(image.pixels[3 * i], image.pixels[3 * i + 1]);
            assert_int_equal(image.pixels[3 * i], image.pixels[3 * i + 2]);
            expected[3 * i] = expected[3 * i + 1] = expected[3 * i + 2] = grey[i];
        }
        assert_true(mean_difference(image.pixels, expected, sizeof expected) < 6);
        free(file.at);
    }
    /* Adobe CMYK, stored inverted: light = light of the ink x light of the black */
    for (int i = 0; i < W * H; i++) {
        int black = 255 - i % W * 2;
        cmyk[4 * i + 3] = (uint8_t)black;
        for (int c = 0; c < 3; c++) {
            cmyk[4 * i + c] = (uint8_t)(picture[3 * i + c] / 4 + 150);
            expected[3 * i + c] = (uint8_t)(cmyk[4 * i + c] * black / 255);
        }
    }
    struct bytes file = draw_jpeg(cmyk, W, H, (struct jpeg_kind){.components = 4, .progressive = 0, .quality = 100});
    decode_well(file, W, H, &image);
    assert_true(mean_difference(image.pixels, expected, sizeof expected) < 6);
    free(file.at);
}

/* Coded arithmetically, where the libjpeg at hand can: the same pixels as with Huffman's code. Where it cannot,
 * refused.
 */
static void test_arithmetic(void **state)
{
    (void)state;
    static const uint8_t ramp[] = {/* 8 x 8, grey: each column 30 lighter than the one before */
                                   0xff, 0xd8, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x10, 0x0b, 0x0c, 0x0e, 0x0c, 0x0a, 0x10,
                                   0x0e, 0x0d, 0x0e, 0x12, 0x11, 0x10, 0x13, 0x18, 0x28, 0x1a, 0x18, 0x16, 0x16, 0x18,
                                   0x31, 0x23, 0x25, 0x1d, 0x28, 0x3a, 0x33, 0x3d, 0x3c, 0x39, 0x33, 0x38, 0x37, 0x40,
                                   0x48, 0x5c, 0x4e, 0x40, 0x44, 0x57, 0x45, 0x37, 0x38, 0x50, 0x6d, 0x51, 0x57, 0x5f,
                                   0x62, 0x67, 0x68, 0x67, 0x3e, 0x4d, 0x71, 0x79, 0x70, 0x64, 0x78, 0x5c, 0x65, 0x67,
                                   0x63, 0xff, 0xc9, 0x00, 0x0b, 0x08, 0x00, 0x08, 0x00, 0x08, 0x01, 0x01, 0x11, 0x00,
                                   0xff, 0xcc, 0x00, 0x06, 0x00, 0x10, 0x10, 0x05, 0xff, 0xda, 0x00, 0x08, 0x01, 0x01,
                                   0x00, 0x00, 0x3f, 0x00, 0xfd, 0xc0, 0xeb, 0xf1, 0xa9, 0xff, 0xd9};
#if defined(D_ARITH_CODING_SUPPORTED)
    struct image image;
    decode_well((struct bytes){(uint8_t *)(uintptr_t)ramp, sizeof ramp}, 8, 8, &image);
    for (int i = 0; i < 8 * 8 * 3; i++)
        assert_in_range(image.pixels[i] + 12, i / 3 % 8 * 30, i / 3 % 8 * 30 + 24);
    for (size_t size = 3; size < sizeof ramp - 2; size++)
        decode_badly(ramp, size);
#else
    assert_non_null(strstr(decode_badly(ramp, sizeof ramp), "arithmetic"));
#endif
#if defined(C_ARITH_CODING_SUPPORTED) && defined(D_ARITH_CODING_SUPPORTED)
    for (int components = 1; components < 5; components += components == 1 ? 2 : 1)
        for (int progressive = 0; progressive < 2; progressive++) {
            struct jpeg_kind kind = {.components = components, .progressive = progressive};
            static uint8_t samples[W * H * 4], expected[W * H * 3];
            for (size_t i = 0; i < sizeof samples; i++)
                samples[i] = picture[i % sizeof picture];
            struct bytes huffman = draw_jpeg(samples, W, H, kind);
            kind.arithmetic = 1;
            struct bytes file = draw_jpeg(samples, W, H, kind);
            decode_well(huffman, W, H, &image);
            memcpy(expected, image.pixels, sizeof expected);
            decode_well(file, W, H, &image);
            assert_memory_equal(image.pixels, expected, sizeof expected);
            decode_badly(file.at, file.size / 2);
            free(huffman.at);
            free(file.at);
        }
#endif
}

/* Markers to restart at change no pixel; one that is missing, doubled or out of turn is damage. */
static void test_restarts(void **state)
{
    (void)state;
    struct bytes plain = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3});
    struct bytes file = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .restarts = 2});
    struct image image;
    static uint8_t expected[W * H * 3];
    decode_well(plain, W, H, &image);
    memcpy(expected, image.pixels, sizeof expected);
    decode_well(file, W, H, &image);
    assert_memory_equal(image.pixels, expected, sizeof expected);
    int markers = 0;
    for (size_t i = 0; i + 1 < file.size; i++) {
        if (file.at[i] != 0xff || file.at[i + 1] < 0xd0 || file.at[i + 1] > 0xd7)
            continue;
        markers++;
        uint8_t held = file.at[i + 1];
        file.at[i + 1] = (uint8_t)(0xd0 + ((held + 3) & 7));
        decode_badly(file.at, file.size);
        file.at[i + 1] = 0; /* 0xff as data */
        decode_badly(file.at, file.size);
        file.at[i + 1] = held;
    }
    assert_int_equal(markers, 5);
    free(plain.at);
    free(file.at);
}

static void test_truncation(void **state)
{
    (void)state;
    struct bytes files[4] = {
        draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 0, .quality = 90}),
        draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 1, .quality = 90}),
        draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 0}),
        draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 1, 0, 0})};
    for (int f = 0; f < 4; f++) {
        for (int point = 0; point < 64; point++)
            decode_badly(files[f].at, files[f].size * (size_t)point / 64);
        for (size_t missing = 1; missing < 12 && f < 2; missing++) /* a PNG's pixels are then still there */
            decode_badly(files[f].at, files[f].size - missing);
        free(files[f].at);
    }
}

/* Damage anywhere: a picture or MOCO_EFORMAT, and the decoder works on afterwards. */
static void test_mutations(void **state)
{
    (void)state;
    struct bytes files[4] = {
        draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 0, .quality = 50}),
        draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 1, .quality = 50}),
        draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 1, 1, 0}),
        draw_png(picture, W, W, H, (struct png_kind){PNG_COLOR_TYPE_PALETTE, 8, 0, 1, 0})};
    int refused = 0;
    decoder.max_pixels = 1 << 16;
    for (int f = 0; f < 4; f++) {
        uint8_t *copy = malloc(files[f].size);
        for (int round = 0; round < 2500; round++) {
            struct rng rng;
            rng_init(&rng, 1, (uint64_t)f, (uint64_t)round, 0, RNG_TEST);
            memcpy(copy, files[f].at, files[f].size);
            for (int i = (int)rng_below(&rng, 4); i >= 0; i--)
                copy[rng_below(&rng, round % 2 ? files[f].size : 400)] = (uint8_t)rng_u32(&rng);
            struct err err = {0};
            struct image image;
            moco_status status = decode_memory(&decoder, copy, files[f].size, &image, &err);
            assert_true(status == MOCO_OK || status == MOCO_EFORMAT);
            refused += status != MOCO_OK;
        }
        free(copy);
        struct image image;
        decode_well(files[f], W, H, &image);
        free(files[f].at);
    }
    decoder.max_pixels = DECODE_MAX_PIXELS;
    assert_in_range(refused, 3750, 9999);
}

static void test_not_pictures(void **state)
{
    (void)state;
    static const char html[] = "<!DOCTYPE html><html><body>429 Too Many Requests</body></html>";
    assert_non_null(strstr(decode_badly("", 0), "empty"));
    assert_non_null(strstr(decode_badly(html, sizeof html), "neither JPEG, PNG nor WebP"));
    decode_badly("\xff", 1);
    decode_badly("\xff\xd8\xff", 3);
    decode_badly("\x89PNG\r\n\x1a\n", 8);
    decode_badly("GIF89a", 6);
    static uint8_t zeros[5000];
    decode_badly(zeros, sizeof zeros);
}

/* Of a chunk's type and data, as the PNG standard defines it. */
static uint32_t checksum(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

/* Sizes are refused before memory is taken for them. */
static void test_absurd_sizes(void **state)
{
    (void)state;
    struct bytes jpeg = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 0, .quality = 90});
    struct bytes png = draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 0});
    for (size_t i = 0; i + 9 < jpeg.size; i++)
        if (jpeg.at[i] == 0xff && jpeg.at[i + 1] == 0xc0) {
            static const uint8_t side[4] = {0xff, 0xdc, 0xff, 0xdc}; /* 65500 x 65500 */
            memcpy(jpeg.at + i + 5, side, 4);
            break;
        }
    ctx->peak_bytes = ctx->live_bytes;
    int64_t before = ctx->live_bytes;
    assert_non_null(strstr(decode_badly(jpeg.at, jpeg.size), "65500 x 65500"));
    memcpy(png.at + 16, "\x00\x00\xff\xdc\x00\x00\xff\xdc", 8);
    uint32_t crc = checksum(png.at + 12, 17);
    for (int i = 0; i < 4; i++)
        png.at[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    assert_non_null(strstr(decode_badly(png.at, png.size), "65500 x 65500"));
    assert_true(ctx->peak_bytes - before < 1 << 20);
    decoder.max_pixels = W * H - 1;
    struct bytes exact = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 0, .quality = 90});
    assert_non_null(strstr(decode_badly(exact.at, exact.size), "more than the limit"));
    struct image image;
    decoder.max_pixels = W * H;
    decode_well(exact, W, H, &image);
    decoder.max_pixels = DECODE_MAX_PIXELS;
    free(exact.at);
    free(jpeg.at);
    free(png.at);
}

static void test_bombs(void **state)
{
    (void)state;
    struct image image;
    struct bytes scans =
        draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 2, .quality = 90}); /* 190 scans */
    decoder.max_pixels = W * H * 20;
    decode_well(scans, W, H, &image);
    decoder.max_pixels = W * H * 18;
    assert_non_null(strstr(decode_badly(scans.at, scans.size), "more than 180 scans"));
    decoder.max_pixels = DECODE_MAX_PIXELS;
    free(scans.at);
    struct bytes text = draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 64});
    assert_true(text.size < 1 << 20);
    ctx->peak_bytes = ctx->live_bytes;
    int64_t before = ctx->live_bytes;
    decode_well(text, W, H, &image); /* the text is never unpacked */
    assert_memory_equal(image.pixels, picture, sizeof picture);
    assert_true(ctx->peak_bytes - before < 1 << 20);
    free(text.at);
}

/* ---- a part of a picture ---- */

static moco_status wish(void *user, int w, int h, struct image_box *box, struct err *err)
{
    (void)w;
    (void)h;
    *box = *(const struct image_box *)user;
    return box->w > 0 ? MOCO_OK : err_set(err, MOCO_ESHAPE, "nothing is wanted");
}

static void expect_part(struct bytes file, struct image_box box, int w, const uint8_t *whole)
{
    struct image image;
    struct err err = {0};
    decoder.wish = wish;
    decoder.wish_user = &box;
    assert_int_equal(decode_memory(&decoder, file.at, file.size, &image, &err), MOCO_OK);
    decoder.wish = NULL;
    assert_true(image.x0 <= box.x && image.y0 <= box.y && image.w == w);
    for (int y = box.y; y < box.y + box.h; y++) {
        const uint8_t *row = image.pixels + (size_t)(y - image.y0) * image.stride + (size_t)(box.x - image.x0) * 3;
        assert_memory_equal(row, whole + ((size_t)y * (size_t)w + (size_t)box.x) * 3, (size_t)box.w * 3);
    }
}

/* Every way in which chroma is sampled, boxes anywhere: no pixel may differ from decoding everything. */
static void test_parts(void **state)
{
    (void)state;
    enum { WIDE = 211, HIGH = 157 };
    static uint8_t large[WIDE * HIGH * 4];
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)((i * i * 2654435761u >> 22) / 8 + (i / 4 % WIDE) / 2 + i % 4 * 20);
    const struct jpeg_kind kinds[] = {
        {.components = 3},
        {.components = 3, .across = 1, .down = 1},
        {.components = 3, .across = 2, .down = 1},
        {.components = 3, .across = 1, .down = 2},
        {.components = 3, .across = 4, .down = 1},
        {.components = 3, .progressive = 1},
        {.components = 3, .progressive = 1, .across = 2, .down = 1},
        {.components = 1},
        {.components = 4},
    };
    struct rng rng;
    rng_init(&rng, 3, 0, 0, 0, RNG_TEST);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct bytes file = draw_jpeg(large, WIDE, HIGH, kinds[k]);
        struct image image;
        decode_well(file, WIDE, HIGH, &image);
        uint8_t *whole = malloc((size_t)WIDE * HIGH * 3);
        assert_non_null(whole);
        memcpy(whole, image.pixels, (size_t)WIDE * HIGH * 3);
        for (int i = 0; i < 60; i++) {
            struct image_box box = {.w = 1 + (int)rng_below(&rng, WIDE), .h = 1 + (int)rng_below(&rng, HIGH)};
            box.x = (int)rng_below(&rng, (uint64_t)(WIDE - box.w) + 1);
            box.y = (int)rng_below(&rng, (uint64_t)(HIGH - box.h) + 1);
            expect_part(file, box, WIDE, whole);
        }
        free(whole);
        free(file.at);
    }
    struct bytes png = draw_png(large, WIDE * 3, WIDE, HIGH, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 0});
    expect_part(png, (struct image_box){50, 40, 30, 20}, WIDE, large);
    free(png.at);
}

/* A part costs its own memory, damage below it is not seen, damage in it is; and a wish may fail. */
static void test_parts_cost_and_damage(void **state)
{
    (void)state;
    struct bytes file = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3});
    struct image_box top = {0, 0, 8, 8}, bottom = {0, H - 8, 8, 8}, none = {0, 0, 0, 0};
    struct image image;
    struct err err = {0};
    decoder_free(&decoder);
    decoder.wish = wish;
    decoder.wish_user = &top;
    assert_int_equal(decode_memory(&decoder, file.at, file.size * 9 / 10, &image, &err), MOCO_OK);
    assert_true(mem_size(decoder.pixels) <= 40 * 40 * 3);
    decoder.wish_user = &bottom;
    assert_int_equal(decode_memory(&decoder, file.at, file.size * 9 / 10, &image, &err), MOCO_EFORMAT);
    decoder.wish_user = &none;
    err = (struct err){0};
    assert_int_equal(decode_memory(&decoder, file.at, file.size, &image, &err), MOCO_ESHAPE);
    assert_string_equal(err.text, "nothing is wanted");
    decoder.wish = NULL;
    free(file.at);
}

static void test_files(void **state)
{
    (void)state;
    struct scratch_folder folder;
    struct err err = {0};
    struct image image;
    struct bytes png = draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 0});
    /* larger than the window that files are read through */
    static uint8_t noise[900 * 700 * 3];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * i * 2654435761u >> 15);
    struct bytes large =
        draw_jpeg(noise, 900, 700, (struct jpeg_kind){.components = 3, .progressive = 0, .quality = 98});
    assert_true(large.size > 600000);
    scratch_folder_make(&folder);
    scratch_write(&folder, "really.JPEG", png.at, png.size);
    scratch_write(&folder, "large.jpg", large.at, large.size);
    scratch_write(&folder, "empty.jpg", "", 0);
    scratch_make_folder(&folder, "folder.jpg");
    assert_int_equal(decode_file(&decoder, scratch_path(&folder, "really.JPEG"), &image, &err), MOCO_OK);
    assert_memory_equal(image.pixels, picture, sizeof picture);
    assert_int_equal(decode_file(&decoder, scratch_path(&folder, "large.jpg"), &image, &err), MOCO_OK);
    uint8_t *copy = malloc((size_t)image.h * image.stride);
    memcpy(copy, image.pixels, (size_t)image.h * image.stride);
    decode_well(large, 900, 700, &image);
    assert_memory_equal(image.pixels, copy, (size_t)image.h * image.stride);
    free(copy);
    assert_int_equal(mkfifo(scratch_path(&folder, "pipe.jpg"), 0600), 0);
    static const char *const names[] = {"empty.jpg", "folder.jpg", "pipe.jpg", "gone.jpg"};
    for (int i = 0; i < 4; i++) {
        err = (struct err){0};
        assert_int_equal(decode_file(&decoder, scratch_path(&folder, names[i]), &image, &err), MOCO_EFORMAT);
    }
    /* a read that fails is not a bad image */
    struct source source = {.fd = open(scratch_path(&folder, "large.jpg"), O_WRONLY),
                            .end = 100,
                            .window = decoder.window,
                            .window_size = 100};
    const uint8_t *at;
    assert_int_equal(source_next(&source, &at), 0);
    assert_int_equal(source.status, MOCO_EIO);
    close(source.fd);
    scratch_folder_remove(&folder);
    free(png.at);
    free(large.at);
}

static void test_cancel(void **state)
{
    (void)state;
    _Atomic int cancel = 1;
    struct bytes files[2] = {
        draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 1, .quality = 90}),
        draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 0})};
    decoder.cancel = &cancel;
    for (int f = 0; f < 2; f++) {
        struct err err = {0};
        struct image image;
        assert_int_equal(decode_memory(&decoder, files[f].at, files[f].size, &image, &err), MOCO_ECANCELED);
        free(files[f].at);
    }
    decoder.cancel = NULL;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct bytes files[2] = {
        draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .progressive = 1, .quality = 90}),
        draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 1, 0, 0})};
    for (int f = 0; f < 2; f++) {
        moco_status status = MOCO_ENOMEM;
        int failures = 0;
        for (int n = 1; status != MOCO_OK; n++, failures++) {
            struct failing_alloc hook = {.fail_at = n, .forever = n % 2}; /* request 0 is the context */
            struct ctx *tight;
            struct decoder small;
            struct err err = {0};
            struct image image;
            assert_int_equal(
                ctx_create(&tight,
                           &(struct ctx_options){
                               .alloc = failing_alloc, .release = failing_release, .user = &hook, .threads = 1},
                           &err),
                MOCO_OK);
            decoder_init(&small, tight, DECODE_MAX_PIXELS, NULL);
            status = decode_memory(&small, files[f].at, files[f].size, &image, &err);
            assert_true(status == MOCO_OK || status == MOCO_ENOMEM);
            decoder_free(&small);
            ctx_unref(tight);
            assert_int_equal(hook.live, 0);
            assert_true(n < 100);
        }
        assert_true(failures >= 1 + 3 * f);
        free(files[f].at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_kinds),    cmocka_unit_test(test_png_wide_and_alpha),
        cmocka_unit_test(test_jpeg_kinds),   cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_restarts),     cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_mutations),    cmocka_unit_test(test_not_pictures),
        cmocka_unit_test(test_absurd_sizes), cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_parts),        cmocka_unit_test(test_parts_cost_and_damage),
        cmocka_unit_test(test_files),        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
