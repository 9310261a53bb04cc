/* SPDX-License-Identifier: MIT
 *
 * reals: arrays of a device's master type (f32 or f64, known by its bytes) on the host. Nothing else above the
 * backends assumes how many bytes a real has. */
#ifndef MOCO_ALGO_REALS_H
#define MOCO_ALGO_REALS_H

#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

double real_at(const void *reals, size_t real_bytes, size_t i);
void real_put(void *reals, size_t real_bytes, size_t i, double value);
/* Numbers of one size as numbers of another, or of the same. */
void reals_convert(void *to, size_t to_bytes, const void *from, size_t from_bytes, size_t count);
int64_t reals_first_bad(const void *reals, size_t real_bytes, size_t count); /* not finite; -1: none */

/* Numbers of `size` bytes that are to become reals: MOCO_ENUMERIC names the first that is not finite as one. */
moco_status reals_check(const void *values, size_t size, int64_t count, size_t real_bytes, const char *name,
                        struct err *err);
/* The sentence of that: number `i` is not finite. */
moco_status reals_bad(const void *values, size_t size, int64_t i, const char *name, struct err *err);

#endif
