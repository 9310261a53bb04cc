/* SPDX-License-Identifier: MIT
 *
 * fuzz_jpeg: any bytes behind a JPEG's first three: see picture_target.h; and a picture of any size that the format can
 * name is refused or asks for its part before anything is taken for it. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz/support/picture_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

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
    moco_status status = checked(decode_jpeg(&d, &(struct source){.fd = -1}, bytes, size, &image, &err), &err);
    must((status == MOCO_ESHAPE || status == MOCO_EFORMAT) && ctx->peak_bytes == before);
    decoder_free(&d);
    ctx_unref(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct control control;
    if (size < CONTROL)
        return 0;
    memcpy(&control, bytes + size - CONTROL, CONTROL);
    if (size < CONTROL + 3 || bytes[2] != 0xff) /* libjpeg reads such files too, but decode.c does not call it */
        control.ask &= (uint8_t)~ASK_WINDOW;
    check_claim(bytes, size - CONTROL);
    check_picture(decode_jpeg, bytes, size - CONTROL, control);
    return 0;
}
