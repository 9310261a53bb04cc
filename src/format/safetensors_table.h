/* SPDX-License-Identifier: MIT
 *
 * safetensors_table: what reader, parser and writer of safetensors share: an open file's table of contents. Names
 * and text values are kept in the header's own memory, unescaped in place. A table therefore never costs more than a
 * few times the bytes that it describes, however hostile the file is. */
#ifndef MOCO_FORMAT_SAFETENSORS_TABLE_H
#define MOCO_FORMAT_SAFETENSORS_TABLE_H

#include "file/file.h"
#include "format/safetensors.h"
#include "hash.h"

#define SAFETENSORS_HASH_KEY "xxh3"     /* key of the header's hash */
#define SAFETENSORS_HASH_PREFIX "xxh3:" /* followed by the tensor's name */
#define SAFETENSORS_LENGTH 8            /* bytes of the length before the JSON */

enum safetensors_proof { SAFETENSORS_UNPROVED, SAFETENSORS_PROVED, SAFETENSORS_DISPROVED };

struct safetensors_pair { /* offsets in the header */
    uint32_t key, value;
};

struct safetensors {
    struct ctx *ctx;
    struct file file;
    char *header; /* the length and the JSON */
    int64_t header_bytes;
    struct safetensors_tensor *tensors; /* [count], in the order of the file */
    uint32_t *by_name;                  /* [count]: indices of tensors, by name */
    uint32_t *hashes;                   /* [count]: where in the header the hash of a tensor is; 0: nowhere */
    struct safetensors_pair *texts;     /* [text_count], by key */
    int64_t count, text_count;
    enum safetensors_proof proof; /* whether the hash is that of the header */
};

/* Fills the table from header and header_bytes. The tensors must fill a file of `file_size` bytes. On failure the
 * caller frees what was made. */
moco_status safetensors_parse(struct safetensors *f, int64_t file_size, struct err *err);

/* Computes the hash of a header whose own digits start at `digits` (0: it has none). */
void safetensors_header_hash(const char *header, size_t bytes, size_t digits, char text[HASH_DIGITS + 1]);

/* Returns elements times element size; -1 for a negative size or an overflow. */
int64_t safetensors_bytes(enum safetensors_dtype dtype, int ndim, const int64_t *shape);

#endif
