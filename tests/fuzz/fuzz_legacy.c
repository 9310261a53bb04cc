/* SPDX-License-Identifier: MIT
 *
 * fuzz_legacy: any bytes as a file of torch.save as it was before 1.6: five pickles in a row, then the storages. What
 * opens must hold together, and each tensor's elements must be the bytes that its strides name. The first byte of an
 * input says whether the first three pickles, which no tensor depends on, are made; the last two which allocation fails
 * and whether the file shrinks while it is read. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/support/memory_file.h"
#include "fuzz/support/weights_check.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { ROOM = 1 << 16 };

static const char magic[] = "\x80\2\x8a\12l\xfc\x9c\x46\xf9 j\xa8P\x19.";
static const char head[] =
    "\x80\2M\xe9\3.\x80\2}(X\20\0\0\0protocol_versionM\xe9\3X\15\0\0\0little_endian\x88X\12\0\0\0"
    "type_sizes}(X\5\0\0\0shortK\2X\3\0\0\0intK\4X\4\0\0\0longK\4uu.";

static uint8_t made[ROOM + sizeof magic + sizeof head];
static size_t made_size;

static void add(const void *bytes, size_t size)
{
    memcpy(made + made_size, bytes, size);
    made_size += size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 3 || size > ROOM)
        return 0;
    size -= 2;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size], .ends_only = 1};
    int cut = bytes[size + 1] != 0;
    made_size = 0;
    add(magic, sizeof magic - 1); /* without it the file is of another kind */
    if (*bytes == 'h')
        add(head, sizeof head - 1);
    add(bytes + 1, size - 1);
    struct ctx *ctx = NULL;
    struct weights *w = NULL;
    struct err err = {0};
    const char *path = memory_file(made, made_size);
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    moco_status status = weights_open(&w, ctx, path, &err);
    if ((status == MOCO_OK) != (w != NULL) || (w == NULL && err.text[0] == 0) ||
        (status != MOCO_OK && status != MOCO_EFORMAT && (status != MOCO_ENOMEM || memory.refused == 0)))
        abort();
    if (w != NULL) {
        const struct checked_file file = {made, (int64_t)made_size, sizeof magic - 1, (int64_t)made_size,
                                          cut || memory.fail_at >= 0};
        if (strcmp(weights_format(w), "torch-legacy") != 0)
            abort();
        if (cut)
            memory_file_cut(made_size * bytes[size + 1] / 256);
        check_weights(w, &file);
    }
    weights_close(w);
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
