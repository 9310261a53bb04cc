/* SPDX-License-Identifier: MIT
 *
 * neighbours_device: see neighbours_device.h. */
#include "eval/neighbours_device.h"

#include <pthread.h>

#include "backend/fallback.h"
#include "eval/unit_rows.h"

enum {
    QUERIES = 2048, /* at a time, at most: the more there are, the fewer slices a device cuts the bank into */
    NUMBERS = 1 << 24,
    ALIGN = 256 /* of what lies behind each other in one block */
};

struct neighbours_device {
    struct ctx *ctx;
    const struct backend *backend;
    struct be_device *dev;
    int dim;
    pthread_mutex_t lock;    /* of all below: one search at a time */
    struct be_memory rows;   /* [room][dim] */
    int64_t room, there;     /* there: rows that have been written */
    struct be_memory work;   /* of a block of queries: themselves, hits, what the device wants besides */
    int64_t refused, warned; /* bytes that there was no memory for; the log has said so */
};

moco_status neighbours_device_create(struct neighbours_device **out, struct ctx *ctx, const struct backend *backend,
                                     struct be_device *dev, int dim, struct err *err)
{
    *out = NULL;
    if (backend->nearest == NULL)
        return MOCO_OK;
    struct neighbours_device *d = mem_zalloc(ctx, sizeof *d, err);
    if (d == NULL)
        return MOCO_ENOMEM;
    if (pthread_mutex_init(&d->lock, NULL) != 0) {
        mem_free(ctx, d);
        return err_set(err, MOCO_ENOMEM, "out of memory for a lock");
    }
    d->ctx = ctx_ref(ctx);
    d->backend = backend;
    d->dev = dev;
    d->dim = dim;
    *out = d;
    return MOCO_OK;
}

void neighbours_device_free(struct neighbours_device *d)
{
    if (d == NULL)
        return;
    struct ctx *ctx = d->ctx;
    d->backend->release(d->dev, &d->rows);
    d->backend->release(d->dev, &d->work);
    pthread_mutex_destroy(&d->lock);
    mem_free(ctx, d);
    ctx_unref(ctx);
}

/* ---- memory ---- */

/* Nobody asked for a copy of the bank, so that half of what is free is enough: others may need memory later. */
static moco_status fits(struct neighbours_device *d, int64_t bytes, int *yes, struct err *err)
{
    int64_t live, available;
    TRY(d->backend->memory(d->dev, &live, &available, err));
    *yes = available < 0 || bytes <= available / 2;
    return MOCO_OK;
}

/* *yes 0: there is no room. */
static moco_status take(struct neighbours_device *d, struct be_memory *memory, int64_t bytes, int *yes, struct err *err)
{
    TRY(fits(d, bytes, yes, err));
    if (*yes) {
        struct err why = {0};
        moco_status status = d->backend->alloc(d->dev, (size_t)bytes, memory, &why);
        *yes = status == MOCO_OK;
        if (status != MOCO_OK && status != MOCO_ENOMEM)
            return err_set(err, status, "%s", why.text);
    }
    d->refused = *yes ? 0 : bytes;
    return MOCO_OK;
}

static int64_t row_bytes(const struct neighbours_device *d)
{
    return (int64_t)d->dim * (int64_t)sizeof(float);
}

/* Room for `need` rows: twice as many as there were, if that fits. The old copy goes first: two need not fit side by side. */
static moco_status make_room(struct neighbours_device *d, int64_t need, int *yes, struct err *err)
{
    int64_t wish = d->room * 2 > need ? d->room * 2 : need;
    *yes = 1;
    if (need <= d->room)
        return MOCO_OK;
    d->backend->release(d->dev, &d->rows);
    d->room = d->there = 0;
    TRY(fits(d, wish * row_bytes(d), yes, err));
    wish = *yes ? wish : need;
    TRY(take(d, &d->rows, wish * row_bytes(d), yes, err));
    d->room = *yes ? wish : 0;
    return MOCO_OK;
}

/* Rows that are not there yet. */
static moco_status write_rows(struct neighbours_device *d, const struct neighbours_part bank[2], struct err *err)
{
    int64_t base = 0;
    for (int p = 0; p < 2; p++) {
        int64_t end = base + bank[p].count;
        while (d->there < end) { /* piece by piece: others wait for the device meanwhile */
            int64_t left = end - d->there, piece = NUMBERS / d->dim < left ? NUMBERS / d->dim : left;
            TRY(d->backend->write(d->dev, (char *)d->rows.at + d->there * row_bytes(d),
                                  bank[p].rows + (d->there - base) * d->dim, (size_t)(piece * row_bytes(d)), err));
            d->there += piece;
        }
        base = end;
    }
    return MOCO_OK;
}

/* ---- a search ---- */

struct search {
    struct neighbours_device *d;
    int64_t rows, query;               /* query: the first of the block */
    int block, k, n;                   /* n: queries of the block */
    size_t hits_at, scratch_at, bytes; /* within the memory for work */
    float *unit;                       /* [block][dim] */
    struct be_hit *hits;               /* [block][k] */
    neighbours_answer *answer;
    void *self;
};

static size_t up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* 0: the device does not look for so many. The last block has fewer queries, and may want more. */
static int lay_out(struct search *s, int64_t count)
{
    const struct neighbours_device *d = s->d;
    int last = (int)(count % s->block);
    size_t more = last > 0 ? d->backend->nearest_scratch(d->dev, last, d->dim, s->rows, s->k) : 0;
    size_t scratch = d->backend->nearest_scratch(d->dev, s->block, d->dim, s->rows, s->k);
    s->hits_at = up((size_t)s->block * (size_t)row_bytes(d));
    s->scratch_at = s->hits_at + up((size_t)s->block * (size_t)s->k * sizeof *s->hits);
    s->bytes = s->scratch_at + (more > scratch ? more : scratch);
    return scratch > 0;
}

static void answer_part(void *arg, int part, int parts)
{
    const struct search *s = arg;
    for (int q = s->n * part / parts; q < s->n * (part + 1) / parts; q++) {
        struct be_hit *hits = s->hits + (int64_t)q * s->k;
        int found = 0;
        while (found < s->k && hits[found].row != BE_NO_ROW)
            found++;
        s->answer(s->self, s->query + q, hits, found);
    }
}

static moco_status search_block(struct search *s, const float *queries, struct err *err)
{
    struct neighbours_device *d = s->d;
    char *at = d->work.at;
    const struct be_nearest io = {.rows = d->rows.at,
                                  .queries = at,
                                  .count = s->rows,
                                  .n = s->n,
                                  .dim = d->dim,
                                  .k = s->k,
                                  .hits = at + s->hits_at};
    TRY(unit_rows(queries, s->query, s->n, d->dim, s->unit, err));
    TRY(d->backend->write(d->dev, at, s->unit, (size_t)s->n * (size_t)row_bytes(d), err));
    TRY(d->backend->nearest(d->dev, &io, at + s->scratch_at, err));
    TRY(d->backend->read(d->dev, s->hits, at + s->hits_at, (size_t)s->n * (size_t)s->k * sizeof *s->hits, err));
    return backend_on_host(d->backend, d->dev, answer_part, s, err);
}

static moco_status search_all(struct search *s, const float *queries, int64_t count, struct err *err)
{
    struct ctx *ctx = s->d->ctx;
    s->unit = mem_alloc(ctx, (size_t)s->block * (size_t)row_bytes(s->d), err);
    s->hits = s->unit != NULL ? mem_alloc(ctx, (size_t)s->block * (size_t)s->k * sizeof *s->hits, err) : NULL;
    moco_status status = s->hits != NULL ? MOCO_OK : MOCO_ENOMEM;
    for (s->query = 0; s->query < count && status == MOCO_OK; s->query += s->block) {
        s->n = (int)(count - s->query < s->block ? count - s->query : s->block);
        status = search_block(s, queries, err);
    }
    mem_free(ctx, s->unit);
    mem_free(ctx, s->hits);
    return status;
}

/* *yes: all memory is there, and all rows are in it. */
static moco_status prepare(const struct search *s, const struct neighbours_part bank[2], int *yes, struct err *err)
{
    struct neighbours_device *d = s->d;
    TRY(make_room(d, s->rows, yes, err));
    if (*yes && d->work.bytes < s->bytes) {
        d->backend->release(d->dev, &d->work);
        TRY(take(d, &d->work, (int64_t)s->bytes, yes, err));
    }
    return *yes ? write_rows(d, bank, err) : MOCO_OK;
}

static void tell_refused(struct neighbours_device *d)
{
    if (d->refused > 0 && !d->warned)
        ctx_log(d->ctx, LOG_INFO,
                "neighbours are found on the host: %s has no %lld bytes to spare for the bank's vectors or the search",
                d->backend->name, (long long)d->refused);
    d->warned |= d->refused > 0;
}

moco_status neighbours_device_find(struct neighbours_device *d, const struct neighbours_part bank[2],
                                   const float *queries, int64_t count, int k, neighbours_answer *answer, void *self,
                                   int *found, struct err *err)
{
    struct search s = {.d = d, .rows = bank[0].count + bank[1].count, .answer = answer, .self = self};
    int64_t block = NUMBERS / d->dim < QUERIES ? NUMBERS / d->dim : QUERIES;
    s.block = (int)(count < block ? count : block);
    s.k = k < s.rows ? k : (int)s.rows;
    *found = 0;
    if (count < 1 || !lay_out(&s, count))
        return MOCO_OK;
    pthread_mutex_lock(&d->lock);
    moco_status status = prepare(&s, bank, found, err);
    tell_refused(d);
    if (status == MOCO_OK && *found)
        status = search_all(&s, queries, count, err);
    pthread_mutex_unlock(&d->lock);
    return status;
}
