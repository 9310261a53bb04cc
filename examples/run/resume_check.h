/* SPDX-License-Identifier: MIT
 *
 * resume_check: compares a checkpoint with the command line, the images and the machine before anything is allocated
 * for it. What a reader would get wrong: its hashes are right whoever wrote it. No number of its note is therefore
 * believed unless the state beside it, the length of the file and the images confirm it. Some things may change at a
 * resume: the learning rate, the epochs, and images that were removed. Such changes are reported and remembered. */
#ifndef MOCO_EXAMPLES_RESUME_CHECK_H
#define MOCO_EXAMPLES_RESUME_CHECK_H

#include "checkpoints.h"
#include "images/open_data.h"

struct resume_check {
    moco_context *context;
    moco_device *device;
    const struct open_data *data;
    struct run_config mine; /* what the command line says */
    int conflict;           /* 1: it says otherwise than the checkpoint, in what cannot change */
    /* What is another from here on; "": nothing. */
    char options[400], images[80];
    struct run_config before; /* the checkpoint's options */
    int64_t images_before;
};

/* On success `note` holds the options and images that the run goes on with. MOCO_EFORMAT, MOCO_ESHAPE: the checkpoint
 * is damaged; MOCO_EINVAL: it is not of this command line or of these images. */
moco_status resume_check_note(struct resume_check *check, const char *path, struct run_note *note, struct err *err);

/* When the state is loaded: does the note tell of the same step? Then puts what is another into note->changed. */
moco_status resume_check_state(struct resume_check *check, const char *path, const moco_trainer *trainer,
                               struct run_note *note, struct err *err);

/* Tells a person what is another, and what is no longer to the bit: `step` are made, `per_epoch` of the images now. */
void resume_check_tell(const struct resume_check *check, const struct run_note *note, int64_t step, int64_t per_epoch,
                       void (*warn)(const char *sentence));

#endif
