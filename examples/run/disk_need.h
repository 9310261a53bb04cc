/* SPDX-License-Identifier: MIT
 *
 * disk_need: how much a run will have written when it ends, compared with the free space of the file system. Nearly
 * all of it is checkpoints. */
#ifndef MOCO_EXAMPLES_DISK_NEED_H
#define MOCO_EXAMPLES_DISK_NEED_H

#include "run_config.h"

struct disk_need {
    int64_t checkpoint; /* bytes of one */
    int64_t count;      /* of checkpoints, with the one that is written beside them */
    int64_t all;
    int64_t left; /* bytes that this user may still write where the run folder is or would be made; -1: unknown */
};

/* `parameters`: trainable numbers of the encoder. Checkpoints that a resumed run finds in its folder count as written.
 */
void disk_need(struct disk_need *need, const struct run_config *config, int64_t parameters);

/* Fits, or that is not known: 0. Else 1 and one sentence. */
int disk_need_lacks(const struct disk_need *need, const struct run_config *config, char *sentence, size_t size);

#endif
