/* SPDX-License-Identifier: MIT
 *
 * product: a tile of a product of matrices whose elements are found by their place, by tensor cores (mma.cuh): of a
 * convolution, where nothing is copied together first, or, with maps of one pixel, of matrices themselves. A block sums
 * 64 x 64 numbers, a warp 32 x 16 of them; the factors go through shared memory, 32 deep at a time, and the next ones are
 * on their way meanwhile.
 *
 * What a reader would get wrong: an element is summed over k from first to last by one warp, so that equal rows give
 * equal bits wherever they stand. And a factor lies in shared memory as it is loaded, four numbers at a time, along k or
 * across it; both ways its rows are padded so that the lanes of a warp read 32 different banks. */
#ifndef MOCO_BACKEND_CUDA_PRODUCT_CUH
#define MOCO_BACKEND_CUDA_PRODUCT_CUH

#include "backend/cuda/kernels/mma.cuh"

enum {
    DEPTH = 32,
    ALONG_STRIDE = DEPTH + 4,      /* numbers between rows of [row][k] */
    ACROSS_STRIDE = CUDA_TILE + 8, /* between rows of [k][row] */
    FACTOR_QUADS = CUDA_TILE * ALONG_STRIDE / 4,
    LOADS = CUDA_TILE * DEPTH / 4 / CUDA_BLOCK, /* quads of a factor that a thread loads */
    WARP_ROWS = 2,                              /* times 16 */
    WARP_COLUMNS = 2                            /* times 8 */
};

static_assert(FACTOR_QUADS * 4 == DEPTH * ACROSS_STRIDE, "both ways a factor takes the same room");

enum product { FORWARD, DATA, WEIGHTS };

/* 1 x 1 and every pixel: a row of the matrix is a row of memory. */
static __device__ __forceinline__ bool is_plain(const struct product_args &a)
{
    return a.kernel == 1 && a.stride == 1 && a.pad == 0;
}

/* Where x of the window of output pixel `pixel` is, at place k of [kernel][kernel][ci]; NULL outside of the image. */
static __device__ __forceinline__ const float *window_at(const struct product_args &a, const float *x, int64_t pixel,
                                                         int64_t k)
{
    if (is_plain(a))
        return x + pixel * a.ci + k;
    int ox = (int)(pixel % a.ow), oy = (int)(pixel / a.ow % a.oh), c = (int)(k % a.ci);
    int ky = (int)(k / a.ci / a.kernel), kx = (int)(k / a.ci % a.kernel);
    int y = oy * a.stride - a.pad + ky, left = ox * a.stride - a.pad + kx;
    if (y < 0 || y >= a.h || left < 0 || left >= a.w)
        return nullptr;
    return x + ((pixel / a.ow / a.oh * a.h + y) * a.w + left) * a.ci + c;
}

/* Where dy is of the output whose window has input pixel `pixel` at place k of [kernel][kernel][co]; NULL: nowhere. */
static __device__ __forceinline__ const float *output_at(const struct product_args &a, int64_t pixel, int64_t k)
{
    if (is_plain(a))
        return a.a + pixel * a.co + k;
    int x = (int)(pixel % a.w), y = (int)(pixel / a.w % a.h), c = (int)(k % a.co);
    int top = y + a.pad - (int)(k / a.co / a.kernel), left = x + a.pad - (int)(k / a.co % a.kernel);
    if (top < 0 || left < 0 || top % a.stride != 0 || left % a.stride != 0)
        return nullptr;
    int oy = top / a.stride, ox = left / a.stride;
    if (oy >= a.oh || ox >= a.ow)
        return nullptr;
    return a.a + ((pixel / a.w / a.h * a.oh + oy) * a.ow + ox) * a.co + c;
}

/* ---- factors ---- */

/* Of both: where the number of a row (of the right one: a column) at k is, NULL if it is 0; whether what lies behind it
 * in memory is along k or of the next row; and how many numbers lie behind each other. */
template <enum product P> struct left_factor {
    static constexpr bool along = P != WEIGHTS;
    static __device__ __forceinline__ const float *at(const struct product_args &a, int64_t row, int64_t k)
    {
        return P == FORWARD ? window_at(a, a.a, row, k) : P == DATA ? output_at(a, row, k) : a.a + k * a.co + row;
    }
    static __device__ __forceinline__ int run(const struct product_args &a)
    {
        return P == FORWARD ? a.ci : a.co;
    }
    static __device__ __forceinline__ const float *from(const struct product_args &a)
    {
        return a.a;
    }
};

template <enum product P> struct right_factor {
    static constexpr bool along = P == FORWARD;
    static __device__ __forceinline__ const float *at(const struct product_args &a, int64_t column, int64_t k)
    {
        const int64_t window = (int64_t)a.kernel * a.kernel;
        if (P == FORWARD)
            return a.b + column * (window * a.ci) + k;
        if (P == WEIGHTS)
            return window_at(a, a.b, k, column);
        if (window == 1)
            return a.b + k * a.ci + column;
        return a.b + (k % a.co * window + k / a.co) * a.ci + column; /* w [co][kernel][kernel][ci] */
    }
    static __device__ __forceinline__ int run(const struct product_args &a)
    {
        return a.ci;
    }
    static __device__ __forceinline__ const float *from(const struct product_args &a)
    {
        return a.b;
    }
};

/* Rows [row0, rows) of a factor, at k in [k0, end). */
struct part {
    int64_t row0, rows, k0, end;
    bool wide; /* four numbers at a time */
};

template <class F> static __device__ __forceinline__ bool is_wide(const struct product_args &a)
{
    return F::run(a) % 4 == 0 && (uintptr_t)F::from(a) % 16 == 0;
}

/* Quad `i` of this thread: which row of the tile, and which k, its first number is. */
template <class F> static __device__ __forceinline__ void place_of(int i, int &row, int &k)
{
    const int quad = i * CUDA_BLOCK + (int)threadIdx.x, each = F::along ? DEPTH / 4 : CUDA_TILE / 4;
    row = F::along ? quad / each : quad % each * 4;
    k = F::along ? quad % each * 4 : quad / each;
}

template <class F>
static __device__ __forceinline__ float number_at(const struct product_args &a, const struct part &p, int64_t row,
                                                  int64_t k)
{
    const float *at = row < p.rows && k < p.end ? F::at(a, row, k) : nullptr;
    return at != nullptr ? *at : 0.0f;
}

template <class F>
static __device__ __forceinline__ void load(struct quad (&out)[LOADS], const struct product_args &a,
                                            const struct part &p)
{
    UNROLL for (int i = 0; i < LOADS; i++)
    {
        int in_row, in_k;
        place_of<F>(i, in_row, in_k);
        const int64_t row = p.row0 + in_row, k = p.k0 + in_k;
        if (!p.wide) {
            UNROLL for (int j = 0; j < 4; j++)
                out[i].v[j] = number_at<F>(a, p, row + (F::along ? 0 : j), k + (F::along ? j : 0));
            continue;
        }
        const float *at = row < p.rows && k < p.end ? F::at(a, row, k) : nullptr;
        if (at != nullptr)
            out[i] = *(const struct quad *)(const void *)at;
        else
            out[i] = quad{};
    }
}

template <class F> static __device__ __forceinline__ void store(struct quad *factor, const struct quad (&in)[LOADS])
{
    UNROLL for (int i = 0; i < LOADS; i++)
    {
        int row, k;
        place_of<F>(i, row, k);
        factor[(F::along ? row * ALONG_STRIDE + k : k * ACROSS_STRIDE + row) / 4] = in[i];
    }
}

template <class F> static __device__ __forceinline__ float shared_at(const struct quad *factor, int row, int k)
{
    const float *numbers = (const float *)(const void *)factor;
    return numbers[F::along ? row * ALONG_STRIDE + k : k * ACROSS_STRIDE + row];
}

/* ---- a tile ---- */

/* What a warp adds to its 32 x 16 numbers, `row` and `column` of the tile being its first, from what is in shared
 * memory. */
template <enum product P>
static __device__ __forceinline__ void multiply_tile(float (&sum)[WARP_ROWS][WARP_COLUMNS][4], const struct quad *left,
                                                     const struct quad *right, int row, int column, bool exact)
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    UNROLL for (int k = 0; k < DEPTH; k += 8)
    {
        struct halves<4> l[WARP_ROWS];
        struct halves<2> r[WARP_COLUMNS];
        UNROLL for (int i = 0; i < WARP_ROWS; i++)
        {
            float x[4];
            UNROLL for (int j = 0; j < 4; j++)
                x[j] = shared_at<left_factor<P>>(left, row + 16 * i + g + j % 2 * 8, k + t + j / 2 * 4);
            split(l[i], x, exact);
        }
        UNROLL for (int i = 0; i < WARP_COLUMNS; i++)
        {
            float x[2];
            UNROLL for (int j = 0; j < 2; j++)
                x[j] = shared_at<right_factor<P>>(right, column + 8 * i + g, k + t + j * 4);
            split(r[i], x, exact);
        }
        UNROLL for (int i = 0; i < WARP_ROWS; i++)
            UNROLL for (int j = 0; j < WARP_COLUMNS; j++)
                multiply(sum[i][j], l[i], r[j], exact);
    }
}

/* What thread `t` has of a tile: number x of sum[i][j] is in this row and column of it. */
static __device__ __forceinline__ int tile_row(int t, int i, int x)
{
    return t / 128 * 16 * WARP_ROWS + 16 * i + t % 32 / 4 + x / 2 * 8;
}

static __device__ __forceinline__ int tile_column(int t, int j, int x)
{
    return t / 32 % 4 * 8 * WARP_COLUMNS + 8 * j + t % 4 * 2 + x % 2;
}

/* Adds the tile of rows `l` and columns `r`, from their k0 to their end, to what a thread has of it. It begins with a
 * barrier if there is anything to add: whoever has used the shared memory before is done. */
template <enum product P>
static __device__ __forceinline__ void sum_tile(float (&sum)[WARP_ROWS][WARP_COLUMNS][4], struct quad *left,
                                                struct quad *right, const struct product_args &a, struct part l,
                                                struct part r)
{
    typedef struct left_factor<P> L;
    typedef struct right_factor<P> R;
    const int warp = (int)threadIdx.x / 32, row = warp / 4 * 16 * WARP_ROWS, column = warp % 4 * 8 * WARP_COLUMNS;
    struct quad l_next[LOADS], r_next[LOADS];
    load<L>(l_next, a, l);
    load<R>(r_next, a, r);
    while (l.k0 < l.end) {
        __syncthreads();
        store<L>(left, l_next);
        store<R>(right, r_next);
        __syncthreads();
        l.k0 = r.k0 = l.k0 + DEPTH;
        load<L>(l_next, a, l);
        load<R>(r_next, a, r);
        multiply_tile<P>(sum, left, right, row, column, !a.tf32);
    }
}

#endif
