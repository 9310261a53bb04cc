/* SPDX-License-Identifier: MIT
 *
 * test_decode_webp: WebP pictures of every kind become the right pixels, whole and in parts, from every data set; files
 * of every badness become MOCO_EFORMAT with a sentence. libwebp's own encoder draws them, and its plainest decoder says
 * what they hold; Pillow says it in tests/golden/test_pillow.py. Without libwebp they are refused, with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode/decode_codec.h"
#include "moco/data.h"
#include "philox.h"
#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/rigs/data_rig.h"

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

/* Returns the sentence. */
static const char *decode_badly(const uint8_t *bytes, size_t size)
{
    static struct err err;
    struct image image;
    uint8_t *copy = malloc(size + 1); /* its end is the file's, for the sanitizers */
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    err = (struct err){0};
    moco_status status = decode_memory(&decoder, copy, size, &image, &err);
    free(copy);
    if (status != MOCO_EFORMAT)
        fail_msg("%zu bytes: status %d %s", size, (int)status, err.text);
    assert_true(strlen(err.text) > 10);
    return err.text;
}

static void expect_word(const char *sentence, const char *word)
{
    if (strstr(sentence, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", sentence, word);
}

#ifdef MOCO_HAVE_WEBP

#include <webp/decode.h>
#include <webp/encode.h>

struct webp_kind {
    int lossless, alpha;
    int filter; /* lossy: 0 simple, 1 strong */
    int quality, partitions;
};

static struct bytes draw_webp(const uint8_t *rgb, int w, int h, struct webp_kind kind)
{
    WebPConfig config;
    WebPPicture picture;
    WebPMemoryWriter out;
    assert_true(WebPConfigInit(&config) && WebPPictureInit(&picture));
    config.lossless = config.exact = kind.lossless;
    config.quality = (float)kind.quality;
    config.method = 2;
    config.filter_type = kind.filter;
    config.filter_strength = 70;
    config.partitions = kind.partitions;
    config.alpha_compression = 1;
    picture.use_argb = kind.lossless;
    picture.width = w;
    picture.height = h;
    uint8_t *rgba = malloc((size_t)w * (size_t)h * 4);
    assert_non_null(rgba);
    for (int i = 0; i < w * h; i++) {
        memcpy(rgba + 4 * i, rgb + 3 * i, 3);
        rgba[4 * i + 3] = (uint8_t)(kind.alpha ? i * 7 : 255);
    }
    assert_true(WebPPictureImportRGBA(&picture, rgba, w * 4));
    WebPMemoryWriterInit(&out);
    picture.writer = WebPMemoryWrite;
    picture.custom_ptr = &out;
    assert_true(WebPEncode(&config, &picture));
    WebPPictureFree(&picture);
    free(rgba);
    struct bytes file = {malloc(out.size), out.size};
    assert_non_null(file.at);
    memcpy(file.at, out.mem, out.size);
    WebPMemoryWriterClear(&out);
    return file;
}

static struct bytes drawn(int w, int h, struct webp_kind kind)
{
    uint8_t *rgb = malloc((size_t)w * (size_t)h * 3);
    assert_non_null(rgb);
    draw_pixels(rgb, w, h, 3);
    struct bytes file = draw_webp(rgb, w, h, kind);
    free(rgb);
    return file;
}

static void decode_well(struct bytes file, struct image *image)
{
    struct err err = {0};
    if (decode_memory(&decoder, file.at, file.size, image, &err) != MOCO_OK)
        fail_msg("%s", err.text);
}

/* ---- pixels ---- */

static void test_lossless(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {2, 1}, {1, 3}, {16, 16}, {61, 45}, {300, 7}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int alpha = 0; alpha < 2; alpha++) {
            int w = sizes[i][0], h = sizes[i][1];
            static uint8_t rgb[300 * 61 * 3];
            struct image image;
            draw_pixels(rgb, w, h, 5);
            struct bytes file = draw_webp(rgb, w, h, (struct webp_kind){1, alpha, 0, 30, 0});
            decode_well(file, &image);
            assert_true(image.w == w && image.h == h && image.x0 == 0 && image.y0 == 0);
            assert_memory_equal(image.pixels, rgb, (size_t)w * (size_t)h * 3); /* also where nothing shows */
            free(file.at);
        }
}

static moco_status wish(void *user, int w, int h, struct image_box *box, struct err *err)
{
    (void)w;
    (void)h;
    (void)err;
    *box = *(const struct image_box *)user;
    return MOCO_OK;
}

static void expect_part(struct bytes file, struct image_box box, int w, const uint8_t *whole)
{
    struct image image;
    decoder_free(&decoder); /* so that no row's end is another picture's */
    decoder.wish = wish;
    decoder.wish_user = &box;
    decode_well(file, &image);
    decoder.wish = NULL;
    for (int y = box.y; y < box.y + box.h; y++)
        if (memcmp(image.pixels + (size_t)(y - image.y0) * image.stride + (size_t)(box.x - image.x0) * 3,
                   whole + ((size_t)y * (size_t)w + (size_t)box.x) * 3, (size_t)box.w * 3) != 0)
            fail_msg("part %d %d %d %d: row %d differs", box.x, box.y, box.w, box.h, y);
    assert_true(decoder.pixels != NULL && image.stride <= (size_t)(box.w + 8) * 3);
}

static void test_whole_and_parts(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {3, 2}, {16, 16}, {61, 45}, {131, 97}, {33, 200}};
    struct rng rng;
    rng_init(&rng, 11, 0, 0, 0, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < 8; kind++) {
            int w = sizes[i][0], h = sizes[i][1], plain_w, plain_h;
            struct bytes file =
                drawn(w, h, (struct webp_kind){kind == 7, kind & 1, kind >> 1 & 1, kind & 4 ? 5 : 90, kind & 3});
            uint8_t *plain = WebPDecodeRGB(file.at, file.size, &plain_w, &plain_h);
            assert_true(plain != NULL && plain_w == w && plain_h == h);
            struct image image;
            decode_well(file, &image);
            assert_memory_equal(image.pixels, plain, (size_t)w * (size_t)h * 3);
            for (int part = 0; part < 12; part++) {
                struct image_box box = {.w = 1 + (int)rng_below(&rng, (uint64_t)w),
                                        .h = 1 + (int)rng_below(&rng, (uint64_t)h)};
                box.x = (int)rng_below(&rng, (uint64_t)(w - box.w) + 1);
                box.y = (int)rng_below(&rng, (uint64_t)(h - box.h) + 1);
                expect_part(file, box, w, plain);
            }
            WebPFree(plain);
            free(file.at);
        }
}

/* ---- containers ---- */

static void put(struct bytes *b, const void *bytes, size_t size)
{
    b->at = realloc(b->at, b->size + size + 1);
    assert_non_null(b->at);
    memcpy(b->at + b->size, bytes, size);
    b->size += size;
}

static void put_number(struct bytes *b, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        put(b, (uint8_t[]){(uint8_t)(value >> 8 * i)}, 1);
}

static void put_chunk(struct bytes *b, const char *type, const void *content, size_t size)
{
    put(b, type, 4);
    put_number(b, (uint32_t)size, 4);
    put(b, content, size);
    if (size % 2 != 0)
        put(b, "", 1);
}

/* A file with VP8X and, before the one chunk of `simple`, whatever is given. */
static struct bytes contain(struct bytes simple, int w, int h, int flags, const char *type, const void *extra,
                            size_t size)
{
    struct bytes b = {0};
    put(&b, "RIFF\0\0\0\0WEBP", 12);
    put(&b, "VP8X\12\0\0\0", 8);
    put_number(&b, (uint32_t)flags, 4);
    put_number(&b, (uint32_t)w - 1, 3);
    put_number(&b, (uint32_t)h - 1, 3);
    put_chunk(&b, type, extra, size);
    put(&b, simple.at + 12, simple.size - 12);
    return b;
}

/* A frame at x, y that holds the one chunk of `simple`. */
static struct bytes frame(struct bytes simple, int x, int y, int w, int h)
{
    struct bytes b = {0};
    put(&b, "ANMF", 4);
    put_number(&b, (uint32_t)(16 + simple.size - 12), 4);
    const int numbers[] = {x / 2, y / 2, w - 1, h - 1, 100};
    for (int i = 0; i < 5; i++)
        put_number(&b, (uint32_t)numbers[i], 3);
    put(&b, "", 1);
    put(&b, simple.at + 12, simple.size - 12);
    return b;
}

static void expect_same(struct bytes file, struct bytes simple)
{
    struct image image;
    decode_well(simple, &image);
    size_t size = (size_t)image.w * (size_t)image.h * 3;
    uint8_t *pixels = malloc(size);
    assert_non_null(pixels);
    memcpy(pixels, image.pixels, size);
    memset(decoder.pixels, 0, size);
    decode_well(file, &image);
    assert_memory_equal(image.pixels, pixels, size);
    free(pixels);
}

static void test_containers(void **state)
{
    (void)state;
    static const uint8_t rubbish[77] = "not a profile, not a tag, not a plane of alpha";
    static const char *const ignored[] = {"ICCP", "EXIF", "XMP ", "ALPH", "what"};
    struct bytes simple = drawn(21, 14, (struct webp_kind){0, 0, 1, 60, 0});
    for (size_t i = 0; i < 5; i++) {
        struct bytes file = contain(simple, 21, 14, 0x3c, ignored[i], rubbish, sizeof rubbish);
        expect_same(file, simple);
        put(&file, rubbish, sizeof rubbish); /* behind the picture */
        expect_same(file, simple);
        free(file.at);
    }
    struct bytes other = drawn(10, 6, (struct webp_kind){1, 0, 1, 60, 0});
    struct bytes full = frame(simple, 0, 0, 21, 14), part = frame(other, 4, 2, 10, 6), file = {0};
    file = contain(full, 21, 14, 2, "ANIM", rubbish, 6);
    file.size = 12 + 18 + 14;
    put(&file, full.at, full.size);
    put(&file, part.at, part.size);
    expect_same(file, simple);
    file.size = 12 + 18 + 14;
    put(&file, part.at, part.size);
    put(&file, full.at, full.size);
    expect_word(decode_badly(file.at, file.size), "whose first frame covers only 10 x 6 of them");
    free(file.at);
    free(full.at);
    free(part.at);
    free(other.at);
    free(simple.at);
}

/* ---- what is refused ---- */

static void test_cut_anywhere(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct bytes simple = drawn(25, 18, (struct webp_kind){kind & 1, kind >> 1, 1, 60, 0});
        size_t end = simple.size - (simple.at[simple.size - 1] == 0); /* a padding byte is nobody's business */
        for (size_t size = 0; size < end; size++)
            decode_badly(simple.at, size);
        /* the same where the container says nothing of it: the codec notices */
        int bad = 0;
        for (size_t size = 21; size < simple.size && kind < 2; size++) {
            uint32_t length = (uint32_t)(size - 20);
            memcpy(simple.at + 16, &length, sizeof length);
            struct image image;
            struct err err = {0};
            moco_status status = decode_memory(&decoder, simple.at, size, &image, &err);
            assert_true(status == MOCO_OK || (status == MOCO_EFORMAT && err.text[0] != 0));
            bad += status != MOCO_OK;
        }
        assert_true(kind >= 2 || bad + 8 > (int)simple.size - 21); /* a last word may hold nothing that is read */
        free(simple.at);
    }
}

static void test_wild_headers(void **state)
{
    (void)state;
    struct bytes lossy = drawn(25, 18, (struct webp_kind){0, 0, 1, 60, 0}),
                 lossless = drawn(25, 18, (struct webp_kind){1, 0, 0, 60, 0});
    uint8_t file[4096];
    assert_true(lossy.size < sizeof file && lossless.size < sizeof file);
    expect_word(decode_badly(lossy.at, 12), "no picture in the file");
    memcpy(file, lossy.at, lossy.size);
    memset(file + 16, 0xff, 4); /* the chunk's length */
    expect_word(decode_badly(file, lossy.size), "ends too early");
    memcpy(file + 12, "JUNK", 4);
    expect_word(decode_badly(file, lossy.size), "ends too early");
    memcpy(file + 12, "ANMF\4\0\0\0", 8);
    expect_word(decode_badly(file, lossy.size), "chunk ANMF of 4 bytes");
    memcpy(file + 12, "VP8X\4\0\0\0", 8);
    expect_word(decode_badly(file, lossy.size), "chunk VP8X of 4 bytes");
    memcpy(file, lossy.at, lossy.size);
    memcpy(file + 12, "VP8L", 4); /* the other codec's */
    expect_word(decode_badly(file, lossy.size), "damaged data");
    memcpy(file, lossy.at, lossy.size);
    memset(file + 26, 0, 4);
    decode_badly(file, lossy.size); /* 0 x 0 */
    int64_t before = ctx->live_bytes;
    ctx->peak_bytes = before;
    memcpy(file, lossy.at, lossy.size);
    memcpy(file + 26, "\xff\x3f\xff\x3f", 4);
    expect_word(decode_badly(file, lossy.size), "16383 x 16383 pixels, more than the limit");
    memcpy(file, lossless.at, lossless.size);
    memset(file + 21, 0xff, 3);
    file[24] = 0x0f;
    expect_word(decode_badly(file, lossless.size), "16384 x 16384 pixels, more than the limit");
    assert_int_equal(ctx->peak_bytes, before); /* nothing was taken for them */
    free(lossy.at);
    free(lossless.at);
    struct bytes small = drawn(1, 1, (struct webp_kind){0, 0, 0, 60, 0});
    small.at = realloc(small.at, 2 << 20); /* two megabytes for one pixel */
    assert_non_null(small.at);
    memset(small.at + small.size, 0, ((size_t)2 << 20) - small.size);
    memcpy(small.at + 16, "\0\0\x1f\0", 4);
    expect_word(decode_badly(small.at, 2 << 20), "more than 8 a pixel");
    free(small.at);
}

/* A file that does not fit the window is read in one piece, which is counted; memory may fail. */
static void test_large_file(void **state)
{
    (void)state;
    enum { SIDE = 420 };
    uint8_t *noise = malloc(SIDE * SIDE * 3);
    struct rng rng;
    struct image image;
    struct err err = {0};
    assert_non_null(noise);
    rng_init(&rng, 12, 0, 0, 0, 0);
    for (size_t i = 0; i < SIDE * SIDE * 3; i++)
        noise[i] = (uint8_t)rng_below(&rng, 256);
    struct bytes file = draw_webp(noise, SIDE, SIDE, (struct webp_kind){1, 0, 0, 10, 0});
    assert_true(file.size > (size_t)256 << 10);
    struct scratch_folder folder;
    scratch_folder_make(&folder);
    char path[300];
    snprintf(path, sizeof path, "%s/large.webp", folder.path);
    scratch_write(&folder, "large.webp", file.at, file.size);
    if (decode_file(&decoder, path, &image, &err) != MOCO_OK)
        fail_msg("%s", err.text);
    assert_memory_equal(image.pixels, noise, SIDE * SIDE * 3);
    assert_true(ctx->peak_bytes > (int64_t)file.size + SIDE * SIDE * 3);
    int refused = 0;
    for (int fail_at = 1; fail_at < 6; fail_at++) {
        struct failing_alloc memory = {.fail_at = fail_at};
        struct ctx *small;
        struct decoder d;
        if (ctx_create(&small,
                       &(struct ctx_options){
                           .alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
                       &err) != MOCO_OK)
            continue;
        decoder_init(&d, small, DECODE_MAX_PIXELS, NULL);
        moco_status status = decode_file(&d, path, &image, &err);
        assert_true(status == MOCO_OK || (status == MOCO_ENOMEM && memory.refused > 0));
        refused += status == MOCO_ENOMEM;
        decoder_free(&d);
        ctx_unref(small);
        assert_int_equal(memory.live, 0);
    }
    assert_int_equal(refused, 3); /* the window, the file, the picture */
    _Atomic int cancel = 1;
    decoder.cancel = &cancel;
    assert_int_equal(decode_file(&decoder, path, &image, &err), MOCO_ECANCELED);
    decoder.cancel = NULL;
    scratch_folder_remove(&folder);
    free(noise);
    free(file.at);
}

/* ---- data sets ---- */

enum { COUNT = 4, SIDE = 24, SIZE = 16 };

static moco_loader *load(moco_dataset *ds)
{
    moco_augment_options recipe;
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v2", SIZE), MOCO_OK);
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = COUNT;
    o.recipe[0] = &recipe;
    o.max_bad = 0;
    moco_loader *loader;
    assert_int_equal(moco_loader_create(&loader, ds, &o), MOCO_OK);
    assert_int_equal(moco_loader_start(loader, 0), MOCO_OK);
    return loader;
}

static void expect_views(moco_dataset *ds, const uint8_t *views)
{
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_dataset_count(ds), COUNT);
    moco_loader *loader = load(ds);
    if (moco_loader_next(loader, &batch) != MOCO_OK)
        fail_msg("%s", moco_error());
    assert_memory_equal(batch.view[0], views, (size_t)COUNT * SIZE * SIZE * 3);
    moco_loader_free(loader);
    moco_dataset_free(ds);
}

/* By any name and from any set, the views are those of the same pixels in a PNG. */
static void test_data_sets(void **state)
{
    (void)state;
    static const char *const name[2][COUNT] = {{"a.png", "b.png", "c.png", "d.png"},
                                               {"a.webp", "b.jpg", "c.WebP", "d.png"}};
    static uint8_t rgb[SIDE * SIDE * 3], views[COUNT * SIZE * SIZE * 3];
    struct data_rig rig[2];
    moco_dataset *ds;
    char path[300], command[700];
    for (int r = 0; r < 2; r++) {
        assert_int_equal(data_rig_make(&rig[r]), 0);
        for (int i = 0; i < COUNT; i++) {
            draw_pixels(rgb, SIDE, SIDE, i);
            struct bytes file =
                r == 0 ? draw_png(rgb, SIDE * 3, SIDE, SIDE, (struct png_kind){.color_type = 2, .depth = 8})
                       : draw_webp(rgb, SIDE, SIDE, (struct webp_kind){1, i & 1, 0, 50, 0});
            scratch_write(&rig[r].folder, name[r][i], file.at, file.size);
            free(file.at);
        }
    }
    assert_int_equal(moco_dataset_open_folder(&ds, rig[0].context, rig[0].folder.path), MOCO_OK);
    moco_loader *loader = load(ds);
    moco_batch batch;
    moco_batch_init(&batch);
    assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
    memcpy(views, batch.view[0], sizeof views);
    moco_loader_free(loader);
    moco_dataset_free(ds);
    assert_int_equal(moco_dataset_open_folder(&ds, rig[1].context, rig[1].folder.path), MOCO_OK);
    expect_views(ds, views);
    snprintf(command, sizeof command, "cd '%s' && tar -cf s.tar a.webp b.jpg c.WebP d.png && ls -1 [a-d].* >list",
             rig[1].folder.path);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/s.tar", rig[1].folder.path);
    assert_int_equal(moco_dataset_open_tar(&ds, rig[1].context, (const char *const[]){path}, 1), MOCO_OK);
    expect_views(ds, views);
    snprintf(path, sizeof path, "%s/list", rig[1].folder.path);
    assert_int_equal(moco_dataset_open_list(&ds, rig[1].context, path), MOCO_OK);
    expect_views(ds, views);
    for (int r = 0; r < 2; r++) {
        assert_string_equal(rig[r].log, "");
        assert_int_equal(data_rig_free(&rig[r]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lossless),     cmocka_unit_test(test_whole_and_parts), cmocka_unit_test(test_containers),
        cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_wild_headers),    cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_data_sets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

#else

static void test_refused(void **state)
{
    (void)state;
    expect_word(decode_badly((const uint8_t *)"RIFF\4\0\0\0WEBPVP8 ", 16), "built without libwebp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

#endif
