/* SPDX-License-Identifier: MIT
 *
 * rerun: the command line that continues a run, in a form that a person can paste into a shell. */
#ifndef MOCO_EXAMPLES_RERUN_H
#define MOCO_EXAMPLES_RERUN_H

#include "cli_options.h"

/* PROGRAM FOLDER, the options that were given (`saved` 0: but for those that a checkpoint keeps), and in any case how
 * many threads there were, on which the last bits depend. Returns the length; `size` or more: `text` ends early. */
size_t rerun_resume(const struct cli *cli, const char *folder, const char *out, int threads, const void *values,
                    const unsigned char *given, int saved, char *text, size_t size);

#endif
