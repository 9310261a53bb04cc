/* SPDX-License-Identifier: MIT
 *
 * trainer_batch: see trainer_batch.h. With a momentum encoder a query's loss needs all keys but no other query, so
 * launches stay as they are. With a shared encoder (SimCLR, end-to-end) samples are coupled through gradients: one
 * launch of 2 N images, places 0 .. N - 1 of view 0 and N .. 2 N - 1 of view 1, whose samples are shuffled among them.
 * With ranks each brings its share of the two, and computes the loss of all: it costs little beside a network, and the
 * gradients of other ranks' rows need not come back.
 * What a reader would get wrong: the loss sees rows in sample order, where row i and row N + i are one image, and the
 * plan sees places; embeddings and gradients cross between the two. */
#include "algo/trainer_batch.h"

#include "algo/trainer_ranks.h"

static moco_status run_loss(struct trainer *t, struct be_batch_loss *io, struct err *err)
{
    io->dim = t->dim;
    io->scale = 1.0 / t->o.batch_size;
    return t->be->batch_loss(t->program, io, step_at(t, t->at.loss), err);
}

/* ---- momentum encoder ---- */

/* So that the positives of a launch are a slice. */
moco_status batch_place_keys(struct trainer *t, const struct step *step, int direction, struct err *err)
{
    return t->be->gather(t->program, step_at(t, t->at.positives), rows_keys(t, direction), rows_of_all_queries(t, step),
                         t->o.batch_size, t->dim, err);
}

moco_status batch_contrast(struct trainer *t, const void *queries, int launch, struct err *err)
{
    struct be_batch_loss io = {.q = queries,
                               .k = step_at(t, t->at.positives),
                               .n = t->launch_n,
                               .keys = t->o.batch_size,
                               .first = t->rank * t->share + launch * t->launch_n,
                               .d_q = step_at(t, t->at.d_query)};
    return run_loss(t, &io, err);
}

/* ---- shared encoder ---- */

static moco_status pair_loss(struct trainer *t, struct err *err)
{
    size_t half = (size_t)t->o.batch_size * step_row(t);
    char *rows = step_at(t, t->at.keys), *gradients = step_at(t, t->at.d_pairs);
    struct be_batch_loss io = {.q = rows, .n = 2 * t->o.batch_size, .d_q = gradients};
    if (t->o.loss == MOCO_LOSS_INFONCE) {
        io.k = rows + half;
        io.d_k = gradients + half;
        io.n = io.keys = t->o.batch_size;
    }
    return run_loss(t, &io, err);
}

static struct query_launch pair_launch(const struct trainer *t, const struct step *step)
{
    return (struct query_launch){.images = step->at.view[0],
                                 .second = step->at.view[1],
                                 .index = rows_images_of_pairs(t, step),
                                 .names = rows_names_of_pairs(t, step),
                                 .rows = t->ranks > 1 ? rows_exchange(t, 0, t->rank) : rows_queries(t, 0, 0),
                                 .on_grad = t->ranks > 1 ? ranks_gradient : NULL};
}

moco_status batch_embed(struct trainer *t, const struct step *step, struct err *err)
{
    struct query_launch launch = pair_launch(t, step);
    TRY(query_forward(t, &launch, err));
    if (t->ranks > 1) /* all ranks' at once, when they are here */
        return MOCO_OK;
    return t->be->scatter(t->program, step_at(t, t->at.keys), launch.rows, rows_of_pairs(t, step), t->launch_n, t->dim,
                          err);
}

moco_status batch_pairs(struct trainer *t, struct step *step, struct err *err)
{
    struct query_launch launch = pair_launch(t, step);
    TRY(pair_loss(t, err));
    TRY(t->be->gather(t->program, step_at(t, t->at.d_query), step_at(t, t->at.d_pairs), rows_of_pairs(t, step),
                      t->launch_n, t->dim, err));
    TRY(query_backward(t, &launch, err));
    step_launched(t, step);
    return MOCO_OK;
}
