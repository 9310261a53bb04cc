/* SPDX-License-Identifier: MIT
 *
 * fuzz_cifar: any bytes as a CIFAR-10 file. The last two bytes of an input say which allocation fails, and: whether the
 * file shrinks once it is open (1), whether it is given twice (2), which call on files fails (three bits) and why
 * (three more). */
#define _GNU_SOURCE /* memfd_create */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "data/dataset/dataset.h"
#include "fuzz/support/faulty_calls.h"
#include "fuzz/support/memory_file.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Why a call may have failed. */
struct excuse {
    const struct failing_alloc *memory;
    int shrinks, reason; /* of a faulty call, or 0 */
};

static int excused(moco_status status, const struct excuse *excuse)
{
    if (status == MOCO_ENOMEM)
        return excuse->memory->refused > 0 || excuse->reason == ENOMEM;
    return status == MOCO_EIO && (excuse->shrinks || excuse->reason != 0);
}

static void check_images(const struct dataset *ds, struct ctx *ctx, const struct excuse *excuse, size_t size)
{
    struct decoder decoder;
    decoder_init(&decoder, ctx, 1024, NULL);
    if (size != (size_t)ds->count * 3073 || ds->classes != 10)
        abort();
    for (int64_t id = 0; id < ds->count; id++) {
        char text[64];
        struct image image;
        struct err err = {0};
        int32_t label = ds->ops->label(ds, id);
        if (label < 0 || label > 9 || ds->ops->class_name(ds, label)[0] == 0 ||
            ds->ops->path(ds, id, text, sizeof text) != MOCO_OK || ds->ops->path(ds, id, text, 4) != MOCO_ESHAPE)
            abort();
        moco_status status = ds->ops->read(ds, id, &decoder, &image, &err);
        if (status != MOCO_OK && (!excused(status, excuse) || err.text[0] == 0))
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
    unsigned how = bytes[size + 1];
    int files = how & 2 ? 2 : 1;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size]};
    struct excuse excuse = {&memory, how & 1, faulty_reason(how >> 5)};
    struct ctx *ctx = NULL;
    struct dataset *ds;
    struct err err = {0};
    const char *path = memory_file(bytes, size), *const paths[2] = {path, path};
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    faulty_calls_begin((int)(how >> 2 & 7), excuse.reason);
    moco_status status = dataset_open_cifar10(&ds, ctx, paths, files, &err);
    if (status == MOCO_OK && excuse.shrinks)
        memory_file_cut(size / 2);
    if (status == MOCO_OK)
        check_images(ds, ctx, &excuse, size * (size_t)files);
    else if (ds != NULL || err.text[0] == 0 ||
             (status != MOCO_EFORMAT && status != MOCO_EINVAL && !excused(status, &excuse)))
        abort();
    dataset_free(ds);
    if (faulty_calls_end() == FAULTY_NONE && status == MOCO_EIO)
        abort();
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
