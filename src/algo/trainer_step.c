/* SPDX-License-Identifier: MIT
 *
 * trainer_step: one step of MoCo (algorithm 1 of the paper) as a transaction in three parts. The work: calls are
 * given to the device one after another; no number comes back, and everything that they write is overwritten by the
 * next step. The vote: the host (later: all ranks) decides whether the step may commit. The commit: the device
 * changes the state, unless it has found something wrong; the step's outcome says which. What a reader would get
 * wrong: when a call returns, its work has been given to the device but is not necessarily done. The outcome may even
 * be left for the next step to ask for (`ahead`): the step is then in flight, and lands when somebody needs to know.
 * docs/internals-step.md has the order of calls. Steps whose negatives come from the batch differ in the middle:
 * trainer_batch.c. */
#include <math.h>
#include <string.h>

#include "algo/trainer_batch.h"
#include "algo/trainer_ranks.h"
#include "algo/trainer_update.h"

/* ---- before the step ---- */

/* Key views apart follow the shuffle of one step and are useless for any other. */
static moco_status check_keys(const struct trainer *t, const moco_batch *b, struct err *err)
{
    if (!t->o.shuffle)
        return err_set(err, MOCO_EINVAL, "batch.key is given and the trainer's shuffle is 0: there is none to follow");
    if (rows_key(b, 0) == NULL || (t->directions == 2 && rows_key(b, 1) == NULL))
        return err_set(err, MOCO_EINVAL, "batch.key[%d] is NULL and the other is not; %s", rows_key(b, 0) != NULL,
                       t->directions == 2 ? "a symmetric loss needs both" : "key[0] is the key view");
    if (b->key_seed != t->o.seed)
        return err_set(err, MOCO_EINVAL, "batch.key_seed is %llu; the trainer's seed is %llu",
                       (unsigned long long)b->key_seed, (unsigned long long)t->o.seed);
    int64_t step = trainer_next_step(t);
    if (b->key_step != step)
        return err_set(err, MOCO_ESTATE,
                       "the batch's key views follow the shuffle of step %lld, and the trainer is at step %lld: start "
                       "the loader again with moco_loader_start_keys, at epoch %lld, position %lld, step %lld",
                       (long long)b->key_step, (long long)step,
                       (long long)(trainer_flies(t) ? t->queued.epoch : t->epoch),
                       (long long)(trainer_flies(t) ? t->queued.position : t->position), (long long)step);
    return MOCO_OK;
}

/* Checks sizes and pointers of a batch. Keys may come apart from the queries; with ranks and a shuffle they must. */
static moco_status check_batch(const struct trainer *t, const moco_batch *b, double lr, struct err *err)
{
    const moco_trainer_options *o = &t->o;
    if (b->n != t->share && t->ranks == 1)
        return err_set(err, MOCO_ESHAPE, "the batch has %d images; the trainer's batch_size is %d", b->n,
                       o->batch_size);
    if (b->n != t->share)
        return err_set(err, MOCO_ESHAPE, "the batch has %d images; the share of one of %d ranks in batch_size %d is %d",
                       b->n, t->ranks, o->batch_size, t->share);
    if (b->h != o->image_h || b->w != o->image_w)
        return err_set(err, MOCO_ESHAPE, "the batch has images of %d x %d; the trainer's are %d x %d", b->h, b->w,
                       o->image_h, o->image_w);
    int apart = rows_key(b, 0) != NULL || rows_key(b, 1) != NULL, views = apart && t->directions == 1 ? 1 : 2;
    if (apart)
        TRY(check_keys(t, b, err));
    else if (t->ranks > 1 && o->shuffle)
        return err_set(err, MOCO_EINVAL,
                       "batch.key[0] is NULL; with %d ranks the shuffle takes key views of any image of the batch to a "
                       "rank, so that they must come apart: start the loader with moco_loader_start_keys",
                       t->ranks);
    if (b->views < views || b->views > 2)
        return err_set(err, MOCO_ESHAPE, "the batch has %d views; a step needs 2, query and key", b->views);
    for (int v = 0; v < views; v++)
        if (rows_view(b, v) == NULL)
            return err_set(err, MOCO_EINVAL, "batch.%s[%d] is NULL", b->pictures != NULL ? "made" : "view", v);
    if (b->epoch < 0 || b->position < 0)
        return err_set(err, MOCO_EINVAL, "batch.epoch is %lld and batch.position %lld; neither may be negative",
                       (long long)b->epoch, (long long)b->position);
    if (!(lr >= 0 && isfinite(lr)))
        return err_set(err, MOCO_EINVAL, "lr must be a finite number, 0 or more");
    return MOCO_OK;
}

static moco_status cancelled(const struct trainer *t, struct err *err)
{
    return err_set(err, MOCO_ECANCELED, "step %lld was cancelled; nothing of it was committed",
                   (long long)trainer_next_step(t));
}

static int known_finite(const struct trainer *t)
{
    return t->finite.known && ranks_have_looked(t) && t->finite.query == t->query->version &&
           (t->key == NULL || t->finite.key == t->key->version);
}

/* Of all numbers of the encoders and of momentum, as they are now. */
static void note_finite(struct trainer *t, int known)
{
    t->finite.known = known;
    t->finite.query = t->query->version;
    t->finite.key = t->key != NULL ? t->key->version : 0;
}

/* Finds a bad number of the state before any work is done with it, and reports it under its own name: a ReLU or a
 * large negative logit could hide it later. The state is read only if it was written from outside since the last
 * update. An update checks what it writes, and averages of finite statistics are finite. */
static moco_status check_state(struct trainer *t, struct err *err)
{
    if (known_finite(t))
        return MOCO_OK;
    t->be->program_reset(t->program); /* a state that was loaded is at other addresses */
    TRY(step_measure(t, err));
    TRY(running_check_finite(t->query, "encoder_q.", err));
    if (t->key != NULL) {
        TRY(slab_check_finite(t->key, t->key->numbers.masters.at, "encoder_k.", NULL, err));
        TRY(running_check_finite(t->key, "encoder_k.", err));
    }
    TRY(ranks_look(t, err));
    note_finite(t, 1);
    return MOCO_OK;
}

static int64_t keys_of_a_step(const struct trainer *t)
{
    return (int64_t)t->directions * t->o.batch_size;
}

static int64_t queue_row(const struct trainer *t)
{
    if (t->queue == NULL)
        return 0;
    return (t->queue->next + trainer_flies(t) * keys_of_a_step(t)) % t->queue->length;
}

/* Of the next step, if the one in flight is committed. If that overflows, what follows it does nothing and is done again.
 */
static double next_scale(const struct trainer *t)
{
    struct loss_scale next = t->scale;
    if (trainer_flies(t))
        loss_scale_committed(&next, t->precision);
    return next.scale;
}

static int is_apart(const moco_batch *batch)
{
    return rows_key(batch, 0) != NULL;
}

/* Gives the device everything that changes from step to step, at once. A careful step has no limit, because the host
 * decides about it. */
static moco_status begin(struct trainer *t, struct step *step, struct err *err)
{
    double limit = step_gradient_limit(t, step->lr), scale = next_scale(t);
    step->careful = step->careful || t->wary || limit < 0;
    step->limit = step->careful ? (double)INFINITY : limit;
    struct be_scalars scalars = {.lr = step->lr,
                                 .sgd_momentum = t->o.sgd_momentum,
                                 .weight_decay = t->o.weight_decay,
                                 .trust = t->o.trust_coefficient,
                                 .key_momentum = t->o.key_momentum,
                                 .temperature = t->o.temperature,
                                 .loss_scale = scale,
                                 .gradient_limit = step->limit,
                                 .step = trainer_next_step(t),
                                 .queue_row = queue_row(t)};
    if (is_apart(step->batch) != t->apart) /* other calls follow from here on */
        t->be->program_reset(t->program);
    t->apart = is_apart(step->batch);
    struct be_input input = rows_input(t, step);
    rows_index_step(t);
    t->gradient_scale = scale;
    return t->be->program_begin(t->program, &scalars, &input, &step->at, &step->skip, err);
}

/* ---- the work: keys ---- */

static moco_status key_launch(struct trainer *t, const struct step *step, int direction, int launch, struct err *err)
{
    const int32_t *samples = rows_of_keys(t, step, direction, launch);
    void *out = step_at(t, t->at.d_query); /* which no query has written yet */
    if (t->ranks > 1)
        out = rows_exchange(t, direction, t->rank) + (size_t)launch * (size_t)t->launch_n * step_row(t);
    struct be_forward io = {.images = rows_key_images(t, step, direction),
                            .index = rows_images_of_keys(t, step, direction, launch),
                            .weights = step_at(t, t->at.plans + t->at.key_block),
                            .stage = step_stage(t, STAGE_KEY, direction),
                            .out = out,
                            .cancel = t->cancel};
    TRY(t->be->forward(t->key_plan, &io, err));
    TRY(t->be->check_rows(t->program, BE_ROWS_KEY, io.out, samples, t->launch_n, t->dim, err));
    if (t->ranks > 1) /* all ranks' at once, when they are here */
        return MOCO_OK;
    return t->be->scatter(t->program, rows_keys(t, direction), io.out, samples, t->launch_n, t->dim, err);
}

static moco_status all_keys(struct trainer *t, struct step *step, struct err *err)
{
    TRY(t->be->ema_readers(t->program, t->key->numbers.masters.at, t->query->numbers.masters.at,
                           step_at(t, t->at.plans + t->at.key_block), err));
    for (int d = 0; d < t->directions; d++)
        for (int l = 0; l < t->launches; l++) {
            TRY(key_launch(t, step, d, l, err));
            step_launched(t, step);
        }
    return MOCO_OK;
}

/* ---- the work: queries ---- */

/* Computes InfoNCE of one launch against the queue as it was before the step. The mean over negatives, `neg`,
 * includes every row of the queue, so that a bad row shows there even if the softmax hides it. */
static moco_status contrast(struct trainer *t, const struct step *step, int direction, int launch, struct err *err)
{
    const void *queries = rows_queries(t, direction, launch);
    if (t->queue == NULL)
        return batch_contrast(t, queries, launch, err);
    void *positives = step_at(t, t->at.positives);
    TRY(t->be->gather(t->program, positives, rows_keys(t, direction), rows_of_queries(t, step, launch), t->launch_n,
                      t->dim, err));
    struct be_infonce io = {.q = queries,
                            .k = positives,
                            .queue = t->queue->rows.at,
                            .n = t->launch_n,
                            .dim = t->dim,
                            .length = t->queue->length,
                            .scale = 1.0 / t->o.batch_size,
                            .d_q = step_at(t, t->at.d_query)};
    return t->be->infonce(t->program, &io, step_at(t, t->at.loss), err);
}

/* Encodes, compares and propagates back, launch by launch. Gradients add up over launches. Those of the last one are
 * final, so that only there they are sent to other ranks. */
static moco_status all_queries(struct trainer *t, struct step *step, struct err *err)
{
    for (int d = 0; d < t->directions; d++) {
        for (int l = 0; l < t->launches; l++) {
            int last = d == t->directions - 1 && l == t->launches - 1; /* gradients are final as they come */
            struct query_launch launch = {.images = step->at.view[d],
                                          .index = rows_images_of_queries(t, step, l),
                                          .names = rows_of_queries(t, step, l),
                                          .rows = rows_queries(t, d, l),
                                          .direction = d,
                                          .accumulate = d > 0 || l > 0,
                                          .on_grad = last && t->ranks > 1 ? ranks_gradient : NULL};
            TRY(query_forward(t, &launch, err));
            TRY(ranks_meet(t, step, MOCO_OK, err)); /* behind the first forward: keys cross meanwhile */
            if (t->queue == NULL && l == 0)
                TRY(batch_place_keys(t, step, d, err));
            TRY(contrast(t, step, d, l, err));
            TRY(query_backward(t, &launch, err));
            step_launched(t, step);
        }
    }
    return MOCO_OK;
}

/* Gradients, statistics, and the spread of the queries (of a shared encoder: both views in the order of samples). */
static moco_status check_results(struct trainer *t, struct err *err)
{
    int rows = t->shared ? 2 * t->o.batch_size : t->directions * t->share;
    const void *queries = t->shared ? step_at(t, t->at.keys) : rows_queries(t, 0, 0);
    TRY(t->be->check_slab(t->program, BE_GRADIENT, t->gradients.at, err));
    for (int d = 0; d < t->directions; d++) {
        TRY(t->be->check_stats(t->program, BE_STATS_QUERY, t->graph, step_stage(t, STAGE_QUERY, d), err));
        if (t->key != NULL)
            TRY(t->be->check_stats(t->program, BE_STATS_KEY, t->graph, step_stage(t, STAGE_KEY, d), err));
    }
    return t->be->row_std(t->program, queries, rows, t->dim, err);
}

/* ---- what was found ---- */

static moco_status bad_loss(struct trainer *t, struct err *err)
{
    int64_t row = -1;
    if (t->queue != NULL)
        TRY(queue_first_bad(t->queue, &row, err));
    if (row >= 0)
        return err_set(err, MOCO_ENUMERIC, "queue holds a number that is not finite, in row %lld", (long long)row);
    return err_set(err, MOCO_ENUMERIC, "the loss of step %lld is not finite", (long long)trainer_next_step(t));
}

static moco_status bad_row(const char *what, int64_t image, struct err *err)
{
    return err_set(err, MOCO_ENUMERIC, "the %s of image %lld of the batch is not finite", what, (long long)image);
}

static const char *at_least_scale(const struct trainer *t)
{
    return t->precision == BE_F16 ? ", at a loss scale of 1, which cannot be smaller" : "";
}

/* Turns a finding into an error sentence; MOCO_OK if there was none. */
static moco_status tell(struct trainer *t, const struct be_outcome *found, struct err *err)
{
    int64_t index = (int64_t)(found->bad & ((UINT64_C(1) << 48) - 1));
    if (found->bad == BE_NOTHING)
        return found->cancelled ? cancelled(t, err) : MOCO_OK;
    switch ((enum be_what)(found->bad >> 48)) {
    case BE_ROWS_KEY:
        return bad_row("key", index, err);
    case BE_ROWS_QUERY:
        return bad_row(t->shared ? "embedding" : "query", index, err);
    case BE_LOSS:
        return bad_loss(t, err);
    case BE_GRADIENT:
        return err_set(err, MOCO_ENUMERIC, "grad.encoder_q.%s holds a number that is not finite%s",
                       t->graph->params[index].name, at_least_scale(t));
    case BE_NORM:
    case BE_LIMIT:
        return err_set(err, MOCO_ENUMERIC, "the norm of the gradient is not finite%s", at_least_scale(t));
    case BE_STATS_QUERY:
        return stats_bad(t->query, index, "encoder_q.", " of this batch", err);
    case BE_STATS_KEY:
        return stats_bad(t->key, index, "encoder_k.", " of this batch", err);
    case BE_VETO:
        break;
    }
    return err_set(err, MOCO_ESTATE, "step %lld was not allowed to commit", (long long)trainer_next_step(t));
}

/* ---- the work ---- */

/* What other ranks need of this one. Keys that are known to be bad are not worth the queries' work. */
static moco_status encode(struct trainer *t, struct step *step, struct err *err)
{
    struct be_outcome found;
    size_t stages = (size_t)t->encoders * (size_t)t->directions * (size_t)t->graph->stat_total * t->real_bytes;
    TRY(t->be->zero(t->dev, step_stage(t, STAGE_QUERY, 0), stages, err));
    if (t->shared)
        return batch_embed(t, step, err);
    TRY(all_keys(t, step, err));
    if (!t->be->found(t->program))
        return MOCO_OK;
    TRY(t->be->verdict(t->program, &found, err));
    return tell(t, &found, err);
}

/* Losses and gradients of this rank's images. */
static moco_status learn(struct trainer *t, struct step *step, struct err *err)
{
    if (!t->shared)
        return all_queries(t, step, err);
    TRY(ranks_meet(t, step, MOCO_OK, err));
    return batch_pairs(t, step, err);
}

/* No number comes back here, but from other ranks. */
static moco_status work(struct trainer *t, struct step *step, moco_status mine, struct err *err)
{
    moco_status status = mine == MOCO_OK && !step->skip ? encode(t, step, err) : mine;
    status = ranks_greet(t, step, status, err);
    if (status == MOCO_OK && !step->skip)
        status = learn(t, step, err);
    status = ranks_sum(t, step, status, err);
    return status == MOCO_OK && !step->skip ? check_results(t, err) : status;
}

/* ---- the vote ---- */

/* What this rank has to say: what can be known without waiting is said before the commit. With ranks all of it is, since
 * the commit must do the same on every one; *found is filled then. */
static moco_status opinion(struct trainer *t, const struct step *step, struct be_outcome *found, struct err *err)
{
    TRY(t->be->ready(t->dev, err));
    if (t->ranks > 1 && atomic_load(t->cancel))
        return cancelled(t, err);
    if (t->ranks == 1 && !step->careful && !t->be->found(t->program))
        return MOCO_OK;
    TRY(t->be->verdict(t->program, found, err));
    if (found->bad >> 48 == BE_LIMIT || loss_scale_remedies(t, found->bad))
        return MOCO_OK; /* the commit does nothing, and the step is done carefully, or skipped */
    TRY(tell(t, found, err));
    return step->careful ? step_check_update(t, step, sqrt(found->sum_squares), err) : MOCO_OK;
}

/* The one place between the work and the commit, where those who share a step agree whether it is committed: what fails
 * here, on whatever rank, has touched nothing. */
static moco_status vote(struct trainer *t, const struct step *step, moco_status mine, struct be_outcome *found,
                        struct err *err)
{
    if (mine == MOCO_OK)
        mine = opinion(t, step, found, err);
    return ranks_agree(t, mine, found, err);
}

/* ---- the commit ---- */

static moco_status commit_statistics(struct trainer *t, struct encoder *encoder, int stage, struct err *err)
{
    for (int d = 0; d < t->directions; d++) /* as so many forwards of the reference would */
        TRY(t->be->stats_commit(t->program, t->graph, encoder->numbers.stats.at, step_stage(t, stage, d), t->groups,
                                err));
    return MOCO_OK;
}

static moco_status commit_calls(struct trainer *t, struct err *err)
{
    TRY(step_update(t, err)); /* the key encoder follows the weights as they were */
    TRY(commit_statistics(t, t->query, STAGE_QUERY, err));
    if (t->key != NULL)
        TRY(commit_statistics(t, t->key, STAGE_KEY, err));
    if (t->queue == NULL)
        return MOCO_OK;
    return t->be->push(t->program, t->queue->rows.at, t->queue->length, step_at(t, t->at.keys),
                       t->directions * t->o.batch_size, t->dim, err);
}

static void count_batches(const struct trainer *t, struct encoder *encoder)
{
    for (int i = 0; i < t->graph->stat_count; i++)
        encoder->numbers.tracked[i] += t->directions;
    encoder->version++;
}

static void pass_batch(struct trainer *t)
{
    t->step++;
    t->epoch = t->queued.epoch;
    t->position = t->queued.position;
}

/* The host's part of the commit, which cannot fail. */
static void advance(struct trainer *t, const struct be_outcome *outcome)
{
    struct norm_bounds after = step_bounds_after(t, t->queued.lr, sqrt(outcome->sum_squares));
    count_batches(t, t->query);
    if (t->key != NULL)
        count_batches(t, t->key);
    if (t->queue != NULL)
        queue_pushed(t->queue, keys_of_a_step(t));
    note_finite(t, outcome->finite);
    t->bounds = after;
    t->wary = 0;
    loss_scale_committed(&t->scale, t->precision);
    pass_batch(t);
}

/* Everything that can fail was done before, except the device itself. If the device fails here, nobody knows how
 * much of the step was committed. The trainer then refuses further steps rather than train on half a step. */
static moco_status commit(struct trainer *t, struct err *err)
{
    int skip;
    t->broken = t->ranks > 1; /* the others commit whatever happens here, and the flag is of no use any more */
    TRY(t->be->decide(t->program, t->ranks > 1 ? NULL : t->cancel, 0, &skip, err));
    t->broken = 1;
    if (!skip)
        TRY(commit_calls(t, err));
    TRY(t->be->program_end(t->program, err));
    t->broken = 0;
    return MOCO_OK;
}

/* ---- its outcome ---- */

/* The loss of a query that cannot distinguish its positive from the negatives, summed over directions (NT-Xent:
 * views). */
static double chance_loss(const struct trainer *t)
{
    if (t->queue != NULL)
        return t->directions * log((double)t->queue->length + 1);
    if (t->o.loss == MOCO_LOSS_NTXENT)
        return 2 * log(2.0 * t->o.batch_size - 1);
    return t->directions * log((double)t->o.batch_size);
}

static void write_report(struct trainer *t, const struct be_outcome *o)
{
    double queries = (double)(t->o.loss == MOCO_LOSS_NTXENT ? 2 : t->directions) * t->o.batch_size;
    double fill = t->queue != NULL ? (double)t->queue->filled / (double)t->queue->length : 0;
    t->report = (moco_step_report){.struct_size = sizeof t->report,
                                   .step = t->step,
                                   .loss = o->loss / t->o.batch_size,
                                   .chance_loss = chance_loss(t),
                                   .acc1 = 100 * o->top1 / queries,
                                   .acc5 = 100 * o->top5 / queries,
                                   .pos_cosine = o->pos / queries,
                                   .neg_cosine = o->neg / queries,
                                   .feature_std = o->feature_std,
                                   .grad_norm = o->committed ? sqrt(o->sum_squares) : 0,
                                   .queue_fill = fill,
                                   .lr = t->queued.lr,
                                   .loss_scale = t->queued.loss_scale,
                                   .skipped = t->scale.skipped};
    t->reported = 1;
}

/* A gradient has overflowed. The batch is behind all the same: a training that is resumed here would meet it again, and
 * one that is not would not. */
static void skip_step(struct trainer *t, const struct be_outcome *outcome)
{
    loss_scale_overflowed(&t->scale);
    pass_batch(t);
    write_report(t, outcome);
}

/* Means over the queries of all ranks. */
static void take_sums(struct be_outcome *outcome, const struct be_outcome *all)
{
    outcome->loss = all->loss;
    outcome->top1 = all->top1;
    outcome->top5 = all->top5;
    outcome->pos = all->pos;
    outcome->neg = all->neg;
    outcome->feature_std = all->feature_std;
}

enum ending {
    COMMITTED,
    SKIPPED,
    TOO_LARGE /* its gradient was larger than the bounds on the weights' norms allow without a closer look */
};

/* Waits for the outcome of the step in flight, and does the host's part of it. The caller holds the query encoder's lock.
 * `all`: what ranks have agreed on, of all their queries. */
static moco_status land(struct trainer *t, const struct be_outcome *all, enum ending *ending, struct err *err)
{
    struct be_outcome outcome = {0};
    int known;
    t->query->flight.trainer = NULL;
    moco_status status = t->be->outcome(t->program, 1, &known, &outcome, err);
    t->broken |= status != MOCO_OK;
    TRY(status);
    if (all != NULL)
        take_sums(&outcome, all);
    *ending = COMMITTED;
    if (outcome.committed) {
        advance(t, &outcome);
        write_report(t, &outcome);
        return MOCO_OK;
    }
    *ending = TOO_LARGE;
    if (outcome.bad >> 48 == BE_LIMIT)
        return MOCO_OK;
    if (!loss_scale_remedies(t, outcome.bad))
        return tell(t, &outcome, err);
    if (outcome.cancelled)
        return cancelled(t, err);
    *ending = SKIPPED;
    skip_step(t, &outcome);
    return MOCO_OK;
}

/* The same of one that was left in flight: its batch is not here any more, and who has it must give it again. */
static moco_status land_late(struct trainer *t, enum ending *ending, struct err *err)
{
    TRY(land(t, NULL, ending, err));
    if (*ending != TOO_LARGE)
        return MOCO_OK;
    t->wary = 1;
    return err_set(
        err, MOCO_ENUMERIC,
        "the gradient of step %lld is so large that its update may overflow, and nothing was committed; give "
        "its batch again, and the step looks before it updates",
        (long long)t->step);
}

/* encoder_flight.land: who waits is not who may be told. */
static void land_for_others(void *trainer)
{
    struct trainer *t = trainer;
    struct err err = {0};
    enum ending ending;
    moco_status status = land_late(t, &ending, &err);
    if (status == MOCO_ECANCELED)
        atomic_store(t->cancel, 0); /* it has taken effect */
    if (status != MOCO_OK)
        t->late = err;
}

static moco_status tell_late(struct trainer *t, struct err *err)
{
    struct err late = t->late;
    t->late = (struct err){.status = MOCO_OK};
    return late.status == MOCO_OK ? MOCO_OK : err_set(err, late.status, "%s", late.text);
}

/* In a call of the trainer that may leave a step in flight; others take trainer_wait. */
static moco_status land_now(struct trainer *t, struct err *err)
{
    encoder_lock(t->query);
    if (trainer_flies(t))
        land_for_others(t);
    encoder_unlock(t->query);
    return tell_late(t, err);
}

moco_status trainer_wait(struct trainer *t, struct err *err)
{
    encoder_lock_landed(t->query);
    moco_status status = tell_late(t, err);
    encoder_unlock(t->query);
    return status;
}

/* The step that was queued behind one that was not committed has done nothing. */
static moco_status forget_follower(struct trainer *t, struct err *err)
{
    struct be_outcome outcome = {.committed = 0};
    int known;
    moco_status status = t->be->outcome(t->program, 1, &known, &outcome, err);
    if (status == MOCO_OK && outcome.committed)
        status = err_set(err, MOCO_ESTATE, "the step behind step %lld was committed, though that one was not",
                         (long long)t->step);
    t->broken |= status != MOCO_OK;
    return status;
}

/* ---- a step ---- */

/* What is to be done with the batch once more. */
enum again { NOT_AGAIN, AGAIN, AGAIN_CAREFULLY };

/* The device has all of the step. Its outcome is left for later, if that is wanted; that of the step before is not. */
static moco_status take_off(struct trainer *t, const struct step *step, const struct be_outcome *found,
                            enum again *again, struct err *err)
{
    const struct queued_step own = {.lr = step->lr,
                                    .loss_scale = t->gradient_scale,
                                    .limit = step->limit,
                                    .epoch = step->batch->epoch,
                                    .position = step->batch->position};
    enum ending ending = COMMITTED;
    if (trainer_flies(t)) {
        moco_status status = land_late(t, &ending, err);
        if (status != MOCO_OK || ending != COMMITTED) {
            struct err worse = {0};
            *again = AGAIN;
            if (forget_follower(t, &worse) == MOCO_OK)
                return status;
            if (err != NULL)
                *err = worse;
            return worse.status;
        }
    }
    t->queued = own;
    t->query->flight.land = land_for_others;
    t->query->flight.trainer = t;
    if (t->ahead)
        return MOCO_OK;
    TRY(land(t, t->ranks > 1 ? found : NULL, &ending, err));
    *again = ending == TOO_LARGE ? AGAIN_CAREFULLY : NOT_AGAIN;
    return MOCO_OK;
}

/* From begin to the outcome. What others see of the commit, who may embed with the model meanwhile, is all of it or
 * nothing. `mine`: how this rank has fared so far; other ranks wait for it all the same. */
static moco_status give(struct trainer *t, struct step *step, moco_status mine, enum again *again, struct err *err)
{
    struct be_outcome found = {0};
    moco_status status = vote(t, step, work(t, step, mine, err), &found, err);
    if (status == MOCO_OK) {
        encoder_lock(t->query);
        status = commit(t, err);
        if (status != MOCO_OK)
            t->be->program_drop(t->program);
        else
            status = take_off(t, step, &found, again, err);
        encoder_unlock(t->query);
    } else {
        t->be->program_drop(t->program);
    }
    if (status == MOCO_OK && step->skip)
        step_all_launched(t);
    return status;
}

/* May this step not be queued behind the one in flight? What that one leaves must be known first if the state is to be
 * looked at, if other calls are recorded from here on, or if the step may be done carefully. */
static int must_land(const struct trainer *t, const struct step *step)
{
    return !known_finite(t) || is_apart(step->batch) != t->apart || step->careful ||
           step_gradient_limit(t, step->lr) < 0;
}

static moco_status prepare(struct trainer *t, struct step *step, struct err *err)
{
    if (atomic_exchange(t->cancel, 0))
        return cancelled(t, err);
    TRY(t->be->ready(t->dev, err));
    if (trainer_flies(t) && must_land(t, step))
        TRY(land_now(t, err));
    TRY(check_state(t, err));
    TRY(trainer_refresh(t, err));
    return begin(t, step, err);
}

static moco_status try_step(struct trainer *t, struct step *step, moco_status mine, enum again *again, struct err *err)
{
    *again = NOT_AGAIN;
    if (mine == MOCO_OK)
        mine = prepare(t, step, err);
    if (t->ranks == 1)
        TRY(mine);
    return give(t, step, mine, again, err);
}

static moco_status check_call(const struct trainer *t, const moco_batch *batch, const struct resident *resident,
                              double lr, struct err *err)
{
    TRY(trainer_check_whole(t, err));
    if (resident != NULL && resident->dev != t->dev)
        return err_set(err, MOCO_EINVAL, "batch.pictures are in the memory of another device than the trainer's");
    return check_batch(t, batch, lr, err);
}

static moco_status make_step(struct trainer *t, const moco_batch *batch, const struct resident *resident, double lr,
                             struct err *err)
{
    enum again again;
    struct step step = {.batch = batch, .resident = resident, .lr = lr};
    moco_status status = try_step(t, &step, check_call(t, batch, resident, lr, err), &again, err);
    while (status == MOCO_OK && again != NOT_AGAIN) {
        step = (struct step){.batch = batch, .resident = resident, .lr = lr, .careful = again == AGAIN_CAREFULLY};
        status = try_step(t, &step, MOCO_OK, &again, err);
    }
    if (status == MOCO_ECANCELED)
        atomic_store(t->cancel, 0); /* it has taken effect */
    return status;
}

/* A call that fails leaves nothing in flight, so that the cursor says which batches are behind. If both steps have failed,
 * the earlier one is told. */
static moco_status land_before(struct trainer *t, moco_status failed, struct err *err)
{
    struct err earlier = {0};
    moco_status status = trainer_flies(t) ? land_now(t, &earlier) : MOCO_OK;
    if (status == MOCO_OK)
        return failed;
    if (err != NULL)
        *err = earlier;
    return status;
}

moco_status trainer_step(struct trainer *t, const moco_batch *batch, const struct resident *resident, double lr,
                         struct err *err)
{
    encoder_step_begins(t->query);
    moco_status status = tell_late(t, err);
    if (status == MOCO_OK)
        status = make_step(t, batch, resident, lr, err);
    if (status != MOCO_OK)
        status = land_before(t, status, err);
    encoder_step_ends(t->query);
    return status;
}

moco_status trainer_leave(struct trainer *t, moco_status why, struct err *err)
{
    enum again again;
    struct step step = {.batch = NULL};
    struct err earlier = {0};
    moco_status status = trainer_wait(t, &earlier);
    if (status != MOCO_OK) {
        *err = earlier;
        return status;
    }
    return try_step(t, &step, why, &again, err);
}

void trainer_cancel(struct trainer *t)
{
    atomic_store(t->cancel, 1);
}

moco_status trainer_report(const struct trainer *t, moco_step_report *report, struct err *err)
{
    encoder_lock(t->query); /* a thread that embeds may have the last step land */
    int reported = t->reported;
    *report = t->report;
    encoder_unlock(t->query);
    return reported ? MOCO_OK
                    : err_set(err, MOCO_ESTATE, "no step has been committed yet, so there is nothing to report");
}

void trainer_cursor(const struct trainer *t, int64_t *step, int64_t *epoch, int64_t *position)
{
    encoder_lock(t->query);
    if (step != NULL)
        *step = t->step;
    if (epoch != NULL)
        *epoch = t->epoch;
    if (position != NULL)
        *position = t->position;
    encoder_unlock(t->query);
}
