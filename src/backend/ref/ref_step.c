/* SPDX-License-Identifier: MIT
 *
 * ref_step: what a training step does to slabs and statistics, number by number. */
#include "backend/ref/ref.h"

#include <math.h>

static int all_finite(int64_t count, const double *x)
{
    for (int64_t i = 0; i < count; i++)
        if (x != NULL && !isfinite(x[i]))
            return 0;
    return 1;
}

static void sgd_param(const struct be_layout *layout, const struct be_scalars *now, const struct host_rule *rule,
                      const struct be_sgd *io, int param)
{
    enum be_precision master = ref_master(layout->precision);
    double *p = (double *)io->p + layout->offset[param], *v = (double *)io->v + layout->offset[param];
    const double *g = (const double *)io->g + layout->offset[param];
    for (int64_t i = 0; i < layout->length[param]; i++) {
        double pull = g[i] / now->loss_scale + rule->weight_decay * p[i];
        v[i] = ref_round(master, now->sgd_momentum * v[i] + pull);
        p[i] = ref_round(master, p[i] - rule->lr * v[i]);
    }
}

static double norm_of_pull(int64_t count, const double *g, double loss_scale, const double *p, double decay)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double pull = (g != NULL ? g[i] / loss_scale : 0) + decay * p[i];
        sum += pull * pull;
    }
    return sqrt(sum);
}

static void lars_param(const struct be_layout *layout, const struct be_scalars *now, const struct host_rule *rule,
                       const struct be_sgd *io, int param)
{
    enum be_precision master = ref_master(layout->precision);
    int64_t count = layout->length[param];
    double *p = (double *)io->p + layout->offset[param], *v = (double *)io->v + layout->offset[param];
    const double *g = (const double *)io->g + layout->offset[param];
    double decay = layout->plain[param] ? 0 : rule->weight_decay, rate = rule->lr;
    double weight = norm_of_pull(count, NULL, 1, p, 1), pull = norm_of_pull(count, g, now->loss_scale, p, decay);
    if (!layout->plain[param] && weight > 0 && pull > 0)
        rate *= now->trust * weight / pull;
    for (int64_t i = 0; i < count; i++) {
        v[i] = ref_round(master, now->sgd_momentum * v[i] + rate * (g[i] / now->loss_scale + decay * p[i]));
        p[i] = ref_round(master, p[i] - v[i]);
    }
}

moco_status ref_sgd(struct be_program *program, const struct be_sgd *io, struct err *err)
{
    const struct be_layout *layout = program->spec.layout;
    int may = 1;
    TRY(io->trial ? host_in_work(program, "a trial of sgd", err) : host_may(program, "sgd", &may, err));
    if (!may)
        return MOCO_OK;
    ref_follow(layout, io->k, io->p, program->now.key_momentum);
    for (int param = 0; param < layout->count; param++) {
        struct host_rule rule = host_rule_of(program, param);
        if (!rule.frozen && io->lars)
            lars_param(layout, &program->now, &rule, io, param);
        else if (!rule.frozen)
            sgd_param(layout, &program->now, &rule, io, param);
    }
    program->so_far.finite =
        all_finite(layout->total, io->p) && all_finite(layout->total, io->v) && all_finite(layout->total, io->k);
    return io->readers == NULL ? MOCO_OK : ref_readers(layout, 1, io->p, io->readers, err);
}

moco_status ref_measure(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                        struct err *err)
{
    (void)err;
    *sum_squares = 0;
    *bad = -1;
    for (int p = 0; p < layout->count; p++) {
        const double *g = (const double *)slab + layout->offset[p];
        for (int64_t i = 0; i < layout->length[p]; i++) {
            *sum_squares += g[i] * g[i];
            if (!isfinite(g[i]) && *bad < 0)
                *bad = p;
        }
    }
    return MOCO_OK;
}

moco_status ref_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err)
{
    double sum_squares;
    int bad;
    TRY(host_in_work(program, "check_slab", err));
    TRY(ref_measure(program->spec.layout, slab, &sum_squares, &bad, err));
    host_gradient(program, what, sum_squares, bad);
    return MOCO_OK;
}

moco_status ref_stats_commit(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                             int groups, struct err *err)
{
    int may;
    TRY(host_may(program, "stats_commit", &may, err));
    if (groups < 1)
        return err_set(err, MOCO_EINVAL, "ref: statistics of %d groups cannot be averaged", groups);
    for (int b = 0; may && b < graph->stat_count; b++) {
        const struct graph_stat *stat = &graph->stats[b];
        double *to = (double *)running + stat->offset;
        const double *from = (const double *)stage + stat->offset;
        for (int c = 0; c < 2 * stat->channels; c++)
            to[c] = (1 - stat->momentum) * to[c] + stat->momentum * (from[c] / groups);
    }
    return MOCO_OK;
}
