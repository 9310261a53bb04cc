/* SPDX-License-Identifier: MIT
 *
 * demo_measure: see demo_measure.h. Raw pixels are 0..1 as they are, like a user's own. Every picture has the same
 * mean, so that subtracting it would not change the order of neighbours, but their votes would become sharper: 79.9
 * % instead of 70.4 (seed 0). */
#include "demo_measure.h"

#include <stdlib.h>

#include "support/from_moco.h"

#define CHUNK 250
#define BANK 4000

struct look {
    const struct demo_measure *measure;
    moco_model *model; /* NULL: raw pixels */
    moco_knn *knn;
    int32_t dim;
    float *features; /* [CHUNK, dim] */
    int32_t found[CHUNK];
};

static moco_status look_open(struct look *l, const struct demo_measure *m, moco_model *model, int k, struct err *err)
{
    const struct demo_pictures *p = m->pictures;
    moco_model_info info;
    *l = (struct look){.measure = m, .model = model, .dim = p->size * p->size * p->channels};
    moco_model_info_init(&info);
    if (model != NULL) {
        TRY(from_moco(moco_model_describe(model, &info), err));
        l->dim = info.feature_dim;
    }
    l->features = malloc(sizeof(float) * CHUNK * (size_t)l->dim);
    if (l->features == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    return from_moco(moco_knn_create(&l->knn, m->device, l->dim, k, m->temperature), err);
}

static void look_close(struct look *l)
{
    moco_knn_free(l->knn);
    free(l->features);
}

/* Vectors of n pictures (n <= CHUNK). */
static moco_status encode(struct look *l, const uint8_t *pixels, int32_t n, moco_tensor *out, struct err *err)
{
    int size = l->measure->pictures->size, channels = l->measure->pictures->channels;
    moco_tensor images;
    moco_tensor_init(out);
    out->dtype = MOCO_F32;
    out->ndim = 2;
    out->shape[0] = n;
    out->shape[1] = l->dim;
    out->data = l->features;
    if (l->model == NULL) {
        for (int64_t i = 0; i < (int64_t)n * l->dim; i++)
            l->features[i] = (float)pixels[i * 3 / channels] / 255.0f;
        return MOCO_OK;
    }
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = n;
    images.shape[1] = images.shape[2] = size;
    images.shape[3] = 3;
    images.data = (void *)(uintptr_t)pixels;
    return from_moco(moco_model_embed(l->model, &images, MOCO_FEATURES, out), err);
}

/* Pictures `from`.. `to` into the bank, or (`right` not NULL) asked about. */
static moco_status sweep(struct look *l, int64_t from, int64_t to, int64_t *right, struct err *err)
{
    const struct demo_pictures *p = l->measure->pictures;
    moco_tensor features;
    for (int64_t at = from; at < to; at += CHUNK) {
        int32_t n = to - at < CHUNK ? (int32_t)(to - at) : CHUNK;
        TRY(encode(l, demo_picture(p, at), n, &features, err));
        if (right == NULL) {
            TRY(from_moco(moco_knn_add(l->knn, &features, p->labels + at), err));
            continue;
        }
        TRY(from_moco(moco_knn_classify(l->knn, &features, l->found), err));
        for (int32_t i = 0; i < n; i++)
            *right += l->found[i] == p->labels[at + i];
    }
    return MOCO_OK;
}

moco_status demo_measure_knn(const struct demo_measure *m, moco_model *model, double *percent, struct err *err)
{
    const struct demo_pictures *p = m->pictures;
    struct look l;
    int64_t right = 0, end = p->all - p->held_out > BANK ? p->held_out + BANK : p->all;
    int k = m->k < end - p->held_out ? m->k : (int)(end - p->held_out);
    moco_status status;
    TRY_GOTO(status, look_open(&l, m, model, k, err), out);
    TRY_GOTO(status, sweep(&l, p->held_out, end, NULL, err), out);
    TRY_GOTO(status, sweep(&l, 0, p->held_out, &right, err), out);
    *percent = 100.0 * (double)right / (double)p->held_out;
out:
    look_close(&l);
    return status;
}

/* One pass over two views of each held-out picture: the second ones are the bank, then the first ones ask. */
static moco_status views(struct look *l, moco_loader *loader, int view, int64_t *right, struct err *err)
{
    moco_batch batch;
    moco_tensor features;
    int32_t number[CHUNK];
    moco_status status;
    moco_batch_init(&batch);
    TRY(from_moco(moco_loader_start(loader, 0), err));
    while ((status = moco_loader_next(loader, &batch)) == MOCO_OK) {
        TRY(encode(l, batch.view[view], batch.n, &features, err));
        for (int32_t i = 0; i < batch.n; i++)
            number[i] = (int32_t)batch.ids[i];
        if (view == 1) {
            TRY(from_moco(moco_knn_add(l->knn, &features, number), err));
            continue;
        }
        TRY(from_moco(moco_knn_classify(l->knn, &features, l->found), err));
        for (int32_t i = 0; i < batch.n; i++)
            *right += l->found[i] == number[i];
    }
    return status == MOCO_EEND ? MOCO_OK : from_moco(status, err);
}

moco_status demo_measure_agreement(const struct demo_measure *m, moco_model *model, double *percent, struct err *err)
{
    const struct demo_pictures *p = m->pictures;
    struct look l;
    moco_tensor held;
    moco_dataset *set = NULL;
    moco_loader *loader = NULL;
    moco_loader_options o;
    int64_t right = 0;
    moco_status status;
    moco_tensor_init(&held);
    held.dtype = MOCO_U8;
    held.ndim = 4;
    held.shape[0] = p->held_out;
    held.shape[1] = held.shape[2] = p->size;
    held.shape[3] = 3;
    held.data = p->pixels;
    moco_loader_options_init(&o);
    o.batch_size = CHUNK;
    o.permuted = 0; /* both passes see the pictures in one order */
    o.drop_last = 0;
    o.seed = m->seed;
    o.recipe[0] = o.recipe[1] = m->recipe;
    TRY_GOTO(status, look_open(&l, m, model, 1, err), out);
    TRY_GOTO(status, from_moco(moco_dataset_from_memory(&set, m->context, &held, NULL), err), out);
    TRY_GOTO(status, from_moco(moco_loader_create(&loader, set, &o), err), out);
    TRY_GOTO(status, views(&l, loader, 1, NULL, err), out);
    TRY_GOTO(status, views(&l, loader, 0, &right, err), out);
    *percent = 100.0 * (double)right / (double)p->held_out;
out:
    moco_loader_free(loader);
    moco_dataset_free(set);
    look_close(&l);
    return status;
}
