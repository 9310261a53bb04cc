/* SPDX-License-Identifier: MIT
 *
 * neighbours: see neighbours.h. A few queries are compared with the bank row by row, at the rate of the memory. Many
 * queries are compared block by block, in one matrix product. */
#include "eval/neighbours.h"

#include <stdlib.h>

#include "backend/fallback.h"
#include "eval/nearest.h"
#include "eval/neighbours_device.h"
#include "eval/unit_rows.h"

enum {
    FEW = 8,              /* queries from which on a matrix product is faster */
    QUERIES = 512,        /* of one block, at most */
    ROWS = 4096,          /* of the bank that meet a block at once */
    SLICES = 64,          /* of the bank, for threads to share out */
    STRIP = 256,          /* rows whose cosines are offered together */
    ABREAST = 8,          /* candidates whose cosines are summed together */
    CANDIDATES = 1 << 22, /* of one block, and numbers of its queries */
    NUMBERS = 1 << 24
};

struct neighbours {
    struct ctx *ctx;
    const struct backend *backend;
    struct be_device *dev;
    int dim;
    struct neighbours_device *device; /* NULL: it finds none itself */
};

moco_status neighbours_create(struct neighbours **out, struct ctx *ctx, const struct backend *backend,
                              struct be_device *dev, int dim, struct err *err)
{
    *out = NULL;
    struct neighbours *n = mem_zalloc(ctx, sizeof *n, err);
    if (n == NULL)
        return MOCO_ENOMEM;
    *n = (struct neighbours){.ctx = ctx_ref(ctx), .backend = backend, .dev = dev, .dim = dim};
    moco_status status = neighbours_device_create(&n->device, ctx, backend, dev, dim, err);
    if (status != MOCO_OK) {
        neighbours_free(n);
        return status;
    }
    *out = n;
    return MOCO_OK;
}

void neighbours_free(struct neighbours *n)
{
    if (n == NULL)
        return;
    struct ctx *ctx = n->ctx;
    neighbours_device_free(n->device);
    mem_free(ctx, n);
    ctx_unref(ctx);
}

/* One block of queries on its way. */
struct search {
    const struct neighbours *in;
    const struct neighbours_part *bank;
    int queries, k;
    struct nearest_size size; /* k and the spare ones */
    const float *unit;        /* [queries][dim], of length 1 */
    struct nearest *nearest;  /* [slices][queries] */
    int slices;               /* of the bank; 1 where queries are many */
    float *cosines;           /* [ROWS][queries] where queries are many, or NULL */
    int64_t first;            /* row of the bank that cosines begin with */
    int rows;
    struct be_hit *hits; /* [queries][size.k] */
    neighbours_answer *answer;
    void *self;
    int64_t query; /* number of the first */
};

/* ---- candidates ---- */

/* A vector that every CPU has: of wider ones, lowered to this, the compiler keeps sums in memory. */
typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));

static lanes lanes_at(const float *from)
{
    return *(const lanes *)from;
}

/* Two sums hide the time of an addition; rows one after the other are what the hardware fetches ahead best. */
static float cosine_of(const float *query, const float *row, int dim)
{
    lanes even = {0}, odd = {0};
    float rest = 0;
    int i = 0;
    for (; i + 8 <= dim; i += 8) {
        even += lanes_at(query + i) * lanes_at(row + i);
        odd += lanes_at(query + i + 4) * lanes_at(row + i + 4);
    }
    for (; i < dim; i++)
        rest += query[i] * row[i];
    even += odd;
    return ((even[0] + even[2]) + (even[1] + even[3])) + rest;
}

/* Rows [begin, end) of one part of the bank, the first of which is row `base` + begin of all. */
static void scan_rows(const struct search *s, const struct neighbours_part *part, int64_t base, int64_t begin,
                      int64_t end, struct nearest *nearest)
{
    int dim = s->in->dim;
    float cosines[STRIP];
    for (int64_t first = begin; first < end; first += STRIP) {
        int count = (int)(end - first < STRIP ? end - first : STRIP);
        for (int q = 0; q < s->queries; q++) {
            const float *query = s->unit + (int64_t)q * dim, *rows = part->rows + first * dim;
            for (int i = 0; i < count; i++)
                cosines[i] = cosine_of(query, rows + (int64_t)i * dim, dim);
            nearest_offer(&nearest[q], &s->size, cosines, base + first, count);
        }
    }
}

static void scan_slices(void *arg, int thread, int threads)
{
    const struct search *s = arg;
    for (int slice = thread; slice < s->slices; slice += threads) {
        int64_t base = 0;
        for (int p = 0; p < 2; p++) {
            const struct neighbours_part *part = &s->bank[p];
            /* Slices of both parts follow each other in the order of the bank, which nearest_offer wants: a slice has
             * its share of the first part before its share of the second. */
            scan_rows(s, part, base, part->count * slice / s->slices, part->count * (slice + 1) / s->slices,
                      s->nearest + slice * s->queries);
            base += part->count;
        }
    }
}

static void offer_rows(void *arg, int thread, int threads)
{
    const struct search *s = arg;
    int begin = s->queries * thread / threads, end = s->queries * (thread + 1) / threads;
    nearest_offer_rows(s->nearest + begin, end - begin, &s->size, s->cosines + begin, s->queries, s->first, s->rows);
}

/* Rows of the bank times queries, and not the other way round: with so few numbers to a sum and so few queries it is
 * half as fast again. */
static moco_status multiply(struct search *s, struct err *err)
{
    const struct neighbours *in = s->in;
    int64_t base = 0;
    for (int p = 0; p < 2; p++) {
        const struct neighbours_part *part = &s->bank[p];
        for (int64_t at = 0; at < part->count; at += ROWS) {
            s->first = base + at;
            s->rows = (int)(part->count - at < ROWS ? part->count - at : ROWS);
            TRY(backend_gemm_nt(in->backend, in->dev, s->rows, s->queries, in->dim, part->rows + at * in->dim, s->unit,
                                s->cosines, err));
            TRY(backend_on_host(in->backend, in->dev, offer_rows, s, err));
        }
        base += part->count;
    }
    return MOCO_OK;
}

/* ---- the order among them ---- */

static int nearer_first(const void *a, const void *b)
{
    const struct be_hit *x = a, *y = b;
    if (x->cosine != y->cosine)
        return x->cosine > y->cosine ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static const float *row_at(const struct search *s, int64_t row)
{
    const struct neighbours_part *p = &s->bank[row >= s->bank[0].count];
    return p->rows + (row - (p == s->bank ? 0 : s->bank[0].count)) * s->in->dim;
}

/* Each cosine is summed from the first number to the last, several rows side by side: a sum alone would wait for each
 * of its additions. */
static void exact_cosines(const struct search *s, const float *query, struct be_hit *hits, int count)
{
    for (int first = 0; first < count; first += ABREAST) {
        int n = count - first < ABREAST ? count - first : ABREAST;
        const float *row[ABREAST];
        double sum[ABREAST] = {0};
        for (int i = 0; i < ABREAST; i++)
            row[i] = row_at(s, hits[first + (i < n ? i : 0)].row);
        for (int d = 0; d < s->in->dim; d++)
            for (int i = 0; i < ABREAST; i++)
                sum[i] += (double)query[d] * (double)row[i][d];
        for (int i = 0; i < n; i++)
            hits[first + i].cosine = sum[i];
    }
}

/* Queries' answers from what was kept. */
static void settle(void *arg, int thread, int threads)
{
    const struct search *s = arg;
    for (int q = s->queries * thread / threads; q < s->queries * (thread + 1) / threads; q++) {
        struct nearest *all = &s->nearest[q];
        for (int slice = 1; slice < s->slices; slice++)
            nearest_merge(all, &s->size, &s->nearest[slice * s->queries + q]);
        nearest_finish(all, &s->size);
        struct be_hit *hits = s->hits + (int64_t)q * s->size.k;
        for (int i = 0; i < all->count; i++)
            hits[i] = (struct be_hit){.row = nearest_place(all->at[i])};
        exact_cosines(s, s->unit + (int64_t)q * s->in->dim, hits, all->count);
        qsort(hits, (size_t)all->count, sizeof *hits, nearer_first);
        s->answer(s->self, s->query + q, hits, all->count < s->k ? all->count : s->k);
    }
}

static moco_status search_block(struct search *s, uint64_t *candidates, struct err *err)
{
    const struct neighbours *in = s->in;
    for (int i = 0; i < s->slices * s->queries; i++)
        nearest_begin(&s->nearest[i], candidates + (size_t)i * (size_t)s->size.room);
    TRY(s->cosines != NULL ? multiply(s, err) : backend_on_host(in->backend, in->dev, scan_slices, s, err));
    return backend_on_host(in->backend, in->dev, settle, s, err);
}

/* As many as there is room for their candidates and numbers. */
static int at_once(int64_t n, const struct nearest_size *size, int dim)
{
    int64_t most = QUERIES;
    most = CANDIDATES / size->room < most ? CANDIDATES / size->room : most;
    most = NUMBERS / dim < most ? NUMBERS / dim : most;
    most = n < most ? n : most;
    return most > 1 ? (int)most : 1;
}

/* Searches block by block: the bank is read once for each block of queries, not for each query. */
static moco_status search_all(struct search *s, const float *queries, int64_t n, int block, struct err *err)
{
    struct ctx *ctx = s->in->ctx;
    size_t q = (size_t)block, slices = (size_t)s->slices;
    moco_status status = MOCO_ENOMEM;
    float *unit = mem_array(ctx, q * (size_t)s->in->dim, sizeof *unit, err);
    uint64_t *candidates = mem_alloc(ctx, slices * q * (size_t)s->size.room * sizeof *candidates, err);
    s->nearest = mem_array(ctx, slices * q, sizeof *s->nearest, err);
    s->hits = mem_array(ctx, q * (size_t)s->size.k, sizeof *s->hits, err);
    s->cosines = block < FEW ? NULL : mem_alloc(ctx, q * ROWS * sizeof *s->cosines, err);
    if (unit != NULL && candidates != NULL && s->nearest != NULL && s->hits != NULL &&
        (s->cosines != NULL || block < FEW))
        status = MOCO_OK;
    s->unit = unit;
    for (s->query = 0; s->query < n && status == MOCO_OK; s->query += block) {
        s->queries = (int)(n - s->query < block ? n - s->query : block);
        status = unit_rows(queries, s->query, s->queries, s->in->dim, unit, err);
        if (status == MOCO_OK)
            status = search_block(s, candidates, err);
    }
    mem_free(ctx, unit);
    mem_free(ctx, candidates);
    mem_free(ctx, s->nearest);
    mem_free(ctx, s->hits);
    mem_free(ctx, s->cosines);
    return status;
}

static moco_status find_on_host(struct neighbours *n, const struct neighbours_part bank[2], const float *queries,
                                int64_t count, int k, neighbours_answer *answer, void *self, struct err *err)
{
    int64_t rows = bank[0].count + bank[1].count;
    int kept = rows < k + BE_SPARE ? (int)rows : k + BE_SPARE;
    struct search s = {.in = n, .bank = bank, .k = k, .size = nearest_size(kept), .answer = answer, .self = self};
    int block = at_once(count, &s.size, n->dim);
    int64_t slices = CANDIDATES / ((int64_t)s.size.room * block);
    s.slices = block >= FEW || slices < 1 ? 1 : slices > SLICES ? SLICES : (int)slices;
    return search_all(&s, queries, count, block, err);
}

moco_status neighbours_find(struct neighbours *n, const struct neighbours_part bank[2], const float *queries,
                            int64_t count, int k, neighbours_answer *answer, void *self, struct err *err)
{
    int found = 0;
    if (n->device != NULL)
        TRY(neighbours_device_find(n->device, bank, queries, count, k, answer, self, &found, err));
    return found ? MOCO_OK : find_on_host(n, bank, queries, count, k, answer, self, err);
}
