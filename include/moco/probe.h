/* SPDX-License-Identifier: MIT
 *
 * moco/probe.h: linear classification of frozen features, the measure of the MoCo papers. A probe trains one linear
 * softmax classifier for each of up to 16 learning rates side by side, on the same batches.
 *
 * The reference's protocol (main_lincls.py) is one rate of 30, and moco_probe_step on features of freshly augmented
 * images (from moco_model_embed). The fast way is moco_probe_fit with several rates on features of images that are
 * encoded once. It takes seconds and measures nearly the same, but it is another protocol, and results should say
 * so. */
#ifndef MOCO_PROBE_H
#define MOCO_PROBE_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOCO_PROBE_RATES 16

typedef struct moco_probe moco_probe;

/* Defaults: one rate of 30, momentum 0.9, no weight decay, seed 0; dim and classes are 0 and must be set. */
typedef struct moco_probe_options {
    uint32_t struct_size;
    int32_t dim;                 /* length of a feature vector */
    int32_t classes;             /* 2 or more */
    int32_t rates;               /* how many classifiers, 1 to 16; 0: the ten rates 0.003, 0.01, 0.03, ... 30, 100 */
    double lr[MOCO_PROBE_RATES]; /* their learning rates */
    double momentum;             /* of SGD, as PyTorch's */
    double weight_decay;         /* of weights and biases */
    uint64_t seed;               /* of the initial weights, and of the orders of moco_probe_fit */
} moco_probe_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_probe_options_init_sized(moco_probe_options *options, size_t size);
#define moco_probe_options_init(o) moco_probe_options_init_sized((o), sizeof *(o))

/* Makes a probe. Weights are drawn N(0, 0.01), the same for every rate; biases are 0. Options are copied. Owned; it
 * holds a reference on the device.
 * Errors: MOCO_EINVAL names the option, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_probe_create(moco_probe **probe, moco_device *device, const moco_probe_options *options);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_probe_free(moco_probe *probe);

/* The options in effect (with the rates of a sweep) and the number of steps so far. Any output may be NULL.
 * Threads: a handle serves one call at a time; the progress callback of a fit may call it, and evaluate, best,
 * predict and save. Since 0.1. */
MOCO_API moco_status moco_probe_describe(const moco_probe *probe, moco_probe_options *options, int64_t *steps);

/* One step of SGD on f32 [n, dim] and `labels` [n], each 0 to classes - 1; classifier r uses the rate factor *
 * lr[r]. `loss` and `top1` (either may be NULL) get one number per classifier: the mean loss and the fraction right,
 * before the step. On failure nothing changes.
 * Errors: MOCO_ESHAPE; MOCO_EINVAL names the label; MOCO_ENUMERIC: a row or a loss is not finite.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_probe_step(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                     double factor, double *loss, double *top1);

/* Defaults: 100 epochs, batches of 256, a tenth of the rate from epochs 60 and 80 on. */
typedef struct moco_probe_fit_options {
    uint32_t struct_size;
    int32_t epochs;
    int32_t batch_size;                                         /* the last batch of an epoch may be smaller */
    int32_t milestones[3];                                      /* epochs, 0: unused */
    int (*progress)(void *user, int32_t epoch, int32_t epochs); /* after each epoch; returns not 0: stop. NULL: none */
    void *user;
} moco_probe_fit_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_probe_fit_options_init_sized(moco_probe_fit_options *options, size_t size);
#define moco_probe_fit_options_init(o) moco_probe_fit_options_init_sized((o), sizeof *(o))

/* Trains for several epochs on f32 [n, dim] and `labels` [n]. Each epoch has its own order, a function of the
 * probe's seed. `options` NULL: the defaults. The same arguments and device give the same bits.
 * Errors: as moco_probe_step; a wrong label or row is found before anything changes. MOCO_EINVAL also if all labels
 * are one class; MOCO_ECANCELED: progress stopped it, and the steps so far remain.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_probe_fit(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                    const moco_probe_fit_options *options);

/* Sums over the rows that were scored; start from the init macro. */
typedef struct moco_score {
    uint32_t struct_size;
    int32_t rate; /* which classifier, from 0 */
    int64_t n;
    int64_t top1; /* rows whose label has the largest logit */
    int64_t top5; /* rows whose label is among the five largest */
    double loss;  /* sum of cross-entropies */
} moco_score;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_score_init_sized(moco_score *score, size_t size);
#define moco_score_init(s) moco_score_init_sized((s), sizeof *(s))

/* Scores f32 [n, dim] with the classifier of `score->rate` and adds the result to `score`. It also adds to
 * `confusion` [classes, classes] (NULL: not wanted): row `label`, column the predicted class. If logits are equal,
 * the first class wins.
 * Errors: as moco_probe_step; MOCO_EINVAL also for a rate that does not exist.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_probe_evaluate(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                         moco_score *score, int64_t *confusion);

/* Scores every rate on these rows and fills `score` (its old content is dropped) with the best: most rows right, and
 * of equal ones the smaller loss. If a rate is chosen on the same rows that it is then reported on, the result is
 * slightly too good.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_probe_best(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                     moco_score *score);

/* Predicts the class of each row with classifier `rate`.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_probe_predict(moco_probe *probe, int rate, const moco_tensor *features, int32_t *labels);

/* Save and open the classifiers (fc.weight [rates, classes, dim], fc.bias [rates, classes]), their momentum and the
 * number of steps, as a safetensors file, so that training continues to the bit. `note` is a string of the caller,
 * saved beside them (NULL: none); open copies it to `note` (NULL: not wanted), a buffer of `note_size` bytes. The
 * file is written to a temporary file and renamed.
 * Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_ENOMEM; open also MOCO_ESHAPE: the note is longer than note_size.
 * Threads: a handle serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_probe_save(moco_probe *probe, const char *path, const char *note);
MOCO_API moco_status moco_probe_open(moco_probe **probe, moco_device *device, const char *path, char *note,
                                     size_t note_size);

#ifdef __cplusplus
}
#endif
#endif
