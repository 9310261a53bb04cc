/* SPDX-License-Identifier: MIT
 *
 * moco/eval.h: how good features are. Weighted kNN as in InstDisc and the reference's CIFAR-10 notebook. */
#ifndef MOCO_EVAL_H
#define MOCO_EVAL_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_knn moco_knn;

/* A classifier over feature vectors of length `dim`: normalises, finds the `k` nearest of the bank by cosine, and lets
 * them vote with weight exp(cosine / temperature). Exact. Ties go to the smaller label. Owned; holds a reference on the
 * device. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_knn_create(moco_knn **knn, moco_device *device, int dim, int k, double temperature);
MOCO_API void moco_knn_free(moco_knn *knn);

/* Adds labelled vectors, f32 [n, dim] (copied, normalised). Labels are >= 0. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_knn_add(moco_knn *knn, const moco_tensor *features, const int32_t *labels);

/* Predicts labels of f32 [n, dim]. MOCO_ESTATE if the bank is empty; with fewer than k vectors in the bank all of them
 * vote, and the log says so once. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_knn_classify(moco_knn *knn, const moco_tensor *features, int32_t *labels);

/* Convenience: part of `labels` predicted right, 0..1. Since 0.1. */
MOCO_API moco_status moco_knn_accuracy(moco_knn *knn, const moco_tensor *features, const int32_t *labels,
                                       double *accuracy);

#ifdef __cplusplus
}
#endif
#endif
