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
    enum safetensors_dtype dtype; /* in the file */
    int ndim;
    int64_t shape[SAFETENSORS_DIMS];
    int64_t stride[SAFETENSORS_DIMS]; /* elements from one index to the next, as they lie in the file */
    int64_t count;                    /* elements */
    int64_t offset;                   /* in the file, of the element with all indices 0 */
    int proved;                       /* 1: reading it proves its bytes by a checksum in the file */
};

/* AS_IS: the type that the file has. */
enum weights_number { WEIGHTS_F32, WEIGHTS_F64, WEIGHTS_I64, WEIGHTS_U8, WEIGHTS_BF16, WEIGHTS_AS_IS };

struct weights;

/* Reads and checks everything but the tensors' bytes. Errors: MOCO_EIO, MOCO_ENOMEM, MOCO_EFORMAT, which names file,
 * offset and reason; of a file of another kind, what it is. */
moco_status weights_open(struct weights **out, struct ctx *ctx, const char *path, struct err *err);
void weights_close(struct weights *w); /* NULL is fine */

const char *weights_format(const struct weights *w); /* "safetensors", "torch-zip", "torch-legacy" */
const char *weights_path(const struct weights *w);   /* for sentences */
int64_t weights_count(const struct weights *w);
/* i < count; in the order of the file. `name` is borrowed from w. */
void weights_at(const struct weights *w, int64_t i, struct weights_tensor *tensor);

/* MOCO_ENOTFOUND; MOCO_EFORMAT if something of that name is there that is no tensor with numbers. */
moco_status weights_find(const struct weights *w, const char *name, int64_t *i, struct err *err);

/* Can it be read as these numbers? f32 and f64: always. Integers also as i64, u8 and bool as u8, bf16 as bf16. */
int weights_converts(enum safetensors_dtype dtype, enum weights_number number);

/* All elements in C order. On failure `numbers` may have been written to. Threads: any number at once. */
moco_status weights_read(struct weights *w, int64_t i, enum weights_number number, void *numbers, struct err *err);
/* The same as f32 or f64; *bad is the first number that is not finite, or -1. Numbers are looked at while they are in
 * cache. */
moco_status weights_read_finite(struct weights *w, int64_t i, enum weights_number number, void *numbers, int64_t *bad,
                                struct err *err);

/* A text value of a safetensors file, or a text, number or bool in the dicts and lists of a torch file ("epoch",
 * "optimizer.param_groups.0.lr"), into `text`, ended by 0. MOCO_ENOTFOUND, MOCO_ESHAPE: too small. */
moco_status weights_text(const struct weights *w, const char *key, char *text, size_t size, struct err *err);
/* The keys of all text values, of a torch file those at its root. NULL past the end. */
const char *weights_key(const struct weights *w, int64_t i);
/* What a user should know, in sentences: names of code that was not run, bytes that nothing proves. NULL past the end.
 */
const char *weights_note(const struct weights *w, int64_t i);

#endif
