/* SPDX-License-Identifier: MIT
 *
 * train_help: what train_imagenet --help prints: the two texts around the table of options. */
#ifndef MOCO_EXAMPLES_TRAIN_HELP_H
#define MOCO_EXAMPLES_TRAIN_HELP_H

#include <stdio.h>

void train_help(FILE *to);

#endif
