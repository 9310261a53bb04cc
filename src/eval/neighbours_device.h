/* SPDX-License-Identifier: MIT
 *
 * neighbours_device: neighbours that a device finds itself, among rows that it keeps in its memory. What a reader would get
 * wrong: the rows there are a copy. It is made when somebody first asks, follows the bank as that grows, and is given up
 * where the device has no memory for it. Then, and where it has none for a search, neighbours are found on the host. */
#ifndef MOCO_EVAL_NEIGHBOURS_DEVICE_H
#define MOCO_EVAL_NEIGHBOURS_DEVICE_H

#include "eval/neighbours.h"

struct neighbours_device;

/* *out is NULL where devices of the backend find no neighbours. */
moco_status neighbours_device_create(struct neighbours_device **out, struct ctx *ctx, const struct backend *backend,
                                     struct be_device *dev, int dim, struct err *err);
void neighbours_device_free(struct neighbours_device *d); /* NULL is fine */

/* As neighbours_find. *found 0: nothing was answered, since the device does not look for so many neighbours, or has no
 * memory for it (which the log says once). */
moco_status neighbours_device_find(struct neighbours_device *d, const struct neighbours_part bank[2],
                                   const float *queries, int64_t count, int k, neighbours_answer *answer, void *self,
                                   int *found, struct err *err);

#endif
