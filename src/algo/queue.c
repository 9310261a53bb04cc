/* SPDX-License-Identifier: MIT
 *
 * queue: see queue.h. Rows are copied between host and device in blocks, so that a queue of any length needs little
 * extra memory. */
#include "algo/queue.h"

#include <math.h>

#include "algo/reals.h"
#include "philox.h"

#define BLOCK_ROWS 256

static size_t row_bytes(const struct queue *queue)
{
    return (size_t)queue->dim * queue->real_bytes;
}

static void *row_at(const struct queue *queue, const struct be_memory *rows, int64_t row)
{
    return (char *)rows->at + (size_t)row * row_bytes(queue);
}

static int64_t block_at(const struct queue *queue, int64_t row)
{
    return queue->length - row < BLOCK_ROWS ? queue->length - row : BLOCK_ROWS;
}

static void draw_row(uint64_t seed, int64_t row, int dim, double *values)
{
    struct rng rng;
    rng_init(&rng, seed, 0, (uint64_t)row, 0, RNG_QUEUE);
    double squares = 0;
    for (int c = 0; c < dim; c++) {
        values[c] = rng_normal(&rng);
        squares += values[c] * values[c];
    }
    double norm = fmax(sqrt(squares), 1e-12);
    for (int c = 0; c < dim; c++)
        values[c] /= norm;
}

static moco_status write_block(struct queue *queue, const struct be_memory *rows, int64_t row, int64_t count,
                               struct err *err)
{
    return queue->be->write(queue->dev, row_at(queue, rows, row), queue->block, (size_t)count * row_bytes(queue), err);
}

static moco_status read_block(struct queue *queue, int64_t row, int64_t count, struct err *err)
{
    return queue->be->read(queue->dev, queue->block, row_at(queue, &queue->rows, row), (size_t)count * row_bytes(queue),
                           err);
}

static moco_status draw_rows(struct queue *queue, uint64_t seed, struct err *err)
{
    double *values = mem_array(queue->ctx, (size_t)queue->dim, sizeof(double), err);
    if (values == NULL)
        return MOCO_ENOMEM;
    moco_status status = MOCO_OK;
    for (int64_t row = 0; row < queue->length && status == MOCO_OK; row += BLOCK_ROWS) {
        int64_t count = block_at(queue, row);
        for (int64_t i = 0; i < count; i++) {
            draw_row(seed, row + i, queue->dim, values);
            reals_convert((char *)queue->block + (size_t)i * row_bytes(queue), queue->real_bytes, values,
                          sizeof *values, (size_t)queue->dim);
        }
        status = write_block(queue, &queue->rows, row, count, err);
    }
    mem_free(queue->ctx, values);
    return status;
}

/* Makes a queue and fills it with random unit vectors, which are negatives until pushes have replaced them. */
moco_status queue_create(struct queue **out, struct ctx *ctx, const struct backend *be, struct be_device *dev, int dim,
                         int64_t length, uint64_t seed, struct err *err)
{
    *out = NULL;
    if (dim < 1 || dim > QUEUE_DIM_MAX)
        return err_set(err, MOCO_EINVAL, "queue: dim is %d; it must be 1 to %d", dim, QUEUE_DIM_MAX);
    if (length < 1 || length > QUEUE_LENGTH_MAX)
        return err_set(err, MOCO_EINVAL, "queue: length is %lld; it must be 1 to %lld", (long long)length,
                       (long long)QUEUE_LENGTH_MAX);
    struct queue *queue = mem_zalloc(ctx, sizeof *queue, err);
    if (queue == NULL)
        return MOCO_ENOMEM;
    if (pthread_mutex_init(&queue->lock, NULL) != 0) {
        mem_free(ctx, queue);
        return err_set(err, MOCO_ENOMEM, "no memory for a lock");
    }
    struct be_info info;
    be->info(dev, &info);
    queue->ctx = ctx;
    queue->be = be;
    queue->dev = dev;
    queue->real_bytes = info.real_bytes;
    queue->dim = dim;
    queue->length = length;
    queue->block = mem_array(ctx, BLOCK_ROWS, row_bytes(queue), err);
    moco_status status = queue->block != NULL ? MOCO_OK : MOCO_ENOMEM;
    if (status == MOCO_OK)
        status = be->alloc(dev, (size_t)length * row_bytes(queue), &queue->rows, err);
    if (status == MOCO_OK)
        status = draw_rows(queue, seed, err);
    if (status != MOCO_OK) {
        queue_free(queue);
        return status;
    }
    *out = queue;
    return MOCO_OK;
}

void queue_free(struct queue *queue)
{
    if (queue == NULL)
        return;
    queue->be->release(queue->dev, &queue->rows);
    mem_free(queue->ctx, queue->block);
    pthread_mutex_destroy(&queue->lock);
    mem_free(queue->ctx, queue);
}

void queue_train(struct queue *queue, struct encoder *encoder)
{
    pthread_mutex_lock(&queue->lock);
    queue->trained = encoder;
    pthread_mutex_unlock(&queue->lock);
}

void queue_land(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    if (queue->trained != NULL) {
        encoder_lock_landed(queue->trained);
        encoder_unlock(queue->trained);
    }
    pthread_mutex_unlock(&queue->lock);
}

void queue_pushed(struct queue *queue, int64_t count)
{
    queue->next = (queue->next + count) % queue->length;
    queue->filled = queue->length - queue->filled < count ? queue->length : queue->filled + count;
}

moco_status queue_push(struct queue *queue, const void *keys, int64_t count, struct err *err)
{
    /* What would be overwritten by this very push is never written: only the last `length` keys are. */
    int64_t skip = count > queue->length ? count - queue->length : 0;
    int64_t row = (queue->next + skip) % queue->length;
    queue->touched++;
    for (int64_t done = skip; done < count;) {
        int64_t room = queue->length - row, part = count - done < room ? count - done : room;
        TRY(queue->be->write(queue->dev, row_at(queue, &queue->rows, row),
                             (const char *)keys + (size_t)done * row_bytes(queue), (size_t)part * row_bytes(queue),
                             err));
        row = (row + part) % queue->length;
        done += part;
    }
    queue_pushed(queue, count);
    return MOCO_OK;
}

moco_status queue_get(struct queue *queue, void *values, size_t size, struct err *err)
{
    for (int64_t row = 0; row < queue->length; row += BLOCK_ROWS) {
        int64_t count = block_at(queue, row);
        TRY(read_block(queue, row, count, err));
        for (int64_t i = 0; i < count; i++)
            for (int c = 0; c < queue->dim; c++)
                real_put(values, size, (size_t)(c * queue->length + row + i),
                         real_at(queue->block, queue->real_bytes, (size_t)(i * queue->dim + c)));
    }
    return MOCO_OK;
}

moco_status queue_read(struct queue *queue, float *rows, struct err *err)
{
    for (int64_t row = 0; row < queue->length; row += BLOCK_ROWS) {
        int64_t count = block_at(queue, row);
        TRY(read_block(queue, row, count, err));
        for (int64_t i = 0; i < count * queue->dim; i++)
            rows[row * queue->dim + i] = (float)real_at(queue->block, queue->real_bytes, (size_t)i);
    }
    return MOCO_OK;
}

moco_status queue_set(struct queue *queue, const struct be_memory *rows, const void *values, size_t size,
                      struct err *err)
{
    queue->touched++;
    for (int64_t row = 0; row < queue->length; row += BLOCK_ROWS) {
        int64_t count = block_at(queue, row);
        for (int64_t i = 0; i < count; i++)
            for (int c = 0; c < queue->dim; c++)
                real_put(queue->block, queue->real_bytes, (size_t)(i * queue->dim + c),
                         real_at(values, size, (size_t)(c * queue->length + row + i)));
        TRY(write_block(queue, rows, row, count, err));
    }
    return MOCO_OK;
}

moco_status queue_first_bad(struct queue *queue, int64_t *row, struct err *err)
{
    *row = -1;
    for (int64_t at = 0; at < queue->length; at += BLOCK_ROWS) {
        int64_t count = block_at(queue, at);
        TRY(read_block(queue, at, count, err));
        int64_t bad = reals_first_bad(queue->block, queue->real_bytes, (size_t)(count * queue->dim));
        if (bad >= 0) {
            *row = at + bad / queue->dim;
            return MOCO_OK;
        }
    }
    return MOCO_OK;
}
