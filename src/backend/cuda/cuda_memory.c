/* SPDX-License-Identifier: MIT
 *
 * cuda_memory: device memory, and the ways in and out of it. What a reader would get wrong: a copy between the device and
 * host memory that is not page-locked may or may not wait for the queue, so that no copy here is such a one: host arrays
 * go through page-locked memory, and are free when a slot returns. */
#include <string.h>

#include "backend/cuda/cuda.h"

enum { PAGE = 4096, GRAIN = 256 };
#define HALF ((size_t)1 << 20) /* of the staging memory */

/* ---- blocks ---- */

static moco_status no_memory(struct be_device *dev, size_t bytes, struct err *err)
{
    size_t available = 0, total = 0;
    dev->cu->memory_info(&available, &total);
    return err_set(err, MOCO_ENOMEM, "%s: out of memory for %zu bytes: %zu of %zu are free on %.60s", dev->name, bytes,
                   available, total, dev->gpu);
}

/* The block's own zeros are queued. */
static moco_status take_zeroed(struct be_device *dev, struct cuda_block *block, size_t bytes, struct err *err)
{
    cu_result result = dev->cu->memory_alloc(&block->base, bytes + PAGE - GRAIN + (bytes == 0));
    if (result == CU_NO_MEMORY)
        return no_memory(dev, bytes, err);
    TRY(cuda_said(dev, result, "cuMemAlloc", err));
    block->at = (void *)(uintptr_t)((block->base + PAGE - 1) / PAGE * PAGE);
    moco_status status = MOCO_OK;
    if (bytes > 0)
        status = cuda_said(dev, dev->cu->fill(cuda_at(block->at), 0, bytes, dev->stream), "cuMemsetD8Async", err);
    if (status != MOCO_OK)
        dev->cu->memory_free(block->base);
    return status;
}

moco_status cuda_take(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err)
{
    *out = (struct be_memory){0};
    if (bytes > SIZE_MAX / 2)
        return err_set(err, MOCO_ENOMEM, "%s: out of memory for %zu bytes", dev->name, bytes);
    struct cuda_block *block = mem_zalloc(dev->ctx, sizeof *block, err);
    if (block == NULL)
        return MOCO_ENOMEM;
    moco_status status = take_zeroed(dev, block, bytes, err);
    if (status != MOCO_OK) {
        mem_free(dev->ctx, block);
        return status;
    }
    block->next = dev->blocks;
    dev->blocks = block;
    dev->live += (int64_t)bytes;
    *out = (struct be_memory){block->at, bytes};
    return MOCO_OK;
}

void cuda_give(struct be_device *dev, struct be_memory *memory)
{
    for (struct cuda_block **b = &dev->blocks; *b != NULL; b = &(*b)->next)
        if ((*b)->at == memory->at) {
            struct cuda_block *block = *b;
            *b = block->next;
            dev->cu->stream_sync(dev->stream); /* work that uses it may be queued */
            dev->cu->memory_free(block->base);
            mem_free(dev->ctx, block);
            dev->live -= (int64_t)memory->bytes;
            break;
        }
    *memory = (struct be_memory){0};
}

moco_status cuda_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err)
{
    *out = (struct be_memory){0};
    CUDA_WITHIN(dev, cuda_take(dev, bytes, out, err));
    return MOCO_OK;
}

void cuda_release(struct be_device *dev, struct be_memory *memory)
{
    if (memory == NULL || memory->at == NULL)
        return;
    cuda_enter_lost(dev);
    cuda_give(dev, memory);
    cuda_leave(dev);
}

moco_status cuda_memory(struct be_device *dev, int64_t *live, int64_t *available, struct err *err)
{
    size_t left = 0, total = 0;
    CUDA_WITHIN(dev, cuda_said(dev, dev->cu->memory_info(&left, &total), "cuMemGetInfo", err));
    pthread_mutex_lock(&dev->lock);
    *live = dev->live;
    pthread_mutex_unlock(&dev->lock);
    *available = (int64_t)left;
    return MOCO_OK;
}

/* ---- staging ---- */

moco_status cuda_pinned(struct be_device *dev, size_t bytes, void **out, struct err *err)
{
    cu_result result = dev->cu->host_alloc(out, bytes > 0 ? bytes : 1, CU_HOST_PORTABLE | CU_HOST_MAPPED);
    if (result == CU_NO_MEMORY || result == CU_OPERATING_SYSTEM) {
        *out = NULL;
        return err_set(err, MOCO_ENOMEM, "%s: out of page-locked host memory for %zu bytes", dev->name, bytes);
    }
    return cuda_said(dev, result, "cuMemHostAlloc", err);
}

moco_status cuda_staging_make(struct be_device *dev, struct err *err)
{
    void *memory;
    TRY(cuda_pinned(dev, 3 * HALF, &memory, err));
    dev->staging.memory = memory;
    for (int i = 0; i < 2; i++)
        TRY(cuda_said(dev, dev->cu->event_create(&dev->staging.event[i], CU_EVENT_NO_TIMING), "cuEventCreate", err));
    return MOCO_OK;
}

void cuda_staging_free(struct be_device *dev)
{
    for (int i = 0; i < 2; i++)
        if (dev->staging.event[i] != NULL)
            dev->cu->event_destroy(dev->staging.event[i]);
    if (dev->staging.memory != NULL)
        dev->cu->host_free(dev->staging.memory);
}

/* The half is full: the GPU's copies out of it come to an end before it is filled again. */
static moco_status turn_over(struct be_device *dev, struct err *err)
{
    struct cuda_staging *s = &dev->staging;
    TRY(cuda_said(dev, dev->cu->event_record(s->event[s->half], dev->stream), "cuEventRecord", err));
    s->busy[s->half] = 1;
    s->half = !s->half;
    s->used = 0;
    if (s->busy[s->half])
        TRY(cuda_said(dev, dev->cu->event_sync(s->event[s->half]), "cuEventSynchronize", err));
    s->busy[s->half] = 0;
    return MOCO_OK;
}

moco_status cuda_put(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err)
{
    struct cuda_staging *s = &dev->staging;
    for (size_t done = 0; done < bytes;) {
        if (s->used == HALF)
            TRY(turn_over(dev, err));
        size_t part = bytes - done < HALF - s->used ? bytes - done : HALF - s->used;
        char *from = s->memory + (size_t)s->half * HALF + s->used;
        memcpy(from, (const char *)host + done, part);
        TRY(cuda_said(dev, dev->cu->copy_in(cuda_at((char *)at + done), from, part, dev->stream), "cuMemcpyHtoDAsync",
                      err));
        s->used += (part + 63) / 64 * 64;
        done += part;
    }
    return MOCO_OK;
}

moco_status cuda_fetch(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err)
{
    char *back = dev->staging.memory + 2 * HALF;
    for (size_t done = 0; done < bytes; done += HALF) {
        size_t part = bytes - done < HALF ? bytes - done : HALF;
        TRY(cuda_said(dev, dev->cu->copy_out(back, cuda_at((const char *)at + done), part, dev->stream),
                      "cuMemcpyDtoHAsync", err));
        TRY(cuda_said(dev, dev->cu->stream_sync(dev->stream), "cuStreamSynchronize", err));
        memcpy((char *)host + done, back, part);
    }
    return MOCO_OK;
}

/* ---- slots ---- */

moco_status cuda_zero(struct be_device *dev, void *at, size_t bytes, struct err *err)
{
    if (bytes > 0)
        CUDA_WITHIN(dev, cuda_fill(dev, at, bytes, err));
    return MOCO_OK;
}

moco_status cuda_copy(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
    if (bytes > 0)
        CUDA_WITHIN(dev, cuda_move(dev, to, from, bytes, err));
    return MOCO_OK;
}

moco_status cuda_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err)
{
    CUDA_WITHIN(dev, bytes > 0 ? cuda_fetch(dev, host, at, bytes, err)
                               : cuda_said(dev, dev->cu->stream_sync(dev->stream), "cuStreamSynchronize", err));
    return MOCO_OK;
}

moco_status cuda_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err)
{
    CUDA_WITHIN(dev, cuda_put(dev, at, host, bytes, err));
    return MOCO_OK;
}

moco_status cuda_sync(struct be_device *dev, struct err *err)
{
    CUDA_WITHIN(dev, cuda_said(dev, dev->cu->stream_sync(dev->stream), "cuStreamSynchronize", err));
    return MOCO_OK;
}

/* In host memory that a kernel reads by itself: whoever cancels does one store. */
moco_status cuda_cancel_alloc(struct be_device *dev, _Atomic int **out, struct err *err)
{
    void *memory = NULL;
    *out = NULL;
    CUDA_WITHIN(dev, cuda_pinned(dev, sizeof **out, &memory, err));
    *out = memory;
    atomic_init(*out, 0);
    return MOCO_OK;
}

void cuda_cancel_free(struct be_device *dev, _Atomic int *cancel)
{
    if (cancel == NULL)
        return;
    cuda_enter_lost(dev);
    dev->cu->stream_sync(dev->stream); /* a decide may look at it yet */
    dev->cu->host_free(cancel);
    cuda_leave(dev);
}

/* ---- host memory that is lent to callers ---- */

static moco_status lend(struct be_device *dev, struct cuda_lent *lent, size_t bytes, struct err *err)
{
    void *memory;
    TRY(cuda_pinned(dev, bytes, &memory, err));
    *lent = (struct cuda_lent){.next = dev->lent, .at = memory, .bytes = bytes};
    dev->lent = lent;
    return MOCO_OK;
}

moco_status cuda_host_alloc(struct be_device *dev, size_t bytes, void **out, struct err *err)
{
    *out = NULL;
    struct cuda_lent *lent = mem_zalloc(dev->ctx, sizeof *lent, err);
    if (lent == NULL)
        return MOCO_ENOMEM;
    moco_status status = cuda_enter(dev, err);
    if (status == MOCO_OK) {
        status = lend(dev, lent, bytes, err);
        cuda_leave(dev);
    }
    if (status != MOCO_OK)
        mem_free(dev->ctx, lent);
    else
        *out = lent->at;
    return status;
}

void cuda_host_free(struct be_device *dev, void *memory, size_t bytes)
{
    struct cuda_lent *found = NULL;
    (void)bytes;
    cuda_enter_lost(dev);
    for (struct cuda_lent **l = &dev->lent; *l != NULL && memory != NULL; l = &(*l)->next)
        if ((*l)->at == memory) {
            found = *l;
            *l = found->next;
            dev->cu->host_free(memory);
            break;
        }
    cuda_leave(dev);
    mem_free(dev->ctx, found);
}

int cuda_is_lent(struct be_device *dev, const void *memory, size_t bytes)
{
    uintptr_t from = (uintptr_t)memory;
    int is = 0;
    pthread_mutex_lock(&dev->lock);
    for (const struct cuda_lent *l = dev->lent; l != NULL && !is; l = l->next) {
        uintptr_t at = (uintptr_t)l->at;
        is = from >= at && bytes <= l->bytes && from - at <= l->bytes - bytes;
    }
    pthread_mutex_unlock(&dev->lock);
    return is;
}

/* ---- events ---- */

static moco_status mark(struct be_device *dev, void **event, struct err *err)
{
    cu_event next = dev->events[dev->marked % CUDA_EVENTS];
    TRY(cuda_said(dev, dev->cu->event_record(next, dev->stream), "cuEventRecord", err));
    dev->marked++;
    *event = next;
    return MOCO_OK;
}

moco_status cuda_mark(struct be_device *dev, void **event, struct err *err)
{
    CUDA_WITHIN(dev, mark(dev, event, err));
    return MOCO_OK;
}

moco_status cuda_await(struct be_device *dev, void *event, struct err *err)
{
    CUDA_WITHIN(dev, cuda_said(dev, dev->cu->stream_wait(dev->stream, event, 0), "cuStreamWaitEvent", err));
    return MOCO_OK;
}
