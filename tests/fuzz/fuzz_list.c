/* SPDX-License-Identifier: MIT
 *
 * fuzz_list: any bytes as a list of pictures. Of the paths that the input names only those that cannot leave the folder
 * of the list are opened; the first is looked for, wherever it is. The last byte says which allocation fails. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset/dataset.h"
#include "fuzz/support/memory_file.h"
#include "support/failing_alloc.h"

enum { READ = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* There are no pictures: only what this process has open. */
static void check_read(const struct dataset *ds, struct ctx *ctx, int64_t id, const struct failing_alloc *memory)
{
    struct decoder decoder;
    struct image image;
    struct err err = {0};
    decoder_init(&decoder, ctx, 4096, NULL);
    moco_status status = ds->ops->read(ds, id, &decoder, &image, &err);
    if (err.text[0] == 0 || (status != MOCO_EFORMAT && (status != MOCO_ENOMEM || memory->refused == 0)))
        abort();
    decoder_free(&decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 1)
        return 0;
    size--;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size]};
    struct ctx *ctx = NULL;
    struct dataset *ds;
    struct err err = {0};
    const char *path = memory_file(bytes, size);
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    moco_status status = dataset_open_list(&ds, ctx, path, &err);
    for (int64_t id = 0; status == MOCO_OK && id < ds->count; id++) {
        char text[4096];
        int32_t label = ds->ops->label(ds, id);
        if (label < -1 || label >= (ds->classes > 0 ? ds->classes : 1) ||
            ds->ops->path(ds, id, text, sizeof text) != MOCO_OK || text[0] != '/' || strchr(text, '\n') != NULL)
            abort();
        if (id < READ && strstr(text, "..") == NULL && strncmp(text, "/proc/self/fd/", 14) == 0)
            check_read(ds, ctx, id, &memory);
    }
    if (status != MOCO_OK &&
        (ds != NULL || err.text[0] == 0 ||
         (status != MOCO_EFORMAT && status != MOCO_EINVAL && (status != MOCO_ENOMEM || memory.refused == 0) &&
          (status != MOCO_EIO || strstr(err.text, "cannot be examined") == NULL))))
        abort();
    dataset_free(ds);
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
