/* SPDX-License-Identifier: MIT
 *
 * relu_masks: which numbers the ReLUs of a training plan let through, read from one device's plan after its forward and
 * imposed on ref's. Two devices round differently, so that of the numbers next to zero a few fall on the other side,
 * and each then adds or takes a whole number's gradient: with the same masks gradients must agree to rounding. What a
 * reader would get wrong: backends each define their own `struct be_plan`, so that each reader is a file of its own. */
#ifndef MOCO_TESTS_RELU_MASKS_H
#define MOCO_TESTS_RELU_MASKS_H

#include <stddef.h>

struct be_plan;
struct graph;

/* Per ReLU of the graph, in its order: [n][h][w][c] of one launch, 1 where it let through. */
struct relu_masks {
    int count;
    size_t *size;
    unsigned char **open;
};

struct relu_masks relu_masks_new(const struct graph *graph, int n);
void relu_masks_free(struct relu_masks *masks);

void relu_masks_read_cpu(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks);
void relu_masks_read_ref(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks);

/* Makes ref's backward see these masks. Returns how many numbers stood on the other side; *largest: the greatest of
 * those that were above zero, in units of the root of the mean square of its map. */
size_t relu_masks_impose(struct be_plan *ref, const struct graph *graph, const struct relu_masks *masks,
                         double *largest);

#endif
