/* SPDX-License-Identifier: MIT
 *
 * moco/preset.h: published configurations by name (presets), and learning-rate schedules as pure functions. */
#ifndef MOCO_PRESET_H
#define MOCO_PRESET_H

#include "moco/base.h"
#include "moco/data.h"
#include "moco/model.h"
#include "moco/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum moco_schedule {
    MOCO_SCHEDULE_STEPS = 0,        /* the rate is multiplied by 0.1 at each milestone epoch */
    MOCO_SCHEDULE_COSINE = 1,       /* per epoch, e counted from 0 */
    MOCO_SCHEDULE_COSINE_FROM1 = 2, /* per epoch, e counted from 1 (the CIFAR notebook): the last epoch has lr 0 */
    MOCO_SCHEDULE_COSINE_STEP = 3,  /* per step over the whole run, after a warm-up of warmup_epochs */
    MOCO_SCHEDULE_MAX_ = 0x7fffffff
} moco_schedule;

/* What a run needs in addition to the options of model, trainer and views. Those are filled by the calls below. */
typedef struct moco_preset {
    uint32_t struct_size;
    int32_t epochs;
    char name[32];
    char source[160];     /* where the numbers were published */
    int64_t queue_length; /* K; 0: negatives come from the batch, and the trainer takes no queue */
    double lr;
    int32_t schedule;      /* moco_schedule */
    int32_t milestones[3]; /* epochs; 0: unused */
    int32_t knn_k;
    int32_t knn_projection; /* 1: kNN on the head's output, 0: on the backbone's features */
    double knn_temperature;
    char recipe[16]; /* of both training views, for moco_augment_options_preset */
    char eval_recipe[16];
    int32_t image_size;
    int32_t warmup_epochs; /* of moco_lr_warmup_cosine; 0: none */
} moco_preset;
/* Fills `preset` by name: "moco-v1", "moco-v2", "cifar10", "demo"; "simclr", "simclr-cifar10"; "end-to-end" (MoCo v2
 * with the keys of the batch as negatives, back-propagated). lr belongs to the preset's batch size; SimCLR scales it
 * with the batch.
 * Errors: MOCO_EINVAL; MOCO_ENOTFOUND lists the names.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_preset_get_sized(moco_preset *preset, size_t size, const char *name);
#define moco_preset_get(p, name) moco_preset_get_sized((p), sizeof *(p), (name))

/* Fill the options of network and training with those of a preset; the strings inside are static. No preset names a
 * precision: it stays MOCO_PRECISION_AUTO, which is bf16 on a CPU or GPU with instructions for it. Set MOCO_PRECISION_F32
 * for a run that every machine can repeat.
 * Errors: MOCO_EINVAL, MOCO_ENOTFOUND.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_model_options_preset_sized(moco_model_options *options, size_t size, const char *name);
MOCO_API moco_status moco_trainer_options_preset_sized(moco_trainer_options *options, size_t size, const char *name);
#define moco_model_options_preset(o, name) moco_model_options_preset_sized((o), sizeof *(o), (name))
#define moco_trainer_options_preset(o, name) moco_trainer_options_preset_sized((o), sizeof *(o), (name))

/* The name of preset `index`; NULL past the end.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_preset_name(int index);

/* The learning rate of a step by the preset's own schedule. `step` counts the steps of the run from 0; an epoch has
 * `steps_per_epoch` of them, and the run has `epochs` epochs (preset->epochs, or another length; the milestones do
 * not move). Change preset->lr to scale the rate. Returns NAN, which moco_trainer_step refuses, if `preset` is NULL
 * or was not filled by moco_preset_get, or if steps_per_epoch is below 1.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API double moco_preset_lr(const moco_preset *preset, int64_t step, int64_t steps_per_epoch, int64_t epochs);

/* lr * 0.5 * (1 + cos(pi * t / total)), with t and total in epochs or in steps.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API double moco_lr_cosine(double lr, double t, double total);

/* lr * t / warmup while t < warmup, then a cosine from lr at t = warmup to 0 at t = total. All three have one unit,
 * usually steps (google-research/simclr). With warmup 0 it is moco_lr_cosine.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API double moco_lr_warmup_cosine(double lr, double t, double warmup, double total);

/* lr * factor^(number of milestones <= epoch). Entries of 0 are unused, as in moco_preset.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API double moco_lr_steps(double lr, int64_t epoch, const int32_t *milestones, int count, double factor);

#ifdef __cplusplus
}
#endif
#endif
