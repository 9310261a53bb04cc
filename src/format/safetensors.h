/* SPDX-License-Identifier: MIT
 *
 * safetensors: named tensors and text values in one file that every tool reads, with our own hashes beside them. The
 * file is: 8 bytes N (little-endian), N bytes of JSON, then the tensors back to back. What a reader would get wrong:
 * open proves only that the structure is sound. safetensors_verify (the whole file) and safetensors_load (what it
 * returns) prove that the bytes are those that were saved, by hashes that only files written with SAFETENSORS_HASHES
 * carry.
 *
 * Hashes are XXH3-128 in 32 hex digits in `__metadata__`: key "xxh3" for the header (the 8 bytes and the JSON, with
 * its own 32 digits taken as '0'), key "xxh3:NAME" for the bytes of tensor NAME. The hash of the header covers the
 * hashes of the tensors and so the whole file. They find damage, not forgery. */
#ifndef MOCO_FORMAT_SAFETENSORS_H
#define MOCO_FORMAT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"

#define SAFETENSORS_DIMS 8
#define SAFETENSORS_HEADER_MAX ((int64_t)16 << 20) /* longer headers are refused, unread and unwritten */

/* X(name as in files, bytes of an element). Other names, sub-byte types among them, are refused. */
#define SAFETENSORS_DTYPES(X)                                                                                          \
    X(F64, 8)                                                                                                          \
    X(I64, 8)                                                                                                          \
    X(F32, 4)                                                                                                          \
    X(I32, 4)                                                                                                          \
    X(F16, 2)                                                                                                          \
    X(BF16, 2)                                                                                                         \
    X(I16, 2)                                                                                                          \
    X(I8, 1)                                                                                                           \
    X(U8, 1)                                                                                                           \
    X(BOOL, 1)

enum safetensors_dtype {
#define SAFETENSORS_ENUM_(name, bytes) SAFETENSORS_##name,
    SAFETENSORS_DTYPES(SAFETENSORS_ENUM_)
#undef SAFETENSORS_ENUM_
        SAFETENSORS_DTYPE_COUNT
};

size_t safetensors_dtype_size(enum safetensors_dtype dtype);
const char *safetensors_dtype_name(enum safetensors_dtype dtype);

/* What a tensor is, and where its bytes lie: filled by the reader; a writer fills all but `offset` and `bytes`. */
struct safetensors_tensor {
    const char *name; /* UTF-8, ends in 0 and holds no other 0 */
    enum safetensors_dtype dtype;
    int ndim; /* 0..SAFETENSORS_DIMS; 0: one element */
    int64_t shape[SAFETENSORS_DIMS];
    int64_t offset; /* of its first byte in the file */
    int64_t bytes;
};

struct safetensors_text {
    const char *key, *value;
};

/* ---- metadata to be written: a list that copies what is added ---- */

struct safetensors_metadata {
    struct ctx *ctx;
    struct safetensors_text *items; /* [count] */
    int64_t count;
};

void safetensors_metadata_init(struct safetensors_metadata *m, struct ctx *ctx); /* takes no memory yet */
moco_status safetensors_metadata_add(struct safetensors_metadata *m, const char *key, const char *value,
                                     struct err *err);
moco_status safetensors_metadata_add_int(struct safetensors_metadata *m, const char *key, int64_t value,
                                         struct err *err);
/* As the shortest text that reads back as the same bits; NaN and infinities are MOCO_EINVAL. */
moco_status safetensors_metadata_add_double(struct safetensors_metadata *m, const char *key, double value,
                                            struct err *err);
void safetensors_metadata_free(struct safetensors_metadata *m); /* after init, any number of times */

/* ---- writing ---- */

enum safetensors_flags { SAFETENSORS_HASHES = 1 };

struct safetensors_writer;

/* Starts a file at `path`: a temporary file beside it takes the whole size at once, so that a full disk shows here. All
 * arguments are copied. Tensors come to lie by element size, largest first, then by name; text values by key: equal
 * content gives equal bytes in whatever order it was listed. Errors: MOCO_EINVAL (duplicate, reserved or non-UTF-8
 * name, bad shape, header too long), MOCO_EIO, MOCO_ENOMEM. */
moco_status safetensors_create(struct safetensors_writer **out, struct ctx *ctx, const char *path,
                               const struct safetensors_tensor *tensors, int64_t count,
                               const struct safetensors_text *metadata, int64_t metadata_count, unsigned flags,
                               struct err *err);

/* Appends `size` bytes to tensor number `tensor` of the list given to create. Tensors may come in any order, each whole
 * (in as many pieces as wanted) before the next begins. Nothing is held back: memory does not grow. */
moco_status safetensors_write(struct safetensors_writer *w, int64_t tensor, const void *bytes, size_t size,
                              struct err *err);

/* Checks that every tensor is complete, writes the header, makes file and name durable, puts it in the place of `path`,
 * and frees the writer, also on failure. On failure what was at `path` is untouched and the temporary file is gone; the
 * one exception is a failure to make the new name durable, which leaves the complete new file there. */
moco_status safetensors_commit(struct safetensors_writer *w, struct err *err);

/* Gives up: removes the temporary file and frees the writer. NULL is fine. */
void safetensors_abandon(struct safetensors_writer *w);

/* ---- reading ---- */

struct safetensors;

/* Reads and checks the header against the file's size: every rule of the format, duplicates, overlaps, holes, and that
 * the tensors fill the file to its end. The file stays open. `header_max` 0: SAFETENSORS_HEADER_MAX.
 * Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_ENOMEM; the sentence names path, offset and reason. */
moco_status safetensors_open(struct safetensors **out, struct ctx *ctx, const char *path, int64_t header_max,
                             struct err *err);
void safetensors_close(struct safetensors *f); /* NULL is fine */

const char *safetensors_path(const struct safetensors *f);
int64_t safetensors_count(const struct safetensors *f);
const struct safetensors_tensor *safetensors_at(const struct safetensors *f, int64_t i);          /* in file order */
const struct safetensors_tensor *safetensors_find(const struct safetensors *f, const char *name); /* NULL: no such */

/* The hash that the file carries for the bytes of a tensor, as text; NULL: none. Whether the header that says it was
 * changed is another question (safetensors_verify_header). */
const char *safetensors_hash(const struct safetensors *f, const struct safetensors_tensor *tensor);

/* Text values of `__metadata__`. find: NULL if there is none. get: its absence, another form or a value outside
 * [low, high] is MOCO_EFORMAT and the sentence says what stands there. Strings are borrowed from the file. */
const char *safetensors_find_text(const struct safetensors *f, const char *key);
moco_status safetensors_get_text(const struct safetensors *f, const char *key, const char **value, struct err *err);
moco_status safetensors_get_int(const struct safetensors *f, const char *key, int64_t low, int64_t high, int64_t *value,
                                struct err *err);
moco_status safetensors_get_double(const struct safetensors *f, const char *key, double low, double high, double *value,
                                   struct err *err);

/* `size` bytes from byte `first` of the tensor on, as they are in the file: nothing is proved about them. */
moco_status safetensors_read(const struct safetensors *f, const struct safetensors_tensor *tensor, int64_t first,
                             void *bytes, size_t size, struct err *err);

/* The header alone: MOCO_EFORMAT if it carries no hash or another one than its own. Reads nothing. */
moco_status safetensors_verify_header(const struct safetensors *f, struct err *err);

/* The whole file, in pieces and in file order: header, and every tensor against its hash; a tensor without one is
 * MOCO_EFORMAT. `cancelled` (may be NULL) is asked between pieces; not 0 ends it with MOCO_ECANCELED. */
moco_status safetensors_verify(const struct safetensors *f, int (*cancelled)(void *user), void *user, struct err *err);

/* A whole tensor into `bytes` (tensor->bytes long), and proves by its hash that these are the bytes saved: a file that
 * changed after verify is MOCO_EFORMAT, but `bytes` has been written to. */
moco_status safetensors_load(const struct safetensors *f, const struct safetensors_tensor *tensor, void *bytes,
                             struct err *err);

#endif
