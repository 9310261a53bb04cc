/* SPDX-License-Identifier: MIT
 *
 * cuda_rows: slots about rows of embeddings and about statistics (kernels/step.cu). */
#include "backend/cuda/cuda.h"

static moco_status queue_rows(struct be_program *program, enum cuda_kernel kernel, struct rows_args *args,
                              struct err *err)
{
    args->step = program->step;
    int64_t items = kernel == CUDA_row_std ? 1 : (int64_t)args->n * args->dim;
    CUDA_WITHIN(program->dev, cuda_launch_items(program->dev, kernel, items, args, err));
    return MOCO_OK;
}

moco_status cuda_gather(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                        struct err *err)
{
    struct rows_args args = {.out = out, .rows = rows, .index = index, .n = n, .dim = dim};
    TRY(cuda_in_work(program, "gather", err));
    return queue_rows(program, CUDA_gather, &args, err);
}

moco_status cuda_scatter(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                         struct err *err)
{
    struct rows_args args = {.out = out, .rows = rows, .index = index, .n = n, .dim = dim};
    TRY(cuda_in_work(program, "scatter", err));
    return queue_rows(program, CUDA_scatter, &args, err);
}

moco_status cuda_check_rows(struct be_program *program, enum be_what what, const void *rows, const int32_t *names,
                            int n, int dim, struct err *err)
{
    struct rows_args args = {.rows = rows, .index = names, .n = n, .dim = dim, .what = (uint32_t)what};
    TRY(cuda_in_work(program, "check_rows", err));
    return queue_rows(program, CUDA_check_rows, &args, err);
}

moco_status cuda_row_std(struct be_program *program, const void *rows, int n, int dim, struct err *err)
{
    struct rows_args args = {.rows = rows, .n = n, .dim = dim};
    TRY(cuda_in_work(program, "row_std", err));
    return queue_rows(program, CUDA_row_std, &args, err);
}

moco_status cuda_push(struct be_program *program, void *queue, int64_t length, const void *keys, int n, int dim,
                      struct err *err)
{
    struct rows_args args = {.out = queue, .rows = keys, .length = length, .n = n, .dim = dim};
    TRY(cuda_in_commit(program, "push", err));
    return queue_rows(program, CUDA_push, &args, err);
}

moco_status cuda_check_stats(struct be_program *program, enum be_what what, const struct graph *graph,
                             const void *stats, struct err *err)
{
    struct stats_args args = {
        .step = program->step, .stage = stats, .count = graph->stat_total, .what = (uint32_t)what};
    TRY(cuda_in_work(program, "check_stats", err));
    CUDA_WITHIN(program->dev, cuda_launch_items(program->dev, CUDA_check_stats, args.count, &args, err));
    return MOCO_OK;
}

static moco_status commit_all(struct be_program *program, const struct graph *graph, struct stats_args args,
                              struct err *err)
{
    float *running = args.running;
    const float *stage = args.stage;
    for (int b = 0; b < graph->stat_count; b++) {
        const struct graph_stat *stat = &graph->stats[b];
        args.running = running + stat->offset;
        args.stage = stage + stat->offset;
        args.count = 2 * (int64_t)stat->channels;
        args.momentum = stat->momentum;
        TRY(cuda_launch_items(program->dev, CUDA_stats_commit, args.count, &args, err));
    }
    return MOCO_OK;
}

moco_status cuda_stats_commit(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                              int groups, struct err *err)
{
    struct stats_args args = {.step = program->step, .running = running, .stage = stage, .groups = groups};
    TRY(cuda_in_commit(program, "stats_commit", err));
    if (groups < 1)
        return err_set(err, MOCO_EINVAL, "%s: statistics of %d groups cannot be averaged", program->dev->name, groups);
    CUDA_WITHIN(program->dev, commit_all(program, graph, args, err));
    return MOCO_OK;
}
