/* SPDX-License-Identifier: MIT
 *
 * decode_webp: libwebp's advanced interface with its defaults, into the decoder's own memory. libwebp does not see
 * the file. It gets the one chunk that holds the colours ("VP8 " or "VP8L"), whole. Alpha is therefore dropped, as
 * Pillow's convert("RGB") drops it, and nothing else can make a picture bad: neither metadata (ICC, EXIF with its
 * orientation, which is ignored as in a JPEG) nor bytes behind the picture. Of an animation the first frame is taken
 * if it covers the canvas. What a reader would get wrong: WebP has no checksum, and libwebp no warnings. Missing
 * bytes are noticed; changed bytes often give a picture, too. And libwebp allocates memory that no context counts: a
 * lossless picture needs five bytes a pixel, whatever part of it is wanted, and tables of codes. A hostile file can
 * name one table for each 4 x 4 pixels, of 12 to 20 KiB, but no more than 65,536. */
#include <string.h>

#include <webp/decode.h>

#include "decode_codec.h"

enum {
    CHUNK = 8,   /* a chunk's header: type, length */
    HEAD = 32,   /* bytes of the picture in which its size is found */
    MARGIN = 2,  /* pixels around a part: chroma is upsampled from both neighbours, and a cut would hide them */
    CANVAS = 10, /* bytes of VP8X */
    FRAME = 16,  /* bytes of ANMF before the chunks in it */
};

struct webp {
    struct decoder *decoder;
    struct source *source;
    struct image *image;
    struct err *err;
    const uint8_t *bytes; /* not yet consumed of the window */
    size_t left;
    uint32_t canvas[2];         /* of VP8X, less 1 */
    uint32_t frame[2];          /* of an animation's first frame: its place, halved */
    int animated;               /* the picture lies in a frame */
    uint8_t head[CHUNK + HEAD]; /* of the chunk that holds the picture: its header and first bytes */
    size_t length;              /* of that chunk's content */
    uint8_t *held;              /* the content, if it does not lie in the window */
};

static moco_status ends_early(struct webp *w)
{
    return err_set(w->err, MOCO_EFORMAT, "WebP decoder: the file ends too early");
}

/* Takes `size` bytes; 0: the file ends first, or cannot be read. */
static int take(struct webp *w, uint8_t *to, size_t size)
{
    while (size > 0) {
        if (w->left == 0)
            w->left = source_next(w->source, &w->bytes);
        if (w->left == 0)
            return 0;
        size_t part = size < w->left ? size : w->left;
        memcpy(to, w->bytes, part);
        to += part;
        w->bytes += part;
        w->left -= part;
        size -= part;
    }
    return 1;
}

/* What is left out is not read. */
static int skip(struct webp *w, int64_t size)
{
    int64_t part = size < (int64_t)w->left ? size : (int64_t)w->left;
    w->bytes += part;
    w->left -= (size_t)part;
    if (size - part > w->source->end - w->source->at)
        return 0;
    w->source->at += size - part;
    return 1;
}

static uint32_t number(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static int is_type(const struct webp *w, const char *type)
{
    return memcmp(w->head, type, 4) == 0;
}

static moco_status stop_if_cancelled(struct webp *w)
{
    if (w->decoder->cancel != NULL && atomic_load_explicit(w->decoder->cancel, memory_order_relaxed))
        return err_set(w->err, MOCO_ECANCELED, "decoding was cancelled");
    return MOCO_OK;
}

/* The header of a chunk has been read, and it is not the picture's. A frame's own chunks are read one by one. */
static moco_status pass_chunk(struct webp *w)
{
    size_t known = is_type(w, "VP8X") ? CANVAS : is_type(w, "ANMF") ? FRAME : 0;
    if (w->length < known)
        return err_set(w->err, MOCO_EFORMAT, "WebP decoder: a chunk %.4s of %zu bytes; it must have %zu",
                       (const char *)w->head, w->length, known);
    if (!take(w, w->head + CHUNK, known))
        return ends_early(w);
    for (int i = 0; i < 2; i++) {
        if (known == CANVAS)
            w->canvas[i] = number(w->head + CHUNK + 4 + 3 * i, 3);
        if (known == FRAME)
            w->frame[i] = number(w->head + CHUNK + 3 * i, 3);
    }
    w->animated |= known == FRAME;
    if (known == FRAME)
        return MOCO_OK;
    return skip(w, (int64_t)(w->length - known) + (int64_t)(w->length & 1)) ? MOCO_OK : ends_early(w);
}

static moco_status find_picture(struct webp *w)
{
    if (!skip(w, 12)) /* "RIFF", a length that is nobody's business, "WEBP" */
        return ends_early(w);
    for (;;) {
        TRY(stop_if_cancelled(w));
        if (!take(w, w->head, CHUNK))
            return err_set(w->err, MOCO_EFORMAT, "WebP decoder: there is no picture in the file");
        w->length = number(w->head + 4, 4);
        if (is_type(w, "VP8 ") || is_type(w, "VP8L"))
            break;
        TRY(pass_chunk(w));
    }
    int64_t there = (int64_t)w->left + w->source->end - w->source->at;
    if ((int64_t)w->length > there)
        return err_set(w->err, MOCO_EFORMAT, "WebP decoder: the file ends too early: %lld of %zu bytes are there",
                       (long long)there, w->length);
    return MOCO_OK;
}

static moco_status failure(struct webp *w, VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return err_set(w->err, MOCO_ENOMEM, "WebP decoder: no memory");
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return err_set(w->err, MOCO_EFORMAT, "WebP decoder: the picture ends too early");
    default:
        return err_set(w->err, MOCO_EFORMAT, "WebP decoder: damaged data (code %d)", (int)code);
    }
}

/* The picture's size, from its first bytes, and whether it may be had. */
static moco_status read_size(struct webp *w, WebPBitstreamFeatures *f)
{
    size_t known = w->length < HEAD ? w->length : HEAD;
    if (w->left >= w->length)
        memcpy(w->head + CHUNK, w->bytes, known);
    else if (!take(w, w->head + CHUNK, known))
        return ends_early(w);
    VP8StatusCode code = WebPGetFeatures(w->head, CHUNK + known, f);
    if (code != VP8_STATUS_OK)
        return failure(w, code);
    TRY(decode_limit(w->decoder, f->width, f->height, w->err));
    int64_t pixels = (int64_t)f->width * f->height;
    if ((int64_t)w->length > 8 * pixels + (INT64_C(1) << 20))
        return err_set(w->err, MOCO_EFORMAT, "a WebP picture of %d x %d pixels in %zu bytes, more than 8 a pixel",
                       f->width, f->height, w->length);
    if (w->animated && (w->frame[0] != 0 || w->frame[1] != 0 || (int64_t)w->canvas[0] + 1 != f->width ||
                        (int64_t)w->canvas[1] + 1 != f->height))
        return err_set(w->err, MOCO_EFORMAT,
                       "an animated WebP of %u x %u pixels whose first frame covers only %d x %d of them",
                       w->canvas[0] + 1, w->canvas[1] + 1, f->width, f->height);
    return MOCO_OK;
}

/* libwebp wants the content in one piece. */
static moco_status read_content(struct webp *w, const uint8_t **content)
{
    *content = w->bytes;
    if (w->left >= w->length)
        return MOCO_OK;
    if ((w->held = mem_alloc(w->decoder->ctx, w->length, w->err)) == NULL)
        return MOCO_ENOMEM;
    size_t known = w->length < HEAD ? w->length : HEAD;
    memcpy(w->held, w->head + CHUNK, known);
    *content = w->held;
    return take(w, w->held + known, w->length - known) ? MOCO_OK : ends_early(w);
}

/* What is wanted, and MARGIN pixels more on each side. Edges are even: libwebp moves them there. */
static moco_status wanted_box(struct webp *w, const WebPBitstreamFeatures *f, struct image_box *box)
{
    *box = (struct image_box){0, 0, f->width, f->height};
    if (w->decoder->wish == NULL)
        return MOCO_OK;
    TRY(w->decoder->wish(w->decoder->wish_user, f->width, f->height, box, w->err));
    int right = box->x + box->w + MARGIN, bottom = box->y + box->h + MARGIN;
    box->x = box->x > MARGIN ? (box->x - MARGIN) & ~1 : 0;
    box->y = box->y > MARGIN ? (box->y - MARGIN) & ~1 : 0;
    box->w = (right < f->width ? right : f->width) - box->x;
    box->h = (bottom < f->height ? bottom : f->height) - box->y;
    return MOCO_OK;
}

/* Decodes the wanted box from the chunk of colours directly into the memory of the decoder. */
static moco_status decode_content(struct webp *w, const WebPBitstreamFeatures *f)
{
    struct image_box box;
    const uint8_t *content;
    WebPDecoderConfig config;
    TRY(wanted_box(w, f, &box));
    TRY(read_content(w, &content));
    TRY(decode_room_for(w->decoder, f->width, f->height, box, w->image, w->err));
    if (!WebPInitDecoderConfig(&config))
        return err_set(w->err, MOCO_ENOTSUP, "WebP decoder: libwebp is another one than at compile time");
    config.options.use_cropping = box.w < f->width || box.h < f->height;
    config.options.crop_left = box.x;
    config.options.crop_top = box.y;
    config.options.crop_width = box.w;
    config.options.crop_height = box.h;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = w->decoder->pixels;
    config.output.u.RGBA.stride = box.w * 3;
    config.output.u.RGBA.size = (size_t)box.w * (size_t)box.h * 3;
    TRY(stop_if_cancelled(w));
    VP8StatusCode code = WebPDecode(content, w->length, &config);
    return code == VP8_STATUS_OK ? MOCO_OK : failure(w, code);
}

moco_status decode_webp(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                        struct image *image, struct err *err)
{
    struct webp w = {.decoder = decoder, .source = source, .image = image, .err = err, .bytes = first, .left = size};
    WebPBitstreamFeatures features;
    moco_status status = find_picture(&w);
    if (status == MOCO_OK)
        status = read_size(&w, &features);
    if (status == MOCO_OK)
        status = decode_content(&w, &features);
    mem_free(decoder->ctx, w.held);
    return status;
}
