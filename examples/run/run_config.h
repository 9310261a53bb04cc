/* SPDX-License-Identifier: MIT
 *
 * run_config: all options of train_imagenet, and what they mean for libmoco. A preset gives the defaults, and the
 * command line overrides them. Options marked `saved` in the table decide what is computed. A checkpoint stores
 * them, and at a resume its values win, except those of the learning rate. */
#ifndef MOCO_EXAMPLES_RUN_CONFIG_H
#define MOCO_EXAMPLES_RUN_CONFIG_H

#include <moco/moco.h>

#include "support/cli_options.h"

#define NOTE_SIZE 8192
#define NOTE_PATHS 1000 /* bytes of a path in it, as note_text writes them */

struct run_config {
    char data[CLI_PATH_SIZE], out[CLI_PATH_SIZE], resume[CLI_PATH_SIZE], save_index[CLI_PATH_SIZE],
        tuning[CLI_PATH_SIZE], init[CLI_PATH_SIZE], prefix[CLI_PATH_SIZE];
    char preset[CLI_NAME_SIZE], arch[CLI_NAME_SIZE], stem[CLI_NAME_SIZE], head[CLI_NAME_SIZE];
    char augment[CLI_PATH_SIZE]; /* changes to the recipe: see augment_text.h */
    char recipe[CLI_NAME_SIZE], eval_recipe[CLI_NAME_SIZE], lr_schedule[CLI_NAME_SIZE];
    char device[CLI_NAME_SIZE], precision[CLI_NAME_SIZE], ranks[CLI_NAME_SIZE], wait[CLI_NAME_SIZE],
        knn_on[CLI_NAME_SIZE], views[CLI_NAME_SIZE];
    char negatives[CLI_NAME_SIZE], encoder_k[CLI_NAME_SIZE], loss[CLI_NAME_SIZE], optimizer[CLI_NAME_SIZE];
    int64_t size, dim, queue, batch, group, groups_per_launch, recompute, epochs, seed, symmetric, shuffle, interleave;
    int64_t zero_init, warmup_epochs;
    int64_t verify, max_bad, max_pixels, keep, keep_every;
    int64_t workers, threads, print_every, max_steps, report, tensorboard, knn_every, knn_k, knn_bank, dry_run, help;
    double checkpoint_minutes, silence, width, lr, trust, momentum, weight_decay, key_momentum, temperature,
        knn_temperature;
    struct cli_list milestones;
    unsigned char given[CLI_OPTIONS_MAX]; /* options that the command line named */
};

extern const struct cli run_cli;

/* Defaults of the preset that the arguments name, then the arguments. MOCO_EINVAL with one sentence. */
moco_status run_config_parse(struct run_config *config, int argc, char **argv, struct err *err);

/* What cannot be checked option by option. `resume_auto` and the run folder are not looked at. */
moco_status run_config_check(const struct run_config *config, struct err *err);

/* --precision auto becomes what the device does best, which a resumed run keeps on any machine. */
void run_config_settle(struct run_config *config, const moco_device_info *device);

/* The structs of libmoco; strings in them are borrowed from `config`. */
void run_config_model(const struct run_config *config, moco_model_options *options);
void run_config_trainer(const struct run_config *config, moco_trainer_options *options);

/* Both training views, and the un-augmented view that the kNN monitor looks at. */
moco_status run_config_views(const struct run_config *config, moco_augment_options *train, moco_augment_options *eval,
                             struct err *err);

/* The learning rate of a step; `step` counts from 0 over the whole run. */
double run_config_lr(const struct run_config *config, int64_t step, int64_t steps_per_epoch);

/* The saved options as members of a JSON object: "arch":"resnet50","lr":0.03. Returns the length, or
 * `size` if that is too small. */
size_t run_config_json(const struct run_config *config, char *text, size_t size);

/* Takes one member of that object and marks it in `taken` [CLI_OPTIONS_MAX]. MOCO_EFORMAT: its value is none;
 * MOCO_ENOTSUP: no such option is known, so the checkpoint is whole and a later version's. */
moco_status run_config_take(struct run_config *config, const char *key, const char *value, unsigned char *taken,
                            struct err *err);
/* Once all members were taken. MOCO_EFORMAT: an option is missing. */
moco_status run_config_complete(struct run_config *config, const unsigned char *taken, struct err *err);

/* Puts those options that `mine` names into `saved`, where the rates alone follow from them: `changes` lists what is
 * another now ("lr 0.01 (was 0.03)"; "": nothing). MOCO_EINVAL if another option that it names differs; the sentence
 * lists both values. */
moco_status run_config_revise(const struct run_config *mine, struct run_config *saved, char *changes, size_t size,
                              struct err *err);

#endif
