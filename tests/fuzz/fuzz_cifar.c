/* SPDX-License-Identifier: MIT
 *
 * fuzz_cifar: any bytes as a CIFAR-10 file. The last two bytes of an input say which allocation fails and, if not 0,
 * that the file shrinks once it is open. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "memory_file.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_images(const struct dataset *ds, struct ctx *ctx, const struct failing_alloc *memory, size_t size,
                         int shrinks)
{
    struct decoder decoder;
    decoder_init(&decoder, ctx, 1024, NULL);
    if (size != (size_t)ds->count * 3073 || ds->classes != 10)
        abort();
    if (shrinks)
        memory_file_cut(size / 2);
    for (int64_t id = 0; id < ds->count; id++) {
        char text[64];
        struct image image;
        struct err err = {0};
        int32_t label = ds->ops->label(ds, id);
        if (label < 0 || label > 9 || ds->ops->class_name(ds, label)[0] == 0 ||
            ds->ops->path(ds, id, text, sizeof text) != MOCO_OK || ds->ops->path(ds, id, text, 4) != MOCO_ESHAPE)
            abort();
        moco_status status = ds->ops->read(ds, id, &decoder, &image, &err);
        if (status != MOCO_OK && (status != MOCO_ENOMEM || memory->refused == 0) && (status != MOCO_EIO || !shrinks))
            abort();
        if (status == MOCO_OK && (image.w != 32 || image.h != 32))
            abort();
    }
    decoder_free(&decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2)
        return 0;
    size -= 2;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size]};
    struct ctx *ctx = NULL;
    struct dataset *ds;
    struct err err = {0};
    const char *path = memory_file(bytes, size);
    if (ctx_create(&ctx, &(struct ctx_options){failing_alloc, failing_release, NULL, &memory, 1}, &err) != MOCO_OK)
        return 0;
    moco_status status = dataset_open_cifar10(&ds, ctx, &path, 1, &err);
    if (status == MOCO_OK)
        check_images(ds, ctx, &memory, size, bytes[size + 1]);
    else if (ds != NULL || err.text[0] == 0 ||
             (status != MOCO_EFORMAT && status != MOCO_EINVAL && (status != MOCO_ENOMEM || memory.refused == 0)))
        abort();
    dataset_free(ds);
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
