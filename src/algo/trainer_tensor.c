/* SPDX-License-Identifier: MIT
 *
 * trainer_tensor: any part of the training state by its name: the reference's own (queue, queue_ptr, encoder_q.*,
 * encoder_k.*, in its order), then momentum.encoder_q.* and grad.encoder_q.* of the parameters. Without a queue or a
 * key encoder there are no such names. */
#include <stdio.h>
#include <string.h>

#include "algo/reals.h"
#include "algo/trainer_state.h"

void trainer_part(const struct trainer *t, int i, enum state_part *part, int *index)
{
    const int states = t->graph->state_count, params = t->graph->param_count, queue = t->queue != NULL;
    const int counts[] = {[PART_QUEUE] = queue,     [PART_QUEUE_PTR] = queue,
                          [PART_QUERY] = states,    [PART_KEY] = t->key != NULL ? states : 0,
                          [PART_MOMENTUM] = params, [PART_GRADIENT] = params};
    int p = PART_QUEUE;
    while (p < PART_GRADIENT && i >= counts[p])
        i -= counts[p++];
    *part = (enum state_part)p;
    *index = i;
}

moco_status trainer_make_names(struct trainer *t, struct err *err)
{
    t->name_count =
        (t->queue != NULL ? 2 : 0) + (t->key != NULL ? 2 : 1) * t->graph->state_count + 2 * t->graph->param_count;
    t->names = mem_array(t->ctx, (size_t)t->name_count, sizeof *t->names, err);
    if (t->names == NULL)
        return MOCO_ENOMEM;
    for (int i = 0; i < t->name_count; i++) {
        enum state_part part;
        int index;
        trainer_part(t, i, &part, &index);
        char *name = t->names[i];
        switch (part) {
        case PART_QUEUE:
            snprintf(name, TRAINER_NAME, "queue");
            break;
        case PART_QUEUE_PTR:
            snprintf(name, TRAINER_NAME, "queue_ptr");
            break;
        case PART_QUERY:
            snprintf(name, TRAINER_NAME, "encoder_q.%s", t->query->names[index]);
            break;
        case PART_KEY:
            snprintf(name, TRAINER_NAME, "encoder_k.%s", t->query->names[index]);
            break;
        case PART_MOMENTUM:
            snprintf(name, TRAINER_NAME, "momentum.encoder_q.%s", t->graph->params[index].name);
            break;
        case PART_GRADIENT:
            snprintf(name, TRAINER_NAME, "grad.encoder_q.%s", t->graph->params[index].name);
            break;
        }
    }
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
    enum state_part part;
    int index;
    trainer_part(t, i, &part, &index);
    *shape = (struct tensor_shape){.count = 1};
    switch (part) {
    case PART_QUEUE:
        shape->ndim = 2;
        shape->shape[0] = t->queue->dim;
        shape->shape[1] = t->queue->length;
        shape->count = t->queue->dim * t->queue->length;
        break;
    case PART_QUEUE_PTR:
        shape->integer = 1;
        shape->ndim = 1;
        shape->shape[0] = 1;
        break;
    case PART_QUERY:
    case PART_KEY:
        encoder_tensor_shape(t->query, index, shape);
        break;
    case PART_MOMENTUM:
    case PART_GRADIENT:
        shape->ndim = t->graph->params[index].ndim;
        memcpy(shape->shape, t->graph->params[index].shape, sizeof shape->shape);
        shape->count = t->graph->params[index].count;
        break;
    }
}

moco_status trainer_tensor_get(struct trainer *t, int i, double *values, struct err *err)
{
    enum state_part part;
    int index;
    trainer_part(t, i, &part, &index);
    switch (part) {
    case PART_QUEUE:
        return queue_get(t->queue, values, err);
    case PART_QUEUE_PTR:
        values[0] = (double)t->queue->next;
        return MOCO_OK;
    case PART_QUERY:
        return encoder_tensor_get(t->query, &t->query->numbers, index, values, err);
    case PART_KEY:
        return encoder_tensor_get(t->key, &t->key->numbers, index, values, err);
    case PART_MOMENTUM:
        return t->be->param_get(t->layout, t->momentum.at, index, values, err);
    case PART_GRADIENT:
        return t->be->param_get(t->layout, t->gradients.at, index, values, err);
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
    moco_status status = encoder_tensor_set(t->query, &t->query->numbers, index, values, err);
    encoder_unlock(t->query);
    return status;
}

moco_status trainer_tensor_set(struct trainer *t, int i, const double *values, struct err *err)
{
    enum state_part part;
    int index;
    trainer_part(t, i, &part, &index);
    switch (part) {
    case PART_QUEUE:
        TRY(reals_check(values, t->queue->dim * t->queue->length, t->real_bytes, "queue", err));
        return queue_set(t->queue, &t->queue->rows, values, err);
    case PART_QUEUE_PTR:
        return set_queue_ptr(t, values[0], err);
    case PART_QUERY:
        return set_query(t, index, values, err);
    case PART_KEY:
        TRY(encoder_check_values(t->key, index, values, "encoder_k.", err));
        t->key->version++;
        return encoder_tensor_set(t->key, &t->key->numbers, index, values, err);
    case PART_MOMENTUM:
        TRY(reals_check(values, t->graph->params[index].count, t->real_bytes, t->names[i], err));
        t->finite.known = 0;
        return t->be->param_set(t->layout, t->momentum.at, index, values, err);
    case PART_GRADIENT:
        return err_set(err, MOCO_EINVAL, "%s is what the last step computed; it cannot be set", t->names[i]);
    }
    return err_set(err, MOCO_ENOTFOUND, "there is no state tensor number %d", i);
}
