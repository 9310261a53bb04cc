/* SPDX-License-Identifier: MIT
 *
 * dataset_callback: pictures that the caller makes when asked: a camera's, a database's, a renderer's. They are copied
 * before `done`, so that the caller's memory is held for no longer than it takes to copy them; what a caller answers is
 * checked like a file. */
#include <string.h>

#include "dataset.h"
#include "decode_codec.h"

#define COUNT_MAX (INT64_C(1) << 48) /* what the order of an epoch is defined for */

struct callback {
    struct dataset base;
    struct dataset_source source;
};

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    const struct dataset_source *s = &((const struct callback *)ds)->source;
    const uint8_t *pixels = NULL;
    int32_t w = 0, h = 0;
    moco_status status = s->read(s->user, id, &pixels, &w, &h);
    if (status != MOCO_OK) {
        int end = status == MOCO_EEND || status > MOCO_OK; /* no answers to this question */
        return err_set(err, end ? MOCO_EIO : status, "the caller's read answered %d", (int)status);
    }
    if (pixels == NULL)
        return err_set(err, MOCO_EINVAL, "the caller's read answered success without pixels");
    status = decode_room(decoder, w, h, image, err);
    if (status == MOCO_OK)
        memcpy(decoder->pixels, pixels, (size_t)w * (size_t)h * 3);
    if (s->done != NULL)
        s->done(s->user, id, pixels);
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

static const struct dataset_ops callback_ops = {read_image, label, dataset_no_path, dataset_no_class_name, destroy};

moco_status dataset_from_callback(struct dataset **out, struct ctx *ctx, const struct dataset_source *source,
                                  struct err *err)
{
    *out = NULL;
    if (source->read == NULL)
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
    c->base = (struct dataset){&callback_ops, ctx_ref(ctx), source->count, source->classes, NULL};
    c->source = *source;
    *out = &c->base;
    return MOCO_OK;
}
