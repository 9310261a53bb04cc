/* SPDX-License-Identifier: MIT
 *
 * weights: see weights.h. One interface over two readers; what both do alike is here. */
#include "format/weights.h"

#include <string.h>

#include "format/sniff.h"
#include "format/weights_state.h"

static moco_status open_safetensors(struct weights *w, const char *path, struct err *err)
{
    w->format = "safetensors";
    TRY(safetensors_open(&w->safetensors, w->ctx, path, 0, err));
    if (w->safetensors->proof == SAFETENSORS_DISPROVED)
        w->note =
            "its header was changed after it was written: its hash is another one, and nothing proves its numbers";
    else if (w->safetensors->proof != SAFETENSORS_PROVED)
        w->note = "it carries no hashes: nothing proves its numbers";
    return MOCO_OK;
}

static moco_status open_kind(struct weights *w, enum sniff_kind kind, const char *name, const char *path,
                             struct err *err)
{
    switch (kind) {
    case SNIFF_SAFETENSORS:
        return open_safetensors(w, path, err);
    case SNIFF_ZIP:
        w->format = "torch-zip";
        return torch_open_zip(&w->torch, w->ctx, path, err);
    case SNIFF_TORCH_LEGACY:
        w->format = "torch-legacy";
        return torch_open_legacy(&w->torch, w->ctx, path, err);
    default:
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: at byte 0: it is %s; weights are read from safetensors and from files of torch.save",
                       path, name != NULL ? name : "no file of a kind that is known here");
    }
}

moco_status weights_open(struct weights **out, struct ctx *ctx, const char *path, struct err *err)
{
    struct file file;
    unsigned char head[SNIFF_BYTES];
    const char *name;
    *out = NULL;
    TRY(file_open(&file, ctx, path, err));
    size_t size = file.size < (int64_t)sizeof head ? (size_t)file.size : sizeof head;
    moco_status status = file_read_at(&file, 0, head, size, err);
    file_close(&file);
    if (status != MOCO_OK)
        return status;
    struct weights *w = mem_zalloc(ctx, sizeof *w, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    w->ctx = ctx_ref(ctx);
    enum sniff_kind kind = sniff_bytes(head, size, &name);
    status = open_kind(w, kind, name, path, err);
    if (status != MOCO_OK) {
        weights_close(w);
        return status;
    }
    *out = w;
    return MOCO_OK;
}

void weights_close(struct weights *w)
{
    if (w == NULL)
        return;
    struct ctx *ctx = w->ctx;
    safetensors_close(w->safetensors);
    torch_close(&w->torch);
    mem_free(ctx, w);
    ctx_unref(ctx);
}

const char *weights_format(const struct weights *w)
{
    return w->format;
}

const char *weights_path(const struct weights *w)
{
    return w->safetensors != NULL ? safetensors_path(w->safetensors) : w->torch.file.path;
}

int64_t weights_count(const struct weights *w)
{
    return w->safetensors != NULL ? safetensors_count(w->safetensors) : w->torch.count;
}

const char *weights_hash(const struct weights *w, int64_t i)
{
    return w->safetensors->proof == SAFETENSORS_PROVED
               ? safetensors_hash(w->safetensors, safetensors_at(w->safetensors, i))
               : NULL;
}

void weights_at(const struct weights *w, int64_t i, struct weights_tensor *tensor)
{
    if (w->safetensors == NULL) {
        torch_at(&w->torch, i, tensor);
        return;
    }
    const struct safetensors_tensor *t = safetensors_at(w->safetensors, i);
    *tensor = (struct weights_tensor){.name = t->name,
                                      .dtype = t->dtype,
                                      .ndim = t->ndim,
                                      .count = t->bytes / (int64_t)safetensors_dtype_size(t->dtype),
                                      .offset = t->offset,
                                      .proved = weights_hash(w, i) != NULL};
    int64_t step = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        tensor->shape[d] = t->shape[d];
        tensor->stride[d] = step;
        if (__builtin_mul_overflow(step, t->shape[d], &step)) /* only if the tensor has no elements */
            step = 0;
    }
}

moco_status weights_find(const struct weights *w, const char *name, int64_t *i, struct err *err)
{
    if (w->safetensors == NULL)
        return torch_find(&w->torch, name, i, err);
    const struct safetensors_tensor *t = safetensors_find(w->safetensors, name);
    if (t == NULL)
        return err_set(err, MOCO_ENOTFOUND, "%.300s: it has no tensor %.100s", safetensors_path(w->safetensors), name);
    *i = t - safetensors_at(w->safetensors, 0);
    return MOCO_OK;
}

moco_status weights_text(const struct weights *w, const char *key, char *text, size_t size, struct err *err)
{
    if (w->safetensors == NULL)
        return torch_text(&w->torch, key, text, size, err);
    const char *value = safetensors_find_text(w->safetensors, key);
    if (value == NULL)
        return err_set(err, MOCO_ENOTFOUND, "%.300s: it has no text %.100s", safetensors_path(w->safetensors), key);
    if (strlen(value) >= size)
        return err_set(err, MOCO_ESHAPE, "%.300s: the text %.100s takes %zu bytes with its 0; size is %zu",
                       safetensors_path(w->safetensors), key, strlen(value) + 1, size);
    strcpy(text, value);
    return MOCO_OK;
}

const char *weights_key(const struct weights *w, int64_t i)
{
    if (w->safetensors == NULL)
        return i < w->torch.key_count ? w->torch.names + w->torch.keys[i] : NULL;
    return i < w->safetensors->text_count ? w->safetensors->header + w->safetensors->texts[i].key : NULL;
}

const char *weights_note(const struct weights *w, int64_t i)
{
    if (w->safetensors == NULL)
        return i < w->torch.note_count ? w->torch.notes[i] : NULL;
    return i == 0 ? w->note : NULL;
}
