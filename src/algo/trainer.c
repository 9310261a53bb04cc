/* SPDX-License-Identifier: MIT
 *
 * trainer: making one. `arrange` decides everything that follows from the configuration (groups, launches, plans, where
 * each buffer lies) without taking the memory; creating binds it, estimating only measures it. */
#include "algo/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algo/trainer_state.h"

#define BATCH_MAX (1 << 20)
#define SIDE_MAX 16384 /* graph_input's */
#define LAUNCH_PIXELS (INT64_C(32) * 224 * 224)
#define PAGE ((size_t)4096)
#define SLAB_MAX ((size_t)1 << 62) /* what is added to it fits an int64_t */
#define OF_RATE 0.75               /* of the convolutions' rate, what a whole step was seen to reach */

/* ---- options ---- */

static moco_status check_flag(int value, const char *name, struct err *err)
{
    if (value != 0 && value != 1)
        return err_set(err, MOCO_EINVAL, "%s is %d; it must be 0 or 1", name, value);
    return MOCO_OK;
}

/* Comparisons are written so that NaN fails. */
static moco_status check_numbers(const moco_trainer_options *o, struct err *err)
{
    if (!(o->temperature > 0 && o->temperature <= 1e6))
        return err_set(err, MOCO_EINVAL, "temperature must be greater than 0 (and at most 10^6)");
    if (!(o->key_momentum >= 0 && o->key_momentum <= 1))
        return err_set(err, MOCO_EINVAL, "key_momentum must be 0 to 1");
    if (!(o->sgd_momentum >= 0 && o->sgd_momentum <= 1))
        return err_set(err, MOCO_EINVAL, "sgd_momentum must be 0 to 1");
    if (!(o->weight_decay >= 0 && o->weight_decay <= 1e6))
        return err_set(err, MOCO_EINVAL, "weight_decay must be 0 or more (and at most 10^6)");
    return MOCO_OK;
}

static moco_status check_options(const moco_trainer_options *o, struct err *err)
{
    if (o->batch_size < 1 || o->batch_size > BATCH_MAX)
        return err_set(err, MOCO_EINVAL, "batch_size is %d; it must be 1 to %d", o->batch_size, BATCH_MAX);
    if (o->bn_group_size < 1)
        return err_set(err, MOCO_EINVAL, "bn_group_size is %d; it must be 1 or more", o->bn_group_size);
    if (o->batch_size % o->bn_group_size != 0)
        return err_set(err, MOCO_EINVAL, "batch_size %d is not a multiple of bn_group_size %d", o->batch_size,
                       o->bn_group_size);
    int groups = o->batch_size / o->bn_group_size;
    if (o->groups_per_launch < 0 || (o->groups_per_launch > 0 && groups % o->groups_per_launch != 0))
        return err_set(err, MOCO_EINVAL,
                       "groups_per_launch is %d; it must be 0 (automatic) or divide the %d groups of a batch "
                       "(batch_size %d / bn_group_size %d)",
                       o->groups_per_launch, groups, o->batch_size, o->bn_group_size);
    if (o->image_h < 1 || o->image_h > SIDE_MAX || o->image_w < 1 || o->image_w > SIDE_MAX)
        return err_set(err, MOCO_EINVAL, "image_h x image_w is %d x %d; each must be 1 to %d", o->image_h, o->image_w,
                       SIDE_MAX);
    TRY(check_numbers(o, err));
    TRY(check_flag(o->symmetric, "symmetric", err));
    TRY(check_flag(o->shuffle, "shuffle", err));
    return check_flag(o->interleave, "interleave", err);
}

/* The largest divisor of the number of groups whose launch stays below LAUNCH_PIXELS; one group at least. A function of
 * the configuration alone: how many groups run at once changes the last bits of f32 sums. */
static int groups_per_launch(const moco_trainer_options *o, int groups)
{
    if (o->groups_per_launch > 0)
        return o->groups_per_launch;
    int64_t group_pixels = (int64_t)o->bn_group_size * o->image_h * o->image_w;
    int best = 1;
    for (int d = 2; d <= groups; d++)
        if (groups % d == 0 && d * group_pixels <= LAUNCH_PIXELS)
            best = d;
    return best;
}

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
                                .groups = t->o.groups_per_launch,
                                .output = t->graph->embedding};
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

static void place_buffers(struct trainer *t, const struct be_plan_bytes *key, const struct be_plan_bytes *query)
{
    struct work_layout *at = &t->at;
    size_t rows = (size_t)t->launch_n * (size_t)t->dim * t->real_bytes;
    at->key_block = (key->slab + PAGE - 1) / PAGE * PAGE;
    size_t key_bytes = at->key_block + t->be->key_bytes(t->layout, t->precision);
    at->plans = take(at, key_bytes > query->slab ? key_bytes : query->slab);
    at->embedding = take(at, rows);
    at->positives = take(at, rows);
    at->d_query = take(at, rows);
    at->infonce = take(at, t->be->infonce_scratch(t->dev, t->launch_n, t->dim, t->queue_length));
    at->stage = take(at, (size_t)2 * (size_t)t->directions * (size_t)t->graph->stat_total * t->real_bytes);
}

/* Needs ctx, be, dev, o, config and queue_length. */
static moco_status arrange(struct trainer *t, struct err *err)
{
    TRY(check_options(&t->o, err));
    t->config.image_h = t->o.image_h;
    t->config.image_w = t->o.image_w;
    TRY(net_build(&t->graph, t->ctx, &t->config, err));
    TRY(check_statistics(t, err));
    TRY(t->be->precision(t->dev, t->o.precision, &t->precision, err));
    TRY(t->be->ready(t->dev, err));
    struct be_info info;
    t->be->info(t->dev, &info);
    t->real_bytes = info.real_bytes;
    t->o.precision = (int32_t)t->precision;
    t->dim = t->config.dim;
    t->directions = t->o.symmetric ? 2 : 1;
    t->groups = t->o.batch_size / t->o.bn_group_size;
    t->o.groups_per_launch = groups_per_launch(&t->o, t->groups);
    t->launches = t->groups / t->o.groups_per_launch;
    t->launch_n = t->o.groups_per_launch * t->o.bn_group_size;
    TRY(t->be->layout_create(&t->layout, t->dev, t->graph, t->precision, err));
    struct be_plan_bytes key, query;
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
    struct step_buffers *h = &t->host;
    size_t batch = (size_t)t->o.batch_size, n = (size_t)t->launch_n, row = (size_t)t->dim * t->real_bytes;
    h->order = mem_array(t->ctx, batch, sizeof *h->order, err);
    h->shuffle = mem_array(t->ctx, batch, sizeof *h->shuffle, err);
    h->index = mem_array(t->ctx, n, sizeof *h->index, err);
    h->keys = mem_array(t->ctx, (size_t)t->directions * batch, row, err);
    h->queries = mem_array(t->ctx, (size_t)t->directions * batch, row, err);
    h->rows = mem_array(t->ctx, n, row, err);
    h->stats = mem_array(t->ctx, (size_t)t->graph->stat_total, t->real_bytes, err);
    if (h->order == NULL || h->shuffle == NULL || h->index == NULL || h->keys == NULL || h->queries == NULL ||
        h->rows == NULL || h->stats == NULL)
        return MOCO_ENOMEM;
    for (int place = 0; place < t->o.batch_size; place++) {
        int group = place / t->o.bn_group_size, member = place % t->o.bn_group_size;
        h->order[place] = t->o.interleave ? member * t->groups + group : place;
        h->shuffle[place] = place;
    }
    return MOCO_OK;
}

static size_t host_bytes(const struct trainer *t)
{
    size_t batch = (size_t)t->o.batch_size, n = (size_t)t->launch_n, row = (size_t)t->dim * t->real_bytes;
    return (2 * batch + n) * sizeof(int32_t) + (2 * (size_t)t->directions * batch + n) * row +
           (size_t)t->graph->stat_total * t->real_bytes;
}

static moco_status take_device_memory(struct trainer *t, struct err *err)
{
    size_t slab = t->be->layout_bytes(t->layout);
    TRY(t->be->alloc(t->dev, t->at.bytes, &t->work, err));
    TRY(t->be->alloc(t->dev, slab, &t->gradients, err));
    TRY(t->be->alloc(t->dev, slab, &t->momentum, err));
    size_t readers = t->be->reader_bytes(t->layout, t->precision, 1);
    if (readers > 0)
        TRY(t->be->alloc(t->dev, readers, &t->readers, err));
    char *plans = (char *)t->work.at + t->at.plans;
    TRY(t->be->plan_bind(t->key_plan, plans, err));
    return t->be->plan_bind(t->query_plan, plans, err);
}

static moco_status check_partners(const struct encoder *encoder, const struct queue *queue, struct err *err)
{
    if (encoder->dev != queue->dev)
        return err_set(err, MOCO_EINVAL, "model and queue are on different devices");
    if (encoder->config.dim != queue->dim)
        return err_set(err, MOCO_EINVAL, "the queue holds keys of %d numbers and the model makes embeddings of %d",
                       queue->dim, encoder->config.dim);
    return MOCO_OK;
}

static moco_status make(struct trainer *t, struct encoder *encoder, struct queue *queue, struct err *err)
{
    TRY(check_partners(encoder, queue, err));
    TRY(owner_take(&encoder->owner, t, "model", err));
    t->query = encoder;
    TRY(owner_take(&queue->owner, t, "queue", err));
    t->queue = queue;
    TRY(arrange(t, err));
    TRY(encoder_copy(&t->key, encoder, err));
    TRY(take_host_memory(t, err));
    TRY(take_device_memory(t, err));
    TRY(trainer_make_names(t, err));
    t->readers_stale = 1;
    return trainer_refresh(t, err);
}

moco_status trainer_create(struct trainer **out, struct encoder *encoder, struct queue *queue,
                           const moco_trainer_options *options, struct err *err)
{
    *out = NULL;
    struct trainer *t = mem_zalloc(encoder->ctx, sizeof *t, err);
    if (t == NULL)
        return MOCO_ENOMEM;
    t->ctx = encoder->ctx;
    t->be = encoder->be;
    t->dev = encoder->dev;
    t->o = *options;
    t->config = encoder->config;
    t->queue_length = queue->length;
    moco_status status = make(t, encoder, queue, err);
    if (status != MOCO_OK) {
        trainer_free(t);
        return status;
    }
    *out = t;
    return MOCO_OK;
}

void trainer_free(struct trainer *t)
{
    if (t == NULL)
        return;
    unarrange(t);
    t->be->release(t->dev, &t->work);
    t->be->release(t->dev, &t->gradients);
    t->be->release(t->dev, &t->momentum);
    t->be->release(t->dev, &t->readers);
    mem_free(t->ctx, t->host.order);
    mem_free(t->ctx, t->host.shuffle);
    mem_free(t->ctx, t->host.index);
    mem_free(t->ctx, t->host.keys);
    mem_free(t->ctx, t->host.queries);
    mem_free(t->ctx, t->host.rows);
    mem_free(t->ctx, t->host.stats);
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
        TRY(t->be->readers(t->layout, t->precision, 1, t->query->numbers.masters.at, t->readers.at, err));
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

/* Query: forward, gradient of weights, gradient of data (which the first convolution does not need); key: forward. */
static double step_flops(const struct trainer *t)
{
    const struct graph *g = t->graph;
    double forward = graph_flops(g), first = 0;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (op->kind == OP_CONV && op->in[0] == g->input)
            first += 2.0 * (double)g->params[op->param[0]].count * g->values[op->out].h * g->values[op->out].w;
    }
    return (4 * forward - first) * t->directions * t->o.batch_size;
}

static moco_status measure(struct trainer *t, moco_memory_estimate *e, struct err *err)
{
    int64_t slab = (int64_t)t->be->layout_bytes(t->layout);
    int64_t stats = t->graph->stat_total * (int64_t)t->real_bytes;
    e->launches = t->launches;
    e->parameters = t->graph->param_total;
    e->weights_bytes = 2 * (slab + stats);
    e->reader_bytes = (int64_t)t->be->reader_bytes(t->layout, t->precision, 1);
    e->gradient_bytes = slab;
    e->momentum_bytes = slab;
    e->queue_bytes = t->queue_length * t->dim * (int64_t)t->real_bytes;
    e->slab_bytes = (int64_t)t->at.bytes;
    e->total_bytes = e->weights_bytes + e->reader_bytes + e->gradient_bytes + e->momentum_bytes + e->queue_bytes +
                     e->slab_bytes + (int64_t)host_bytes(t);
    e->step_flops = step_flops(t);
    double rate = 0;
    if (t->be->rate != NULL)
        TRY(t->be->rate(t->dev, t->precision, &rate, err));
    e->step_seconds = rate > 0 ? e->step_flops / rate / OF_RATE : 0;
    return MOCO_OK;
}

moco_status trainer_estimate(struct ctx *ctx, const struct backend *be, struct be_device *dev,
                             const struct net_config *config, int64_t queue_length, const moco_trainer_options *options,
                             moco_memory_estimate *estimate, struct err *err)
{
    if (queue_length < 1 || queue_length > QUEUE_LENGTH_MAX)
        return err_set(err, MOCO_EINVAL, "queue_length is %lld; it must be 1 to %lld", (long long)queue_length,
                       (long long)QUEUE_LENGTH_MAX);
    struct trainer *t = mem_zalloc(ctx, sizeof *t, err);
    if (t == NULL)
        return MOCO_ENOMEM;
    t->ctx = ctx;
    t->be = be;
    t->dev = dev;
    t->o = *options;
    t->config = *config;
    t->queue_length = queue_length;
    moco_status status = arrange(t, err);
    if (status == MOCO_OK)
        status = measure(t, estimate, err);
    unarrange(t);
    mem_free(ctx, t);
    return status;
}
