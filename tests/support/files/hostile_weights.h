/* SPDX-License-Identifier: MIT
 *
 * hostile_weights: files of torch.save made byte by byte, and what must be said of each. What a reader would get wrong:
 * the reason is checked, not the status alone: a file that is refused for another reason shows that a rule is missing.
 */
#ifndef MOCO_TESTS_HOSTILE_WEIGHTS_H
#define MOCO_TESTS_HOSTILE_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

/* ---- bytes ---- */

struct blob {
    unsigned char *at;
    size_t size, room;
};
void blob_add(struct blob *blob, const void *bytes, size_t size);
void blob_number(struct blob *blob, uint64_t value, int bytes); /* little-endian */
void blob_set(struct blob *blob, size_t at, uint64_t value, int bytes);
void blob_free(struct blob *blob);

/* ---- pickles, as string literals ---- */

#define P_ODICT "ccollections\nOrderedDict\n)R"
#define P_CLASS(class, numel)                                                                                          \
    "(X\7\0\0\0storagectorch\n" class "Storage\nX\1\0\0\0"                                                             \
                                      "0X\3\0\0\0cpu" numel "tQ"
#define P_STORAGE P_CLASS("Float", "K\4")
#define P_TENSOR(storage, offset, size, stride)                                                                        \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset size stride "\x89" P_ODICT "tR"
#define P_GOOD P_TENSOR(P_STORAGE, "K\0", "K\2K\2\x86", "K\2K\1\x86") /* f32 [2,2] */
#define P(body) "\x80\2" body "."
#define P_DICT(body) P("}(X\1\0\0\0w" P_GOOD body "u") /* and more pairs */

/* ---- zip archives as torch writes them ---- */

struct zip_part {
    const char *name;
    const void *bytes;
    size_t size;
    int at_once; /* 1: sizes and CRC-32 in the local header, no descriptor */
};
enum { ZIP_PARTS = 8 };
struct zip_places { /* offsets of what was written */
    size_t local[ZIP_PARTS], content[ZIP_PARTS], descriptor[ZIP_PARTS], central[ZIP_PARTS], end64, locator, end;
};
void zip_bytes(struct blob *out, const struct zip_part *parts, int count, struct zip_places *places);

/* data.pkl, version "3\n" and data/0 of 4 floats in the folder a. */
void torch_zip_bytes(struct blob *out, const void *pickle, size_t size, struct zip_places *places);
#define GOOD_PARTS 3

/* ---- checks ---- */

int hostile_set_up(void **state);
int hostile_tear_down(void **state);

/* Opens the bytes as a file and reads every tensor. `reason` NULL: all of it must work. Otherwise it must fail with
 * MOCO_EFORMAT and a sentence of path, "at byte" and the reason; one that starts with '!' is the reading's, after it
 * was opened. Memory stays below 4 x the file + 1 MiB. Counts the files. */
void hostile_check(const char *what, const void *bytes, size_t size, const char *reason);
extern int hostile_files;

#endif
