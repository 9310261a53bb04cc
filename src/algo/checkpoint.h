/* SPDX-License-Identifier: MIT
 *
 * checkpoint: saves the whole training state to a file and loads it. Nothing in the file depends on time, machine,
 * path or number of threads, so that equal states give equal bytes. */
#ifndef MOCO_ALGO_CHECKPOINT_H
#define MOCO_ALGO_CHECKPOINT_H

#include "algo/trainer.h"

/* `note`: the caller's own UTF-8 text; NULL: none. */
moco_status checkpoint_save(struct trainer *trainer, const char *path, const char *note, struct err *err);
/* On failure nothing has changed. */
moco_status checkpoint_load(struct trainer *trainer, const char *path, struct err *err);

/* Configuration alone, which the file's tensors fit, though their bytes are not read. `note` may be NULL; MOCO_ESHAPE
 * if it does not fit. */
moco_status checkpoint_describe(struct ctx *ctx, const char *path, struct net_config *config,
                                moco_trainer_options *options, int64_t *queue_length, char *note, size_t note_size,
                                struct err *err);

#endif
