/* SPDX-License-Identifier: MIT
 *
 * picture_target: what must hold of any bytes given to the decoder, shared by the JPEG and the PNG target. A picture
 * that decodes has the same pixels through a file window of any size and in any part of it (a file that shrinks while
 * it is read may lose its end, and is refused then); one that does not gets MOCO_EFORMAT and a sentence; failing
 * memory, failing calls on files and a shutdown give their own status; nothing leaks.
 * An input ends in CONTROL bytes that choose among these. */
#ifndef MOCO_FUZZ_PICTURE_TARGET_H
#define MOCO_FUZZ_PICTURE_TARGET_H

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode/decode_codec.h"
#include "fuzz/support/faulty_calls.h"
#include "fuzz/support/memory_file.h"
#include "support/failing_alloc.h"

enum { CONTROL = 8, PIXELS = 1 << 12 };
enum { ASK_WINDOW = 1, ASK_PART = 2, ASK_MEMORY = 4, ASK_CANCEL = 8, ASK_IO = 16, FIX_SUMS = 32, ASK_FAULT = 64 };
struct control {
    uint8_t ask, window, fail_at, x, y, w, h, cut;
};

typedef moco_status (*codec)(struct decoder *, struct source *, const uint8_t *, size_t, struct image *, struct err *);

static void must(int holds)
{
    if (!holds)
        abort();
}

static moco_status checked(moco_status status, const struct err *err)
{
    must(status == MOCO_OK || (err->status == status && err->text[0] != 0));
    return status;
}

/* The codec alone on a file, which was a byte longer when it was opened if it does not fit the window, and whose
 * content from `broken` on cannot be read if that is not negative. */
static moco_status from_file(codec decode, struct decoder *d, const uint8_t *bytes, size_t size, size_t window,
                             int64_t broken, struct image *image)
{
    struct err err = {0};
    uint8_t *room = malloc(window);
    must(room != NULL);
    memory_file(bytes, size);
    struct source source = {
        .fd = memory_file_fd, .end = (int64_t)size + (window < size), .window = room, .window_size = window};
    const uint8_t *first;
    size_t got = source_next(&source, &first);
    if (broken >= 0)
        source.fd = 1 << 20; /* nobody's */
    moco_status status = got > 0 ? checked(decode(d, &source, first, got, image, &err), &err) : MOCO_EFORMAT;
    must(source.status == MOCO_OK || (source.status == MOCO_EIO && status != MOCO_OK));
    free(room);
    return status;
}

static moco_status part_of(void *user, int w, int h, struct image_box *box, struct err *err)
{
    const struct control *c = user;
    (void)err;
    box->x = w * c->x / 256;
    box->y = h * c->y / 256;
    box->w = 1 + (w - box->x - 1) * c->w / 255;
    box->h = 1 + (h - box->y - 1) * c->h / 255;
    return MOCO_OK;
}

static moco_status no_part(void *user, int w, int h, struct image_box *box, struct err *err)
{
    (void)user;
    (void)box;
    return err_set(err, MOCO_ESHAPE, "nothing of %d x %d", w, h);
}

static void check_part(struct decoder *d, const uint8_t *bytes, size_t size, struct control *c, const uint8_t *whole,
                       int w, int h)
{
    struct image image;
    struct image_box box;
    struct err err = {0};
    d->wish = part_of;
    d->wish_user = c;
    must(checked(decode_memory(d, bytes, size, &image, &err), &err) == MOCO_OK && image.w == w && image.h == h);
    part_of(c, w, h, &box, &err);
    must(box.x >= image.x0 && box.y >= image.y0 && (size_t)(box.x - image.x0 + box.w) * 3 <= image.stride);
    for (int y = box.y; y < box.y + box.h; y++)
        must(memcmp(image.pixels + (size_t)(y - image.y0) * image.stride + (size_t)(box.x - image.x0) * 3,
                    whole + ((size_t)y * (size_t)w + (size_t)box.x) * 3, (size_t)box.w * 3) == 0);
    d->wish = no_part;
    moco_status status = decode_memory(d, bytes, size, &image, &err); /* codecs that cannot skip do not ask */
    must(status == MOCO_ESHAPE || status == MOCO_OK);
    d->wish = NULL;
}

static void check_memory(const uint8_t *bytes, size_t size, int fail_at, moco_status wanted)
{
    struct failing_alloc memory = {.fail_at = fail_at};
    struct ctx *ctx;
    struct decoder d;
    struct image image;
    struct err err = {0};
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return;
    decoder_init(&d, ctx, PIXELS, NULL);
    const char *path = memory_file(bytes, size);
    moco_status status = checked(decode_file(&d, path, &image, &err), &err);
    must(status == wanted || (status == MOCO_ENOMEM && memory.refused > 0));
    decoder_free(&d);
    ctx_unref(ctx);
    must(memory.live == 0);
}

/* Opening, examining or reading the file fails: `fail_at` says which call, `cut` why. */
static void check_faults(struct decoder *d, const uint8_t *bytes, size_t size, struct control c, moco_status wanted)
{
    enum { CALLS = 5 };
    struct image image;
    struct err err = {0};
    const char *path = memory_file(bytes, size);
    int before = dup(memory_file_fd), reason = faulty_reason(c.cut);
    close(before);
    faulty_calls_begin(c.fail_at % CALLS, reason);
    moco_status status = checked(decode_file(d, path, &image, &err), &err);
    enum faulty_outcome outcome = faulty_calls_end();
    if (outcome == FAULTY_NONE)
        must(status == wanted);
    else if (outcome == FAULTY_OPEN && reason != EMFILE && reason != ENOMEM && reason != EIO && reason != ESTALE)
        must(status == MOCO_EFORMAT);
    else
        must(status == (outcome == FAULTY_OPEN && reason == ENOMEM ? MOCO_ENOMEM : MOCO_EIO));
    int after = dup(memory_file_fd);
    close(after);
    must(before >= 0 && after == before);
}

/* All of the above on one picture. */
static void check_picture(codec decode, const uint8_t *bytes, size_t size, struct control c)
{
    static uint8_t whole[PIXELS * 3];
    struct ctx *ctx;
    struct decoder d;
    struct image image;
    struct err err = {0};
    _Atomic int cancel = 0;
    must(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) == MOCO_OK);
    decoder_init(&d, ctx, PIXELS, &cancel);
    moco_status status = checked(decode_memory(&d, bytes, size, &image, &err), &err);
    must(status == MOCO_OK || status == MOCO_EFORMAT);
    size_t row = 0, rows = 0;
    if (status == MOCO_OK) {
        row = (size_t)image.w * 3;
        rows = (size_t)image.h;
        must(image.w > 0 && image.h > 0 && row * rows <= sizeof whole && image.x0 == 0 && image.y0 == 0 &&
             image.stride == row);
        memcpy(whole, image.pixels, row * rows);
    }
    if (c.ask & ASK_WINDOW && size > 8) {
        moco_status windowed = from_file(decode, &d, bytes, size, c.window + 1u, -1, &image);
        must(windowed == MOCO_OK || windowed == MOCO_EFORMAT);
        must(windowed != MOCO_OK || status != MOCO_OK || memcmp(whole, image.pixels, row * rows) == 0);
        must(from_file(decode, &d, bytes, size, size, -1, &image) == status);
    }
    if (c.ask & ASK_PART && status == MOCO_OK)
        check_part(&d, bytes, size, &c, whole, (int)row / 3, (int)rows);
    if (c.ask & ASK_IO && size > 8)
        from_file(decode, &d, bytes, size, size * c.cut / 256 + 1, 0, &image);
    if (c.ask & ASK_FAULT)
        check_faults(&d, bytes, size, c, status);
    if (c.ask & ASK_CANCEL) {
        atomic_store(&cancel, 1);
        moco_status stopped = decode_memory(&d, bytes, size, &image, &err);
        must(stopped == MOCO_ECANCELED || stopped == MOCO_EFORMAT);
    }
    if (c.ask & ASK_MEMORY)
        check_memory(bytes, size, c.fail_at, status);
    decoder_free(&d);
    must(ctx->live_bytes == 0);
    ctx_unref(ctx);
}

#endif
