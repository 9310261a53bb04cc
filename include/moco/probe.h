/* SPDX-License-Identifier: MIT
 *
 * moco/probe.h: linear classification of frozen features, the measure of the MoCo papers. A probe trains one linear
 * softmax classifier for each of up to 16 learning rates side by side, on the same batches.
 *
 * The reference's protocol (main_lincls.py) is one rate of 30 and moco_probe_step on features of freshly augmented
 * images, which moco_model_embed makes. The fast path is moco_probe_fit on features of images that are encoded once,
 * with several rates: it measures nearly the same and takes seconds, but it is another protocol and should be called
 * so.
 */
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
    int32_t rates;               /* classifiers, 1 to 16; 0: the ten rates 0.003, 0.01, 0.03, ... 30, 100 */
    double lr[MOCO_PROBE_RATES]; /* their learning rates */
    double momentum;             /* of SGD, as PyTorch's */
    double weight_decay;         /* of weights and biases */
    uint64_t seed;               /* of the initial weights, and of the orders of moco_probe_fit */
} moco_probe_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_probe_options_init_sized(moco_probe_options *options, size_t size);
#define moco_probe_options_init(o) moco_probe_options_init_sized((o), sizeof *(o))

/* Weights are drawn N(0, 0.01), the same for every rate; biases are 0. Options are copied. Owned; holds a reference on
 * the device. Errors: MOCO_EINVAL names the option, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_probe_create(moco_probe **probe, moco_device *device, const moco_probe_options *options);

/* NULL is fine. Threads: any, once. Since 0.1. */
MOCO_API void moco_probe_free(moco_probe *probe);

/* The effective options (of a sweep, its rates) and the steps made so far. Any output may be NULL. Threads: one call
 * per handle; progress of a fit may make it, and evaluate, best, predict and save. Since 0.1. */
MOCO_API moco_status moco_probe_describe(const moco_probe *probe, moco_probe_options *options, int64_t *steps);

/* One step of SGD on f32 [n, dim] and `labels` [n], each 0 to classes - 1; rate r moves by factor * lr[r]. `loss` and
 * `top1` (either may be NULL) get one number per rate: mean loss and part right, before the step. On failure nothing
 * has changed. Errors: MOCO_ESHAPE; MOCO_EINVAL names the label; MOCO_ENUMERIC: a row or a loss is not finite. Threads:
 * one call per handle. Since 0.1. */
MOCO_API moco_status moco_probe_step(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                     double factor, double *loss, double *top1);

/* Defaults: 100 epochs, batches of 256, a tenth of the rate from epochs 60 and 80 on. */
typedef struct moco_probe_fit_options {
    uint32_t struct_size;
    int32_t epochs;
    int32_t batch_size;                                         /* the last of an epoch may be smaller */
    int32_t milestones[3];                                      /* epochs, 0: unused */
    int (*progress)(void *user, int32_t epoch, int32_t epochs); /* after each epoch; not 0: stop. NULL: none */
    void *user;
} moco_probe_fit_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_probe_fit_options_init_sized(moco_probe_fit_options *options, size_t size);
#define moco_probe_fit_options_init(o) moco_probe_fit_options_init_sized((o), sizeof *(o))

/* Epochs of steps over f32 [n, dim] and `labels` [n], each epoch in an order of its own that is a function of the
 * probe's seed. `options` NULL: the defaults. The same arguments and device give the same bits. Errors: as of
 * moco_probe_step, before anything has changed where a label or a row is the reason; MOCO_EINVAL too if all labels are
 * one class; MOCO_ECANCELED: progress said stop, the steps made stay made. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_probe_fit(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                    const moco_probe_fit_options *options);

/* Sums over the rows seen; start from the init macro. */
typedef struct moco_score {
    uint32_t struct_size;
    int32_t rate; /* which classifier, from 0 */
    int64_t n;
    int64_t top1; /* rows whose label has the largest logit */
    int64_t top5; /* ... is among the five largest */
    double loss;  /* sum of cross-entropies */
} moco_score;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_score_init_sized(moco_score *score, size_t size);
#define moco_score_init(s) moco_score_init_sized((s), sizeof *(s))

/* Adds the rows of f32 [n, dim] to `score`, for its `rate`; and, unless NULL, to `confusion`, [classes, classes]: row
 * `label`, column the class predicted. Of equal logits the first class comes first. Errors: as of moco_probe_step, and
 * MOCO_EINVAL for a rate that is not there. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_probe_evaluate(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                         moco_score *score, int64_t *confusion);

/* Scores every rate on these rows and fills `score` (what was in it is dropped) with that of the most rows right; of
 * equal ones that with the smaller loss. A rate chosen on the rows it is then judged by is judged a little too well.
 * Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_probe_best(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                     moco_score *score);

/* The class of each row. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_probe_predict(moco_probe *probe, int rate, const moco_tensor *features, int32_t *labels);

/* Classifiers (fc.weight [rates, classes, dim], fc.bias [rates, classes]), momentum and number of steps to a
 * safetensors file and back, so that stepping goes on to the bit. `note` is a caller's own string, saved beside them
 * (NULL: none); open copies it to `note` (NULL: not wanted), which has room for `note_size` bytes. Written to a
 * temporary file and renamed. Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_ENOMEM; of open MOCO_ESHAPE: the note is longer than
 * note_size. Threads: one call per handle. Since 0.1. */
MOCO_API moco_status moco_probe_save(moco_probe *probe, const char *path, const char *note);
MOCO_API moco_status moco_probe_open(moco_probe **probe, moco_device *device, const char *path, char *note,
                                     size_t note_size);

#ifdef __cplusplus
}
#endif
#endif
