/* SPDX-License-Identifier: MIT
 *
 * train_help: the text of train_imagenet --help before and after the table of options. */
#ifndef MOCO_EXAMPLES_TRAIN_HELP_H
#define MOCO_EXAMPLES_TRAIN_HELP_H

#include <stdio.h>

void train_help(FILE *to);

#endif
