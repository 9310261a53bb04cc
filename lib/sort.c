/* SPDX-License-Identifier: MIT
 *
 * sort: see sort.h. */
#include "sort.h"

#include <string.h>

/* Bottom-up: the hole left by the root sinks to a leaf along the larger children, then `held` climbs back: one
 * comparison a level on the way down and hardly any on the way up. */
static void sift(char *base, size_t count, size_t size, size_t root, const char *held,
                 int (*compare)(const void *a, const void *b, const void *user), const void *user)
{
    size_t hole = root;
    for (size_t child = 2 * hole + 1; child < count; child = 2 * hole + 1) {
        if (child + 1 < count && compare(base + child * size, base + (child + 1) * size, user) < 0)
            child++;
        memcpy(base + hole * size, base + child * size, size);
        hole = child;
    }
    while (hole > root) {
        size_t parent = (hole - 1) / 2;
        if (compare(base + parent * size, held, user) >= 0)
            break;
        memcpy(base + hole * size, base + parent * size, size);
        hole = parent;
    }
    memcpy(base + hole * size, held, size);
}

void sort_array(void *array, size_t count, size_t size, int (*compare)(const void *a, const void *b, const void *user),
                const void *user)
{
    char *base = array, held[SORT_SIZE_MAX];
    size_t ordered = 1;
    while (ordered < count && compare(base + (ordered - 1) * size, base + ordered * size, user) <= 0)
        ordered++;
    if (ordered >= count || size > sizeof held)
        return;
    for (size_t root = count / 2; root-- > 0;) {
        memcpy(held, base + root * size, size);
        sift(base, count, size, root, held, compare, user);
    }
    for (size_t last = count - 1; last > 0; last--) {
        memcpy(held, base + last * size, size);
        memcpy(base + last * size, base, size);
        sift(base, last, size, 0, held, compare, user);
    }
}
