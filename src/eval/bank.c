/* SPDX-License-Identifier: MIT
 *
 * bank: see bank.h. A few queries are compared with the bank row by row, at the rate of the memory. Many queries are
 * compared block by block, in one matrix product. Both keep a few more candidates than k, so that the last bits of
 * these products decide nothing; the order among the candidates is computed in double. */
#include "eval/bank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/fallback.h"
#include "eval/bank_state.h"
#include "eval/nearest.h"
#include "eval/unit_rows.h"

enum {
    FEW = 8,              /* queries from which on a matrix product is faster */
    QUERIES = 512,        /* of one block, at most */
    ROWS = 4096,          /* of the bank that meet a block at once */
    SLICES = 64,          /* of the bank, for threads to share out */
    STRIP = 256,          /* rows whose cosines are offered together */
    SPARE = 16,           /* kept beside the k: nearness in float may be off by some 1e-7 */
    CANDIDATES = 1 << 22, /* of one block, and numbers of its queries */
    NUMBERS = 1 << 24,
    K_MOST = 1 << 20
};

moco_status bank_create(struct bank **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                        int dim, struct err *err)
{
    *out = NULL;
    if (dim < 1 || dim > BANK_DIM_MOST)
        return err_set(err, MOCO_EINVAL, "dim is %d; it must be 1 to %d", dim, BANK_DIM_MOST);
    struct bank *bank = mem_zalloc(ctx, sizeof *bank, err);
    if (bank == NULL)
        return MOCO_ENOMEM;
    *bank = (struct bank){.ctx = ctx_ref(ctx), .backend = backend, .dev = dev, .dim = dim};
    *out = bank;
    return MOCO_OK;
}

void bank_free(struct bank *bank)
{
    if (bank == NULL)
        return;
    struct ctx *ctx = bank->ctx;
    file_unmap(&bank->map);
    mem_free(ctx, bank->rows);
    mem_free(ctx, bank->ids);
    mem_free(ctx, bank);
    ctx_unref(ctx);
}

int bank_dim(const struct bank *bank)
{
    return bank->dim;
}

int64_t bank_count(const struct bank *bank)
{
    return bank->part[0].count + bank->part[1].count;
}

moco_status bank_reserve(struct bank *bank, int64_t n, struct err *err)
{
    struct bank_part *own = &bank->part[1];
    int64_t need;
    if (__builtin_add_overflow(own->count, n, &need) || need > (int64_t)UINT32_MAX - bank->part[0].count)
        return err_set(err, MOCO_EINVAL, "a bank holds at most %lld vectors; %lld more are too many",
                       (long long)UINT32_MAX, (long long)n);
    if (need <= bank->capacity)
        return MOCO_OK;
    int64_t capacity = bank->capacity * 2 > need ? bank->capacity * 2 : need;
    float *rows = mem_grow(bank->ctx, bank->rows, (size_t)capacity * (size_t)bank->dim * sizeof *rows, err);
    if (rows == NULL)
        return MOCO_ENOMEM;
    own->rows = bank->rows = rows;
    int64_t *ids = mem_grow(bank->ctx, bank->ids, (size_t)capacity * sizeof *ids, err);
    if (ids == NULL)
        return MOCO_ENOMEM;
    own->ids = bank->ids = ids;
    bank->capacity = capacity;
    return MOCO_OK;
}

moco_status bank_append(struct bank *bank, const float *vectors, const int64_t *ids, int64_t n, struct err *err)
{
    for (int64_t i = 0; ids != NULL && i < n; i++)
        if (ids[i] < 0)
            return err_set(err, MOCO_EINVAL, "ids[%lld] is %lld; ids are not negative", (long long)i,
                           (long long)ids[i]);
    if (n == 0)
        return MOCO_OK;
    TRY(bank_reserve(bank, n, err));
    struct bank_part *own = &bank->part[1];
    TRY(unit_rows(vectors, 0, n, bank->dim, bank->rows + own->count * bank->dim, err));
    int64_t next = bank_count(bank);
    for (int64_t i = 0; i < n; i++)
        bank->ids[own->count + i] = ids != NULL ? ids[i] : next + i;
    own->count += n;
    return MOCO_OK;
}

/* ---- searching ---- */

static const float *row_at(const struct bank *bank, int64_t place)
{
    const struct bank_part *p = &bank->part[place >= bank->part[0].count];
    return p->rows + (place - (p == bank->part ? 0 : bank->part[0].count)) * bank->dim;
}

static int64_t id_at(const struct bank *bank, int64_t place)
{
    int64_t first = bank->part[0].count;
    return place < first ? bank->part[0].ids[place] : bank->part[1].ids[place - first];
}

struct hit {
    double cosine;
    uint32_t place;
};

/* One block of queries on its way. */
struct search {
    const struct bank *bank;
    int queries, k;
    struct nearest_size size; /* k and the spare ones */
    const float *unit;        /* [queries][dim], of length 1 */
    struct nearest *nearest;  /* [slices][queries] */
    int slices;               /* of the bank; 1 where queries are many */
    float *cosines;           /* [queries][ROWS] where queries are many, or NULL */
    int64_t first;            /* row of the bank that cosines begin with */
    int rows;
    struct hit *hits; /* [queries][size.k] */
    int64_t *ids;     /* [queries][k] */
    float *answers;   /* [queries][k], or NULL */
};

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
static void scan_rows(const struct search *s, const struct bank_part *part, int64_t base, int64_t begin, int64_t end,
                      struct nearest *nearest)
{
    int dim = s->bank->dim;
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
            const struct bank_part *part = &s->bank->part[p];
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
    const struct bank *bank = s->bank;
    int64_t base = 0;
    for (int p = 0; p < 2; p++) {
        const struct bank_part *part = &bank->part[p];
        for (int64_t at = 0; at < part->count; at += ROWS) {
            s->first = base + at;
            s->rows = (int)(part->count - at < ROWS ? part->count - at : ROWS);
            TRY(backend_gemm_nt(bank->backend, bank->dev, s->rows, s->queries, bank->dim, part->rows + at * bank->dim,
                                s->unit, s->cosines, err));
            TRY(backend_on_host(bank->backend, bank->dev, offer_rows, s, err));
        }
        base += part->count;
    }
    return MOCO_OK;
}

static int nearer_first(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->cosine != y->cosine)
        return x->cosine > y->cosine ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static double exact_cosine(const float *a, const float *b, int dim)
{
    double sum = 0;
    for (int d = 0; d < dim; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

/* Queries' answers from what was kept. */
static void settle(void *arg, int thread, int threads)
{
    const struct search *s = arg;
    const struct bank *bank = s->bank;
    for (int q = s->queries * thread / threads; q < s->queries * (thread + 1) / threads; q++) {
        struct nearest *all = &s->nearest[q];
        for (int slice = 1; slice < s->slices; slice++)
            nearest_merge(all, &s->size, &s->nearest[slice * s->queries + q]);
        nearest_finish(all, &s->size);
        struct hit *hits = s->hits + (int64_t)q * s->size.k;
        for (int i = 0; i < all->count; i++) {
            hits[i].place = nearest_place(all->at[i]);
            hits[i].cosine = exact_cosine(s->unit + (int64_t)q * bank->dim, row_at(bank, hits[i].place), bank->dim);
        }
        qsort(hits, (size_t)all->count, sizeof *hits, nearer_first);
        for (int i = 0; i < s->k; i++) {
            int64_t at = (int64_t)q * s->k + i;
            s->ids[at] = i < all->count ? id_at(bank, hits[i].place) : -1;
            if (s->answers != NULL)
                s->answers[at] = i < all->count ? (float)hits[i].cosine : -INFINITY;
        }
    }
}

static moco_status search_block(struct search *s, uint64_t *candidates, struct err *err)
{
    const struct bank *bank = s->bank;
    for (int i = 0; i < s->slices * s->queries; i++)
        nearest_begin(&s->nearest[i], candidates + (size_t)i * (size_t)s->size.room);
    TRY(s->cosines != NULL ? multiply(s, err) : backend_on_host(bank->backend, bank->dev, scan_slices, s, err));
    return backend_on_host(bank->backend, bank->dev, settle, s, err);
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
    struct ctx *ctx = s->bank->ctx;
    size_t q = (size_t)block, slices = (size_t)s->slices;
    moco_status status = MOCO_ENOMEM;
    float *unit = mem_array(ctx, q * (size_t)s->bank->dim, sizeof *unit, err);
    uint64_t *candidates = mem_array(ctx, slices * q * (size_t)s->size.room, sizeof *candidates, err);
    s->nearest = mem_array(ctx, slices * q, sizeof *s->nearest, err);
    s->hits = mem_array(ctx, q * (size_t)s->size.k, sizeof *s->hits, err);
    s->cosines = block < FEW ? NULL : mem_array(ctx, q * ROWS, sizeof *s->cosines, err);
    if (unit != NULL && candidates != NULL && s->nearest != NULL && s->hits != NULL &&
        (s->cosines != NULL || block < FEW))
        status = MOCO_OK;
    int64_t *ids = s->ids;
    float *answers = s->answers;
    for (int64_t first = 0; first < n && status == MOCO_OK; first += block) {
        s->queries = (int)(n - first < block ? n - first : block);
        s->unit = unit;
        s->ids = ids + first * s->k;
        s->answers = answers != NULL ? answers + first * s->k : NULL;
        status = unit_rows(queries, first, s->queries, s->bank->dim, unit, err);
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

moco_status bank_search(const struct bank *bank, const float *queries, int64_t n, int k, int64_t *ids, float *cosines,
                        struct err *err)
{
    if (k < 1 || k > K_MOST)
        return err_set(err, MOCO_EINVAL, "k is %d; it must be 1 to %d", k, K_MOST);
    int64_t count = bank_count(bank);
    if (count == 0)
        return err_set(err, MOCO_ESTATE, "the bank is empty: append vectors first");
    int kept = count < k + SPARE ? (int)count : k + SPARE;
    struct search s = {.bank = bank, .k = k, .size = nearest_size(kept), .ids = ids, .answers = cosines};
    int block = at_once(n, &s.size, bank->dim);
    int64_t slices = CANDIDATES / ((int64_t)s.size.room * block);
    s.slices = block >= FEW || slices < 1 ? 1 : slices > SLICES ? SLICES : (int)slices;
    return search_all(&s, queries, n, block, err);
}
