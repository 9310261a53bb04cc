/* SPDX-License-Identifier: MIT
 *
 * npy_file: an array in NumPy's own format (version 1.0), written row by row: memory does not grow with it. What a
 * reader would get wrong: the number of rows is known only at the end. Disk space is reserved for the largest
 * possible number, and the rest is released. */
#ifndef MOCO_EXAMPLES_NPY_FILE_H
#define MOCO_EXAMPLES_NPY_FILE_H

#include <stdint.h>

#include "file.h"

struct npy_file {
    struct file_save save;
    const char *type; /* "<f4", "<i8" */
    int64_t columns;  /* 0: an array of one axis */
    int64_t row_bytes, rows;
};

/* Begins a file that takes the place of `path` at commit. `element`: bytes of one number. `type` is static. */
moco_status npy_begin(struct npy_file *f, struct ctx *ctx, const char *path, const char *type, size_t element,
                      int64_t most_rows, int64_t columns, struct err *err);
moco_status npy_rows(struct npy_file *f, const void *rows, int64_t count, struct err *err);
moco_status npy_commit(struct npy_file *f, struct err *err); /* frees it in any case */
void npy_abandon(struct npy_file *f);                        /* also when all 0 */

#endif
