/* SPDX-License-Identifier: MIT
 *
 * decode_blocks: see decode_blocks.h. libjpeg calls its memory manager through pointers and leaves open what a
 * virtual array is, so this one is ours. */
#include "decode_blocks.h"

#include <string.h>

#include <jerror.h>

#define LOOKS_BACK 2 /* bands, where blocks are smoothed */

struct jvirt_barray_control {
    struct jvirt_barray_control *next;
    JDIMENSION rows, band_rows; /* of blocks: in all, in a band */
    JDIMENSION defined;         /* rows that a scan has reached; what lies below is 0 */
    size_t row_bytes;
    JBLOCKROW *row;
};

static struct blocks *blocks_of(j_common_ptr codec)
{
    return codec->client_data;
}

static jvirt_barray_ptr request(j_common_ptr codec, int pool, boolean zeroed, JDIMENSION row_blocks, JDIMENSION rows,
                                JDIMENSION most)
{
    struct blocks *b = blocks_of(codec);
    jvirt_barray_ptr array = codec->mem->alloc_small(codec, pool, sizeof *array);
    (void)zeroed; /* always */
    (void)most;
    *array = (struct jvirt_barray_control){.next = b->arrays, .rows = rows, .row_bytes = row_blocks * sizeof(JBLOCK)};
    array->row = codec->mem->alloc_small(codec, pool, rows * sizeof *array->row);
    b->arrays = array;
    return array;
}

static size_t lines_of(j_decompress_ptr codec)
{
    return (size_t)codec->max_v_samp_factor * DCTSIZE;
}

/* How far below the picture's start the first band must lie, so that no row is written over blocks that are read later.
 * When the rows of band i are written, the next to be read is band i + 1, and those that it looks back to. */
static size_t find_lead(const struct blocks *b, j_decompress_ptr codec)
{
    size_t lead = 0, back = codec->progressive_mode ? LOOKS_BACK : 0;
    for (size_t i = 0; i < b->bands; i++) {
        size_t bottom = (i + 1) * lines_of(codec), used = (i + 1 > back ? i + 1 - back : 0) * b->band_bytes;
        bottom = bottom < b->first ? 0 : bottom - b->first;
        size_t written = (bottom < b->rows ? bottom : b->rows) * b->stride;
        if (written > used && written - used > lead)
            lead = written - used;
    }
    return (lead + sizeof(JBLOCK) - 1) / sizeof(JBLOCK) * sizeof(JBLOCK);
}

static uint8_t *band_at(const struct blocks *b, JDIMENSION band)
{
    return band < b->inside ? b->picture + b->lead + band * b->band_bytes
                            : b->spare + (band - b->inside) * b->band_bytes;
}

/* libjpeg's call to allocate all virtual arrays. Bands of coefficients go into the memory of the picture as far as
 * they fit behind `lead`, the rest into `spare`. */
static void realize(j_common_ptr common)
{
    struct blocks *b = blocks_of(common);
    j_decompress_ptr codec = (j_decompress_ptr)common;
    b->realize(common); /* arrays of samples are libjpeg's */
    if (b->arrays == NULL)
        return;
    b->bands = codec->total_iMCU_rows;
    for (jvirt_barray_ptr a = b->arrays; a != NULL; a = a->next) {
        a->band_rows = (a->rows + b->bands - 1) / b->bands;
        b->band_bytes += a->band_rows * a->row_bytes;
    }
    b->lead = find_lead(b, codec);
    size_t room = b->rows * b->stride, fit = room > b->lead ? (room - b->lead) / b->band_bytes : 0;
    b->inside = fit < b->bands ? (JDIMENSION)fit : b->bands;
    b->spare = mem_alloc(b->ctx, (b->bands - b->inside) * b->band_bytes, NULL);
    if (b->spare == NULL)
        ERREXIT1(common, JERR_OUT_OF_MEMORY, 0);
    size_t before = 0;
    for (jvirt_barray_ptr a = b->arrays; a != NULL; before += a->band_rows * a->row_bytes, a = a->next)
        for (JDIMENSION r = 0; r < a->rows; r++)
            a->row[r] = (JBLOCKROW)(void *)(band_at(b, r / a->band_rows) + before + r % a->band_rows * a->row_bytes);
}

/* Has the picture been written over `band`? */
static int is_over(const struct blocks *b, j_decompress_ptr codec, JDIMENSION band)
{
    JDIMENSION line = codec->output_scanline;
    return band < b->inside && line > b->first && (line - b->first) * b->stride > b->lead + band * b->band_bytes;
}

static JBLOCKARRAY access_rows(j_common_ptr codec, jvirt_barray_ptr a, JDIMENSION start, JDIMENSION count,
                               boolean writable)
{
    JDIMENSION end = start + count;
    if (end > a->rows || is_over(blocks_of(codec), (j_decompress_ptr)codec, start / a->band_rows))
        ERREXIT(codec, JERR_BAD_VIRTUAL_ACCESS);
    for (JDIMENSION r = a->defined > start ? a->defined : start; r < end; r++)
        memset(a->row[r], 0, a->row_bytes);
    if (writable && end > a->defined)
        a->defined = end;
    return a->row + start;
}

void blocks_install(struct blocks *b, struct ctx *ctx, j_decompress_ptr codec)
{
    b->ctx = ctx;
    b->realize = codec->mem->realize_virt_arrays;
    codec->client_data = b;
    codec->mem->realize_virt_arrays = realize;
    codec->mem->request_virt_barray = request;
    codec->mem->access_virt_barray = access_rows;
}

void blocks_free(struct blocks *b)
{
    mem_free(b->ctx, b->spare);
    b->spare = NULL;
}

int64_t blocks_need(j_decompress_ptr codec)
{
    int64_t width = (int64_t)codec->image_width, picture = 3 * width * codec->image_height, band = 0;
    for (int c = 0; c < codec->num_components; c++) {
        const jpeg_component_info *part = &codec->comp_info[c];
        int64_t blocks =
            (part->width_in_blocks + (JDIMENSION)part->h_samp_factor - 1) / (JDIMENSION)part->h_samp_factor;
        band += blocks * part->h_samp_factor * part->v_samp_factor;
    }
    /* rows of samples with those above and below, and a row of MCUs upsampled */
    int64_t own = band * DCTSIZE2 * 10 / 8 + width * codec->num_components * codec->max_v_samp_factor;
    if (!jpeg_has_multiple_scans(codec))
        return picture + own;
    int64_t lead = LOOKS_BACK * 3 * width * (int64_t)lines_of(codec);
    int64_t both = (lead < picture ? lead : picture) + band * codec->total_iMCU_rows * (int64_t)sizeof(JBLOCK);
    return (picture > both ? picture : both) + own;
}
