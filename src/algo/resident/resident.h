/* SPDX-License-Identifier: MIT
 *
 * resident: the pictures of a data set, decoded whole, in the memory of a device that makes views of them. What a reader
 * would get wrong: one picture that cannot be read is a failure here. A loader replaces it, but which part of a picture is
 * damaged is known to nobody who decodes it whole. */
#ifndef MOCO_ALGO_RESIDENT_H
#define MOCO_ALGO_RESIDENT_H

#include "backend/backend.h"
#include "data/dataset/dataset.h"

struct resident {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    struct be_pictures *pictures;
    int64_t count, bytes;
    int32_t (*side)[2]; /* [count] width and height */
};

/* `be`, `dev` and `ds` are borrowed, ds until it returns. MOCO_ENOTSUP: the device makes no views. MOCO_EFORMAT,
 * MOCO_EIO: a picture cannot be read. MOCO_ENOMEM says how many bytes all take. */
moco_status resident_create(struct resident **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                            const struct dataset *ds, int64_t max_pixels, struct err *err);
/* *bytes of device memory that it would take; -1: not known before its pictures are read. MOCO_ENOTSUP as above. */
moco_status resident_estimate(const struct backend *be, const struct dataset *ds, int64_t *bytes, struct err *err);
void resident_free(struct resident *resident); /* NULL is fine */

#endif
