/* SPDX-License-Identifier: MIT
 *
 * tool_safetensors: writes a file of every dtype to the path given and prints what a reader must see, in the form of
 * read_safetensors.py. The checksum is CRC-32 bit by bit, so that nothing of ours but the writer is tested. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"

#define COUNT SAFETENSORS_DTYPE_COUNT

static uint32_t crc32(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xedb88320U & (0U - (crc & 1)));
    }
    return ~crc;
}

static void need(moco_status status, const struct err *err)
{
    if (status != MOCO_OK) {
        fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
}

int main(int count, char **arguments)
{
    struct ctx *ctx = NULL;
    struct err err = {0};
    struct ctx_options options = {.threads = 1};
    struct safetensors_writer *w = NULL;
    struct safetensors *f = NULL;
    struct safetensors_tensor list[COUNT];
    static const struct safetensors_text texts[] = {{"note", "caf\xc3\xa9 \"quoted\""}, {"arch", "resnet50"}};
    static char names[COUNT][16];
    if (count != 2)
        return 2;
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "t.%s", safetensors_dtype_name((enum safetensors_dtype)i));
        list[i] = (struct safetensors_tensor){.name = names[i],
                                              .dtype = (enum safetensors_dtype)i,
                                              .ndim = i % 3,
                                              .shape = {i % 3 > 0 ? 3 + i : 0, i % 3 > 1 ? 2 : 0}};
    }
    need(ctx_create(&ctx, &options, &err), &err);
    need(safetensors_create(&w, ctx, arguments[1], list, COUNT, texts, 2, SAFETENSORS_HASHES, &err), &err);
    for (int i = 0; i < COUNT; i++) {
        uint8_t bytes[256];
        size_t size = safetensors_dtype_size(list[i].dtype);
        for (int d = 0; d < list[i].ndim; d++)
            size *= (size_t)list[i].shape[d];
        for (size_t at = 0; at < size; at++) /* 0 or 1 for BOOL */
            bytes[at] = (uint8_t)(list[i].dtype == SAFETENSORS_BOOL ? at % 2 : (size_t)i * 50 + at * 3);
        need(safetensors_write(w, i, bytes, size, &err), &err);
    }
    need(safetensors_commit(w, &err), &err);
    need(safetensors_open(&f, ctx, arguments[1], 0, &err), &err);
    for (int64_t i = 0; i < safetensors_count(f); i++) {
        const struct safetensors_tensor *t = safetensors_at(f, i);
        uint8_t bytes[256];
        need(safetensors_load(f, t, bytes, &err), &err);
        printf("%s %s [", t->name, safetensors_dtype_name(t->dtype));
        for (int d = 0; d < t->ndim; d++)
            printf("%s%lld", d > 0 ? ", " : "", (long long)t->shape[d]);
        printf("] %08x\n", (unsigned)crc32(bytes, (size_t)t->bytes));
    }
    printf("arch=%s\nnote=%s\n", texts[1].value, texts[0].value);
    printf("xxh3=%s\n", safetensors_find_text(f, "xxh3"));
    char keys[COUNT][192];
    for (int i = 0; i < COUNT; i++)
        snprintf(keys[i], sizeof keys[i], "xxh3:%s", names[i]);
    qsort(keys, COUNT, sizeof keys[0], (int (*)(const void *, const void *))strcmp);
    for (int i = 0; i < COUNT; i++)
        printf("%s=%s\n", keys[i], safetensors_find_text(f, keys[i]));
    safetensors_close(f);
    ctx_unref(ctx);
    return 0;
}
