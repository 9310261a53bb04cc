/* SPDX-License-Identifier: MIT
 *
 * probe_config: the options of linear_probe. The defaults are those of the reference's main_lincls.py. */
#ifndef MOCO_EXAMPLES_PROBE_CONFIG_H
#define MOCO_EXAMPLES_PROBE_CONFIG_H

#include <moco/moco.h>

#include "support/cli_options.h"

struct probe_config {
    char data[CLI_PATH_SIZE], pretrained[CLI_PATH_SIZE], prefix[CLI_PATH_SIZE], resume[CLI_PATH_SIZE],
        out[CLI_PATH_SIZE];
    char arch[CLI_NAME_SIZE], stem[CLI_NAME_SIZE], eval_recipe[CLI_NAME_SIZE], device[CLI_NAME_SIZE],
        precision[CLI_NAME_SIZE], wait[CLI_NAME_SIZE];
    int64_t fast, evaluate, epochs, batch, seed, size, threads, workers, print_every, max_bad, max_pixels, help;
    double lr, momentum, weight_decay;
    struct cli_list milestones;
    unsigned char given[CLI_OPTIONS_MAX];
};

extern const struct cli probe_cli;

/* Defaults, then the arguments, then what follows from them. MOCO_EINVAL with one sentence. */
moco_status probe_config_parse(struct probe_config *config, int argc, char **argv, struct err *err);

/* What the encoder decides unless the command line did: side of the views, and the view of held-out images: the one
 * that its file names, or what its stem suggests. *guessed 1: the file names none. MOCO_EINVAL if -a names another
 * network than the encoder is. */
moco_status probe_config_settle(struct probe_config *config, const moco_model *model, moco_augment_options *eval,
                                int *guessed, struct err *err);

/* The training view of main_lincls.py: crop of 8 to 100 % of the area, flip. */
moco_status probe_config_train_view(const struct probe_config *config, moco_augment_options *train, struct err *err);

void probe_config_options(const struct probe_config *config, int32_t dim, int32_t classes, moco_probe_options *options);

/* Options that decide what is computed, one "name value" a line. */
void probe_config_text(const struct probe_config *config, char *text, size_t size);

#endif
