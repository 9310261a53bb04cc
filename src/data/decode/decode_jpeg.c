/* SPDX-License-Identifier: MIT
 *
 * decode_jpeg: libjpeg-turbo's classic interface with its defaults (islow DCT, smooth chroma upsampling), as Pillow
 * uses it, so that the pixels are Pillow's. What a reader would get wrong: libjpeg reports corruption as warnings
 * and continues with grey. Here a warning ends the decoding, except those in is_harmless, which do not concern
 * coefficients. Errors leave by longjmp, so that everything that must survive one is in struct jpeg, not in locals.
 * EXIF orientation is ignored, as torchvision does. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "decode_blocks.h"
#include "decode_codec.h"

#define BYTES_PER_PIXEL 8 /* and BYTES_BESIDES: the most that decoding takes */
#define BYTES_BESIDES ((int64_t)4 << 20)
#define TABLES ((int64_t)512 << 10) /* of that: the window on the file, and what libjpeg wants for any picture */

struct jpeg {
    struct jpeg_decompress_struct codec; /* must be first: callbacks get its address */
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr reader;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    struct decoder *decoder;
    struct source *source;
    struct image *image;
    struct blocks blocks;
    uint8_t *row; /* CMYK: one row before conversion; libjpeg's pool */
    int max_scans;
    unsigned early; /* bit c: a scan of component c's AC coefficients came before any of its DC coefficients */
    int used_up;    /* every row has been decoded, and the file holds nothing more, not even an end marker */
    moco_status status;
    struct err *err;
};

static void on_error(j_common_ptr codec)
{
    struct jpeg *j = (struct jpeg *)codec;
    char text[JMSG_LENGTH_MAX];
    codec->err->format_message(codec, text);
    int memory = codec->err->msg_code == JERR_OUT_OF_MEMORY;
    j->status = err_set(j->err, memory ? MOCO_ENOMEM : MOCO_EFORMAT, "JPEG decoder: %s", text);
    longjmp(j->escape, 1);
}

/* The warnings of jerror.h. A picture is bad if coefficients are missing, damaged or invented, and only then: phones
 * and webcams write everything else. A warning that is not in the list, perhaps of a later libjpeg, makes a picture bad.
 *   HIT_MARKER         bad: the coefficients of a scan ended early, and the rest are zeros
 *   HUFF_BAD_CODE      bad: a code that the table does not have was replaced by a zero
 *   ARITH_BAD_CODE     bad: the rest of a scan is left as it was
 *   MUST_RESYNC        bad: an interval between restart markers is missing or damaged
 *   JPEG_EOF           bad: the file ended and an end marker was invented (by libjpeg's own source; the one here fails)
 *   BOGUS_PROGRESSION  bad: a scan refines bits that no scan has brought, or brings bits twice. Of coefficient 0, in a
 *                      scan without it: harmless if its own scan follows, because the order changes nothing
 *   TOO_MUCH_DATA      bad: a row below the last one is requested, which no caller does
 *   EXTRANEOUS_DATA    harmless: bytes before a marker that no coefficient was read from
 *   NOT_SEQUENTIAL     harmless: the band and the bits of a sequential scan are always all of them
 *   ADOBE_XFORM        harmless: an unknown number of Adobe's; three components are YCbCr then, four YCCK
 *   JFIF_MAJOR         harmless: the version of a header that only a density would be read from
 *   BOGUS_ICC          harmless: a colour profile, which is not used here */
static int is_harmless(struct jpeg *j)
{
    const struct jpeg_error_mgr *e = &j->errors;
    switch (e->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_NOT_SEQUENTIAL:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
        return 1;
    case JWRN_BOGUS_PROGRESSION:
        if (e->msg_parm.i[1] != 0 || j->codec.Ss == 0)
            return 0;
        j->early |= 1u << e->msg_parm.i[0];
        return 1;
    default:
        return 0;
    }
}

/* Level -1 is a warning. 0 and above are trace messages, off. */
static void on_message(j_common_ptr codec, int level)
{
    if (level < 0 && !is_harmless((struct jpeg *)codec))
        on_error(codec);
}

static void no_output(j_common_ptr codec)
{
    (void)codec;
}

static void reader_nothing(j_decompress_ptr codec)
{
    (void)codec;
}

static boolean reader_fill(j_decompress_ptr codec)
{
    struct jpeg *j = (struct jpeg *)codec;
    static const uint8_t end[2] = {0xff, JPEG_EOI};
    const uint8_t *bytes;
    size_t size = source_next(j->source, &bytes);
    if (size == 0 && (!j->used_up || j->source->status != MOCO_OK))
        ERREXIT(codec, JERR_INPUT_EOF);
    if (size == 0) {
        bytes = end;
        size = sizeof end;
    }
    j->reader.next_input_byte = bytes;
    j->reader.bytes_in_buffer = size;
    return TRUE;
}

static void reader_skip(j_decompress_ptr codec, long count)
{
    struct jpeg *j = (struct jpeg *)codec;
    while (count > 0 && (size_t)count > j->reader.bytes_in_buffer) {
        count -= (long)j->reader.bytes_in_buffer;
        reader_fill(codec);
    }
    if (count > 0) {
        j->reader.next_input_byte += count;
        j->reader.bytes_in_buffer -= (size_t)count;
    }
}

/* Called for every row of blocks of every scan: the place to stop a bomb of a thousand scans, or a shutdown. */
static void on_progress(j_common_ptr codec)
{
    struct jpeg *j = (struct jpeg *)codec;
    if (j->decoder->cancel != NULL && atomic_load_explicit(j->decoder->cancel, memory_order_relaxed)) {
        j->status = err_set(j->err, MOCO_ECANCELED, "decoding was cancelled");
        longjmp(j->escape, 1);
    }
    if (j->codec.input_scan_number > j->max_scans) {
        j->status = err_set(j->err, MOCO_EFORMAT, "a JPEG of %u x %u pixels in more than %d scans",
                            j->codec.image_width, j->codec.image_height, j->max_scans);
        longjmp(j->escape, 1);
    }
}

static inline uint8_t scale255(unsigned a, unsigned b)
{
    unsigned product = a * b + 128;
    return (uint8_t)((product + (product >> 8)) >> 8);
}

/* Adobe writes CMYK inverted and Pillow takes every CMYK JPEG for one of Adobe's: ink = 255 - stored. */
static void cmyk_to_rgb(const uint8_t *cmyk, int pixels, uint8_t *rgb)
{
    for (int i = 0; i < pixels; i++) {
        unsigned k = cmyk[4 * i + 3];
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(k - scale255(255u - cmyk[4 * i + c], k));
    }
}

static void leave_on_failure(struct jpeg *j)
{
    if (j->status != MOCO_OK)
        longjmp(j->escape, 1);
}

/* Refuses what would take too much memory, and limits the scans of a progressive picture: a small file can have
 * thousands, each as slow as the whole picture. */
static void check_header(struct jpeg *j)
{
    struct jpeg_decompress_struct *c = &j->codec;
    if (c->num_components != 1 && c->num_components != 3 && c->num_components != 4)
        j->status =
            err_set(j->err, MOCO_EFORMAT, "a JPEG of %d components; there must be 1, 3 or 4", c->num_components);
    else if (c->data_precision != 8)
        j->status = err_set(j->err, MOCO_EFORMAT, "a JPEG of %d bits; there must be 8", c->data_precision);
    else
        j->status = decode_limit(j->decoder, c->image_width, c->image_height, j->err);
    leave_on_failure(j);
    int64_t pixels = (int64_t)c->image_width * c->image_height, need = blocks_need(c) + TABLES;
    if (need > BYTES_PER_PIXEL * pixels + BYTES_BESIDES)
        j->status = err_set(j->err, MOCO_EFORMAT,
                            "a JPEG of %u x %u pixels that takes %lld bytes to decode, more than %d a pixel and 4 MiB",
                            c->image_width, c->image_height, (long long)need, BYTES_PER_PIXEL);
    leave_on_failure(j);
    int64_t scans = j->decoder->max_pixels > INT64_MAX / 10 ? INT64_MAX : j->decoder->max_pixels * 10 / pixels;
    j->max_scans = scans > 1000 ? 1000 : (int)scans;
}

/* What is wanted of the picture, and MARGIN pixels more to the left, to the right and above: smooth upsampling of the
 * chroma looks at its neighbours, and where rows are cut libjpeg lets it see the edge instead. Below, libjpeg itself
 * looks ahead. Where scans are missing it smooths each block by the two beside it, which a cut would hide as well. The
 * left edge is that of a block, where jpeg_crop_scanline would move it. */
static struct image_box wanted_box(struct jpeg *j)
{
    enum { MARGIN = 16 };
    int w = (int)j->codec.image_width, h = (int)j->codec.image_height;
    struct image_box box = {0, 0, w, h};
    if (j->decoder->wish == NULL)
        return box;
    j->status = j->decoder->wish(j->decoder->wish_user, w, h, &box, j->err);
    leave_on_failure(j);
    int block = DCTSIZE * j->codec.max_h_samp_factor, side = MARGIN + (j->codec.progressive_mode ? 2 * block : 0);
    int right = box.x + box.w + side < w ? box.x + box.w + side : w, bottom = box.y + box.h;
    box.x = box.x > side ? (box.x - side) / block * block : 0;
    box.y = box.y > MARGIN ? box.y - MARGIN : 0;
    box.w = right - box.x;
    box.h = bottom - box.y;
    return box;
}

/* Scans of AC coefficients may come first, but then not alone: without DC coefficients the blocks are grey. */
static void check_scans(struct jpeg *j)
{
    for (int c = 0; c < j->codec.num_components && j->early != 0; c++)
        if (j->early >> c & 1 && j->codec.coef_bits[c][0] < 0)
            j->status = err_set(j->err, MOCO_EFORMAT, "component %d of a progressive JPEG has no DC coefficients", c);
    leave_on_failure(j);
}

/* The end marker must be there: without it what was decoded last may be the zeros of a file that was never finished.
 * Only where nothing at all follows the last coefficient can the marker itself be all that is missing. */
static void find_end(struct jpeg *j)
{
    j->used_up = (int64_t)j->reader.bytes_in_buffer + j->source->end - j->source->at <= 1;
    jpeg_finish_decompress(&j->codec);
}

/* Decodes the wanted box: rows above it are skipped, rows below it are not read. If the box reaches the last row,
 * the end of the file is checked too. */
static void read_rows(struct jpeg *j)
{
    struct jpeg_decompress_struct *c = &j->codec;
    struct image_box box = wanted_box(j);
    j->status = decode_room_for(j->decoder, (int)c->image_width, (int)c->image_height, box, j->image, j->err);
    leave_on_failure(j);
    j->blocks.picture = j->decoder->pixels;
    j->blocks.stride = j->image->stride;
    j->blocks.first = (JDIMENSION)box.y;
    j->blocks.rows = (JDIMENSION)box.h;
    c->out_color_space = c->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(c);
    check_scans(j);
    if (box.w < (int)c->image_width) {
        JDIMENSION x = (JDIMENSION)box.x, w = (JDIMENSION)box.w;
        jpeg_crop_scanline(c, &x, &w);
        if ((int)x != box.x || (int)w != box.w)
            ERREXIT(c, JERR_WIDTH_OVERFLOW);
    }
    if (box.y > 0)
        jpeg_skip_scanlines(c, (JDIMENSION)box.y);
    if (c->num_components == 4)
        j->row = c->mem->alloc_large((j_common_ptr)c, JPOOL_IMAGE, (size_t)box.w * 4);
    while ((int)c->output_scanline < box.y + box.h) {
        uint8_t *to = j->decoder->pixels + (size_t)((int)c->output_scanline - box.y) * j->image->stride;
        JSAMPROW row = j->row != NULL ? j->row : to;
        jpeg_read_scanlines(c, &row, 1);
        if (j->row != NULL)
            cmyk_to_rgb(j->row, box.w, to);
    }
    if (box.y + box.h == (int)c->image_height)
        find_end(j);
}

moco_status decode_jpeg(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                        struct image *image, struct err *err)
{
    struct jpeg j;
    memset(&j, 0, sizeof j);
    j.decoder = decoder;
    j.source = source;
    j.image = image;
    j.err = err;
    j.codec.err = jpeg_std_error(&j.errors);
    j.errors.error_exit = on_error;
    j.errors.emit_message = on_message;
    j.errors.output_message = no_output;
    if (setjmp(j.escape) == 0) {
        jpeg_create_decompress(&j.codec);
        blocks_install(&j.blocks, decoder->ctx, &j.codec);
        j.reader = (struct jpeg_source_mgr){
            first, size, reader_nothing, reader_fill, reader_skip, jpeg_resync_to_restart, reader_nothing};
        j.codec.src = &j.reader;
        j.progress.progress_monitor = on_progress;
        j.codec.progress = &j.progress;
        jpeg_read_header(&j.codec, TRUE);
        check_header(&j);
        read_rows(&j);
    }
    jpeg_destroy_decompress(&j.codec);
    blocks_free(&j.blocks);
    return j.status;
}
