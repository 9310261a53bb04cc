/* SPDX-License-Identifier: MIT
 *
 * cpu_memory: the device's memory, from the context's allocator, aligned to pages and first touched by the compute
 * threads. What a reader would get wrong: the start of the allocator's block is stored in the word before the
 * address that callers see. */
#define _DEFAULT_SOURCE /* madvise */
#include "backend/cpu/cpu_memory.h"

#include <string.h>
#include <sys/mman.h>

#include "backend/cpu/cpu_team.h"

#define PAGE ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)

/* Large pages where the system has them for the asking: a slab is walked from end to end in every step. */
static void advise_huge(void *at, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    uintptr_t first = ((uintptr_t)at + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t last = ((uintptr_t)at + bytes) & ~(uintptr_t)(HUGE_PAGE - 1);
    if (first < last)
        (void)madvise((void *)first, last - first, MADV_HUGEPAGE); /* a wish; no harm if refused */
#else
    (void)at;
    (void)bytes;
#endif
}

/* Large blocks start at a huge page. The compute threads write the zeros, so that each page is placed near the
 * thread that uses it. */
moco_status cpu_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err)
{
    *out = (struct be_memory){0};
    size_t align = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : PAGE;
    if (bytes > SIZE_MAX - align - sizeof(void *))
        return err_set(err, MOCO_ENOMEM, "cannot allocate %zu bytes", bytes);
    char *block = mem_alloc(dev->ctx, bytes + align + sizeof(void *), err);
    if (block == NULL)
        return MOCO_ENOMEM;
    char *at = block + sizeof(void *);
    at += (align - (uintptr_t)at % align) % align;
    memcpy(at - sizeof(void *), &block, sizeof block);
    advise_huge(at, bytes);

    struct parallel_scope scope;
    moco_status status = cpu_enter(dev, &scope, err);
    if (status != MOCO_OK) {
        mem_free(dev->ctx, block);
        return status;
    }
    kern_zero(&dev->team, at, bytes);
    parallel_leave(&scope);
    atomic_fetch_add(&dev->live, (int64_t)bytes);
    *out = (struct be_memory){.at = at, .bytes = bytes};
    return MOCO_OK;
}

void cpu_release(struct be_device *dev, struct be_memory *memory)
{
    if (memory->at != NULL) {
        char *block;
        memcpy(&block, (char *)memory->at - sizeof(void *), sizeof block);
        mem_free(dev->ctx, block);
        atomic_fetch_sub(&dev->live, (int64_t)memory->bytes);
    }
    *memory = (struct be_memory){0};
}

moco_status cpu_memory(struct be_device *dev, int64_t *live, int64_t *available, struct err *err)
{
    (void)err;
    *live = atomic_load(&dev->live);
    *available = -1; /* the system gives what it has when it is touched */
    return MOCO_OK;
}

moco_status cpu_zero(struct be_device *dev, void *at, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    memset(at, 0, bytes);
    return MOCO_OK;
}

moco_status cpu_copy(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    if (bytes > 0)
        memcpy(to, from, bytes);
    return MOCO_OK;
}

moco_status cpu_sync(struct be_device *dev, struct err *err)
{
    (void)dev;
    (void)err;
    return MOCO_OK;
}

moco_status cpu_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    if (bytes > 0)
        memcpy(host, at, bytes);
    return MOCO_OK;
}

moco_status cpu_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err)
{
    (void)dev;
    (void)err;
    if (bytes > 0)
        memcpy(at, host, bytes);
    return MOCO_OK;
}
