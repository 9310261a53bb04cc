/* SPDX-License-Identifier: MIT
 *
 * encoder: see encoder.h. */
#include "algo/encoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algo/reals.h"
#include "backend/fallback.h"
#include "num.h"

#define COUNT_MAX 9007199254740992.0 /* 2^53 */

/* ---- making ---- */

static moco_status make_network(struct encoder *e, struct err *err)
{
    struct be_info info;
    e->be->info(e->dev, &info);
    e->real_bytes = info.real_bytes;
    TRY(net_build(&e->graph, e->ctx, &e->config, err));
    e->names = mem_array(e->ctx, (size_t)e->graph->state_count, sizeof *e->names, err);
    if (e->names == NULL)
        return MOCO_ENOMEM;
    for (int i = 0; i < e->graph->state_count; i++)
        graph_state_name(e->graph, i, e->names[i], sizeof e->names[i]);
    return MOCO_OK;
}

/* Draws all parameters from the seed and sets running variances to 1. Running means and counts are zero already. */
static moco_status draw_weights(struct encoder *e, struct err *err)
{
    int64_t largest = 1;
    for (int i = 0; i < e->graph->param_count; i++)
        if (e->graph->params[i].count > largest)
            largest = e->graph->params[i].count;
    double *values = mem_array(e->ctx, (size_t)largest, sizeof(double), err);
    if (values == NULL)
        return MOCO_ENOMEM;
    moco_status status = MOCO_OK;
    for (int i = 0; i < e->graph->param_count && status == MOCO_OK; i++) {
        init_param(e->graph, i, e->config.seed, values);
        status = e->be->param_set(e->layout, e->numbers.masters.at, i, values, err);
    }
    for (int i = 0; i < e->graph->state_count && status == MOCO_OK; i++) {
        if (e->graph->states[i].kind != STATE_VAR)
            continue;
        const struct graph_stat *stat = &e->graph->stats[e->graph->states[i].index];
        for (int c = 0; c < stat->channels; c++) /* no more than its BN weight has */
            values[c] = 1;
        status = encoder_tensor_set(e, &e->numbers, i, values, sizeof *values, err);
    }
    mem_free(e->ctx, values);
    return status;
}

static moco_status copy_numbers(struct encoder *to, const struct encoder *from, struct err *err)
{
    size_t stat_bytes = (size_t)to->graph->stat_total * to->real_bytes;
    TRY(to->be->copy(to->dev, to->numbers.masters.at, from->numbers.masters.at, to->be->layout_bytes(to->layout), err));
    TRY(to->be->copy(to->dev, to->numbers.stats.at, from->numbers.stats.at, stat_bytes, err));
    memcpy(to->numbers.tracked, from->numbers.tracked, (size_t)to->graph->stat_count * sizeof(int64_t));
    return MOCO_OK;
}

moco_status encoder_create_hollow(struct encoder **out, struct ctx *ctx, const struct backend *be,
                                  struct be_device *dev, const struct net_config *config, struct err *err)
{
    *out = NULL;
    struct encoder *e = mem_zalloc(ctx, sizeof *e, err);
    if (e == NULL)
        return MOCO_ENOMEM;
    e->ctx = ctx;
    e->be = be;
    e->dev = dev;
    e->config = *config;
    int locks = pthread_mutex_init(&e->lock, NULL) == 0;
    if (!locks || pthread_cond_init(&e->flight.over, NULL) != 0) {
        if (locks)
            pthread_mutex_destroy(&e->lock);
        mem_free(ctx, e);
        return err_set(err, MOCO_ENOMEM, "no memory for a lock");
    }
    moco_status status = make_network(e, err);
    if (status != MOCO_OK) {
        encoder_free(e);
        return status;
    }
    *out = e;
    return MOCO_OK;
}

/* A made encoder whose numbers could not be filled in is given up. */
static moco_status filled(struct encoder **out, moco_status status)
{
    if (status != MOCO_OK) {
        encoder_free(*out);
        *out = NULL;
    }
    return status;
}

/* All numbers 0. */
static moco_status create_blank(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                                const struct net_config *config, struct err *err)
{
    TRY(encoder_create_hollow(out, ctx, be, dev, config, err));
    return filled(out, encoder_numbers_alloc(*out, &(*out)->numbers, err));
}

moco_status encoder_create(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                           const struct net_config *config, struct err *err)
{
    TRY(create_blank(out, ctx, be, dev, config, err));
    return filled(out, draw_weights(*out, err));
}

moco_status encoder_copy(struct encoder **out, const struct encoder *from, struct err *err)
{
    TRY(create_blank(out, from->ctx, from->be, from->dev, &from->config, err));
    return filled(out, copy_numbers(*out, from, err));
}

void encoder_free(struct encoder *encoder)
{
    if (encoder == NULL)
        return;
    server_free(encoder->server);
    encoder_numbers_free(encoder, &encoder->numbers);
    if (encoder->layout != NULL)
        encoder->be->layout_free(encoder->layout);
    graph_free(encoder->graph);
    mem_free(encoder->ctx, encoder->names);
    pthread_cond_destroy(&encoder->flight.over);
    pthread_mutex_destroy(&encoder->lock);
    mem_free(encoder->ctx, encoder);
}

void encoder_lock(struct encoder *encoder)
{
    pthread_mutex_lock(&encoder->lock);
}

void encoder_unlock(struct encoder *encoder)
{
    pthread_mutex_unlock(&encoder->lock);
}

void encoder_lock_landed(struct encoder *encoder)
{
    struct encoder_flight *flight = &encoder->flight;
    encoder_lock(encoder);
    flight->waiting++;
    while (flight->busy && flight->trainer != NULL)
        pthread_cond_wait(&flight->over, &encoder->lock);
    flight->waiting--;
    if (flight->trainer != NULL)
        flight->land(flight->trainer);
    pthread_cond_broadcast(&flight->over);
}

void encoder_step_begins(struct encoder *encoder)
{
    encoder_lock(encoder);
    while (encoder->flight.waiting > 0)
        pthread_cond_wait(&encoder->flight.over, &encoder->lock);
    encoder->flight.busy = 1;
    encoder_unlock(encoder);
}

void encoder_step_ends(struct encoder *encoder)
{
    encoder_lock(encoder);
    encoder->flight.busy = 0;
    pthread_cond_broadcast(&encoder->flight.over);
    encoder_unlock(encoder);
}

struct net_config encoder_config(struct encoder *encoder)
{
    encoder_lock(encoder);
    struct net_config config = encoder->config;
    encoder_unlock(encoder);
    return config;
}

moco_augment_options encoder_recipe(struct encoder *encoder)
{
    encoder_lock(encoder);
    moco_augment_options recipe = encoder->recipe;
    encoder_unlock(encoder);
    return recipe;
}

void encoder_set_recipe(struct encoder *encoder, const moco_augment_options *recipe)
{
    encoder_lock(encoder);
    encoder->recipe = *recipe;
    encoder_unlock(encoder);
}

moco_status owner_take(_Atomic(void *) *mark, void *owner, const char *what, struct err *err)
{
    void *nobody = NULL;
    if (!atomic_compare_exchange_strong(mark, &nobody, owner))
        return err_set(err, MOCO_ESTATE, "the %s is in use by another trainer; free that one first", what);
    return MOCO_OK;
}

void owner_release(_Atomic(void *) *mark, void *owner)
{
    void *holder = owner;
    atomic_compare_exchange_strong(mark, &holder, NULL);
}

/* ---- numbers ---- */

moco_status encoder_stats_alloc(const struct encoder *encoder, struct encoder_numbers *numbers, struct err *err)
{
    const struct graph *g = encoder->graph;
    *numbers = (struct encoder_numbers){0};
    moco_status status =
        encoder->be->alloc(encoder->dev, (size_t)g->stat_total * encoder->real_bytes, &numbers->stats, err);
    numbers->tracked = status != MOCO_OK ? NULL : mem_array(encoder->ctx, (size_t)g->stat_count, sizeof(int64_t), err);
    if (status == MOCO_OK && numbers->tracked == NULL)
        status = MOCO_ENOMEM;
    if (status != MOCO_OK)
        encoder_numbers_free(encoder, numbers);
    return status;
}

/* A device may keep tables in proportion to the weights for a layout: what a file claims must not size them. */
static moco_status need_layout(struct encoder *encoder, struct err *err)
{
    struct be_info info;
    encoder->be->info(encoder->dev, &info);
    return encoder->layout != NULL
               ? MOCO_OK
               : encoder->be->layout_create(&encoder->layout, encoder->dev, encoder->graph, info.master, err);
}

moco_status encoder_numbers_alloc(struct encoder *encoder, struct encoder_numbers *numbers, struct err *err)
{
    TRY(need_layout(encoder, err));
    TRY(encoder_stats_alloc(encoder, numbers, err));
    moco_status status =
        encoder->be->alloc(encoder->dev, encoder->be->layout_bytes(encoder->layout), &numbers->masters, err);
    if (status != MOCO_OK)
        encoder_numbers_free(encoder, numbers);
    return status;
}

void encoder_numbers_free(const struct encoder *encoder, struct encoder_numbers *numbers)
{
    encoder->be->release(encoder->dev, &numbers->masters);
    encoder->be->release(encoder->dev, &numbers->stats);
    mem_free(encoder->ctx, numbers->tracked);
    *numbers = (struct encoder_numbers){0};
}

void encoder_numbers_swap(struct encoder *encoder, struct encoder_numbers *numbers)
{
    struct encoder_numbers old = encoder->numbers;
    encoder->numbers = *numbers;
    *numbers = old;
    encoder->version++;
}

int encoder_find(const struct encoder *encoder, const char *name)
{
    for (int i = 0; i < encoder->graph->state_count; i++)
        if (strcmp(encoder->names[i], name) == 0)
            return i;
    return -1;
}

void network_tensor_shape(const struct graph *g, int i, struct tensor_shape *shape)
{
    const struct graph_state *state = &g->states[i];
    *shape = (struct tensor_shape){.count = 1};
    if (state->kind == STATE_TRACKED) {
        shape->integer = 1;
    } else if (state->kind == STATE_PARAM) {
        const struct graph_param *param = &g->params[state->index];
        shape->ndim = param->ndim;
        memcpy(shape->shape, param->shape, sizeof shape->shape);
        shape->count = param->count;
    } else {
        shape->ndim = 1;
        shape->shape[0] = shape->count = g->stats[state->index].channels;
        shape->variance = state->kind == STATE_VAR;
    }
}

void encoder_tensor_shape(const struct encoder *encoder, int i, struct tensor_shape *shape)
{
    network_tensor_shape(encoder->graph, i, shape);
}

static int64_t stat_first(const struct graph *g, const struct graph_state *state)
{
    const struct graph_stat *stat = &g->stats[state->index];
    return stat->offset + (state->kind == STATE_VAR ? stat->channels : 0);
}

/* Running statistics pass through a small block: channels come in hundreds, and no call takes memory for them. */
#define STAT_BLOCK 1024

moco_status encoder_tensor_get(const struct encoder *encoder, const struct encoder_numbers *numbers, int i,
                               void *values, size_t size, struct err *err)
{
    const struct graph *g = encoder->graph;
    const struct graph_state *state = &g->states[i];
    if (state->kind == STATE_PARAM && size == sizeof(float))
        return backend_param_get_f32(encoder->be, encoder->ctx, encoder->layout, numbers->masters.at, state->index,
                                     g->params[state->index].count, values, err);
    if (state->kind == STATE_PARAM)
        return encoder->be->param_get(encoder->layout, numbers->masters.at, state->index, values, err);
    if (state->kind == STATE_TRACKED) {
        *(double *)values = (double)numbers->tracked[state->index];
        return MOCO_OK;
    }
    double block[STAT_BLOCK];
    const char *from = (const char *)numbers->stats.at + (size_t)stat_first(g, state) * encoder->real_bytes;
    size_t channels = (size_t)g->stats[state->index].channels;
    for (size_t c = 0; c < channels; c += STAT_BLOCK) {
        size_t part = channels - c < STAT_BLOCK ? channels - c : STAT_BLOCK;
        TRY(encoder->be->read(encoder->dev, block, from + c * encoder->real_bytes, part * encoder->real_bytes, err));
        reals_convert((char *)values + c * size, size, block, encoder->real_bytes, part);
    }
    return MOCO_OK;
}

moco_status encoder_check_values(const struct encoder *encoder, int i, const double *values, const char *prefix,
                                 struct err *err)
{
    const struct graph_state *state = &encoder->graph->states[i];
    struct tensor_shape shape;
    encoder_tensor_shape(encoder, i, &shape);
    if (state->kind == STATE_TRACKED)
        return encoder_check_count(values[0], encoder->names[i], err);
    char name[ENCODER_NAME + 32];
    snprintf(name, sizeof name, "%s%s", prefix, encoder->names[i]);
    TRY(reals_check(values, sizeof *values, shape.count, encoder->real_bytes, name, err));
    int64_t j = 0;
    while (state->kind == STATE_VAR && j < shape.count && values[j] >= 0)
        j++;
    if (state->kind != STATE_VAR || j == shape.count)
        return MOCO_OK;
    char value[NUM_TEXT];
    num_format_double(value, values[j]);
    return err_set(err, MOCO_EINVAL, "number %lld of %s is %s; a variance is not negative", (long long)j, name, value);
}

moco_status encoder_check_count(double value, const char *name, struct err *err)
{
    if (!(value >= 0 && value <= COUNT_MAX) || value != floor(value))
        return err_set(err, MOCO_EINVAL, "%s must be a whole number from 0 to 2^53", name);
    return MOCO_OK;
}

moco_status encoder_tensor_set(const struct encoder *encoder, struct encoder_numbers *numbers, int i,
                               const void *values, size_t size, struct err *err)
{
    const struct graph *g = encoder->graph;
    const struct graph_state *state = &g->states[i];
    if (state->kind == STATE_PARAM && size == sizeof(float))
        return backend_param_set_f32(encoder->be, encoder->ctx, encoder->layout, numbers->masters.at, state->index,
                                     g->params[state->index].count, values, err);
    if (state->kind == STATE_PARAM)
        return encoder->be->param_set(encoder->layout, numbers->masters.at, state->index, values, err);
    if (state->kind == STATE_TRACKED) {
        double count = *(const double *)values;
        TRY(encoder_check_count(count, encoder->names[i], err));
        numbers->tracked[state->index] = (int64_t)count;
        return MOCO_OK;
    }
    double block[STAT_BLOCK];
    char *to = (char *)numbers->stats.at + (size_t)stat_first(g, state) * encoder->real_bytes;
    size_t channels = (size_t)g->stats[state->index].channels;
    for (size_t c = 0; c < channels; c += STAT_BLOCK) {
        size_t part = channels - c < STAT_BLOCK ? channels - c : STAT_BLOCK;
        reals_convert(block, encoder->real_bytes, (const char *)values + c * size, size, part);
        TRY(encoder->be->write(encoder->dev, to + c * encoder->real_bytes, block, part * encoder->real_bytes, err));
    }
    return MOCO_OK;
}

/* ---- are all numbers finite? ---- */

moco_status slab_check_finite(const struct encoder *encoder, const void *slab, const char *prefix, double *norm,
                              struct err *err)
{
    double squares;
    int bad;
    TRY(encoder->be->measure(encoder->layout, slab, &squares, &bad, err));
    if (bad >= 0)
        return err_set(err, MOCO_ENUMERIC, "%s%s holds a number that is not finite", prefix,
                       encoder->graph->params[bad].name);
    if (norm != NULL)
        *norm = sqrt(squares);
    return MOCO_OK;
}

moco_status stats_bad(const struct encoder *encoder, int64_t index, const char *prefix, const char *what,
                      struct err *err)
{
    const struct graph *g = encoder->graph;
    for (int i = 0; i < g->state_count; i++) {
        const struct graph_state *state = &g->states[i];
        if (state->kind != STATE_MEAN && state->kind != STATE_VAR)
            continue;
        int64_t first = stat_first(g, state);
        if (index >= first && index < first + g->stats[state->index].channels)
            return err_set(err, MOCO_ENUMERIC, "%s%s%s holds a number that is not finite", prefix, encoder->names[i],
                           what);
    }
    return err_set(err, MOCO_ENUMERIC, "%sstatistic %lld%s is not finite", prefix, (long long)index, what);
}

moco_status running_check_finite(const struct encoder *encoder, const char *prefix, struct err *err)
{
    double block[STAT_BLOCK];
    const char *from = encoder->numbers.stats.at;
    size_t total = (size_t)encoder->graph->stat_total, real = encoder->real_bytes;
    for (size_t at = 0; at < total; at += STAT_BLOCK) {
        size_t part = total - at < STAT_BLOCK ? total - at : STAT_BLOCK;
        TRY(encoder->be->read(encoder->dev, block, from + at * real, part * real, err));
        int64_t bad = reals_first_bad(block, real, part);
        if (bad >= 0)
            return stats_bad(encoder, (int64_t)at + bad, prefix, "", err);
    }
    return MOCO_OK;
}
