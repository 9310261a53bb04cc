/* SPDX-License-Identifier: MIT
 *
 * left_out: reports, for people, the files that opening a data set left out because of their names. */
#ifndef MOCO_EXAMPLES_LEFT_OUT_H
#define MOCO_EXAMPLES_LEFT_OUT_H

#include <moco/moco.h>

#include <stddef.h>

/* "28 files: 20 .tiff, 8 .bmp"; "": none. */
void left_out_text(const moco_dataset *set, char *text, size_t size);

/* If pictures that libmoco does not read are among it: one sentence, and how many. `where`: what the set was opened
 * from. */
int64_t left_out_pictures(const moco_dataset *set, const char *where, char *sentence, size_t size);

#endif
