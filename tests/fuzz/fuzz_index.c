/* SPDX-License-Identifier: MIT
 *
 * fuzz_index: any bytes as an index of shards. What a reader would get wrong: sizes, times, hash and checksums are made good
 * first where the input's last byte but one is even, or nothing but these would ever be tested. Only pictures whose shard
 * is this process's own program are read. The last byte says which allocation fails. */
#define _GNU_SOURCE /* memfd_create */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/crc32c.h"
#include "data/dataset/dataset_index.h"
#include "fuzz/support/memory_file.h"
#include "hash.h"
#include "support/failing_alloc.h"

enum { HEAD = 104, HASH_AT = 40, SHARD = 32, ENTRY = 24, CHECK_AT = 20, PAGE = 4096, READ = 4, LARGEST = 1 << 16 };

static const char own[] = "/proc/self/exe";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int64_t number(const uint8_t *bytes, size_t at)
{
    int64_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

/* Size and time of the shard whose record is at `record`, if its name is in the file. */
static void set_shard(uint8_t *bytes, size_t record, size_t names, size_t end)
{
    struct stat stat_of;
    int64_t name = number(bytes, record + 24);
    if (name < 0 || (size_t)name >= end - names ||
        memchr(bytes + names + name, 0, end - names - (size_t)name) == NULL ||
        stat((const char *)bytes + names + name, &stat_of) != 0)
        return;
    const int64_t is[] = {stat_of.st_size, stat_of.st_mtim.tv_sec, stat_of.st_mtim.tv_nsec};
    memcpy(bytes + record, is, sizeof is);
}

static void make_good(uint8_t *bytes, size_t size)
{
    struct hash hash;
    char text[HASH_DIGITS + 1];
    if (size < HEAD)
        return;
    int64_t shards = number(bytes, 16), names = number(bytes, 24);
    if (shards < 0 || shards > LARGEST / SHARD || names < 0 || names > LARGEST ||
        (size_t)(shards * SHARD + names) > size - HEAD)
        return;
    size_t text_at = HEAD + (size_t)shards * SHARD, end = text_at + (size_t)names;
    for (int64_t i = 0; i < shards; i++)
        set_shard(bytes, HEAD + (size_t)i * SHARD, text_at, end);
    memset(bytes + HASH_AT, 0, HASH_DIGITS);
    hash_start(&hash);
    hash_add(&hash, bytes, end);
    hash_text(&hash, text);
    memcpy(bytes + HASH_AT, text, HASH_DIGITS);
    int64_t id = 0;
    for (size_t at = (end + PAGE - 1) / PAGE * PAGE; at + ENTRY <= size; at += ENTRY, id++) {
        uint32_t check = crc32c(crc32c(0, &id, sizeof id), bytes + at, CHECK_AT);
        memcpy(bytes + at + CHECK_AT, &check, sizeof check);
    }
}

static void check_pictures(const struct dataset *ds, struct ctx *ctx, const struct failing_alloc *memory)
{
    struct decoder decoder;
    decoder_init(&decoder, ctx, 4096, NULL);
    for (int64_t id = 0; id < ds->count; id++) {
        char text[LARGEST + 64];
        struct image image;
        struct err err = {0};
        int32_t label = ds->ops->label(ds, id);
        if (label < -1 || label >= (ds->classes > 0 ? ds->classes : 1) ||
            ds->ops->path(ds, id, text, sizeof text) != MOCO_OK || ds->ops->path(ds, id, text, 4) != MOCO_ESHAPE)
            abort();
        ds->ops->path(ds, id, text, sizeof text);
        if (id >= READ || (strncmp(text, own, strlen(own)) != 0 && strstr(text, "damaged") == NULL))
            continue;
        moco_status status = ds->ops->read(ds, id, &decoder, &image, &err);
        if (status != MOCO_EFORMAT && status != MOCO_EIO && (status != MOCO_ENOMEM || memory->refused == 0))
            abort();
    }
    decoder_free(&decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t file[LARGEST];
    if (size < 2 || size - 2 > sizeof file)
        return 0;
    size -= 2;
    struct failing_alloc memory = {.fail_at = bytes[size + 1] == 0 ? -1 : bytes[size + 1]};
    struct ctx *ctx = NULL;
    struct dataset *ds;
    struct err err = {0};
    memcpy(file, bytes, size);
    if (bytes[size] % 2 == 0)
        make_good(file, size);
    const char *path = memory_file(file, size);
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    moco_status status = dataset_open_index(&ds, ctx, path, &err);
    if (status == MOCO_OK)
        check_pictures(ds, ctx, &memory);
    else if (ds != NULL || err.text[0] == 0 ||
             (status != MOCO_EFORMAT && status != MOCO_EIO && (status != MOCO_ENOMEM || memory.refused == 0)))
        abort();
    dataset_free(ds);
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
