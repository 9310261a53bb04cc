/* SPDX-License-Identifier: MIT
 *
 * torch_write: see torch_write.h. Protocol 2 without a memo: torch's own reader of safe pickles knows each opcode. */
#include "format/torch/torch_write.h"

#include <stdio.h>
#include <string.h>

#include "codec/zip_write.h"
#include "format/safetensors_table.h"
#include "num.h"

/* Members of the archive before those of the tensors, and after them. */
enum { DATA_PKL, BYTEORDER, BEFORE };
enum { VERSION, AFTER };
#define NAME_ROOM 40

static const char byteorder[] = "little", version[] = "3\n";

void torch_write_start(struct torch_writer *w, struct ctx *ctx, struct err *err)
{
    *w = (struct torch_writer){.ctx = ctx};
    pickle_start(&w->pickle, ctx, 2, err);
}

static const char *storage_name(enum safetensors_dtype dtype)
{
    static const char *const names[] = {
        [SAFETENSORS_F64] = "DoubleStorage", [SAFETENSORS_I64] = "LongStorage", [SAFETENSORS_F32] = "FloatStorage",
        [SAFETENSORS_I32] = "IntStorage",    [SAFETENSORS_F16] = "HalfStorage", [SAFETENSORS_BF16] = "BFloat16Storage",
        [SAFETENSORS_I16] = "ShortStorage",  [SAFETENSORS_I8] = "CharStorage",  [SAFETENSORS_U8] = "ByteStorage",
        [SAFETENSORS_BOOL] = "BoolStorage",
    };
    return names[dtype];
}

static void put_numbers(struct pickle_writer *p, const int64_t *numbers, int count)
{
    pickle_put_ops(p, "(");
    for (int d = 0; d < count; d++)
        pickle_put_int(p, numbers[d]);
    pickle_put_ops(p, "t");
}

/* Adds a storage of this size to the list and returns its number. */
static int64_t list_storage(struct torch_writer *w, int64_t bytes)
{
    struct pickle_writer *p = &w->pickle;
    if (p->status != MOCO_OK)
        return w->count - 1;
    int64_t *room = mem_reserve(w->ctx, w->sizes, ((size_t)w->count + 1) * sizeof *room, p->err);
    if (room == NULL) {
        p->status = MOCO_ENOMEM;
        return w->count - 1;
    }
    w->sizes = room;
    w->sizes[w->count++] = bytes;
    return w->count - 1;
}

void torch_put_tensor(struct torch_writer *w, const struct safetensors_tensor *t)
{
    struct pickle_writer *p = &w->pickle;
    int64_t bytes = safetensors_bytes(t->dtype, t->ndim, t->shape), count, strides[SAFETENSORS_DIMS], step = 1;
    char key[NUM_TEXT];
    num_format_int(key, list_storage(w, bytes));
    count = bytes / (int64_t)safetensors_dtype_size(t->dtype);
    for (int d = t->ndim - 1; d >= 0; d--) {
        strides[d] = step;
        step *= t->shape[d] > 0 ? t->shape[d] : 1;
    }
    pickle_put_global(p, "torch._utils", "_rebuild_tensor_v2");
    pickle_put_ops(p, "((");
    pickle_put_text(p, "storage");
    pickle_put_global(p, "torch", storage_name(t->dtype));
    pickle_put_text(p, key);
    pickle_put_text(p, "cpu");
    pickle_put_int(p, count);
    pickle_put_ops(p, "tQ"); /* the persistent identity: a tuple that describes the storage */
    pickle_put_int(p, 0);
    put_numbers(p, t->shape, t->ndim);
    put_numbers(p, strides, t->ndim);
    pickle_put_bool(p, 0);
    pickle_put_global(p, "collections", "OrderedDict");
    pickle_put_ops(p, ")RtR");
}

moco_status torch_write_begin(struct torch_writer *w, const char *path, struct err *err)
{
    pickle_put_ops(&w->pickle, ".");
    TRY(w->pickle.status);
    int64_t count = BEFORE + w->count + AFTER;
    struct zip_put_member *members = mem_array(w->ctx, (size_t)count, sizeof *members, err);
    char(*names)[NAME_ROOM] = mem_array(w->ctx, (size_t)w->count, sizeof *names, err);
    moco_status status = members != NULL && names != NULL ? MOCO_OK : MOCO_ENOMEM;
    if (status == MOCO_OK) {
        members[DATA_PKL] = (struct zip_put_member){"archive/data.pkl", (int64_t)w->pickle.used};
        members[BYTEORDER] = (struct zip_put_member){"archive/byteorder", sizeof byteorder - 1};
        for (int64_t i = 0; i < w->count; i++) {
            snprintf(names[i], sizeof names[i], "archive/data/%lld", (long long)i);
            members[BEFORE + i] = (struct zip_put_member){names[i], w->sizes[i]};
        }
        members[BEFORE + w->count + VERSION] = (struct zip_put_member){"archive/version", sizeof version - 1};
        status = zip_create(&w->zip, w->ctx, path, members, count, w->wide ? ZIP_WIDE_ALL : ZIP_WIDE_NEEDED, err);
    }
    mem_free(w->ctx, names);
    mem_free(w->ctx, members);
    TRY(status);
    TRY(zip_put(w->zip, DATA_PKL, w->pickle.bytes, w->pickle.used, err));
    TRY(zip_put(w->zip, BYTEORDER, byteorder, sizeof byteorder - 1, err));
    return zip_put(w->zip, BEFORE + w->count + VERSION, version, sizeof version - 1, err);
}

moco_status torch_write(struct torch_writer *w, int64_t i, const void *bytes, size_t size, struct err *err)
{
    return zip_put(w->zip, BEFORE + i, bytes, size, err);
}

moco_status torch_write_commit(struct torch_writer *w, struct err *err)
{
    moco_status status = zip_commit(w->zip, err);
    w->zip = NULL;
    torch_write_abandon(w);
    return status;
}

void torch_write_abandon(struct torch_writer *w)
{
    zip_abandon(w->zip);
    w->zip = NULL;
    pickle_write_free(&w->pickle);
    mem_free(w->ctx, w->sizes);
    w->sizes = NULL;
    w->count = 0;
}
