/* SPDX-License-Identifier: MIT
 *
 * trainer_fresh: see trainer_fresh.h. */
#include "algo/trainer_fresh.h"

#include "algo/trainer_update.h"
#include "backend/fallback.h"

moco_status fresh_set_momentum(struct fresh *fresh, int index, const void *values, size_t size, struct err *err)
{
    struct trainer *t = fresh->trainer;
    if (size == sizeof(float))
        return backend_param_set_f32(t->be, t->ctx, t->layout, fresh->momentum.at, index, t->graph->params[index].count,
                                     values, err);
    return t->be->param_set(t->layout, fresh->momentum.at, index, values, err);
}

static moco_status set_pointer(struct fresh *fresh, double value, struct err *err)
{
    int64_t length = fresh->trainer->queue->length;
    if (!(value >= 0 && value < (double)length))
        return err_set(err, MOCO_EFORMAT, "queue_ptr is outside the queue of %lld keys", (long long)length);
    fresh->next = (int64_t)value;
    return MOCO_OK;
}

moco_status fresh_set(struct fresh *fresh, int i, const void *values, size_t size, struct err *err)
{
    struct trainer *t = fresh->trainer;
    enum state_part part;
    int index;
    struct state_list list = trainer_list(t);
    state_list_part(&list, i, &part, &index);
    switch (part) {
    case PART_QUEUE:
        return queue_set(t->queue, &fresh->rows, values, size, err);
    case PART_QUEUE_PTR:
        return set_pointer(fresh, *(const double *)values, err);
    case PART_QUERY:
        return encoder_tensor_set(t->query, &fresh->query, index, values, size, err);
    case PART_KEY:
        return encoder_tensor_set(t->key, &fresh->key, index, values, size, err);
    case PART_MOMENTUM:
        return fresh_set_momentum(fresh, index, values, size, err);
    case PART_GRADIENT:
        break;
    }
    return err_set(err, MOCO_EFORMAT, "tensor number %d does not belong in a checkpoint", i);
}

moco_status fresh_alloc(struct fresh *fresh, struct err *err)
{
    struct trainer *t = fresh->trainer;
    TRY(encoder_numbers_alloc(t->query, &fresh->query, err));
    if (t->key != NULL)
        TRY(encoder_numbers_alloc(t->key, &fresh->key, err));
    TRY(t->be->alloc(t->dev, t->be->layout_bytes(t->layout), &fresh->momentum, err));
    if (t->queue != NULL)
        TRY(t->be->alloc(t->dev, t->queue->rows.bytes, &fresh->rows, err));
    if (t->readers.at != NULL)
        TRY(t->be->alloc(t->dev, t->readers.bytes, &fresh->readers, err));
    return MOCO_OK;
}

void fresh_free(struct fresh *fresh)
{
    struct trainer *t = fresh->trainer;
    encoder_numbers_free(t->query, &fresh->query);
    if (t->key != NULL)
        encoder_numbers_free(t->key, &fresh->key);
    t->be->release(t->dev, &fresh->momentum);
    t->be->release(t->dev, &fresh->rows);
    t->be->release(t->dev, &fresh->readers);
}

moco_status fresh_finish(struct fresh *fresh, struct err *err)
{
    struct trainer *t = fresh->trainer;
    if (fresh->readers.at == NULL)
        return MOCO_OK;
    return t->be->readers(t->layout, 1, fresh->query.masters.at, fresh->readers.at, err);
}

static void swap(struct be_memory *a, struct be_memory *b)
{
    struct be_memory old = *a;
    *a = *b;
    *b = old;
}

void fresh_adopt(struct fresh *fresh)
{
    struct trainer *t = fresh->trainer;
    encoder_numbers_swap(t->query, &fresh->query);
    if (t->key != NULL)
        encoder_numbers_swap(t->key, &fresh->key);
    swap(&t->momentum, &fresh->momentum);
    swap(&t->readers, &fresh->readers);
    if (t->queue != NULL) {
        swap(&t->queue->rows, &fresh->rows);
        t->queue->next = fresh->next;
        t->queue->filled = fresh->filled;
    }
    t->step = fresh->step;
    t->epoch = fresh->epoch;
    t->position = fresh->position;
    t->scale = fresh->scale.scale > 0 ? fresh->scale : loss_scale_first(t->precision);
    t->be->program_reset(t->program);
    t->readers_stale = t->broken = t->wary = t->reported = t->finite.known = 0;
}
