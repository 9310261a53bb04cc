/* SPDX-License-Identifier: MIT
 *
 * nce: losses in one pass over the candidates: InfoNCE against a queue or the batch's keys, and NT-Xent. A block takes 128
 * queries through a slice of the candidates, 32 at a time: their similarities, what they add to the softmax, to the ranks
 * and to the gradient (the mean of the candidates, each weighted by its part of the softmax). nce_end puts the slices
 * together. Where candidates have a gradient, nce_keys takes 128 of them through the queries in the same way, whose softmax
 * is known by then. Nothing of the size of queries times candidates is ever stored.
 *
 * What a reader would get wrong: the softmax is not known before the last candidate, so that sums are of exp((s - top) / T)
 * with the largest similarity seen so far, and shrink whenever there is a larger one. The positive is in none of these sums,
 * even where it is a candidate: nce_end adds it. And the similarity with it is computed by the same instructions in the same
 * order as all others, so that equal vectors tie exactly. */
#include "backend/cuda/kernels/loss.cuh"
#include "backend/cuda/kernels/mma.cuh"

enum {
    NCE_TILE = 32,                 /* keys at a time */
    NCE_STEPS = CUDA_NCE_DIM / 8,  /* of a product, along a row */
    NCE_STRIDE = CUDA_NCE_DIM + 4, /* numbers between keys: lanes read 32 different banks, along and across */
    NCE_COLUMNS = NCE_TILE / 8,
    NCE_LOADS = NCE_TILE * CUDA_NCE_DIM / 4 / CUDA_BLOCK
};

static_assert(CUDA_NCE_QUERIES == CUDA_BLOCK / 32 * 16, "a warp has 16 queries");

static __device__ __forceinline__ void load_keys(struct quad (&out)[NCE_LOADS], const struct nce_args &a, int at,
                                                 int end, bool wide)
{
    UNROLL for (int i = 0; i < NCE_LOADS; i++) {
        const int quad = i * CUDA_BLOCK + (int)threadIdx.x, key = at + quad / (CUDA_NCE_DIM / 4);
        out[i] = key < end ? four_of(a.queue + (int64_t)key * a.dim, quad % (CUDA_NCE_DIM / 4) * 4, a.dim, wide)
                           : (struct quad){};
    }
}

static __device__ __forceinline__ void store_keys(struct quad *tile, const struct quad (&in)[NCE_LOADS])
{
    UNROLL for (int i = 0; i < NCE_LOADS; i++) {
        const int quad = i * CUDA_BLOCK + (int)threadIdx.x;
        tile[quad / (CUDA_NCE_DIM / 4) * (NCE_STRIDE / 4) + quad % (CUDA_NCE_DIM / 4)] = in[i];
    }
}

/* A lane's part of 16 queries, as the left factor: [step][4]. */
typedef float nce_queries[NCE_STEPS][4];

static __device__ __forceinline__ void load_queries(nce_queries &q, const struct nce_args &a, int row)
{
    const int t = (int)threadIdx.x % 4;
    UNROLL for (int k = 0; k < NCE_STEPS; k++)
        UNROLL for (int i = 0; i < 4; i++) {
            const int query = row + i % 2 * 8, c = k * 8 + t + i / 2 * 4;
            q[k][i] = query < a.n && c < a.dim ? a.q[(int64_t)query * a.dim + c] : 0.0f;
        }
}

/* s += numbers [8 k, 8 k + 8) of 16 queries times those of 8 keys, of which this lane has x. */
static __device__ __forceinline__ void add_similarity(float (&s)[4], const struct halves<4> &q, const float (&x)[2])
{
    struct halves<2> key;
    split(key, x, true);
    multiply(s, q, key, true);
}

/* The row of `k` that is the positive of a query. */
static __device__ __forceinline__ int own_of(const struct nce_args &a, int query)
{
    const unsigned own = (unsigned)query + (unsigned)a.own;
    return (int)(own < (unsigned)a.rows ? own : own - (unsigned)a.rows);
}

/* Of rows g and g + 8 of a warp, the similarity with their positives: the diagonal of queries times positives. */
static __device__ __forceinline__ void own_similarities(float (&out)[2], const nce_queries &q, const struct nce_args &a,
                                                        int first)
{
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float s[2][4] = {};
    UNROLL for (int k = 0; k < NCE_STEPS; k++) {
        if (k * 8 >= a.dim)
            break;
        struct halves<4> left;
        split(left, q[k], true);
        UNROLL for (int n = 0; n < 2; n++) {
            const int query = first + n * 8 + g, c = k * 8 + t;
            const float *row = a.k + (int64_t)own_of(a, query) * a.dim;
            const float x[2] = {query < a.n && c < a.dim ? row[c] : 0.0f,
                                query < a.n && c + 4 < a.dim ? row[c + 4] : 0.0f};
            add_similarity(s[n], left, x);
        }
    }
    UNROLL for (int r = 0; r < 2; r++)
        out[r] = __shfl_sync(0xffffffffu, g % 2 != 0 ? s[r][2 * r + 1] : s[r][2 * r], lane / 4 * 4 + g / 2);
}

/* Similarities of a warp's queries with the keys of a tile. */
static __device__ __forceinline__ void similarities(float (&s)[NCE_COLUMNS][4], const nce_queries &q, const float *tile,
                                                    int dim)
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    UNROLL for (int k = 0; k < NCE_STEPS; k++) {
        if (k * 8 >= dim)
            break;
        struct halves<4> query;
        const float mine[4] = {not_before(q[k][0]), not_before(q[k][1]), not_before(q[k][2]), not_before(q[k][3])};
        split(query, mine, true);
        UNROLL for (int n = 0; n < NCE_COLUMNS; n++) {
            const float *key = tile + (n * 8 + g) * NCE_STRIDE + k * 8 + t;
            const float x[2] = {key[0], key[4]};
            add_similarity(s[n], query, x);
        }
    }
}

/* Adds weights times keys. Keys 2 t and 2 t + 1 of a lane stand where columns t and t + 4 of the left factor would: a sum
 * has no order. */
static __device__ __forceinline__ void add_keys(float (&sums)[NCE_STEPS][4], const float (&weight)[NCE_COLUMNS][4],
                                                const float *tile, int dim)
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    UNROLL for (int n = 0; n < NCE_COLUMNS; n++) {
        const float mine[4] = {weight[n][0], weight[n][2], weight[n][1], weight[n][3]};
        struct halves<4> part;
        split(part, mine, true);
        UNROLL for (int c = 0; c < NCE_STEPS; c++) {
            if (c * 8 >= dim)
                break;
            const float *key = tile + (n * 8 + 2 * t) * NCE_STRIDE + c * 8 + g;
            const float x[2] = {key[0], key[NCE_STRIDE]};
            add_similarity(sums[c], part, x);
        }
    }
}

/* What a lane knows of a query: rows g and g + 8 of its warp. */
struct nce_query {
    float positive, top, sum, total;
    int larger, equal;
};

/* The sum over the four lanes that share a query. */
template <class T> static __device__ __forceinline__ T lanes_sum(T value)
{
    value += __shfl_xor_sync(0xffffffffu, value, 1);
    return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

/* Does candidate `at` take part in the sums of a query? */
static __device__ __forceinline__ bool takes_part(const struct nce_args &a, int query, int at, int end)
{
    return at < end && !(a.positive != CUDA_APART && at == own_of(a, query)) &&
           !(a.positive == CUDA_NTXENT && at == query);
}

/* Row r of this lane: similarities of candidates [at, end) become weights; what the sums of weights shrink by. */
static __device__ __forceinline__ float take_in(struct nce_query &query, float (&s)[NCE_COLUMNS][4], int r,
                                                const struct nce_args &a, int row, int at, int end, float inverse)
{
    const int t = (int)threadIdx.x % 4;
    float top = query.top;
    UNROLL for (int n = 0; n < NCE_COLUMNS; n++)
        UNROLL for (int c = 0; c < 2; c++) {
            float &x = s[n][2 * r + c];
            if (takes_part(a, row + 8 * r, at + n * 8 + 2 * t + c, end)) {
                query.larger += x > query.positive;
                query.equal += x == query.positive;
                query.total += x;
            } else {
                x = -INFINITY;
            }
            top = fmaxf(top, x);
        }
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    const float shrink = expf((query.top - top) * inverse);
    query.top = top;
    query.sum *= shrink;
    UNROLL for (int n = 0; n < NCE_COLUMNS; n++)
        UNROLL for (int c = 0; c < 2; c++) {
            float &x = s[n][2 * r + c];
            x = expf((x - top) * inverse);
            query.sum += x;
        }
    return shrink;
}

/* The same where the columns are queries, whose softmax is known. */
static __device__ __forceinline__ void weigh(float (&s)[NCE_COLUMNS][4], const struct nce_args &a, int row, int at,
                                             int end, float inverse)
{
    const int t = (int)threadIdx.x % 4;
    UNROLL for (int n = 0; n < NCE_COLUMNS; n++)
        UNROLL for (int c = 0; c < 2; c++) {
            const int query = at + n * 8 + 2 * t + c;
            const struct cuda_softmax softmax = a.softmax[query < end ? query : end - 1];
            UNROLL for (int r = 0; r < 2; r++) {
                float &x = s[n][2 * r + c];
                x = takes_part(a, row + 8 * r, query, end) ? expf((x - softmax.top) * inverse) * softmax.each : 0.0f;
            }
        }
}

static __device__ __forceinline__ void write_sums(const struct nce_args &a, const float (&sums)[NCE_STEPS][4], int row)
{
    const int t = (int)threadIdx.x % 4;
    UNROLL for (int r = 0; r < 2; r++) {
        const int64_t at = (int64_t)blockIdx.y * a.n + row + 8 * r;
        if (row + 8 * r >= a.n)
            continue;
        UNROLL for (int c = 0; c < NCE_STEPS; c++)
            UNROLL for (int j = 0; j < 2; j++)
                if (c * 8 + 2 * t + j < a.dim)
                    a.sums[at * a.dim + c * 8 + 2 * t + j] = sums[c][2 * r + j];
    }
}

static __device__ __forceinline__ void write_found(const struct nce_args &a, const struct nce_query (&query)[2], int row)
{
    UNROLL for (int r = 0; r < 2; r++) {
        const struct cuda_contrast found = {query[r].top, lanes_sum(query[r].sum), lanes_sum(query[r].total),
                                            lanes_sum(query[r].larger), lanes_sum(query[r].equal)};
        if (row + 8 * r >= a.n || threadIdx.x % 4 != 0)
            continue;
        a.found[(int64_t)blockIdx.y * a.n + row + 8 * r] = found;
        if (blockIdx.y == 0)
            a.positives[row + 8 * r] = query[r].positive;
    }
}

/* Grid: queries in hundreds and twenty-eights, slices. `known`: the columns' softmax is. */
template <bool known> static __device__ __forceinline__ void walk(const struct nce_args &a)
{
    SHARED(struct quad, tile, [NCE_TILE * NCE_STRIDE / 4]);
    const float *keys = (const float *)(const void *)tile;
    const int first = (int)blockIdx.x * CUDA_NCE_QUERIES + (int)threadIdx.x / 32 * 16;
    const int row = first + (int)threadIdx.x % 32 / 4;
    const int begin = (int)blockIdx.y * a.slice, end = a.length - begin < a.slice ? a.length : begin + a.slice;
    const bool wide = a.dim % 4 == 0 && (uintptr_t)a.queue % 16 == 0;
    const float inverse = (float)(1 / a.step->temperature);
    nce_queries q;
    float sums[NCE_STEPS][4] = {}, positive[2] = {};
    load_queries(q, a, row);
    if (!known && first < a.n)
        own_similarities(positive, q, a, first);
    struct nce_query query[2] = {{positive[0], positive[0], 0, 0, 0, 0}, {positive[1], positive[1], 0, 0, 0, 0}};
    struct quad next[NCE_LOADS];
    load_keys(next, a, begin, end, wide);
    for (int at = begin; at < end; at += NCE_TILE) {
        __syncthreads();
        store_keys(tile, next);
        __syncthreads();
        load_keys(next, a, at + NCE_TILE, end, wide);
        if (first >= a.n)
            continue;
        float s[NCE_COLUMNS][4] = {};
        similarities(s, q, keys, a.dim);
        if (known)
            weigh(s, a, row, at, end, inverse);
        UNROLL for (int r = 0; !known && r < 2; r++) {
            const float shrink = take_in(query[r], s, r, a, row, at, end, inverse);
            UNROLL for (int c = 0; c < NCE_STEPS; c++) {
                sums[c][2 * r] *= shrink;
                sums[c][2 * r + 1] *= shrink;
            }
        }
        add_keys(sums, s, keys, a.dim);
    }
    if (first >= a.n)
        return;
    if (!known)
        write_found(a, query, row);
    write_sums(a, sums, row);
}

KERNEL(nce_slices, nce)
{
    walk<false>(a);
}

KERNEL(nce_keys, nce)
{
    walk<true>(a);
}

/* A block a query; a thread a slice first, then a number of the gradient. */
WIDE_KERNEL(nce_end, nce)
{
    SHARED(float, weight, [CUDA_BLOCK]);
    const int t = (int)threadIdx.x;
    const int64_t query = blockIdx.x;
    const float positive = a.positives[query], inverse = (float)(1 / a.step->temperature);
    struct cuda_contrast found = {-INFINITY, 0, 0, 0, 0};
    if (t < a.slices)
        found = a.found[t * (int64_t)a.n + query];
    const float top = block_max(found.top > positive ? found.top : positive);
    weight[t] = expf((found.top - top) * inverse);
    const double larger = block_sum(found.larger), equal = block_sum(found.equal), total = block_sum(found.total);
    const float mine = expf((positive - top) * inverse);
    const double sum = spread(block_sum((double)weight[t] * found.sum) + mine);
    const double unit = a.scale * a.step->loss_scale / a.step->temperature;
    const float each = (float)(unit / sum), pull = (float)(unit * (mine / sum - 1));
    const float *own = a.k + (int64_t)own_of(a, (int)query) * a.dim;
    for (int c = t; c < a.dim; c += CUDA_BLOCK) {
        float d = 0;
        for (int s = 0; s < a.slices; s++)
            d = fmaf(weight[s], a.sums[(s * (int64_t)a.n + query) * a.dim + c], d);
        a.d_q[query * a.dim + c] = fmaf(pull, own[c], each * d);
    }
    if (t != 0)
        return;
    write_result(a.results + query * 5, log(sum) - (double)(positive - top) / a.step->temperature, positive, larger, equal,
                 total, (double)a.length - a.positive);
    if (a.softmax != nullptr) {
        const struct cuda_softmax softmax = {top, each, pull, 0};
        a.softmax[query] = softmax;
    }
}

/* A thread a number: the slices of a candidate, and the query whose positive it is. */
KERNEL(nce_keys_end, nce)
{
    const int64_t count = (int64_t)a.n * a.dim;
    for (int64_t i = first_item(); i < count; i += item_step()) {
        const int query = own_of(a, (int)(i / a.dim));
        float d = a.accumulate ? a.d_q[i] : 0.0f;
        for (int s = 0; s < a.slices; s++)
            d += a.sums[s * count + i];
        a.d_q[i] = query < a.length ? fmaf(a.softmax[query].pull, a.k[(int64_t)query * a.dim + i % a.dim], d) : d;
    }
}
