/* SPDX-License-Identifier: MIT
 *
 * weights_check: what holds of every file of weights that opens, for the targets weights and legacy: each tensor lies in
 * the file, is found by its name, and its elements are the bytes at its strides, or the reading says why not. */
#ifndef MOCO_FUZZ_WEIGHTS_CHECK_H
#define MOCO_FUZZ_WEIGHTS_CHECK_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/weights.h"

/* The file, and the part of it that storages are in (size: all of it). */
struct checked_file {
    const uint8_t *bytes;
    int64_t size, storages, storages_end;
    int excused; /* reading may fail, and its bytes may be others by now */
};

enum { CHECKED_ELEMENTS = 4096 };

static void check_elements(const struct weights_tensor *t, const struct checked_file *f, const uint8_t *read)
{
    size_t element = safetensors_dtype_size(t->dtype);
    for (int64_t i = 0; i < t->count; i++) {
        int64_t at = t->offset, left = i;
        for (int d = t->ndim - 1; d >= 0; d--) {
            at += left % t->shape[d] * t->stride[d] * (int64_t)element;
            left /= t->shape[d];
        }
        if (memcmp(f->bytes + at, read + (size_t)i * element, element) != 0)
            abort();
    }
}

static void check_numbers(struct weights *w, int64_t i, const struct weights_tensor *t, const struct checked_file *f)
{
    static double numbers[CHECKED_ELEMENTS];
    int64_t bad;
    for (int number = WEIGHTS_F32; number <= WEIGHTS_AS_IS; number++) {
        struct err err = {0};
        if (number != WEIGHTS_AS_IS && !weights_converts(t->dtype, (enum weights_number)number))
            continue;
        moco_status status = weights_read(w, i, (enum weights_number)number, numbers, &err);
        if (status != MOCO_OK && status != MOCO_EFORMAT && !f->excused)
            abort();
        if (status == MOCO_OK && number == WEIGHTS_AS_IS && !f->excused)
            check_elements(t, f, (const uint8_t *)numbers);
        if (number > WEIGHTS_F64 ||
            weights_read_finite(w, i, (enum weights_number)number, numbers, &bad, &err) != MOCO_OK)
            continue;
        for (int64_t j = 0; j < t->count; j++) {
            double value = number == WEIGHTS_F32 ? (double)((float *)numbers)[j] : numbers[j];
            if ((value - value == 0) == (j == bad) && (bad < 0 || j <= bad))
                abort();
        }
    }
}

static void check_tensor(struct weights *w, int64_t i, const struct checked_file *f)
{
    struct weights_tensor t;
    struct err err = {0};
    int64_t found = -1, element;
    weights_at(w, i, &t);
    element = (int64_t)safetensors_dtype_size(t.dtype);
    if (t.ndim < 0 || t.ndim > 8 || t.count < 0 || (t.count > 0 && (t.offset < 0 || t.offset > f->size - element)) ||
        weights_find(w, t.name, &found, &err) != MOCO_OK || found != i)
        abort();
    int64_t last = t.offset;
    for (int d = 0; d < t.ndim && t.count > 0; d++)
        last += (t.shape[d] - 1) * t.stride[d] * element;
    if (t.count > 0 && (t.offset < f->storages || last > f->storages_end - element))
        abort();
    if (t.count <= CHECKED_ELEMENTS)
        check_numbers(w, i, &t, f);
}

static void check_weights(struct weights *w, const struct checked_file *f)
{
    char text[64];
    struct err err = {0};
    int64_t found;
    for (int64_t i = 0; i < weights_count(w); i++)
        check_tensor(w, i, f);
    for (int64_t i = 0; weights_key(w, i) != NULL; i++) {
        struct err unsaid = {0};
        if (weights_text(w, weights_key(w, i), text, sizeof text, &unsaid) == MOCO_OK && strlen(text) >= sizeof text)
            abort();
    }
    weights_text(w, "a.b.0", text, sizeof text, &err);
    weights_text(w, "1.0.a", text, sizeof text, NULL);
    weights_find(w, "x", &found, NULL);
    for (int64_t i = 0; weights_note(w, i) != NULL; i++)
        if (strlen(weights_note(w, i)) < 10)
            abort();
    if (strlen(weights_format(w)) < 9)
        abort();
}

#endif
