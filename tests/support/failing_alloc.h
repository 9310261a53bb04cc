/* SPDX-License-Identifier: MIT
 *
 * failing_alloc: an allocator for contexts that refuses the n-th request, or all from the n-th on, and counts what is
 * live, so that a test can walk through every failure: for n = 0, 1, ... until the work succeeds. */
#ifndef MOCO_TESTS_FAILING_ALLOC_H
#define MOCO_TESTS_FAILING_ALLOC_H

#include <stdatomic.h>
#include <stddef.h>

struct failing_alloc {
    _Atomic long long calls, live, refused;
    long long fail_at; /* number of the request to refuse, from 0; -1: none */
    int forever;       /* 1: and all after it */
    int ends_only;     /* 1: of a large block only the ends are filled: thousands of them a second are taken */
};

void *failing_alloc(void *user, size_t size, size_t align); /* user: struct failing_alloc */
void failing_release(void *user, void *memory, size_t size);

#endif
