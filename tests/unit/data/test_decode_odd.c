/* SPDX-License-Identifier: MIT
 *
 * test_decode_odd: files that phones, webcams and editors write and that decoders warn about: whole pictures have the
 * pixels of the plain file, in full and in part, and damaged ones are refused in both. What a reader would get wrong:
 * this is a sample for machines without Pillow; tests/golden/test_oddities.py holds hundreds against it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#include "data/decode/decode.h"
#include "support/draw_image.h"

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

static moco_status right_half(void *user, int w, int h, struct image_box *box, struct err *err)
{
    (void)user;
    (void)err;
    *box = (struct image_box){w / 2, h / 2, w - w / 2, h - h / 2};
    return MOCO_OK;
}

static moco_status decode(struct bytes file, int part, struct image *image)
{
    struct err err = {0};
    decoder.wish = part ? right_half : NULL;
    moco_status status = decode_memory(&decoder, file.at, file.size, image, &err);
    decoder.wish = NULL;
    assert_true(status == MOCO_OK || (status == MOCO_EFORMAT && strlen(err.text) > 10));
    return status;
}

static void expect_whole(const char *name, struct bytes plain, struct bytes odd)
{
    static uint8_t wanted[W * H * 3];
    struct image image;
    assert_int_equal(decode(plain, 0, &image), MOCO_OK);
    memcpy(wanted, image.pixels, sizeof wanted);
    for (int part = 0; part < 2; part++) {
        if (decode(odd, part, &image) != MOCO_OK)
            fail_msg("%s (part %d) is refused", name, part);
        assert_true(image.w == W && image.h == H);
        int first = part ? H / 2 : 0, left = part ? W / 2 : 0;
        for (int y = first; y < H; y++)
            assert_memory_equal(image.pixels + (y - image.y0) * (int)image.stride + (left - image.x0) * 3,
                                wanted + (y * W + left) * 3, (size_t)(W - left) * 3);
    }
}

static void expect_bad(const char *name, struct bytes odd)
{
    struct image image;
    for (int part = 0; part < 2; part++)
        if (decode(odd, part, &image) == MOCO_OK)
            fail_msg("%s (part %d) is read", name, part);
}

/* `file` with `count` bytes at `at` replaced; free. */
static struct bytes edited(struct bytes file, size_t at, size_t count, const void *bytes, size_t size)
{
    struct bytes made = {malloc(file.size - count + size), file.size - count + size};
    assert_non_null(made.at);
    memcpy(made.at, file.at, at);
    memcpy(made.at + at, bytes, size);
    memcpy(made.at + at + size, file.at + at + count, file.size - at - count);
    return made;
}

/* ---- JPEG ---- */

static size_t marker(struct bytes file, int code)
{
    for (size_t at = 2; at + 4 < file.size; at += 2 + (size_t)(file.at[at + 2] << 8 | file.at[at + 3]))
        if (file.at[at + 1] == code)
            return at;
    fail_msg("no marker %02x", (unsigned)code);
    return 0;
}

enum { SOF = 0xc0, SOS = 0xda, DQT = 0xdb, APP0 = 0xe0, DATA = 0, END = 1, CLOSE = 2 };

/* At `offset` bytes behind a marker, or behind the last scan's header, before the end marker, behind it. */
static struct bytes edit_jpeg(struct bytes file, int where, int offset, int count, const char *bytes, size_t size)
{
    size_t at = where == END ? file.size - 2 : where == CLOSE ? file.size : marker(file, where == DATA ? SOS : where);
    if (where == DATA)
        at += 2 + (size_t)(file.at[at + 2] << 8 | file.at[at + 3]);
    return edited(file, at + (size_t)offset, (size_t)count, bytes, size);
}

#define TEXT(s) s, sizeof(s) - 1

static void test_jpeg_whole(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int where, offset, count;
        const char *bytes;
        size_t size;
    } kinds[] = {
        {"parameters of a sequential scan", SOS, 11, 3, TEXT("\0\0\0")},
        {"bits of a sequential scan", SOS, 13, 1, TEXT("\x0d")},
        {"stray bytes before a table", DQT, 0, 0, TEXT("\0\1\2")},
        {"stray bytes before a frame", SOF, 0, 0, TEXT("abc\xff\0")},
        {"stray bytes before a scan", SOS, 0, 0, TEXT("abc")},
        {"fill bytes", DQT, 0, 0, TEXT("\xff\xff\xff")},
        {"JFIF 2.1", APP0, 9, 2, TEXT("\2\1")},
        {"JFIF 0.0", APP0, 9, 2, TEXT("\0\0")},
        {"an unknown transform of Adobe's", SOF, 0, 0,
         TEXT("\xff\xee\0\x0e"
              "Adobe\0\x64\0\0\0\0\7")},
        {"a segment without content", SOF, 0, 0, TEXT("\xff\xe1\0\2")},
        {"a segment of impossible length", SOF, 0, 0, TEXT("\xff\xfe\0\1")},
        {"one byte before the end", END, 0, 0, TEXT("\0")},
        {"many bytes before the end", END, 0, 0, TEXT("fifty bytes, as some phones write them behind the data")},
        {"a stray restart marker", END, 0, 0, TEXT("\xff\xd3")},
        {"fill bytes before the end", END, 0, 0, TEXT("\xff\xff\xff")},
        {"another picture behind it", CLOSE, 0, 0, TEXT("\xff\xd8\xff\xe1\0\4ab\xff\xd9")},
        {"a trailer", CLOSE, 0, 0, TEXT("SEFT")},
    };
    struct bytes plain = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3});
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct bytes odd =
            edit_jpeg(plain, kinds[i].where, kinds[i].offset, kinds[i].count, kinds[i].bytes, kinds[i].size);
        expect_whole(kinds[i].name, plain, odd);
        free(odd.at);
    }
    free(plain.at);
    plain = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3, .restarts = 4});
    for (size_t at = marker(plain, SOS) + 14, stray = 0; at + 1 < plain.size; at++)
        if (plain.at[at] == 0xff && plain.at[at + 1] >= 0xd0 && plain.at[at + 1] <= 0xd7) {
            struct bytes odd = edited(plain, at, 0, "\xff\xff\0\0\0\0\0\0\0\0\0\0", stray++ % 2 ? 2 : 12);
            expect_whole("bytes before a restart marker", plain, odd);
            free(odd.at);
        }
    free(plain.at);
}

static void test_jpeg_damaged(void **state)
{
    (void)state;
    struct bytes plain = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 3});
    size_t data = marker(plain, SOS) + 14, middle = data + (plain.size - data) / 2;
    struct bytes odd = edited(plain, middle, plain.size - middle, "\xff\xd9", 2);
    expect_bad("half of the data", odd);
    free(odd.at);
    odd = edited(plain, middle, 2, "\xff\xd9", 2);
    expect_bad("an end in the middle", odd);
    free(odd.at);
    odd = edited(plain, plain.size - 2, 2, "trailer, trailer, trailer, trailer", 30);
    expect_bad("no end marker, but bytes enough",
               odd); /* so ends a file that was never finished, and zeros filled up */
    free(odd.at);
    odd = edited(plain, plain.size, 0, "", 0);
    memset(odd.at + middle, 0, odd.size - middle);
    expect_bad("zeros to the end", odd);
    free(odd.at);
    free(plain.at);
}

/* Scans of a progressive picture in another order. libjpeg warns when AC coefficients come first, which changes no
 * pixel, and does not warn when the others never come. */
static void test_jpeg_scans(void **state)
{
    (void)state;
    enum { SCANS = 256 };
    struct bytes plain = draw_jpeg(picture, W, H, (struct jpeg_kind){.components = 1, .progressive = JPEG_SCAN_EACH});
    size_t start[SCANS], count = 0, table = 0;
    for (size_t at = 2; at + 1 < plain.size; at++) { /* a scan: its table, if it has one, its header and its data */
        if (plain.at[at] == 0xff && plain.at[at + 1] == 0xc4 && table == 0)
            table = at;
        if (plain.at[at] == 0xff && plain.at[at + 1] == SOS) {
            assert_true(count + 1 < SCANS);
            start[count++] = table != 0 ? table : at;
            table = 0;
        }
    }
    assert_true(count > 2);
    size_t first = start[1] - start[0];
    struct bytes rest = edited(plain, start[0], first, "", 0),
                 last = edited(rest, rest.size - 2, 0, plain.at + start[0], first);
    expect_whole("the first scan comes last", plain, last);
    expect_bad("the first scan is missing", rest);
    free(last.at);
    free(rest.at);
    free(plain.at);
}

/* ---- PNG ---- */

static struct bytes with_chunk(struct bytes file, size_t at, const char *type, const void *content, size_t size)
{
    uint8_t *chunk = calloc(1, size + 12); /* its checksum is wrong */
    assert_non_null(chunk);
    png_save_uint_32(chunk, (png_uint_32)size);
    memcpy(chunk + 4, type, 4);
    memcpy(chunk + 8, content, size);
    struct bytes made = edited(file, at, 0, chunk, size + 12);
    free(chunk);
    return made;
}

static size_t chunk_at(struct bytes file, const char *type)
{
    for (size_t at = 8; at + 12 <= file.size; at += 12 + png_get_uint_32(file.at + at))
        if (memcmp(file.at + at + 4, type, 4) == 0)
            return at;
    fail_msg("no chunk %s", type);
    return 0;
}

static void test_png_whole(void **state)
{
    (void)state;
    static const char *const types[] = {"tEXt", "zTXt", "iTXt", "gAMA", "cHRM", "sRGB", "iCCP", "sBIT", "bKGD", "pHYs",
                                        "tIME", "hIST", "sPLT", "eXIf", "tRNS", "oFFs", "acTL", "prVW", "PLTE", "ABCD"};
    static uint8_t large[3 << 20]; /* as Fireworks and Photoshop write them */
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        struct bytes plain = draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, interlaced, 0, 0});
        size_t end = chunk_at(plain, "IEND"), data = chunk_at(plain, "IDAT");
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            for (int behind = 0; behind < 2; behind++) {
                struct bytes odd = with_chunk(plain, behind ? end : data, types[i], large, i == 2 ? sizeof large : i);
                expect_whole(types[i], plain, odd);
                free(odd.at);
            }
        struct bytes odd = edited(plain, plain.size, 0, "trailer", 7);
        expect_whole("a trailer", plain, odd);
        free(odd.at);
        for (size_t missing = 1; missing <= 20; missing++) /* IEND, the checksum of IDAT, that of the data */
            expect_whole("no end", plain, (struct bytes){plain.at, plain.size - missing});
        free(plain.at);
    }
}

static void test_png_damaged(void **state)
{
    (void)state;
    struct bytes plain = draw_png(picture, W * 3, W, H, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 0});
    size_t data = chunk_at(plain, "IDAT"), size = png_get_uint_32(plain.at + data);
    plain.at[data + 8 + size] ^= 1;
    expect_bad("the checksum of IDAT", plain);
    plain.at[data + 8 + size] ^= 1;
    plain.at[data + 7] = 'U';
    expect_bad("the data under another name", plain);
    plain.at[data + 7] = 'T';
    plain.at[29] ^= 1;
    expect_bad("the checksum of IHDR", plain);
    plain.at[29] ^= 1;
    for (size_t left = 9; left < data + size - 30; left += 17)
        expect_bad("the beginning", (struct bytes){plain.at, left});
    free(plain.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg_whole), cmocka_unit_test(test_jpeg_damaged), cmocka_unit_test(test_jpeg_scans),
        cmocka_unit_test(test_png_whole),  cmocka_unit_test(test_png_damaged),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
