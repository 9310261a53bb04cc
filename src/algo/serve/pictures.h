/* SPDX-License-Identifier: MIT
 *
 * pictures: encoded pictures to vectors: decoded and cropped by a loader's threads while the launch before is computed.
 * What a reader would get wrong: a picture that cannot be read has a status of its own and a row of NaN; only what says
 * nothing about a picture (memory, the device, a cancelled call) ends the work. */
#ifndef MOCO_ALGO_PICTURES_H
#define MOCO_ALGO_PICTURES_H

#include "algo/serve/server.h"
#include "moco/data.h"

struct pictures {
    int64_t n;
    const char *const *paths; /* [n], or NULL: */
    const void *const *bytes; /* [n] */
    const size_t *sizes;      /* [n] */
    moco_augment_options recipe;
    int workers;
    int64_t max_pixels;
    moco_status *statuses; /* [n]; NULL: the first picture that is bad ends the work */
    moco_bad_image bad;    /* NULL, or called for every bad picture, at the end */
    void *user;
};

/* out: n rows of server_shape numbers, f32 or (`f64`) f64. */
moco_status pictures_embed(struct server *server, struct ctx *ctx, const struct pictures *pictures,
                           enum embed_what what, void *out, int f64, struct err *err);

#endif
