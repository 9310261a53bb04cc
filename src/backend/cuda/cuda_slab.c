/* SPDX-License-Identifier: MIT
 *
 * cuda_slab: slots that walk over all weights (kernels/slab.cu). What a reader would get wrong: plans of f32 read the
 * masters themselves, so that there are no readers, and the key encoder's block is a slab. In 16 bits it is copies of the
 * convolutions' weights, and behind them, as f32, what is no such weight. */
#include "backend/cuda/cuda.h"

_Static_assert((int)CUDA_LOSS == BE_LOSS && (int)CUDA_GRADIENT == BE_GRADIENT && (int)CUDA_NORM == BE_NORM &&
                   (int)CUDA_LIMIT == BE_LIMIT && (int)CUDA_VETO == BE_VETO,
               "findings of kernels are those of the contract");

static struct slab_args args_of(const struct be_layout *layout)
{
    return (struct slab_args){.slices = layout->slices,
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

size_t cuda_copies_bytes(const struct be_layout *layout, enum be_precision precision)
{
    return cuda_storage(precision) > 0 ? (size_t)layout->copies * sizeof(uint16_t) : 0;
}

size_t cuda_reader_bytes(const struct be_layout *layout, int backward)
{
    (void)backward; /* both passes read the same copy */
    return cuda_copies_bytes(layout, layout->precision);
}

static moco_status launch_readers(const struct be_layout *layout, enum be_precision precision,
                                  const struct slab_args *args, struct err *err)
{
    enum cuda_kernel kernel = CUDA_slab_readers + cuda_storage(precision);
    return cuda_launch(layout->dev, kernel, args->slice_count, 1, 1, args, err);
}

moco_status cuda_copy_weights(const struct be_layout *layout, enum be_precision precision, const void *masters,
                              void *out, struct err *err)
{
    struct slab_args args = args_of(layout);
    args.p = (float *)(uintptr_t)masters;
    args.copies = out;
    return launch_readers(layout, precision, &args, err);
}

moco_status cuda_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err)
{
    if (cuda_reader_bytes(layout, backward) > 0)
        CUDA_WITHIN(layout->dev, cuda_copy_weights(layout, layout->precision, masters, out, err));
    return MOCO_OK;
}

size_t cuda_key_bytes(const struct be_layout *layout)
{
    if (cuda_storage(layout->precision) == 0)
        return cuda_layout_bytes(layout);
    return cuda_copies_bytes(layout, layout->precision) + (size_t)layout->rest * sizeof(float);
}

moco_status cuda_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err)
{
    const struct be_layout *layout = program->spec.layout;
    struct slab_args args = args_of(layout);
    TRY(cuda_in_work(program, "ema_readers", err));
    args.step = program->step;
    args.k = (float *)(uintptr_t)k;
    args.p = (float *)(uintptr_t)q;
    args.copies = out;
    args.out = (float *)(void *)((char *)out + cuda_copies_bytes(layout, layout->precision));
    CUDA_WITHIN(program->dev, launch_readers(layout, layout->precision, &args, err));
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
    enum cuda_kernel kernel = CUDA_slab_update + cuda_storage(program->spec.layout->precision);
    return cuda_launch(program->dev, kernel, args->slice_count, 1, 1, args, err);
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
    args.copies = io->readers;
    args.lars = io->lars;
    args.trial = io->trial;
    CUDA_WITHIN(program->dev, update(program, &args, err));
    return MOCO_OK;
}
