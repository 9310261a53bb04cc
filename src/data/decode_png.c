/* SPDX-License-Identifier: MIT
 *
 * decode_png: libpng's classic row interface. Alpha and transparent colours are dropped, not blended, as Pillow's
 * convert("RGB") does. One thing differs from Pillow on purpose: 16-bit grey keeps its high byte, where Pillow 9.4
 * clips at 255 and so turns almost every such picture white. Chunks that do not change the pixels are skipped unread
 * (their checksums are still verified), which leaves no compressed text to bomb with. */
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "decode_codec.h"

struct png {
    png_structp codec;
    png_infop info;
    struct decoder *decoder;
    struct source *source;
    const uint8_t *bytes; /* not yet consumed of the window */
    size_t left;
    struct image *image;
    moco_status status;
    struct err *err;
};

static void on_error(png_structp codec, png_const_charp text)
{
    struct png *p = png_get_error_ptr(codec);
    if (p->status == MOCO_OK)
        p->status = err_set(p->err, MOCO_EFORMAT, "PNG decoder: %s", text);
    png_longjmp(codec, 1);
}

static void on_warning(png_structp codec, png_const_charp text)
{
    on_error(codec, text);
}

static void reader(png_structp codec, png_bytep to, size_t size)
{
    struct png *p = png_get_io_ptr(codec);
    while (size > 0) {
        if (p->left == 0 && (p->left = source_next(p->source, &p->bytes)) == 0)
            png_error(codec, "the file ends too early");
        size_t part = size < p->left ? size : p->left;
        memcpy(to, p->bytes, part);
        p->bytes += part;
        p->left -= part;
        to += part;
        size -= part;
    }
}

static png_voidp take(png_structp codec, png_alloc_size_t size)
{
    struct png *p = png_get_mem_ptr(codec);
    void *block = mem_alloc(p->decoder->ctx, size, p->status == MOCO_OK ? p->err : NULL);
    if (block == NULL && p->status == MOCO_OK)
        p->status = MOCO_ENOMEM;
    return block;
}

static void give(png_structp codec, png_voidp block)
{
    struct png *p = png_get_mem_ptr(codec);
    mem_free(p->decoder->ctx, block);
}

static void stop_if_cancelled(struct png *p)
{
    if (p->decoder->cancel == NULL || !atomic_load_explicit(p->decoder->cancel, memory_order_relaxed))
        return;
    p->status = err_set(p->err, MOCO_ECANCELED, "decoding was cancelled");
    png_longjmp(p->codec, 1);
}

static void set_limits(struct png *p)
{
    png_set_user_limits(p->codec, 1 << 18, 1000000); /* libpng keeps two rows of eight bytes a pixel: 4 MiB */
    png_set_chunk_cache_max(p->codec, 4);
    png_set_chunk_malloc_max(p->codec, 1 << 20);
    png_set_crc_action(p->codec, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_keep_unknown_chunks(p->codec, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
}

static void read_rows(struct png *p)
{
    png_read_info(p->codec, p->info);
    int depth = png_get_bit_depth(p->codec, p->info), type = png_get_color_type(p->codec, p->info);
    p->status = decode_room(p->decoder, png_get_image_width(p->codec, p->info), png_get_image_height(p->codec, p->info),
                            p->image, p->err);
    if (p->status != MOCO_OK)
        png_longjmp(p->codec, 1);
    if (depth == 16)
        png_set_strip_16(p->codec);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(p->codec);
    else if (depth < 8)
        png_set_expand_gray_1_2_4_to_8(p->codec);
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(p->codec);
    png_set_strip_alpha(p->codec);
    int passes = png_set_interlace_handling(p->codec);
    png_read_update_info(p->codec, p->info);
    if (png_get_rowbytes(p->codec, p->info) != p->image->stride)
        png_error(p->codec, "unexpected row length");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < p->image->h; y++) {
            stop_if_cancelled(p);
            png_read_row(p->codec, p->decoder->pixels + (size_t)y * p->image->stride, NULL);
        }
    png_read_end(p->codec, NULL);
}

moco_status decode_png(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                       struct image *image, struct err *err)
{
    struct png p = {.decoder = decoder, .source = source, .bytes = first, .left = size, .image = image, .err = err};
    struct png *volatile kept = &p;
    p.codec = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &p, on_error, on_warning, &p, take, give);
    if (p.codec == NULL)
        return p.status != MOCO_OK ? p.status : err_set(err, MOCO_ENOMEM, "PNG decoder: no memory");
    if (setjmp(png_jmpbuf(p.codec)) == 0) {
        p.info = png_create_info_struct(p.codec);
        if (p.info == NULL)
            png_error(p.codec, "no memory");
        png_set_read_fn(p.codec, &p, reader);
        set_limits(&p);
        read_rows(&p);
    }
    png_destroy_read_struct(&kept->codec, &kept->info, NULL);
    return kept->status;
}
