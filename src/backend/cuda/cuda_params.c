/* SPDX-License-Identifier: MIT
 *
 * cuda_params: where an op finds its parameters. */
#include "backend/cuda/cuda_params.h"

float *cuda_param_of(const struct be_layout *layout, const void *slab, const struct graph_op *op, int which)
{
    if (op->param[which] < 0)
        return NULL;
    return (float *)(uintptr_t)slab + layout->place[op->param[which]].first;
}

float *cuda_param_in(const struct be_plan *plan, const void *slab, const struct graph_op *op, int which)
{
    return cuda_param_of(plan->program.spec.layout, slab, op, which);
}

/* From a block that begins with the copies. */
static const void *copy_in(const struct be_plan *plan, const void *block, const struct graph_op *op)
{
    return (const uint16_t *)block + plan->program.spec.layout->place[op->param[0]].copy;
}

static int reads_copies(const struct be_plan *plan)
{
    return cuda_storage(plan->program.spec.precision) > 0;
}

const void *cuda_conv_weight(const struct program_forward *run, const struct graph_op *op)
{
    const struct be_plan_spec *spec = &run->plan->program.spec;
    if (reads_copies(run->plan))
        return copy_in(run->plan, spec->pass == BE_INFER ? spec->weights->copies : run->io->weights, op);
    return cuda_param_in(run->plan, spec->pass == BE_INFER ? spec->weights->memory.at : run->io->weights, op, 0);
}

const void *cuda_conv_weight_back(const struct program_backward *run, const struct graph_op *op)
{
    if (reads_copies(run->plan))
        return copy_in(run->plan, run->io->weights, op);
    return cuda_param_in(run->plan, run->io->weights, op, 0);
}

/* A key encoder's block: a slab, or the copies and what is not copied. */
static const float *in_key_block(const struct be_plan *plan, const void *block, const struct graph_op *op, int which)
{
    const struct be_layout *layout = plan->program.spec.layout;
    if (!reads_copies(plan) || op->param[which] < 0)
        return cuda_param_in(plan, block, op, which);
    const char *rest = (const char *)block + cuda_copies_bytes(layout, plan->program.spec.precision);
    return (const float *)(const void *)rest + layout->place[op->param[which]].rest;
}

const float *cuda_other_param(const struct program_forward *run, const struct graph_op *op, int which)
{
    const struct be_plan_spec *spec = &run->plan->program.spec;
    if (spec->pass == BE_INFER)
        return cuda_param_in(run->plan, spec->weights->memory.at, op, which);
    if (run->io->masters == NULL)
        return in_key_block(run->plan, run->io->weights, op, which);
    return cuda_param_in(run->plan, run->io->masters, op, which);
}

/* Where the shift of a batch norm is, with a bias and without. */
static float *shift_of(const struct be_weights *weights, const struct graph_op *bn)
{
    float *apart = (float *)weights->memory.at + weights->layout->total;
    if (bn->param[1] < 0)
        return apart + weights->graph->stats[bn->stat].offset;
    return cuda_param_of(weights->layout, weights->memory.at, bn, 1);
}

const float *cuda_shift(const struct program_forward *run, const struct graph_op *bn)
{
    return shift_of(run->plan->program.spec.weights, bn);
}

moco_status cuda_fold_bn(struct be_weights *weights, const struct graph_op *bn, const void *stats,
                         struct fold_args *args, struct err *err)
{
    const struct graph_stat *stat = &weights->graph->stats[bn->stat];
    args->gamma = cuda_param_of(weights->layout, weights->memory.at, bn, 0);
    args->beta = cuda_param_of(weights->layout, weights->memory.at, bn, 1);
    args->shift = shift_of(weights, bn);
    args->stats = (const float *)stats + stat->offset;
    args->eps = bn->eps;
    args->c = stat->channels;
    return cuda_launch_items(weights->dev, CUDA_fold_bn, args->c, args, err);
}
