/* SPDX-License-Identifier: MIT
 *
 * rerun: the command line that does a thing again, as a person can paste it into a shell. */
#ifndef MOCO_EXAMPLES_RERUN_H
#define MOCO_EXAMPLES_RERUN_H

#include "cli_options.h"

/* PROGRAM FOLDER and the options that were given, but for those in `leave_out` (ended by NULL); `saved` 0: those that a
 * checkpoint keeps are left out too. Returns the length; `size` or more: `text` was too small and ends early. */
size_t rerun_command(const struct cli *cli, const char *folder, const void *values, const unsigned char *given,
                     int saved, const char *const *leave_out, char *text, size_t size);

/* Appends `word` behind a blank, in quotes where a shell wants them; returns the new length. */
size_t rerun_add(char *text, size_t size, size_t used, const char *word);

#endif
