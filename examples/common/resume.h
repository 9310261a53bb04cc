/* SPDX-License-Identifier: MIT
 *
 * resume: from which checkpoint a run goes on. `auto` tries those of the run folder from the newest back: one that
 * is no checkpoint, or fails verification when it is loaded, is passed over with a warning. One that cannot be read is
 * not: what a disk or a network refuses for a moment is no damage, and ends the program. */
#ifndef MOCO_EXAMPLES_RESUME_H
#define MOCO_EXAMPLES_RESUME_H

#include "checkpoints.h"
#include "run_dir.h"

struct resume {
    moco_context *context;
    const char *folder; /* of `auto`; NULL: one file was named */
    int64_t *numbers;
    int count, at;
    char path[RUN_PATH_SIZE]; /* the current candidate */
    char from[RUN_PATH_SIZE]; /* the folder that it lies in */
    void (*warn)(const char *sentence);
};

/* `what` is --resume's value; *found says whether there is anything to resume. Fills `note` from the first candidate
 * whose note can be read. */
moco_status resume_open(struct resume *resume, moco_context *context, const char *what, const char *folder,
                        void (*warn)(const char *sentence), struct run_note *note, int *found, struct err *err);

/* Loads the candidate, or the next older one that is whole; `note` follows. */
moco_status resume_load(struct resume *resume, moco_trainer *trainer, struct run_note *note, struct err *err);

void resume_close(struct resume *resume);

#endif
