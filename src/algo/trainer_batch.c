/* SPDX-License-Identifier: MIT
 *
 * trainer_batch: the middle of a step whose negatives are the batch itself. With a momentum encoder a query's loss
 * needs all keys but no other query, so launches stay as they are. With a shared encoder (SimCLR, end-to-end) samples
 * are coupled through gradients: one launch of 2 N images, places 0 .. N - 1 of view 0 and N .. 2 N - 1 of view 1,
 * whose samples are shuffled among them. What a reader would get wrong: the loss sees rows in sample order, where row i
 * and row N + i are one image, and the plan sees places; embeddings and gradients cross between the two. */
#include <math.h>
#include <string.h>

#include "algo/trainer_step.h"
#include "permute.h"

static moco_status run_loss(struct trainer *t, struct be_batch_loss *io, struct sums *sums, struct err *err)
{
    io->dim = t->dim;
    io->temperature = t->o.temperature;
    io->scale = 1.0 / t->o.batch_size;
    TRY(t->be->batch_loss(t->dev, io, step_at(t, t->at.loss), err));
    if (!isfinite(io->loss) || !isfinite(io->pos) || !isfinite(io->neg))
        return step_bad_loss(t, err);
    sums->loss += io->loss;
    sums->top1 += io->top1;
    sums->top5 += io->top5;
    sums->pos += io->pos;
    sums->neg += io->neg;
    return MOCO_OK;
}

/* ---- momentum encoder ---- */

/* In the order of places, so that the positives of a launch are a slice. */
moco_status batch_place_keys(struct trainer *t, const char *keys, struct err *err)
{
    size_t row = step_row(t);
    char *to = step_at(t, t->at.keys);
    for (int place = 0; place < t->o.batch_size; place += t->launch_n) {
        for (int j = 0; j < t->launch_n; j++)
            memcpy(t->host.rows + (size_t)j * row, keys + (size_t)t->host.order[place + j] * row, row);
        TRY(t->be->write(t->dev, to + (size_t)place * row, t->host.rows, (size_t)t->launch_n * row, err));
    }
    return MOCO_OK;
}

moco_status batch_contrast(struct trainer *t, int launch, struct sums *sums, struct err *err)
{
    struct be_batch_loss io = {.q = step_at(t, t->at.embedding),
                               .k = step_at(t, t->at.keys),
                               .n = t->launch_n,
                               .keys = t->o.batch_size,
                               .first = launch * t->launch_n,
                               .d_q = step_at(t, t->at.d_query)};
    return run_loss(t, &io, sums, err);
}

/* ---- shared encoder ---- */

/* `apart`: rows of the second array are in the order of the shuffle, else in that of the samples. */
static void place_images(struct trainer *t, int apart)
{
    int n = t->o.batch_size;
    for (int place = 0; place < n; place++) {
        t->host.index[place] = t->host.order[place];
        t->host.index[n + place] = apart ? t->host.order[place] : t->host.shuffle[t->host.order[place]];
    }
}

/* Row of the loss that stands at a place of the launch. */
static size_t row_of(const struct trainer *t, int place)
{
    int n = t->o.batch_size;
    return (size_t)(t->host.index[place] + (place < n ? 0 : n));
}

static moco_status pair_loss(struct trainer *t, struct sums *sums, struct err *err)
{
    size_t half = (size_t)t->o.batch_size * step_row(t);
    char *rows = step_at(t, t->at.keys), *gradients = step_at(t, t->at.d_pairs);
    struct be_batch_loss io = {.q = rows, .n = 2 * t->o.batch_size, .d_q = gradients};
    if (t->o.loss == MOCO_LOSS_INFONCE) {
        io.k = rows + half;
        io.d_k = gradients + half;
        io.n = io.keys = t->o.batch_size;
    }
    return run_loss(t, &io, sums, err);
}

/* Embeddings of the launch -> rows of the loss, its gradients -> gradients of the launch. */
static moco_status contrast_pairs(struct trainer *t, struct sums *sums, struct err *err)
{
    size_t row = step_row(t), bytes = (size_t)t->launch_n * row;
    TRY(t->be->read(t->dev, t->host.rows, step_at(t, t->at.embedding), bytes, err));
    TRY(step_check_rows(t, t->host.rows, "embedding", err));
    for (int place = 0; place < t->launch_n; place++)
        memcpy(t->host.queries + row_of(t, place) * row, t->host.rows + (size_t)place * row, row);
    TRY(t->be->write(t->dev, step_at(t, t->at.keys), t->host.queries, bytes, err));
    TRY(pair_loss(t, sums, err));
    TRY(t->be->read(t->dev, t->host.keys, step_at(t, t->at.d_pairs), bytes, err));
    for (int place = 0; place < t->launch_n; place++)
        memcpy(t->host.rows + (size_t)place * row, t->host.keys + row_of(t, place) * row, row);
    return t->be->write(t->dev, step_at(t, t->at.d_query), t->host.rows, bytes, err);
}

moco_status batch_pairs(struct trainer *t, const moco_batch *batch, struct sums *sums, struct err *err)
{
    const void *masters = t->query->numbers.masters.at;
    const void *weights = t->readers.at != NULL ? t->readers.at : masters;
    if (t->o.shuffle)
        permute_batch(t->o.seed, (uint64_t)t->step, 0, t->o.batch_size, t->host.shuffle);
    place_images(t, batch->key[0] != NULL);
    struct be_forward forward = {.images = batch->view[0],
                                 .second = batch->key[0] != NULL ? batch->key[0] : batch->view[1],
                                 .index = t->host.index,
                                 .weights = weights,
                                 .masters = masters,
                                 .stage = step_stage(t, STAGE_QUERY, 0),
                                 .out = step_at(t, t->at.embedding),
                                 .cancel = &t->cancel};
    TRY(t->be->forward(t->query_plan, &forward, err));
    place_images(t, 0); /* from here on rows are named by sample */
    TRY(contrast_pairs(t, sums, err));
    struct be_backward backward = {.weights = weights,
                                   .masters = masters,
                                   .d_out = step_at(t, t->at.d_query),
                                   .gradients = t->gradients.at,
                                   .cancel = &t->cancel};
    return t->be->backward(t->query_plan, &backward, err);
}
