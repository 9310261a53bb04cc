/* SPDX-License-Identifier: MIT
 *
 * weights: the named tensors of a file that another program wrote, in either of two formats: safetensors, and
 * torch.save's two containers (a zip archive since 1.6, five pickles in a row before). The first bytes of the file
 * decide which. What a reader would get wrong: what these files say about themselves is checked against the bytes
 * that exist, but most of them prove nothing about the numbers. weights_tensor.proved says which do. */
#ifndef MOCO_FORMAT_WEIGHTS_H
#define MOCO_FORMAT_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "format/safetensors.h"

struct weights_tensor {
    const char *name;
    enum safetensors_dtype dtype; /* as it is in the file */
    int ndim;
    int64_t shape[SAFETENSORS_DIMS];
    int64_t stride[SAFETENSORS_DIMS]; /* elements from one index to the next in the file */
    int64_t count;                    /* elements */
    int64_t offset;                   /* in the file, of the element whose indices are all 0 */
    int proved;                       /* 1: reading it proves its bytes by a checksum in the file */
};

/* The types that numbers can be read as. AS_IS: the type that they have in the file. */
enum weights_number { WEIGHTS_F32, WEIGHTS_F64, WEIGHTS_I64, WEIGHTS_U8, WEIGHTS_BF16, WEIGHTS_AS_IS };

struct weights;

/* Reads and checks everything but the tensors' bytes. Errors: MOCO_EIO, MOCO_ENOMEM, and MOCO_EFORMAT, whose sentence
 * names file, offset and reason, or says what kind of file it is. */
moco_status weights_open(struct weights **out, struct ctx *ctx, const char *path, struct err *err);
void weights_close(struct weights *w); /* NULL is allowed */

const char *weights_format(const struct weights *w); /* "safetensors", "torch-zip", "torch-legacy" */
const char *weights_path(const struct weights *w);   /* for error sentences */
int64_t weights_count(const struct weights *w);
/* Describes tensor `i` < count, in the order of the file. `name` is borrowed from w. */
void weights_at(const struct weights *w, int64_t i, struct weights_tensor *tensor);

/* Finds a tensor. Errors: MOCO_ENOTFOUND; MOCO_EFORMAT if something else has that name. */
moco_status weights_find(const struct weights *w, const char *name, int64_t *i, struct err *err);

/* Tells whether a type can be read as these numbers. Every type can be read as f32 and f64, integers also as i64, u8
 * and bool also as u8, and bf16 also as bf16. */
int weights_converts(enum safetensors_dtype dtype, enum weights_number number);

/* Reads all elements in C order. After a failure `numbers` may have been written to. Threads: any number at once. */
moco_status weights_read(struct weights *w, int64_t i, enum weights_number number, void *numbers, struct err *err);
/* Reads them as f32 or f64 and sets *bad to the first number that is not finite, or to -1. That costs little, because
 * the numbers are still in cache. */
moco_status weights_read_finite(struct weights *w, int64_t i, enum weights_number number, void *numbers, int64_t *bad,
                                struct err *err);

/* Writes a value as text into `text`, ended by 0: a text value of a safetensors file; a text, number or bool in the
 * dicts and lists of a torch file ("epoch", "optimizer.param_groups.0.lr"). Errors: MOCO_ENOTFOUND; MOCO_ESHAPE if
 * `text` is too small. */
moco_status weights_text(const struct weights *w, const char *key, char *text, size_t size, struct err *err);
/* Returns key number `i` of the text values; in a torch file, of those at its root. NULL past the end. */
const char *weights_key(const struct weights *w, int64_t i);
/* Returns sentence number `i` of what a user should know, such as code that was not run, or bytes that nothing proves.
 * NULL past the end. */
const char *weights_note(const struct weights *w, int64_t i);

#endif
