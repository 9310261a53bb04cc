/* SPDX-License-Identifier: MIT
 *
 * bank: see bank.h. */
#include "eval/bank.h"

#include <math.h>

#include "eval/bank_state.h"
#include "eval/unit_rows.h"

moco_status bank_create(struct bank **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                        int dim, struct err *err)
{
    *out = NULL;
    if (dim < 1 || dim > BANK_DIM_MOST)
        return err_set(err, MOCO_EINVAL, "dim is %d; it must be 1 to %d", dim, BANK_DIM_MOST);
    struct bank *bank = mem_zalloc(ctx, sizeof *bank, err);
    if (bank == NULL)
        return MOCO_ENOMEM;
    *bank = (struct bank){.ctx = ctx_ref(ctx), .dim = dim};
    moco_status status = neighbours_create(&bank->neighbours, ctx, backend, dev, dim, err);
    if (status != MOCO_OK) {
        bank_free(bank);
        return status;
    }
    *out = bank;
    return MOCO_OK;
}

void bank_free(struct bank *bank)
{
    if (bank == NULL)
        return;
    struct ctx *ctx = bank->ctx;
    neighbours_free(bank->neighbours);
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

static int64_t id_at(const struct bank *bank, int64_t place)
{
    int64_t first = bank->part[0].count;
    return place < first ? bank->part[0].ids[place] : bank->part[1].ids[place - first];
}

struct search {
    const struct bank *bank;
    int k;
    int64_t *ids;   /* [n][k] */
    float *cosines; /* [n][k], or NULL */
};

static void answer(void *self, int64_t query, struct be_hit *hits, int found)
{
    const struct search *s = self;
    for (int i = 0; i < s->k; i++) {
        int64_t at = query * s->k + i;
        s->ids[at] = i < found ? id_at(s->bank, hits[i].row) : -1;
        if (s->cosines != NULL)
            s->cosines[at] = i < found ? (float)hits[i].cosine : -INFINITY;
    }
}

moco_status bank_search(const struct bank *bank, const float *queries, int64_t n, int k, int64_t *ids, float *cosines,
                        struct err *err)
{
    if (k < 1 || k > NEIGHBOURS_K_MOST)
        return err_set(err, MOCO_EINVAL, "k is %d; it must be 1 to %d", k, NEIGHBOURS_K_MOST);
    if (bank_count(bank) == 0)
        return err_set(err, MOCO_ESTATE, "the bank is empty: append vectors first");
    const struct neighbours_part rows[2] = {{bank->part[0].rows, bank->part[0].count},
                                            {bank->part[1].rows, bank->part[1].count}};
    struct search s = {bank, k, ids, cosines};
    return neighbours_find(bank->neighbours, rows, queries, n, k, answer, &s, err);
}
