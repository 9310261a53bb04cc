/* SPDX-License-Identifier: MIT
 *
 * npy_file: see npy_file.h. The header always has the same length, and is written last. */
#include "npy_file.h"

#include <stdio.h>
#include <string.h>

enum { HEADER = 128, LENGTH = 10 }; /* of everything before the rows; of what comes before its text */

moco_status npy_begin(struct npy_file *f, struct ctx *ctx, const char *path, const char *type, size_t element,
                      int64_t most_rows, int64_t columns, struct err *err)
{
    int64_t bytes;
    *f = (struct npy_file){.type = type, .columns = columns, .row_bytes = (int64_t)element};
    if (columns > 0)
        f->row_bytes *= columns;
    if (__builtin_mul_overflow(most_rows, f->row_bytes, &bytes) || bytes > INT64_MAX - HEADER)
        return err_set(err, MOCO_EINVAL, "%.300s: %lld rows are more than a file holds", path, (long long)most_rows);
    return file_save_begin(&f->save, ctx, path, HEADER + bytes, err);
}

moco_status npy_rows(struct npy_file *f, const void *rows, int64_t count, struct err *err)
{
    TRY(file_save_write_at(&f->save, HEADER + f->rows * f->row_bytes, rows, (size_t)(count * f->row_bytes), err));
    f->rows += count;
    return MOCO_OK;
}

/* A Python dict, blanks, and a line end at the header's last byte. */
static void make_header(const struct npy_file *f, char header[HEADER])
{
    char text[HEADER], columns[24] = "";
    if (f->columns > 0)
        snprintf(columns, sizeof columns, " %lld", (long long)f->columns);
    int length = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%lld,%s), }", f->type,
                          (long long)f->rows, columns);
    memset(header, ' ', HEADER);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = HEADER - LENGTH;
    header[9] = 0;
    memcpy(header + LENGTH, text, (size_t)length);
    header[HEADER - 1] = '\n';
}

moco_status npy_commit(struct npy_file *f, struct err *err)
{
    char header[HEADER];
    make_header(f, header);
    moco_status status = file_save_write_at(&f->save, 0, header, sizeof header, err);
    if (status == MOCO_OK)
        status = file_save_shrink(&f->save, HEADER + f->rows * f->row_bytes, err);
    if (status == MOCO_OK)
        return file_save_commit(&f->save, err);
    npy_abandon(f);
    return status;
}

void npy_abandon(struct npy_file *f)
{
    if (f->save.ctx != NULL)
        file_save_abandon(&f->save);
    *f = (struct npy_file){0};
}
