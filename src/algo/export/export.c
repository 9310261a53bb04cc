/* SPDX-License-Identifier: MIT
 *
 * export: see export.h. The encoder is locked while it is written: a trainer's commit waits, so that the file holds
 * one state. */
#include "algo/export/export.h"

#include <stdio.h>
#include <string.h>

#include "codec/pickle_write.h"
#include "file/file_gaps.h"
#include "format/torch/torch_write.h"
#include "utf8.h"

/* ---- which form ---- */

static const struct {
    const char *ending;
    moco_export_format format;
} endings[] = {
    {".safetensors", MOCO_EXPORT_SAFETENSORS},
    {"/", MOCO_EXPORT_FOLDER},
    {".pth", MOCO_EXPORT_TORCH},
    {".pt", MOCO_EXPORT_TORCH},
    {".pth.tar", MOCO_EXPORT_TORCH},
    {".pkl", MOCO_EXPORT_DETECTRON2},
    {".onnx", MOCO_EXPORT_ONNX},
};

static int is_switch(int32_t value)
{
    return value == 0 || value == 1;
}

moco_status export_format(const char *path, const moco_export_options *o, moco_export_format *format, struct err *err)
{
    if (o->format < MOCO_EXPORT_BY_PATH || o->format > MOCO_EXPORT_ONNX)
        return err_set(err, MOCO_EINVAL, "format is %d; it must be one of moco_export_format", o->format);
    if (!is_switch(o->head) || !is_switch(o->onnx_input) || !is_switch(o->separate_bn))
        return err_set(err, MOCO_EINVAL, "head is %d, onnx_input %d, separate_bn %d; each must be 0 or 1", o->head,
                       o->onnx_input, o->separate_bn);
    if (o->epoch < -1)
        return err_set(err, MOCO_EINVAL, "epoch is %lld; it must be -1 or a count", (long long)o->epoch);
    *format = (moco_export_format)o->format;
    for (size_t i = 0; *format == MOCO_EXPORT_BY_PATH && i < sizeof endings / sizeof *endings; i++)
        if (utf8_ends_in(path, endings[i].ending))
            *format = endings[i].format;
    if (*format == MOCO_EXPORT_BY_PATH)
        return err_set(err, MOCO_EINVAL,
                       "%.300s: how a file is written follows from its name, which must end in .safetensors, .pth, "
                       ".pt, .pkl, .onnx or (a folder) /, or from options.format",
                       path);
    return MOCO_OK;
}

/* ---- a plain state dict of torch ---- */

/* Puts all tensors into the pickle, and then writes their numbers in the same order. */
static moco_status write_torch(struct torch_writer *w, const struct state *state, const char *path, void *values,
                               struct err *err)
{
    struct safetensors_tensor tensor;
    pickle_put_global(&w->pickle, "collections", "OrderedDict");
    pickle_put_ops(&w->pickle, ")R(");
    for (int i = 0; i < state->count; i++) {
        state_describe(state, i, &tensor);
        pickle_put_text(&w->pickle, tensor.name);
        torch_put_tensor(w, &tensor);
    }
    pickle_put_ops(&w->pickle, "u");
    TRY(torch_write_begin(w, path, err));
    for (int i = 0; i < state->count; i++) {
        size_t bytes = 0;
        TRY(state_fetch(state, i, values, &bytes, err));
        TRY(torch_write(w, i, values, bytes, err));
    }
    return torch_write_commit(w, err);
}

static moco_status export_torch(struct encoder *encoder, const char *path, int head, struct err *err)
{
    struct encoder_view view = {encoder, &encoder->numbers};
    struct state state = export_state(&view, head);
    struct torch_writer writer;
    void *values = state_room(encoder->ctx, &state, err);
    if (values == NULL)
        return MOCO_ENOMEM;
    torch_write_start(&writer, encoder->ctx, err);
    moco_status status = write_torch(&writer, &state, path, values, err);
    torch_write_abandon(&writer);
    mem_free(encoder->ctx, values);
    return status;
}

/* ---- detectron2: a dict of NumPy arrays, by its own names ---- */

/* Writes detectron2's name of a tensor: "layer1.0.bn2.weight" is "res2.0.conv2.norm.weight", "bn1.bias" is
 * "stem.conv1.norm.bias". */
static void detectron2_name(const char *name, char *out, size_t size)
{
    size_t used = 0;
    if (strncmp(name, "layer", 5) == 0) {
        used += (size_t)snprintf(out, size, "res%c", name[5] + 1);
        name += 6;
    } else {
        used += (size_t)snprintf(out, size, "stem.");
    }
    const char *bn = strstr(name, "bn"), *down = strstr(name, "downsample.");
    if (down != NULL)
        snprintf(out + used, size - used, "%.*sshortcut%s%s", (int)(down - name), name, down[11] == '1' ? ".norm" : "",
                 down + 12);
    else if (bn != NULL)
        snprintf(out + used, size - used, "%.*sconv%c.norm%s", (int)(bn - name), name, bn[2], bn + 3);
    else
        snprintf(out + used, size - used, "%s", name);
}

/* Puts numpy.ndarray(shape, numpy.dtype(type), bytes). The bytes are a gap, filled later. */
static void put_array(struct pickle_writer *p, struct file_gaps *gaps, const struct safetensors_tensor *t)
{
    int64_t bytes = (int64_t)safetensors_dtype_size(t->dtype);
    pickle_put_global(p, "numpy", "ndarray");
    pickle_put_ops(p, "((");
    for (int d = 0; d < t->ndim; d++) {
        pickle_put_int(p, t->shape[d]);
        bytes *= t->shape[d];
    }
    pickle_put_ops(p, "t");
    pickle_put_global(p, "numpy", "dtype");
    pickle_put_ops(p, "(");
    pickle_put_text(p, t->dtype == SAFETENSORS_I64 ? "<i8" : "<f4");
    pickle_put_ops(p, "tR");
    pickle_put_bytes_head(p, bytes);
    file_gaps_add(gaps, p->used, bytes);
    pickle_put_ops(p, "tR");
}

/* Puts the pickle that detectron2's checkpointer reads: the weights, and by what rule their names are matched. */
static void put_detectron2(struct pickle_writer *p, struct file_gaps *gaps, const struct state *state)
{
    struct safetensors_tensor tensor;
    char name[ENCODER_NAME + 16];
    pickle_put_ops(p, "}(");
    pickle_put_text(p, "model");
    pickle_put_ops(p, "}(");
    for (int i = 0; i < state->count; i++) {
        state_describe(state, i, &tensor);
        detectron2_name(tensor.name, name, sizeof name);
        pickle_put_text(p, name);
        put_array(p, gaps, &tensor);
    }
    pickle_put_ops(p, "u");
    pickle_put_text(p, "__author__");
    pickle_put_text(p, "libmoco");
    pickle_put_text(p, "matching_heuristics"); /* without this detectron2 loads nothing and does not say so */
    pickle_put_bool(p, 1);
    pickle_put_ops(p, "u.");
}

static moco_status write_detectron2(struct pickle_writer *p, struct file_gaps *gaps, const struct state *state,
                                    const char *path, void *values, struct err *err)
{
    struct file_save save;
    put_detectron2(p, gaps, state);
    TRY(p->status);
    TRY(file_gaps_begin(gaps, &save, path, p->bytes, p->used, err));
    moco_status status = MOCO_OK;
    for (int i = 0; i < state->count && status == MOCO_OK; i++) {
        size_t bytes = 0;
        status = state_fetch(state, i, values, &bytes, err);
        if (status == MOCO_OK)
            status = file_save_write_at(&save, gaps->gaps[i].offset, values, bytes, err);
    }
    if (status == MOCO_OK)
        return file_save_commit(&save, err);
    file_save_abandon(&save);
    return status;
}

static moco_status export_detectron2(struct encoder *encoder, const char *path, struct err *err)
{
    struct encoder_view view = {encoder, &encoder->numbers};
    struct state state = export_state(&view, 0);
    struct pickle_writer pickle;
    struct file_gaps gaps;
    void *values = state_room(encoder->ctx, &state, err);
    if (values == NULL)
        return MOCO_ENOMEM;
    pickle_start(&pickle, encoder->ctx, 3, err);
    file_gaps_start(&gaps, encoder->ctx, err);
    moco_status status = write_detectron2(&pickle, &gaps, &state, path, values, err);
    file_gaps_free(&gaps);
    pickle_write_free(&pickle);
    mem_free(encoder->ctx, values);
    return status;
}

/* ---- all of them ---- */

static moco_status export_as(struct encoder *e, const char *path, moco_export_format format,
                             const moco_export_options *o, struct err *err)
{
    switch (format) {
    case MOCO_EXPORT_SAFETENSORS:
        return export_safetensors(e, path, o->head, err);
    case MOCO_EXPORT_FOLDER:
        return export_folder(e, path, o, err);
    case MOCO_EXPORT_TORCH:
        return export_torch(e, path, o->head, err);
    case MOCO_EXPORT_DETECTRON2:
        return export_detectron2(e, path, err);
    default:
        return export_onnx(e, path, o, err);
    }
}

moco_status encoder_export(struct encoder *encoder, const char *path, const moco_export_options *o, struct err *err)
{
    moco_export_format format;
    TRY(export_format(path, o, &format, err));
    if (o->format == MOCO_EXPORT_BY_PATH && utf8_ends_in(path, ".pth.tar"))
        return err_set(err, MOCO_EINVAL,
                       "%.300s: .pth.tar is the reference's checkpoint of a training (moco_trainer_export); an "
                       "encoder's state dict ends in .pth",
                       path);
    if (format == MOCO_EXPORT_DETECTRON2 && o->head)
        return err_set(err, MOCO_EINVAL, "%.300s: detectron2 has no place for the head; head must be 0", path);
    encoder_lock_landed(encoder);
    moco_status status = export_as(encoder, path, format, o, err);
    encoder_unlock(encoder);
    return status;
}
