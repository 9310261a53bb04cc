/* SPDX-License-Identifier: MIT
 *
 * monitor: see monitor.h. Images that cannot be read have no row, so that labels are found by the sample numbers
 * that a batch reports. */
#include "monitor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "encode.h"
#include "support/from_moco.h"

#define BATCH 250
#define BANK_SEED 1 /* of the bank's random choice: the same in every run, so that runs can be compared */

struct sweep {
    const struct monitor *monitor;
    moco_encoder *encoder;
    moco_dataset *set;
    int32_t dim;
    float *features;
    int32_t labels[BATCH], predicted[BATCH];
};

static moco_status open_loader(moco_loader **loader, const struct sweep *s, int permuted, struct err *err)
{
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = BATCH;
    o.workers = s->monitor->workers;
    o.permuted = permuted;
    o.drop_last = 0;
    o.seed = BANK_SEED;
    o.max_bad = s->monitor->max_bad;
    o.bad = MOCO_BAD_SKIP;
    o.max_pixels = s->monitor->max_pixels;
    o.recipe[0] = &s->monitor->recipe;
    return from_moco(moco_loader_create(loader, s->set, &o), err);
}

/* Features and labels of the first n images of a batch. */
static moco_status embed(struct sweep *s, const moco_batch *batch, int32_t n, moco_tensor *features, struct err *err)
{
    moco_tensor_init(features);
    features->dtype = MOCO_F32;
    features->ndim = 2;
    features->shape[0] = n;
    features->shape[1] = s->dim;
    features->data = s->features;
    for (int32_t i = 0; i < n; i++)
        s->labels[i] = moco_dataset_label(s->set, batch->ids[i]);
    return encode_batch(s->encoder, s->monitor->on, batch, n, s->features, err);
}

/* Have the features of a batch collapsed? */
static moco_status look(const struct sweep *s, const moco_tensor *features, struct err *err)
{
    moco_feature_stats stats;
    moco_feature_stats_init(&stats);
    if (features->shape[0] < 2)
        return MOCO_OK;
    moco_status status = moco_feature_stats_compute(s->monitor->device, features, NULL, &stats, NULL);
    if (status == MOCO_EINVAL) /* more dimensions than it takes: not looked at */
        return MOCO_OK;
    TRY(from_moco(status, err));
    if (stats.collapsed)
        s->monitor->warn(encode_collapsed);
    return MOCO_OK;
}

/* Adds at most `limit` images of the set (0: all) to the bank, or (`right` not NULL) classifies them and counts what is
 * right. *done: how many could be read. */
static moco_status run(struct sweep *s, moco_knn *knn, int64_t limit, int64_t *right, int64_t *done,
                       struct unreadable *unreadable, struct err *err)
{
    moco_loader *loader = NULL;
    moco_batch batch;
    moco_tensor features;
    int64_t count = moco_dataset_count(s->set);
    if (limit > 0 && limit < count)
        count = limit;
    moco_batch_init(&batch);
    moco_status status;
    TRY_GOTO(status, open_loader(&loader, s, count < moco_dataset_count(s->set), err), out);
    TRY_GOTO(status, from_moco(moco_loader_start(loader, 0), err), out);
    *done = 0;
    while (*done < count) {
        if (s->monitor->stop != NULL && s->monitor->stop()) {
            status = MOCO_ECANCELED;
            goto out;
        }
        status = moco_loader_next(loader, &batch);
        if (status == MOCO_EEND) /* there were unreadable ones */
            break;
        TRY_GOTO(status, from_moco(status, err), out);
        int32_t n = batch.n < count - *done ? batch.n : (int32_t)(count - *done);
        TRY_GOTO(status, embed(s, &batch, n, &features, err), out);
        if (right != NULL && *done == 0 && s->monitor->warn != NULL)
            TRY_GOTO(status, look(s, &features, err), out);
        if (right == NULL) {
            TRY_GOTO(status, from_moco(moco_knn_add(knn, &features, s->labels), err), out);
        } else {
            TRY_GOTO(status, from_moco(moco_knn_classify(knn, &features, s->predicted), err), out);
            for (int32_t i = 0; i < n; i++)
                *right += s->predicted[i] == s->labels[i];
        }
        *done += n;
    }
    status = unreadable_ask(unreadable, loader, *done, err);
out:
    moco_loader_free(loader);
    return status;
}

moco_status monitor_run(const struct monitor *monitor, moco_model *model, struct monitor_result *result,
                        struct err *err)
{
    *result = (struct monitor_result){.accuracy = NAN};
    struct sweep *s = calloc(1, sizeof *s);
    moco_knn *knn = NULL;
    int64_t right = 0;
    moco_status status;
    if (s == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    s->monitor = monitor;
    TRY_GOTO(status, encode_make(&s->encoder, model, monitor->precision, err), out);
    s->dim = encode_dim(s->encoder, monitor->on);
    s->features = malloc(sizeof(float) * BATCH * (size_t)s->dim);
    if (s->features == NULL) {
        status = err_set(err, MOCO_ENOMEM, "out of memory");
        goto out;
    }
    int64_t bank = moco_dataset_count(monitor->bank);
    if (monitor->bank_limit > 0 && monitor->bank_limit < bank)
        bank = monitor->bank_limit;
    int k = monitor->k < bank ? monitor->k : (int)bank;
    TRY_GOTO(status, from_moco(moco_knn_create(&knn, monitor->device, s->dim, k, monitor->temperature), err), out);
    s->set = monitor->bank;
    TRY_GOTO(status, run(s, knn, monitor->bank_limit, NULL, &result->bank, &result->of_bank, err), out);
    if (result->bank == 0)
        goto out;
    s->set = monitor->queries;
    TRY_GOTO(status, run(s, knn, 0, &right, &result->queries, &result->of_queries, err), out);
    if (result->queries > 0)
        result->accuracy = (double)right / (double)result->queries;
out:
    moco_knn_free(knn);
    moco_encoder_free(s->encoder);
    free(s->features);
    free(s);
    return status;
}
