/* SPDX-License-Identifier: MIT
 *
 * run_dir: the folder of a run and the checkpoints in it. checkpoint_0007.safetensors is the state in or after the
 * eighth epoch: numbers start at 0, as in the reference. */
#ifndef MOCO_EXAMPLES_RUN_DIR_H
#define MOCO_EXAMPLES_RUN_DIR_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define RUN_PATH_SIZE 1200

moco_status run_dir_make(const char *folder, struct err *err); /* with the folders above it; fine if it is there */

/* Numbers of the checkpoints, newest first, malloc'ed (NULL if there are none); the caller frees them after a failure,
 * too. MOCO_EIO: the folder cannot be listed to its end. */
moco_status run_dir_checkpoints(const char *folder, int64_t **numbers, int *count, struct err *err);
moco_status run_dir_count(const char *folder, int *count, struct err *err); /* how many there are */

/* MOCO_ESTATE if the folder holds a run already. `log_counts` 0: a metrics.jsonl alone, of a run that ended before its
 * first checkpoint, is none. */
moco_status run_dir_unused(const char *folder, int log_counts, struct err *err);

/* Is there something of that name? MOCO_EIO: it cannot be said, which is not the same as no. */
moco_status run_dir_has(const char *folder, const char *name, int *there, struct err *err);

int run_dir_same(const char *a, const char *b); /* both are there and one folder, however they are written */

void run_dir_path(const char *folder, const char *name, char path[RUN_PATH_SIZE]);
void run_dir_checkpoint_path(const char *folder, int64_t number, char path[RUN_PATH_SIZE]);

moco_status run_dir_remove_checkpoint(const char *folder, int64_t number, struct err *err);

/* Removes checkpoints, log and encoder, so that the folder can hold a new run. */
moco_status run_dir_forget(const char *folder, struct err *err);

#endif
