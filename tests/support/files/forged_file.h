/* SPDX-License-Identifier: MIT
 *
 * forged_file: a file of ours taken apart, changed, and put together again with right hashes: what a hostile file looks
 * like to whoever believes in hashes. What a reader would get wrong: nothing is checked here; a shape may ask for more
 * than the tensor's bytes, and the header says so. Out of memory ends the program. */
#ifndef MOCO_TESTS_FORGED_FILE_H
#define MOCO_TESTS_FORGED_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "format/safetensors.h"

struct forged_tensor {
    char name[160];
    enum safetensors_dtype dtype;
    int ndim;
    int64_t shape[SAFETENSORS_DIMS];
    char *bytes; /* owned */
    size_t size;
};

struct forged_text {
    char *key, *value; /* owned */
};

struct forged {
    struct forged_tensor *tensors;
    struct forged_text *texts; /* without the hashes */
    int tensor_count, text_count;
};

/* Takes a sound file apart; fails the program if it is none. */
void forged_read(struct forged *f, const char *path);
void forged_copy(struct forged *to, const struct forged *from);
void forged_free(struct forged *f);

void forged_text(struct forged *f, const char *key, const char *value);  /* NULL: without it */
struct forged_tensor *forged_tensor(struct forged *f, const char *name); /* fails the program if there is none */
void forged_drop(struct forged *f, const char *name);
/* Number `i` of a tensor of F32, F64 or I64. */
void forged_number(struct forged_tensor *tensor, size_t i, double value);

/* The whole file (the caller frees). `hashes` 0: without any. */
char *forged_bytes(const struct forged *f, int hashes, size_t *size);
void forged_write(const struct forged *f, const char *path);

#endif
