/* SPDX-License-Identifier: MIT
 *
 * moco/eval.h: the kNN classifier, which holds a reference on its device, and statistics of features. */
#include "moco/eval.h"

#include <string.h>

#include "api/objects.h"
#include "eval/feature_stats.h"
#include "eval/knn.h"

struct moco_knn {
    struct handle handle;
    moco_device *device; /* a counted reference */
    struct knn *knn;
};

static void knn_destroy(struct handle *handle)
{
    moco_knn *knn = (moco_knn *)handle;
    knn_free(knn->knn);
    if (knn->device != NULL)
        handle_unref(&knn->device->handle);
}

static moco_status make(moco_knn **out, moco_device *device, int dim, int k, double temperature, struct err *err)
{
    TRY(api_not_null(out, "knn", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    moco_knn *knn = handle_new(device->handle.ctx, sizeof *knn, HANDLE_KNN, knn_destroy, err);
    if (knn == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    knn->device = device;
    moco_status status =
        knn_create(&knn->knn, device->handle.ctx, device->backend, device->dev, dim, k, temperature, err);
    if (status != MOCO_OK) {
        handle_free(knn, HANDLE_KNN);
        return status;
    }
    *out = knn;
    return MOCO_OK;
}

moco_status moco_knn_create(moco_knn **knn, moco_device *device, int dim, int k, double temperature)
{
    struct err err = {0};
    return api_return(make(knn, device, dim, k, temperature, &err), "moco_knn_create", &err);
}

void moco_knn_free(moco_knn *knn)
{
    handle_free(knn, HANDLE_KNN);
}

/* Of a classifier that the caller has entered. */
static moco_status check(moco_knn *knn, const moco_tensor *features, const int32_t *labels, struct err *err)
{
    int64_t count;
    TRY(tensor_check(features, "features", 0, &count, err));
    TRY(api_not_null(labels, "labels", err));
    if (features->dtype != MOCO_F32 || features->ndim != 2 || features->shape[1] != knn_dim(knn->knn))
        return err_set(err, MOCO_ESHAPE, "features must be f32 [n,%d]", knn_dim(knn->knn));
    return MOCO_OK;
}

static moco_status add(moco_knn *knn, const moco_tensor *features, const int32_t *labels, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, knn, HANDLE_KNN, "knn", err));
    TRY(check(knn, features, labels, err));
    return knn_add(knn->knn, features->data, labels, features->shape[0], err);
}

moco_status moco_knn_add(moco_knn *knn, const moco_tensor *features, const int32_t *labels)
{
    struct err err = {0};
    return api_return(add(knn, features, labels, &err), "moco_knn_add", &err);
}

/* Leaves the labelled rows, and their labels in `kept`. */
static int64_t gather(float *rows, int64_t length, int dim, const int32_t *labels, int32_t *kept)
{
    int64_t n = 0;
    for (int64_t row = 0; row < length; row++) {
        if (labels[row] < 0)
            continue;
        memmove(rows + n * dim, rows + row * dim, sizeof *rows * (size_t)dim);
        kept[n++] = labels[row];
    }
    return n;
}

/* Adds those keys of the queue that have a label, in memory that is freed again. */
static moco_status add_queue(moco_knn *knn, const moco_queue *queue, const int32_t *labels, struct err *err)
{
    struct turn turn HANDLE_TURN, reading HANDLE_TURN;
    TRY(handle_enter(&turn, knn, HANDLE_KNN, "knn", err));
    TRY(handle_enter_nested(&reading, queue, HANDLE_QUEUE, "queue", err));
    TRY(api_not_null(labels, "labels", err));
    struct queue *q = queue->queue;
    queue_land(q);
    struct ctx *ctx = knn->handle.ctx;
    if (q->dim != knn_dim(knn->knn))
        return err_set(err, MOCO_ESHAPE, "the queue's keys have %d numbers; the classifier's vectors have %d", q->dim,
                       knn_dim(knn->knn));
    float *rows = mem_array(ctx, (size_t)q->length, (size_t)q->dim * sizeof *rows, err);
    int32_t *kept = mem_array(ctx, (size_t)q->length, sizeof *kept, err);
    moco_status status = MOCO_ENOMEM;
    if (rows != NULL && kept != NULL)
        status = queue_read(q, rows, err);
    if (status == MOCO_OK)
        status = knn_add(knn->knn, rows, kept, gather(rows, q->length, q->dim, labels, kept), err);
    mem_free(ctx, rows);
    mem_free(ctx, kept);
    return status;
}

moco_status moco_knn_add_queue(moco_knn *knn, const moco_queue *queue, const int32_t *labels)
{
    struct err err = {0};
    return api_return(add_queue(knn, queue, labels, &err), "moco_knn_add_queue", &err);
}

static moco_status classify(moco_knn *knn, const moco_tensor *features, int32_t *labels, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, knn, HANDLE_KNN, "knn", err));
    TRY(check(knn, features, labels, err));
    return knn_classify(knn->knn, features->data, features->shape[0], labels, err);
}

moco_status moco_knn_classify(moco_knn *knn, const moco_tensor *features, int32_t *labels)
{
    struct err err = {0};
    return api_return(classify(knn, features, labels, &err), "moco_knn_classify", &err);
}

static moco_status accuracy(moco_knn *knn, const moco_tensor *features, const int32_t *labels, double *out,
                            struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, knn, HANDLE_KNN, "knn", err));
    TRY(check(knn, features, labels, err));
    TRY(api_not_null(out, "accuracy", err));
    enum { CHUNK = 1024 };
    int32_t predicted[CHUNK];
    int64_t n = features->shape[0], right = 0;
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t rows = n - first < CHUNK ? n - first : CHUNK;
        TRY(knn_classify(knn->knn, (const float *)features->data + first * features->shape[1], rows, predicted, err));
        for (int64_t i = 0; i < rows; i++)
            right += predicted[i] == labels[first + i];
    }
    *out = (double)right / (double)n;
    return MOCO_OK;
}

moco_status moco_knn_accuracy(moco_knn *knn, const moco_tensor *features, const int32_t *labels, double *out)
{
    struct err err = {0};
    return api_return(accuracy(knn, features, labels, out, &err), "moco_knn_accuracy", &err);
}

/* ---- statistics of features ---- */

_Static_assert(sizeof(moco_feature_stats) % 8 == 0, "struct sizes are multiples of 8");

void moco_feature_stats_init_sized(moco_feature_stats *stats, size_t size)
{
    moco_feature_stats defaults = {0};
    struct_init(stats, size, &defaults, sizeof defaults);
}

static moco_status check_rows(const moco_tensor *tensor, const char *name, struct err *err)
{
    int64_t count;
    TRY(tensor_check(tensor, name, 0, &count, err));
    if (tensor->dtype != MOCO_F32 || tensor->ndim != 2)
        return err_set(err, MOCO_ESHAPE, "%s must be f32 [n,dim]", name);
    return MOCO_OK;
}

static moco_status compute_stats(moco_device *device, const moco_tensor *features, const moco_tensor *pairs,
                                 moco_feature_stats *stats, double *spectrum, struct err *err)
{
    struct feature_stats s;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(check_rows(features, "features", err));
    if (pairs != NULL) {
        TRY(check_rows(pairs, "pairs", err));
        if (pairs->shape[0] != features->shape[0] || pairs->shape[1] != features->shape[1])
            return err_set(err, MOCO_ESHAPE, "pairs has shape [%lld,%lld], features [%lld,%lld]; they must be the same",
                           (long long)pairs->shape[0], (long long)pairs->shape[1], (long long)features->shape[0],
                           (long long)features->shape[1]);
    }
    TRY(struct_check(stats, "stats", err));
    int64_t n = features->shape[0], dim = features->shape[1];
    TRY(feature_stats(device->handle.ctx, device->backend, device->dev, features->data,
                      pairs != NULL ? pairs->data : NULL, n, dim > INT32_MAX ? INT32_MAX : (int)dim, &s, spectrum,
                      err));
    moco_feature_stats filled = {.collapsed = s.collapsed,
                                 .n = n,
                                 .std_mean = s.std_mean,
                                 .std_min = s.std_min,
                                 .effective_rank = s.effective_rank,
                                 .uniformity = s.uniformity,
                                 .alignment = s.alignment};
    struct_write(stats, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_feature_stats_compute(moco_device *device, const moco_tensor *features, const moco_tensor *pairs,
                                       moco_feature_stats *stats, double *spectrum)
{
    struct err err = {0};
    return api_return(compute_stats(device, features, pairs, stats, spectrum, &err), "moco_feature_stats_compute",
                      &err);
}
