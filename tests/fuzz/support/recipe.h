/* SPDX-License-Identifier: MIT
 *
 * recipe: what an input of the targets model, trainer and probe does to a sound file before its hashes are made right
 * again: bytes changed in the file itself would only ever find the hashes. First lines of text, each "KEY=VALUE" of the
 * metadata, or "KEY" to be left out, up to an empty line; then records of eight bytes that change a tensor. */
#ifndef MOCO_FUZZ_RECIPE_H
#define MOCO_FUZZ_RECIPE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "support/files/forged_file.h"
#include "utf8.h"

enum { RECORD = 8, NUMBERS_MAX = 4096, TENSORS_MORE = 16 };

static const uint8_t *recipe_texts(struct forged *f, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        char line[1024];
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        if (length >= sizeof line)
            return end;
        memcpy(line, at, length);
        line[length] = 0;
        at += length + (stop != NULL);
        if (length == 0)
            return at;
        char *value = strchr(line, '=');
        if (value != NULL)
            *value++ = 0;
        forged_text(f, line, value);
    }
    return at;
}

/* Bytes for the shape as it is now, unless they would be many: then the tensor keeps what it has. */
static void resize(struct forged_tensor *t)
{
    int64_t size = (int64_t)safetensors_dtype_size(t->dtype);
    for (int d = 0; d < t->ndim; d++)
        if (__builtin_mul_overflow(size, t->shape[d], &size) || size > 8 * NUMBERS_MAX)
            return;
    char *grown = size >= 0 ? realloc(t->bytes, (size_t)size + 1) : NULL;
    if (grown == NULL)
        return;
    for (size_t i = t->size; i < (size_t)size; i++)
        grown[i] = 0;
    t->bytes = grown;
    t->size = (size_t)size;
}

static void change_number(struct forged_tensor *t, size_t i, uint32_t value)
{
    float real;
    memcpy(&real, &value, sizeof real);
    size_t size = safetensors_dtype_size(t->dtype), count = t->size / size;
    if (count == 0)
        return;
    int whole = t->dtype == SAFETENSORS_I64;
    int64_t number = (int64_t)(int32_t)value * (i % 4 == 3 ? 1 << 24 : 1);
    if (whole)
        memcpy(t->bytes + i % count * size, &number, size);
    else if (t->dtype == SAFETENSORS_F32 || t->dtype == SAFETENSORS_F64)
        forged_number(t, i % count, (double)real);
}

static void recipe_record(struct forged *f, const uint8_t record[RECORD], int most)
{
    unsigned what = record[0], i = record[2] | (unsigned)record[3] << 8;
    uint32_t value;
    memcpy(&value, record + 4, sizeof value);
    if (f->tensor_count == 0)
        return;
    struct forged_tensor *t = &f->tensors[(record[1] | (what & 0x80) << 1) % (unsigned)f->tensor_count];
    size_t length = strlen(t->name);
    switch (what % 8) {
    case 0:
        change_number(t, i, value);
        break;
    case 1:
        forged_drop(f, t->name);
        break;
    case 2:
        t->dtype = (enum safetensors_dtype)(value % SAFETENSORS_DTYPE_COUNT);
        resize(t);
        break;
    case 3:
        if (t->ndim > 0)
            t->shape[i % (unsigned)t->ndim] = (int64_t)value << (what >> 3 & 15);
        resize(t);
        break;
    case 4:
        t->ndim += i % 2 == 0 && t->ndim < SAFETENSORS_DIMS ? 1 : t->ndim > 0 ? -1 : 0;
        if (i % 2 == 0)
            t->shape[t->ndim - 1] = 1;
        resize(t);
        break;
    case 5:
        if (length > 0 && value % 256 != 0)
            t->name[i % length] = (char)(value % 256);
        break;
    case 6:
        if (f->tensor_count < most) {
            struct forged_tensor copy = *t;
            copy.bytes = malloc(copy.size + 1);
            memcpy(copy.bytes, t->bytes, copy.size);
            if (length + 1 < sizeof copy.name)
                copy.name[length] = (char)(value % 256); /* 0: the same name again */
            f->tensors = realloc(f->tensors, ((size_t)f->tensor_count + 1) * sizeof *f->tensors);
            f->tensors[f->tensor_count++] = copy;
        }
        break;
    default:
        t->size = i % (t->size + 1); /* shape and bytes part */
    }
}

/* Does to `f` what the recipe says. */
static void recipe_change(struct forged *f, const uint8_t *bytes, size_t size)
{
    int most = f->tensor_count + TENSORS_MORE;
    const uint8_t *end = bytes + size, *at = recipe_texts(f, bytes, end);
    for (; end - at >= RECORD; at += RECORD)
        recipe_record(f, at, most);
}

/* The file that the recipe makes of `base` (the caller frees). */
static inline char *recipe_file(const struct forged *base, const uint8_t *bytes, size_t size, size_t *file_size)
{
    struct forged f;
    forged_copy(&f, base);
    recipe_change(&f, bytes, size);
    char *file = forged_bytes(&f, 1, file_size);
    forged_free(&f);
    return file;
}

/* What holds of every refusal: one printable sentence; memory as the file's size allows. */
static inline void recipe_check(moco_status status, const struct err *err, int refused, int64_t most, size_t file_size)
{
    char again[sizeof err->text + 1];
    utf8_printable(again, sizeof again, err->text);
    if (strcmp(again, err->text) != 0 || (status != MOCO_OK) != (err->text[0] != 0))
        abort();
    if (status != MOCO_OK && status != MOCO_EFORMAT && status != MOCO_EINVAL && status != MOCO_ESHAPE &&
        (status != MOCO_ENOMEM || !refused))
        abort();
    if (most > 4 * (int64_t)file_size + (1 << 20))
        abort();
}

#endif
