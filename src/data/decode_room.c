/* SPDX-License-Identifier: MIT
 *
 * decode_room: how large a picture may be, and the memory for its pixels, which is kept from one picture to the
 * next. */
#include "decode_codec.h"

#define KEEP_PIXELS ((size_t)2 << 20) /* bytes of picture kept from image to image; more is given back */

void decoder_init(struct decoder *decoder, struct ctx *ctx, int64_t max_pixels, const _Atomic int *cancel)
{
    *decoder = (struct decoder){.ctx = ctx, .max_pixels = max_pixels, .cancel = cancel};
}

void decoder_free(struct decoder *decoder)
{
    mem_free(decoder->ctx, decoder->window);
    mem_free(decoder->ctx, decoder->pixels);
    decoder->window = decoder->pixels = NULL;
}

moco_status decode_limit(const struct decoder *decoder, int64_t w, int64_t h, struct err *err)
{
    if (w < 1 || h < 1)
        return err_set(err, MOCO_EFORMAT, "it has %lld x %lld pixels", (long long)w, (long long)h);
    if (h > decoder->max_pixels / w || w > INT32_MAX / 4 || h > INT32_MAX / 4)
        return err_set(err, MOCO_EFORMAT, "it has %lld x %lld pixels, more than the limit of %lld in all", (long long)w,
                       (long long)h, (long long)decoder->max_pixels);
    return MOCO_OK;
}

moco_status decode_room_for(struct decoder *decoder, int w, int h, struct image_box box, struct image *image,
                            struct err *err)
{
    size_t bytes = (size_t)box.w * (size_t)box.h * 3;
    size_t have = decoder->pixels != NULL ? mem_size(decoder->pixels) : 0;
    if (have < bytes || (have > KEEP_PIXELS && bytes < have)) { /* a large picture is not held for a small one */
        mem_free(decoder->ctx, decoder->pixels);
        decoder->pixels = mem_alloc(decoder->ctx, bytes, err);
        if (decoder->pixels == NULL)
            return MOCO_ENOMEM;
    }
    *image = (struct image){decoder->pixels, w, h, (size_t)box.w * 3, box.x, box.y};
    return MOCO_OK;
}

moco_status decode_room(struct decoder *decoder, int64_t w, int64_t h, struct image *image, struct err *err)
{
    TRY(decode_limit(decoder, w, h, err));
    return decode_room_for(decoder, (int)w, (int)h, (struct image_box){0, 0, (int)w, (int)h}, image, err);
}
