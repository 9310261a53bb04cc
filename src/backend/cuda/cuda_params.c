/* SPDX-License-Identifier: MIT
 *
 * cuda_params: where an op finds its parameters. */
#include "backend/cuda/cuda_params.h"

float *cuda_param_in(const struct be_plan *plan, const void *slab, const struct graph_op *op, int which)
{
    if (op->param[which] < 0)
        return NULL;
    return (float *)(uintptr_t)slab + plan->program.spec.layout->place[op->param[which]].first;
}

const float *cuda_weight(const struct program_forward *run, const struct graph_op *op)
{
    const struct be_plan *plan = run->plan;
    int infer = plan->program.spec.pass == BE_INFER;
    return cuda_param_in(plan, infer ? cuda_buffer(plan, plan->folded) : run->io->weights, op, 0);
}

const float *cuda_other_param(const struct program_forward *run, const struct graph_op *op, int which)
{
    const struct be_plan *plan = run->plan;
    const void *slab = run->io->masters != NULL ? run->io->masters : run->io->weights; /* a key block holds them all */
    if (plan->program.spec.pass == BE_INFER)
        slab = cuda_buffer(plan, plan->folded);
    return cuda_param_in(plan, slab, op, which);
}

moco_status cuda_fold_bn(struct be_plan *plan, const struct graph_op *bn, const void *stats, float *apart,
                         struct fold_args *args, struct err *err)
{
    const struct graph_stat *stat = &plan->program.spec.graph->stats[bn->stat];
    const void *copy_of_all = cuda_buffer(plan, plan->folded);
    args->gamma = cuda_param_in(plan, copy_of_all, bn, 0);
    args->beta = cuda_param_in(plan, copy_of_all, bn, 1);
    args->shift = args->beta != NULL ? args->beta : apart;
    args->stats = (const float *)stats + stat->offset;
    args->eps = bn->eps;
    args->c = stat->channels;
    return cuda_launch_items(plan->dev, CUDA_fold_bn, args->c, args, err);
}
