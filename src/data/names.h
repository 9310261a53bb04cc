/* SPDX-License-Identifier: MIT
 *
 * names: many strings in one block, of any number: four bytes and its length for each. */
#ifndef MOCO_DATA_NAMES_H
#define MOCO_DATA_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"

/* Strings back to back, each ending in 0, and where each starts. */
struct names {
    char *text;
    size_t used;
    uint32_t *at;
    int64_t count;
};

moco_status names_add(struct ctx *ctx, struct names *n, const char *name, struct err *err);
/* Gives back what growing took in advance. */
moco_status names_trim(struct ctx *ctx, struct names *n, struct err *err);
void names_free(struct ctx *ctx, struct names *n);
const char *names_at(const struct names *n, int64_t i);

#endif
