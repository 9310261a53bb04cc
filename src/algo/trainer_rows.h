/* SPDX-License-Identifier: MIT
 *
 * trainer_rows: rows of embeddings on their way through a step, and a launch of the query encoder: what the steps of
 * trainer_step.c and trainer_batch.c have in common. What a reader would get wrong: there are two orders. A sample is a
 * row of the batch, of all ranks; a place is where a sample is in the launches of its encoder, rank after rank. Query
 * launches take samples in the order of their BN groups, key launches in that of the step's shuffle; losses and the queue
 * see samples. Images are named by the row that they have in this rank's own arrays, which with one rank is the sample. */
#ifndef MOCO_ALGO_TRAINER_ROWS_H
#define MOCO_ALGO_TRAINER_ROWS_H

#include "algo/trainer_state.h"

/* A step that is being given to the device. */
struct step {
    const moco_batch *batch;
    const struct resident *resident; /* of which the device makes its views; NULL: it has them */
    double lr;
    int careful;        /* the update may overflow: it is looked at before the commit */
    double limit;       /* of the gradient's norm, above which it may */
    struct be_input at; /* views and indices, in device memory */
    int skip;           /* the device repeats what it recorded */
    int done;           /* launches */
};

enum { STAGE_QUERY, STAGE_KEY };

static inline char *step_at(const struct trainer *t, size_t offset)
{
    return (char *)t->work.at + offset;
}

static inline char *step_stage(const struct trainer *t, int encoder, int direction)
{
    size_t bytes = (size_t)t->graph->stat_total * t->real_bytes;
    return step_at(t, t->at.stage) + (size_t)(encoder * t->directions + direction) * bytes;
}

/* Bytes of an embedding. */
static inline size_t step_row(const struct trainer *t)
{
    return (size_t)t->dim * t->real_bytes;
}

/* ---- indices: host arrays that go to the device with the batch ---- */

int rows_index_count(const struct trainer *t);
/* The part that no step changes. */
void rows_index_init(struct trainer *t);
/* Those of the step that follows. */
void rows_index_step(struct trainer *t);

/* Samples at the places of this rank's query launches from `launch` on, and at those of all ranks. */
const int32_t *rows_of_queries(const struct trainer *t, const struct step *step, int launch);
const int32_t *rows_of_all_queries(const struct trainer *t, const struct step *step);
/* The same of key launches. */
const int32_t *rows_of_keys(const struct trainer *t, const struct step *step, int direction, int launch);
const int32_t *rows_of_all_keys(const struct trainer *t, const struct step *step, int direction);
/* Shared encoder: rows of the loss at the places of the launch, and at those of all ranks'; samples at the places of the
 * launch. */
const int32_t *rows_of_pairs(const struct trainer *t, const struct step *step);
const int32_t *rows_of_all_pairs(const struct trainer *t, const struct step *step);
const int32_t *rows_names_of_pairs(const struct trainer *t, const struct step *step);

/* Where the images of a launch are in their arrays. */
const int32_t *rows_images_of_queries(const struct trainer *t, const struct step *step, int launch);
const int32_t *rows_images_of_keys(const struct trainer *t, const struct step *step, int direction, int launch);
const int32_t *rows_images_of_pairs(const struct trainer *t, const struct step *step);

/* ---- images ---- */

/* What goes to the device with a step. Key views that come apart are in the order of the step's shuffle. */
struct be_input rows_input(const struct trainer *t, const struct step *step);
/* View v of a batch, or its key view of direction d that came apart: pixels, or how a device makes them; NULL: none. */
static inline const void *rows_view(const moco_batch *batch, int v)
{
    return batch->pictures != NULL ? batch->made[v] : batch->view[v];
}

static inline const void *rows_key(const moco_batch *batch, int d)
{
    return batch->pictures != NULL ? batch->made_key[d] : batch->key[d];
}
const void *rows_key_images(const struct trainer *t, const struct step *step, int direction);

/* ---- rows ---- */

/* Queries of a launch, in its order. */
char *rows_queries(const struct trainer *t, int direction, int launch);
/* Keys of a direction in the order of samples, the directions in the order in which they are enqueued. */
char *rows_keys(const struct trainer *t, int direction);
/* Several ranks: what the launches of `rank` have encoded, in their order (shared encoder: direction 0). */
char *rows_exchange(const struct trainer *t, int direction, int rank);

/* ---- launches of the query encoder ---- */

struct query_launch {
    const void *images, *second; /* as in be_forward */
    const int32_t *index;
    const int32_t *names; /* samples, for what is said of a row */
    void *rows;           /* embeddings */
    int direction;
    int accumulate;                                       /* a launch of this step has written gradients */
    void (*on_grad)(void *trainer, int first, int count); /* as in be_backward; NULL: nobody waits for them */
};
/* Forward, and the check of what has come out. */
moco_status query_forward(struct trainer *t, const struct query_launch *launch, struct err *err);
/* From the gradients in d_query. */
moco_status query_backward(struct trainer *t, const struct query_launch *launch, struct err *err);

/* Says so to who asked for progress. */
void step_launched(const struct trainer *t, struct step *step);
void step_all_launched(const struct trainer *t);

#endif
