/* SPDX-License-Identifier: MIT
 *
 * late_memory: blocks of the late device: pages that nobody can touch but while the device runs works, each with a
 * page behind it that nobody ever can. What a reader would get wrong: an address says little about a block, since the
 * system gives one that was released again; blocks have numbers. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <sys/mman.h>
#include <unistd.h>

#include <stdio.h>
#include <stdlib.h>

#include "support/late/late.h"

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *late_take(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void late_give(void *pages, size_t bytes)
{
    if (pages != NULL)
        munmap(pages, bytes);
}

/* A fence that does not move would let everything pass: no test result after that would mean anything. */
static void protect(const struct late_block *block, int how)
{
    if (mprotect(block->at, block->mapped, how) == 0)
        return;
    perror("late: the memory of the device cannot be fenced");
    abort();
}

moco_status late_map(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err)
{
    *out = (struct be_memory){0};
    if (bytes > SIZE_MAX / 2)
        return err_set(err, MOCO_ENOMEM, "late: out of memory for %zu bytes", bytes);
    size_t mapped = bytes == 0 ? page() : (bytes + page() - 1) / page() * page();
    struct late_block *block = malloc(sizeof *block);
    char *at = block == NULL ? NULL : late_take(mapped + page());
    if (at == NULL) {
        free(block);
        return err_set(err, MOCO_ENOMEM, "late: out of memory for %zu bytes", bytes);
    }
    *block = (struct late_block){dev->blocks, at, bytes, mapped, ++dev->numbers};
    protect(block, PROT_NONE);
    if (mprotect(at + mapped, page(), PROT_NONE) != 0)
        perror("late: a guard page");
    dev->blocks = block;
    *out = (struct be_memory){at, bytes};
    return MOCO_OK;
}

void late_unmap(struct be_device *dev, struct be_memory *memory)
{
    for (struct late_block **b = &dev->blocks; *b != NULL; b = &(*b)->next)
        if ((*b)->at == memory->at) {
            struct late_block *block = *b;
            *b = block->next;
            late_give(block->at, block->mapped + page());
            free(block);
            *memory = (struct be_memory){0};
            return;
        }
    fprintf(stderr, "late: release of a block that the device does not have\n");
    abort();
}

const struct late_block *late_find(const struct be_device *dev, const void *at, size_t bytes)
{
    uintptr_t first = (uintptr_t)at;
    for (const struct late_block *b = dev->blocks; b != NULL; b = b->next) {
        uintptr_t start = (uintptr_t)b->at;
        if (first >= start && first - start <= b->bytes && bytes <= b->bytes - (first - start))
            return b;
    }
    return NULL;
}

void late_unfence(const struct be_device *dev)
{
    for (const struct late_block *b = dev->blocks; b != NULL; b = b->next)
        protect(b, PROT_READ | PROT_WRITE);
}

void late_unfence_one(const struct late_block *block)
{
    protect(block, PROT_READ | PROT_WRITE);
}

void late_fence_one(const struct late_block *block)
{
    protect(block, PROT_NONE);
}

void late_fence(const struct be_device *dev)
{
    for (const struct late_block *b = dev->blocks; b != NULL; b = b->next)
        protect(b, PROT_NONE);
}

moco_status late_locate(const struct be_device *dev, struct late_call *call, struct err *err)
{
    for (int i = 0; i < LATE_RANGES && call->range[i].what != NULL; i++) {
        struct late_range *r = &call->range[i];
        if (r->at == NULL || r->bytes == 0)
            continue;
        const struct late_block *block = late_find(dev, r->at, r->bytes);
        if (block == NULL)
            return err_set(err, MOCO_EINVAL, "late: %s: %s, %zu bytes, is not within one block of this device's memory",
                           call->name, r->what, r->bytes);
        r->block = block->number;
    }
    return MOCO_OK;
}

int late_still_there(const struct be_device *dev, const struct late_call *call)
{
    for (int i = 0; i < LATE_RANGES && call->range[i].what != NULL; i++) {
        const struct late_range *r = &call->range[i];
        const struct late_block *block;
        if (r->at == NULL || r->bytes == 0)
            continue;
        block = late_find(dev, r->at, r->bytes);
        if (block == NULL || block->number != r->block)
            return 0;
    }
    return 1;
}
