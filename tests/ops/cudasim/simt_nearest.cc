/* SPDX-License-Identifier: MIT
 *
 * simt_nearest: the kernels that find neighbours, against all cosines in double, in memory that ends where the arrays do: for
 * the sanitizers, and for faults that are planted in these kernels (ops/cudasim/test_simt.sh). They are alone here, since each
 * fault is a compilation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/kernels/nearest.cu"
#include "support/cudasim/simt_numbers.h"

static void run_slices(const void *a)
{
    moco_nearest_slices(*(const struct nearest_args *)a);
}

static void run_end(const void *a)
{
    moco_nearest_end(*(const struct nearest_args *)a);
}

/* Of a query: the k nearest rows, by the order that kernels promise. `taken`: [count]. */
static void nearest_of(const struct nearest_args &a, int query, struct cuda_hit *out, bool *taken)
{
    memset(taken, 0, (size_t)a.count);
    for (int i = 0; i < a.k; i++) {
        struct cuda_hit best = {-INFINITY, 0xffffffffu, 0};
        for (int64_t row = 0; row < a.count; row++) {
            double sum = 0;
            for (int c = 0; c < a.dim; c++)
                sum += (double)a.queries[query * a.dim + c] * (double)a.rows[row * a.dim + c];
            if (!taken[row] && sum > best.cosine) /* of equal ones the first; no NaN is */
                best.cosine = sum, best.row = (uint32_t)row;
        }
        out[i] = best;
        if (best.row != 0xffffffffu)
            taken[best.row] = true;
    }
}

/* Rows that come nearer and nearer to the first query, so that each has to be sorted in; rows that are there many times, on
 * both sides of the ends of slices; a query and a row of zeros; a row that is no number. The last tile, slice and block of
 * queries are not full, and memory ends where the arrays do. */
static int nearest(int dim)
{
    enum { N = 67, COUNT = 1037, SLICE = 512, SLICES = 3, K = 20, KEPT = 36 };
    float *rows = numbers((size_t)(COUNT * dim)), *queries = numbers((size_t)(N * dim));
    for (int i = 0; i < COUNT; i++)
        for (int c = 0; c < dim; c++)
            rows[i * dim + c] = i % 90 == 60              ? rows[60 * dim + c]
                                : (i > 505 && i < 520)    ? queries[dim + c]
                                : i == 70                 ? 0
                                : i == 80 && c == dim - 1 ? NAN
                                : i == 1036               ? queries[3 * dim + c]
                                                          : rows[i * dim + c] * 0.1f + queries[c] * (float)i / COUNT;
    for (int c = 0; c < dim; c++)
        queries[2 * dim + c] = 0;
    struct nearest_args a = {};
    a.rows = rows, a.queries = queries;
    a.keys = take<uint64_t>((size_t)(SLICES * N) * 2 * CUDA_NEAREST_KEYS, 0xff);
    a.hits = take<struct cuda_hit>(N * K, 0xff);
    a.count = COUNT, a.slice = SLICE, a.slices = SLICES;
    a.n = N, a.dim = dim, a.k = K, a.kept = KEPT;
    simt_launch(run_slices, &a, simt_dim{2, SLICES, 1}, simt_dim{CUDA_BLOCK, 1, 1});
    simt_launch(run_end, &a, simt_dim{N, 1, 1}, simt_dim{CUDA_BLOCK, 1, 1});
    struct cuda_hit *want = take<struct cuda_hit>(K, 0);
    bool *taken = take<bool>(COUNT, 0);
    for (int q = 0; q < N; q++) {
        nearest_of(a, q, want, taken);
        for (int i = 0; i < K; i++) {
            const struct cuda_hit *got = &a.hits[q * K + i];
            if (got->row == want[i].row && got->cosine == want[i].cosine)
                continue;
            printf("nearest: neighbour %d of query %d is row %u, not %u\n", i, q, got->row, want[i].row);
            return 1;
        }
    }
    return 0;
}

/* SEED. Nothing is freed: the process ends. */
int main(int argc, char **argv)
{
    simt_seed(argc > 1 ? strtoull(argv[1], nullptr, 10) : 1);
    return nearest(7) | nearest(8);
}
