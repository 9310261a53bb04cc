/* SPDX-License-Identifier: MIT
 *
 * sort: heap sort in place. qsort may allocate without the context, and cannot pass data to its comparison. It is
 * not stable: use a comparison that distinguishes all elements. */
#ifndef MOCO_LIB_SORT_H
#define MOCO_LIB_SORT_H

#include <stddef.h>

#define SORT_SIZE_MAX 128

/* `size` of an element: at most SORT_SIZE_MAX bytes; an array of larger ones stays as it is. */
void sort_array(void *base, size_t count, size_t size, int (*compare)(const void *a, const void *b, const void *user),
                const void *user);

#endif
