/* SPDX-License-Identifier: MIT
 *
 * tool_zip64: writes a file of torch whose archive has every size, offset and count in 64 bits, as one of 4 GiB has them:
 * two tensors, "small" f32 [2,3] = 0..5 and "empty" i64 [0]. usage: tool_zip64 PATH */
#include <stdio.h>

#include "ctx.h"
#include "format/torch_write.h"

static moco_status write_file(struct torch_writer *w, const char *path, struct err *err)
{
    static const float numbers[6] = {0, 1, 2, 3, 4, 5};
    const struct safetensors_tensor small = {.name = "small", .dtype = SAFETENSORS_F32, .ndim = 2, .shape = {2, 3}};
    const struct safetensors_tensor empty = {.name = "empty", .dtype = SAFETENSORS_I64, .ndim = 1, .shape = {0}};
    pickle_put_ops(&w->pickle, "}(");
    pickle_put_text(&w->pickle, small.name);
    torch_put_tensor(w, &small);
    pickle_put_text(&w->pickle, empty.name);
    torch_put_tensor(w, &empty);
    pickle_put_ops(&w->pickle, "u");
    TRY(torch_write_begin(w, path, err));
    TRY(torch_write(w, 0, numbers, sizeof numbers, err));
    return torch_write_commit(w, err);
}

int main(int count, char **args)
{
    struct ctx *ctx = NULL;
    struct err err = {0};
    struct torch_writer w;
    if (count != 2 || ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) != MOCO_OK)
        return 2;
    torch_write_start(&w, ctx, &err);
    w.wide = 1;
    moco_status status = write_file(&w, args[1], &err);
    torch_write_abandon(&w);
    ctx_unref(ctx);
    if (status != MOCO_OK)
        fprintf(stderr, "%s\n", err.text);
    return status != MOCO_OK;
}
