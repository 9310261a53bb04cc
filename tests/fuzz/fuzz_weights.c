/* SPDX-License-Identifier: MIT
 *
 * fuzz_weights: any bytes as a file of weights. The first byte of an input says of what kind: bytes as they are, or the
 * pickle of a torch file, for which the rest is made, so that what is tried is what torch's readers do with it; also with a
 * part of that pickle repeated. What opens must hold together: every tensor lies in the file, is found by its name and can
 * be read or says why not. The last two bytes say which allocation fails and whether the file shrinks while it is read. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz/support/memory_file.h"
#include "fuzz/support/weights_check.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { ROOM = 1 << 16 };

/* ---- a file around a pickle ---- */

static uint8_t made[ROOM + 1024], grown[ROOM];
static size_t made_size;
static int64_t storage; /* where a made archive's 16 bytes begin; -1: no such archive */

static void add(const void *bytes, size_t size)
{
    memcpy(made + made_size, bytes, size);
    made_size += size;
}

static void add_number(uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        made[made_size++] = (uint8_t)value;
        value >>= 8;
    }
}

static size_t add_local(const char *name, const void *bytes, size_t size)
{
    size_t at = made_size;
    add("PK\3\4\0\0\0\0\0\0\0\0\0\0", 14);
    add_number(crc32_z(0, bytes, size), 4);
    add_number(size, 4);
    add_number(size, 4);
    add_number(strlen(name), 4);
    add(name, strlen(name));
    add(bytes, size);
    return at;
}

static void add_central(const char *name, const void *bytes, size_t size, size_t local)
{
    add("PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    add_number(crc32_z(0, bytes, size), 4);
    add_number(size, 4);
    add_number(size, 4);
    add_number(strlen(name), 2);
    add_number(0, 8);
    add_number(0, 4);
    add_number(local, 4);
    add(name, strlen(name));
}

/* data.pkl, version, and a storage 0 of 16 bytes. */
static void make_zip(const uint8_t *pickle, size_t size)
{
    static const char *const names[] = {"a/data.pkl", "a/data/0", "a/version"};
    const void *const contents[] = {pickle, "0123456789abcdef", "3"};
    const size_t sizes[] = {size, 16, 1};
    size_t at[3];
    made_size = 0;
    for (int i = 0; i < 3; i++)
        at[i] = add_local(names[i], contents[i], sizes[i]);
    storage = (int64_t)at[2] - 16;
    size_t directory = made_size;
    for (int i = 0; i < 3; i++)
        add_central(names[i], contents[i], sizes[i], at[i]);
    size_t end = made_size;
    add("PK\5\6\0\0\0\0\3\0\3\0", 12);
    add_number(end - directory, 4);
    add_number(directory, 4);
    add_number(0, 2);
}

/* A pickle whose part before the last three bytes, of *bytes bytes, is there many times: as long as tables have limits. */
static void make_long_zip(const uint8_t *bytes, size_t size)
{
    enum { HEAD = 2, TAIL = 3 };
    size_t part = bytes[0], times = 4 * (size_t)bytes[1], used = 0;
    if (size < HEAD + TAIL + part)
        part = times = 0;
    size_t before = size < HEAD + TAIL ? 0 : size - HEAD - TAIL - part;
    memcpy(grown, bytes + HEAD, before);
    used = before;
    for (; times > 0 && used + part + TAIL <= sizeof grown; times--, used += part)
        memcpy(grown + used, bytes + HEAD + before, part);
    memcpy(grown + used, bytes + size - TAIL, TAIL);
    make_zip(grown, used + TAIL);
}

/* The magic number, version and system, then what the input says. */
static void make_legacy(const uint8_t *rest, size_t size)
{
    static const char head[] =
        "\x80\2\x8a\12l\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M\xe9\3.\x80\2}(X\20\0\0\0protocol_versionM"
        "\xe9\3X\15\0\0\0little_endian\x88X\12\0\0\0type_sizes}(X\5\0\0\0shortK\2X\3\0\0\0intK\4X\4"
        "\0\0\0longK\4uu.";
    made_size = 0;
    add(head, sizeof head - 1);
    add(rest, size);
}

/* What opens files of our own says what it was given instead. */
static void open_as_ours(struct ctx *ctx, const char *path, const struct failing_alloc *memory)
{
    struct safetensors *f = NULL;
    struct err err = {0};
    moco_status status = safetensors_open(&f, ctx, path, 0, &err);
    if ((status == MOCO_OK) != (f != NULL) || (status != MOCO_OK) != (err.text[0] != 0) ||
        (status != MOCO_OK && status != MOCO_EFORMAT && (status != MOCO_ENOMEM || memory->refused == 0)))
        abort();
    safetensors_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 3 || size > ROOM)
        return 0;
    size -= 2;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size], .ends_only = 1};
    int cut = bytes[size + 1] != 0;
    storage = -1;
    if (*bytes == 'z')
        make_zip(bytes + 1, size - 1);
    else if (*bytes == 'r' && size > 6)
        make_long_zip(bytes + 1, size - 1);
    else if (*bytes == 'l')
        make_legacy(bytes + 1, size - 1);
    else
        made_size = 0, add(bytes + 1, size - 1);
    struct ctx *ctx = NULL;
    struct weights *w = NULL;
    struct err err = {0};
    const char *path = memory_file(made, made_size);
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    if (*bytes == 'b')
        open_as_ours(ctx, path, &memory);
    moco_status status = weights_open(&w, ctx, path, &err);
    if ((status == MOCO_OK) != (w != NULL) || (w == NULL && err.text[0] == 0) ||
        (status != MOCO_OK && status != MOCO_EFORMAT && (status != MOCO_ENOMEM || memory.refused == 0)))
        abort();
    if (w != NULL) {
        if (cut)
            memory_file_cut(made_size * bytes[size + 1] / 256);
        const struct checked_file file = {made, (int64_t)made_size, storage >= 0 ? storage : 0,
                                          storage >= 0 ? storage + 16 : (int64_t)made_size, cut || memory.fail_at >= 0};
        check_weights(w, &file);
    }
    weights_close(w);
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
