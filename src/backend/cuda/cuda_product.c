/* SPDX-License-Identifier: MIT
 *
 * cuda_product: see cuda_product.h. Products of host arrays go through device memory that is taken for them. */
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

moco_status cuda_product(struct be_device *dev, enum cuda_kernel kernel, int storage, const struct product_args *args,
                         struct err *err)
{
    struct extent e = extent_of(kernel, args);
    if (tiles(e.columns) > 65535)
        return err_set(err, MOCO_ENOTSUP, "%s: a product of %lld columns is larger than a GPU can run", dev->name,
                       (long long)e.columns);
    TRY(cuda_launch(dev, kernel + storage, tiles(e.rows), (int)tiles(e.columns), args->splits, args, err));
    if (args->splits == 1)
        return MOCO_OK;
    struct product_args end = *args;
    end.n = (int32_t)e.rows;
    end.co = (int32_t)e.columns;
    return cuda_launch_items(dev, CUDA_product_end, e.rows * e.columns, &end, err);
}

/* ---- of host arrays ---- */

static size_t up(int64_t numbers)
{
    return cuda_up((size_t)numbers * sizeof(float));
}

/* Factors of a_count and b_count numbers, in device memory from `at` on: a, b, out, and what a split product needs. */
static moco_status copy_and_run(struct be_device *dev, enum cuda_kernel kernel, struct product_args *args,
                                const float *a, int64_t a_count, const float *b, int64_t b_count, char *at,
                                struct err *err)
{
    struct extent e = extent_of(kernel, args);
    args->a = at;
    args->b = at + up(a_count);
    args->out = at + up(a_count) + up(b_count);
    args->parts = (float *)(void *)((char *)args->out + up(e.rows * e.columns));
    TRY(cuda_put(dev, at, a, (size_t)a_count * sizeof *a, err));
    TRY(cuda_put(dev, at + up(a_count), b, (size_t)b_count * sizeof *b, err));
    return cuda_product(dev, kernel, 0, args, err);
}

static moco_status on_host_arrays(struct be_device *dev, enum cuda_kernel kernel, int64_t m, int64_t n, int64_t k,
                                  const float *a, const float *b, float *c, struct err *err)
{
    if (m < 1 || n < 1)
        return MOCO_OK;
    if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX)
        return err_set(err, MOCO_ENOTSUP,
                       "%s: a product of %lld x %lld numbers, %lld deep, is larger than a GPU can run", dev->name,
                       (long long)m, (long long)n, (long long)k);
    struct product_args args = cuda_matrix(kernel, (int)m, (int)n, (int)k);
    struct be_memory memory;
    size_t parts = kernel == CUDA_product_forward ? 0 : cuda_product_split(kernel, &args);
    TRY(cuda_take(dev, up(m * k) + up(n * k) + up(m * n) + parts, &memory, err));
    moco_status status = copy_and_run(dev, kernel, &args, a, m * k, b, n * k, memory.at, err);
    if (status == MOCO_OK)
        status = cuda_fetch(dev, c, args.out, (size_t)(m * n) * sizeof *c, err);
    cuda_give(dev, &memory);
    return status;
}

moco_status cuda_gemm_nt(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                         float *c, struct err *err)
{
    CUDA_WITHIN(dev, on_host_arrays(dev, CUDA_product_forward, m, n, k, a, b, c, err));
    return MOCO_OK;
}

moco_status cuda_gemm_tn(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                         float *c, struct err *err)
{
    CUDA_WITHIN(dev, on_host_arrays(dev, CUDA_product_weights, m, n, k, a, b, c, err));
    return MOCO_OK;
}
