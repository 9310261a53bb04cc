/* SPDX-License-Identifier: MIT
 *
 * test_decode_memory: what a picture takes, of every kind 8 bytes a pixel and 4 MiB at most, and that writing a JPEG of
 * several scans over its own coefficients changes no pixel: libjpeg with its own memory manager says what they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <png.h>

#include "data/decode/decode_blocks.h"
#include "data/decode/decode_codec.h"
#include "philox.h"
#include "support/draw_image.h"
#include <jerror.h>

static struct ctx *ctx;
static struct decoder decoder;

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
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

/* ---- the pixels ---- */

/* By libjpeg and its own memory manager. */
static void decode_plainly(struct bytes file, int w, int h, uint8_t *rgb)
{
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    uint8_t *cmyk = malloc((size_t)w * 4);
    assert_non_null(cmyk);
    codec.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&codec);
    jpeg_mem_src(&codec, file.at, file.size);
    jpeg_read_header(&codec, TRUE);
    int inks = codec.num_components == 4;
    codec.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&codec);
    assert_true((int)codec.output_width == w && (int)codec.output_height == h);
    for (int y = 0; y < h; y++, rgb += (size_t)w * 3) {
        JSAMPROW row = inks ? cmyk : rgb;
        jpeg_read_scanlines(&codec, &row, 1);
        for (int i = 0; i < w && inks; i++)
            for (int c = 0; c < 3; c++) {
                int ink = 255 - cmyk[4 * i + c], light = cmyk[4 * i + 3];
                rgb[3 * i + c] = (uint8_t)(light - (2 * ink * light + 255) / 510); /* rounded */
            }
    }
    jpeg_finish_decompress(&codec);
    jpeg_destroy_decompress(&codec);
    free(cmyk);
}

static moco_status wish(void *user, int w, int h, struct image_box *box, struct err *err)
{
    (void)w;
    (void)h;
    (void)err;
    *box = *(const struct image_box *)user;
    return MOCO_OK;
}

static void expect_part(struct bytes file, struct image_box box, int w, const uint8_t *expected)
{
    struct image image;
    struct err err = {0};
    decoder_free(&decoder); /* so that no row's end is another picture's */
    decoder.wish = wish;
    decoder.wish_user = &box;
    if (decode_memory(&decoder, file.at, file.size, &image, &err) != MOCO_OK)
        fail_msg("%s", err.text);
    decoder.wish = NULL;
    for (int y = box.y; y < box.y + box.h; y++)
        assert_memory_equal(image.pixels + (size_t)(y - image.y0) * image.stride + (size_t)(box.x - image.x0) * 3,
                            expected + ((size_t)y * (size_t)w + (size_t)box.x) * 3, (size_t)box.w * 3);
}

static void expect_plain_pixels(const uint8_t *pixels, int w, int h, struct jpeg_kind kind, struct rng *rng)
{
    struct bytes file = draw_jpeg(pixels, w, h, kind);
    uint8_t *expected = malloc((size_t)w * (size_t)h * 3);
    assert_non_null(expected);
    decode_plainly(file, w, h, expected);
    expect_part(file, (struct image_box){0, 0, w, h}, w, expected);
    for (int i = 0; i < 4; i++) {
        struct image_box box = {.w = 1 + (int)rng_below(rng, (uint64_t)w), .h = 1 + (int)rng_below(rng, (uint64_t)h)};
        box.x = (int)rng_below(rng, (uint64_t)(w - box.w) + 1);
        box.y = (int)rng_below(rng, (uint64_t)(h - box.h) + 1);
        expect_part(file, box, w, expected);
    }
    free(expected);
    free(file.at);
}

static void test_pixels_over_blocks(void **state)
{
    (void)state;
    static const int scans[] = {1, JPEG_SCAN_EACH, JPEG_SCANS_MISSING, JPEG_SCANS_PLANES};
    static const int sizes[][2] = {{211, 157}, {333, 16}, {16, 333}, {1, 1}, {48, 97}};
    static const int sampled[][2] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}};
    static uint8_t noise[211 * 157 * 4];
    struct rng rng;
    rng_init(&rng, 11, 0, 0, 0, RNG_TEST);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((i * i * 2654435761u >> 22) / 8 + i / 300 % 200);
    for (size_t s = 0; s < sizeof scans / sizeof *scans; s++)
        for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++)
            for (size_t m = 0; m < sizeof sampled / sizeof *sampled; m++)
                for (int components = 1; components <= 4; components += components == 1 ? 2 : 1) {
                    struct jpeg_kind kind = {.components = components,
                                             .progressive = scans[s],
                                             .across = sampled[m][0],
                                             .down = sampled[m][1]};
                    int luma = kind.across * kind.down; /* ten blocks make up an MCU at most */
                    if (scans[s] == JPEG_SCANS_PLANES || components < 4 || luma < 4)
                        expect_plain_pixels(noise, sizes[z][0], sizes[z][1], kind, &rng);
                }
}

/* What asks for blocks that the picture has been written over gets an error, whatever libjpeg looks back to one day. */
static jmp_buf escape;
static void leave(j_common_ptr codec)
{
    longjmp(escape, codec->err->msg_code);
}

static int try_access(j_decompress_ptr codec, jvirt_barray_ptr array, JDIMENSION start, JDIMENSION count)
{
    int refused = setjmp(escape);
    if (refused == 0)
        codec->mem->access_virt_barray((j_common_ptr)codec, array, start, count, FALSE);
    return refused;
}

static void test_used_blocks(void **state)
{
    (void)state;
    enum { BANDS = 10, ACROSS = 4, LINES = BANDS * DCTSIZE };
    static uint8_t picture[LINES * ACROSS * DCTSIZE * 3];
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    struct blocks blocks = {.picture = picture, .stride = ACROSS * DCTSIZE * 3, .rows = LINES};
    codec.err = jpeg_std_error(&errors);
    errors.error_exit = leave;
    jpeg_create_decompress(&codec);
    blocks_install(&blocks, ctx, &codec);
    codec.total_iMCU_rows = BANDS;
    codec.max_v_samp_factor = 1;
    jvirt_barray_ptr array = codec.mem->request_virt_barray((j_common_ptr)&codec, JPOOL_IMAGE, TRUE, ACROSS, BANDS, 1);
    codec.mem->realize_virt_arrays((j_common_ptr)&codec);
    assert_true(blocks.inside > 5 && blocks.lead > 0);
    for (int band = 0; band < BANDS; band++) {
        codec.output_scanline = (JDIMENSION)(band * DCTSIZE); /* all before this one's */
        assert_int_equal(try_access(&codec, array, (JDIMENSION)band, 1), 0);
    }
    assert_int_equal(try_access(&codec, array, BANDS - 1, 2), JERR_BAD_VIRTUAL_ACCESS);
    codec.output_scanline = LINES;
    assert_int_equal(try_access(&codec, array, 0, 1), JERR_BAD_VIRTUAL_ACCESS);
    jpeg_destroy_decompress(&codec);
    blocks_free(&blocks);
}

/* ---- the memory ---- */

/* Peak of this process so far, in bytes. */
static int64_t peak(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (int64_t)usage.ru_maxrss * 1024;
}

/* What a codec takes counts too, and only the system sees that: each picture is decoded in a process of its own.
 * `least`: bytes a pixel that it cannot do without, or nothing was measured. */
static void expect_bound(const char *what, struct bytes file, int64_t pixels, int64_t least)
{
    int64_t most = 8 * pixels + (4 << 20);
    decoder_free(&decoder);
    fflush(NULL);
    malloc_trim(0); /* what drawing the picture has left behind would be used again */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct image image;
        struct err err = {0};
        int64_t before = peak();
        moco_status status = decode_memory(&decoder, file.at, file.size, &image, &err);
        int64_t taken = peak() - before;
        if (status != MOCO_OK || taken > most || taken < least * pixels)
            fprintf(stderr, "%s: status %d %s, %.2f bytes a pixel\n", what, (int)status, err.text,
                    (double)taken / (double)pixels);
        _exit(status != MOCO_OK ? 1 : taken > most ? 2 : taken < least * pixels ? 3 : 0);
    }
    int how = -1;
    assert_int_equal(waitpid(child, &how, 0), child);
    if (how != 0)
        fail_msg("%s: status %d: 1 not decoded, 2 more than %lld bytes, 3 nothing measured", what,
                 WIFEXITED(how) ? WEXITSTATUS(how) : -1, (long long)most);
    free(file.at);
}

static void test_memory_of_a_picture(void **state)
{
    (void)state;
    enum { WIDE = 2500, HIGH = 1800, PIXELS = WIDE * HIGH, LONG = 16000, FLAT = 120, MOST_WIDE = 1 << 18 };
    static uint8_t large[PIXELS * 4]; /* where 9 bytes a pixel would be too many */
    static const struct {
        const char *what;
        struct jpeg_kind kind;
        int least;
    } cases[] = {{"grey", {.components = 1}, 2},
                 {"4:2:0", {.components = 3}, 2},
                 {"4:4:4", {.components = 3, .across = 1, .down = 1}, 2},
                 {"CMYK", {.components = 4, .across = 1, .down = 1}, 2},
                 {"grey, progressive", {.components = 1, .progressive = 1}, 2},
                 {"4:2:0, progressive", {.components = 3, .progressive = 1}, 2},
                 {"4:2:2, progressive", {.components = 3, .progressive = 1, .across = 2, .down = 1}, 3},
                 {"4:4:0, progressive", {.components = 3, .progressive = 1, .across = 1, .down = 2}, 3},
                 {"4:4:4, progressive", {.components = 3, .progressive = 1, .across = 1, .down = 1}, 5},
                 {"4:4:4, scans missing", {.components = 3, .progressive = 3, .across = 1, .down = 1}, 5},
                 {"4:4:4, planes", {.components = 3, .progressive = 4, .across = 1, .down = 1}, 5},
                 {"CMYK 4:2:0:4, progressive", {.components = 4, .progressive = 1}, 4},
                 {"CMYK, progressive", {.components = 4, .progressive = 1, .across = 1, .down = 1}, 7},
                 {"CMYK, planes", {.components = 4, .progressive = 4, .across = 1, .down = 1}, 7}};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* their own memory is counted with it */
#endif
    draw_pixels(large, WIDE, HIGH * 4 / 3, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_bound(cases[i].what, draw_jpeg(large, WIDE, HIGH, cases[i].kind), PIXELS, cases[i].least);
        expect_bound(cases[i].what, draw_jpeg(large, LONG, FLAT, cases[i].kind), LONG * FLAT, 2);
    }
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        struct png_kind grey = {PNG_COLOR_TYPE_GRAY, 8, interlaced, 0, 0},
                        deep = {PNG_COLOR_TYPE_RGB_ALPHA, 16, interlaced, 0, 0};
        expect_bound("grey PNG", draw_png(large, WIDE, WIDE, HIGH, grey), PIXELS, 2);
        expect_bound("PNG of 16 bits with alpha", draw_png(large, WIDE * 8, WIDE, HIGH / 2, deep), PIXELS / 2, 2);
        expect_bound("wide PNG", draw_png(large, MOST_WIDE * 8, MOST_WIDE, 1, deep), MOST_WIDE, 2);
    }
}

/* What one picture has taken is not held for the next. */
static void test_memory_after_a_picture(void **state)
{
    (void)state;
    enum { WIDE = 2000, HIGH = 1000, SMALL = 64 };
    static uint8_t large[WIDE * HIGH * 4];
    const struct jpeg_kind inks = {.components = 4, .progressive = 1, .across = 1, .down = 1};
    struct bytes first = draw_jpeg(large, WIDE, HIGH, inks), second = draw_jpeg(large, SMALL, SMALL, inks);
    struct image image;
    struct err err = {0};
    decoder_free(&decoder);
    int64_t before = ctx->live_bytes;
    assert_int_equal(decode_memory(&decoder, first.at, first.size, &image, &err), MOCO_OK);
    assert_in_range(ctx->live_bytes - before, 3 * WIDE * HIGH, 3 * WIDE * HIGH + 4096);
    assert_int_equal(decode_memory(&decoder, second.at, second.size, &image, &err), MOCO_OK);
    assert_in_range(ctx->live_bytes - before, 3 * SMALL * SMALL, 3 * SMALL * SMALL + 4096);
    free(first.at);
    free(second.at);
}

/* The blocks of a picture far wider than high are padded to whole ones, and rows of them wait to be used: what takes
 * more than the bound is refused for that, and nothing is taken for it. */
static void test_flat_pictures(void **state)
{
    (void)state;
    enum { WIDE = 65500 };
    static uint8_t line[WIDE * 8 * 4];
    struct image image;
    for (int components = 1; components <= 4; components += components == 1 ? 2 : 1) {
        struct bytes plain = draw_jpeg(line, WIDE, 1, (struct jpeg_kind){.components = components});
        struct bytes scans = draw_jpeg(
            line, WIDE, 1, (struct jpeg_kind){.components = components, .progressive = 1, .across = 4, .down = 1});
        struct err err = {0};
        assert_int_equal(decode_memory(&decoder, plain.at, plain.size, &image, &err), MOCO_OK);
        decoder_free(&decoder);
        ctx->peak_bytes = ctx->live_bytes;
        moco_status status = decode_memory(&decoder, scans.at, scans.size, &image, &err);
        assert_int_equal(status, components == 4 ? MOCO_EFORMAT : MOCO_OK);
        if (components == 4) {
            assert_non_null(strstr(err.text, "65500 x 1 pixels that takes"));
            assert_int_equal(ctx->peak_bytes, ctx->live_bytes);
        }
        free(plain.at);
        free(scans.at);
    }
    struct err err = {0};
    struct bytes png = draw_png(line, (1 << 18) + 1, (1 << 18) + 1, 1, (struct png_kind){.depth = 8});
    assert_int_equal(decode_memory(&decoder, png.at, png.size, &image, &err), MOCO_EFORMAT);
    free(png.at);
}

/* Memory that the system does not have is no fault of the picture. */
static void test_no_memory_for_blocks(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* their address space cannot be limited */
#endif
    enum { SIDE = 3000, ROOM = 16 << 20 };
    uint8_t *large = malloc((size_t)SIDE * SIDE);
    assert_non_null(large);
    memset(large, 7, (size_t)SIDE * SIDE);
    struct bytes file = draw_jpeg(large, SIDE, SIDE, (struct jpeg_kind){.components = 1, .progressive = 1});
    free(large);
    malloc_trim(0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct image image;
        struct image_box corner = {SIDE - 8, SIDE - 8, 8, 8}; /* so that the picture itself takes nothing */
        struct err err = {0};
        long pages = 0;
        FILE *statm = fopen("/proc/self/statm", "r");
        if (statm == NULL || fscanf(statm, "%ld", &pages) != 1)
            _exit(1);
        fclose(statm);
        rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ROOM; /* all coefficients take 18 MB */
        if (setrlimit(RLIMIT_AS, &(struct rlimit){most, most}) != 0)
            _exit(2);
        decoder.wish = wish;
        decoder.wish_user = &corner;
        moco_status status = decode_memory(&decoder, file.at, file.size, &image, &err);
        _exit(status == MOCO_ENOMEM && strstr(err.text, "JPEG decoder") != NULL ? 0 : 3);
    }
    int how = -1;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    free(file.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels_over_blocks),     cmocka_unit_test(test_used_blocks),
        cmocka_unit_test(test_memory_of_a_picture),    cmocka_unit_test(test_flat_pictures),
        cmocka_unit_test(test_memory_after_a_picture), cmocka_unit_test(test_no_memory_for_blocks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
