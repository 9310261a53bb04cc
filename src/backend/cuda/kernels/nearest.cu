/* SPDX-License-Identifier: MIT
 *
 * nearest: the rows that are nearest to queries, in one pass over the rows. A block takes 64 queries through a slice of the
 * rows, 64 at a time (product.cuh): of their cosines only those go to memory, as keys, that are above the least of the best
 * that their query has found so far. 256 of these fresh keys a query have room; before there is none, a warp sorts them and
 * merges them with the best. nearest_end merges the slices, and sums the cosines of what is left in double.
 *
 * What a reader would get wrong: a key is a cosine in f32 and a row, such that a larger one is nearer and of equal cosines
 * the first row is. No two keys are equal, so that which of them are the best depends on no order, and the places where
 * fresh keys are put, by an atomic counter, do not matter. And a cosine that is no number makes no key. */
#include "backend/cuda/kernels/kernel.cuh"
#include "backend/cuda/kernels/product.cuh"

typedef unsigned long long key MAY_ALIAS;

enum {
    KEYS = CUDA_NEAREST_KEYS,
    LANE_KEYS = KEYS / 32, /* of a list, that a lane moves */
    ROOM_QUADS = 2 * FACTOR_CHUNKS /* of shared memory, where two keys take a quad */
};

static_assert(CUDA_NEAREST_KEYS == CUDA_BLOCK, "nearest_end has a thread a key");
static_assert(CUDA_NEAREST_KEYS >= 2 * CUDA_TILE, "there is room for what a tile may add, and for more");
static_assert(ROOM_QUADS * 2 >= CUDA_NEAREST_KEYS * (CUDA_BLOCK / 32), "a list of each warp has room where factors have");

/* 0 if `cosine` is none. */
static __device__ __forceinline__ key key_of(float cosine, unsigned row)
{
    const unsigned bits = __float_as_uint(cosine == 0 ? 0.0f : cosine); /* -0 is 0 */
    const unsigned high = bits >> 31 ? ~bits : bits | 0x80000000u;
    return cosine == cosine ? (key)high << 32 | ~row : 0;
}

static __device__ __forceinline__ int64_t row_of(key k)
{
    return (int64_t)(unsigned)~(unsigned)k;
}

/* Keys `step` apart of a list: pair `i` of them, the larger one first (or last). */
static __device__ __forceinline__ void order(key *list, unsigned i, unsigned step, bool larger_first)
{
    const unsigned low = 2 * i - (i & (step - 1));
    const key a = list[low], b = list[low + step];
    if ((a < b) == larger_first) {
        list[low] = b;
        list[low + step] = a;
    }
}

/* By a warp: the list's keys, the largest first. Bitonic: runs of `size`, sorted up and down in turn, become one. */
static __device__ __forceinline__ void sort_list(key *list)
{
    for (unsigned size = 2; size <= KEYS; size *= 2)
        for (unsigned step = size / 2; step > 0; step /= 2) {
            for (unsigned i = threadIdx.x % 32; i < KEYS / 2; i += 32)
                order(list, i, step, ((2 * i - (i & (step - 1))) & size) == 0);
            __syncwarp();
        }
}

/* By a warp: the `kept` largest of the best, which are sorted, and of `count` fresh ones, in place of the best. Returns the
 * least of them. `list`: shared memory of the warp's own. */
static __device__ __forceinline__ key merge_fresh(key *best, const key *fresh, int count, int kept, key *list)
{
    const int lane = (int)threadIdx.x % 32;
    key larger[LANE_KEYS];
    UNROLL for (int i = 0; i < LANE_KEYS; i++) {
        const int at = i * 32 + lane;
        list[at] = at < count ? fresh[at] : 0;
    }
    __syncwarp();
    sort_list(list);
    UNROLL for (int i = 0; i < LANE_KEYS; i++) { /* of two sorted lists, head against tail: the largest, up and down */
        const int at = i * 32 + lane;
        const key mine = at < kept ? best[at] : 0, other = list[KEYS - 1 - at];
        larger[i] = mine > other ? mine : other;
    }
    __syncwarp();
    UNROLL for (int i = 0; i < LANE_KEYS; i++)
        list[i * 32 + lane] = larger[i];
    __syncwarp();
    for (unsigned step = KEYS / 2; step > 0; step /= 2) {
        for (unsigned i = (unsigned)lane; i < KEYS / 2; i += 32)
            order(list, i, step, true);
        __syncwarp();
    }
    for (int at = lane; at < kept; at += 32)
        best[at] = list[at];
    const key least = list[kept - 1];
    __syncwarp();
    return least;
}

/* Where a slice keeps the best keys of a query; the fresh ones lie behind them. */
static __device__ __forceinline__ key *best_at(const struct nearest_args &a, int64_t slice, int64_t query)
{
    return (key *)a.keys + (slice * a.n + query) * (2 * KEYS);
}

/* Of query `q` of the block. */
static __device__ __forceinline__ key *fresh_at(const struct nearest_args &a, int q)
{
    return best_at(a, blockIdx.y, (int64_t)blockIdx.x * CUDA_TILE + q) + KEYS;
}

/* Puts the keys of a tile of `rows` rows, from row `first` on, that are above their query's limit. Addresses are made here,
 * not before the loop over tiles, where they would take registers. */
static __device__ __forceinline__ void offer(const struct nearest_args &a, const float (&sum)[WARP_ROWS][WARP_COLUMNS][4],
                                             unsigned first, int rows, const key *limit, int *count)
{
    const int t = not_before((int)threadIdx.x), queries = a.n - (int)blockIdx.x * CUDA_TILE;
    UNROLL for (int i = 0; i < WARP_ROWS; i++)
        UNROLL for (int r = 0; r < 2; r++) {
            const int query = tile_row(t, i, 2 * r);
            if (query >= queries)
                continue;
            const key least = limit[query];
            UNROLL for (int j = 0; j < WARP_COLUMNS; j++)
                UNROLL for (int x = 2 * r; x < 2 * r + 2; x++) {
                    const int column = tile_column(t, j, x);
                    const key k = column < rows ? key_of(sum[i][j][x], first + (unsigned)column) : 0;
                    if (k > least)
                        fresh_at(a, query)[atomicAdd(&count[query], 1)] = k;
                }
        }
}

/* Queries that have no room for another tile's keys (or, at the end, all) have their fresh keys merged, each by a warp. */
static __device__ __forceinline__ void make_room(const struct nearest_args &a, key *lists, key *limit, int *count, bool all)
{
    const int t = not_before((int)threadIdx.x), queries = a.n - (int)blockIdx.x * CUDA_TILE;
    for (int q = t / 32; q < CUDA_TILE && q < queries; q += CUDA_BLOCK / 32) {
        const int fresh = count[q];
        if (!all && fresh <= KEYS - CUDA_TILE)
            continue;
        const key least = merge_fresh(fresh_at(a, q) - KEYS, fresh_at(a, q), fresh, a.kept, lists + t / 32 * KEYS);
        if (t % 32 == 0) {
            limit[q] = least;
            count[q] = 0;
        }
    }
}

/* Grid: queries in sixty-fours, slices. */
WIDE_KERNEL(nearest_slices, nearest)
{
    SHARED(struct quad, room, [ROOM_QUADS]); /* of the factors, and, between tiles, of lists that are sorted */
    SHARED(key, limit, [CUDA_TILE]);
    SHARED(int, count, [CUDA_TILE]);
    struct product_args p = {};
    p.a = a.queries;
    p.b = a.rows;
    p.n = a.n;
    p.ci = a.dim;
    p.h = p.w = p.oh = p.ow = p.kernel = p.stride = 1;
    const int64_t begin = (int64_t)blockIdx.y * a.slice, end = a.count - begin < a.slice ? a.count : begin + a.slice;
    struct part queries = {(int64_t)blockIdx.x * CUDA_TILE, a.n, 0, a.dim, is_wide<left_factor<FORWARD, float>>(p)};
    struct part rows = {begin, end, 0, a.dim, is_wide<right_factor<FORWARD, float>>(p)};
    if (threadIdx.x < CUDA_TILE) {
        limit[threadIdx.x] = 0;
        count[threadIdx.x] = 0;
    }
    for (int q = 0; q < CUDA_TILE && q < a.n - (int)blockIdx.x * CUDA_TILE; q++)
        if (threadIdx.x < (unsigned)a.kept)
            (fresh_at(a, q) - KEYS)[threadIdx.x] = 0;
    for (; rows.row0 < end; rows.row0 += CUDA_TILE) {
        float sum[WARP_ROWS][WARP_COLUMNS][4] = {};
        queries.row0 = (int64_t)not_before((int)blockIdx.x) * CUDA_TILE; /* and so are their addresses */
        sum_tile<FORWARD, float>(sum, room, room + FACTOR_CHUNKS, p, queries, rows); /* its barrier: limits are set */
        const int64_t left = end - rows.row0;
        offer(a, sum, (unsigned)rows.row0, left < CUDA_TILE ? (int)left : CUDA_TILE, limit, count);
        __syncthreads();
        make_room(a, (key *)(void *)room, limit, count, left <= CUDA_TILE);
    }
}

/* Row `row`'s cosine with the block's query. */
static __device__ __forceinline__ double exact_cosine(const struct nearest_args &a, int64_t row)
{
    const float *x = a.queries + (int64_t)blockIdx.x * a.dim, *y = a.rows + row * a.dim;
    const bool wide = a.dim % 4 == 0 && (uintptr_t)a.queries % 16 == 0 && (uintptr_t)a.rows % 16 == 0;
    double sum = 0;
    for (int c = 0; c < a.dim; c += 4) {
        const struct quad u = four_of(x, c, a.dim, wide), v = four_of(y, c, a.dim, wide);
        UNROLL for (int i = 0; i < 4; i++)
            if (c + i < a.dim)
                sum = fma((double)u.v[i], (double)v.v[i], sum); /* the product is exact: a sum like any other */
    }
    return sum;
}

/* A block a query; a thread one of the best keys, which becomes a hit at the place that its cosine gives it. */
KERNEL(nearest_end, nearest)
{
    SHARED(key, list, [KEYS]);
    SHARED(double, cosines, [KEYS]);
    const int t = (int)threadIdx.x;
    const int64_t query = blockIdx.x;
    key mine = t < a.kept ? best_at(a, 0, query)[t] : 0;
    for (int s = 1; s < a.slices; s++) {
        const int tail = KEYS - 1 - t;
        const key other = tail < a.kept ? best_at(a, s, query)[tail] : 0;
        list[t] = mine > other ? mine : other;
        for (unsigned step = KEYS / 2; step > 0; step /= 2) {
            __syncthreads();
            if (t < KEYS / 2)
                order(list, (unsigned)t, step, true);
        }
        __syncthreads();
        mine = list[t];
    }
    const bool is_hit = t < a.kept && mine != 0;
    const double cosine = is_hit ? exact_cosine(a, row_of(mine)) : 0;
    list[t] = is_hit ? mine : 0;
    cosines[t] = cosine;
    if (t < a.k) {
        const struct cuda_hit none = {-INFINITY, 0xffffffffu, 0};
        a.hits[query * a.k + t] = none;
    }
    __syncthreads();
    if (!is_hit)
        return;
    int nearer = 0;
    for (int i = 0; i < a.kept; i++)
        nearer += list[i] != 0 && (cosines[i] > cosine || (cosines[i] == cosine && row_of(list[i]) < row_of(mine)));
    if (nearer < a.k) {
        const struct cuda_hit hit = {cosine, (unsigned)row_of(mine), 0};
        a.hits[query * a.k + nearer] = hit;
    }
}
