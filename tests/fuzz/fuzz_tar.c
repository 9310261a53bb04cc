/* SPDX-License-Identifier: MIT
 *
 * fuzz_tar: any bytes as a tar shard: the walk over its members, then the data set that indexes it. What a reader would
 * get wrong: a block whose checksum starts with '?' gets the right one first, or nothing but the checksum would ever be
 * tested. The last two bytes of an input say which allocation fails and whether the file shrinks while it is read. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/tar.h"
#include "data/dataset/dataset.h"
#include "fuzz/support/memory_file.h"
#include "support/failing_alloc.h"

enum { BLOCK = 512, CHECKSUM = 148, PIXELS = 4096, READ = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void set_checksums(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
        unsigned sum = 0;
        uint8_t *field = bytes + at + CHECKSUM;
        if (*field != '?')
            continue;
        memset(field, ' ', 8);
        for (int i = 0; i < BLOCK; i++)
            sum += bytes[at + (size_t)i];
        for (int i = 6; i-- > 0; sum >>= 3)
            field[i] = (uint8_t)('0' + (sum & 7));
    }
}

/* Members follow each other and lie in the file; a name ends; what is refused says why. */
static void check_walk(struct ctx *ctx, const char *path, int64_t size, int64_t cut)
{
    struct file file;
    struct tar tar;
    struct err err = {0};
    static struct tar_member m;
    if (file_open(&file, ctx, path, &err) != MOCO_OK)
        return;
    if (cut >= 0)
        memory_file_cut((size_t)cut);
    tar_begin(&tar, &file);
    moco_status status;
    for (int64_t end = 0; (status = tar_next(&tar, &m, &err)) == MOCO_OK; end = m.offset + m.size)
        if (m.header < end || m.offset < m.header + BLOCK || m.size < 0 || m.size > size - m.offset ||
            tar.at < m.offset + m.size || tar.at > size || memchr(m.name, 0, sizeof m.name) == NULL)
            abort();
    if (status != MOCO_EEND && err.text[0] == 0)
        abort();
    if (status != MOCO_EEND && status != MOCO_EFORMAT && status != MOCO_ENOMEM && (status != MOCO_EIO || cut < 0))
        abort();
    file_close(&file);
}

static void check_samples(const struct dataset *ds, struct ctx *ctx, const struct failing_alloc *memory)
{
    struct decoder decoder;
    decoder_init(&decoder, ctx, PIXELS, NULL);
    for (int64_t id = 0; id < ds->count; id++) {
        char text[128];
        struct image image;
        struct err err = {0};
        int32_t label = ds->ops->label(ds, id);
        if (label < -1 || label >= (ds->classes > 0 ? ds->classes : 1) || ds->ops->class_name(ds, 0)[0] != 0 ||
            ds->ops->path(ds, id, text, sizeof text) != MOCO_OK || ds->ops->path(ds, id, text, 4) != MOCO_ESHAPE)
            abort();
        if (id >= READ)
            continue;
        moco_status status = ds->ops->read(ds, id, &decoder, &image, &err);
        if (status != MOCO_OK && status != MOCO_EFORMAT && (status != MOCO_ENOMEM || memory->refused == 0))
            abort();
    }
    decoder_free(&decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t archive[1 << 16];
    if (size < 2 || size - 2 > sizeof archive)
        return 0;
    size -= 2;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size]};
    int64_t cut = bytes[size + 1] == 0 ? -1 : (int64_t)(size * bytes[size + 1] / 256);
    struct ctx *ctx = NULL;
    struct dataset *ds;
    struct err err = {0};
    memcpy(archive, bytes, size);
    set_checksums(archive, size);
    const char *path = memory_file(archive, size);
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    check_walk(ctx, path, (int64_t)size, cut);
    moco_status status = dataset_open_tar(&ds, ctx, &path, 1, &err);
    if (status == MOCO_OK)
        check_samples(ds, ctx, &memory);
    else if (ds != NULL || err.text[0] == 0 ||
             (status != MOCO_EFORMAT && status != MOCO_EINVAL && (status != MOCO_ENOMEM || memory.refused == 0)))
        abort();
    dataset_free(ds);
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
