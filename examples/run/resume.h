/* SPDX-License-Identifier: MIT
 *
 * resume: chooses the checkpoint that a run continues from. `auto` tries those of the run folder, newest first. One
 * that is not a checkpoint, or fails verification when it is loaded, is skipped with a warning. One that cannot be
 * read is not skipped: a disk or a network may have refused it for a moment, which is no damage. That ends the
 * program. */
#ifndef MOCO_EXAMPLES_RESUME_H
#define MOCO_EXAMPLES_RESUME_H

#include "folder/run_dir.h"
#include "resume_check.h"

struct resume {
    struct resume_check check;
    const char *folder; /* of `auto`; NULL: one file was named */
    int64_t *numbers;
    int count, at;
    char path[RUN_PATH_SIZE]; /* the current candidate */
    char from[RUN_PATH_SIZE]; /* the folder that it lies in */
    void (*warn)(const char *sentence);
};

/* `check` (copied) holds what the command line says, --resume among it; *found says whether there is anything to
 * resume. Fills `note` from the first candidate whose note is good. */
moco_status resume_open(struct resume *resume, const struct resume_check *check, void (*warn)(const char *sentence),
                        struct run_note *note, int *found, struct err *err);

/* Loads the candidate, or the next older one that is whole; `note` follows. */
moco_status resume_load(struct resume *resume, moco_trainer *trainer, struct run_note *note, struct err *err);

/* 1: the run continues from a named file that is in another folder than its own. */
int resume_from_elsewhere(const struct resume *resume);

/* MOCO_ESTATE: going on from a file that was named, at `epoch`, would mix two runs in the run folder. */
moco_status resume_check_out(const struct resume *resume, int64_t epoch, struct err *err);

void resume_close(struct resume *resume);

#endif
