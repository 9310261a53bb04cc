/* SPDX-License-Identifier: MIT
 *
 * dataset_cifar: CIFAR-10 binary files: records of one label byte and 32 x 32 pixels as three planes. Labels are
 * read and checked when the files are opened; pixels are read when they are needed. */
#include <stdio.h>

#include "data/decode/decode_codec.h"
#include "dataset.h"
#include "file/file.h"

#define SIDE 32
#define PLANE (SIDE * SIDE)
#define RECORD (1 + 3 * PLANE)
#define FILES_MAX 256
#define CHUNK 64 /* records read at a time for their labels */

struct cifar_file {
    struct file file;
    int64_t first; /* number of its first image */
};

struct cifar {
    struct dataset base;
    int files;
    struct cifar_file *file;
    uint8_t *labels;
};

static const struct cifar_file *file_of(const struct cifar *c, int64_t id)
{
    int which = c->files - 1;
    while (c->file[which].first > id)
        which--;
    return &c->file[which];
}

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    const struct cifar_file *file = file_of((const struct cifar *)ds, id);
    uint8_t planes[3 * PLANE];
    TRY(decode_room(decoder, SIDE, SIDE, image, err));
    TRY(file_read_at(&file->file, (id - file->first) * RECORD + 1, planes, sizeof planes, err));
    for (int i = 0; i < PLANE; i++)
        for (int c = 0; c < 3; c++)
            decoder->pixels[3 * i + c] = planes[c * PLANE + i];
    return MOCO_OK;
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    return ((const struct cifar *)ds)->labels[id];
}

static moco_status path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    const struct cifar_file *file = file_of((const struct cifar *)ds, id);
    int length = snprintf(text, size, "%s#%lld", file->file.path, (long long)(id - file->first));
    return length >= 0 && (size_t)length < size ? MOCO_OK : MOCO_ESHAPE;
}

static const char *class_name(const struct dataset *ds, int32_t which)
{
    static const char *const names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                        "dog",      "frog",       "horse", "ship", "truck"};
    (void)ds;
    return names[which];
}

static void destroy(struct dataset *ds)
{
    struct cifar *c = (struct cifar *)ds;
    for (int i = 0; i < c->files; i++)
        file_close(&c->file[i].file);
    mem_free(ds->ctx, c->file);
    mem_free(ds->ctx, c->labels);
    mem_free(ds->ctx, c);
}

static const struct dataset_ops cifar_ops = {read_image, label, path, class_name, destroy};

static moco_status read_labels(struct cifar *c, const struct cifar_file *file, uint8_t *chunk, struct err *err)
{
    int64_t records = file->file.size / RECORD;
    for (int64_t done = 0; done < records; done += CHUNK) {
        int64_t count = records - done < CHUNK ? records - done : CHUNK;
        TRY(file_read_at(&file->file, done * RECORD, chunk, (size_t)count * RECORD, err));
        for (int64_t i = 0; i < count; i++) {
            uint8_t value = chunk[i * RECORD];
            if (value > 9)
                return err_set(err, MOCO_EFORMAT, "%s: label %d at offset %lld; CIFAR-10 has labels 0 to 9",
                               file->file.path, value, (long long)((done + i) * RECORD));
            c->labels[file->first + done + i] = value;
        }
    }
    return MOCO_OK;
}

/* Opens all files and counts their records before it reads the labels of all of them into one array. */
static moco_status open_files(struct cifar *c, const char *const *paths, int count, struct err *err)
{
    struct ctx *ctx = c->base.ctx;
    c->file = mem_array(ctx, (size_t)count, sizeof *c->file, err);
    if (c->file == NULL)
        return MOCO_ENOMEM;
    for (int i = 0; i < count; i++) {
        struct cifar_file *file = &c->file[i];
        TRY(file_open(&file->file, ctx, paths[i], err));
        c->files++;
        if (file->file.size % RECORD != 0)
            return err_set(err, MOCO_EFORMAT, "%s has %lld bytes, not a multiple of the %d of a CIFAR-10 record",
                           paths[i], (long long)file->file.size, RECORD);
        file->first = c->base.count;
        c->base.count += file->file.size / RECORD;
    }
    if (c->base.count == 0)
        return err_set(err, MOCO_EINVAL, "%s holds no image", paths[0]);
    c->labels = mem_alloc(ctx, (size_t)c->base.count, err);
    uint8_t *chunk = mem_alloc(ctx, CHUNK * RECORD, err);
    moco_status status = c->labels == NULL || chunk == NULL ? MOCO_ENOMEM : MOCO_OK;
    for (int i = 0; i < count && status == MOCO_OK; i++)
        status = read_labels(c, &c->file[i], chunk, err);
    mem_free(ctx, chunk);
    return status;
}

moco_status dataset_open_cifar10(struct dataset **out, struct ctx *ctx, const char *const *paths, int count,
                                 struct err *err)
{
    *out = NULL;
    if (count < 1 || count > FILES_MAX)
        return err_set(err, MOCO_EINVAL, "%d CIFAR-10 files; there must be 1 to %d", count, FILES_MAX);
    struct cifar *c = mem_zalloc(ctx, sizeof *c, err);
    if (c == NULL)
        return MOCO_ENOMEM;
    c->base = (struct dataset){&cifar_ops, ctx_ref(ctx), 0, 10, NULL, SIDE, SIDE};
    moco_status status = open_files(c, paths, count, err);
    if (status != MOCO_OK) {
        dataset_free(&c->base);
        return status;
    }
    *out = &c->base;
    return MOCO_OK;
}
