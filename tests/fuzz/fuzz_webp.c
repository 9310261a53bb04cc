/* SPDX-License-Identifier: MIT
 *
 * fuzz_webp: any bytes as a WebP: see picture_target.h; and a picture of any size that the format can name is refused
 * or asks for its part before anything is taken for it. A library without libwebp refuses every one. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz/support/picture_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#ifdef MOCO_HAVE_WEBP

static void check_claim(const uint8_t *bytes, size_t size)
{
    struct ctx *ctx;
    struct decoder d;
    struct image image;
    struct err err = {0};
    must(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) == MOCO_OK);
    decoder_init(&d, ctx, INT64_MAX, NULL);
    d.wish = no_part;
    int64_t before = ctx->live_bytes;
    moco_status status = checked(decode_webp(&d, &(struct source){.fd = -1}, bytes, size, &image, &err), &err);
    must((status == MOCO_ESHAPE || status == MOCO_EFORMAT) && ctx->peak_bytes == before);
    decoder_free(&d);
    ctx_unref(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct control control;
    if (size < CONTROL + 12)
        return 0;
    size -= CONTROL;
    memcpy(&control, bytes + size, CONTROL);
    uint8_t *copy = malloc(size); /* its end is the input's, for the sanitizers */
    must(copy != NULL);
    memcpy(copy, bytes, size);
    memcpy(copy, "RIFF", 4);
    memcpy(copy + 8, "WEBP", 4);
    check_claim(copy, size);
    check_picture(decode_webp, copy, size, control);
    free(copy);
    return 0;
}

#else

static moco_status refuse(struct decoder *d, struct source *source, const uint8_t *first, size_t size,
                          struct image *image, struct err *err)
{
    (void)source;
    return decode_memory(d, first, size, image, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size >= CONTROL + 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0)
        check_picture(refuse, bytes, size - CONTROL, (struct control){0});
    return 0;
}

#endif
