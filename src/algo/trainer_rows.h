/* SPDX-License-Identifier: MIT
 *
 * trainer_rows: the rows of embeddings during a step, and a launch of the query encoder: what trainer_step.c and
 * trainer_batch.c have in common. What a reader would get wrong: there are two orders. A sample is a row of the
 * batch. A place is the position of a sample in the launches of its encoder. Query launches take the samples in the
 * order `order`, key launches in the order of the step's shuffle. Losses and the queue see samples. */
#ifndef MOCO_ALGO_TRAINER_ROWS_H
#define MOCO_ALGO_TRAINER_ROWS_H

#include "algo/trainer_state.h"

/* A step that is being given to the device. */
struct step {
    const moco_batch *batch;
    double lr;
    int careful;        /* the update may overflow: it is looked at before the commit */
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

/* Samples at the places of query launches (shared encoder: of both views' places). */
const int32_t *rows_of_queries(const struct trainer *t, const struct step *step, int launch);
/* Samples at the places of key launches. */
const int32_t *rows_of_keys(const struct trainer *t, const struct step *step, int direction, int launch);
/* Shared encoder: rows of the loss at the places of the launch. */
const int32_t *rows_of_pairs(const struct trainer *t, const struct step *step);

/* Shared encoder: where the images of the launch are in their arrays. */
const int32_t *rows_images_of_pairs(const struct trainer *t, const struct step *step);

/* ---- images ---- */

/* What goes to the device with a step. Key views that come apart are in the order of the step's shuffle. */
struct be_input rows_input(const struct trainer *t, const moco_batch *batch);
const void *rows_key_images(const struct trainer *t, const struct step *step, int direction);

/* ---- rows ---- */

/* Queries of a launch, in its order. */
char *rows_queries(const struct trainer *t, int direction, int launch);
/* Keys of a direction in the order of samples, the directions in the order in which they are enqueued. */
char *rows_keys(const struct trainer *t, int direction);

/* ---- launches of the query encoder ---- */

struct query_launch {
    const void *images, *second; /* as in be_forward */
    const int32_t *index;
    const int32_t *names; /* samples, for what is said of a row */
    void *rows;           /* embeddings */
    int direction;
    int accumulate; /* a launch of this step has written gradients */
};
/* Forward, and the check of what has come out. */
moco_status query_forward(struct trainer *t, const struct query_launch *launch, struct err *err);
/* From the gradients in d_query. */
moco_status query_backward(struct trainer *t, const struct query_launch *launch, struct err *err);

/* Says so to who asked for progress. */
void step_launched(const struct trainer *t, struct step *step);
void step_all_launched(const struct trainer *t);

#endif
