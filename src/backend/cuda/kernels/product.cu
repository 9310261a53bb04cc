/* SPDX-License-Identifier: MIT
 *
 * product: convolutions as products of matrices whose elements are found by their place (nothing is copied together
 * first), and, with maps of one pixel, matrices themselves: linear layers and the losses. In f32 throughout, with no
 * tensor cores. A block computes a tile of 64 x 64 with 256 threads of 4 x 4 numbers each.
 *
 * What a reader would get wrong: an element is summed over k from first to last by one thread, so that equal rows give
 * equal bits wherever they stand; where k is split over blocks, product_end adds the parts in order. */
#include "backend/cuda/kernels/kernel.cuh"

enum { DEPTH = 16, MINE = 4, SIDE = CUDA_TILE / MINE };

enum product { FORWARD, DATA, WEIGHTS };

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

/* x of the window of output pixel `pixel`, at place k of [kernel][kernel][ci]; 0 outside of the image. */
static __device__ __forceinline__ float window_at(const struct product_args &a, const float *x, int64_t pixel, int64_t k)
{
    int ox = (int)(pixel % a.ow), oy = (int)(pixel / a.ow % a.oh), c = (int)(k % a.ci);
    int ky = (int)(k / a.ci / a.kernel), kx = (int)(k / a.ci % a.kernel);
    int y = oy * a.stride - a.pad + ky, left = ox * a.stride - a.pad + kx;
    if (y < 0 || y >= a.h || left < 0 || left >= a.w)
        return 0;
    return x[((pixel / a.ow / a.oh * a.h + y) * a.w + left) * a.ci + c];
}

/* dy of the output whose window has input pixel `pixel` at place k of [kernel][kernel][co]; 0 if there is none. */
static __device__ __forceinline__ float output_at(const struct product_args &a, int64_t pixel, int64_t k)
{
    int x = (int)(pixel % a.w), y = (int)(pixel / a.w % a.h), c = (int)(k % a.co);
    int top = y + a.pad - (int)(k / a.co / a.kernel), left = x + a.pad - (int)(k / a.co % a.kernel);
    if (top < 0 || left < 0 || top % a.stride != 0 || left % a.stride != 0)
        return 0;
    int oy = top / a.stride, ox = left / a.stride;
    if (oy >= a.oh || ox >= a.ow)
        return 0;
    return a.a[((pixel / a.w / a.h * a.oh + oy) * a.ow + ox) * a.co + c];
}

template <enum product P>
static __device__ __forceinline__ float left_at(const struct product_args &a, int64_t row, int64_t k)
{
    return P == FORWARD ? window_at(a, a.a, row, k) : P == DATA ? output_at(a, row, k) : a.a[k * a.co + row];
}

template <enum product P>
static __device__ __forceinline__ float right_at(const struct product_args &a, int64_t k, int64_t column)
{
    if (P == FORWARD)
        return a.b[column * ((int64_t)a.kernel * a.kernel * a.ci) + k];
    if (P == DATA) /* w [co][kernel][kernel][ci] */
        return a.b[(k % a.co * ((int64_t)a.kernel * a.kernel) + k / a.co) * a.ci + column];
    return window_at(a, a.b, k, column);
}

static __device__ __forceinline__ void finish(const struct product_args &a, int64_t at, int64_t column, float value)
{
    if (a.bias != nullptr)
        value += a.bias[column];
    if (a.other != nullptr)
        value += a.other[at];
    if (a.relu && value < 0)
        value = 0;
    a.out[at] = a.accumulate ? a.out[at] + value : value;
}

/* Grid: tiles of rows, tiles of columns, splits. */
template <enum product P> static __device__ __forceinline__ void product(const struct product_args &a)
{
    SHARED(float, left, [DEPTH][CUDA_TILE]);
    SHARED(float, right, [DEPTH][CUDA_TILE]);
    const struct extent e = extent_of<P>(a);
    const int t = (int)threadIdx.x, tx = t % SIDE, ty = t / SIDE;
    const int64_t row0 = (int64_t)blockIdx.x * CUDA_TILE, column0 = (int64_t)blockIdx.y * CUDA_TILE;
    const int64_t begin = e.depth * blockIdx.z / a.splits, end = e.depth * (blockIdx.z + 1) / a.splits;
    float sum[MINE][MINE] = {};
    for (int64_t k0 = begin; k0 < end; k0 += DEPTH) {
        __syncthreads();
        for (int i = t; i < DEPTH * CUDA_TILE; i += CUDA_BLOCK) {
            int64_t k = k0 + i % DEPTH, row = row0 + i / DEPTH, column = column0 + i / DEPTH;
            left[i % DEPTH][i / DEPTH] = k < end && row < e.rows ? left_at<P>(a, row, k) : 0.0f;
            right[i % DEPTH][i / DEPTH] = k < end && column < e.columns ? right_at<P>(a, k, column) : 0.0f;
        }
        __syncthreads();
        UNROLL for (int k = 0; k < DEPTH; k++)
            UNROLL for (int i = 0; i < MINE; i++)
                UNROLL for (int j = 0; j < MINE; j++)
                    sum[i][j] = fmaf(left[k][ty + i * SIDE], right[k][tx + j * SIDE], sum[i][j]);
    }
    UNROLL for (int i = 0; i < MINE; i++)
        UNROLL for (int j = 0; j < MINE; j++) {
            int64_t row = row0 + ty + i * SIDE, column = column0 + tx + j * SIDE, at = row * e.columns + column;
            if (row >= e.rows || column >= e.columns)
                continue;
            if (a.splits == 1)
                finish(a, at, column, sum[i][j]);
            else
                a.parts[blockIdx.z * e.rows * e.columns + at] = sum[i][j];
        }
}

WIDE_KERNEL(product_forward, product)
{
    product<FORWARD>(a);
}

WIDE_KERNEL(product_data, product)
{
    product<DATA>(a);
}

WIDE_KERNEL(product_weights, product)
{
    product<WEIGHTS>(a);
}

/* A thread a number of the result, of n rows and co columns. */
KERNEL(product_end, product)
{
    int64_t count = (int64_t)a.n * a.co;
    for (int64_t i = first_item(); i < count; i += item_step()) {
        float sum = 0;
        for (int64_t s = 0; s < a.splits; s++)
            sum += a.parts[s * count + i];
        finish(a, i, i % a.co, sum);
    }
}
