/* SPDX-License-Identifier: MIT
 *
 * resident: see resident.h. Where a set does not say how large its pictures are, each is read twice, first for its size
 * alone, so that no more host memory is needed than for one of them. */
#include "algo/resident/resident.h"

#include <stdio.h>
#include <string.h>

/* A decoder asks which part is wanted once it knows the size: none. */
static moco_status only_size(void *user, int w, int h, struct image_box *box, struct err *err)
{
    int32_t *side = user;
    (void)box;
    side[0] = w;
    side[1] = h;
    return err_set(err, MOCO_ECANCELED, "only the size was wanted");
}

static moco_status named(const struct dataset *ds, int64_t id, moco_status status, struct err *err)
{
    char name[400];
    if (status == MOCO_OK)
        return status;
    if (ds->ops->path(ds, id, name, sizeof name) != MOCO_OK || name[0] == 0)
        snprintf(name, sizeof name, "image %lld", (long long)id);
    err_prefix(err, name);
    return status;
}

/* Of a set that knows them, no picture is read for them. */
static moco_status find_sizes(struct resident *r, const struct dataset *ds, struct decoder *decoder, int64_t *pixels,
                              struct err *err)
{
    for (int64_t id = 0; id < r->count; id++) {
        struct err said = {0};
        struct image image;
        if (ds->w > 0) {
            r->side[id][0] = ds->w;
            r->side[id][1] = ds->h;
            *pixels += (int64_t)ds->w * ds->h;
            continue;
        }
        decoder->wish = only_size;
        decoder->wish_user = r->side[id];
        moco_status status = ds->ops->read(ds, id, decoder, &image, &said);
        if (status == MOCO_OK) {
            r->side[id][0] = image.w;
            r->side[id][1] = image.h;
        } else if (r->side[id][0] == 0) {
            *err = said;
            return named(ds, id, status, err);
        }
        *pixels += (int64_t)r->side[id][0] * r->side[id][1];
    }
    return MOCO_OK;
}

/* Rows without gaps, in memory that `packed` holds. */
static moco_status pack(struct resident *r, const struct image *image, uint8_t **packed, const uint8_t **out,
                        struct err *err)
{
    size_t row = (size_t)image->w * 3, bytes = row * (size_t)image->h;
    *out = image->pixels;
    if (image->stride == row)
        return MOCO_OK;
    if (*packed == NULL || mem_size(*packed) < bytes) {
        mem_free(r->ctx, *packed);
        if ((*packed = mem_alloc(r->ctx, bytes, err)) == NULL)
            return MOCO_ENOMEM;
    }
    for (int y = 0; y < image->h; y++)
        memcpy(*packed + (size_t)y * row, image->pixels + (size_t)y * image->stride, row);
    *out = *packed;
    return MOCO_OK;
}

static moco_status put_all(struct resident *r, const struct dataset *ds, struct decoder *decoder, uint8_t **packed,
                           struct err *err)
{
    decoder->wish = NULL;
    for (int64_t id = 0; id < r->count; id++) {
        struct image image;
        const uint8_t *rgb;
        TRY(named(ds, id, ds->ops->read(ds, id, decoder, &image, err), err));
        if (image.w != r->side[id][0] || image.h != r->side[id][1])
            return named(ds, id,
                         err_set(err, MOCO_EFORMAT, "it is %d x %d pixels and not %d x %d, as it was said to be",
                                 image.w, image.h, r->side[id][0], r->side[id][1]),
                         err);
        TRY(pack(r, &image, packed, &rgb, err));
        TRY(r->be->pictures_put(r->pictures, id, rgb, err));
    }
    return r->be->sync(r->dev, err);
}

static moco_status fill(struct resident *r, const struct dataset *ds, int64_t max_pixels, struct err *err)
{
    struct decoder decoder;
    uint8_t *packed = NULL;
    int64_t pixels = 0;
    decoder_init(&decoder, r->ctx, max_pixels, NULL);
    moco_status status = find_sizes(r, ds, &decoder, &pixels, err);
    r->bytes = r->be->pictures_bytes(r->count, pixels);
    if (status == MOCO_OK)
        status = r->be->pictures_create(&r->pictures, r->dev, r->count, (const int32_t(*)[2])r->side, err);
    if (status == MOCO_OK)
        status = put_all(r, ds, &decoder, &packed, err);
    mem_free(r->ctx, packed);
    decoder_free(&decoder);
    return status;
}

static moco_status makes_views(const struct backend *be, struct err *err)
{
    if (be->pictures_create == NULL)
        return err_set(err, MOCO_ENOTSUP, "the device %s makes no views: a loader makes them on the host", be->name);
    return MOCO_OK;
}

moco_status resident_estimate(const struct backend *be, const struct dataset *ds, int64_t *bytes, struct err *err)
{
    *bytes = -1;
    TRY(makes_views(be, err));
    if (ds->w > 0 && ds->count <= INT32_MAX)
        *bytes = be->pictures_bytes(ds->count, ds->count * ds->w * ds->h);
    return MOCO_OK;
}

moco_status resident_create(struct resident **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                            const struct dataset *ds, int64_t max_pixels, struct err *err)
{
    *out = NULL;
    TRY(makes_views(be, err));
    struct resident *r = mem_zalloc(ctx, sizeof *r, err);
    if (r == NULL)
        return MOCO_ENOMEM;
    r->ctx = ctx;
    r->be = be;
    r->dev = dev;
    r->count = ds->count;
    r->side = mem_array(ctx, (size_t)ds->count, sizeof *r->side, err);
    if (r->side != NULL)
        memset(r->side, 0, (size_t)ds->count * sizeof *r->side);
    moco_status status = r->side == NULL ? MOCO_ENOMEM : fill(r, ds, max_pixels, err);
    if (status != MOCO_OK) {
        resident_free(r);
        return status;
    }
    *out = r;
    return MOCO_OK;
}

void resident_free(struct resident *r)
{
    if (r == NULL)
        return;
    if (r->pictures != NULL)
        r->be->pictures_free(r->pictures);
    mem_free(r->ctx, r->side);
    mem_free(r->ctx, r);
}
