/* SPDX-License-Identifier: MIT
 *
 * trainer_rows: see trainer_rows.h. The indices of a step are one array: with ranks, the rows of this rank's images at
 * its places; the samples at the places of all ranks' query launches; those of the key launches, direction by direction.
 * With one rank the first two are the same. A shared encoder has the samples of view 1's places for keys, and behind them
 * the rows of the loss at all places, then where the images of its own places are, and their samples. */
#include "algo/trainer_rows.h"

#include "permute.h"
#include "share.h"

/* ---- where they stand in the array ---- */

static size_t queries_at(const struct trainer *t)
{
    return t->ranks > 1 ? (size_t)t->share : 0;
}

static size_t keys_at(const struct trainer *t, int direction)
{
    return queries_at(t) + (size_t)(1 + direction) * (size_t)t->o.batch_size;
}

static size_t pairs_at(const struct trainer *t)
{
    return keys_at(t, t->directions);
}

static size_t pair_images_at(const struct trainer *t)
{
    return pairs_at(t) + (size_t)2 * (size_t)t->o.batch_size;
}

static size_t pair_names_at(const struct trainer *t)
{
    return pair_images_at(t) + (size_t)2 * (size_t)t->share;
}

int rows_index_count(const struct trainer *t)
{
    return (int)(t->shared ? pair_names_at(t) + (size_t)2 * (size_t)t->share : pairs_at(t));
}

/* ---- filling it ---- */

void rows_index_init(struct trainer *t)
{
    int share = t->share, own = t->groups / t->ranks;
    /* A shared encoder's groups are of one view each, or one of both. */
    int groups = t->shared ? (own > 1 ? own / 2 : 1) : own, size = share / groups;
    int32_t *images = t->host.index, *samples = t->host.index + queries_at(t);
    for (int place = 0; place < share; place++) {
        int group = place / size, member = place % size;
        images[place] = t->o.interleave ? member * groups + group : place;
    }
    for (int rank = t->ranks - 1; rank >= 0; rank--) /* one rank: in place */
        for (int place = 0; place < share; place++)
            samples[rank * share + place] =
                share_place(t->o.batch_size, t->o.interleave, rank, t->ranks, images[place]);
    for (int place = 0; place < t->o.batch_size; place++)
        t->host.shuffle[place] = place;
}

/* Samples at the places of encoded keys: the shuffle is a permutation of the batch's own places. */
static void place_keys(struct trainer *t, int direction)
{
    int batch = t->o.batch_size;
    const int32_t *samples = t->host.index + queries_at(t);
    int32_t *to = t->host.index + keys_at(t, direction);
    if (t->o.shuffle)
        permute_batch(t->o.seed, (uint64_t)trainer_next_step(t), direction, batch, t->host.shuffle);
    for (int place = 0; place < batch; place++)
        to[place] = t->host.shuffle[samples[place]];
}

/* Are key images in the order of key places, so that place p shows row p of the rank's own order? */
static int keys_in_order(const struct trainer *t)
{
    return t->apart || t->ranks > 1;
}

static void place_pairs(struct trainer *t)
{
    int batch = t->o.batch_size, share = t->share;
    int32_t *index = t->host.index, *pairs = index + pairs_at(t);
    const int32_t *samples = index + queries_at(t), *keys = index + keys_at(t, 0);
    const int32_t *shown = keys_in_order(t) ? index : keys;
    for (int rank = 0; rank < t->ranks; rank++)
        for (int place = 0; place < share; place++) { /* row i and row batch + i are one sample */
            pairs[2 * rank * share + place] = samples[rank * share + place];
            pairs[(2 * rank + 1) * share + place] = batch + keys[rank * share + place];
        }
    for (int place = 0; place < share; place++) {
        index[pair_images_at(t) + (size_t)place] = index[place];
        index[pair_images_at(t) + (size_t)(share + place)] = shown[place];
        index[pair_names_at(t) + (size_t)place] = samples[t->rank * share + place];
        index[pair_names_at(t) + (size_t)(share + place)] = keys[t->rank * share + place];
    }
}

void rows_index_step(struct trainer *t)
{
    for (int d = 0; d < t->directions; d++)
        place_keys(t, d);
    if (t->shared)
        place_pairs(t);
}

struct be_input rows_input(const struct trainer *t, const struct step *step)
{
    const moco_batch *b = step->batch;
    const void *given[BE_VIEWS] = {rows_view(b, 0), rows_view(b, 1)};
    struct be_input input = {.index = t->host.index};
    if (t->apart && t->directions == 1)
        given[1] = rows_key(b, 0);
    for (int d = 0; d < 2 && t->apart && t->directions == 2; d++)
        given[2 + d] = rows_key(b, d);
    for (int v = 0; v < BE_VIEWS; v++)
        if (step->resident != NULL)
            input.made[v] = given[v];
        else
            input.view[v] = given[v];
    input.pictures = step->resident != NULL ? step->resident->pictures : NULL;
    return input;
}

const void *rows_key_images(const struct trainer *t, const struct step *step, int direction)
{
    return t->apart && t->directions == 2 ? step->at.view[2 + direction] : step->at.view[1 - direction];
}

/* Places of this rank before those of `launch`. */
static size_t own(const struct trainer *t, int launch)
{
    return (size_t)t->rank * (size_t)t->share + (size_t)launch * (size_t)t->launch_n;
}

const int32_t *rows_of_all_queries(const struct trainer *t, const struct step *step)
{
    return step->at.index + queries_at(t);
}

const int32_t *rows_of_queries(const struct trainer *t, const struct step *step, int launch)
{
    return rows_of_all_queries(t, step) + own(t, launch);
}

const int32_t *rows_of_all_keys(const struct trainer *t, const struct step *step, int direction)
{
    return step->at.index + keys_at(t, direction);
}

const int32_t *rows_of_keys(const struct trainer *t, const struct step *step, int direction, int launch)
{
    return rows_of_all_keys(t, step, direction) + own(t, launch);
}

const int32_t *rows_of_all_pairs(const struct trainer *t, const struct step *step)
{
    return step->at.index + pairs_at(t);
}

const int32_t *rows_of_pairs(const struct trainer *t, const struct step *step)
{
    return rows_of_all_pairs(t, step) + 2 * own(t, 0);
}

const int32_t *rows_names_of_pairs(const struct trainer *t, const struct step *step)
{
    return step->at.index + pair_names_at(t);
}

const int32_t *rows_images_of_queries(const struct trainer *t, const struct step *step, int launch)
{
    return step->at.index + (size_t)launch * (size_t)t->launch_n;
}

const int32_t *rows_images_of_keys(const struct trainer *t, const struct step *step, int direction, int launch)
{
    return keys_in_order(t) ? rows_images_of_queries(t, step, launch) : rows_of_keys(t, step, direction, launch);
}

const int32_t *rows_images_of_pairs(const struct trainer *t, const struct step *step)
{
    return step->at.index + pair_images_at(t);
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

char *rows_exchange(const struct trainer *t, int direction, int rank)
{
    size_t rows = (size_t)(direction * t->ranks + rank) * (size_t)(t->shared ? 2 * t->share : t->share);
    return step_at(t, t->at.exchange) + rows * step_row(t);
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
                             .on_grad = launch->on_grad,
                             .user = t,
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
