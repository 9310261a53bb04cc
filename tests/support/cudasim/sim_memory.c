/* SPDX-License-Identifier: MIT
 *
 * sim_memory: memory of the simulated driver, see sim_driver.h. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS */
#endif
#include "support/cudasim/sim_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, GRAIN = 256, CANARY = 0xff, BAD_VALUE = 1 };

struct sim_state sim;
static uint64_t numbers;
static int all_open;

_Noreturn void sim_fail(const char *what)
{
    fprintf(stderr, "cudasim: %s\n", what);
    abort();
}

int sim_all_open(void)
{
    return all_open;
}

void sim_fence(const struct block *b, int open)
{
    if (!b->host && mprotect(b->map, b->mapped, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
        sim_fail("mprotect failed");
}

void sim_fence_all(int open)
{
    for (const struct block *b = sim.blocks; b != NULL && all_open != open; b = b->next)
        sim_fence(b, open);
    all_open = open;
}

/* At an address that no one may rely on being aligned to more than 256. */
struct block *sim_take(size_t bytes, int host)
{
    struct block *b = calloc(1, sizeof *b);
    size_t mapped = (GRAIN + bytes + PAGE - 1) / PAGE * PAGE;
    if (b == NULL)
        sim_fail("no memory");
    char *map = mmap(NULL, mapped + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        sim_fail("no memory");
    memset(map, CANARY, mapped);
    if (mprotect(map + mapped, PAGE, PROT_NONE) != 0)
        sim_fail("mprotect failed");
    *b = (struct block){.next = sim.blocks,
                        .number = ++numbers,
                        .map = map,
                        .at = map + GRAIN,
                        .bytes = bytes,
                        .mapped = mapped,
                        .host = host};
    sim_fence(b, 0);
    sim.blocks = b;
    if (!host)
        sim.live += (int64_t)bytes;
    return b;
}

struct block *sim_find(const void *at, size_t bytes)
{
    for (struct block *b = sim.blocks; b != NULL; b = b->next)
        if ((const char *)at >= b->at && (const char *)at + bytes <= b->at + b->bytes)
            return b;
    return NULL;
}

static void look_behind(const struct block *b)
{
    const unsigned char *from = (const unsigned char *)b->map, *end = from + b->mapped;
    for (const unsigned char *c = from; c < (const unsigned char *)b->at; c++)
        if (*c != CANARY)
            sim_fail("somebody wrote before the begin of a block");
    for (const unsigned char *c = (const unsigned char *)b->at + b->bytes; c < end; c++)
        if (*c != CANARY)
            sim_fail("somebody wrote behind the end of a block");
}

cu_result sim_give(void *at, int host)
{
    for (struct block **b = &sim.blocks; *b != NULL; b = &(*b)->next)
        if ((*b)->at == at && (*b)->host == host) {
            struct block *gone = *b;
            *b = gone->next;
            sim_fence(gone, 1);
            look_behind(gone);
            if (!host)
                sim.live -= (int64_t)gone->bytes;
            munmap(gone->map, gone->mapped + PAGE);
            free(gone);
            return sim.error;
        }
    return BAD_VALUE;
}
