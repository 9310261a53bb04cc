/* SPDX-License-Identifier: MIT
 *
 * file_gaps: a new file whose small parts are known at once, in memory, while the large parts between them (the
 * gaps) come later, piece by piece. Memory therefore does not grow with the file. What a reader would get wrong: a
 * gap that is not filled is zeros. The code that fills gaps has to count. */
#ifndef MOCO_LIB_FILE_GAPS_H
#define MOCO_LIB_FILE_GAPS_H

#include "file.h"

struct file_gap {
    size_t at;      /* how many of the bytes in memory come before it */
    int64_t size;   /* of what is to be filled in */
    int64_t offset; /* in the file: file_gaps_begin tells it */
};

/* A list of gaps that grows. After the first failure calls do nothing: look at `status` once at the end. */
struct file_gaps {
    struct ctx *ctx;
    struct err *err;
    struct file_gap *gaps;
    int64_t count;
    moco_status status;
};

void file_gaps_start(struct file_gaps *g, struct ctx *ctx, struct err *err);
void file_gaps_add(struct file_gaps *g, size_t at, int64_t size);
int64_t file_gaps_total(const struct file_gaps *g); /* bytes of all gaps; -1: more than 2^62 */
void file_gaps_free(struct file_gaps *g);

/* file_save_begin for `bytes` with the gaps among them, which come in the order of `at`, and writes the bytes to their
 * places. On failure nothing is left. */
moco_status file_gaps_begin(struct file_gaps *g, struct file_save *s, const char *path, const void *bytes, size_t size,
                            struct err *err);

#endif
