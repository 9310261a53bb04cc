/* SPDX-License-Identifier: MIT
 *
 * knn: see knn.h. */
#include "eval/knn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/neighbours.h"
#include "eval/unit_rows.h"

struct knn {
    struct ctx *ctx;
    struct neighbours *neighbours;
    int dim, k;
    double temperature;
    float *bank; /* [room][dim], unit rows */
    int32_t *labels;
    int64_t count, room;
    int warned;
};

static moco_status check(int dim, int k, double temperature, struct err *err)
{
    if (dim < 1 || dim > NEIGHBOURS_DIM_MOST)
        return err_set(err, MOCO_EINVAL, "dim is %d; it must be 1 to %d", dim, NEIGHBOURS_DIM_MOST);
    if (k < 1 || k > NEIGHBOURS_K_MOST)
        return err_set(err, MOCO_EINVAL, "k is %d; it must be 1 to %d", k, NEIGHBOURS_K_MOST);
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
    knn->dim = dim;
    knn->k = k;
    knn->temperature = temperature;
    moco_status status = neighbours_create(&knn->neighbours, ctx, backend, dev, dim, err);
    if (status != MOCO_OK) {
        knn_free(knn);
        return status;
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
    neighbours_free(knn->neighbours);
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

struct classified {
    const struct knn *knn;
    int32_t *labels;
};

static int by_label(const void *a, const void *b)
{
    const struct be_hit *x = a, *y = b;
    if (x->mark != y->mark)
        return x->mark < y->mark ? -1 : 1;
    if (x->cosine != y->cosine)
        return x->cosine > y->cosine ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Votes are summed label by label, relative to the nearest's, so that no temperature overflows. */
static void vote(void *self, int64_t query, struct be_hit *hits, int found)
{
    const struct classified *c = self;
    double best = -1, nearest = found > 0 ? hits[0].cosine : 0;
    int32_t winner = 0;
    for (int i = 0; i < found; i++)
        hits[i].mark = (uint32_t)c->knn->labels[hits[i].row];
    qsort(hits, (size_t)found, sizeof *hits, by_label);
    for (int i = 0; i < found;) {
        uint32_t label = hits[i].mark;
        double votes = 0;
        for (; i < found && hits[i].mark == label; i++)
            votes += exp((hits[i].cosine - nearest) / c->knn->temperature);
        if (votes > best) {
            best = votes;
            winner = (int32_t)label;
        }
    }
    c->labels[query] = winner;
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
    const struct neighbours_part rows[2] = {{knn->bank, knn->count}};
    struct classified c = {knn, labels};
    return neighbours_find(knn->neighbours, rows, features, n, knn->k, vote, &c, err);
}
