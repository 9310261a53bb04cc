/* SPDX-License-Identifier: MIT
 *
 * sort: heap sort in place. qsort can allocate behind the context's back and cannot tell its comparison where the data
 * is. Not stable: give a comparison that tells all elements apart. */
#ifndef MOCO_LIB_SORT_H
#define MOCO_LIB_SORT_H

#include <stddef.h>

/* `size` of an element: at most 128 bytes. */
void sort_array(void *base, size_t count, size_t size, int (*compare)(const void *a, const void *b, const void *user),
                const void *user);

#endif
