/* SPDX-License-Identifier: MIT
 *
 * embed_files: writes the features of a whole data set as files for other programs: F.npy [n, dim], L.npy [n], P.txt
 * with a line for each. What a reader would get wrong: an image that cannot be read has no row in any of them, so
 * that row i is not image i. And no file replaces an old one before all rows are written. */
#ifndef MOCO_EXAMPLES_EMBED_FILES_H
#define MOCO_EXAMPLES_EMBED_FILES_H

#include <moco/moco.h>

#include "err.h"

struct embed_files {
    const char *features, *labels, *paths; /* NULL: not wanted; features are */
    moco_embedding what;
    int normalise; /* rows of length 1 */
};

struct embed_writer;

/* Takes room on the disk for all images of the set. */
moco_status embed_files_begin(struct embed_writer **out, const struct embed_files *files, moco_encoder *encoder,
                              const moco_dataset *images, struct err *err);
moco_status embed_files_add(struct embed_writer *w, moco_encoder *encoder, const moco_batch *batch, struct err *err);
/* Puts all files in their places and frees `w`, also on failure. *rows: how many there are. */
moco_status embed_files_commit(struct embed_writer *w, int64_t *rows, struct err *err);
void embed_files_abandon(struct embed_writer *w); /* NULL is fine */

#endif
