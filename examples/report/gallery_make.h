/* SPDX-License-Identifier: MIT
 *
 * gallery_make: writes gallery.json from an encoder and its data sets. It embeds a few thousand images and leaves
 * the encoder unchanged. The images are the same each time, so that one can follow them over epochs. Images that
 * cannot be read are left out, and the file says how many ("unreadable"). MOCO_EINVAL if none is left. */
#ifndef MOCO_EXAMPLES_GALLERY_MAKE_H
#define MOCO_EXAMPLES_GALLERY_MAKE_H

#include <moco/moco.h>

#include "err.h"

#define GALLERY_MAP_IMAGES 1000 /* that the driver embeds */
#define GALLERY_BANK_IMAGES 5000

struct gallery_plan {
    moco_device *device;            /* all borrowed */
    moco_dataset *train, *held_out; /* held_out NULL: the map is one of training images */
    moco_augment_options view, eval;
    const char *recipe;            /* name of the training view */
    const char *const *class_name; /* NULL: those of the data set */
    moco_embedding on;
    moco_precision precision; /* of the encoder */
    uint64_t seed;            /* of the run: views are those that its epochs draw */
    int workers;
    int64_t max_bad, max_pixels;        /* max_pixels 0: the loader's default */
    int (*stop)(void);                  /* asked between batches; non-zero ends with MOCO_ECANCELED. NULL: never */
    int64_t map_limit, bank_limit;      /* images embedded at most */
    void (*warn)(const char *sentence); /* called for images that could not be read; NULL: not wanted */
    double seconds; /* and no more than this takes, but for the first batch of each; 0: as long as it takes */
};

moco_status gallery_make(const struct gallery_plan *plan, moco_model *model, const char *folder, int64_t epoch,
                         int64_t step, struct err *err);

#endif
