/* SPDX-License-Identifier: MIT
 *
 * cpu_steps: what a training step needs of the device beside its plans. Slabs are walked from end to end, padding
 * included: padding is zero, and averages, sums and SGD of zeros are zero. */
#include "backend/cpu/cpu_steps.h"

#include "backend/cpu/cpu_param.h"
#include "backend/cpu/kernels/batch_loss.h"
#include "backend/cpu/kernels/infonce.h"

size_t cpu_step_infonce_bytes(struct be_device *dev, int n, int dim, int64_t length)
{
    (void)length; /* one pass, whatever its length */
    return cpu_infonce_scratch(&dev->team, n, dim);
}

moco_status cpu_step_infonce(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err)
{
    struct be_device *dev = program->dev;
    struct parallel_scope scope;
    struct host_sums sums;
    TRY(host_in_work(program, "infonce", err));
    TRY(cpu_enter(dev, &scope, err));
    cpu_infonce(&dev->team, io, program->now.temperature, scratch, &sums);
    parallel_leave(&scope);
    host_add_sums(program, &sums);
    return MOCO_OK;
}

size_t cpu_step_batch_loss_bytes(struct be_device *dev, int n, int keys, int dim)
{
    return cpu_batch_loss_scratch(&dev->team, n, keys, dim);
}

moco_status cpu_step_batch_loss(struct be_program *program, const struct be_batch_loss *io, void *scratch,
                                struct err *err)
{
    struct be_device *dev = program->dev;
    struct parallel_scope scope;
    struct host_sums sums;
    TRY(host_in_work(program, "batch_loss", err));
    TRY(cpu_enter(dev, &scope, err));
    cpu_batch_loss(&dev->team, io, program->now.temperature, scratch, &sums);
    parallel_leave(&scope);
    host_add_sums(program, &sums);
    return MOCO_OK;
}

moco_status cpu_measure(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                        struct err *err)
{
    struct parallel_scope scope;
    TRY(cpu_enter(layout->dev, &scope, err));
    slab_check(&layout->dev->team, layout->floats, slab, layout->ranges, layout->count, sum_squares, bad);
    parallel_leave(&scope);
    return MOCO_OK;
}

moco_status cpu_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err)
{
    double sum_squares;
    int bad;
    TRY(host_in_work(program, "check_slab", err));
    TRY(cpu_measure(program->spec.layout, slab, &sum_squares, &bad, err));
    host_gradient(program, what, sum_squares, bad);
    return MOCO_OK;
}

moco_status cpu_stats_commit(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                             int groups, struct err *err)
{
    int may;
    TRY(host_may(program, "stats_commit", &may, err));
    for (int i = 0; may && i < graph->stat_count; i++) {
        const struct graph_stat *stat = &graph->stats[i];
        float *to = (float *)running + stat->offset;
        const float *from = (const float *)stage + stat->offset;
        for (int j = 0; j < 2 * stat->channels; j++)
            to[j] = (float)((1 - stat->momentum) * to[j] + stat->momentum * from[j] / groups);
    }
    return MOCO_OK;
}

moco_status cpu_gemm_nt(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err)
{
    struct parallel_scope scope;
    TRY(cpu_enter(dev, &scope, err));
    moco_status status = shim_gemm_nt(m, n, k, a, b, c, err);
    parallel_leave(&scope);
    return status;
}

moco_status cpu_gemm_tn(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err)
{
    struct parallel_scope scope;
    TRY(cpu_enter(dev, &scope, err));
    moco_status status = shim_gemm_tn(m, n, k, a, b, c, err);
    parallel_leave(&scope);
    return status;
}

moco_status cpu_on_host(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg, struct err *err)
{
    struct parallel_scope scope;
    TRY(cpu_enter(dev, &scope, err));
    parallel_run(dev->team.threads, body, arg);
    parallel_leave(&scope);
    return MOCO_OK;
}
