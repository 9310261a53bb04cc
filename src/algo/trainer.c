/* SPDX-License-Identifier: MIT
 *
 * trainer: makes a trainer. `arrange` decides everything that follows from the configuration (groups, launches,
 * plans, where each buffer is) without allocating it. Creating a trainer then allocates and binds it; an estimate
 * only measures it. */
#include "algo/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algo/trainer_ranks.h"
#include "algo/trainer_rows.h"
#include "algo/trainer_update.h"
#include "backend/fallback.h"

#define PAGE ((size_t)4096)
#define SLAB_MAX ((size_t)1 << 62) /* what is added to it fits an int64_t */

/* ---- arranging ---- */

static moco_status check_statistics(const struct trainer *t, struct err *err)
{
    for (int i = 0; i < t->graph->op_count; i++) {
        const struct graph_op *op = &t->graph->ops[i];
        const struct graph_value *v = &t->graph->values[op->out];
        if (op->kind == OP_BN && (int64_t)t->o.bn_group_size * v->h * v->w < 2)
            return err_set(err, MOCO_EINVAL,
                           "bn_group_size is 1 and %s sees one pixel per image at %d x %d: the variance of one number "
                           "is not defined; use larger groups or images",
                           op->name, t->o.image_h, t->o.image_w);
    }
    return MOCO_OK;
}

static moco_status make_plan(struct trainer *t, enum be_pass pass, struct be_plan **plan, struct be_plan_bytes *bytes,
                             struct err *err)
{
    struct be_plan_spec spec = {.graph = t->graph,
                                .layout = t->layout,
                                .precision = t->precision,
                                .pass = pass,
                                .n = t->launch_n,
                                .groups = t->launch_groups,
                                .output = t->graph->embedding,
                                .recompute = pass == BE_TRAIN && t->o.recompute};
    TRY(t->be->plan_create(plan, t->dev, &spec, err));
    t->be->plan_bytes(*plan, bytes);
    if (bytes->slab > SLAB_MAX)
        return err_set(err, MOCO_ENOMEM, "a launch of %d images of %d x %d takes %zu bytes, more than any machine has",
                       t->launch_n, t->o.image_h, t->o.image_w, bytes->slab);
    return MOCO_OK;
}

static size_t take(struct work_layout *at, size_t bytes)
{
    size_t first = at->bytes;
    at->bytes += (bytes + PAGE - 1) / PAGE * PAGE;
    return first;
}

static size_t loss_scratch(const struct trainer *t)
{
    int batch = t->o.batch_size;
    if (t->o.negatives == MOCO_NEGATIVES_QUEUE)
        return t->be->infonce_scratch(t->dev, t->launch_n, t->dim, t->queue_length);
    if (t->o.loss == MOCO_LOSS_NTXENT)
        return t->be->batch_loss_scratch(t->dev, 2 * batch, 0, t->dim);
    return t->be->batch_loss_scratch(t->dev, t->shared ? batch : t->launch_n, batch, t->dim);
}

static void place_buffers(struct trainer *t, const struct be_plan_bytes *key, const struct be_plan_bytes *query)
{
    struct work_layout *at = &t->at;
    size_t row = (size_t)t->dim * t->real_bytes, rows = (size_t)t->launch_n * row, key_bytes = 0;
    size_t batch = (size_t)t->o.batch_size * row, sets = (size_t)(t->shared ? 2 : t->directions);
    at->key_block = (key->slab + PAGE - 1) / PAGE * PAGE;
    if (!t->shared)
        key_bytes = at->key_block + t->be->key_bytes(t->layout);
    at->plans = take(at, key_bytes > query->slab ? key_bytes : query->slab);
    at->queries = take(at, sets * (size_t)t->share * row);
    at->keys = take(at, sets * batch);
    at->positives = take(at, t->shared ? 0 : t->o.negatives == MOCO_NEGATIVES_BATCH ? batch : rows);
    at->d_query = take(at, rows);
    at->d_pairs = take(at, t->shared ? 2 * batch : 0);
    at->exchange = take(at, t->ranks > 1 ? sets * batch : 0);
    at->loss = take(at, loss_scratch(t));
    at->stage = take(at, (size_t)t->encoders * (size_t)t->directions * (size_t)t->graph->stat_total * t->real_bytes);
}

/* Whole BN groups for every rank, and as many for each. */
static moco_status check_ranks(const struct trainer *t, const struct be_info *info, struct err *err)
{
    /* A shared encoder's groups are of one view each, and a rank has as many of either. */
    int groups = t->shared ? t->groups / 2 : t->groups, most = groups;
    if (t->ranks == 1)
        return MOCO_OK;
    if (t->shared && t->groups == 1)
        return err_set(err, MOCO_ENOTSUP,
                       "bn_group_size %d is the whole batch of both views, whose statistics cannot be taken over %d "
                       "ranks: it needs one rank, or a bn_group_size that divides batch_size",
                       t->o.bn_group_size, t->ranks);
    while (most > 1 && (most > t->ranks || groups % most != 0))
        most--;
    if (groups % t->ranks != 0)
        return err_set(err, MOCO_EINVAL,
                       "batch_size %d has %d BN groups of %d, which cannot be shared evenly by %d ranks; %d rank%s can",
                       t->o.batch_size, groups, t->o.bn_group_size, t->ranks, most, most == 1 ? "" : "s");
    int reached = t->be->ranks_open != NULL || (t->comm != NULL && comm_reaches_devices(t->comm));
    if (info->own_memory && !reached)
        return err_set(err, MOCO_ENOTSUP,
                       "device %s has memory of its own, which ranks cannot exchange; train on it with one rank",
                       t->be->name);
    return MOCO_OK;
}

/* Needs ctx, be, dev, o, config, queue_length, rank and ranks. */
static moco_status arrange(struct trainer *t, struct err *err)
{
    TRY(trainer_options_check(&t->o, err));
    t->config.image_h = t->o.image_h;
    t->config.image_w = t->o.image_w;
    TRY(net_build(&t->graph, t->ctx, &t->config, err));
    TRY(check_statistics(t, err));
    TRY(t->be->precision(t->dev, t->o.precision, &t->precision, err));
    TRY(t->be->ready(t->dev, err));
    struct be_info info;
    t->be->info(t->dev, &info);
    t->real_bytes = info.real_bytes;
    t->own_memory = info.own_memory;
    t->ahead = t->o.ahead && info.behind > 1 && t->o.progress == NULL && t->ranks == 1;
    t->automatic = t->o.precision == MOCO_PRECISION_AUTO;
    t->o.precision = (int32_t)t->precision;
    t->scale = loss_scale_first(t->precision);
    t->gradient_scale = t->scale.scale;
    t->dim = t->config.dim;
    t->directions = t->o.symmetric ? 2 : 1;
    t->shared = t->o.encoder_k == MOCO_KEY_SHARED;
    t->encoders = t->shared ? 1 : 2;
    t->share = t->o.batch_size / t->ranks;
    t->groups = (t->shared ? 2 : 1) * t->o.batch_size / t->o.bn_group_size;
    TRY(check_ranks(t, &info, err));
    t->o.groups_per_launch = trainer_groups_per_launch(&t->o, t->groups, info.launch_pixels);
    t->launch_groups = trainer_launch_groups(t->o.groups_per_launch, t->groups / t->ranks);
    t->launches = t->groups / t->ranks / t->launch_groups;
    t->launch_n = t->launch_groups * t->o.bn_group_size;
    TRY(t->be->layout_create(&t->layout, t->dev, t->graph, t->precision, err));
    struct be_plan_bytes key = {0}, query;
    if (!t->shared)
        TRY(make_plan(t, BE_KEY, &t->key_plan, &key, err));
    TRY(make_plan(t, BE_TRAIN, &t->query_plan, &query, err));
    place_buffers(t, &key, &query);
    return MOCO_OK;
}

static void unarrange(struct trainer *t)
{
    if (t->key_plan != NULL)
        t->be->plan_free(t->key_plan);
    if (t->query_plan != NULL)
        t->be->plan_free(t->query_plan);
    if (t->layout != NULL)
        t->be->layout_free(t->layout);
    graph_free(t->graph);
}

/* ---- creating ---- */

static moco_status take_host_memory(struct trainer *t, struct err *err)
{
    t->host.index = mem_array(t->ctx, (size_t)rows_index_count(t), sizeof *t->host.index, err);
    t->host.shuffle = mem_array(t->ctx, (size_t)t->o.batch_size, sizeof *t->host.shuffle, err);
    if (t->host.index == NULL || t->host.shuffle == NULL)
        return MOCO_ENOMEM;
    rows_index_init(t);
    return MOCO_OK;
}

static size_t host_bytes(const struct trainer *t)
{
    return ((size_t)rows_index_count(t) + (size_t)t->o.batch_size) * sizeof(int32_t);
}

static moco_status take_device_memory(struct trainer *t, struct err *err)
{
    size_t slab = t->be->layout_bytes(t->layout);
    TRY(t->be->alloc(t->dev, t->at.bytes, &t->work, err));
    TRY(t->be->alloc(t->dev, slab, &t->gradients, err));
    TRY(t->be->alloc(t->dev, slab, &t->momentum, err));
    size_t readers = t->be->reader_bytes(t->layout, 1);
    if (readers > 0)
        TRY(t->be->alloc(t->dev, readers, &t->readers, err));
    char *plans = (char *)t->work.at + t->at.plans;
    if (t->key_plan != NULL)
        TRY(t->be->plan_bind(t->key_plan, plans, err));
    return t->be->plan_bind(t->query_plan, plans, err);
}

/* Who calls the device in the same order at every step may have it repeat what it recorded. With progress nobody knows
 * what is called between: the caller may embed with the model, or save it, after every launch. */
static moco_status make_program(struct trainer *t, struct err *err)
{
    struct be_program_spec spec = {.layout = t->layout,
                                   .view_bytes = (size_t)t->share * (size_t)t->o.image_h * (size_t)t->o.image_w * 3,
                                   .views = t->directions == 2 ? 4 : 2, /* keys' may come apart */
                                   .view_size = t->o.image_h == t->o.image_w ? t->o.image_h : 0,
                                   .index_count = rows_index_count(t),
                                   .parts = ranks_parts(t),
                                   .replay = t->o.progress == NULL};
    TRY(t->be->cancel_alloc(t->dev, &t->cancel, err));
    return t->be->program_create(&t->program, t->dev, &spec, err);
}

static moco_status check_partners(const struct encoder *encoder, const struct queue *queue, int negatives,
                                  struct err *err)
{
    if (negatives == MOCO_NEGATIVES_BATCH) {
        if (queue != NULL)
            return err_set(err, MOCO_EINVAL, "negatives is batch and a queue is given; pass NULL for the queue");
        return MOCO_OK;
    }
    if (queue == NULL)
        return err_set(err, MOCO_EINVAL, "queue is NULL, which only negatives batch does without");
    if (encoder->dev != queue->dev)
        return err_set(err, MOCO_EINVAL, "model and queue are on different devices");
    if (encoder->config.dim != queue->dim)
        return err_set(err, MOCO_EINVAL, "the queue holds keys of %d numbers and the model makes embeddings of %d",
                       queue->dim, encoder->config.dim);
    return MOCO_OK;
}

/* Makes all of a trainer. On failure trainer_free takes back what was made, in whatever state it is. */
static moco_status make(struct trainer *t, struct encoder *encoder, struct queue *queue, struct err *err)
{
    TRY(trainer_options_check(&t->o, err));
    TRY(check_partners(encoder, queue, t->o.negatives, err));
    TRY(owner_take(&encoder->owner, t, "model", err));
    t->query = encoder;
    if (queue != NULL)
        TRY(owner_take(&queue->owner, t, "queue", err));
    t->queue = queue;
    TRY(arrange(t, err));
    if (queue != NULL)
        queue_train(queue, encoder);
    if (!t->shared)
        TRY(encoder_copy(&t->key, encoder, err));
    TRY(take_host_memory(t, err));
    TRY(take_device_memory(t, err));
    TRY(ranks_create(t, err));
    TRY(make_program(t, err));
    TRY(trainer_make_names(t, err));
    t->readers_stale = 1;
    return trainer_refresh(t, err);
}

moco_status trainer_create(struct trainer **out, struct encoder *encoder, struct queue *queue,
                           const moco_trainer_options *options, struct comm *comm, struct err *err)
{
    *out = NULL;
    struct trainer *t = mem_zalloc(encoder->ctx, sizeof *t, err);
    if (t == NULL)
        return comm != NULL ? comm_vote(comm, MOCO_ENOMEM, err) : MOCO_ENOMEM;
    t->ctx = encoder->ctx;
    t->be = encoder->be;
    t->dev = encoder->dev;
    t->o = *options;
    t->o.comm = NULL;
    t->comm = comm;
    t->rank = comm != NULL ? comm_rank(comm) : 0;
    t->ranks = comm != NULL ? comm_ranks(comm) : 1;
    t->config = encoder->config;
    t->queue_length = queue != NULL ? queue->length : 0;
    moco_status status = make(t, encoder, queue, err);
    status = ranks_join(t, status, err);
    if (status != MOCO_OK) {
        trainer_free(t);
        return status;
    }
    *out = t;
    return MOCO_OK;
}

/* Nobody is left to be told how the step in flight ends, but a failure is not kept from the log. */
static void land_last(struct trainer *t)
{
    if (t->query != NULL) {
        encoder_lock_landed(t->query);
        encoder_unlock(t->query);
    }
    if (t->late.status != MOCO_OK)
        ctx_log(t->ctx, LOG_WARN, "the trainer is freed, and of its last step nobody was told: %.400s", t->late.text);
    if (t->queue != NULL)
        queue_train(t->queue, NULL);
}

void trainer_free(struct trainer *t)
{
    if (t == NULL)
        return;
    land_last(t);
    int kept = t->ranks > 1 && comm_written_to(t->comm); /* what exchanges may still write to stays */
    if (kept)
        ctx_log(t->ctx, LOG_WARN,
                "rank %d of %d: %zu bytes of a trainer stay taken, which the lost exchange may write to", t->rank,
                t->ranks, t->work.bytes + t->gradients.bytes);
    if (t->program != NULL)
        t->be->program_free(t->program);
    if (t->cancel != NULL)
        t->be->cancel_free(t->dev, t->cancel);
    unarrange(t);
    if (!kept) {
        t->be->release(t->dev, &t->work);
        t->be->release(t->dev, &t->gradients);
    }
    ranks_free(t, kept);
    t->be->release(t->dev, &t->momentum);
    t->be->release(t->dev, &t->readers);
    mem_free(t->ctx, t->host.shuffle);
    mem_free(t->ctx, t->host.index);
    mem_free(t->ctx, t->names);
    encoder_free(t->key);
    if (t->query != NULL)
        owner_release(&t->query->owner, t);
    if (t->queue != NULL)
        owner_release(&t->queue->owner, t);
    mem_free(t->ctx, t);
}

moco_status trainer_refresh(struct trainer *t, struct err *err)
{
    if (t->readers_stale && t->readers.at != NULL)
        TRY(t->be->readers(t->layout, 1, t->query->numbers.masters.at, t->readers.at, err));
    t->readers_stale = 0;
    return MOCO_OK;
}

moco_status trainer_check_whole(const struct trainer *t, struct err *err)
{
    if (t->broken)
        return err_set(
            err, MOCO_ESTATE,
            "the commit of step %lld stopped half-way, so the state is not one of training; load a checkpoint",
            (long long)t->step);
    return MOCO_OK;
}

/* ---- estimating ---- */

/* Query: forward, gradient of weights, gradient of data (which the first convolution does not need); key: forward, or
 * as the query if the encoder is shared. */
static double step_flops(const struct trainer *t)
{
    const struct graph *g = t->graph;
    double forward = graph_flops(g), first = 0;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (op->kind == OP_CONV && op->in[0] == g->input)
            first += 2.0 * (double)g->params[op->param[0]].count * g->values[op->out].h * g->values[op->out].w;
    }
    double each = t->shared ? 2 * (3 * forward - first) : 4 * forward - first;
    return each * t->directions * t->share;
}

/* Adds up the memory of a trainer that was arranged by the code that training uses, so that the two cannot differ. */
static moco_status measure(struct trainer *t, moco_memory_estimate *e, struct err *err)
{
    int64_t slab = (int64_t)t->be->layout_bytes(t->layout);
    int64_t stats = t->graph->stat_total * (int64_t)t->real_bytes;
    e->launches = t->launches;
    e->parameters = t->graph->param_total;
    e->weights_bytes = t->encoders * (slab + stats);
    e->reader_bytes = (int64_t)t->be->reader_bytes(t->layout, 1);
    e->gradient_bytes = slab;
    e->momentum_bytes = slab;
    e->queue_bytes = t->queue_length * t->dim * (int64_t)t->real_bytes;
    e->slab_bytes = (int64_t)t->at.bytes;
    e->total_bytes = e->weights_bytes + e->reader_bytes + e->gradient_bytes + e->momentum_bytes + e->queue_bytes +
                     e->slab_bytes + (int64_t)host_bytes(t);
    e->step_flops = step_flops(t);
    struct be_info info;
    double rate;
    t->be->info(t->dev, &info);
    TRY(backend_rate(t->be, t->dev, t->precision, &rate, err));
    e->step_seconds = rate > 0 ? e->step_flops / rate / info.step_rate : 0;
    return MOCO_OK;
}

/* Arranges a trainer without binding it, measures it, and discards it. Nothing large is allocated. */
moco_status trainer_estimate(struct ctx *ctx, const struct backend *be, struct be_device *dev,
                             const struct net_config *config, int64_t queue_length, const moco_trainer_options *options,
                             int ranks, moco_memory_estimate *estimate, struct err *err)
{
    TRY(trainer_options_check(options, err));
    if (options->negatives == MOCO_NEGATIVES_BATCH && queue_length != 0)
        return err_set(err, MOCO_EINVAL, "negatives is batch and queue_length is %lld; it must be 0 then",
                       (long long)queue_length);
    if (options->negatives == MOCO_NEGATIVES_QUEUE && (queue_length < 1 || queue_length > QUEUE_LENGTH_MAX))
        return err_set(err, MOCO_EINVAL, "queue_length is %lld; it must be 1 to %lld", (long long)queue_length,
                       (long long)QUEUE_LENGTH_MAX);
    struct trainer *t = mem_zalloc(ctx, sizeof *t, err);
    if (t == NULL)
        return MOCO_ENOMEM;
    t->ctx = ctx;
    t->be = be;
    t->dev = dev;
    t->o = *options;
    t->o.comm = NULL;
    t->ranks = ranks;
    t->config = *config;
    t->queue_length = queue_length;
    moco_status status = arrange(t, err);
    if (status == MOCO_OK)
        status = measure(t, estimate, err);
    unarrange(t);
    mem_free(ctx, t);
    return status;
}
