/* SPDX-License-Identifier: MIT
 *
 * bank_file: a bank as a safetensors file: vectors [n,dim] f32 of length 1, ids [n] i64. What a reader would get
 * wrong: the vectors of a mapped bank are not read here, so that neither their hash nor their length is checked.
 * That is the purpose of mapping. */
#include <math.h>

#include "algo/file_config.h"
#include "eval/bank_state.h"

#define VECTORS "vectors"
#define IDS "ids"
#define LENGTH_OFF 1e-4 /* of a row: rounding to f32 is far below, and a row that was never normalised far above */

/* ---- saving ---- */

static moco_status write_part(struct safetensors_writer *w, int64_t tensor, const void *at, int64_t count, size_t bytes,
                              struct err *err)
{
    return count > 0 ? safetensors_write(w, tensor, at, (size_t)count * bytes, err) : MOCO_OK;
}

static moco_status write_all(const struct bank *bank, struct safetensors_writer *w, struct err *err)
{
    for (int p = 0; p < 2; p++)
        TRY(write_part(w, 0, bank->part[p].rows, bank->part[p].count, sizeof(float) * (size_t)bank->dim, err));
    for (int p = 0; p < 2; p++)
        TRY(write_part(w, 1, bank->part[p].ids, bank->part[p].count, sizeof(int64_t), err));
    return MOCO_OK;
}

moco_status bank_save(const struct bank *bank, const char *path, struct err *err)
{
    int64_t n = bank_count(bank);
    if (n == 0)
        return err_set(err, MOCO_ESTATE, "the bank is empty: there is nothing to save");
    const struct safetensors_tensor tensors[] = {
        {.name = VECTORS, .dtype = SAFETENSORS_F32, .ndim = 2, .shape = {n, bank->dim}},
        {.name = IDS, .dtype = SAFETENSORS_I64, .ndim = 1, .shape = {n}}};
    struct safetensors_writer *w = NULL;
    struct safetensors_metadata metadata;
    safetensors_metadata_init(&metadata, bank->ctx);
    moco_status status = config_put_kind(&metadata, FILE_BANK, err);
    if (status == MOCO_OK)
        status = safetensors_create(&w, bank->ctx, path, tensors, 2, metadata.items, metadata.count, SAFETENSORS_HASHES,
                                    err);
    safetensors_metadata_free(&metadata);
    if (status == MOCO_OK)
        status = write_all(bank, w, err);
    if (status == MOCO_OK)
        return safetensors_commit(w, err);
    safetensors_abandon(w);
    return status;
}

/* ---- opening ---- */

struct bank_tensors {
    const struct safetensors_tensor *rows, *ids;
    int64_t count;
    int dim;
};

/* Checks everything about the file but the vectors: the header's hash, its kind, both tensors and their shapes. */
static moco_status find_tensors(const struct safetensors *f, struct bank_tensors *t, struct err *err)
{
    enum file_kind kind;
    const char *path = safetensors_path(f);
    TRY(safetensors_verify_header(f, err));
    TRY(config_get_kind(f, &kind, err));
    if (kind != FILE_BANK)
        return err_set(err, MOCO_EFORMAT, "%s: it is not a bank of vectors, but %s", path, config_kind_words(kind));
    t->rows = safetensors_find(f, VECTORS);
    t->ids = safetensors_find(f, IDS);
    if (t->rows == NULL || t->ids == NULL || safetensors_count(f) != 2)
        return err_set(err, MOCO_EFORMAT, "%s: a bank holds two tensors, " VECTORS " and " IDS, path);
    t->count = t->rows->ndim == 2 ? t->rows->shape[0] : 0;
    if (t->rows->dtype != SAFETENSORS_F32 || t->rows->ndim != 2 || t->count < 1 || t->count > UINT32_MAX ||
        t->rows->shape[1] < 1 || t->rows->shape[1] > BANK_DIM_MOST)
        return err_set(err, MOCO_EFORMAT, "%s: tensor " VECTORS " must be F32 [n,dim], n 1 to %lld, dim 1 to %d", path,
                       (long long)UINT32_MAX, BANK_DIM_MOST);
    if (t->ids->dtype != SAFETENSORS_I64 || t->ids->ndim != 1 || t->ids->shape[0] != t->count)
        return err_set(err, MOCO_EFORMAT, "%s: tensor " IDS " must be I64 [%lld], one for each vector", path,
                       (long long)t->count);
    t->dim = (int)t->rows->shape[1];
    return MOCO_OK;
}

static moco_status check_rows(const struct safetensors *f, const struct bank *bank, struct err *err)
{
    for (int64_t i = 0; i < bank->part[1].count; i++) {
        const float *row = bank->rows + i * bank->dim;
        double squares = 0;
        for (int d = 0; d < bank->dim; d++)
            squares += (double)row[d] * (double)row[d];
        if (!(fabs(squares - 1) <= LENGTH_OFF) && squares != 0)
            return err_set(err, MOCO_EFORMAT, "%s: tensor " VECTORS ": row %lld is not of length 1",
                           safetensors_path(f), (long long)i);
        if (bank->ids[i] < 0)
            return err_set(err, MOCO_EFORMAT, "%s: tensor " IDS ": number %lld is %lld; ids are not negative",
                           safetensors_path(f), (long long)i, (long long)bank->ids[i]);
    }
    return MOCO_OK;
}

/* The header has been held against the file's size: memory is taken for bytes that are there. */
static moco_status take(struct bank *bank, const struct safetensors *f, const struct bank_tensors *t, struct err *err)
{
    TRY(bank_reserve(bank, t->count, err));
    TRY(safetensors_load(f, t->rows, bank->rows, err));
    TRY(safetensors_load(f, t->ids, bank->ids, err));
    bank->part[1].count = t->count;
    return check_rows(f, bank, err);
}

static moco_status map(struct bank *bank, const struct safetensors *f, const struct bank_tensors *t, struct err *err)
{
    int64_t rows_end = t->rows->offset + t->rows->bytes, ids_end = t->ids->offset + t->ids->bytes;
    TRY(file_map(&bank->map, bank->ctx, safetensors_path(f), rows_end > ids_end ? rows_end : ids_end, err));
    const char *at = bank->map.at;
    bank->part[0] = (struct bank_part){.rows = (const float *)(const void *)(at + t->rows->offset),
                                       .ids = (const int64_t *)(const void *)(at + t->ids->offset),
                                       .count = t->count};
    return MOCO_OK;
}

moco_status bank_open(struct bank **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                      const char *path, int mapped, struct err *err)
{
    struct safetensors *file = NULL;
    struct bank_tensors tensors = {0};
    *out = NULL;
    TRY(safetensors_open(&file, ctx, path, 0, err));
    moco_status status = find_tensors(file, &tensors, err);
    if (status == MOCO_OK)
        status = bank_create(out, ctx, backend, dev, tensors.dim, err);
    if (status == MOCO_OK)
        status = mapped ? map(*out, file, &tensors, err) : take(*out, file, &tensors, err);
    safetensors_close(file);
    if (status != MOCO_OK) {
        bank_free(*out);
        *out = NULL;
    }
    return status;
}
