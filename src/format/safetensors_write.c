/* SPDX-License-Identifier: MIT
 *
 * safetensors_write: writes a file tensor by tensor. The length of the header depends only on names, shapes and
 * texts, never on the values of the hashes, so that every offset is known at the start. The header is made with 0s
 * as digits, kept, and written last, when the hashes are known. A file that was cut off half-way therefore begins
 * with zeros and cannot be opened. */
#include <string.h>

#include "codec/json.h"
#include "format/safetensors_table.h"
#include "num.h"
#include "sort.h"

#define TOTAL_MAX ((int64_t)1 << 62)

struct entry { /* a tensor of the file */
    struct safetensors_tensor tensor;
    char *name;
    size_t digits; /* offset in the header of its hash */
    int64_t given, written;
};
_Static_assert(sizeof(struct entry) <= SORT_SIZE_MAX, "sort_array would leave them unsorted");

struct safetensors_writer {
    struct ctx *ctx;
    struct file_save save;
    int open; /* 1: `save` is open */
    unsigned flags;
    struct entry *entries;  /* [count], in the order of the file */
    int64_t *place;         /* [count]: number of the entry of the caller's tensor i */
    int64_t count, current; /* current: the caller's number of the tensor that is being written; -1: none */
    struct hash hash;
    char *header;
    size_t header_bytes, digits;
};

static const char zeros[HASH_DIGITS + 1] = "00000000000000000000000000000000";

/* ---- what is to be written ---- */

static int by_size_and_name(const void *a, const void *b, const void *user)
{
    const struct safetensors_tensor *x = &((const struct entry *)a)->tensor, *y = &((const struct entry *)b)->tensor;
    size_t x_size = safetensors_dtype_size(x->dtype), y_size = safetensors_dtype_size(y->dtype);
    (void)user;
    if (x_size != y_size)
        return x_size > y_size ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b, const void *user)
{
    const struct entry *entries = user;
    return strcmp(entries[*(const int64_t *)a].name, entries[*(const int64_t *)b].name);
}

static int by_key(const void *a, const void *b, const void *user)
{
    (void)user;
    return strcmp(((const struct safetensors_text *)a)->key, ((const struct safetensors_text *)b)->key);
}

static moco_status copy_tensor(struct safetensors_writer *w, int64_t i, const struct safetensors_tensor *from,
                               struct err *err)
{
    struct entry *e = &w->entries[i];
    if (from->name == NULL || strcmp(from->name, "__metadata__") == 0)
        return err_set(err, MOCO_EINVAL, "tensor %lld has no name, or one that the format reserves", (long long)i);
    if (safetensors_dtype_size(from->dtype) == 0 || from->ndim < 0 || from->ndim > SAFETENSORS_DIMS)
        return err_set(err, MOCO_EINVAL, "tensor %.100s has dtype %d and %d dimensions", from->name, (int)from->dtype,
                       from->ndim);
    e->tensor = (struct safetensors_tensor){.dtype = from->dtype, .ndim = from->ndim};
    memcpy(e->tensor.shape, from->shape, (size_t)from->ndim * sizeof from->shape[0]);
    e->tensor.bytes = safetensors_bytes(from->dtype, from->ndim, from->shape);
    if (e->tensor.bytes < 0)
        return err_set(err, MOCO_EINVAL, "tensor %.100s has a shape that is negative or overflows", from->name);
    e->given = i;
    e->name = mem_strdup(w->ctx, from->name, err);
    e->tensor.name = e->name;
    return e->name != NULL ? MOCO_OK : MOCO_ENOMEM;
}

/* Copies the list, refuses names that are there twice, and puts the tensors in the order of the file. */
static moco_status copy_tensors(struct safetensors_writer *w, const struct safetensors_tensor *tensors, struct err *err)
{
    size_t count = (size_t)w->count;
    int64_t total = 0;
    w->entries = mem_array(w->ctx, count, sizeof *w->entries, err);
    w->place = mem_array(w->ctx, count, sizeof *w->place, err);
    if (w->entries == NULL || w->place == NULL)
        return MOCO_ENOMEM;
    for (int64_t i = 0; i < w->count; i++)
        TRY(copy_tensor(w, i, &tensors[i], err));
    for (int64_t i = 0; i < w->count; i++)
        w->place[i] = i;
    sort_array(w->place, count, sizeof *w->place, by_name, w->entries);
    for (size_t i = 1; i < count; i++)
        if (by_name(&w->place[i - 1], &w->place[i], w->entries) == 0)
            return err_set(err, MOCO_EINVAL, "tensor %.100s is listed twice", w->entries[w->place[i]].name);
    sort_array(w->entries, count, sizeof *w->entries, by_size_and_name, NULL);
    for (int64_t i = 0; i < w->count; i++) {
        struct safetensors_tensor *t = &w->entries[i].tensor;
        w->place[w->entries[i].given] = i;
        t->offset = total; /* counted from the end of the header, whose length is not known yet */
        if (__builtin_add_overflow(total, t->bytes, &total) || total > TOTAL_MAX)
            return err_set(err, MOCO_EINVAL, "the tensors have more than 2^62 bytes");
    }
    return MOCO_OK;
}

/* ---- the header ---- */

static void put_tensor(struct json_writer *json, const struct safetensors_tensor *t)
{
    json_put_key(json, t->name);
    json_put_object(json);
    json_put_key(json, "dtype");
    json_put_string(json, safetensors_dtype_name(t->dtype));
    json_put_key(json, "shape");
    json_put_array(json);
    for (int d = 0; d < t->ndim; d++)
        json_put_int(json, t->shape[d]);
    json_put_array_end(json);
    json_put_key(json, "data_offsets");
    json_put_array(json);
    json_put_int(json, t->offset);
    json_put_int(json, t->offset + t->bytes);
    json_put_array_end(json);
    json_put_object_end(json);
}

/* Puts a text value of 32 digits, which is filled in later. Returns its offset. */
static size_t put_digits(struct json_writer *json)
{
    json_put_string(json, zeros);
    return json->used - 1 - HASH_DIGITS;
}

/* Puts a key for each hash, with zeros as its value. */
static moco_status put_hashes(struct safetensors_writer *w, struct json_writer *json, struct err *err)
{
    size_t longest = 0;
    for (int64_t i = 0; i < w->count; i++)
        if (strlen(w->entries[i].name) > longest)
            longest = strlen(w->entries[i].name);
    char *key = mem_alloc(w->ctx, sizeof SAFETENSORS_HASH_PREFIX + longest, err);
    if (key == NULL)
        return MOCO_ENOMEM;
    json_put_key(json, SAFETENSORS_HASH_KEY);
    w->digits = put_digits(json);
    for (int64_t i = 0; i < w->count; i++) {
        memcpy(key, SAFETENSORS_HASH_PREFIX, sizeof SAFETENSORS_HASH_PREFIX - 1);
        memcpy(key + sizeof SAFETENSORS_HASH_PREFIX - 1, w->entries[i].name, strlen(w->entries[i].name) + 1);
        json_put_key(json, key);
        w->entries[i].digits = put_digits(json);
    }
    mem_free(w->ctx, key);
    return MOCO_OK;
}

/* Puts the whole header, padded with spaces to a multiple of 8 bytes so that tensors are aligned in the file. */
static moco_status put_header(struct safetensors_writer *w, struct json_writer *json,
                              const struct safetensors_text *texts, int64_t count, struct err *err)
{
    json_put_raw(json, "\0\0\0\0\0\0\0\0", SAFETENSORS_LENGTH);
    json_put_object(json);
    if (count > 0 || (w->flags & SAFETENSORS_HASHES) != 0) {
        json_put_key(json, "__metadata__");
        json_put_object(json);
        for (int64_t i = 0; i < count; i++) {
            json_put_key(json, texts[i].key);
            json_put_string(json, texts[i].value);
        }
        if ((w->flags & SAFETENSORS_HASHES) != 0)
            TRY(put_hashes(w, json, err));
        json_put_object_end(json);
    }
    for (int64_t i = 0; i < w->count; i++)
        put_tensor(json, &w->entries[i].tensor);
    json_put_object_end(json);
    while (json->status == MOCO_OK && json->used % 8 != 0)
        json_put_raw(json, " ", 1);
    return json->status;
}

/* Orders the texts, refuses keys that are there twice or kept for hashes, and makes the header. */
static moco_status make_header(struct safetensors_writer *w, const struct safetensors_text *metadata, int64_t count,
                               struct err *err)
{
    struct json_writer json;
    struct safetensors_text *texts = mem_array(w->ctx, (size_t)count, sizeof *texts, err);
    if (texts == NULL)
        return MOCO_ENOMEM;
    if (count > 0)
        memcpy(texts, metadata, (size_t)count * sizeof *texts);
    json_writer_start(&json, w->ctx, err);
    moco_status status = MOCO_OK;
    for (int64_t i = 0; i < count && status == MOCO_OK; i++)
        if (texts[i].key == NULL || texts[i].value == NULL || strcmp(texts[i].key, SAFETENSORS_HASH_KEY) == 0 ||
            strncmp(texts[i].key, SAFETENSORS_HASH_PREFIX, sizeof SAFETENSORS_HASH_PREFIX - 1) == 0)
            status =
                err_set(err, MOCO_EINVAL, "text %lld has no key, no value, or a key kept for hashes", (long long)i);
    if (status == MOCO_OK)
        sort_array(texts, (size_t)count, sizeof *texts, by_key, NULL);
    for (int64_t i = 1; i < count && status == MOCO_OK; i++)
        if (strcmp(texts[i - 1].key, texts[i].key) == 0)
            status = err_set(err, MOCO_EINVAL, "text %.100s is listed twice", texts[i].key);
    if (status == MOCO_OK)
        status = put_header(w, &json, texts, count, err);
    mem_free(w->ctx, texts);
    if (status == MOCO_OK && json.used - SAFETENSORS_LENGTH > (size_t)SAFETENSORS_HEADER_MAX)
        status = err_set(err, MOCO_EINVAL, "the header would be %zu bytes long; at most %lld can be read again",
                         json.used - SAFETENSORS_LENGTH, (long long)SAFETENSORS_HEADER_MAX);
    w->header = json.text;
    w->header_bytes = json.used;
    return status;
}

/* ---- calls ---- */

static moco_status start(struct safetensors_writer *w, const char *path, const struct safetensors_tensor *tensors,
                         const struct safetensors_text *metadata, int64_t metadata_count, struct err *err)
{
    TRY(copy_tensors(w, tensors, err));
    TRY(make_header(w, metadata, metadata_count, err));
    uint64_t json = w->header_bytes - SAFETENSORS_LENGTH;
    for (int i = 0; i < SAFETENSORS_LENGTH; i++)
        w->header[i] = (char)(json >> (8 * i) & 0xff);
    int64_t total = (int64_t)w->header_bytes;
    for (int64_t i = 0; i < w->count; i++) {
        w->entries[i].tensor.offset += (int64_t)w->header_bytes;
        total += w->entries[i].tensor.bytes;
    }
    TRY(file_save_begin(&w->save, w->ctx, path, total, err));
    w->open = 1;
    return MOCO_OK;
}

moco_status safetensors_create(struct safetensors_writer **out, struct ctx *ctx, const char *path,
                               const struct safetensors_tensor *tensors, int64_t count,
                               const struct safetensors_text *metadata, int64_t metadata_count, unsigned flags,
                               struct err *err)
{
    *out = NULL;
    if (count < 0 || count > UINT32_MAX || metadata_count < 0 || metadata_count > UINT32_MAX)
        return err_set(err, MOCO_EINVAL, "%.300s: %lld tensors and %lld texts were asked for", path, (long long)count,
                       (long long)metadata_count);
    struct safetensors_writer *w = mem_zalloc(ctx, sizeof *w, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    w->ctx = ctx_ref(ctx);
    w->count = count;
    w->current = -1;
    w->flags = flags;
    struct err reason = {0};
    moco_status status = start(w, path, tensors, metadata, metadata_count, &reason);
    if (status != MOCO_OK) {
        safetensors_abandon(w);
        int named = status == MOCO_EIO; /* sentences of I/O errors begin with the path */
        return err_set(err, status, "%.300s%s%s", named ? "" : path, named ? "" : ": ", reason.text);
    }
    *out = w;
    return MOCO_OK;
}

/* Ends the tensor that is being written. It must be complete; its hash goes into the header. */
static moco_status close_tensor(struct safetensors_writer *w, struct err *err)
{
    if (w->current < 0)
        return MOCO_OK;
    struct entry *e = &w->entries[w->place[w->current]];
    char text[HASH_DIGITS + 1];
    if (e->written != e->tensor.bytes)
        return err_set(err, MOCO_ESTATE, "%.300s: tensor %.100s has %lld bytes; %lld were written", w->save.path,
                       e->name, (long long)e->tensor.bytes, (long long)e->written);
    if ((w->flags & SAFETENSORS_HASHES) != 0) {
        hash_text(&w->hash, text);
        memcpy(w->header + e->digits, text, HASH_DIGITS);
    }
    w->current = -1;
    return MOCO_OK;
}

moco_status safetensors_write(struct safetensors_writer *w, int64_t tensor, const void *bytes, size_t size,
                              struct err *err)
{
    if (tensor < 0 || tensor >= w->count)
        return err_set(err, MOCO_EINVAL, "%.300s: there is no tensor %lld among the %lld", w->save.path,
                       (long long)tensor, (long long)w->count);
    struct entry *e = &w->entries[w->place[tensor]];
    if (size > (uint64_t)(e->tensor.bytes - e->written))
        return err_set(err, MOCO_EINVAL, "%.300s: tensor %.100s has %lld bytes; %lld and %zu more were given",
                       w->save.path, e->name, (long long)e->tensor.bytes, (long long)e->written, size);
    if (w->current != tensor) {
        TRY(close_tensor(w, err));
        if (e->written != 0 || size == 0)
            return MOCO_OK; /* only size 0 gets here, by the check above: nothing is added */
        hash_start(&w->hash);
        w->current = tensor;
    }
    TRY(file_save_write_at(&w->save, e->tensor.offset + e->written, bytes, size, err));
    if ((w->flags & SAFETENSORS_HASHES) != 0)
        hash_add(&w->hash, bytes, size);
    e->written += (int64_t)size;
    return MOCO_OK;
}

/* Checks that every tensor is complete, and writes the header last. An empty tensor needs no call of write. */
static moco_status finish(struct safetensors_writer *w, struct err *err)
{
    char text[HASH_DIGITS + 1];
    TRY(close_tensor(w, err));
    for (int64_t i = 0; i < w->count; i++) {
        struct entry *e = &w->entries[i];
        w->current = e->given;
        if (e->tensor.bytes == 0)
            hash_start(&w->hash); /* an empty tensor has a hash too */
        else if (e->written == e->tensor.bytes)
            continue;
        TRY(close_tensor(w, err));
    }
    if ((w->flags & SAFETENSORS_HASHES) != 0) {
        safetensors_header_hash(w->header, w->header_bytes, w->digits, text);
        memcpy(w->header + w->digits, text, HASH_DIGITS);
    }
    TRY(file_save_write_at(&w->save, 0, w->header, w->header_bytes, err));
    w->open = 0; /* commit closes it, also when it fails */
    return file_save_commit(&w->save, err);
}

moco_status safetensors_commit(struct safetensors_writer *w, struct err *err)
{
    moco_status status = finish(w, err);
    safetensors_abandon(w);
    return status;
}

void safetensors_abandon(struct safetensors_writer *w)
{
    if (w == NULL)
        return;
    struct ctx *ctx = w->ctx;
    if (w->open)
        file_save_abandon(&w->save);
    for (int64_t i = 0; w->entries != NULL && i < w->count; i++)
        mem_free(ctx, w->entries[i].name);
    mem_free(ctx, w->entries);
    mem_free(ctx, w->place);
    mem_free(ctx, w->header);
    mem_free(ctx, w);
    ctx_unref(ctx);
}

/* ---- metadata ---- */

void safetensors_metadata_init(struct safetensors_metadata *m, struct ctx *ctx)
{
    *m = (struct safetensors_metadata){.ctx = ctx};
}

moco_status safetensors_metadata_add(struct safetensors_metadata *m, const char *key, const char *value,
                                     struct err *err)
{
    struct safetensors_text *room = mem_reserve(m->ctx, m->items, ((size_t)m->count + 1) * sizeof *room, err);
    if (room == NULL)
        return MOCO_ENOMEM;
    m->items = room;
    size_t key_bytes = strlen(key) + 1, value_bytes = strlen(value) + 1;
    char *both = mem_alloc(m->ctx, key_bytes + value_bytes, err); /* one block, which is freed by its key */
    if (both == NULL)
        return MOCO_ENOMEM;
    memcpy(both, key, key_bytes);
    memcpy(both + key_bytes, value, value_bytes);
    m->items[m->count++] = (struct safetensors_text){both, both + key_bytes};
    return MOCO_OK;
}

moco_status safetensors_metadata_add_int(struct safetensors_metadata *m, const char *key, int64_t value,
                                         struct err *err)
{
    char text[NUM_TEXT];
    num_format_int(text, value);
    return safetensors_metadata_add(m, key, text, err);
}

moco_status safetensors_metadata_add_double(struct safetensors_metadata *m, const char *key, double value,
                                            struct err *err)
{
    char text[NUM_TEXT];
    double back;
    size_t length = num_format_double(text, value);
    if (!num_parse_double(text, length, &back))
        return err_set(err, MOCO_EINVAL, "%.100s is %s, which a file cannot hold", key, text);
    return safetensors_metadata_add(m, key, text, err);
}

void safetensors_metadata_free(struct safetensors_metadata *m)
{
    for (int64_t i = 0; i < m->count; i++)
        mem_free(m->ctx, (char *)(uintptr_t)m->items[i].key);
    mem_free(m->ctx, m->items);
    m->items = NULL;
    m->count = 0;
}
