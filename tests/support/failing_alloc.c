/* SPDX-License-Identifier: MIT
 *
 * failing_alloc: see failing_alloc.h. */
#include "support/failing_alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_llong refused_in_all;

/* For the counts of a campaign. */
__attribute__((destructor)) static void tell(void)
{
    if (atomic_load(&refused_in_all) > 0)
        printf("allocations that failed: %lld\n", (long long)atomic_load(&refused_in_all));
}

void *failing_alloc(void *user, size_t size, size_t align)
{
    struct failing_alloc *f = user;
    long long call = atomic_fetch_add(&f->calls, 1);
    if (f->fail_at >= 0 && (call == f->fail_at || (f->forever && call > f->fail_at))) {
        atomic_fetch_add(&f->refused, 1);
        atomic_fetch_add(&refused_in_all, 1);
        return NULL;
    }
    void *memory = NULL;
    if (posix_memalign(&memory, align, size) != 0)
        return NULL;
    enum { END = 16 << 10 };
    int all = !f->ends_only || size <= 2 * END;
    memset(memory, 0xa5, all ? size : END); /* nothing may lean on zeros */
    if (!all)
        memset((char *)memory + size - END, 0xa5, END);
    atomic_fetch_add(&f->live, (long long)size);
    return memory;
}

void failing_release(void *user, void *memory, size_t size)
{
    struct failing_alloc *f = user;
    atomic_fetch_sub(&f->live, (long long)size);
    free(memory);
}
