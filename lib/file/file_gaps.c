/* SPDX-License-Identifier: MIT
 *
 * file_gaps: see file_gaps.h. */
#include "file_gaps.h"

#define TOTAL_MAX (INT64_C(1) << 62)

void file_gaps_start(struct file_gaps *g, struct ctx *ctx, struct err *err)
{
    *g = (struct file_gaps){.ctx = ctx, .err = err};
}

void file_gaps_add(struct file_gaps *g, size_t at, int64_t size)
{
    if (g->status != MOCO_OK)
        return;
    struct file_gap *room = mem_reserve(g->ctx, g->gaps, ((size_t)g->count + 1) * sizeof *room, g->err);
    if (room == NULL) {
        g->status = MOCO_ENOMEM;
        return;
    }
    g->gaps = room;
    g->gaps[g->count++] = (struct file_gap){.at = at, .size = size};
}

int64_t file_gaps_total(const struct file_gaps *g)
{
    int64_t total = 0;
    for (int64_t i = 0; i < g->count; i++)
        if (__builtin_add_overflow(total, g->gaps[i].size, &total) || total > TOTAL_MAX)
            return -1;
    return total;
}

void file_gaps_free(struct file_gaps *g)
{
    mem_free(g->ctx, g->gaps);
    g->gaps = NULL;
    g->count = 0;
}

static moco_status write_bytes(struct file_gaps *g, struct file_save *s, const char *bytes, size_t size,
                               struct err *err)
{
    size_t done = 0;
    int64_t filled = 0;
    for (int64_t i = 0; i < g->count; i++) {
        struct file_gap *gap = &g->gaps[i];
        TRY(file_save_write_at(s, filled + (int64_t)done, bytes + done, gap->at - done, err));
        done = gap->at;
        gap->offset = filled + (int64_t)done;
        filled += gap->size;
    }
    return file_save_write_at(s, filled + (int64_t)done, bytes + done, size - done, err);
}

moco_status file_gaps_begin(struct file_gaps *g, struct file_save *s, const char *path, const void *bytes, size_t size,
                            struct err *err)
{
    int64_t total = file_gaps_total(g);
    TRY(g->status);
    if (total < 0 || (int64_t)size > TOTAL_MAX)
        return err_set(err, MOCO_EINVAL, "%.300s: it would have more than 2^62 bytes", path);
    TRY(file_save_begin(s, g->ctx, path, total + (int64_t)size, err));
    moco_status status = write_bytes(g, s, bytes, size, err);
    if (status != MOCO_OK)
        file_save_abandon(s);
    return status;
}
