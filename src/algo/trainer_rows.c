/* SPDX-License-Identifier: MIT
 *
 * trainer_rows: see trainer_rows.h. The indices of a step are one array: `order` [batch], then the samples at the
 * places of the key launches, direction by direction. A shared encoder has instead: the samples at view 1's places,
 * then the rows of the loss at all places, then the index of each place's image in its array. */
#include "algo/trainer_rows.h"

#include "permute.h"

int rows_index_count(const struct trainer *t)
{
    return (t->shared ? 6 : 1 + t->directions) * t->o.batch_size;
}

void rows_index_init(struct trainer *t)
{
    int batch = t->o.batch_size;
    /* A shared encoder's groups are of one view each, or one of both. */
    int groups = t->shared ? (t->groups > 1 ? t->groups / 2 : 1) : t->groups, size = batch / groups;
    for (int place = 0; place < batch; place++) {
        int group = place / size, member = place % size;
        t->host.index[place] = t->o.interleave ? member * groups + group : place;
        t->host.shuffle[place] = place;
    }
}

/* Samples at the places of encoded keys: the shuffle is a permutation of the batch's own places. */
static void place_keys(struct trainer *t, int direction)
{
    int batch = t->o.batch_size;
    const int32_t *order = t->host.index;
    int32_t *to = t->host.index + (size_t)(1 + direction) * (size_t)batch;
    if (t->o.shuffle)
        permute_batch(t->o.seed, (uint64_t)t->step, direction, batch, t->host.shuffle);
    for (int place = 0; place < batch; place++)
        to[place] = t->host.shuffle[order[place]];
}

void rows_index_step(struct trainer *t)
{
    int batch = t->o.batch_size;
    for (int d = 0; d < t->directions; d++)
        place_keys(t, d);
    for (int place = 0; t->shared && place < 2 * batch; place++) { /* row i and row batch + i are one sample */
        t->host.index[2 * batch + place] = t->host.index[place] + (place < batch ? 0 : batch);
        t->host.index[4 * batch + place] = t->host.index[t->apart ? place % batch : place];
    }
}

struct be_input rows_input(const struct trainer *t, const moco_batch *batch)
{
    if (!t->apart)
        return (struct be_input){.view = {batch->view[0], batch->view[1]}, .index = t->host.index};
    if (t->directions == 1)
        return (struct be_input){.view = {batch->view[0], batch->key[0]}, .index = t->host.index};
    return (struct be_input){.view = {batch->view[0], batch->view[1], batch->key[0], batch->key[1]},
                             .index = t->host.index};
}

const void *rows_key_images(const struct trainer *t, const struct step *step, int direction)
{
    return t->apart && t->directions == 2 ? step->at.view[2 + direction] : step->at.view[1 - direction];
}

const int32_t *rows_of_queries(const struct trainer *t, const struct step *step, int launch)
{
    return step->at.index + (size_t)launch * (size_t)t->launch_n;
}

const int32_t *rows_of_keys(const struct trainer *t, const struct step *step, int direction, int launch)
{
    return step->at.index + (size_t)(1 + direction) * (size_t)t->o.batch_size + (size_t)launch * (size_t)t->launch_n;
}

const int32_t *rows_of_pairs(const struct trainer *t, const struct step *step)
{
    return step->at.index + (size_t)2 * (size_t)t->o.batch_size;
}

const int32_t *rows_images_of_pairs(const struct trainer *t, const struct step *step)
{
    return step->at.index + (size_t)4 * (size_t)t->o.batch_size;
}

char *rows_queries(const struct trainer *t, int direction, int launch)
{
    size_t first = (size_t)(direction * t->launches + launch) * (size_t)t->launch_n;
    return step_at(t, t->at.queries) + first * step_row(t);
}

/* Symmetric: the reference's notebook enqueues the keys of view 1 first, and those are the second direction's. */
char *rows_keys(const struct trainer *t, int direction)
{
    size_t block = t->directions == 2 ? (size_t)(1 - direction) : 0;
    return step_at(t, t->at.keys) + block * (size_t)t->o.batch_size * step_row(t);
}

static const void *query_weights(const struct trainer *t)
{
    return t->readers.at != NULL ? t->readers.at : t->query->numbers.masters.at;
}

moco_status query_forward(struct trainer *t, const struct query_launch *launch, struct err *err)
{
    struct be_forward io = {.images = launch->images,
                            .second = launch->second,
                            .index = launch->index,
                            .weights = query_weights(t),
                            .masters = t->query->numbers.masters.at,
                            .stage = step_stage(t, STAGE_QUERY, launch->direction),
                            .out = launch->rows,
                            .cancel = t->cancel};
    TRY(t->be->forward(t->query_plan, &io, err));
    return t->be->check_rows(t->program, BE_ROWS_QUERY, launch->rows, launch->names, t->launch_n, t->dim, err);
}

moco_status query_backward(struct trainer *t, const struct query_launch *launch, struct err *err)
{
    struct be_backward io = {.weights = query_weights(t),
                             .masters = t->query->numbers.masters.at,
                             .d_out = step_at(t, t->at.d_query),
                             .gradients = t->gradients.at,
                             .accumulate = launch->accumulate,
                             .cancel = t->cancel};
    return t->be->backward(t->query_plan, &io, err);
}

static void progress(const struct trainer *t, int done)
{
    if (t->o.progress != NULL)
        t->o.progress(t->o.progress_user, done, t->encoders * t->directions * t->launches);
}

void step_launched(const struct trainer *t, struct step *step)
{
    progress(t, ++step->done);
}

void step_all_launched(const struct trainer *t)
{
    progress(t, t->encoders * t->directions * t->launches);
}
