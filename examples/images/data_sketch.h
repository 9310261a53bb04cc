/* SPDX-License-Identifier: MIT
 *
 * data_sketch: enough of a data set's names to tell whether another one is a part of it. Each name below the folder is
 * hashed, and the least hashes are kept: of a part of the set, those that are small enough are among them. What a
 * reader would get wrong: it finds other images, and images that were added, with near certainty only if there are
 * many of them; one added among thousands goes unseen. */
#ifndef MOCO_EXAMPLES_DATA_SKETCH_H
#define MOCO_EXAMPLES_DATA_SKETCH_H

#include <moco/moco.h>

#define SKETCH_HASHES 32
#define SKETCH_TEXT (16 * SKETCH_HASHES + 1)

struct data_sketch {
    int count;
    uint64_t least[SKETCH_HASHES]; /* ascending */
};

/* Names count from behind `folder`, so that a set that has moved is the same. */
void data_sketch_make(struct data_sketch *sketch, const moco_dataset *set, const char *folder);

void data_sketch_add(struct data_sketch *sketch, const char *name); /* one name more; at first `sketch` is all 0 */

void data_sketch_text(const struct data_sketch *sketch, char text[SKETCH_TEXT]);
int data_sketch_parse(struct data_sketch *sketch, const char *text); /* 0: that is none */

/* Is `part` what is left of `whole` when at most about half of it is taken away? */
int data_sketch_is_part(const struct data_sketch *part, const struct data_sketch *whole);

#endif
