/* SPDX-License-Identifier: MIT
 *
 * knn: see knn.h. Queries and bank are compared block by block in one matrix product, of which only the k best of
 * each query are kept. Memory is the bank and a few MiB, whatever their sizes. */
#include "eval/knn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/fallback.h"
#include "eval/nearest.h"
#include "eval/unit_rows.h"

enum {
    QUERIES = 512, /* of one block, and rows of the bank: large enough that the product runs at its full rate */
    BANK = 4096,
    CANDIDATES = 1 << 22, /* of one block, and numbers of its queries: with a very large k or dim it has fewer */
    NUMBERS = 1 << 24
};

struct knn {
    struct ctx *ctx;
    const struct backend *backend;
    struct be_device *dev;
    int dim;
    double temperature;
    float *bank; /* [room][dim], unit rows */
    int32_t *labels;
    int64_t count, room;
    int warned;
    float *queries;    /* [block][dim], unit rows */
    float *cosines;    /* [QUERIES][BANK] */
    uint64_t *nearest; /* [block][2 * size.room]: candidates, and room to sort their labels */
    struct nearest_size size;
    int block; /* queries looked for at once */
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
    knn->temperature = temperature;
    knn->cosines = mem_array(ctx, (size_t)QUERIES * BANK, sizeof *knn->cosines, err);
    knn->size = nearest_size(k);
    knn->block = CANDIDATES / knn->size.room < QUERIES ? CANDIDATES / knn->size.room : QUERIES;
    knn->block = NUMBERS / dim < knn->block ? NUMBERS / dim : knn->block;
    knn->queries = mem_array(ctx, (size_t)dim * (size_t)knn->block, sizeof *knn->queries, err);
    knn->nearest = mem_array(ctx, (size_t)knn->size.room * 2 * (size_t)knn->block, sizeof *knn->nearest, err);
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

/* ---- votes ---- */

static int by_label(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts the labels of the neighbours, as 64 bits of label and number, in the room behind them. */
static int32_t vote(const struct knn *knn, const struct nearest *c)
{
    uint64_t *order = c->at + knn->size.room, best_key = 0;
    for (int i = 0; i < c->count; i++) {
        best_key = c->at[i] > best_key ? c->at[i] : best_key;
        order[i] = (uint64_t)(uint32_t)knn->labels[nearest_place(c->at[i])] << 32 | (uint32_t)i;
    }
    qsort(order, (size_t)c->count, sizeof *order, by_label);
    double best = -1, nearest = nearest_cosine(best_key);
    int32_t winner = 0;
    for (int i = 0; i < c->count;) {
        uint32_t label = (uint32_t)(order[i] >> 32);
        double votes = 0; /* relative to the nearest's, so that no temperature overflows */
        for (; i < c->count && order[i] >> 32 == label; i++)
            votes += exp((nearest_cosine(c->at[(uint32_t)order[i]]) - nearest) / knn->temperature);
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
    struct nearest candidates[QUERIES];
    int32_t *labels;
};

static void offer_part(void *arg, int part, int parts)
{
    struct block *b = arg;
    for (int q = b->queries * part / parts; q < b->queries * (part + 1) / parts; q++)
        nearest_offer(&b->candidates[q], &b->knn->size, b->knn->cosines + (int64_t)q * b->rows, b->first, b->rows);
}

static void vote_part(void *arg, int part, int parts)
{
    struct block *b = arg;
    for (int q = b->queries * part / parts; q < b->queries * (part + 1) / parts; q++) {
        struct nearest *c = &b->candidates[q];
        nearest_finish(c, &b->knn->size);
        b->labels[q] = vote(b->knn, c);
    }
}

static moco_status classify_block(struct knn *knn, int n, int32_t *labels, struct err *err)
{
    struct block b = {.knn = knn, .queries = n, .labels = labels};
    for (int q = 0; q < n; q++)
        nearest_begin(&b.candidates[q], knn->nearest + (size_t)q * 2 * (size_t)knn->size.room);
    for (; b.first < knn->count; b.first += BANK) {
        b.rows = (int)(knn->count - b.first < BANK ? knn->count - b.first : BANK);
        TRY(backend_gemm_nt(knn->backend, knn->dev, n, b.rows, knn->dim, knn->queries, knn->bank + b.first * knn->dim,
                            knn->cosines, err));
        TRY(backend_on_host(knn->backend, knn->dev, offer_part, &b, err));
    }
    return backend_on_host(knn->backend, knn->dev, vote_part, &b, err);
}

moco_status knn_classify(struct knn *knn, const float *features, int64_t n, int32_t *labels, struct err *err)
{
    if (knn->count == 0)
        return err_set(err, MOCO_ESTATE, "the bank is empty: add labelled vectors first");
    if (knn->count < knn->size.k && !knn->warned) {
        knn->warned = 1;
        ctx_log(knn->ctx, LOG_WARN, "kNN: the bank holds %lld vectors, fewer than k = %d: all of them vote",
                (long long)knn->count, knn->size.k);
    }
    for (int64_t first = 0; first < n; first += knn->block) {
        int rows = (int)(n - first < knn->block ? n - first : knn->block);
        TRY(unit_rows(features, first, rows, knn->dim, knn->queries, err));
        TRY(classify_block(knn, rows, labels + first, err));
    }
    return MOCO_OK;
}
