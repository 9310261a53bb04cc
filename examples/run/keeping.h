/* SPDX-License-Identifier: MIT
 *
 * keeping: which checkpoints of a run are kept: the newest, and one of every so many epochs. What a reader would get
 * wrong: an older checkpoint is removed only by a rule that the run was begun with, or that the command line names.
 * A run that kept all of them, and is resumed without naming a rule, keeps those that it has. */
#ifndef MOCO_EXAMPLES_KEEPING_H
#define MOCO_EXAMPLES_KEEPING_H

#include "run_config.h"

struct keeping {
    int64_t newest; /* so many stay; 0: all */
    int64_t every;  /* and those after each epoch that this divides, counted from 1; 0: no more */
    int64_t from;   /* older ones than this number are left alone */
};

/* Fills in --keep-every where it was left to the program: all of a short run, ten of a long one. */
void keeping_settle(struct run_config *config);

/* Before the first save. */
moco_status keeping_begin(struct keeping *keeping, const struct run_config *config, void (*warn)(const char *sentence),
                          struct err *err);

/* Removes what need not stay. */
moco_status keeping_prune(const struct keeping *keeping, const char *folder, struct err *err);

/* Checkpoints at the end of a run of `epochs`, at most. */
int64_t keeping_count(const struct run_config *config);

#endif
