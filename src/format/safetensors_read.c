/* SPDX-License-Identifier: MIT
 *
 * safetensors_read: opens, looks up and verifies files. Everything is read with pread. The header was compared with
 * the size of the file before, and a file that shrinks afterwards gives an error. */
#include <string.h>

#include "format/safetensors_table.h"
#include "format/sniff.h"
#include "num.h"

#define PIECE ((size_t)256 << 10) /* bytes held while verifying */

/* ---- open ---- */

/* Reads length and JSON. The length is compared with the file and with the limit before memory is taken for it. */
static moco_status read_header(struct safetensors *f, int64_t header_max, struct err *err)
{
    unsigned char length[SAFETENSORS_LENGTH];
    if (f->file.size < SAFETENSORS_LENGTH)
        return err_set(err, MOCO_EFORMAT, "%.300s: it has %lld bytes; a safetensors file has at least 10", f->file.path,
                       (long long)f->file.size);
    TRY(file_read_at(&f->file, 0, length, sizeof length, err));
    uint64_t json = 0;
    for (int i = SAFETENSORS_LENGTH - 1; i >= 0; i--)
        json = json << 8 | length[i];
    if (json > (uint64_t)(f->file.size - SAFETENSORS_LENGTH))
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: at byte 0: the header is said to be %llu bytes long; %lld bytes follow", f->file.path,
                       (unsigned long long)json, (long long)(f->file.size - SAFETENSORS_LENGTH));
    if (json > (uint64_t)header_max)
        return err_set(err, MOCO_EFORMAT, "%.300s: at byte 0: the header is %llu bytes long; at most %lld are read",
                       f->file.path, (unsigned long long)json, (long long)header_max);
    f->header_bytes = SAFETENSORS_LENGTH + (int64_t)json;
    f->header = mem_alloc(f->ctx, (size_t)f->header_bytes, err);
    if (f->header == NULL)
        return MOCO_ENOMEM;
    memcpy(f->header, length, sizeof length);
    TRY(file_read_at(&f->file, SAFETENSORS_LENGTH, f->header + SAFETENSORS_LENGTH, (size_t)json, err));
    struct err reason = {0};
    moco_status status = safetensors_parse(f, f->file.size, &reason);
    return status == MOCO_OK ? MOCO_OK : err_set(err, status, "%.300s: %s", f->file.path, reason.text);
}

moco_status safetensors_open(struct safetensors **out, struct ctx *ctx, const char *path, int64_t header_max,
                             struct err *err)
{
    *out = NULL;
    if (header_max <= 0 || header_max > UINT32_MAX / 2)
        header_max = SAFETENSORS_HEADER_MAX;
    struct safetensors *f = mem_zalloc(ctx, sizeof *f, err);
    if (f == NULL)
        return MOCO_ENOMEM;
    f->ctx = ctx_ref(ctx);
    moco_status status = file_open(&f->file, ctx, path, err);
    if (status == MOCO_OK) {
        struct err reason = {0};
        status = read_header(f, header_max, &reason);
        if (status == MOCO_EFORMAT)
            sniff_foreign(&f->file, err); /* what another kind of file is says more than what it lacks */
        err_set(err, status, "%s", reason.text);
    }
    if (status != MOCO_OK) {
        safetensors_close(f);
        return status;
    }
    *out = f;
    return MOCO_OK;
}

void safetensors_close(struct safetensors *f)
{
    if (f == NULL)
        return;
    struct ctx *ctx = f->ctx;
    file_close(&f->file);
    mem_free(ctx, f->header);
    mem_free(ctx, f->tensors);
    mem_free(ctx, f->by_name);
    mem_free(ctx, f->hashes);
    mem_free(ctx, f->texts);
    mem_free(ctx, f);
    ctx_unref(ctx);
}

/* ---- look up ---- */

const char *safetensors_path(const struct safetensors *f)
{
    return f->file.path;
}

int64_t safetensors_count(const struct safetensors *f)
{
    return f->count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *f, int64_t i)
{
    return i >= 0 && i < f->count ? &f->tensors[i] : NULL;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *f, const char *name)
{
    int64_t low = 0, high = f->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        const struct safetensors_tensor *t = &f->tensors[f->by_name[middle]];
        int order = strcmp(name, t->name);
        if (order == 0)
            return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *safetensors_hash(const struct safetensors *f, const struct safetensors_tensor *tensor)
{
    uint32_t at = f->hashes[tensor - f->tensors];
    return at > 0 ? f->header + at : NULL;
}

const char *safetensors_find_text(const struct safetensors *f, const char *key)
{
    int64_t low = 0, high = f->text_count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(key, f->header + f->texts[middle].key);
        if (order == 0)
            return f->header + f->texts[middle].value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

moco_status safetensors_get_text(const struct safetensors *f, const char *key, const char **value, struct err *err)
{
    *value = safetensors_find_text(f, key);
    if (*value == NULL)
        return err_set(err, MOCO_EFORMAT, "%.300s: __metadata__ has no %.60s", f->file.path, key);
    return MOCO_OK;
}

moco_status safetensors_get_int(const struct safetensors *f, const char *key, int64_t low, int64_t high, int64_t *value,
                                struct err *err)
{
    const char *text = NULL;
    int64_t read = 0;
    TRY(safetensors_get_text(f, key, &text, err));
    if (!num_parse_int(text, strlen(text), &read) || read < low || read > high)
        return err_set(err, MOCO_EFORMAT,
                       "%.200s: %.60s in __metadata__ is \"%.60s\"; it must be an integer from %lld to %lld",
                       f->file.path, key, text, (long long)low, (long long)high);
    *value = read;
    return MOCO_OK;
}

moco_status safetensors_get_double(const struct safetensors *f, const char *key, double low, double high, double *value,
                                   struct err *err)
{
    const char *text = NULL;
    double read = 0;
    char bounds[2][NUM_TEXT];
    TRY(safetensors_get_text(f, key, &text, err));
    if (!num_parse_double(text, strlen(text), &read) || !(read >= low && read <= high)) {
        num_format_double(bounds[0], low);
        num_format_double(bounds[1], high);
        return err_set(err, MOCO_EFORMAT,
                       "%.200s: %.60s in __metadata__ is \"%.60s\"; it must be a number from %s to %s", f->file.path,
                       key, text, bounds[0], bounds[1]);
    }
    *value = read;
    return MOCO_OK;
}

/* ---- read and prove ---- */

moco_status safetensors_read(const struct safetensors *f, const struct safetensors_tensor *tensor, int64_t first,
                             void *bytes, size_t size, struct err *err)
{
    if (first < 0 || first > tensor->bytes || size > (uint64_t)(tensor->bytes - first))
        return err_set(err, MOCO_EINVAL,
                       "%.200s: %zu bytes from byte %lld of tensor %.100s were asked for; it has %lld", f->file.path,
                       size, (long long)first, tensor->name, (long long)tensor->bytes);
    return file_read_at(&f->file, tensor->offset + first, bytes, size, err);
}

moco_status safetensors_verify_header(const struct safetensors *f, struct err *err)
{
    switch (f->proof) {
    case SAFETENSORS_PROVED:
        return MOCO_OK;
    case SAFETENSORS_DISPROVED:
        return err_set(err, MOCO_EFORMAT, "%.300s: the header (bytes 0 to %lld) is damaged: its hash is another one",
                       f->file.path, (long long)f->header_bytes - 1);
    default:
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: the header carries no hash (key %s of __metadata__): damage would go unnoticed",
                       f->file.path, SAFETENSORS_HASH_KEY);
    }
}

static moco_status compare_hash(const struct safetensors *f, const struct safetensors_tensor *tensor,
                                const struct hash *h, struct err *err)
{
    char text[HASH_DIGITS + 1];
    const char *want = safetensors_hash(f, tensor);
    if (want == NULL)
        return err_set(err, MOCO_EFORMAT, "%.300s: tensor %.100s carries no hash (key %s%.100s of __metadata__)",
                       f->file.path, tensor->name, SAFETENSORS_HASH_PREFIX, tensor->name);
    hash_text(h, text);
    if (strcmp(text, want) != 0)
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: tensor %.100s (bytes %lld to %lld) is damaged: its hash is %s, %.32s was saved",
                       f->file.path, tensor->name, (long long)tensor->offset,
                       (long long)(tensor->offset + tensor->bytes), text, want);
    return MOCO_OK;
}

static moco_status verify_tensor(const struct safetensors *f, const struct safetensors_tensor *tensor, char *piece,
                                 int (*cancelled)(void *user), void *user, struct err *err)
{
    struct hash h;
    hash_start(&h);
    for (int64_t at = 0; at < tensor->bytes;) {
        size_t size = tensor->bytes - at < (int64_t)PIECE ? (size_t)(tensor->bytes - at) : PIECE;
        if (cancelled != NULL && cancelled(user))
            return err_set(err, MOCO_ECANCELED, "%.300s: verifying it was cancelled", f->file.path);
        TRY(safetensors_read(f, tensor, at, piece, size, err));
        hash_add(&h, piece, size);
        at += (int64_t)size;
    }
    return compare_hash(f, tensor, &h, err);
}

moco_status safetensors_verify(const struct safetensors *f, int (*cancelled)(void *user), void *user, struct err *err)
{
    TRY(safetensors_verify_header(f, err));
    char *piece = mem_alloc(f->ctx, PIECE, err);
    moco_status status = piece == NULL ? MOCO_ENOMEM : MOCO_OK;
    for (int64_t i = 0; i < f->count && status == MOCO_OK; i++)
        status = verify_tensor(f, &f->tensors[i], piece, cancelled, user, err);
    mem_free(f->ctx, piece);
    return status;
}

moco_status safetensors_load(const struct safetensors *f, const struct safetensors_tensor *tensor, void *bytes,
                             struct err *err)
{
    struct hash h;
    TRY(safetensors_verify_header(f, err));
    hash_start(&h);
    for (int64_t at = 0; at < tensor->bytes;) { /* in pieces, so that they are hashed while they are in cache */
        size_t size = tensor->bytes - at < (int64_t)PIECE ? (size_t)(tensor->bytes - at) : PIECE;
        TRY(safetensors_read(f, tensor, at, (char *)bytes + at, size, err));
        hash_add(&h, (char *)bytes + at, size);
        at += (int64_t)size;
    }
    return compare_hash(f, tensor, &h, err);
}
