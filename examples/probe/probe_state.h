/* SPDX-License-Identifier: MIT
 *
 * probe_state: the progress of a probe of the slow protocol, as the note in its state file: its data, its options, a
 * line per finished epoch, and the position within the current epoch. One file holds all of it, so that a crash
 * cannot leave two files that disagree. */
#ifndef MOCO_EXAMPLES_PROBE_STATE_H
#define MOCO_EXAMPLES_PROBE_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct probe_epoch {
    double loss, train_top1, top1, top5; /* percent, but for the loss */
};

struct probe_state {
    char head[8192];           /* lines that must be the same to go on: data, classes, encoder, options */
    struct probe_epoch *epoch; /* [count], malloc'ed */
    int64_t count, room;
    int64_t position; /* in the order of the epoch under way, unreadable images among them */
    int64_t images;   /* of it that could be read and were stepped on */
    double loss;      /* sums over its steps, by images */
    double right;
    int64_t unreadable; /* different images, the most that one start of the program met */
};

int64_t probe_state_best(const struct probe_state *state); /* the first epoch of the largest top1; -1: none yet */
moco_status probe_state_add(struct probe_state *state, const struct probe_epoch *epoch, struct err *err);

/* The note, malloc'ed. */
moco_status probe_state_write(const struct probe_state *state, char **note, struct err *err);
/* Is there a line "KEY VALUE" in it? */
int probe_note_has(const char *note, const char *key, const char *value);
/* Takes all but the head from a note; MOCO_EINVAL if its head is another, naming the first line that differs. */
moco_status probe_state_read(struct probe_state *state, const char *path, const char *note, struct err *err);
void probe_state_free(struct probe_state *state);

#endif
