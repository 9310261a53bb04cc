/* SPDX-License-Identifier: MIT
 *
 * probing: everything that linear_probe has open, and what both of its protocols do before and after training: the
 * features of images, their statistics, and the result. What a reader would get wrong: the encoder must not change
 * meanwhile. Its hash is therefore taken when it is opened, and compared before anything is reported. */
#ifndef MOCO_EXAMPLES_PROBING_H
#define MOCO_EXAMPLES_PROBING_H

#include <moco/moco.h>

#include "images/open_data.h"
#include "measure/any_encoder.h"
#include "measure/encode.h"
#include "measure/frozen.h"
#include "probe_config.h"
#include "probe_result.h"
#include "probe_state.h"
#include "support/contention.h"
#include "support/unreadable.h"

#define PROBING_STATE "probe_state.safetensors"
#define PROBING_BEST "probe_best.safetensors"

struct probing {
    struct probe_config config;
    moco_context *context;
    moco_device *device;
    moco_model *encoder;    /* as it was opened */
    moco_encoder *features; /* of it, in the precision that was asked for */
    struct any_encoder from;
    moco_model_info info;
    char hash[FROZEN_TEXT];
    struct open_data data;
    int32_t classes;
    moco_augment_options train_view, eval_view;
    int guessed;                    /* eval_view: the encoder's file says nothing of it, nor does the command line */
    struct encoded train, held_out; /* train: --fast only */
    moco_feature_stats stats;
    moco_probe *probe;
    struct probe_state state;
    struct contention contention;
    double begun;
    int32_t threads;
    int lock; /* on the folder, so that no second probe overwrites this one's files */
};

void probing_warn(const char *sentence);
void probing_warn_unreadable(const struct unreadable *u, const char *what);

/* The features of `set`, which `what` ("training") names in sentences. Warns of images that cannot be read, and of
 * classes that lost all of theirs. */
moco_status probing_encode(struct probing *p, moco_dataset *set, const char *what, struct encoded *out,
                           struct err *err);

/* Prints the statistics of the held-out features, and warns if they have collapsed. */
moco_status probing_look(struct probing *p, struct err *err);

/* Scores the classifier of rate number `rate` on the held-out features, prints that and writes probe.json. The caller
 * has set what `result` holds beside: rates, state, unreadable training images. */
moco_status probing_report(struct probing *p, int rate, struct probe_result *result, struct err *err);

#endif
