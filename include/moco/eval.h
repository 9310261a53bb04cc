/* SPDX-License-Identifier: MIT
 *
 * moco/eval.h: how good features are, measured in seconds. It has weighted kNN as in InstDisc and the reference's
 * CIFAR-10 notebook, and statistics of features that need no labels. Linear classification is in moco/probe.h. */
#ifndef MOCO_EVAL_H
#define MOCO_EVAL_H

#include "moco/base.h"
#include "moco/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_knn moco_knn;

/* A classifier of feature vectors of length `dim`. It normalises a vector, finds the `k` nearest vectors of its bank
 * by cosine, and lets them vote with weight exp(cosine / temperature). The search is exact, as that of moco_knn_search,
 * and the same on every device; one that finds neighbours itself (CUDA) gets a copy of the bank in its memory, if that
 * takes at most half of what is free there. Ties go to the smaller label. Owned; it holds a reference on the device.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_knn_create(moco_knn **knn, moco_device *device, int dim, int k, double temperature);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_knn_free(moco_knn *knn);

/* Adds labelled vectors to the bank: f32 [n, dim] (copied, normalised). Labels are >= 0.
 * Errors: MOCO_ESHAPE; MOCO_EINVAL names the label, MOCO_ENUMERIC the row that is not finite; MOCO_ENOMEM.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_knn_add(moco_knn *knn, const moco_tensor *features, const int32_t *labels);

/* Adds the keys of a queue whose keys have length `dim`. `labels` [length] gives the label of the key in each row;
 * -1 leaves a row out, for example one that still holds a random key.
 * Errors: MOCO_ESHAPE (another length), and those of moco_knn_add.
 * Threads: a handle serves one call at a time; on the queue it counts as moco_queue_get. Since 0.1. */
MOCO_API moco_status moco_knn_add_queue(moco_knn *knn, const moco_queue *queue, const int32_t *labels);

/* Predicts the labels of f32 [n, dim]. If the bank holds fewer than k vectors, all of them vote, and the log says so
 * once.
 * Errors: MOCO_ESHAPE; MOCO_ESTATE (the bank is empty); MOCO_ENUMERIC names a row that is not finite; MOCO_ENOMEM,
 * MOCO_EDEVICE.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_knn_classify(moco_knn *knn, const moco_tensor *features, int32_t *labels);

/* The fraction of `labels` that moco_knn_classify predicts right, 0..1.
 * Errors: as moco_knn_classify.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_knn_accuracy(moco_knn *knn, const moco_tensor *features, const int32_t *labels,
                                       double *accuracy);

/* Statistics of features. All of them are computed from rows scaled to length 1, so that the scale of a network's
 * output has no influence. */
typedef struct moco_feature_stats {
    uint32_t struct_size;
    int32_t collapsed;     /* 1: all rows are nearly one point or (with four rows or more) lie on one line: such
                              features cannot distinguish images */
    int64_t n;             /* rows */
    double std_mean;       /* over dimensions, of the standard deviation over rows: 0 to 1/sqrt(dim) */
    double std_min;        /* of the dimension that varies least */
    double effective_rank; /* exp of the entropy of the singular values (rows less their mean): 1 to dim; 0 if all rows
                              are the same */
    double uniformity;     /* log of the mean of exp(-2 |x - y|^2) over all pairs of rows: 0 (one point) down to -4 */
    double alignment;      /* mean of |x - y|^2 over the two views of an image: 0 is perfect; NaN without pairs */
} moco_feature_stats;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_feature_stats_init_sized(moco_feature_stats *stats, size_t size);
#define moco_feature_stats_init(s) moco_feature_stats_init_sized((s), sizeof *(s))

/* Fills `stats` from f32 [n, dim], with n at least 2 and dim at most 8192. `pairs` (NULL: none) holds the features
 * of another view of each image, in the same order. `spectrum` (NULL: not wanted) gets the `dim` eigenvalues of the
 * rows' covariance, largest first. The time grows with n^2 dim and dim^3: 2048 dimensions take seconds, so pass a
 * few thousand rows.
 * Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENUMERIC names a row that is not finite, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_feature_stats_compute(moco_device *device, const moco_tensor *features,
                                                const moco_tensor *pairs, moco_feature_stats *stats, double *spectrum);

#ifdef __cplusplus
}
#endif
#endif
