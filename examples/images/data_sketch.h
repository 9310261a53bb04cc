/* SPDX-License-Identifier: MIT
 *
 * data_sketch: a small summary of a data set's names, from which one can tell whether another data set is a part of
 * it. Each name below the folder is hashed, and the smallest hashes are kept. If the other set is a part of this
 * one, its small hashes are among them. What a reader would get wrong: it finds other images, and added images, with
 * near certainty only if there are many of them. One image added among thousands is not noticed. */
#ifndef MOCO_EXAMPLES_DATA_SKETCH_H
#define MOCO_EXAMPLES_DATA_SKETCH_H

#include <moco/moco.h>

#define SKETCH_HASHES 32
#define SKETCH_TEXT (16 * SKETCH_HASHES + 1)

struct data_sketch {
    int count;
    uint64_t least[SKETCH_HASHES]; /* ascending */
};

/* Names count from behind the folders in `paths` (see data_source.h), so that a set that has moved is the same. */
void data_sketch_make(struct data_sketch *sketch, const moco_dataset *set, const char *paths);
const char *data_sketch_name(const char *paths, const char *path); /* the rest of `path` */

void data_sketch_add(struct data_sketch *sketch, const char *name); /* one name more; at first `sketch` is all 0 */

void data_sketch_text(const struct data_sketch *sketch, char text[SKETCH_TEXT]);
int data_sketch_parse(struct data_sketch *sketch, const char *text); /* 0: that is none */

/* Is `part` what is left of `whole` when at most about half of it is taken away? */
int data_sketch_is_part(const struct data_sketch *part, const struct data_sketch *whole);

#endif
