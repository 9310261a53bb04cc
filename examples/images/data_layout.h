/* SPDX-License-Identifier: MIT
 *
 * data_layout: finds out, before anything is opened, how the folder that a person named is organised: which part is
 * trained on, which is held out, and whether another folder was probably meant. What a reader would get wrong: it
 * only looks at names, a few folders deep and a few entries of each. Nothing is read, and a folder of a million
 * files costs no more than a small one. */
#ifndef MOCO_EXAMPLES_DATA_LAYOUT_H
#define MOCO_EXAMPLES_DATA_LAYOUT_H

#include <stddef.h>

#include "err.h"

#define LAYOUT_PATH 4096
#define LAYOUT_NOTES 6

struct data_notes {
    int count;
    char text[LAYOUT_NOTES][512]; /* sentences for a person */
};
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void
data_note(struct data_notes *notes, const char *format, ...);

struct data_layout {
    char train[LAYOUT_PATH];
    char held_out[LAYOUT_PATH]; /* "": nothing */
    char held_name[8];          /* "val" or "test" */
    char other_name[64];        /* "": none; else a folder that would be held out under one of those names */
};

/* MOCO_EINVAL: another folder was meant, clearly enough to be named. */
moco_status data_layout_find(struct data_layout *layout, const char *folder, const char *out, struct data_notes *notes,
                             struct err *err);

int data_layout_is_folder(const char *path);

/* Is there an image in `folder`, or up to two folders below? */
int data_layout_holds_images(const char *folder);

/* Folders at its top whose names do not begin with a dot. */
int data_layout_has_folders(const char *folder);

/* By its ending, a file that libmoco reads. */
int data_layout_is_image(const char *name);

/* One of the words of `name`, between dots, dashes and underscores, is val, test or the like, and none train. */
int data_layout_is_held_out(const char *name);

/* Folders that are no data, wherever they lie: that of this run (`out`, which need not be there), and every other
 * run's. */
int data_layout_is_run(const char *path, const char *out);

/* Why there may be no image in `folder`: ", but ..." or "". */
void data_layout_excuse(const char *folder, char *text, size_t size);

/* Folders at the top of `folder` in which images lie; no more than `most` are counted. */
int data_layout_folders_with_images(const char *folder, int most);

#endif
