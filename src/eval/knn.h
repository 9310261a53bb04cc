/* SPDX-License-Identifier: MIT
 *
 * knn: weighted nearest-neighbour classification, as InstDisc and the reference's CIFAR-10 notebook do it: cosine,
 * the k nearest of a bank, votes of weight exp(cosine / temperature). The search is exact. What a reader would get
 * wrong: the bank is in host memory and in f32 on every device (one that finds neighbours itself has a copy), so that
 * features from a file and from a network can be mixed. */
#ifndef MOCO_EVAL_KNN_H
#define MOCO_EVAL_KNN_H

#include <stdint.h>

#include "backend/backend.h"

struct knn;

/* `backend` and `dev` outlive the classifier. */
moco_status knn_create(struct knn **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev, int dim,
                       int k, double temperature, struct err *err);
void knn_free(struct knn *knn);
int knn_dim(const struct knn *knn);

/* Copies n vectors and normalises them; on failure the bank is as it was. MOCO_ENUMERIC names a row that is not finite.
 */
moco_status knn_add(struct knn *knn, const float *features, const int32_t *labels, int64_t n, struct err *err);

/* Labels of n vectors. Equal cosines: the vector added first is nearer; equal votes: the smaller label wins. */
moco_status knn_classify(struct knn *knn, const float *features, int64_t n, int32_t *labels, struct err *err);

#endif
