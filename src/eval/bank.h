/* SPDX-License-Identifier: MIT
 *
 * bank: numbered vectors, and an exact search for those nearest to a query by cosine. What a reader would get wrong:
 * the cosines that are returned are computed again in double for the few nearest. They therefore do not depend on
 * how many queries were asked at once, on threads or on the instruction set. */
#ifndef MOCO_EVAL_BANK_H
#define MOCO_EVAL_BANK_H

#include <stdint.h>

#include "backend/backend.h"

struct bank;

/* `backend` and `dev` outlive the bank. */
moco_status bank_create(struct bank **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                        int dim, struct err *err);
void bank_free(struct bank *bank);
int bank_dim(const struct bank *bank);
int64_t bank_count(const struct bank *bank);

/* Copies n vectors and normalises them; `ids` NULL: they are numbered from the bank's count on. On failure the bank is
 * as it was. MOCO_ENUMERIC names a row that is not finite; ids below 0 are MOCO_EINVAL. */
moco_status bank_append(struct bank *bank, const float *vectors, const int64_t *ids, int64_t n, struct err *err);

/* For each of n queries its k nearest, nearest first: ids [n][k] and cosines [n][k] (NULL: not wanted). Equal cosines:
 * the vector that was added first comes first. A bank of fewer than k fills up with -1 and -infinity.
 * Threads: any number at once, while nobody appends. */
moco_status bank_search(const struct bank *bank, const float *queries, int64_t n, int k, int64_t *ids, float *cosines,
                        struct err *err);

moco_status bank_save(const struct bank *bank, const char *path, struct err *err);

/* `map`: the file's pages are the bank, and nothing but the header is read and checked here. */
moco_status bank_open(struct bank **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                      const char *path, int map, struct err *err);

#endif
