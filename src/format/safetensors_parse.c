/* SPDX-License-Identifier: MIT
 *
 * safetensors_parse: turns the JSON of a header into a table and checks every rule of the format. The JSON is walked
 * twice. The first walk checks and counts, so that memory is allocated once and in proportion to what really exists;
 * the second fills the table and unescapes strings in place. */
#include <string.h>

#include "codec/json.h"
#include "format/safetensors_table.h"
#include "sort.h"

struct walk {
    struct safetensors *f;
    int64_t data; /* bytes of the file after the header */
    int fill;
    int64_t tensors, texts;
    int metadata_seen;
    size_t digits; /* offset in the header of its own hash; 0: there is none */
    struct json json;
    struct err *err;
};

static moco_status wrong(struct walk *w, const struct json_token *t, const char *what, const char *reason)
{
    return err_set(w->err, MOCO_EFORMAT, "at byte %zu: %s %.*s%s %s", t->at, what, t->length > 60 ? 60 : (int)t->length,
                   t->text, t->length > 60 ? "..." : "", reason);
}

/* Unescapes a string over its raw text and ends it with 0. The closing quote, which the 0 may replace, has been
 * read. */
static moco_status keep(struct walk *w, const struct json_token *t, char **text)
{
    char *at = w->f->header + (t->text - w->f->header);
    size_t length = json_decode(t, at);
    if (memchr(at, 0, length) != NULL)
        return err_set(w->err, MOCO_EFORMAT, "at byte %zu: a name or text holds a NUL character", t->at);
    at[length] = 0;
    *text = at;
    return MOCO_OK;
}

static moco_status dtype(struct walk *w, struct safetensors_tensor *tensor)
{
    struct json_token t;
    TRY(json_expect(&w->json, JSON_STRING, "dtype", &t, w->err));
    for (int i = 0; i < SAFETENSORS_DTYPE_COUNT; i++)
        if (json_equals(&t, safetensors_dtype_name((enum safetensors_dtype)i))) {
            tensor->dtype = (enum safetensors_dtype)i;
            return MOCO_OK;
        }
    return wrong(w, &t, "dtype", "is none that is known here");
}

/* Reads an array of at most `most` integers that are not negative. */
static moco_status sizes(struct walk *w, const char *what, int most, int64_t *values, int *count)
{
    struct json_token t;
    TRY(json_expect(&w->json, JSON_ARRAY, what, &t, w->err));
    for (*count = 0;; ++*count) {
        TRY(json_next(&w->json, &t, w->err));
        if (t.kind == JSON_ARRAY_END)
            return MOCO_OK;
        if (t.kind != JSON_INT || t.integer < 0)
            return wrong(w, &t, what, "is not an integer from 0 to 2^63-1");
        if (*count == most)
            return err_set(w->err, MOCO_EFORMAT, "at byte %zu: %s has more than %d entries", t.at, what, most);
        values[*count] = t.integer;
    }
}

int64_t safetensors_bytes(enum safetensors_dtype dtype, int ndim, const int64_t *shape)
{
    int64_t bytes = (int64_t)safetensors_dtype_size(dtype), elements = 1;
    for (int d = 0; d < ndim; d++)
        if (shape[d] < 0 || __builtin_mul_overflow(elements, shape[d], &elements))
            return -1;
    return __builtin_mul_overflow(bytes, elements, &bytes) ? -1 : bytes;
}

/* Checks a tensor's two offsets against each other, its shape and the file. */
static moco_status extent(struct walk *w, const struct json_token *at, struct safetensors_tensor *tensor,
                          const int64_t offsets[2])
{
    int64_t bytes = safetensors_bytes(tensor->dtype, tensor->ndim, tensor->shape);
    if (bytes < 0)
        return wrong(w, at, "tensor", "has a shape whose size does not fit 63 bits");
    if (offsets[0] > offsets[1] || offsets[1] > w->data)
        return err_set(w->err, MOCO_EFORMAT,
                       "at byte %zu: a tensor is said to lie from %lld to %lld of the %lld bytes behind the header",
                       at->at, (long long)offsets[0], (long long)offsets[1], (long long)w->data);
    if (offsets[1] - offsets[0] != bytes)
        return err_set(w->err, MOCO_EFORMAT,
                       "at byte %zu: a tensor's shape and dtype ask for %lld bytes, its offsets for %lld", at->at,
                       (long long)bytes, (long long)(offsets[1] - offsets[0]));
    tensor->offset = w->f->header_bytes + offsets[0];
    tensor->bytes = bytes;
    return MOCO_OK;
}

/* Reads the entry of a tensor. All three fields must be there, once, and no other. */
static moco_status tensor(struct walk *w, const struct json_token *name)
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    struct safetensors_tensor tensor = {0};
    struct json_token t;
    int64_t offsets[2] = {0, 0};
    int seen = 0, count = 0;
    TRY(json_expect(&w->json, JSON_OBJECT, "a tensor's entry", &t, w->err));
    for (;;) {
        TRY(json_next(&w->json, &t, w->err));
        if (t.kind == JSON_OBJECT_END)
            break;
        int field = 0;
        while (field < 3 && !json_equals(&t, fields[field]))
            field++;
        if (field == 3)
            return wrong(w, &t, "field", "of a tensor is none of dtype, shape, data_offsets");
        if (seen & 1 << field)
            return wrong(w, &t, "field", "of a tensor is there twice");
        seen |= 1 << field;
        if (field == 0)
            TRY(dtype(w, &tensor));
        else if (field == 1)
            TRY(sizes(w, "shape", SAFETENSORS_DIMS, tensor.shape, &tensor.ndim));
        else
            TRY(sizes(w, "data_offsets", 2, offsets, &count));
    }
    if (seen != 7 || count != 2)
        return wrong(w, name, "tensor", "lacks dtype, shape or one of its two data_offsets");
    TRY(extent(w, name, &tensor, offsets));
    if (w->fill) {
        char *text = NULL;
        TRY(keep(w, name, &text));
        tensor.name = text;
        w->f->tensors[w->tensors] = tensor;
    }
    w->tensors++;
    return MOCO_OK;
}

/* Reads `__metadata__`. It notes where the header's hash is, since unescaping will overwrite the text around it. */
static moco_status metadata(struct walk *w, const struct json_token *name)
{
    struct json_token key, value;
    if (w->metadata_seen++)
        return wrong(w, name, "key", "is there twice");
    TRY(json_expect(&w->json, JSON_OBJECT, "__metadata__", &key, w->err));
    for (;; w->texts++) {
        TRY(json_next(&w->json, &key, w->err));
        if (key.kind == JSON_OBJECT_END)
            return MOCO_OK;
        TRY(json_expect(&w->json, JSON_STRING, "a value in __metadata__", &value, w->err));
        if (json_equals(&key, SAFETENSORS_HASH_KEY) && value.length == HASH_DIGITS)
            w->digits = (size_t)(value.text - w->f->header);
        if (w->fill) {
            char *text[2] = {NULL, NULL};
            TRY(keep(w, &key, &text[0]));
            TRY(keep(w, &value, &text[1]));
            w->f->texts[w->texts] =
                (struct safetensors_pair){(uint32_t)(text[0] - w->f->header), (uint32_t)(text[1] - w->f->header)};
        }
    }
}

static moco_status walk(struct walk *w, int fill)
{
    struct json_token t;
    w->fill = fill;
    w->tensors = w->texts = 0;
    w->metadata_seen = 0;
    json_start(&w->json, w->f->header + SAFETENSORS_LENGTH, (size_t)w->f->header_bytes - SAFETENSORS_LENGTH,
               SAFETENSORS_LENGTH);
    TRY(json_expect(&w->json, JSON_OBJECT, "the header", &t, w->err));
    for (;;) {
        TRY(json_next(&w->json, &t, w->err));
        if (t.kind == JSON_OBJECT_END)
            break;
        TRY(json_equals(&t, "__metadata__") ? metadata(w, &t) : tensor(w, &t));
    }
    return json_next(&w->json, &t, w->err); /* JSON_END, or an error */
}

/* ---- orders ---- */

static int by_offset(const void *a, const void *b, const void *user)
{
    const struct safetensors_tensor *x = a, *y = b;
    (void)user;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) /* empty tensors share an offset with the one after them, and come first */
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b, const void *user)
{
    const struct safetensors_tensor *tensors = user;
    return strcmp(tensors[*(const uint32_t *)a].name, tensors[*(const uint32_t *)b].name);
}

static int by_key(const void *a, const void *b, const void *user)
{
    const char *header = user;
    return strcmp(header + ((const struct safetensors_pair *)a)->key,
                  header + ((const struct safetensors_pair *)b)->key);
}

/* Finds each tensor's hash among the texts. Both lists are in the order of their names, so one walk along both finds
 * all. */
static void find_hashes(struct safetensors *f)
{
    enum { PREFIX = sizeof SAFETENSORS_HASH_PREFIX - 1 };
    int64_t at = 0;
    for (int64_t i = 0; i < f->count; i++) {
        const char *name = f->tensors[f->by_name[i]].name;
        f->hashes[f->by_name[i]] = 0;
        for (int order = -1; at < f->text_count && order < 0; at += order <= 0) {
            const char *key = f->header + f->texts[at].key;
            order = strncmp(key, SAFETENSORS_HASH_PREFIX, PREFIX);
            order = order != 0 ? order : strcmp(key + PREFIX, name);
            if (order == 0)
                f->hashes[f->by_name[i]] = f->texts[at].value;
        }
    }
}

/* Checks that each tensor begins where the one before it ends, and that the last one ends the file. */
static moco_status check_cover(const struct safetensors *f, int64_t file_size, struct err *err)
{
    int64_t end = f->header_bytes;
    for (int64_t i = 0; i < f->count; i++) {
        const struct safetensors_tensor *t = &f->tensors[i];
        if (t->offset != end)
            return err_set(err, MOCO_EFORMAT,
                           "tensor %.100s begins at byte %lld of the file; the one before ends at %lld", t->name,
                           (long long)t->offset, (long long)end);
        end += t->bytes;
    }
    if (end != file_size)
        return err_set(err, MOCO_EFORMAT, "the tensors end at byte %lld; the file at %lld", (long long)end,
                       (long long)file_size);
    return MOCO_OK;
}

static moco_status order(struct safetensors *f, int64_t file_size, struct err *err)
{
    size_t count = (size_t)f->count, texts = (size_t)f->text_count;
    sort_array(f->tensors, count, sizeof *f->tensors, by_offset, NULL);
    TRY(check_cover(f, file_size, err));
    for (size_t i = 0; i < count; i++)
        f->by_name[i] = (uint32_t)i;
    sort_array(f->by_name, count, sizeof *f->by_name, by_name, f->tensors);
    for (size_t i = 1; i < count; i++)
        if (by_name(&f->by_name[i - 1], &f->by_name[i], f->tensors) == 0)
            return err_set(err, MOCO_EFORMAT, "tensor %.100s is there twice", f->tensors[f->by_name[i]].name);
    sort_array(f->texts, texts, sizeof *f->texts, by_key, f->header);
    for (size_t i = 1; i < texts; i++)
        if (by_key(&f->texts[i - 1], &f->texts[i], f->header) == 0)
            return err_set(err, MOCO_EFORMAT, "key %.100s of __metadata__ is there twice", f->header + f->texts[i].key);
    find_hashes(f);
    return MOCO_OK;
}

/* ---- the whole ---- */

void safetensors_header_hash(const char *header, size_t bytes, size_t digits, char text[HASH_DIGITS + 1])
{
    struct hash h;
    hash_start(&h);
    if (digits > 0) {
        hash_add(&h, header, digits);
        hash_add(&h, "00000000000000000000000000000000", HASH_DIGITS);
        digits += HASH_DIGITS;
    }
    hash_add(&h, header + digits, bytes - digits);
    hash_text(&h, text);
}

moco_status safetensors_parse(struct safetensors *f, int64_t file_size, struct err *err)
{
    struct walk w = {.f = f, .data = file_size - f->header_bytes, .err = err};
    char hash[HASH_DIGITS + 1];
    if (f->header_bytes <= SAFETENSORS_LENGTH || f->header[SAFETENSORS_LENGTH] != '{')
        return err_set(err, MOCO_EFORMAT, "at byte %d: the header does not begin with {", SAFETENSORS_LENGTH);
    TRY(walk(&w, 0));
    f->count = w.tensors;
    f->text_count = w.texts;
    if (w.digits > 0) { /* the second walk changes the header by unescaping */
        safetensors_header_hash(f->header, (size_t)f->header_bytes, w.digits, hash);
        f->proof = memcmp(hash, f->header + w.digits, HASH_DIGITS) == 0 ? SAFETENSORS_PROVED : SAFETENSORS_DISPROVED;
    }
    f->tensors = mem_alloc(f->ctx, (size_t)f->count * sizeof *f->tensors, err);
    f->by_name = mem_alloc(f->ctx, (size_t)f->count * sizeof *f->by_name, err);
    f->hashes = mem_alloc(f->ctx, (size_t)f->count * sizeof *f->hashes, err);
    f->texts = mem_alloc(f->ctx, (size_t)f->text_count * sizeof *f->texts, err);
    if (f->tensors == NULL || f->by_name == NULL || f->hashes == NULL || f->texts == NULL)
        return MOCO_ENOMEM;
    TRY(walk(&w, 1));
    return order(f, file_size, err);
}
