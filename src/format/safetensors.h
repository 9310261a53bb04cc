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
#define SAFETENSORS_HEADER_MAX ((int64_t)16 << 20) /* longer headers are neither read nor written */

/* X(name as in files, bytes of an element). Other names are refused, also those of types below one byte. */
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

/* What a tensor is, and where its bytes are. The reader fills it; who writes a file fills all but `offset` and
 * `bytes`. */
struct safetensors_tensor {
    const char *name; /* UTF-8; ends in 0 and has no other 0 */
    enum safetensors_dtype dtype;
    int ndim; /* 0..SAFETENSORS_DIMS; 0: a tensor of one element */
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
/* Adds the shortest text that reads back as the same bits. NaN and infinities: MOCO_EINVAL. */
moco_status safetensors_metadata_add_double(struct safetensors_metadata *m, const char *key, double value,
                                            struct err *err);
void safetensors_metadata_free(struct safetensors_metadata *m); /* after init; may be called more than once */

/* ---- writing ---- */

enum safetensors_flags { SAFETENSORS_HASHES = 1 };

struct safetensors_writer;

/* Starts a file at `path`. A temporary file beside it takes the whole size at once, so that a full disk is found here.
 * All arguments are copied. Tensors are ordered by element size, largest first, and then by name; text values are
 * ordered by key. Equal content therefore gives equal bytes, in whatever order it was listed. Errors: MOCO_EINVAL
 * (duplicate, reserved or non-UTF-8 name, bad shape, header too long), MOCO_EIO, MOCO_ENOMEM. */
moco_status safetensors_create(struct safetensors_writer **out, struct ctx *ctx, const char *path,
                               const struct safetensors_tensor *tensors, int64_t count,
                               const struct safetensors_text *metadata, int64_t metadata_count, unsigned flags,
                               struct err *err);

/* Appends `size` bytes to tensor number `tensor` of create's list. Tensors may come in any order; each must be
 * complete, in as many pieces as wanted, before the next begins. Bytes are written at once, so that memory does not
 * grow. */
moco_status safetensors_write(struct safetensors_writer *w, int64_t tensor, const void *bytes, size_t size,
                              struct err *err);

/* Checks that every tensor is complete, writes the header, replaces what was at `path`, and makes file and name
 * durable. It frees the writer, also on failure. After a failure the old file is untouched and the temporary one is
 * gone. The one exception is a failure to make the new name durable: the complete new file is then there. */
moco_status safetensors_commit(struct safetensors_writer *w, struct err *err);

/* Removes the temporary file and frees the writer. NULL is allowed. */
void safetensors_abandon(struct safetensors_writer *w);

/* ---- reading ---- */

struct safetensors;

/* Reads the header and checks every rule of the format: there are no duplicates, overlaps or holes, and the tensors
 * fill the file to its end. The file stays open. `header_max` 0: SAFETENSORS_HEADER_MAX. Errors: MOCO_EIO,
 * MOCO_EFORMAT, MOCO_ENOMEM; the sentence names path, offset and reason. */
moco_status safetensors_open(struct safetensors **out, struct ctx *ctx, const char *path, int64_t header_max,
                             struct err *err);
void safetensors_close(struct safetensors *f); /* NULL is fine */

const char *safetensors_path(const struct safetensors *f);
int64_t safetensors_count(const struct safetensors *f);
const struct safetensors_tensor *safetensors_at(const struct safetensors *f, int64_t i);          /* in file order */
const struct safetensors_tensor *safetensors_find(const struct safetensors *f, const char *name); /* NULL: none */

/* The hash that the file carries for the bytes of a tensor, as text; NULL: none. Whether the header that says it was
 * changed is another question (safetensors_verify_header). */
const char *safetensors_hash(const struct safetensors *f, const struct safetensors_tensor *tensor);

/* Text values of `__metadata__`. find returns NULL if there is none. get fails with MOCO_EFORMAT if there is none, if
 * it is no number, or if it is outside [low, high]; the sentence quotes it. Strings are borrowed from the file. */
const char *safetensors_find_text(const struct safetensors *f, const char *key);
moco_status safetensors_get_text(const struct safetensors *f, const char *key, const char **value, struct err *err);
moco_status safetensors_get_int(const struct safetensors *f, const char *key, int64_t low, int64_t high, int64_t *value,
                                struct err *err);
moco_status safetensors_get_double(const struct safetensors *f, const char *key, double low, double high, double *value,
                                   struct err *err);

/* Reads `size` bytes of the tensor from its byte `first` on, as they are in the file. No hash is compared. */
moco_status safetensors_read(const struct safetensors *f, const struct safetensors_tensor *tensor, int64_t first,
                             void *bytes, size_t size, struct err *err);

/* Says whether the header is the one that was saved. MOCO_EFORMAT if it has no hash or not its own. Reads nothing. */
moco_status safetensors_verify_header(const struct safetensors *f, struct err *err);

/* Reads the whole file in pieces and compares header and tensors with their hashes. A tensor without a hash is
 * MOCO_EFORMAT. `cancelled` (may be NULL) is called between pieces; if it returns anything but 0, verify ends with
 * MOCO_ECANCELED. */
moco_status safetensors_verify(const struct safetensors *f, int (*cancelled)(void *user), void *user, struct err *err);

/* Reads a whole tensor into `bytes` (tensor->bytes long) and compares it with its hash. MOCO_EFORMAT if the file
 * changed after verify; `bytes` has been written to all the same. */
moco_status safetensors_load(const struct safetensors *f, const struct safetensors_tensor *tensor, void *bytes,
                             struct err *err);

#endif
