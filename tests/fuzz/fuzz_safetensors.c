/* SPDX-License-Identifier: MIT
 *
 * fuzz_safetensors: any bytes as the start of a safetensors file of any size. What parses must hold together: tensors
 * fill the file without a gap, and each is found by its name. No file is made: the parser sees header and size. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(const struct safetensors *f, int64_t file_size)
{
    int64_t end = f->header_bytes;
    for (int64_t i = 0; i < f->count; i++) {
        const struct safetensors_tensor *t = &f->tensors[i];
        if (t->offset != end || t->bytes < 0 || safetensors_find(f, t->name) != t ||
            t->bytes != safetensors_bytes(t->dtype, t->ndim, t->shape))
            abort();
        end += t->bytes;
    }
    if (end != file_size)
        abort();
    for (int64_t i = 0; i < f->text_count; i++)
        if (safetensors_find_text(f, f->header + f->texts[i].key) != f->header + f->texts[i].value)
            abort();
}

/* The last two bytes of the input say how many bytes follow the header. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ctx *ctx = NULL;
    struct ctx_options options = {.threads = 1};
    struct err err = {0};
    if (size < 2 || ctx_create(&ctx, &options, NULL) != MOCO_OK)
        return 0;
    size_t json = size - 2;
    int64_t file_size = (int64_t)(SAFETENSORS_LENGTH + json) + bytes[json] + 256 * bytes[json + 1];
    struct safetensors *f = mem_zalloc(ctx, sizeof *f, &err);
    if (f != NULL) {
        f->ctx = ctx_ref(ctx);
        f->file.fd = -1;
        f->header_bytes = (int64_t)(SAFETENSORS_LENGTH + json);
        f->header = mem_zalloc(ctx, (size_t)f->header_bytes, &err);
        if (f->header != NULL) {
            memcpy(f->header + SAFETENSORS_LENGTH, bytes, json);
            moco_status status = safetensors_parse(f, file_size, &err);
            if (status == MOCO_OK)
                check(f, file_size);
            else if (status != MOCO_EFORMAT || err.text[0] == 0)
                abort();
        }
        safetensors_close(f);
    }
    if (ctx->live_bytes != 0)
        abort();
    ctx_unref(ctx);
    return 0;
}
