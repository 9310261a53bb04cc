/* SPDX-License-Identifier: MIT
 *
 * trainer_tensor: any part of the training state by its name. First come the reference's own names (queue,
 * queue_ptr, encoder_q.*, encoder_k.*, in its order), then momentum.encoder_q.* and grad.encoder_q.* of the
 * parameters. Without a queue or a key encoder these names do not exist. */
#include <stdio.h>
#include <string.h>

#include "algo/reals.h"
#include "algo/trainer_state.h"
#include "backend/fallback.h"

/* ---- what there is ---- */

struct state_list state_list_of(const struct graph *graph, int64_t queue_length, int dim, int shared)
{
    struct state_list list = {.graph = graph, .queue_length = queue_length, .dim = dim, .shared = shared};
    list.saved = (queue_length > 0 ? 2 : 0) + (shared ? 1 : 2) * graph->state_count + graph->param_count;
    list.count = list.saved + graph->param_count;
    return list;
}

void state_list_part(const struct state_list *list, int i, enum state_part *part, int *index)
{
    const int states = list->graph->state_count, params = list->graph->param_count, queue = list->queue_length > 0;
    const int counts[] = {[PART_QUEUE] = queue,     [PART_QUEUE_PTR] = queue,
                          [PART_QUERY] = states,    [PART_KEY] = list->shared ? 0 : states,
                          [PART_MOMENTUM] = params, [PART_GRADIENT] = params};
    int p = PART_QUEUE;
    while (p < PART_GRADIENT && i >= counts[p])
        i -= counts[p++];
    *part = (enum state_part)p;
    *index = i;
}

void state_list_name(const struct state_list *list, int i, char name[TRAINER_NAME])
{
    const struct graph *g = list->graph;
    char own[ENCODER_NAME] = "";
    enum state_part part;
    int index;
    state_list_part(list, i, &part, &index);
    if (part == PART_QUERY || part == PART_KEY)
        graph_state_name(g, index, own, sizeof own);
    switch (part) {
    case PART_QUEUE:
        snprintf(name, TRAINER_NAME, "queue");
        break;
    case PART_QUEUE_PTR:
        snprintf(name, TRAINER_NAME, "queue_ptr");
        break;
    case PART_QUERY:
        snprintf(name, TRAINER_NAME, "encoder_q.%s", own);
        break;
    case PART_KEY:
        snprintf(name, TRAINER_NAME, "encoder_k.%s", own);
        break;
    case PART_MOMENTUM:
        snprintf(name, TRAINER_NAME, "momentum.encoder_q.%s", g->params[index].name);
        break;
    case PART_GRADIENT:
        snprintf(name, TRAINER_NAME, "grad.encoder_q.%s", g->params[index].name);
        break;
    }
}

void state_list_shape(const struct state_list *list, int i, struct tensor_shape *shape)
{
    const struct graph *g = list->graph;
    enum state_part part;
    int index;
    state_list_part(list, i, &part, &index);
    *shape = (struct tensor_shape){.count = 1};
    switch (part) {
    case PART_QUEUE:
        shape->ndim = 2;
        shape->shape[0] = list->dim;
        shape->shape[1] = list->queue_length;
        shape->count = list->dim * list->queue_length;
        break;
    case PART_QUEUE_PTR:
        shape->integer = 1;
        shape->ndim = 1;
        shape->shape[0] = 1;
        break;
    case PART_QUERY:
    case PART_KEY:
        network_tensor_shape(g, index, shape);
        break;
    case PART_MOMENTUM:
    case PART_GRADIENT:
        shape->ndim = g->params[index].ndim;
        memcpy(shape->shape, g->params[index].shape, sizeof shape->shape);
        shape->count = g->params[index].count;
        break;
    }
}

/* ---- a trainer's ---- */

struct state_list trainer_list(const struct trainer *t)
{
    return state_list_of(t->graph, t->queue_length, t->dim, t->shared);
}

moco_status trainer_make_names(struct trainer *t, struct err *err)
{
    struct state_list list = trainer_list(t);
    t->names = mem_array(t->ctx, (size_t)list.count, sizeof *t->names, err);
    if (t->names == NULL)
        return MOCO_ENOMEM;
    t->name_count = list.count;
    for (int i = 0; i < t->name_count; i++)
        state_list_name(&list, i, t->names[i]);
    return MOCO_OK;
}

const char *trainer_tensor_name(const struct trainer *t, int i)
{
    return i >= 0 && i < t->name_count ? t->names[i] : NULL;
}

int trainer_find(const struct trainer *t, const char *name)
{
    for (int i = 0; i < t->name_count; i++)
        if (strcmp(t->names[i], name) == 0)
            return i;
    return -1;
}

void trainer_tensor_shape(const struct trainer *t, int i, struct tensor_shape *shape)
{
    struct state_list list = trainer_list(t);
    state_list_shape(&list, i, shape);
}

/* ---- their numbers ---- */

static void part_of(const struct trainer *t, int i, enum state_part *part, int *index)
{
    struct state_list list = trainer_list(t);
    state_list_part(&list, i, part, index);
}

/* A parameter's place in a slab of the trainer's. */
static moco_status param_get(const struct trainer *t, const void *slab, int index, void *values, size_t size,
                             struct err *err)
{
    if (size == sizeof(float))
        return backend_param_get_f32(t->be, t->ctx, t->layout, slab, index, t->graph->params[index].count, values, err);
    return t->be->param_get(t->layout, slab, index, values, err);
}

static void unscale(void *values, int64_t count, size_t size, double scale)
{
    for (int64_t i = 0; i < count && scale != 1; i++)
        if (size == sizeof(float))
            ((float *)values)[i] /= (float)scale;
        else
            ((double *)values)[i] /= scale;
}

moco_status trainer_tensor_get(struct trainer *t, int i, void *values, size_t size, struct err *err)
{
    enum state_part part;
    int index;
    part_of(t, i, &part, &index);
    switch (part) {
    case PART_QUEUE:
        return queue_get(t->queue, values, size, err);
    case PART_QUEUE_PTR:
        *(double *)values = (double)t->queue->next;
        return MOCO_OK;
    case PART_QUERY:
        return encoder_tensor_get(t->query, &t->query->numbers, index, values, size, err);
    case PART_KEY:
        return encoder_tensor_get(t->key, &t->key->numbers, index, values, size, err);
    case PART_MOMENTUM:
        return param_get(t, t->momentum.at, index, values, size, err);
    case PART_GRADIENT:
        TRY(param_get(t, t->gradients.at, index, values, size, err));
        unscale(values, t->graph->params[index].count, size, t->gradient_scale);
        return MOCO_OK;
    }
    return err_set(err, MOCO_ENOTFOUND, "there is no state tensor number %d", i);
}

static moco_status set_queue_ptr(struct trainer *t, double value, struct err *err)
{
    TRY(encoder_check_count(value, "queue_ptr", err));
    if (value >= (double)t->queue->length)
        return err_set(err, MOCO_EINVAL, "queue_ptr must be below the queue's length, %lld",
                       (long long)t->queue->length);
    t->queue->next = (int64_t)value;
    return MOCO_OK;
}

static moco_status set_query(struct trainer *t, int index, const double *values, struct err *err)
{
    TRY(encoder_check_values(t->query, index, values, "encoder_q.", err));
    encoder_lock(t->query);
    t->readers_stale = 1;
    t->query->version++;
    moco_status status = encoder_tensor_set(t->query, &t->query->numbers, index, values, sizeof *values, err);
    encoder_unlock(t->query);
    return status;
}

/* Writes one state tensor into the trainer, after a check that every number is allowed. It marks what must be
 * computed or checked again before the next step. */
moco_status trainer_tensor_set(struct trainer *t, int i, const double *values, struct err *err)
{
    enum state_part part;
    int index;
    part_of(t, i, &part, &index);
    switch (part) {
    case PART_QUEUE:
        TRY(reals_check(values, sizeof *values, t->queue->dim * t->queue->length, t->real_bytes, "queue", err));
        return queue_set(t->queue, &t->queue->rows, values, sizeof *values, err);
    case PART_QUEUE_PTR:
        return set_queue_ptr(t, values[0], err);
    case PART_QUERY:
        return set_query(t, index, values, err);
    case PART_KEY:
        TRY(encoder_check_values(t->key, index, values, "encoder_k.", err));
        t->key->version++;
        return encoder_tensor_set(t->key, &t->key->numbers, index, values, sizeof *values, err);
    case PART_MOMENTUM:
        TRY(reals_check(values, sizeof *values, t->graph->params[index].count, t->real_bytes, t->names[i], err));
        t->finite.known = 0;
        return t->be->param_set(t->layout, t->momentum.at, index, values, err);
    case PART_GRADIENT:
        return err_set(err, MOCO_EINVAL, "%s is what the last step computed; it cannot be set", t->names[i]);
    }
    return err_set(err, MOCO_ENOTFOUND, "there is no state tensor number %d", i);
}
