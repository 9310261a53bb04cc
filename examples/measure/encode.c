/* SPDX-License-Identifier: MIT
 *
 * encode: see encode.h. */
#include "encode.h"

#include <stdlib.h>

#include "support/from_moco.h"

const char encode_collapsed[] = "the features have collapsed: nearly all images have the same one, so that nothing can "
                                "tell them apart; the encoder has "
                                "not learnt, or has unlearnt";

moco_status encode_make(moco_encoder **encoder, moco_model *model, moco_precision precision, struct err *err)
{
    moco_encoder_options options;
    moco_encoder_options_init(&options);
    options.precision = (int32_t)precision;
    options.workspaces = 1;
    return from_moco(moco_encoder_create(encoder, model, &options), err);
}

moco_precision encode_precision(moco_precision training)
{
    return training == MOCO_PRECISION_BF16 || training == MOCO_PRECISION_F64 ? training : MOCO_PRECISION_F32;
}

int32_t encode_dim(const moco_encoder *encoder, moco_embedding what)
{
    moco_encoder_info info;
    moco_encoder_info_init(&info);
    if (moco_encoder_describe(encoder, &info) != MOCO_OK)
        return 0;
    return what == MOCO_PROJECTION ? info.dim : info.feature_dim;
}

moco_status encode_batch(moco_encoder *encoder, moco_embedding what, const moco_batch *batch, int32_t n,
                         float *features, struct err *err)
{
    moco_tensor images, out;
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = n;
    images.shape[1] = batch->h;
    images.shape[2] = batch->w;
    images.shape[3] = 3;
    images.data = (void *)(uintptr_t)batch->view[0];
    moco_tensor_init(&out);
    out.dtype = MOCO_F32;
    out.ndim = 2;
    out.shape[0] = n;
    out.shape[1] = encode_dim(encoder, what);
    out.data = features;
    return from_moco(moco_encoder_embed(encoder, &images, what, &out), err);
}

static moco_status take(const struct encode *e, struct encoded *out, int64_t *most, moco_loader **loader,
                        struct err *err)
{
    int64_t count = moco_dataset_count(e->set);
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = ENCODE_BATCH;
    o.workers = e->workers;
    o.permuted = e->limit > 0 && e->limit < count;
    o.drop_last = 0;
    o.seed = e->seed;
    o.max_bad = e->max_bad;
    o.bad = MOCO_BAD_SKIP;
    o.max_pixels = e->max_pixels;
    o.recipe[0] = e->recipe;
    *most = o.permuted ? e->limit : count;
    out->dim = encode_dim(e->encoder, e->what);
    out->features = malloc(sizeof(float) * (size_t)*most * (size_t)out->dim);
    out->labels = malloc(sizeof(int32_t) * (size_t)*most);
    if (out->features == NULL || out->labels == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory for the features of %lld images", (long long)*most);
    TRY(from_moco(moco_loader_create(loader, e->set, &o), err));
    return from_moco(moco_loader_start(*loader, 0), err);
}

moco_status encode_set(const struct encode *e, struct encoded *out, struct err *err)
{
    moco_loader *loader = NULL;
    moco_batch batch;
    moco_status status;
    int64_t most = 0;
    *out = (struct encoded){0};
    moco_batch_init(&batch);
    TRY_GOTO(status, take(e, out, &most, &loader, err), fail);
    while (out->n < most) {
        if (e->stop != NULL && e->stop()) {
            status = MOCO_ECANCELED;
            goto fail;
        }
        status = moco_loader_next(loader, &batch);
        if (status == MOCO_EEND) /* there were unreadable ones */
            break;
        TRY_GOTO(status, from_moco(status, err), fail);
        int32_t n = batch.n < most - out->n ? batch.n : (int32_t)(most - out->n);
        TRY_GOTO(status, encode_batch(e->encoder, e->what, &batch, n, out->features + out->n * out->dim, err), fail);
        for (int32_t i = 0; i < n; i++)
            out->labels[out->n + i] = moco_dataset_label(e->set, batch.ids[i]);
        out->n += n;
    }
    TRY_GOTO(status, unreadable_ask(&out->unreadable, loader, out->n, err), fail);
    moco_loader_free(loader);
    return MOCO_OK;
fail:
    moco_loader_free(loader);
    encoded_free(out);
    return status;
}

void encoded_free(struct encoded *encoded)
{
    free(encoded->features);
    free(encoded->labels);
    *encoded = (struct encoded){0};
}

moco_tensor encoded_rows(const struct encoded *encoded, int64_t first, int64_t n)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_F32;
    t.ndim = 2;
    t.shape[0] = n;
    t.shape[1] = encoded->dim;
    t.data = encoded->features + first * encoded->dim;
    return t;
}
