/* SPDX-License-Identifier: MIT
 *
 * cuda_slab: slots that walk over all weights (kernels/slab.cu). What a reader would get wrong: plans of f32 read the
 * masters themselves, so that there are no readers, and the key encoder's block is a slab. */
#include "backend/cuda/cuda.h"

_Static_assert((int)CUDA_LOSS == BE_LOSS && (int)CUDA_GRADIENT == BE_GRADIENT && (int)CUDA_NORM == BE_NORM &&
                   (int)CUDA_LIMIT == BE_LIMIT && (int)CUDA_VETO == BE_VETO,
               "findings of kernels are those of the contract");

static struct slab_args args_of(const struct be_layout *layout)
{
    return (struct slab_args){.total = layout->total,
                              .slices = layout->slices,
                              .params = layout->params,
                              .sums = layout->sums,
                              .rules = layout->rules,
                              .measure = layout->measure,
                              .slice_count = layout->slice_count,
                              .param_count = layout->count};
}

static moco_status measure(const struct be_layout *layout, const void *slab, struct cuda_measure *out, struct err *err)
{
    struct be_device *dev = layout->dev;
    struct slab_args args = args_of(layout);
    args.g = slab;
    TRY(cuda_launch(dev, CUDA_slab_sums, args.slice_count, 1, 1, &args, err));
    TRY(cuda_launch(dev, CUDA_slab_end, 1, 1, 1, &args, err));
    return cuda_fetch(dev, out, layout->measure, sizeof *out, err);
}

moco_status cuda_measure_slab(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                              struct err *err)
{
    struct cuda_measure out = {0};
    CUDA_WITHIN(layout->dev, measure(layout, slab, &out, err));
    *sum_squares = out.sum_squares;
    *bad = (int)out.bad;
    return MOCO_OK;
}

size_t cuda_reader_bytes(const struct be_layout *layout, int backward)
{
    (void)layout;
    (void)backward;
    return 0;
}

moco_status cuda_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err)
{
    (void)layout;
    (void)backward;
    (void)masters;
    (void)out;
    (void)err;
    return MOCO_OK;
}

size_t cuda_key_bytes(const struct be_layout *layout)
{
    return cuda_layout_bytes(layout);
}

moco_status cuda_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err)
{
    struct slab_args args = args_of(program->spec.layout);
    TRY(cuda_in_work(program, "ema_readers", err));
    args.step = program->step;
    args.k = (float *)(uintptr_t)k;
    args.p = (float *)(uintptr_t)q;
    args.out = out;
    CUDA_WITHIN(program->dev, cuda_launch_items(program->dev, CUDA_slab_average, args.total, &args, err));
    return MOCO_OK;
}

static moco_status check(struct be_program *program, const struct slab_args *args, struct err *err)
{
    TRY(cuda_launch(program->dev, CUDA_slab_sums, args->slice_count, 1, 1, args, err));
    return cuda_launch(program->dev, CUDA_slab_end, 1, 1, 1, args, err);
}

moco_status cuda_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err)
{
    struct slab_args args = args_of(program->spec.layout);
    TRY(cuda_in_work(program, "check_slab", err));
    args.step = program->step;
    args.g = slab;
    args.what = (uint32_t)what;
    CUDA_WITHIN(program->dev, check(program, &args, err));
    return MOCO_OK;
}

static moco_status update(struct be_program *program, const struct slab_args *args, struct err *err)
{
    if (args->lars)
        TRY(cuda_launch(program->dev, CUDA_slab_sums, args->slice_count, 1, 1, args, err));
    TRY(cuda_launch_items(program->dev, CUDA_slab_rules, args->param_count, args, err));
    return cuda_launch(program->dev, CUDA_slab_update, args->slice_count, 1, 1, args, err);
}

moco_status cuda_sgd(struct be_program *program, const struct be_sgd *io, struct err *err)
{
    struct slab_args args = args_of(program->spec.layout);
    TRY(io->trial ? cuda_in_work(program, "a trial of sgd", err) : cuda_in_commit(program, "sgd", err));
    args.step = program->step;
    args.p = io->p;
    args.g = io->g;
    args.v = io->v;
    args.k = io->k;
    args.lars = io->lars;
    args.trial = io->trial;
    CUDA_WITHIN(program->dev, update(program, &args, err));
    return MOCO_OK;
}
