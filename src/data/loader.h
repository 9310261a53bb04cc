/* SPDX-License-Identifier: MIT
 *
 * loader: makes batches of views from the samples of an epoch, by threads or on the calling one. What a batch holds,
 * which images count as bad and which error comes when are functions of data set, options, epoch and position alone;
 * workers only change the time. What a reader would get wrong: batch_size and positions are those of all ranks
 * together, the rows of a batch are those of this rank. */
#ifndef MOCO_DATA_LOADER_H
#define MOCO_DATA_LOADER_H

#include "ctx.h"
#include "data/dataset/dataset.h"
#include "data/view/augment.h"
#include "moco/data.h"

/* Memory for views that a device reads faster than ordinary one. MOCO_ENOMEM: there is none left, and the loader takes
 * ordinary memory. Any thread may give back. */
struct loader_memory {
    moco_status (*take)(void *user, size_t bytes, void **out, struct err *err);
    void (*give)(void *user, void *memory, size_t bytes);
    void *user; /* borrowed until loader_free */
};

struct loader_options {
    int batch_size, workers, prefetch, permuted, drop_last; /* batch_size: of all ranks together */
    int rank, ranks;                                        /* 0 ranks: 1 */
    int interleave;                                         /* the share is every ranks-th place, not a slice */
    uint64_t seed;
    int64_t max_bad;    /* -1: the larger of 10 and 0.1 % of the data set */
    int bad;            /* moco_bad */
    int64_t max_pixels; /* 0: DECODE_MAX_PIXELS */
    int views;          /* 1 or 2 */
    moco_augment_options recipe[2];
    const int32_t (
        *side)[2]; /* NULL; or width and height of every picture of the set, which some device keeps: batches then
                                 say how their views are made of them (struct pixel_view), and nothing is decoded.
                                 Borrowed until loader_free */
    struct loader_memory memory; /* `take` NULL: ordinary. Pixels are made in it, not how views are made */
};

struct loader;

/* `ds` and `ctx` are borrowed until loader_free. Takes all memory of the batches and starts the threads. */
moco_status loader_create(struct loader **out, struct ctx *ctx, const struct dataset *ds,
                          const struct loader_options *options, struct err *err);
void loader_free(struct loader *loader); /* NULL is fine */

moco_status loader_start(struct loader *loader, int64_t epoch, int64_t position, struct err *err);

/* The same with key views apart: of the samples that the shuffle of each batch's step puts at the places of this share.
 * The first batch is for step `step` of a trainer whose seed is `seed`. */
moco_status loader_start_keys(struct loader *loader, int64_t epoch, int64_t position, int64_t step, uint64_t seed,
                              int symmetric, struct err *err);

/* Fills `batch` (all fields but struct_size). MOCO_EEND records no sentence. After any failure but this one, the same
 * failure is returned until loader_start. */
moco_status loader_next(struct loader *loader, moco_batch *batch, struct err *err);

int64_t loader_batches(const struct loader *loader); /* of a whole epoch, of all ranks together */
void loader_stats(struct loader *loader, int64_t *bad_images, int64_t *images, double *wait_seconds);

/* The counted bad image with the lowest id above `after`: 1, with its id and the sentence why; 0: there is none. */
int loader_bad_after(struct loader *loader, int64_t after, int64_t *id, char *reason, size_t size);

#endif
