/* SPDX-License-Identifier: MIT
 *
 * names: see names.h. */
#include "names.h"

#include <string.h>

/* Appends a name. All names are one text and a table of offsets: two allocations for millions of names. */
moco_status names_add(struct ctx *ctx, struct names *n, const char *name, struct err *err)
{
    size_t length = strlen(name) + 1;
    if (n->used + length > UINT32_MAX)
        return err_set(err, MOCO_ENOTSUP, "the names of the images take more than 4 GiB");
    if (n->text == NULL || n->used + length > mem_size(n->text)) {
        char *grown = mem_grow(ctx, n->text, (n->used + length) * 3 / 2 + 256, err);
        if (grown == NULL)
            return MOCO_ENOMEM;
        n->text = grown;
    }
    if (n->at == NULL || (size_t)(n->count + 1) * sizeof *n->at > mem_size(n->at)) {
        uint32_t *grown = mem_grow(ctx, n->at, ((size_t)n->count + 64) * 3 / 2 * sizeof *n->at, err);
        if (grown == NULL)
            return MOCO_ENOMEM;
        n->at = grown;
    }
    memcpy(n->text + n->used, name, length);
    n->at[n->count++] = (uint32_t)n->used;
    n->used += length;
    return MOCO_OK;
}

moco_status names_trim(struct ctx *ctx, struct names *n, struct err *err)
{
    if (n->count == 0)
        return MOCO_OK;
    char *text = mem_grow(ctx, n->text, n->used, err);
    if (text == NULL)
        return MOCO_ENOMEM;
    n->text = text;
    uint32_t *at = mem_grow(ctx, n->at, (size_t)n->count * sizeof *at, err);
    if (at == NULL)
        return MOCO_ENOMEM;
    n->at = at;
    return MOCO_OK;
}

void names_free(struct ctx *ctx, struct names *n)
{
    mem_free(ctx, n->text);
    mem_free(ctx, n->at);
    *n = (struct names){0};
}

const char *names_at(const struct names *n, int64_t i)
{
    return n->text + n->at[i];
}
