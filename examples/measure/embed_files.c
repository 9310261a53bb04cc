/* SPDX-License-Identifier: MIT
 *
 * embed_files: see embed_files.h. */
#define _DEFAULT_SOURCE /* strcasecmp */
#include "embed_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encode.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/npy_file.h"

enum { PATH = 4096, LINE = 4 * PATH + 2 };

struct embed_writer {
    struct embed_files files;
    struct ctx *ctx;
    const moco_dataset *images;
    struct npy_file features, labels;
    struct file_save paths;
    int64_t paths_used;
    int32_t dim;
    float *rows; /* [room][dim] */
    int64_t room;
};

/* ---- lines ---- */

/* The image's path in one line, whatever bytes it has. Returns the line's length. */
static moco_status make_line(const moco_dataset *images, int64_t id, char line[LINE], size_t *length, struct err *err)
{
    char path[PATH];
    TRY(from_moco(moco_dataset_path(images, id, path, sizeof path), err));
    human_line(path, line, LINE - 1);
    *length = strlen(line);
    line[(*length)++] = '\n';
    return MOCO_OK;
}

static moco_status begin_paths(struct embed_writer *w, struct err *err)
{
    int64_t bytes = 0, count = moco_dataset_count(w->images);
    char line[LINE];
    for (int64_t id = 0; id < count; id++) {
        size_t length;
        TRY(make_line(w->images, id, line, &length, err));
        bytes += (int64_t)length;
    }
    return file_save_begin(&w->paths, w->ctx, w->files.paths, bytes, err);
}

static moco_status add_path(struct embed_writer *w, int64_t id, struct err *err)
{
    char line[LINE];
    size_t length;
    TRY(make_line(w->images, id, line, &length, err));
    TRY(file_save_write_at(&w->paths, w->paths_used, line, length, err));
    w->paths_used += (int64_t)length;
    return MOCO_OK;
}

/* ---- the files ---- */

static moco_status begin(struct embed_writer *w, moco_encoder *encoder, struct err *err)
{
    int64_t count = moco_dataset_count(w->images);
    w->dim = encode_dim(encoder, w->files.what);
    TRY(ctx_create(&w->ctx, &(struct ctx_options){.threads = 1}, err));
    TRY(npy_begin(&w->features, w->ctx, w->files.features, "<f4", sizeof(float), count, w->dim, err));
    if (w->files.labels != NULL)
        TRY(npy_begin(&w->labels, w->ctx, w->files.labels, "<i8", sizeof(int64_t), count, 0, err));
    return w->files.paths != NULL ? begin_paths(w, err) : MOCO_OK;
}

moco_status embed_files_begin(struct embed_writer **out, const struct embed_files *files, moco_encoder *encoder,
                              const moco_dataset *images, struct err *err)
{
    struct embed_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (w == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    w->files = *files;
    w->images = images;
    moco_status status = begin(w, encoder, err);
    if (status != MOCO_OK) {
        embed_files_abandon(w);
        return status;
    }
    *out = w;
    return MOCO_OK;
}

static void normalise(float *rows, int64_t n, int32_t dim)
{
    for (int64_t i = 0; i < n; i++) {
        double square = 0;
        for (int32_t j = 0; j < dim; j++)
            square += (double)rows[i * dim + j] * rows[i * dim + j];
        for (int32_t j = 0; j < dim; j++)
            rows[i * dim + j] /= (float)(sqrt(square) + 1e-12);
    }
}

moco_status embed_files_add(struct embed_writer *w, moco_encoder *encoder, const moco_batch *batch, struct err *err)
{
    if (batch->n > w->room) {
        free(w->rows);
        w->rows = malloc((size_t)batch->n * (size_t)w->dim * sizeof *w->rows);
        w->room = w->rows != NULL ? batch->n : 0;
        if (w->rows == NULL)
            return err_set(err, MOCO_ENOMEM, "out of memory for the features of %d images", batch->n);
    }
    TRY(encode_batch(encoder, w->files.what, batch, batch->n, w->rows, err));
    if (w->files.normalise)
        normalise(w->rows, batch->n, w->dim);
    TRY(npy_rows(&w->features, w->rows, batch->n, err));
    for (int32_t i = 0; i < batch->n; i++) {
        int64_t label = moco_dataset_label(w->images, batch->ids[i]);
        if (w->files.labels != NULL)
            TRY(npy_rows(&w->labels, &label, 1, err));
        if (w->files.paths != NULL)
            TRY(add_path(w, batch->ids[i], err));
    }
    return MOCO_OK;
}

static moco_status commit(struct embed_writer *w, struct err *err)
{
    TRY(npy_commit(&w->features, err));
    if (w->files.labels != NULL)
        TRY(npy_commit(&w->labels, err));
    if (w->files.paths == NULL)
        return MOCO_OK;
    TRY(file_save_shrink(&w->paths, w->paths_used, err));
    return file_save_commit(&w->paths, err);
}

moco_status embed_files_commit(struct embed_writer *w, int64_t *rows, struct err *err)
{
    *rows = w->features.rows;
    moco_status status = commit(w, err);
    embed_files_abandon(w);
    return status;
}

void embed_files_abandon(struct embed_writer *w)
{
    if (w == NULL)
        return;
    npy_abandon(&w->features);
    npy_abandon(&w->labels);
    file_save_abandon(&w->paths);
    ctx_unref(w->ctx);
    free(w->rows);
    free(w);
}
