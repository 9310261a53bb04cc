/* SPDX-License-Identifier: MIT
 *
 * fuzz_zip: any bytes as a zip archive. What opens must hold together: members lie in the file one behind the other,
 * each is found by its name, and reading one gives all of its bytes or a sentence. The last two bytes of an input say
 * which allocation fails and whether the file shrinks while it is read. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/zip.h"
#include "fuzz/support/memory_file.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_members(const struct zip *zip, int64_t size, int cut)
{
    char piece[64];
    for (int64_t i = 0; i < zip->count; i++) {
        const struct zip_member *m = &zip->members[i];
        struct err err = {0};
        if (m->header < 0 || m->offset < m->header + 30 || m->size < 0 || m->size > size - m->offset ||
            zip_find(zip, m->name) != m || (i > 0 && strcmp(m[-1].name, m->name) >= 0))
            abort();
        for (int64_t k = 0; k < i; k++)
            if (zip->members[k].header < m->offset + m->size &&
                m->header < zip->members[k].offset + zip->members[k].size)
                abort();
        moco_status status = zip_check(zip, m, piece, sizeof piece, &err);
        if (status != MOCO_OK && ((status != MOCO_EFORMAT && (status != MOCO_EIO || !cut)) || err.text[0] == 0))
            abort();
    }
    if (zip_find(zip, "no such member") != NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2)
        return 0;
    size -= 2;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size], .ends_only = 1};
    int cut = bytes[size + 1] != 0;
    struct ctx *ctx = NULL;
    struct file file;
    struct zip zip;
    struct err err = {0};
    const char *path = memory_file(bytes, size);
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    if (file_open(&file, ctx, path, &err) == MOCO_OK) {
        if (cut)
            memory_file_cut(size * bytes[size + 1] / 256);
        moco_status status = zip_open(&zip, &file, &err);
        if (status == MOCO_OK)
            check_members(&zip, (int64_t)size, cut);
        else if (err.text[0] == 0 || zip.file != NULL || (status == MOCO_EIO && !cut) ||
                 (status == MOCO_ENOMEM && memory.refused == 0))
            abort();
        zip_close(&zip);
        file_close(&file);
    }
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
