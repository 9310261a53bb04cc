/* SPDX-License-Identifier: MIT
 *
 * dataset_callback: pictures that the caller provides on request, as pixels (a camera's, a renderer's) or as the
 * bytes of a file (a database's, an object store's). Pixels are copied, and bytes decoded, before `done`, so that
 * the caller's memory is used only for that time. The caller's answers are checked like a file. What a reader would
 * get wrong: bytes are decoded in the caller's memory, and only the part that the views show, like those of a file
 * that fits the window. */
#include <string.h>

#include "data/decode/decode_codec.h"
#include "dataset.h"
#include "moco/data.h" /* MOCO_REASON */

#define COUNT_MAX (INT64_C(1) << 48) /* what the order of an epoch is defined for */

struct callback {
    struct dataset base;
    struct dataset_source source;
};

/* `reason`: the caller's words, or none. */
static moco_status refused(moco_status status, const char *reason, struct err *err)
{
    int end = status == MOCO_EEND || status > MOCO_OK; /* no answers to this question */
    return err_set(err, end ? MOCO_EIO : status, "the caller's read answered %d%s%s", (int)status,
                   reason[0] != 0 ? ": " : "", reason);
}

static moco_status read_pixels(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                               struct err *err)
{
    const struct dataset_source *s = &((const struct callback *)ds)->source;
    const uint8_t *pixels = NULL;
    int32_t w = 0, h = 0;
    moco_status status = s->read(s->user, id, &pixels, &w, &h);
    if (status != MOCO_OK)
        return refused(status, "", err);
    if (pixels == NULL)
        return err_set(err, MOCO_EINVAL, "the caller's read answered success without pixels");
    status = decode_room(decoder, w, h, image, err);
    if (status == MOCO_OK)
        memcpy(decoder->pixels, pixels, (size_t)w * (size_t)h * 3);
    if (s->done != NULL)
        s->done(s->user, id, pixels);
    return status;
}

static moco_status read_encoded(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                                struct err *err)
{
    const struct dataset_source *s = &((const struct callback *)ds)->source;
    const void *bytes = NULL;
    size_t size = 0;
    void *cookie = NULL;
    char reason[MOCO_REASON] = "";
    moco_status status = s->read_encoded(s->user, id, &bytes, &size, &cookie, reason, sizeof reason);
    reason[sizeof reason - 1] = 0; /* whatever was written */
    if (status != MOCO_OK)
        return refused(status, reason, err);
    if (bytes == NULL && size > 0)
        return err_set(err, MOCO_EINVAL, "the caller's read answered success and %zu bytes at NULL", size);
    status = decode_memory(decoder, bytes, size, image, err);
    if (s->done_encoded != NULL)
        s->done_encoded(s->user, id, bytes, size, cookie);
    return status;
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    const struct dataset_source *s = &((const struct callback *)ds)->source;
    int32_t answer = s->label != NULL ? s->label(s->user, id) : -1;
    return answer >= 0 && answer < ds->classes ? answer : -1;
}

static void destroy(struct dataset *ds)
{
    mem_free(ds->ctx, ds);
}

static const struct dataset_ops pixel_ops = {read_pixels, label, dataset_no_path, dataset_no_class_name, destroy};
static const struct dataset_ops encoded_ops = {read_encoded, label, dataset_no_path, dataset_no_class_name, destroy};

moco_status dataset_from_callback(struct dataset **out, struct ctx *ctx, const struct dataset_source *source,
                                  struct err *err)
{
    *out = NULL;
    if (source->read == NULL && source->read_encoded == NULL)
        return err_set(err, MOCO_EINVAL, "data set by callback: read is NULL");
    if (source->count < 1 || source->count > COUNT_MAX)
        return err_set(err, MOCO_EINVAL, "data set by callback: count is %lld; it must be 1 to 2^48",
                       (long long)source->count);
    if (source->classes < 0 || (source->classes > 0) != (source->label != NULL))
        return err_set(err, MOCO_EINVAL,
                       "data set by callback: classes is %d and label is %s; labels need both, and no labels neither",
                       (int)source->classes, source->label != NULL ? "set" : "NULL");
    struct callback *c = mem_zalloc(ctx, sizeof *c, err);
    if (c == NULL)
        return MOCO_ENOMEM;
    const struct dataset_ops *ops = source->read != NULL ? &pixel_ops : &encoded_ops;
    c->base = (struct dataset){ops, ctx_ref(ctx), source->count, source->classes, NULL, 0, 0};
    c->source = *source;
    *out = &c->base;
    return MOCO_OK;
}
