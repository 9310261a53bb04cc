/* SPDX-License-Identifier: MIT
 *
 * product: a tile of a product of matrices whose elements are found by their place, by tensor cores (mma.cuh): of a
 * convolution, where nothing is copied together first, or, with maps of one pixel, of matrices themselves. A block sums
 * 64 x 64 numbers, a warp 32 x 16 of them; the factors go through shared memory as they are stored, 32 deep at a time, in
 * 16 bits 64, and the next ones are on their way meanwhile.
 *
 * What a reader would get wrong: an element is summed over k from first to last by one warp, so that equal rows give
 * equal bits wherever they stand. And a factor lies in shared memory as it is loaded, 16 bytes at a time, along k or
 * across it; both ways its rows are padded so that the lanes of a warp read 32 different banks, or the same word. */
#ifndef MOCO_BACKEND_CUDA_PRODUCT_CUH
#define MOCO_BACKEND_CUDA_PRODUCT_CUH

#include "backend/cuda/kernels/mma.cuh"

enum {
    DEPTH_CHUNKS = 8, /* of 16 bytes: a row of a factor that lies along k */
    ACROSS_PAD = 8,   /* numbers */
    FACTOR_CHUNKS = CUDA_TILE * (DEPTH_CHUNKS + 1),
    LOADS = CUDA_TILE * DEPTH_CHUNKS / CUDA_BLOCK, /* chunks of a factor that a thread loads */
    WARP_ROWS = 2,                                 /* times 16 */
    WARP_COLUMNS = 2                               /* times 8 */
};

/* 16 bytes of numbers, and how a factor of them lies in shared memory: [row][k] or [k][row]. */
template <class T> struct layout {
    typedef struct words16 chunk;
    enum { N = many<T>::N, DEPTH = DEPTH_CHUNKS * N, ALONG = DEPTH + N, ACROSS = CUDA_TILE + ACROSS_PAD };
    static_assert(FACTOR_CHUNKS * N == DEPTH * ACROSS, "both ways a factor takes the same room");
};

template <> struct layout<float> {
    typedef struct quad chunk;
    enum { N = 4, DEPTH = DEPTH_CHUNKS * N, ALONG = DEPTH + N, ACROSS = CUDA_TILE + ACROSS_PAD };
    static_assert(FACTOR_CHUNKS * N == DEPTH * ACROSS, "both ways a factor takes the same room");
};

enum product { FORWARD, DATA, WEIGHTS };

/* 1 x 1 and every pixel: a row of the matrix is a row of memory. */
static __device__ __forceinline__ bool is_plain(const struct product_args &a)
{
    return a.kernel == 1 && a.stride == 1 && a.pad == 0;
}

/* Where x of the window of output pixel `pixel` is, at place k of [kernel][kernel][ci]; NULL outside of the image. */
template <class T>
static __device__ __forceinline__ const T *window_at(const struct product_args &a, const T *x, int64_t pixel, int64_t k)
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
template <class T>
static __device__ __forceinline__ const T *output_at(const struct product_args &a, const T *dy, int64_t pixel, int64_t k)
{
    if (is_plain(a))
        return dy + pixel * a.co + k;
    int x = (int)(pixel % a.w), y = (int)(pixel / a.w % a.h), c = (int)(k % a.co);
    int top = y + a.pad - (int)(k / a.co / a.kernel), left = x + a.pad - (int)(k / a.co % a.kernel);
    if (top < 0 || left < 0 || top % a.stride != 0 || left % a.stride != 0)
        return nullptr;
    int oy = top / a.stride, ox = left / a.stride;
    if (oy >= a.oh || ox >= a.ow)
        return nullptr;
    return dy + ((pixel / a.w / a.h * a.oh + oy) * a.ow + ox) * a.co + c;
}

/* ---- factors ---- */

/* Of both: where the number of a row (of the right one: a column) at k is, NULL if it is 0; whether what lies behind it
 * in memory is along k or of the next row; and how many numbers lie behind each other. */
template <enum product P, class T> struct left_factor {
    typedef T number;
    static constexpr bool along = P != WEIGHTS;
    static __device__ __forceinline__ const T *from(const struct product_args &a)
    {
        return (const T *)a.a;
    }
    static __device__ __forceinline__ const T *at(const struct product_args &a, int64_t row, int64_t k)
    {
        return P == FORWARD ? window_at(a, from(a), row, k)
               : P == DATA  ? output_at(a, from(a), row, k)
                            : from(a) + k * a.co + row;
    }
    static __device__ __forceinline__ int run(const struct product_args &a)
    {
        return P == FORWARD ? a.ci : a.co;
    }
};

template <enum product P, class T> struct right_factor {
    typedef T number;
    static constexpr bool along = P == FORWARD;
    static __device__ __forceinline__ const T *from(const struct product_args &a)
    {
        return (const T *)a.b;
    }
    static __device__ __forceinline__ const T *at(const struct product_args &a, int64_t column, int64_t k)
    {
        const int64_t window = (int64_t)a.kernel * a.kernel;
        if (P == FORWARD)
            return from(a) + column * (window * a.ci) + k;
        if (P == WEIGHTS)
            return window_at(a, from(a), k, column);
        if (window == 1)
            return from(a) + k * a.ci + column;
        return from(a) + (k % a.co * window + k / a.co) * a.ci + column; /* w [co][kernel][kernel][ci] */
    }
    static __device__ __forceinline__ int run(const struct product_args &a)
    {
        return a.ci;
    }
};

/* Rows [row0, rows) of a factor, at k in [k0, end). */
struct part {
    int64_t row0, rows, k0, end;
    bool wide; /* 16 bytes at a time */
};

template <class F> static __device__ __forceinline__ bool is_wide(const struct product_args &a)
{
    return F::run(a) % layout<typename F::number>::N == 0 && (uintptr_t)F::from(a) % 16 == 0;
}

/* Chunk `i` of this thread: which row of the tile, and which k, its first number is. */
template <class F> static __device__ __forceinline__ void place_of(int i, int &row, int &k)
{
    constexpr int n = layout<typename F::number>::N, each = F::along ? DEPTH_CHUNKS : CUDA_TILE / n;
    const int chunk = i * CUDA_BLOCK + (int)threadIdx.x;
    row = F::along ? chunk / each : chunk % each * n;
    k = F::along ? chunk % each * n : chunk / each;
}

static __device__ __forceinline__ void set_number(struct quad &chunk, int j, float number)
{
    chunk.v[j] = number;
}

template <class T> static __device__ __forceinline__ void set_number(struct words16 &chunk, int j, T number)
{
    chunk.w[j / 2] |= (uint32_t)number.bits << j % 2 * 16;
}

/* Where the number of a factor is, NULL if it is 0. */
template <class F>
static __device__ __forceinline__ const typename F::number *number_of(const struct product_args &a, const struct part &p,
                                                                   int64_t row, int64_t k)
{
    return row < p.rows && k < p.end ? F::at(a, row, k) : nullptr;
}

template <class F, class C>
static __device__ __forceinline__ void load(C (&out)[LOADS], const struct product_args &a, const struct part &p)
{
    typedef typename F::number T;
    UNROLL for (int i = 0; i < LOADS; i++)
    {
        int in_row, in_k;
        place_of<F>(i, in_row, in_k);
        const int64_t row = p.row0 + in_row, k = p.k0 + in_k;
        out[i] = C{};
        if (p.wide) {
            const T *at = number_of<F>(a, p, row, k);
            if (at != nullptr)
                out[i] = *(const C *)(const void *)at;
            continue;
        }
        UNROLL for (int j = 0; j < layout<T>::N; j++)
        {
            const T *at = number_of<F>(a, p, row + (F::along ? 0 : j), k + (F::along ? j : 0));
            if (at != nullptr)
                set_number(out[i], j, *at);
        }
    }
}

template <class F, class C> static __device__ __forceinline__ void store(C *factor, const C (&in)[LOADS])
{
    typedef struct layout<typename F::number> L;
    UNROLL for (int i = 0; i < LOADS; i++)
    {
        int row, k;
        place_of<F>(i, row, k);
        factor[(F::along ? row * L::ALONG + k : k * L::ACROSS + row) / L::N] = in[i];
    }
}

template <class F>
static __device__ __forceinline__ typename F::number shared_at(const void *factor, int row, int k)
{
    typedef struct layout<typename F::number> L;
    return ((const typename F::number *)factor)[F::along ? row * L::ALONG + k : k * L::ACROSS + row];
}

/* Numbers k and k + 1 of a row, of 16 bits each; k is even. */
template <class F> static __device__ __forceinline__ uint32_t pair_at(const void *factor, int row, int k)
{
    if (F::along)
        return ((const word4 *)factor)[(row * layout<typename F::number>::ALONG + k) / 2];
    return shared_at<F>(factor, row, k).bits | (uint32_t)shared_at<F>(factor, row, k + 1).bits << 16;
}

/* ---- a tile ---- */

typedef float tile_sums[WARP_ROWS][WARP_COLUMNS][4];

/* What a warp adds to its 32 x 16 numbers, `row` and `column` of the tile being its first, from what is in shared
 * memory; L and R are the factors. */
template <class L, class R>
static __device__ __forceinline__ void multiply_floats(tile_sums &sum, const void *left, const void *right, int row,
                                                       int column, bool exact)
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    UNROLL for (int k = 0; k < layout<float>::DEPTH; k += 8)
    {
        struct halves<4> l[WARP_ROWS];
        struct halves<2> r[WARP_COLUMNS];
        UNROLL for (int i = 0; i < WARP_ROWS; i++)
        {
            float x[4];
            UNROLL for (int j = 0; j < 4; j++)
                x[j] = shared_at<L>(left, row + 16 * i + g + j % 2 * 8, k + t + j / 2 * 4);
            split(l[i], x, exact);
        }
        UNROLL for (int i = 0; i < WARP_COLUMNS; i++)
        {
            float x[2];
            UNROLL for (int j = 0; j < 2; j++)
                x[j] = shared_at<R>(right, column + 8 * i + g, k + t + j * 4);
            split(r[i], x, exact);
        }
        UNROLL for (int i = 0; i < WARP_ROWS; i++)
            UNROLL for (int j = 0; j < WARP_COLUMNS; j++)
                multiply(sum[i][j], l[i], r[j], exact);
    }
}

/* The same of numbers of 16 bits. */
template <class L, class R>
static __device__ __forceinline__ void multiply_pairs(tile_sums &sum, const void *left, const void *right, int row,
                                                      int column)
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    UNROLL for (int k = 0; k < layout<typename L::number>::DEPTH; k += 16)
    {
        uint32_t l[WARP_ROWS][4], r[WARP_COLUMNS][2];
        UNROLL for (int i = 0; i < WARP_ROWS; i++)
            UNROLL for (int j = 0; j < 4; j++)
                l[i][j] = pair_at<L>(left, row + 16 * i + g + j % 2 * 8, k + 2 * t + j / 2 * 8);
        UNROLL for (int i = 0; i < WARP_COLUMNS; i++)
            UNROLL for (int j = 0; j < 2; j++)
                r[i][j] = pair_at<R>(right, column + 8 * i + g, k + 2 * t + j * 8);
        UNROLL for (int i = 0; i < WARP_ROWS; i++)
            UNROLL for (int j = 0; j < WARP_COLUMNS; j++)
                multiply_16<typename L::number>(sum[i][j], l[i], r[j]);
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
template <enum product P, class T>
static __device__ __forceinline__ void sum_tile(tile_sums &sum, typename layout<T>::chunk *left,
                                                typename layout<T>::chunk *right, const struct product_args &a,
                                                struct part l, struct part r)
{
    typedef struct left_factor<P, T> L;
    typedef struct right_factor<P, T> R;
    const int warp = (int)threadIdx.x / 32, row = warp / 4 * 16 * WARP_ROWS, column = warp % 4 * 8 * WARP_COLUMNS;
    typename layout<T>::chunk l_next[LOADS], r_next[LOADS];
    load<L>(l_next, a, l);
    load<R>(r_next, a, r);
    while (l.k0 < l.end) {
        __syncthreads();
        store<L>(left, l_next);
        store<R>(right, r_next);
        __syncthreads();
        l.k0 = r.k0 = l.k0 + layout<T>::DEPTH;
        load<L>(l_next, a, l);
        load<R>(r_next, a, r);
        if constexpr (sizeof(T) == sizeof(float))
            multiply_floats<L, R>(sum, left, right, row, column, !a.tf32);
        else
            multiply_pairs<L, R>(sum, left, right, row, column);
    }
}

#endif
