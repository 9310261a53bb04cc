/* SPDX-License-Identifier: MIT
 *
 * knn: see knn.h. Queries and bank meet block by block in one matrix product, of which only the k best of each query
 * are kept; memory is the bank and a few MiB, whatever their sizes. */
#include "eval/knn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "eval/unit_rows.h"

enum {
    QUERIES = 512, /* of one block, and rows of the bank: large enough that the product runs at its full rate */
    BANK = 4096,
    RUN = 16,             /* cosines looked at together */
    CANDIDATES = 1 << 22, /* of one block, and numbers of its queries: with a very large k or dim it has fewer */
    NUMBERS = 1 << 24
};

/* Of one query: those that may be among its k nearest. */
struct candidates {
    uint64_t *at;
    int count, keys; /* all; of which the first `keys` are keys already */
    float limit;     /* what is not above it is out */
};

struct knn {
    struct ctx *ctx;
    const struct backend *backend;
    struct be_device *dev;
    int dim, k;
    double temperature;
    float *bank; /* [room][dim], unit rows */
    int32_t *labels;
    int64_t count, room;
    int warned;
    float *queries;    /* [block][dim], unit rows */
    float *cosines;    /* [QUERIES][BANK] */
    uint64_t *nearest; /* [block][2 * room_of_query]: candidates, and room to sort their labels */
    int block;         /* queries looked for at once */
    int room_of_query; /* k, and as many as come before the next selection */
};

static moco_status check(int dim, int k, double temperature, struct err *err)
{
    if (dim < 1 || dim > 1 << 20)
        return err_set(err, MOCO_EINVAL, "dim is %d; it must be 1 to 1048576", dim);
    if (k < 1 || k > 1 << 20)
        return err_set(err, MOCO_EINVAL, "k is %d; it must be 1 to 1048576", k);
    if (!(temperature > 0) || isinf(temperature))
        return err_set(err, MOCO_EINVAL, "temperature must be a positive number");
    return MOCO_OK;
}

moco_status knn_create(struct knn **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev, int dim,
                       int k, double temperature, struct err *err)
{
    *out = NULL;
    TRY(check(dim, k, temperature, err));
    struct knn *knn = mem_zalloc(ctx, sizeof *knn, err);
    if (knn == NULL)
        return MOCO_ENOMEM;
    knn->ctx = ctx_ref(ctx);
    knn->backend = backend;
    knn->dev = dev;
    knn->dim = dim;
    knn->k = k;
    knn->temperature = temperature;
    knn->cosines = mem_array(ctx, (size_t)QUERIES * BANK, sizeof *knn->cosines, err);
    knn->room_of_query = k + (k < 64 ? 128 : k < 1024 ? 2 * k : 2048) + RUN;
    knn->block = CANDIDATES / knn->room_of_query < QUERIES ? CANDIDATES / knn->room_of_query : QUERIES;
    knn->block = NUMBERS / dim < knn->block ? NUMBERS / dim : knn->block;
    knn->queries = mem_array(ctx, (size_t)dim * (size_t)knn->block, sizeof *knn->queries, err);
    knn->nearest = mem_array(ctx, (size_t)knn->room_of_query * 2 * (size_t)knn->block, sizeof *knn->nearest, err);
    if (knn->queries == NULL || knn->cosines == NULL || knn->nearest == NULL) {
        knn_free(knn);
        return MOCO_ENOMEM;
    }
    *out = knn;
    return MOCO_OK;
}

void knn_free(struct knn *knn)
{
    if (knn == NULL)
        return;
    struct ctx *ctx = knn->ctx;
    mem_free(ctx, knn->bank);
    mem_free(ctx, knn->labels);
    mem_free(ctx, knn->queries);
    mem_free(ctx, knn->cosines);
    mem_free(ctx, knn->nearest);
    mem_free(ctx, knn);
    ctx_unref(ctx);
}

int knn_dim(const struct knn *knn)
{
    return knn->dim;
}

static moco_status make_room(struct knn *knn, int64_t n, struct err *err)
{
    int64_t need;
    if (__builtin_add_overflow(knn->count, n, &need) || need > UINT32_MAX || need > INT64_MAX / 8 / knn->dim)
        return err_set(err, MOCO_ENOMEM, "no memory for a bank of %lld more vectors", (long long)n);
    if (need <= knn->room)
        return MOCO_OK;
    int64_t room = knn->room * 2 > need ? knn->room * 2 : need;
    float *bank = mem_grow(knn->ctx, knn->bank, (size_t)room * (size_t)knn->dim * sizeof *bank, err);
    if (bank == NULL)
        return MOCO_ENOMEM;
    knn->bank = bank;
    int32_t *labels = mem_grow(knn->ctx, knn->labels, (size_t)room * sizeof *labels, err);
    if (labels == NULL)
        return MOCO_ENOMEM;
    knn->labels = labels;
    knn->room = room;
    return MOCO_OK;
}

moco_status knn_add(struct knn *knn, const float *features, const int32_t *labels, int64_t n, struct err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (labels[i] < 0)
            return err_set(err, MOCO_EINVAL, "labels[%lld] is %d; labels are not negative", (long long)i,
                           (int)labels[i]);
    if (n == 0)
        return MOCO_OK;
    TRY(make_room(knn, n, err));
    TRY(unit_rows(features, 0, n, knn->dim, knn->bank + knn->count * knn->dim, err));
    memcpy(knn->labels + knn->count, labels, (size_t)n * sizeof *labels);
    knn->count += n;
    return MOCO_OK;
}

/* ---- the k nearest ---- */

/* A candidate is 64 bits: the cosine's, and the place in the bank. As a key they are such that a larger one is nearer,
 * and of equally near ones the first in the bank: then choosing needs no branch that depends on the data. */

static uint64_t raw_of(float cosine, uint32_t place)
{
    uint32_t bits;
    memcpy(&bits, &cosine, sizeof bits);
    return (uint64_t)bits << 32 | place;
}

static uint64_t key_of(uint64_t raw)
{
    uint32_t bits = (uint32_t)(raw >> 32), place = (uint32_t)raw;
    if (bits == 0x80000000u)
        bits = 0; /* -0 is 0 */
    return (uint64_t)(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | (uint32_t)~place;
}

static float cosine_of(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float cosine;
    bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
    memcpy(&cosine, &bits, sizeof cosine);
    return cosine;
}

static uint32_t place_of(uint64_t key)
{
    return ~(uint32_t)key;
}

static int middle(const uint64_t *x, int a, int b, int c)
{
    if (x[a] > x[b])
        return x[b] > x[c] ? b : x[a] > x[c] ? c : a;
    return x[a] > x[c] ? a : x[b] > x[c] ? c : b;
}

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t held = *a;
    *a = *b;
    *b = held;
}

/* Brings the k largest of `count` keys to the front. */
static void select_largest(uint64_t *x, int count, int k)
{
    for (int low = 0, high = count; high - low > 1;) {
        swap(&x[low], &x[middle(x, low, low + (high - low) / 2, high - 1)]);
        uint64_t pivot = x[low];
        int last = low; /* of those that are larger */
        for (int i = low + 1; i < high; i++) {
            uint64_t key = x[i];
            x[i] = x[last + 1];
            x[last + 1] = key;
            last += key > pivot;
        }
        swap(&x[low], &x[last]);
        if (last == k || last == k - 1)
            return;
        if (last > k)
            high = last;
        else
            low = last + 1;
    }
}

/* Leaves the k nearest, as keys, and lets nothing in again that is not nearer than the farthest of them. */
static void shrink(const struct knn *knn, struct candidates *c)
{
    for (int i = c->keys; i < c->count; i++)
        c->at[i] = key_of(c->at[i]);
    c->keys = c->count;
    if (c->count <= knn->k)
        return;
    select_largest(c->at, c->count, knn->k);
    c->keys = c->count = knn->k;
    uint64_t farthest = c->at[0];
    for (int i = 1; i < c->count; i++)
        farthest = c->at[i] < farthest ? c->at[i] : farthest;
    c->limit = cosine_of(farthest);
}

/* Bit i: cosine i of RUN is above the limit. */
static unsigned above(const float *cosines, float limit)
{
#ifdef __SSE2__ /* of every x86-64; the compiler makes sixteen compares of the loop below */
    const __m128 l = _mm_set1_ps(limit);
    const __m128i low = _mm_packs_epi32(_mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(cosines), l)),
                                        _mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(cosines + 4), l)));
    const __m128i high = _mm_packs_epi32(_mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(cosines + 8), l)),
                                         _mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(cosines + 12), l)));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high));
#else
    unsigned mask = 0;
    for (unsigned i = 0; i < RUN; i++)
        mask |= (unsigned)(cosines[i] > limit) << i;
    return mask;
#endif
}

/* Offers bank rows [first, first + n) to one query. Rows come in the order of the bank, so that one which is only as
 * near as the farthest that was kept loses. */
static void offer(const struct knn *knn, const float *cosines, int64_t first, int n, struct candidates *c)
{
    for (int i = 0; i < n; i += RUN) {
        float rest[RUN];
        const float *run = cosines + i;
        if (n - i < RUN) {
            for (int j = 0; j < RUN; j++)
                rest[j] = j < n - i ? run[j] : -INFINITY; /* above no limit */
            run = rest;
        }
        for (unsigned mask = above(run, c->limit); mask != 0; mask &= mask - 1) {
            int j = __builtin_ctz(mask);
            c->at[c->count++] = raw_of(run[j], (uint32_t)(first + i + j));
        }
        if (c->count > knn->room_of_query - RUN)
            shrink(knn, c);
    }
}

/* ---- votes ---- */

static int by_label(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts the labels of the neighbours, as 64 bits of label and number, in the room behind them. */
static int32_t vote(const struct knn *knn, const struct candidates *c)
{
    uint64_t *order = c->at + knn->room_of_query, best_key = 0;
    for (int i = 0; i < c->count; i++) {
        best_key = c->at[i] > best_key ? c->at[i] : best_key;
        order[i] = (uint64_t)(uint32_t)knn->labels[place_of(c->at[i])] << 32 | (uint32_t)i;
    }
    qsort(order, (size_t)c->count, sizeof *order, by_label);
    double best = -1, nearest = cosine_of(best_key);
    int32_t winner = 0;
    for (int i = 0; i < c->count;) {
        uint32_t label = (uint32_t)(order[i] >> 32);
        double votes = 0; /* relative to the nearest's, so that no temperature overflows */
        for (; i < c->count && order[i] >> 32 == label; i++)
            votes += exp((cosine_of(c->at[(uint32_t)order[i]]) - nearest) / knn->temperature);
        if (votes > best) {
            best = votes;
            winner = (int32_t)label;
        }
    }
    return winner;
}

/* Queries of a block on their way: parts of them are looked after by different threads. */
struct block {
    struct knn *knn;
    int queries, rows; /* rows of the bank, from `first` */
    int64_t first;
    struct candidates candidates[QUERIES];
    int32_t *labels;
};

static void offer_part(void *arg, int part, int parts)
{
    struct block *b = arg;
    for (int q = b->queries * part / parts; q < b->queries * (part + 1) / parts; q++)
        offer(b->knn, b->knn->cosines + (int64_t)q * b->rows, b->first, b->rows, &b->candidates[q]);
}

static void vote_part(void *arg, int part, int parts)
{
    struct block *b = arg;
    for (int q = b->queries * part / parts; q < b->queries * (part + 1) / parts; q++) {
        struct candidates *c = &b->candidates[q];
        shrink(b->knn, c);
        b->labels[q] = vote(b->knn, c);
    }
}

static moco_status classify_block(struct knn *knn, int n, int32_t *labels, struct err *err)
{
    struct block b = {.knn = knn, .queries = n, .labels = labels};
    for (int q = 0; q < n; q++)
        b.candidates[q] =
            (struct candidates){.at = knn->nearest + (size_t)q * 2 * (size_t)knn->room_of_query, .limit = -INFINITY};
    for (; b.first < knn->count; b.first += BANK) {
        b.rows = (int)(knn->count - b.first < BANK ? knn->count - b.first : BANK);
        TRY(knn->backend->gemm_nt(knn->dev, n, b.rows, knn->dim, knn->queries, knn->bank + b.first * knn->dim,
                                  knn->cosines, err));
        TRY(knn->backend->on_host(knn->dev, offer_part, &b, err));
    }
    return knn->backend->on_host(knn->dev, vote_part, &b, err);
}

moco_status knn_classify(struct knn *knn, const float *features, int64_t n, int32_t *labels, struct err *err)
{
    if (knn->count == 0)
        return err_set(err, MOCO_ESTATE, "the bank is empty: add labelled vectors first");
    if (knn->count < knn->k && !knn->warned) {
        knn->warned = 1;
        ctx_log(knn->ctx, LOG_WARN, "kNN: the bank holds %lld vectors, fewer than k = %d: all of them vote",
                (long long)knn->count, knn->k);
    }
    for (int64_t first = 0; first < n; first += knn->block) {
        int rows = (int)(n - first < knn->block ? n - first : knn->block);
        TRY(unit_rows(features, first, rows, knn->dim, knn->queries, err));
        TRY(classify_block(knn, rows, labels + first, err));
    }
    return MOCO_OK;
}
