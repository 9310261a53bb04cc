/* SPDX-License-Identifier: MIT
 *
 * probe: linear classifiers on frozen features, trained by SGD on softmax cross-entropy, as main_lincls.py does it.
 * One probe trains up to PROBE_RATES classifiers side by side, one per learning rate, on the same batches. Their
 * weights are stacked, so that all of them are one matrix product. What a reader would get wrong: the classifiers
 * start from the same weights and do not influence each other. Each has the bits that it would have alone, up to the
 * order of sums. */
#ifndef MOCO_EVAL_PROBE_H
#define MOCO_EVAL_PROBE_H

#include <stdint.h>

#include "backend/backend.h"

#define PROBE_RATES 16

struct probe_config {
    int dim, classes, rates;
    double lr[PROBE_RATES];
    double momentum, weight_decay;
    uint64_t seed; /* of initial weights, and of the orders of probe_fit */
};

struct probe {
    struct ctx *ctx;
    const struct backend *backend; /* outlives the probe, with `dev` */
    struct be_device *dev;
    struct probe_config config;
    int64_t steps;
    float *weight, *weight_v; /* [rates][classes][dim]: classifiers, and their SGD momentum */
    float *bias, *bias_v;     /* [rates][classes] */
    float *weight_g, *bias_g; /* gradients of one step */
    float *logits;            /* room for a block of rows */
    int64_t logits_room;
};

/* Sums over the rows seen. */
struct probe_score {
    int64_t n, top1, top5;
    double loss;
};

/* weight ~ N(0, 0.01), bias 0. */
moco_status probe_create(struct probe **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                         const struct probe_config *config, struct err *err);
void probe_free(struct probe *probe);

/* One step of SGD with momentum on n rows; rate r moves by factor * lr[r]. Per rate, unless NULL: the mean loss and the
 * part right, before the step. On failure (a label that is no class, a row or a loss that is not finite) nothing has
 * changed. */
moco_status probe_step(struct probe *probe, const float *features, const int32_t *labels, int64_t n, double factor,
                       double *loss, double *top1, struct err *err);

struct probe_fit {
    int epochs, batch;
    int milestones[3];                                  /* epochs from which on the rate is a tenth; 0: unused */
    int (*progress)(void *user, int epoch, int epochs); /* after each epoch; not 0 ends with MOCO_ECANCELED; NULL */
    void *user;
};

/* `epochs` epochs over n rows in a new order each; the last batch of an epoch may be smaller. */
moco_status probe_fit(struct probe *probe, const float *features, const int32_t *labels, int64_t n,
                      const struct probe_fit *fit, struct err *err);

/* Adds n rows to `score` and, at [label][predicted], to `confusion` ([classes][classes], or NULL). A class is predicted
 * if no other has a larger logit; of equal ones the first. */
moco_status probe_evaluate(struct probe *probe, int rate, const float *features, const int32_t *labels, int64_t n,
                           struct probe_score *score, int64_t *confusion, struct err *err);
moco_status probe_predict(struct probe *probe, int rate, const float *features, int64_t n, int32_t *labels,
                          struct err *err);

/* The rate with the most rows right; of equal ones that with the smaller loss, then the first. */
moco_status probe_best(struct probe *probe, const float *features, const int32_t *labels, int64_t n, int *rate,
                       struct probe_score *score, struct err *err);

/* ---- probe_file.c ---- */

/* Classifiers, momentum and steps; `note` may be NULL. */
moco_status probe_save(struct probe *probe, const char *path, const char *note, struct err *err);
/* `note` (NULL: not wanted) has room for note_size bytes. */
moco_status probe_open(struct probe **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                       const char *path, char *note, size_t note_size, struct err *err);

#endif
