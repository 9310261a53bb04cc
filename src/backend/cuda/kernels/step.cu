/* SPDX-License-Identifier: MIT
 *
 * step: rows and statistics of a step, the findings, and the verdict. Whatever commits looks at `may` first. */
#include "backend/cuda/kernels/kernel.cuh"

KERNEL(gather, rows)
{
    int64_t count = (int64_t)a.n * a.dim;
    for (int64_t i = first_item(); i < count; i += item_step())
        a.out[i] = a.rows[(int64_t)a.index[i / a.dim] * a.dim + i % a.dim];
}

KERNEL(scatter, rows)
{
    int64_t count = (int64_t)a.n * a.dim;
    for (int64_t i = first_item(); i < count; i += item_step())
        a.out[(int64_t)a.index[i / a.dim] * a.dim + i % a.dim] = a.rows[i];
}

/* What would be overwritten by this very push is never written. */
KERNEL(push, rows)
{
    int64_t count = (int64_t)a.n * a.dim, done = a.n > a.length ? a.n - a.length : 0;
    if (!a.step->may)
        return;
    for (int64_t i = done * a.dim + first_item(); i < count; i += item_step())
        a.out[(a.step->queue_row + i / a.dim) % a.length * a.dim + i % a.dim] = a.rows[i];
}

KERNEL(check_rows, rows)
{
    int64_t count = (int64_t)a.n * a.dim;
    for (int64_t i = first_item(); i < count; i += item_step())
        if (!is_finite(a.rows[i]))
            finding(a.step, a.what, a.index != nullptr ? a.index[i / a.dim] : i / a.dim);
}

/* One block. In two passes: exactly 0 of equal rows. */
KERNEL(row_std, rows)
{
    double total = 0;
    for (int c = (int)threadIdx.x; c < a.dim; c += CUDA_BLOCK) {
        double mean = 0, squares = 0;
        for (int i = 0; i < a.n; i++)
            mean += a.rows[(int64_t)i * a.dim + c];
        mean /= a.n;
        for (int i = 0; i < a.n; i++) {
            double off = a.rows[(int64_t)i * a.dim + c] - mean;
            squares = fma(off, off, squares);
        }
        total += sqrt(squares / a.n);
    }
    total = block_sum(total);
    if (threadIdx.x == 0)
        a.step->feature_std = total / a.dim;
}

KERNEL(check_stats, stats)
{
    for (int64_t i = first_item(); i < a.count; i += item_step())
        if (!is_finite(a.stage[i]))
            finding(a.step, a.what, i);
}

KERNEL(stats_commit, stats)
{
    if (!a.step->may)
        return;
    for (int64_t i = first_item(); i < a.count; i += item_step())
        a.running[i] = (float)fma(1 - a.momentum, (double)a.running[i], a.momentum * (a.stage[i] / (double)a.groups));
}

/* One thread. */
KERNEL(decide, verdict)
{
    struct cuda_step *s = a.step;
    if (a.veto != 0)
        finding(s, CUDA_VETO, a.veto);
    s->cancelled = a.cancel != nullptr && *a.cancel != 0;
    s->follows = s->bad == UINT64_MAX && !s->cancelled && a.chain->failed != s->fetched;
    s->may = s->bad == UINT64_MAX && !s->cancelled && !s->follows;
}

/* One thread. */
KERNEL(step_end, verdict)
{
    a.step->committed = a.step->may;
    if (!a.step->may)
        a.chain->failed++;
}
