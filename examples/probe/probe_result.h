/* SPDX-License-Identifier: MIT
 *
 * probe_result: probe.json, what linear classification found, for programs to read. Of its fields,
 *   train_images, held_out_images           are images of the data set,
 *   train_unreadable, held_out_unreadable   those of them that could not be read and are left out (train_unreadable:
 *                                           null where no training image was looked at),
 *   scored                                  the held-out images that could be read: what top1, top5, loss and
 *                                           confusion [label][predicted] are over, and "n" of features at most. */
#ifndef MOCO_EXAMPLES_PROBE_RESULT_H
#define MOCO_EXAMPLES_PROBE_RESULT_H

#include <moco/moco.h>

#include "images/open_data.h"
#include "probe_config.h"
#include "probe_state.h"

struct probe_result {
    const struct probe_config *config;
    const struct open_data *data;
    const moco_model_info *encoder;
    const char *encoder_hash;        /* of its tensors, the same before and after */
    const moco_feature_stats *stats; /* of the held-out features */
    const struct probe_state *state; /* the slow protocol's epochs; NULL */
    const moco_probe_options *rates; /* the fast path's, with `rate_top1` (percent) of each; NULL */
    const double *rate_top1;
    moco_score score;         /* of the probe that is reported */
    int64_t train_unreadable; /* -1: no training image was looked at */
    int64_t held_out_unreadable;
    double lr;                /* its learning rate */
    const int64_t *confusion; /* [classes][classes] */
    double seconds;
};

/* main_lincls.py's protocol, the fast path, or an evaluation: one phrase, as probe.json has it. */
const char *probe_protocol(const struct probe_config *config);

moco_status probe_result_save(const struct probe_result *result, const char *path, struct err *err);

#endif
