/* SPDX-License-Identifier: MIT
 *
 * dataset_memory: pictures that the caller keeps in memory, decoded and all of one size. Nothing is copied: the
 * views are made directly from the caller's array. */
#include <string.h>

#include "dataset.h"

struct memory {
    struct dataset base;
    const uint8_t *pixels;
    int w, h;
    const int32_t *labels;
};

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    (void)decoder;
    (void)err;
    const struct memory *m = (const struct memory *)ds;
    size_t stride = (size_t)m->w * 3;
    *image = (struct image){
        .pixels = m->pixels + (size_t)id * (size_t)m->h * stride, .w = m->w, .h = m->h, .stride = stride};
    return MOCO_OK;
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    const struct memory *m = (const struct memory *)ds;
    return m->labels != NULL ? m->labels[id] : -1;
}

static void destroy(struct dataset *ds)
{
    mem_free(ds->ctx, ds);
}

static const struct dataset_ops memory_ops = {read_image, label, dataset_no_path, dataset_no_class_name, destroy};

/* The largest label + 1; MOCO_EINVAL for a label that is neither one nor -1. */
static moco_status count_classes(const int32_t *labels, int64_t n, int32_t *classes, struct err *err)
{
    *classes = 0;
    for (int64_t i = 0; labels != NULL && i < n; i++) {
        if (labels[i] < -1 || labels[i] == INT32_MAX)
            return err_set(err, MOCO_EINVAL,
                           "data set in memory: label %d of image %lld is neither -1 (none) nor a class",
                           (int)labels[i], (long long)i);
        if (labels[i] >= *classes)
            *classes = labels[i] + 1;
    }
    return MOCO_OK;
}

moco_status dataset_from_memory(struct dataset **out, struct ctx *ctx, const uint8_t *pixels, int64_t n, int h, int w,
                                const int32_t *labels, struct err *err)
{
    *out = NULL;
    if (n < 1 || h < 1 || w < 1)
        return err_set(err, MOCO_EINVAL, "data set in memory: %lld images of %d x %d; there must be at least one pixel",
                       (long long)n, w, h);
    int64_t bytes;
    if (__builtin_mul_overflow(n, (int64_t)h * w, &bytes) || __builtin_mul_overflow(bytes, INT64_C(3), &bytes))
        return err_set(err, MOCO_EINVAL,
                       "data set in memory: %lld images of %d x %d are more than a process can address", (long long)n,
                       w, h);
    int32_t classes;
    TRY(count_classes(labels, n, &classes, err));
    struct memory *m = mem_zalloc(ctx, sizeof *m, err);
    if (m == NULL)
        return MOCO_ENOMEM;
    m->base = (struct dataset){&memory_ops, ctx_ref(ctx), n, classes, NULL, w, h};
    m->pixels = pixels;
    m->w = w;
    m->h = h;
    m->labels = labels;
    *out = &m->base;
    return MOCO_OK;
}
