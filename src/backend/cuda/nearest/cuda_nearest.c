/* SPDX-License-Identifier: MIT
 *
 * cuda_nearest: the nearest of rows in device memory (kernels/nearest.cu). What a reader would get wrong: how the rows are cut
 * into slices follows from how many rows and queries there are, never from the GPU; no answer depends on it all the same. */
#include "backend/cuda/cuda.h"

enum {
    BLOCKS = 256,     /* about two for each multiprocessor of a large GPU */
    LEAST_ROWS = 512, /* of a slice: below that sorting takes longer than the products */
    MOST_K = CUDA_NEAREST_KEYS - BE_SPARE
};

_Static_assert(sizeof(struct cuda_hit) == sizeof(struct be_hit), "hits of kernels are those of the contract");

static int64_t parts(int64_t of, int64_t each)
{
    return (of + each - 1) / each;
}

static int64_t slice_rows(int n, int64_t count)
{
    int64_t slices = BLOCKS / parts(n, CUDA_TILE), rows = parts(count, slices > 0 ? slices : 1);
    return parts(rows > LEAST_ROWS ? rows : LEAST_ROWS, CUDA_TILE) * CUDA_TILE;
}

size_t cuda_nearest_scratch(struct be_device *dev, int n, int dim, int64_t count, int k)
{
    (void)dev;
    (void)dim;
    if (n < 1 || k < 1 || k > MOST_K || k > count || count > BE_NO_ROW)
        return 0;
    return (size_t)parts(count, slice_rows(n, count)) * (size_t)n * 2 * CUDA_NEAREST_KEYS * sizeof(uint64_t);
}

static moco_status both_kernels(struct be_device *dev, const struct nearest_args *args, struct err *err)
{
    TRY(cuda_launch(dev, CUDA_nearest_slices, parts(args->n, CUDA_TILE), args->slices, 1, args, err));
    return cuda_launch(dev, CUDA_nearest_end, args->n, 1, 1, args, err);
}

moco_status cuda_nearest(struct be_device *dev, const struct be_nearest *io, void *scratch, struct err *err)
{
    if (io->dim < 1 || cuda_nearest_scratch(dev, io->n, io->dim, io->count, io->k) == 0)
        return err_set(
            err, MOCO_EINVAL,
            "%s: the %d nearest of %lld rows of %d numbers to %d queries cannot be found: at most %d can, and no "
            "more than there are",
            dev->name, io->k, (long long)io->count, io->dim, io->n, MOST_K);
    const int64_t slice = slice_rows(io->n, io->count), kept = io->k + BE_SPARE;
    const struct nearest_args args = {.rows = io->rows,
                                      .queries = io->queries,
                                      .keys = scratch,
                                      .hits = io->hits,
                                      .count = io->count,
                                      .slice = slice,
                                      .n = io->n,
                                      .dim = io->dim,
                                      .slices = (int32_t)parts(io->count, slice),
                                      .k = io->k,
                                      .kept = (int32_t)(kept < io->count ? kept : io->count)};
    CUDA_WITHIN(dev, both_kernels(dev, &args, err));
    return MOCO_OK;
}
