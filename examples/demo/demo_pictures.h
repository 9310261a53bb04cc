/* SPDX-License-Identifier: MIT
 *
 * demo_pictures: the pictures that the demo trains on and is measured with, all in memory: pictures that it draws,
 * or a person's own. The held-out ones come first in the block. A permutation decides which they are, so that
 * classes mix. */
#ifndef MOCO_EXAMPLES_DEMO_PICTURES_H
#define MOCO_EXAMPLES_DEMO_PICTURES_H

#include <moco/moco.h>

#include "err.h"
#include "support/unreadable.h"

#define DEMO_TRAIN 10000
#define DEMO_HELD_OUT 1000

struct demo_pictures {
    int size, channels;    /* side; 1: the three channels are equal */
    int64_t held_out, all; /* the first are held out */
    int32_t classes;       /* 0: no labels */
    uint8_t *pixels;       /* [all, size, size, 3] */
    int32_t *labels;       /* [all]; all 0 if there are none */
    char left_out[512];    /* a sentence about pictures that libmoco does not read; "": there are none */
};

moco_status demo_pictures_draw(struct demo_pictures *pictures, int64_t seed, struct err *err);

/* At most DEMO_TRAIN + DEMO_HELD_OUT images of the folder, seen by `view`. Those that cannot be read are left out. */
moco_status demo_pictures_read(struct demo_pictures *pictures, moco_context *context, const char *folder,
                               const moco_augment_options *view, int64_t seed, int batch_size,
                               struct unreadable *unreadable, struct err *err);

void demo_pictures_free(struct demo_pictures *pictures);

const uint8_t *demo_picture(const struct demo_pictures *pictures, int64_t number);

#endif
