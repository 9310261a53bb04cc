/* SPDX-License-Identifier: MIT
 *
 * weights_read: reads the numbers of a tensor, from whatever order they have in the file, in pieces: memory does not
 * grow with the tensor. What a reader would get wrong: a checksum covers a whole storage, of which a tensor may be a
 * part. The storage is then read once to verify it, and what is read after that is believed. */
#include <string.h>

#include "format/weights_state.h"
#include "num.h"

#define PIECE ((int64_t)256 << 10)
enum { SPARSE = 4096 }; /* elements that are further apart, in bytes, are read one by one */

/* The bytes that one checksum covers: a storage of a zip archive, or a tensor of a safetensors file. */
struct region {
    const struct file *file;
    int64_t offset, bytes;
    struct torch_storage *storage; /* NULL: none */
    const struct zip *zip;
    const char *hash; /* 32 digits; NULL: none */
    const char *name;
};

static struct region region_of(struct weights *w, int64_t i, const struct weights_tensor *tensor)
{
    if (w->safetensors != NULL) {
        const struct safetensors_tensor *t = safetensors_at(w->safetensors, i);
        return (struct region){&w->safetensors->file, t->offset, t->bytes, NULL, NULL, weights_hash(w, i), t->name};
    }
    struct torch_storage *s = &w->torch.storages[w->torch.entries[i].storage];
    return (struct region){&w->torch.file,
                           s->offset,
                           torch_storage_bytes(s),
                           s->member != NULL ? s : NULL,
                           s->member != NULL ? &w->torch.zip : NULL,
                           NULL,
                           tensor->name};
}

struct checksum {
    uint32_t crc;
    struct hash hash;
};

static void checksum_add(const struct region *r, struct checksum *c, const void *bytes, size_t size)
{
    if (r->storage != NULL)
        c->crc = zip_crc(c->crc, bytes, size);
    else if (r->hash != NULL)
        hash_add(&c->hash, bytes, size);
}

static moco_status checksum_compare(const struct region *r, struct checksum *c, struct err *err)
{
    char text[HASH_DIGITS + 1];
    if (r->storage != NULL) {
        TRY(zip_compare_crc(r->zip, r->storage->member, c->crc, err));
        atomic_store(&r->storage->proved, 1);
    } else if (r->hash != NULL) {
        hash_text(&c->hash, text);
        if (strcmp(text, r->hash) != 0)
            return err_set(err, MOCO_EFORMAT,
                           "%.300s: at byte %lld: tensor %.100s is damaged: its hash is %s, %.32s was saved",
                           r->file->path, (long long)r->offset, r->name, text, r->hash);
    }
    return MOCO_OK;
}

static int64_t out_size(enum safetensors_dtype dtype, enum weights_number number)
{
    return (int64_t)(number == WEIGHTS_AS_IS ? safetensors_dtype_size(dtype) : weights_number_size(number));
}

/* ---- in a row ---- */

static int is_raw(enum safetensors_dtype dtype, enum weights_number number)
{
    return number == WEIGHTS_AS_IS || (dtype == SAFETENSORS_F32 && number == WEIGHTS_F32) ||
           (dtype == SAFETENSORS_F64 && number == WEIGHTS_F64) || (dtype == SAFETENSORS_I64 && number == WEIGHTS_I64) ||
           (dtype == SAFETENSORS_U8 && number == WEIGHTS_U8) || (dtype == SAFETENSORS_BF16 && number == WEIGHTS_BF16);
}

/* Sets *bad to the first of the numbers [first, first + count) that is not finite, or to -1. */
static void look_at(enum weights_number number, const char *numbers, int64_t first, int64_t count, int64_t *bad)
{
    int64_t found = number == WEIGHTS_F32
                        ? num_not_finite_f32((const float *)(const void *)numbers + first, (size_t)count)
                        : num_not_finite_f64((const double *)(const void *)numbers + first, (size_t)count);
    *bad = found < 0 ? -1 : first + found;
}

/* Reads `bytes` from `offset` on into `numbers`. numbers NULL: bytes only go into the checksum. checksum NULL: none is
 * computed. bad NULL: numbers are not checked. */
static moco_status read_row(const struct region *r, int64_t offset, int64_t bytes, enum safetensors_dtype dtype,
                            enum weights_number number, char *numbers, char *piece, struct checksum *checksum,
                            int64_t *bad, struct err *err)
{
    int64_t element = (int64_t)safetensors_dtype_size(dtype), size = out_size(dtype, number);
    int raw = numbers != NULL && is_raw(dtype, number);
    for (int64_t at = 0; at < bytes;) {
        int64_t part = bytes - at < PIECE ? bytes - at : PIECE; /* PIECE is a multiple of every element's size */
        char *to = raw ? numbers + at : piece;
        TRY(file_read_at(r->file, offset + at, to, (size_t)part, err));
        if (checksum != NULL)
            checksum_add(r, checksum, to, (size_t)part);
        if (numbers != NULL && !raw)
            weights_convert(dtype, to, part / element, number, numbers + at / element * size);
        if (bad != NULL && *bad < 0)
            look_at(number, numbers, at / element, part / element, bad);
        at += part;
    }
    return MOCO_OK;
}

/* Tells whether the elements are in C order without gaps. The stride of an axis of length 1 does not matter. */
static int in_a_row(const struct weights_tensor *t)
{
    int64_t step = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        if (t->shape[d] > 1 && t->stride[d] != step)
            return 0;
        step *= t->shape[d];
    }
    return 1;
}

/* ---- in another order ---- */

/* The tensor's dimensions, from the one with the longest stride to the one with the shortest. In this order its
 * elements follow each other in the file, so that each byte is read once. */
struct gather {
    const struct region *region;
    int ndim;
    int64_t shape[SAFETENSORS_DIMS], from[SAFETENSORS_DIMS], to[SAFETENSORS_DIMS]; /* from: bytes, to: elements */
    int64_t end;           /* offset in the file of the end of the last element */
    char *piece;           /* a window of the file: */
    int64_t begin, filled; /* its offset in the file, its bytes */
    int64_t window;
};

/* Sorts the dimensions by stride, and makes the window one element if elements are far apart. */
static void gather_order(struct gather *g, const struct weights_tensor *t)
{
    int64_t element = (int64_t)safetensors_dtype_size(t->dtype), out = 1;
    g->end = t->offset + element;
    for (int d = t->ndim - 1; d >= 0; d--) {
        if (t->shape[d] > 1) { /* an axis of length 1 may have any stride */
            int64_t from = t->stride[d] * element;
            int at = g->ndim++;
            for (; at > 0 && g->from[at - 1] < from; at--) {
                g->shape[at] = g->shape[at - 1];
                g->from[at] = g->from[at - 1];
                g->to[at] = g->to[at - 1];
            }
            g->shape[at] = t->shape[d];
            g->from[at] = from;
            g->to[at] = out;
            g->end += (t->shape[d] - 1) * from;
        }
        out *= t->shape[d];
    }
    g->window = g->ndim > 0 && g->from[g->ndim - 1] > SPARSE ? element : PIECE;
}

static moco_status gather_at(struct gather *g, int64_t offset, int64_t element, const char **at, struct err *err)
{
    if (offset < g->begin || offset + element > g->begin + g->filled) {
        g->filled = g->end - offset < g->window ? g->end - offset : g->window;
        g->begin = offset;
        TRY(file_read_at(g->region->file, offset, g->piece, (size_t)g->filled, err));
    }
    *at = g->piece + (offset - g->begin);
    return MOCO_OK;
}

/* Reads a tensor element by element in the order of the file. Its storage was verified before. */
static moco_status read_scattered(const struct region *r, const struct weights_tensor *t, enum weights_number number,
                                  char *numbers, char *piece, struct err *err)
{
    struct gather g = {.region = r, .piece = piece};
    int64_t index[SAFETENSORS_DIMS] = {0}, offset = t->offset, out = 0;
    int64_t element = (int64_t)safetensors_dtype_size(t->dtype), size = out_size(t->dtype, number);
    gather_order(&g, t);
    for (int64_t left = t->count; left > 0; left--) {
        const char *at = NULL;
        TRY(gather_at(&g, offset, element, &at, err));
        weights_convert(t->dtype, at, 1, number, numbers + out * size);
        for (int d = g.ndim - 1; d >= 0; d--) {
            offset += g.from[d];
            out += g.to[d];
            if (++index[d] < g.shape[d])
                break;
            offset -= g.shape[d] * g.from[d];
            out -= g.shape[d] * g.to[d];
            index[d] = 0;
        }
    }
    return MOCO_OK;
}

/* ---- the whole ---- */

static int64_t bytes_of(const struct weights_tensor *t)
{
    return t->count * (int64_t)safetensors_dtype_size(t->dtype);
}

/* Tells whether the tensor is all of its region and in C order: reading it then verifies it. */
static int is_whole(const struct region *r, const struct weights_tensor *t)
{
    return in_a_row(t) && t->offset == r->offset && bytes_of(t) == r->bytes;
}

/* Reads and verifies a tensor. A part of a storage cannot be verified alone, so that the first such read verifies the
 * whole storage and notes it. */
static moco_status read_tensor(const struct region *r, const struct weights_tensor *t, enum weights_number number,
                               char *numbers, char *piece, int64_t *bad, struct err *err)
{
    struct checksum checksum = {0};
    if (t->count == 0)
        return MOCO_OK;
    int all = is_whole(r, t);
    hash_start(&checksum.hash);
    if (!all && r->storage != NULL && !atomic_load(&r->storage->proved)) {
        TRY(read_row(r, r->offset, r->bytes, SAFETENSORS_U8, number, NULL, piece, &checksum, NULL, err));
        TRY(checksum_compare(r, &checksum, err));
    }
    if (!in_a_row(t)) {
        TRY(read_scattered(r, t, number, numbers, piece, err));
        if (bad != NULL)
            look_at(number, numbers, 0, t->count, bad);
        return MOCO_OK;
    }
    TRY(read_row(r, t->offset, bytes_of(t), t->dtype, number, numbers, piece, all ? &checksum : NULL, bad, err));
    return all ? checksum_compare(r, &checksum, err) : MOCO_OK;
}

static moco_status read_whole(struct weights *w, int64_t i, enum weights_number number, void *numbers, int64_t *bad,
                              struct err *err)
{
    struct weights_tensor tensor;
    weights_at(w, i, &tensor);
    struct region region = region_of(w, i, &tensor);
    /* Bytes that already have the caller's type and order are read into place, without a piece of memory between. */
    int direct = tensor.count == 0 || (is_raw(tensor.dtype, number) && is_whole(&region, &tensor));
    char *piece = direct ? numbers : mem_alloc(w->ctx, (size_t)(region.bytes < PIECE ? region.bytes : PIECE), err);
    if (piece == NULL && tensor.count > 0)
        return MOCO_ENOMEM;
    moco_status status = read_tensor(&region, &tensor, number, numbers, piece, bad, err);
    if (piece != numbers)
        mem_free(w->ctx, piece);
    return status;
}

moco_status weights_read(struct weights *w, int64_t i, enum weights_number number, void *numbers, struct err *err)
{
    return read_whole(w, i, number, numbers, NULL, err);
}

moco_status weights_read_finite(struct weights *w, int64_t i, enum weights_number number, void *numbers, int64_t *bad,
                                struct err *err)
{
    *bad = -1;
    return read_whole(w, i, number, numbers, bad, err);
}
