/* SPDX-License-Identifier: MIT
 *
 * ref_program: see ref_program.h. */
#include "backend/ref/ref_program.h"

#include <math.h>

#include "backend/program/program_buffers.h"

void ref_round_value(const struct be_plan *plan, int value, double *numbers)
{
    ref_round_all(ref_rounding(plan, value), numbers, program_value_count(&plan->program, value, plan->program.spec.n));
}

void ref_finish(const struct be_plan *plan, const struct program_node *node)
{
    size_t count = program_value_count(&plan->program, node->out, plan->program.spec.n);
    double *y = ref_value(plan, node->out);
    if (node->other != NONE)
        ref_add(count, y, ref_value(plan, node->other), y);
    if (node->relu)
        ref_relu(count, y, y);
    ref_round_value(plan, node->out, y);
}

const double *ref_param(const struct be_plan *plan, const void *slab, const struct graph_op *op, int which)
{
    return op->param[which] < 0 ? NULL : (const double *)slab + plan->program.spec.layout->offset[op->param[which]];
}

const double *ref_weight(const struct program_forward *run, const struct graph_op *op, int which)
{
    const struct be_plan_spec *spec = &run->plan->program.spec;
    return ref_param(run->plan, spec->pass == BE_INFER ? spec->weights->slab : run->io->weights, op, which);
}

const double *ref_other_param(const struct program_forward *run, const struct graph_op *op, int which)
{
    if (run->io->masters == NULL || run->plan->program.spec.pass == BE_INFER)
        return ref_weight(run, op, which); /* a key encoder's block holds them all */
    return ref_param(run->plan, run->io->masters, op, which);
}

void ref_add_gradient(const struct program_backward *run, const struct graph_op *op, int which, const double *values)
{
    const struct be_layout *layout = run->plan->program.spec.layout;
    enum be_precision rounding = ref_master(run->plan->program.spec.precision);
    int param = op->param[which];
    if (param < 0)
        return;
    double *sum = (double *)run->io->gradients + layout->offset[param];
    for (int64_t i = 0; i < layout->length[param]; i++)
        sum[i] = ref_round(rounding, sum[i] + ref_round(rounding, values[i]));
}

const double *ref_shift(const struct program_forward *run, const struct graph_op *bn)
{
    const struct be_plan_spec *spec = &run->plan->program.spec;
    return bn->param[1] < 0 ? spec->weights->apart + spec->graph->stats[bn->stat].offset : ref_weight(run, bn, 1);
}

const double *ref_fold_bn(struct be_weights *w, const struct graph_op *bn, const void *stats)
{
    double *scale = w->slab + w->layout->offset[bn->param[0]];
    const struct graph_stat *stat = &w->graph->stats[bn->stat];
    double *shift = bn->param[1] < 0 ? w->apart + stat->offset : w->slab + w->layout->offset[bn->param[1]];
    const double *mean = (const double *)stats + stat->offset, *var = mean + stat->channels;
    for (int c = 0; c < stat->channels; c++) {
        double bias = bn->param[1] < 0 ? 0 : shift[c];
        scale[c] /= sqrt(var[c] + bn->eps);
        shift[c] = ref_round(ref_master(w->precision), bias - mean[c] * scale[c]);
    }
    return scale;
}
