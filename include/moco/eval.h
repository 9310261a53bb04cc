/* SPDX-License-Identifier: MIT
 *
 * moco/eval.h: how good features are, in seconds: weighted kNN as in InstDisc and the reference's CIFAR-10 notebook,
 * and what can be said of features without any label. Linear classification is in moco/probe.h. */
#ifndef MOCO_EVAL_H
#define MOCO_EVAL_H

#include "moco/base.h"
#include "moco/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_knn moco_knn;

/* A classifier over feature vectors of length `dim`: normalises, finds the `k` nearest of the bank by cosine, and lets
 * them vote with weight exp(cosine / temperature). Exact. Ties go to the smaller label. Owned; holds a reference on the
 * device. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_knn_create(moco_knn **knn, moco_device *device, int dim, int k, double temperature);

/* NULL is fine. Threads: any, once. Since 0.1. */
MOCO_API void moco_knn_free(moco_knn *knn);

/* Adds labelled vectors, f32 [n, dim] (copied, normalised). Labels are >= 0. Errors: MOCO_ESHAPE; MOCO_EINVAL
 * names the label, MOCO_ENUMERIC a row that is not finite, MOCO_ENOMEM. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_knn_add(moco_knn *knn, const moco_tensor *features, const int32_t *labels);

/* Adds the keys of a queue of length-`dim` keys: `labels` [length] says what the key in each row is, -1 leaves it out,
 * such as the rows that hold random keys still. Errors: MOCO_ESHAPE: another dim; as of moco_knn_add. Threads: one call
 * per handle, and on the queue as moco_queue_get. Since 0.1. */
MOCO_API moco_status moco_knn_add_queue(moco_knn *knn, const moco_queue *queue, const int32_t *labels);

/* Predicts labels of f32 [n, dim]. MOCO_ESTATE if the bank is empty; with fewer than k vectors in the bank all of them
 * vote, and the log says so once. MOCO_ENUMERIC names a row that is not finite. Threads: one call per handle.
 * Since 0.1. */
MOCO_API moco_status moco_knn_classify(moco_knn *knn, const moco_tensor *features, int32_t *labels);

/* Convenience: part of `labels` predicted right, 0..1. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_knn_accuracy(moco_knn *knn, const moco_tensor *features, const int32_t *labels,
                                       double *accuracy);

/* All of it is of rows scaled to length 1, so that the scale of a network's output plays no part. */
typedef struct moco_feature_stats {
    uint32_t struct_size;
    int32_t collapsed;     /* 1: nearly one point, or (of four rows or more) one line; nothing can be told apart by such
                              features */
    int64_t n;             /* rows */
    double std_mean;       /* over dimensions, of the standard deviation over rows: 0 to 1/sqrt(dim) */
    double std_min;        /* of the dimension that varies least */
    double effective_rank; /* exp of the entropy of the singular values (rows less their mean): 1 to dim; 0 if all rows
                              are the same */
    double uniformity;     /* log of the mean of exp(-2 |x - y|^2) over all pairs of rows: 0 (one point) down to -4 */
    double alignment;      /* mean of |x - y|^2 over the two views of an image: 0 is perfect; NaN without pairs */
} moco_feature_stats;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_feature_stats_init_sized(moco_feature_stats *stats, size_t size);
#define moco_feature_stats_init(s) moco_feature_stats_init_sized((s), sizeof *(s))

/* Fills `stats` from f32 [n, dim], n at least 2, dim at most 8192. `pairs` (NULL: none) are the features of another
 * view of each image, in the same order. `spectrum` (NULL: not wanted) gets the `dim` eigenvalues of the rows'
 * covariance, largest first. Time grows with n^2 dim and dim^3: 2048 dimensions take seconds; give it a few thousand
 * rows. Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENUMERIC names a row that is not finite, MOCO_ENOMEM. Threads: any.
 * Since 0.1. */
MOCO_API moco_status moco_feature_stats_compute(moco_device *device, const moco_tensor *features,
                                                const moco_tensor *pairs, moco_feature_stats *stats, double *spectrum);

#ifdef __cplusplus
}
#endif
#endif
