/* SPDX-License-Identifier: MIT
 *
 * ref_step: what a training step does to slabs and statistics, number by number, and the matrix product of kNN. */
#include "backend/ref/ref.h"

#include <math.h>

static int all_finite(int64_t count, const double *x)
{
    for (int64_t i = 0; i < count; i++)
        if (x != NULL && !isfinite(x[i]))
            return 0;
    return 1;
}

moco_status ref_sgd(const struct be_layout *layout, enum be_precision precision, struct be_sgd *io, void *readers,
                    struct err *err)
{
    enum be_precision master = ref_master(layout->precision);
    ref_follow(layout, io->k, io->p, io->m);
    double *p = io->p, *v = io->v;
    const double *g = io->g;
    for (int64_t i = 0; i < layout->total; i++) {
        double decayed = g[i] + io->weight_decay * p[i];
        v[i] = ref_round(master, io->first ? decayed : io->momentum * v[i] + decayed);
        p[i] = ref_round(master, p[i] - io->lr * v[i]);
    }
    io->finite = all_finite(layout->total, p) && all_finite(layout->total, v) && all_finite(layout->total, io->k);
    return readers == NULL ? MOCO_OK : ref_readers(layout, precision, 1, p, readers, err);
}

static double norm_of_pull(int64_t count, const double *g, const double *p, double decay)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double pull = (g != NULL ? g[i] : 0) + decay * p[i];
        sum += pull * pull;
    }
    return sqrt(sum);
}

moco_status ref_lars(const struct be_layout *layout, enum be_precision precision, struct be_lars *io, void *readers,
                     struct err *err)
{
    enum be_precision master = ref_master(layout->precision);
    ref_follow(layout, io->k, io->p, io->m);
    for (int t = 0; t < layout->count; t++) {
        int64_t count = layout->length[t];
        double *p = (double *)io->p + layout->offset[t], *v = (double *)io->v + layout->offset[t];
        const double *g = (const double *)io->g + layout->offset[t];
        double decay = layout->plain[t] ? 0 : io->weight_decay, rate = io->lr;
        double weight = norm_of_pull(count, NULL, p, 1), pull = norm_of_pull(count, g, p, decay);
        if (!layout->plain[t] && weight > 0 && pull > 0)
            rate *= io->trust * weight / pull;
        for (int64_t i = 0; i < count; i++) {
            v[i] = ref_round(master, io->momentum * v[i] + rate * (g[i] + decay * p[i]));
            p[i] = ref_round(master, p[i] - v[i]);
        }
    }
    io->finite =
        all_finite(layout->total, io->p) && all_finite(layout->total, io->v) && all_finite(layout->total, io->k);
    return readers == NULL ? MOCO_OK : ref_readers(layout, precision, 1, io->p, readers, err);
}

moco_status ref_grad_check(const struct be_layout *layout, const void *gradients, double *sum_squares, int *bad,
                           struct err *err)
{
    (void)err;
    *sum_squares = 0;
    *bad = -1;
    for (int p = 0; p < layout->count; p++) {
        const double *g = (const double *)gradients + layout->offset[p];
        for (int64_t i = 0; i < layout->length[p]; i++) {
            *sum_squares += g[i] * g[i];
            if (!isfinite(g[i]) && *bad < 0)
                *bad = p;
        }
    }
    return MOCO_OK;
}

moco_status ref_stats_commit(struct be_device *dev, const struct graph *graph, void *running, const void *stage,
                             int groups, struct err *err)
{
    (void)dev;
    if (groups < 1)
        return err_set(err, MOCO_EINVAL, "ref: statistics of %d groups cannot be averaged", groups);
    for (int b = 0; b < graph->stat_count; b++) {
        const struct graph_stat *stat = &graph->stats[b];
        double *to = (double *)running + stat->offset;
        const double *from = (const double *)stage + stat->offset;
        for (int c = 0; c < 2 * stat->channels; c++)
            to[c] = (1 - stat->momentum) * to[c] + stat->momentum * (from[c] / groups);
    }
    return MOCO_OK;
}

moco_status ref_gemm_nt(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err)
{
    (void)dev;
    (void)err;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t x = 0; x < k; x++)
                sum += (double)a[i * k + x] * (double)b[j * k + x];
            c[i * n + j] = (float)sum;
        }
    return MOCO_OK;
}

moco_status ref_gemm_tn(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err)
{
    (void)dev;
    (void)err;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t x = 0; x < k; x++)
                sum += (double)a[x * m + i] * (double)b[x * n + j];
            c[i * n + j] = (float)sum;
        }
    return MOCO_OK;
}

moco_status ref_on_host(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg, struct err *err)
{
    (void)dev;
    (void)err;
    body(arg, 0, 1);
    return MOCO_OK;
}
