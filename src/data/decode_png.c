/* SPDX-License-Identifier: MIT
 *
 * decode_png: libpng's classic row interface. Alpha and transparent colours are dropped, not blended, as Pillow's
 * convert("RGB") does. One thing differs from Pillow on purpose: 16-bit grey keeps its high byte, where Pillow 9.4
 * clips at 255 and so turns almost every such picture white. What a reader would get wrong: libpng does not see the
 * file. It gets only the chunks that pixels come from (IHDR, PLTE of a picture with a palette, IDAT) and an IEND. No
 * other chunk, whatever its length, checksum or content, can therefore make a picture bad or expand compressed text
 * without limit. A picture is bad if pixels are missing, or if a checksum over them is wrong. Once all pixels are
 * read, a missing end and extra bytes are ignored. */
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
    uint8_t made[12]; /* of the next chunk what libpng has not read yet, at the end: length and type, or all of IEND */
    size_t made_left;
    int64_t body_left; /* of the chunk's content and checksum, which follow in the file; at first of the signature */
    int ended;         /* IEND or the end of the file was reached */
    int last;          /* the row being read is the last one */
    int complete;      /* every pixel has been read */
    struct image *image;
    moco_status status;
    struct err *err;
};

/* An error after the last pixel where nothing is left to read is that of an end which is missing. */
static void on_error(png_structp codec, png_const_charp text)
{
    struct png *p = png_get_error_ptr(codec);
    if (p->status == MOCO_OK && !(p->complete && p->ended))
        p->status = err_set(p->err, MOCO_EFORMAT, "PNG decoder: %s", text);
    png_longjmp(codec, 1);
}

/* Harmless: bytes or rows too many; too few are an error. libpng has no numbers for its warnings: one whose words
 * change is taken for damage, which tests would notice. */
static void on_warning(png_structp codec, png_const_charp text)
{
    if (strstr(text, "Extra compressed data") == NULL && strstr(text, "Too much image data") == NULL)
        on_error(codec, text);
}

static void stop_if_cancelled(struct png *p)
{
    if (p->decoder->cancel == NULL || !atomic_load_explicit(p->decoder->cancel, memory_order_relaxed))
        return;
    p->status = err_set(p->err, MOCO_ECANCELED, "decoding was cancelled");
    png_longjmp(p->codec, 1);
}

/* ---- the chunks that libpng gets ---- */

/* Takes `size` bytes to `to`, or nowhere if that is NULL. Returns 0 where the file ends first. */
static int take_bytes(struct png *p, uint8_t *to, int64_t size)
{
    while (size > 0) {
        if (p->left == 0) {
            stop_if_cancelled(p);
            p->left = source_next(p->source, &p->bytes);
        }
        if (p->source->status != MOCO_OK)
            png_error(p->codec, "the file cannot be read");
        if (p->left == 0)
            return 0;
        size_t part = size < (int64_t)p->left ? (size_t)size : p->left;
        if (to != NULL) {
            memcpy(to, p->bytes, part);
            to += part;
        }
        p->bytes += part;
        p->left -= part;
        size -= (int64_t)part;
    }
    return 1;
}

static int is_wanted(const struct png *p, const uint8_t *type)
{
    if (memcmp(type, "PLTE", 4) == 0) /* a mere hint in other pictures */
        return png_get_color_type(p->codec, p->info) == PNG_COLOR_TYPE_PALETTE;
    return memcmp(type, "IHDR", 4) == 0 || memcmp(type, "IDAT", 4) == 0;
}

/* The header of the next chunk that is wanted, or an IEND where there is none. */
static void next_chunk(struct png *p)
{
    static const uint8_t end[12] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82};
    uint8_t *header = p->made + sizeof p->made - 8;
    for (int64_t skipped = 0; !p->ended; skipped = p->body_left) {
        if (!take_bytes(p, NULL, skipped) || !take_bytes(p, header, 8) || memcmp(header + 4, end + 4, 4) == 0)
            break;
        int64_t length = png_get_uint_32(header), left = (int64_t)p->left + p->source->end - p->source->at;
        p->body_left = length + 4;
        p->made_left = 8;
        if (!is_wanted(p, header + 4))
            continue;
        if (length > left) /* libpng reads far ahead: what there is may be enough, though its checksum is missing */
            png_save_uint_32(header, (png_uint_32)left);
        return;
    }
    p->ended = 1;
    memcpy(p->made, end, sizeof end);
    p->made_left = sizeof end;
    p->body_left = 0;
}

/* libpng reads a chunk's header, parts of its content and its checksum one by one, so that no read crosses a border. */
static void reader(png_structp codec, png_bytep to, size_t size)
{
    struct png *p = png_get_io_ptr(codec);
    if (p->made_left == 0 && p->body_left == 0)
        next_chunk(p);
    if (p->made_left > 0) {
        size_t part = size < p->made_left ? size : p->made_left;
        memcpy(to, p->made + sizeof p->made - p->made_left, part);
        p->made_left -= part;
        to += part;
        size -= part;
    }
    if ((int64_t)size > p->body_left)
        png_error(codec, "a read across chunks");
    p->body_left -= (int64_t)size;
    if (!take_bytes(p, to, (int64_t)size)) {
        p->ended = 1;
        png_error(codec, "the file ends too early");
    }
}

/* ---- memory and limits ---- */

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

static void set_limits(struct png *p)
{
    png_set_user_limits(p->codec, 1 << 18, 1000000); /* libpng keeps two rows of eight bytes a pixel: 4 MiB */
    png_set_chunk_malloc_max(p->codec, 0); /* it would be the most that an IDAT may hold, and nothing is kept of one */
    png_set_crc_action(p->codec, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    /* some encoders state a window smaller than the distances they use; zlib itself does not mind */
    png_set_option(p->codec, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
}

/* Called when a row has been unpacked, before libpng looks for the end of the data behind the last one. */
static void on_row(png_structp codec, png_row_infop info, png_bytep row)
{
    struct png *p = png_get_io_ptr(codec);
    (void)info;
    (void)row;
    p->complete = p->last;
}

/* Pixels may have colours that the palette lacks: they get Pillow's, greys. */
static void fill_palette(struct png *p)
{
    png_colorp given;
    png_color all[256];
    int count = 0, colours = 1 << png_get_bit_depth(p->codec, p->info);
    if (png_get_PLTE(p->codec, p->info, &given, &count) == 0 || count >= colours)
        return;
    memcpy(all, given, (size_t)count * sizeof *all);
    for (int i = count; i < colours; i++)
        all[i] = (png_color){(png_byte)i, (png_byte)i, (png_byte)i};
    png_set_PLTE(p->codec, p->info, all, colours);
}

/* Reads all rows as 8-bit RGB, pass by pass if the picture is interlaced. */
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
    if (type == PNG_COLOR_TYPE_PALETTE) {
        fill_palette(p);
        png_set_palette_to_rgb(p->codec);
    } else if (depth < 8)
        png_set_expand_gray_1_2_4_to_8(p->codec);
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(p->codec);
    png_set_strip_alpha(p->codec);
    png_set_read_user_transform_fn(p->codec, on_row);
    int passes = png_set_interlace_handling(p->codec);
    png_read_update_info(p->codec, p->info);
    if (png_get_rowbytes(p->codec, p->info) != p->image->stride)
        png_error(p->codec, "unexpected row length");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < p->image->h; y++) {
            stop_if_cancelled(p);
            p->last = pass == passes - 1 && y == p->image->h - 1;
            if (p->last && passes > 1 && p->image->h % 2 == 1) /* the last pass has the odd rows only */
                p->complete = 1;
            png_read_row(p->codec, p->decoder->pixels + (size_t)y * p->image->stride, NULL);
        }
}

moco_status decode_png(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                       struct image *image, struct err *err)
{
    struct png p = {
        .decoder = decoder, .source = source, .bytes = first, .left = size, .body_left = 8, .image = image, .err = err};
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
