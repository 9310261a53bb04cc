/* SPDX-License-Identifier: MIT
 *
 * forged_file: see forged_file.h. */
#include "support/files/forged_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctx.h"
#include "format/safetensors_table.h"
#include "hash.h"

static void must(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "forged file: %s\n", what);
    abort();
}

static void *copied(const void *bytes, size_t size)
{
    void *copy = malloc(size + 1);
    must(copy != NULL, "no memory");
    if (size > 0)
        memcpy(copy, bytes, size);
    ((char *)copy)[size] = 0;
    return copy;
}

/* ---- apart ---- */

static void add_text(struct forged *f, const char *key, const char *value)
{
    f->texts = realloc(f->texts, ((size_t)f->text_count + 1) * sizeof *f->texts);
    must(f->texts != NULL, "no memory");
    f->texts[f->text_count++] = (struct forged_text){copied(key, strlen(key)), copied(value, strlen(value))};
}

static void take_tensor(struct forged_tensor *to, const struct safetensors *file, const struct safetensors_tensor *from)
{
    struct err err = {0};
    *to = (struct forged_tensor){.dtype = from->dtype, .ndim = from->ndim, .size = (size_t)from->bytes};
    snprintf(to->name, sizeof to->name, "%s", from->name);
    memcpy(to->shape, from->shape, sizeof to->shape);
    to->bytes = copied("", 0);
    to->bytes = realloc(to->bytes, to->size + 1);
    must(to->bytes != NULL, "no memory");
    must(safetensors_read(file, from, 0, to->bytes, to->size, &err) == MOCO_OK, err.text);
}

void forged_read(struct forged *f, const char *path)
{
    struct ctx *ctx = NULL;
    struct safetensors *file = NULL;
    struct err err = {0};
    *f = (struct forged){0};
    must(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) == MOCO_OK, err.text);
    must(safetensors_open(&file, ctx, path, 0, &err) == MOCO_OK, err.text);
    for (int64_t i = 0; i < file->text_count; i++) {
        const char *key = file->header + file->texts[i].key;
        if (strncmp(key, SAFETENSORS_HASH_KEY, strlen(SAFETENSORS_HASH_KEY)) != 0)
            add_text(f, key, file->header + file->texts[i].value);
    }
    f->tensor_count = (int)safetensors_count(file);
    f->tensors = calloc((size_t)f->tensor_count + 1, sizeof *f->tensors);
    must(f->tensors != NULL, "no memory");
    for (int i = 0; i < f->tensor_count; i++)
        take_tensor(&f->tensors[i], file, safetensors_at(file, i));
    safetensors_close(file);
    ctx_unref(ctx);
}

void forged_copy(struct forged *to, const struct forged *from)
{
    *to = (struct forged){.tensor_count = from->tensor_count};
    to->tensors = copied(from->tensors, (size_t)from->tensor_count * sizeof *from->tensors);
    for (int i = 0; i < to->tensor_count; i++)
        to->tensors[i].bytes = copied(from->tensors[i].bytes, from->tensors[i].size);
    for (int i = 0; i < from->text_count; i++)
        add_text(to, from->texts[i].key, from->texts[i].value);
}

void forged_free(struct forged *f)
{
    for (int i = 0; i < f->tensor_count; i++)
        free(f->tensors[i].bytes);
    for (int i = 0; i < f->text_count; i++) {
        free(f->texts[i].key);
        free(f->texts[i].value);
    }
    free(f->tensors);
    free(f->texts);
    *f = (struct forged){0};
}

/* ---- changed ---- */

void forged_text(struct forged *f, const char *key, const char *value)
{
    for (int i = 0; i < f->text_count; i++)
        if (strcmp(f->texts[i].key, key) == 0) {
            free(f->texts[i].key);
            free(f->texts[i].value);
            f->texts[i] = f->texts[--f->text_count];
            break;
        }
    if (value != NULL)
        add_text(f, key, value);
}

struct forged_tensor *forged_tensor(struct forged *f, const char *name)
{
    for (int i = 0; i < f->tensor_count; i++)
        if (strcmp(f->tensors[i].name, name) == 0)
            return &f->tensors[i];
    must(0, name);
    return NULL;
}

void forged_drop(struct forged *f, const char *name)
{
    struct forged_tensor *t = forged_tensor(f, name);
    free(t->bytes);
    memmove(t, t + 1, (size_t)(f->tensors + --f->tensor_count - t) * sizeof *t);
}

void forged_number(struct forged_tensor *tensor, size_t i, double value)
{
    float f32 = (float)value;
    int64_t whole = tensor->dtype == SAFETENSORS_I64 ? (int64_t)value : 0;
    size_t size = safetensors_dtype_size(tensor->dtype);
    must((i + 1) * size <= tensor->size, "there is no such number");
    memcpy(tensor->bytes + i * size,
           tensor->dtype == SAFETENSORS_F32   ? (const void *)&f32
           : tensor->dtype == SAFETENSORS_F64 ? (const void *)&value
                                              : (const void *)&whole,
           size);
}

/* ---- together ---- */

struct text {
    char *at;
    size_t used, room;
};

static void put_bytes(struct text *t, const char *piece, size_t length)
{
    if (t->used + length >= t->room) {
        t->room = 2 * (t->used + length) + 4096;
        t->at = realloc(t->at, t->room);
        must(t->at != NULL, "no memory");
    }
    memcpy(t->at + t->used, piece, length);
    t->used += length;
}

static void put(struct text *t, const char *piece)
{
    put_bytes(t, piece, strlen(piece));
}

static void put_quoted(struct text *t, const char *words)
{
    char one[8];
    put(t, "\"");
    for (size_t plain; *words != 0; words += plain) {
        for (plain = 0; (unsigned char)words[plain] >= 0x20 && words[plain] != '"' && words[plain] != '\\'; plain++) {
        }
        put_bytes(t, words, plain);
        if (words[plain] != 0) {
            snprintf(one, sizeof one, "\\u%04x", (unsigned char)words[plain++]);
            put(t, one);
        }
    }
    put(t, "\"");
}

static void put_pair(struct text *t, const char *prefix, const char *key, const char *value)
{
    put(t, t->at[t->used - 1] == '{' ? "" : ",");
    char *both = malloc(strlen(prefix) + strlen(key) + 1);
    must(both != NULL, "no memory");
    strcpy(both, prefix);
    strcat(both, key);
    put_quoted(t, both);
    free(both);
    put(t, ":");
    put_quoted(t, value);
}

static void put_tensor(struct text *t, const struct forged_tensor *tensor, size_t at)
{
    char piece[96];
    put(t, t->at[t->used - 1] == '{' ? "" : ",");
    put_quoted(t, tensor->name);
    put(t, ":{\"dtype\":");
    put_quoted(t, safetensors_dtype_name(tensor->dtype));
    put(t, ",\"shape\":[");
    for (int d = 0; d < tensor->ndim; d++) {
        snprintf(piece, sizeof piece, "%s%" PRId64, d > 0 ? "," : "", tensor->shape[d]);
        put(t, piece);
    }
    snprintf(piece, sizeof piece, "],\"data_offsets\":[%zu,%zu]}", at, at + tensor->size);
    put(t, piece);
}

static void put_hash(char text[HASH_DIGITS + 1], const void *bytes, size_t size)
{
    struct hash h;
    hash_start(&h);
    hash_add(&h, bytes, size);
    hash_text(&h, text);
}

char *forged_bytes(const struct forged *f, int hashes, size_t *size)
{
    static const char zeros[] = "00000000000000000000000000000000";
    struct text t = {0};
    char digits[HASH_DIGITS + 1];
    size_t data = 0, own = 0;
    put(&t, "--------{\"__metadata__\":{");
    for (int i = 0; i < f->text_count; i++)
        put_pair(&t, "", f->texts[i].key, f->texts[i].value);
    for (int i = 0; i < f->tensor_count && hashes; i++) {
        put_hash(digits, f->tensors[i].bytes, f->tensors[i].size);
        put_pair(&t, SAFETENSORS_HASH_PREFIX, f->tensors[i].name, digits);
    }
    if (hashes) {
        put_pair(&t, "", SAFETENSORS_HASH_KEY, zeros);
        own = t.used - 1 - HASH_DIGITS;
    }
    put(&t, "}");
    for (int i = 0; i < f->tensor_count; i++) {
        put_tensor(&t, &f->tensors[i], data);
        data += f->tensors[i].size;
    }
    put(&t, "}");
    for (size_t i = 0; i < 8; i++)
        t.at[i] = (char)((t.used - 8) >> 8 * i & 0xff);
    if (hashes) {
        safetensors_header_hash(t.at, t.used, own, digits);
        memcpy(t.at + own, digits, HASH_DIGITS);
    }
    *size = t.used + data;
    char *all = realloc(t.at, *size + 1);
    must(all != NULL, "no memory");
    for (int i = 0; i < f->tensor_count; i++) {
        memcpy(all + t.used, f->tensors[i].bytes, f->tensors[i].size);
        t.used += f->tensors[i].size;
    }
    return all;
}

void forged_write(const struct forged *f, const char *path)
{
    size_t size;
    char *bytes = forged_bytes(f, 1, &size);
    FILE *file = fopen(path, "wb");
    must(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0, path);
    free(bytes);
}
