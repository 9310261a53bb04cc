/* SPDX-License-Identifier: MIT
 *
 * encode: computes the features of a whole data set. The loader's threads decode the next batches while the network
 * runs. What a reader would get wrong: an image that cannot be read has no row. There may be fewer rows than images,
 * and labels are found by the sample numbers that a batch reports. */
#ifndef MOCO_EXAMPLES_ENCODE_H
#define MOCO_EXAMPLES_ENCODE_H

#include <moco/moco.h>

#include "err.h"
#include "support/unreadable.h"

/* A batch that fills every launch of an encoder, whatever the size of its images. */
#define ENCODE_BATCH 256

struct encode {
    moco_encoder *encoder; /* all borrowed */
    moco_dataset *set;
    const moco_augment_options *recipe;
    moco_embedding what;
    int64_t limit; /* at most so many images, drawn at random with `seed`; 0: all, in order */
    uint64_t seed;
    int workers;
    int64_t max_bad;    /* images that may be unreadable, as of moco_loader_options */
    int (*stop)(void);  /* asked between batches; not 0 ends with MOCO_ECANCELED. NULL: never */
    int64_t max_pixels; /* of a picture; 0: the loader's default */
};

struct encoded {
    int64_t n; /* images that could be read */
    int32_t dim;
    float *features; /* [n][dim] */
    int32_t *labels; /* [n]; -1: none */
    struct unreadable unreadable;
};

/* MOCO_ECANCELED without a sentence if `stop` said so. That nothing could be read (n 0) is left to the caller to judge.
 */
moco_status encode_set(const struct encode *encode, struct encoded *out, struct err *err);
void encoded_free(struct encoded *encoded);

/* Rows [first, first + n) as libmoco takes them. */
moco_tensor encoded_rows(const struct encoded *encoded, int64_t first, int64_t n);

/* What to say when moco_feature_stats says `collapsed`. */
extern const char encode_collapsed[];

/* What the model is now, as an encoder for one thread. Owned. */
moco_status encode_make(moco_encoder **encoder, moco_model *model, moco_precision precision, struct err *err);

/* The precision in which a model is measured that trains in this one: measuring adds no other rounding. */
moco_precision encode_precision(moco_precision training);

int32_t encode_dim(const moco_encoder *encoder, moco_embedding what); /* 0: the encoder is none */

/* The first n images of a batch: `features` [n][dim]. */
moco_status encode_batch(moco_encoder *encoder, moco_embedding what, const moco_batch *batch, int32_t n,
                         float *features, struct err *err);

#endif
