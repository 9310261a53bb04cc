/* SPDX-License-Identifier: MIT
 *
 * product: convolutions as products of matrices, linear layers and what losses multiply: a block computes a tile
 * (product.cuh). What a reader would get wrong: where k is split over blocks, product_end adds the parts in order. */
#include "backend/cuda/kernels/kernel.cuh"
#include "backend/cuda/kernels/product.cuh"

struct extent {
    int64_t rows, columns, depth;
};

template <enum product P> static __device__ __forceinline__ struct extent extent_of(const struct product_args &a)
{
    int64_t window = (int64_t)a.kernel * a.kernel, in = (int64_t)a.n * a.h * a.w, out = (int64_t)a.n * a.oh * a.ow;
    struct extent e;
    e.rows = P == FORWARD ? out : P == DATA ? in : a.co;
    e.columns = P == FORWARD ? a.co : P == DATA ? a.ci : window * a.ci;
    e.depth = P == FORWARD ? window * a.ci : P == DATA ? window * a.co : out;
    return e;
}

template <class T>
static __device__ __forceinline__ void finish(const struct product_args &a, int64_t at, int64_t column, float value)
{
    if (a.bias != nullptr)
        value += a.bias[column];
    if (a.other != nullptr)
        value += get<T>(a.other, at);
    if (a.relu && value < 0)
        value = 0;
    put<T>(a.out, at, a.accumulate ? get<T>(a.out, at) + value : value);
}

/* What a product's result is stored as: a gradient of weights as f32. */
template <enum product P, class T> struct result {
    typedef T number;
};

template <class T> struct result<WEIGHTS, T> {
    typedef float number;
};

/* Grid: tiles of rows, tiles of columns, splits. */
template <enum product P, class T> static __device__ __forceinline__ void product(const struct product_args &a)
{
    typedef typename layout<T>::chunk chunk;
    constexpr int DEPTH = layout<T>::DEPTH;
    SHARED(chunk, left, [FACTOR_CHUNKS]);
    SHARED(chunk, right, [FACTOR_CHUNKS]);
    const struct extent e = extent_of<P>(a);
    const int64_t steps = (e.depth + DEPTH - 1) / DEPTH; /* splits begin at multiples of DEPTH */
    const int64_t begin = steps * blockIdx.z / a.splits * DEPTH, last = steps * (blockIdx.z + 1) / a.splits * DEPTH;
    const int64_t end = last < e.depth ? last : e.depth;
    const struct part l = {(int64_t)blockIdx.x * CUDA_TILE, e.rows, begin, end, is_wide<struct left_factor<P, T>>(a)};
    const struct part r = {(int64_t)blockIdx.y * CUDA_TILE, e.columns, begin, end, is_wide<struct right_factor<P, T>>(a)};
    tile_sums sum = {};
    sum_tile<P, T>(sum, left, right, a, l, r);
    UNROLL for (int i = 0; i < WARP_ROWS; i++)
        UNROLL for (int j = 0; j < WARP_COLUMNS; j++)
            UNROLL for (int x = 0; x < 4; x++) {
                const int64_t to_row = l.row0 + tile_row((int)threadIdx.x, i, x);
                const int64_t to_column = r.row0 + tile_column((int)threadIdx.x, j, x);
                const int64_t at = to_row * e.columns + to_column;
                if (to_row >= e.rows || to_column >= e.columns)
                    continue;
                if (a.splits == 1)
                    finish<typename result<P, T>::number>(a, at, to_column, sum[i][j][x]);
                else
                    a.parts[blockIdx.z * e.rows * e.columns + at] = sum[i][j][x];
            }
}

STORED_WIDE_KERNEL(product_forward, product)
{
    product<FORWARD, T>(a);
}

STORED_WIDE_KERNEL(product_data, product)
{
    product<DATA, T>(a);
}

STORED_WIDE_KERNEL(product_weights, product)
{
    product<WEIGHTS, T>(a);
}

/* A thread a number of the result, of n rows and co columns. */
KERNEL(product_end, product)
{
    int64_t count = (int64_t)a.n * a.co;
    for (int64_t i = first_item(); i < count; i += item_step()) {
        float sum = 0;
        for (int64_t s = 0; s < a.splits; s++)
            sum += a.parts[s * count + i];
        finish<float>(a, i, i % a.co, sum);
    }
}
