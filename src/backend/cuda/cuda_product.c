/* SPDX-License-Identifier: MIT
 *
 * cuda_product: see cuda_product.h. */
#include "backend/cuda/cuda_product.h"

enum {
    ENOUGH_BLOCKS = 512, /* a few for each multiprocessor of a large GPU */
    LEAST_DEPTH = 512    /* below which a part is not worth a block */
};

struct extent {
    int64_t rows, columns, depth;
};

static struct extent extent_of(enum cuda_kernel kernel, const struct product_args *a)
{
    int64_t window = (int64_t)a->kernel * a->kernel;
    int64_t in = (int64_t)a->n * a->h * a->w, out = (int64_t)a->n * a->oh * a->ow;
    if (kernel == CUDA_product_forward)
        return (struct extent){out, a->co, window * a->ci};
    if (kernel == CUDA_product_data)
        return (struct extent){in, a->ci, window * a->co};
    return (struct extent){a->co, window * a->ci, out};
}

struct product_args cuda_matrix(enum cuda_kernel kernel, int m, int n, int k)
{
    struct product_args args = {.h = 1, .w = 1, .oh = 1, .ow = 1, .kernel = 1, .stride = 1, .splits = 1};
    args.n = kernel == CUDA_product_weights ? k : m;
    args.ci = kernel == CUDA_product_forward ? k : n;
    args.co = kernel == CUDA_product_forward ? n : kernel == CUDA_product_data ? k : m;
    return args;
}

static int64_t tiles(int64_t numbers)
{
    return (numbers + CUDA_TILE - 1) / CUDA_TILE;
}

size_t cuda_product_split(enum cuda_kernel kernel, struct product_args *args)
{
    struct extent e = extent_of(kernel, args);
    int64_t blocks = tiles(e.rows) * tiles(e.columns), splits = blocks > 0 ? ENOUGH_BLOCKS / blocks : 1;
    if (splits > e.depth / LEAST_DEPTH)
        splits = e.depth / LEAST_DEPTH;
    args->splits = splits < 1 ? 1 : (int32_t)splits;
    return args->splits == 1 ? 0 : (size_t)(args->splits * e.rows * e.columns) * sizeof(float);
}

moco_status cuda_product(struct be_device *dev, enum cuda_kernel kernel, const struct product_args *args,
                         struct err *err)
{
    struct extent e = extent_of(kernel, args);
    if (tiles(e.columns) > 65535)
        return err_set(err, MOCO_ENOTSUP, "%s: a product of %lld columns is larger than a GPU can run", dev->name,
                       (long long)e.columns);
    TRY(cuda_launch(dev, kernel, tiles(e.rows), (int)tiles(e.columns), args->splits, args, err));
    if (args->splits == 1)
        return MOCO_OK;
    struct product_args end = *args;
    end.n = (int32_t)e.rows;
    end.co = (int32_t)e.columns;
    return cuda_launch_items(dev, CUDA_product_end, e.rows * e.columns, &end, err);
}
