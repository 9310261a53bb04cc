/* SPDX-License-Identifier: MIT
 *
 * knn: see knn.h. Queries and bank meet block by block in one matrix product, of which only the k best of each query
 * are kept; memory is the bank and a few MiB, whatever their sizes. */
#include "eval/knn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/unit_rows.h"

enum { QUERIES = 128, BANK = 4096 }; /* of one block: its cosines fit the second-level cache */

struct neighbour {
    float cosine;
    int32_t label;
    int64_t place; /* in the bank */
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
    float *queries;            /* [QUERIES][dim], unit rows */
    float *cosines;            /* [QUERIES][BANK] */
    struct neighbour *nearest; /* [QUERIES][k]: a heap each, the farthest on top */
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
    knn->queries = mem_array(ctx, (size_t)dim * QUERIES, sizeof *knn->queries, err);
    knn->cosines = mem_array(ctx, (size_t)QUERIES * BANK, sizeof *knn->cosines, err);
    knn->nearest = mem_array(ctx, (size_t)k * QUERIES, sizeof *knn->nearest, err);
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
    if (__builtin_add_overflow(knn->count, n, &need) || need > INT64_MAX / 8 / knn->dim)
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
    TRY(make_room(knn, n, err));
    TRY(unit_rows(features, 0, n, knn->dim, knn->bank + knn->count * knn->dim, err));
    memcpy(knn->labels + knn->count, labels, (size_t)n * sizeof *labels);
    knn->count += n;
    return MOCO_OK;
}

/* ---- the k nearest ---- */

static int farther(const struct neighbour *a, const struct neighbour *b)
{
    return a->cosine != b->cosine ? a->cosine < b->cosine : a->place > b->place;
}

static void sift_down(struct neighbour *heap, int count, int at)
{
    struct neighbour moved = heap[at];
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && farther(&heap[child + 1], &heap[child]))
            child++;
        if (!farther(&heap[child], &moved))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void sift_up(struct neighbour *heap, int at)
{
    struct neighbour moved = heap[at];
    for (int parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (!farther(&moved, &heap[parent]))
            break;
        heap[at] = heap[parent];
    }
    heap[at] = moved;
}

/* Offers bank rows [first, first + n) to one query's heap of `held` <= k; returns how many it holds then. Rows come in
 * the order of the bank, so that one which is only as near as the farthest loses. */
static int offer(const struct knn *knn, const float *cosines, int64_t first, int n, struct neighbour *heap, int held)
{
    enum { RUN = 16 };
    for (int i = 0; i < n; i += RUN) {
        int end = i + RUN < n ? i + RUN : n;
        if (held == knn->k && end - i == RUN) {
            float best = cosines[i];
            for (int j = i + 1; j < i + RUN; j++)
                best = cosines[j] > best ? cosines[j] : best;
            if (best <= heap[0].cosine)
                continue;
        }
        for (int j = i; j < end; j++) {
            struct neighbour one = {cosines[j], knn->labels[first + j], first + j};
            if (held < knn->k) {
                heap[held] = one;
                sift_up(heap, held++);
            } else if (one.cosine > heap[0].cosine) {
                heap[0] = one;
                sift_down(heap, held, 0);
            }
        }
    }
    return held;
}

static int by_label(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int32_t vote(struct neighbour *nearest, int count, double temperature)
{
    float best_cosine = nearest[0].cosine;
    for (int i = 1; i < count; i++)
        if (nearest[i].cosine > best_cosine)
            best_cosine = nearest[i].cosine;
    qsort(nearest, (size_t)count, sizeof *nearest, by_label);
    double best = -1;
    int32_t winner = nearest[0].label;
    for (int i = 0; i < count;) {
        int32_t label = nearest[i].label;
        double votes = 0; /* relative to the nearest's, so that no temperature overflows */
        for (; i < count && nearest[i].label == label; i++)
            votes += exp(((double)nearest[i].cosine - best_cosine) / temperature);
        if (votes > best) {
            best = votes;
            winner = label;
        }
    }
    return winner;
}

static moco_status classify_block(struct knn *knn, int n, int32_t *labels, struct err *err)
{
    int held[QUERIES] = {0};
    for (int64_t first = 0; first < knn->count; first += BANK) {
        int rows = (int)(knn->count - first < BANK ? knn->count - first : BANK);
        TRY(knn->backend->gemm_nt(knn->dev, n, rows, knn->dim, knn->queries, knn->bank + first * knn->dim, knn->cosines,
                                  err));
        for (int q = 0; q < n; q++)
            held[q] = offer(knn, knn->cosines + (int64_t)q * rows, first, rows,
                            knn->nearest + (size_t)q * (size_t)knn->k, held[q]);
    }
    for (int q = 0; q < n; q++)
        labels[q] = vote(knn->nearest + (size_t)q * (size_t)knn->k, held[q], knn->temperature);
    return MOCO_OK;
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
    for (int64_t first = 0; first < n; first += QUERIES) {
        int rows = (int)(n - first < QUERIES ? n - first : QUERIES);
        TRY(unit_rows(features, first, rows, knn->dim, knn->queries, err));
        TRY(classify_block(knn, rows, labels + first, err));
    }
    return MOCO_OK;
}
