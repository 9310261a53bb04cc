/* SPDX-License-Identifier: MIT
 *
 * trainer_step: one step of MoCo (algorithm 1 of the paper) as a transaction: everything up to the commit works in the
 * slab, the gradient slab and host buffers, all of which the next try overwrites. What a reader would get wrong: places
 * and samples. A sample is a row of the batch; a place is where it stands in the launches; `order` maps places of query
 * launches to samples, and the shuffle is a permutation of the batch's own places, of which key groups are slices.
 * Steps whose negatives are the batch itself differ in the middle: trainer_batch.c. */
#include <math.h>
#include <string.h>

#include "algo/reals.h"
#include "algo/trainer_step.h"
#include "permute.h"

/* Keys are kept as they are enqueued. Symmetric: the reference's notebook enqueues the keys of view 1 first, and those
 * are the second direction's. */
static char *keys_of(const struct trainer *t, int direction)
{
    size_t block = t->directions == 2 ? (size_t)(1 - direction) : 0;
    return t->host.keys + block * (size_t)t->o.batch_size * step_row(t);
}

/* ---- before the step ---- */

/* Key views apart are of one step's shuffle, and useless for any other. */
static moco_status check_keys(const struct trainer *t, const moco_batch *b, struct err *err)
{
    if (!t->o.shuffle)
        return err_set(err, MOCO_EINVAL, "batch.key is given and the trainer's shuffle is 0: there is none to follow");
    if (b->key[0] == NULL || (t->directions == 2 && b->key[1] == NULL))
        return err_set(err, MOCO_EINVAL, "batch.key[%d] is NULL and the other is not; %s", b->key[0] != NULL,
                       t->directions == 2 ? "a symmetric loss needs both" : "key[0] is the key view");
    if (b->key_seed != t->o.seed)
        return err_set(err, MOCO_EINVAL, "batch.key_seed is %llu; the trainer's seed is %llu",
                       (unsigned long long)b->key_seed, (unsigned long long)t->o.seed);
    if (b->key_step != t->step)
        return err_set(err, MOCO_ESTATE,
                       "the batch's key views follow the shuffle of step %lld, and the trainer is at step %lld: start "
                       "the loader again with moco_loader_start_keys, at epoch %lld, position %lld, step %lld",
                       (long long)b->key_step, (long long)t->step, (long long)t->epoch, (long long)t->position,
                       (long long)t->step);
    return MOCO_OK;
}

static moco_status check_batch(const struct trainer *t, const moco_batch *b, double lr, struct err *err)
{
    const moco_trainer_options *o = &t->o;
    if (b->n != t->share)
        return err_set(err, MOCO_ESHAPE, "the batch has %d images; the trainer's batch_size is %d", b->n,
                       o->batch_size);
    if (b->h != o->image_h || b->w != o->image_w)
        return err_set(err, MOCO_ESHAPE, "the batch has images of %d x %d; the trainer's are %d x %d", b->h, b->w,
                       o->image_h, o->image_w);
    int apart = b->key[0] != NULL || b->key[1] != NULL, views = apart && t->directions == 1 ? 1 : 2;
    if (apart)
        TRY(check_keys(t, b, err));
    if (b->views < views || b->views > 2)
        return err_set(err, MOCO_ESHAPE, "the batch has %d views; a step needs 2, query and key", b->views);
    for (int v = 0; v < views; v++)
        if (b->view[v] == NULL)
            return err_set(err, MOCO_EINVAL, "batch.view[%d] is NULL", v);
    if (b->epoch < 0 || b->position < 0)
        return err_set(err, MOCO_EINVAL, "batch.epoch is %lld and batch.position %lld; neither may be negative",
                       (long long)b->epoch, (long long)b->position);
    if (!(lr >= 0 && isfinite(lr)))
        return err_set(err, MOCO_EINVAL, "lr must be a finite number, 0 or more");
    return MOCO_OK;
}

static moco_status take_cancel(struct trainer *t, struct err *err)
{
    if (atomic_exchange(&t->cancel, 0))
        return err_set(err, MOCO_ECANCELED, "step %lld was cancelled; nothing of it was committed", (long long)t->step);
    return MOCO_OK;
}

static int known_finite(const struct trainer *t)
{
    return t->finite.known && t->finite.query == t->query->version &&
           (t->key == NULL || t->finite.key == t->key->version);
}

/* Of parameters and momentum as they are now. */
static void note_finite(struct trainer *t, int known)
{
    t->finite.known = known;
    t->finite.query = t->query->version;
    t->finite.key = t->key != NULL ? t->key->version : 0;
}

/* A bad number in the state is found before any work is done with it, and under its own name: a ReLU or a large
 * negative logit may swallow it later. The slabs are read only if they have been written from outside since the last
 * update, which saw what it wrote. */
static moco_status check_state(struct trainer *t, struct err *err)
{
    int known = known_finite(t);
    if (!known)
        TRY(step_measure(t, err));
    TRY(running_check_finite(t->query, "encoder_q.", t->host.stats, err));
    if (t->key != NULL) {
        if (!known)
            TRY(slab_check_finite(t->key, t->key->numbers.masters.at, "encoder_k.", NULL, err));
        TRY(running_check_finite(t->key, "encoder_k.", t->host.stats, err));
    }
    note_finite(t, 1);
    return MOCO_OK;
}

void step_launched(const struct trainer *t, int *done)
{
    ++*done;
    if (t->o.progress != NULL)
        t->o.progress(t->o.progress_user, *done, t->encoders * t->directions * t->launches);
}

moco_status step_check_rows(const struct trainer *t, const void *rows, const char *what, struct err *err)
{
    int64_t bad = reals_first_bad(rows, t->real_bytes, (size_t)t->launch_n * (size_t)t->dim);
    if (bad >= 0)
        return err_set(err, MOCO_ENUMERIC, "the %s of image %d of the batch is not finite", what,
                       t->host.index[bad / t->dim]);
    return MOCO_OK;
}

/* ---- keys ---- */

static moco_status key_launch(struct trainer *t, const moco_batch *batch, int direction, int launch, struct err *err)
{
    const uint8_t *apart = batch->key[direction];
    int first = launch * t->launch_n;
    for (int j = 0; j < t->launch_n; j++)
        t->host.index[j] = apart != NULL ? t->host.order[first + j] : t->host.shuffle[t->host.order[first + j]];
    struct be_forward io = {.images = apart != NULL ? apart : batch->view[1 - direction],
                            .index = t->host.index,
                            .weights = step_at(t, t->at.plans + t->at.key_block),
                            .stage = step_stage(t, STAGE_KEY, direction),
                            .out = step_at(t, t->at.embedding),
                            .cancel = &t->cancel};
    TRY(t->be->forward(t->key_plan, &io, err));
    for (int j = 0; j < t->launch_n; j++) /* whatever the images stood in: the samples that they are of */
        t->host.index[j] = t->host.shuffle[t->host.order[first + j]];
    TRY(t->be->read(t->dev, t->host.rows, io.out, (size_t)t->launch_n * step_row(t), err));
    TRY(step_check_rows(t, t->host.rows, "key", err));
    char *keys = keys_of(t, direction);
    for (int j = 0; j < t->launch_n; j++) /* un-shuffled: back to the row of its sample */
        memcpy(keys + (size_t)t->host.index[j] * step_row(t), t->host.rows + (size_t)j * step_row(t), step_row(t));
    return MOCO_OK;
}

static moco_status all_keys(struct trainer *t, const moco_batch *batch, int *done, struct err *err)
{
    TRY(t->be->ema_readers(t->layout, t->precision, t->key->numbers.masters.at, t->query->numbers.masters.at,
                           t->o.key_momentum, step_at(t, t->at.plans + t->at.key_block), err));
    for (int d = 0; d < t->directions; d++) {
        if (t->o.shuffle)
            permute_batch(t->o.seed, (uint64_t)t->step, d, t->o.batch_size, t->host.shuffle);
        for (int l = 0; l < t->launches; l++) {
            TRY(key_launch(t, batch, d, l, err));
            step_launched(t, done);
        }
    }
    return MOCO_OK;
}

/* ---- queries ---- */

moco_status step_bad_loss(struct trainer *t, struct err *err)
{
    int64_t row = -1;
    if (t->queue != NULL)
        TRY(queue_first_bad(t->queue, &row, err));
    if (row >= 0)
        return err_set(err, MOCO_ENUMERIC, "queue holds a number that is not finite, in row %lld", (long long)row);
    return err_set(err, MOCO_ENUMERIC, "the loss of step %lld is not finite", (long long)t->step);
}

/* InfoNCE of one launch against the queue as it was before the step. Every row of the queue is in `neg`, so that a bad
 * one shows there however the softmax treats it. */
static moco_status contrast(struct trainer *t, int direction, int launch, struct sums *sums, struct err *err)
{
    if (t->queue == NULL)
        return batch_contrast(t, launch, sums, err);
    const int32_t *order = t->host.order + launch * t->launch_n;
    const char *keys = keys_of(t, direction);
    for (int j = 0; j < t->launch_n; j++)
        memcpy(t->host.rows + (size_t)j * step_row(t), keys + (size_t)order[j] * step_row(t), step_row(t));
    TRY(t->be->write(t->dev, step_at(t, t->at.keys), t->host.rows, (size_t)t->launch_n * step_row(t), err));
    struct be_infonce io = {.q = step_at(t, t->at.embedding),
                            .k = step_at(t, t->at.keys),
                            .queue = t->queue->rows.at,
                            .n = t->launch_n,
                            .dim = t->dim,
                            .length = t->queue->length,
                            .temperature = t->o.temperature,
                            .scale = 1.0 / t->o.batch_size,
                            .d_q = step_at(t, t->at.d_query)};
    TRY(t->be->infonce(t->dev, &io, step_at(t, t->at.loss), err));
    if (!isfinite(io.loss) || !isfinite(io.pos) || !isfinite(io.neg))
        return step_bad_loss(t, err);
    sums->loss += io.loss;
    sums->top1 += io.top1;
    sums->top5 += io.top5;
    sums->pos += io.pos;
    sums->neg += io.neg;
    return MOCO_OK;
}

static moco_status query_launch(struct trainer *t, const uint8_t *images, int direction, int launch, struct sums *sums,
                                struct err *err)
{
    const void *masters = t->query->numbers.masters.at;
    const void *weights = t->readers.at != NULL ? t->readers.at : masters;
    memcpy(t->host.index, t->host.order + launch * t->launch_n, (size_t)t->launch_n * sizeof *t->host.index);
    struct be_forward forward = {.images = images,
                                 .index = t->host.index,
                                 .weights = weights,
                                 .masters = masters,
                                 .stage = step_stage(t, STAGE_QUERY, direction),
                                 .out = step_at(t, t->at.embedding),
                                 .cancel = &t->cancel};
    TRY(t->be->forward(t->query_plan, &forward, err));
    char *rows = t->host.queries + (size_t)(direction * t->launches + launch) * (size_t)t->launch_n * step_row(t);
    TRY(t->be->read(t->dev, rows, forward.out, (size_t)t->launch_n * step_row(t), err));
    TRY(step_check_rows(t, rows, "query", err));
    TRY(contrast(t, direction, launch, sums, err));
    struct be_backward backward = {.weights = weights,
                                   .masters = masters,
                                   .d_out = step_at(t, t->at.d_query),
                                   .gradients = t->gradients.at,
                                   .accumulate = direction > 0 || launch > 0,
                                   .cancel = &t->cancel};
    return t->be->backward(t->query_plan, &backward, err);
}

static moco_status all_queries(struct trainer *t, const moco_batch *batch, int *done, struct sums *sums,
                               struct err *err)
{
    for (int d = 0; d < t->directions; d++) {
        if (t->queue == NULL)
            TRY(batch_place_keys(t, keys_of(t, d), err));
        for (int l = 0; l < t->launches; l++) {
            TRY(query_launch(t, batch->view[d], d, l, sums, err));
            step_launched(t, done);
        }
    }
    return MOCO_OK;
}

/* ---- the verdict, and the commit ---- */

static moco_status check_results(struct trainer *t, double *sum_squares, struct err *err)
{
    int bad;
    TRY(t->be->grad_check(t->layout, t->gradients.at, sum_squares, &bad, err));
    if (bad >= 0)
        return err_set(err, MOCO_ENUMERIC, "grad.encoder_q.%s holds a number that is not finite",
                       t->graph->params[bad].name);
    if (!isfinite(*sum_squares))
        return err_set(err, MOCO_ENUMERIC, "the norm of the gradient is not finite");
    for (int e = STAGE_QUERY; e < t->encoders; e++)
        for (int d = 0; d < t->directions; d++) {
            TRY(t->be->read(t->dev, t->host.stats, step_stage(t, e, d), (size_t)t->graph->stat_total * t->real_bytes,
                            err));
            TRY(stats_check_finite(t->query, t->host.stats, e == STAGE_QUERY ? "encoder_q." : "encoder_k.",
                                   " of this batch", err));
        }
    return MOCO_OK;
}

static moco_status commit_statistics(struct trainer *t, struct encoder *encoder, int stage, struct err *err)
{
    for (int d = 0; d < t->directions; d++) { /* as so many forwards of the reference would */
        TRY(t->be->stats_commit(t->dev, t->graph, encoder->numbers.stats.at, step_stage(t, stage, d), t->groups, err));
        for (int i = 0; i < t->graph->stat_count; i++)
            encoder->numbers.tracked[i]++;
    }
    encoder->version++;
    return MOCO_OK;
}

/* What others see of the step, who may embed with the model meanwhile: all of it or nothing. */
static moco_status commit_query(struct trainer *t, double lr, int *finite, struct err *err)
{
    struct update_place to = {.query = t->query->numbers.masters.at,
                              .momentum = t->momentum.at,
                              .key = t->key != NULL ? t->key->numbers.masters.at : NULL,
                              .readers = t->readers.at};
    encoder_lock(t->query);
    moco_status status = step_update(t, &to, lr, finite, err); /* the key encoder follows the weights as they were */
    if (status == MOCO_OK)
        status = commit_statistics(t, t->query, STAGE_QUERY, err);
    encoder_unlock(t->query);
    return status;
}

/* All that could fail has been done: `ready` is asked once more, and what follows is elementwise. If it fails all the
 * same, the trainer says so from then on rather than train on half a step. */
static moco_status commit(struct trainer *t, const moco_batch *batch, double lr, const struct norm_bounds *after,
                          struct err *err)
{
    TRY(t->be->ready(t->dev, err));
    int finite;
    t->broken = 1;
    TRY(commit_query(t, lr, &finite, err));
    if (t->key != NULL)
        TRY(commit_statistics(t, t->key, STAGE_KEY, err));
    if (t->queue != NULL)
        TRY(queue_push(t->queue, t->host.keys, (int64_t)t->directions * t->o.batch_size, err));
    note_finite(t, finite);
    t->bounds = *after;
    t->broken = 0;
    t->step++;
    t->epoch = batch->epoch;
    t->position = batch->position;
    return MOCO_OK;
}

/* Mean over dimensions of the standard deviation of the queries (of a shared encoder both views), in two passes:
 * exactly 0 when all are equal. */
static double feature_std(const struct trainer *t)
{
    size_t n = (size_t)(t->shared ? 2 : t->directions) * (size_t)t->o.batch_size, dim = (size_t)t->dim;
    double total = 0;
    for (size_t c = 0; c < dim; c++) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            mean += real_at(t->host.queries, t->real_bytes, i * dim + c);
        mean /= (double)n;
        for (size_t i = 0; i < n; i++) {
            double off = real_at(t->host.queries, t->real_bytes, i * dim + c) - mean;
            squares += off * off;
        }
        total += sqrt(squares / (double)n);
    }
    return total / (double)dim;
}

/* Loss of a query that cannot tell its positive from the negatives, summed over directions (NT-Xent: views). */
static double chance_loss(const struct trainer *t)
{
    if (t->queue != NULL)
        return t->directions * log((double)t->queue->length + 1);
    if (t->o.loss == MOCO_LOSS_NTXENT)
        return 2 * log(2.0 * t->o.batch_size - 1);
    return t->directions * log((double)t->o.batch_size);
}

static void write_report(struct trainer *t, const struct sums *sums, double sum_squares, double lr)
{
    double queries = (double)(t->o.loss == MOCO_LOSS_NTXENT ? 2 : t->directions) * t->o.batch_size;
    double fill = t->queue != NULL ? (double)t->queue->filled / (double)t->queue->length : 0;
    t->report = (moco_step_report){.struct_size = sizeof t->report,
                                   .step = t->step,
                                   .loss = sums->loss / t->o.batch_size,
                                   .chance_loss = chance_loss(t),
                                   .acc1 = 100 * sums->top1 / queries,
                                   .acc5 = 100 * sums->top5 / queries,
                                   .pos_cosine = sums->pos / queries,
                                   .neg_cosine = sums->neg / queries,
                                   .feature_std = feature_std(t),
                                   .grad_norm = sqrt(sum_squares),
                                   .queue_fill = fill,
                                   .lr = lr};
    t->reported = 1;
}

static moco_status try_step(struct trainer *t, const moco_batch *batch, double lr, struct err *err)
{
    struct sums sums = {0};
    double sum_squares = 0;
    int done = 0;
    TRY(take_cancel(t, err));
    TRY(t->be->ready(t->dev, err));
    TRY(check_state(t, err));
    TRY(trainer_refresh(t, err));
    size_t stages = (size_t)t->encoders * (size_t)t->directions * (size_t)t->graph->stat_total * t->real_bytes;
    t->be->zero(t->dev, step_stage(t, STAGE_QUERY, 0), stages);
    if (t->shared) {
        TRY(batch_pairs(t, batch, &sums, err));
        step_launched(t, &done);
    } else {
        TRY(all_keys(t, batch, &done, err));
        TRY(all_queries(t, batch, &done, &sums, err));
    }
    TRY(check_results(t, &sum_squares, err));
    struct norm_bounds after;
    TRY(step_check_update(t, lr, sqrt(sum_squares), &after, err));
    TRY(take_cancel(t, err));
    TRY(commit(t, batch, lr, &after, err));
    write_report(t, &sums, sum_squares, lr);
    return MOCO_OK;
}

moco_status trainer_step(struct trainer *t, const moco_batch *batch, double lr, struct err *err)
{
    TRY(trainer_check_whole(t, err));
    TRY(check_batch(t, batch, lr, err));
    moco_status status = try_step(t, batch, lr, err);
    if (status == MOCO_ECANCELED)
        atomic_store(&t->cancel, 0); /* a plan saw it: it has taken effect */
    return status;
}

void trainer_cancel(struct trainer *t)
{
    atomic_store(&t->cancel, 1);
}

moco_status trainer_report(const struct trainer *t, moco_step_report *report, struct err *err)
{
    if (!t->reported)
        return err_set(err, MOCO_ESTATE, "no step has been committed yet, so there is nothing to report");
    *report = t->report;
    return MOCO_OK;
}

void trainer_cursor(const struct trainer *t, int64_t *step, int64_t *epoch, int64_t *position)
{
    if (step != NULL)
        *step = t->step;
    if (epoch != NULL)
        *epoch = t->epoch;
    if (position != NULL)
        *position = t->position;
}
