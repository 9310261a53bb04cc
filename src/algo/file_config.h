/* SPDX-License-Identifier: MIT
 *
 * file_config: the values in `__metadata__` of files that hold an encoder or a training state. Configurations are
 * compared value by value: words and whole numbers as text, other numbers by their value. A sentence about a
 * difference shows what the file really says. */
#ifndef MOCO_ALGO_FILE_CONFIG_H
#define MOCO_ALGO_FILE_CONFIG_H

#include "format/safetensors.h"
#include "moco/data.h"
#include "moco/trainer.h"
#include "net/net.h"

enum file_kind { FILE_ENCODER, FILE_TRAINER, FILE_PROBE, FILE_BANK, FILE_BACKBONE };

/* Format, version and kind: the first thing in every file of ours. */
moco_status config_put_kind(struct safetensors_metadata *m, enum file_kind kind, struct err *err);
moco_status config_get_kind(const struct safetensors *f, enum file_kind *kind, struct err *err);
const char *config_kind_words(enum file_kind kind); /* for sentences: "an encoder" */

moco_status config_put_model(struct safetensors_metadata *m, const struct net_config *config, struct err *err);
moco_status config_get_model(const struct safetensors *f, struct net_config *config, struct err *err);

/* The recipe that an encoder was evaluated with. Put: nothing if its size is 0. Get: as it was if the file has none. */
moco_status config_put_recipe(struct safetensors_metadata *m, const moco_augment_options *recipe, struct err *err);
moco_status config_get_recipe(const struct safetensors *f, moco_augment_options *recipe, struct err *err);

/* `o` with what 0 stood for in precision and groups_per_launch. */
moco_status config_put_trainer(struct safetensors_metadata *m, const moco_trainer_options *o, int64_t queue_length,
                               size_t real_bytes, struct err *err);
moco_status config_get_trainer(const struct safetensors *f, moco_trainer_options *o, int64_t *queue_length,
                               struct err *err);

/* Bytes of the numbers that the training state is of. */
moco_status config_get_real(const struct safetensors *f, size_t *real_bytes, struct err *err);

/* A value that the file holds and a check of options refused (MOCO_EINVAL) is the file's fault: MOCO_EFORMAT, with its
 * path in front of the sentence. Other statuses pass through. */
moco_status config_bad(const struct safetensors *f, moco_status status, struct err *err);

/* The caller's own string; "" if there is none. NULL: not wanted. MOCO_ESHAPE: longer than `size` bytes with its 0. */
moco_status config_get_note(const struct safetensors *f, char *note, size_t size, struct err *err);

/* Every value of `ours` whose key starts with `prefix` must be the same in the file; otherwise it returns `status`.
 * A key that was added after the first version of the format may be missing: its value is then what was done before
 * there was a choice. The seed of the weights and the expected image size do not matter to a state, which brings its
 * own. groups_per_launch is not compared, because a resumed training may have another value; checkpoint.c decides
 * about the precision. */
moco_status config_compare(const struct safetensors *f, const struct safetensors_metadata *ours, const char *prefix,
                           moco_status status, struct err *err);

#endif
