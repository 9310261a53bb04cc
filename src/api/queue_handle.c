/* SPDX-License-Identifier: MIT
 *
 * moco/queue.h: the queue behind a handle. */
#include "moco/queue.h"

#include <stdio.h>

#include "algo/reals.h"
#include "api/objects.h"

static void queue_destroy(struct handle *handle)
{
    moco_queue *queue = (moco_queue *)handle;
    queue_free(queue->queue);
    if (queue->device != NULL)
        handle_unref(&queue->device->handle);
}

static moco_status make(moco_queue **out, moco_device *device, int dim, int64_t length, uint64_t seed, struct err *err)
{
    TRY(api_not_null(out, "queue", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    moco_queue *queue = handle_new(device->handle.ctx, sizeof *queue, HANDLE_QUEUE, queue_destroy, err);
    if (queue == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    queue->device = device;
    moco_status status =
        queue_create(&queue->queue, device->handle.ctx, device->backend, device->dev, dim, length, seed, err);
    if (status != MOCO_OK) {
        handle_free(queue, HANDLE_QUEUE);
        return status;
    }
    *out = queue;
    return MOCO_OK;
}

moco_status moco_queue_create(moco_queue **queue, moco_device *device, int dim, int64_t length, uint64_t seed)
{
    struct err err = {0};
    return api_return(make(queue, device, dim, length, seed, &err), "moco_queue_create", &err);
}

void moco_queue_free(moco_queue *queue)
{
    handle_free(queue, HANDLE_QUEUE);
}

static moco_status check_keys(const double *values, int64_t n, const struct queue *q, struct err *err)
{
    char name[48];
    for (int64_t row = 0; row < n; row++) {
        snprintf(name, sizeof name, "keys, row %lld", (long long)row);
        TRY(reals_check(values + row * q->dim, sizeof *values, q->dim, q->real_bytes, name, err));
    }
    return MOCO_OK;
}

static moco_status push(moco_queue *queue, const moco_tensor *keys, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, queue, HANDLE_QUEUE, "queue", err));
    queue_land(queue->queue);
    int64_t count;
    TRY(tensor_check(keys, "keys", 0, &count, err));
    struct queue *q = queue->queue;
    struct tensor_shape shape = {.ndim = 2, .shape = {keys->ndim > 0 ? keys->shape[0] : 1, q->dim}};
    TRY(tensor_match(keys, "keys", &shape, err));
    struct ctx *ctx = queue->handle.ctx;
    double *values = mem_array(ctx, (size_t)count, sizeof *values, err);
    void *reals = mem_array(ctx, (size_t)count, q->real_bytes, err);
    moco_status status = MOCO_ENOMEM;
    if (values != NULL && reals != NULL) {
        tensor_values(values, keys, count);
        status = check_keys(values, keys->shape[0], q, err);
    }
    if (status == MOCO_OK) {
        reals_convert(reals, q->real_bytes, values, sizeof *values, (size_t)count);
        status = queue_push(q, reals, keys->shape[0], err);
    }
    mem_free(ctx, values);
    mem_free(ctx, reals);
    return status;
}

moco_status moco_queue_push(moco_queue *queue, const moco_tensor *keys)
{
    struct err err = {0};
    return api_return(push(queue, keys, &err), "moco_queue_push", &err);
}

static moco_status read_keys(void *self, int index, double *values, struct err *err)
{
    (void)index;
    return queue_get(self, values, sizeof *values, err);
}

static moco_status get(moco_queue *queue, moco_tensor *keys, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter_nested(&turn, queue, HANDLE_QUEUE, "queue", err));
    queue_land(queue->queue);
    int64_t count;
    TRY(tensor_check(keys, "keys", 1, &count, err));
    struct queue *q = queue->queue;
    struct tensor_shape shape = {.ndim = 2, .shape = {q->dim, q->length}, .count = q->dim * q->length};
    struct tensor_move move = {.self = q, .move = read_keys};
    return tensor_get(queue->handle.ctx, keys, "keys", &shape, q->real_bytes, &move, err);
}

moco_status moco_queue_get(moco_queue *queue, moco_tensor *keys)
{
    struct err err = {0};
    return api_return(get(queue, keys, &err), "moco_queue_get", &err);
}

static moco_status state(const moco_queue *queue, int64_t *length, int64_t *next, int64_t *filled, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter_nested(&turn, queue, HANDLE_QUEUE, "queue", err));
    queue_land(queue->queue);
    if (length != NULL)
        *length = queue->queue->length;
    if (next != NULL)
        *next = queue->queue->next;
    if (filled != NULL)
        *filled = queue->queue->filled;
    return MOCO_OK;
}

moco_status moco_queue_state(const moco_queue *queue, int64_t *length, int64_t *next, int64_t *filled)
{
    struct err err = {0};
    return api_return(state(queue, length, next, filled, &err), "moco_queue_state", &err);
}
