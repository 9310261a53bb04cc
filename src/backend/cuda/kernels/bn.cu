/* SPDX-License-Identifier: MIT
 *
 * bn: batch norm over the rows of a group ([rows][c], a row a pixel), with what is added and the ReLU behind it. Sums
 * are taken by blocks of 32 channels, a split of a group's rows each; one thread a channel then adds the splits in order.
 * Where the channels allow it, a thread loads 16 bytes at a time: W channels of a row (4 of f32, 8 of 16 bits), so that
 * 32 / W threads are side by side and 8 W rows are under way; else one channel. What a reader would get wrong: rows are summed after a row of theirs was taken off, the
 * group's first, so that a variance does not cancel where the mean is large. */
#include "backend/cuda/kernels/number.cuh"

enum {
    WARPS = CUDA_BLOCK / 32,
    CHUNK = 32, /* numbers that are added up in f32 */
    FLIGHT = 4  /* rows that a thread loads before it adds them */
};

static_assert(CUDA_BN_CHANNELS == 32, "a warp of threads that load one number each has a row");

/* Which channels, and which rows of its split, are a thread's. */
template <int W> struct share {
    int channel;
    int64_t begin, end;
    __device__ __forceinline__ share(const struct bn_args &a)
    {
        const int across = CUDA_BN_CHANNELS / W;
        channel = (int)blockIdx.x * CUDA_BN_CHANNELS + (int)threadIdx.x % across * W;
        begin = a.rows * blockIdx.y / gridDim.y + (int)threadIdx.x / across;
        end = a.rows * (blockIdx.y + 1) / gridDim.y;
    }
};

enum { ROWS_OF_ONE = CUDA_BLOCK / CUDA_BN_CHANNELS }; /* side by side; times W where a thread has W channels */

/* One for both widths of a kernel. */
struct warp_sums {
    double of[2][WARPS][CUDA_BN_CHANNELS];
};

static __device__ __forceinline__ struct warp_sums &shared_sums()
{
    SHARED(struct warp_sums, all, [1]);
    return all[0];
}

/* Adds the sums of the block's rows, and writes them: within a warp, then warp after warp. */
template <int W>
static __device__ __forceinline__ void write_sums(double *sums, int c, double (&s)[W], double (&q)[W])
{
    struct warp_sums &all = shared_sums();
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    UNROLL for (int j = 0; j < W; j++) {
        UNROLL for (int other = CUDA_BN_CHANNELS / W; other < 32; other *= 2) {
            s[j] += __shfl_xor_sync(0xffffffffu, s[j], other);
            q[j] += __shfl_xor_sync(0xffffffffu, q[j], other);
        }
        if (lane < CUDA_BN_CHANNELS / W) {
            all.of[0][warp][lane * W + j] = s[j];
            all.of[1][warp][lane * W + j] = q[j];
        }
    }
    __syncthreads();
    const int channel = (int)blockIdx.x * CUDA_BN_CHANNELS + lane;
    if (warp != 0 || channel >= c)
        return;
    double sum = all.of[0][0][lane], squares = all.of[1][0][lane];
    for (int i = 1; i < WARPS; i++) {
        sum += all.of[0][i][lane];
        squares += all.of[1][i][lane];
    }
    double *to = sums + ((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * 2 * c;
    to[channel] = sum;
    to[c + channel] = squares;
}

/* W numbers from i on: at a multiple of 16 bytes, or one. */
template <class T, int W> static __device__ __forceinline__ void get_some(float (&out)[W], const void *at, int64_t i)
{
    if constexpr (W == 1)
        out[0] = get<T>(at, i);
    else
        get_many<T>(out, at, i);
}

template <class T, int W> static __device__ __forceinline__ void put_some(void *at, int64_t i, const float (&in)[W])
{
    if constexpr (W == 1)
        put<T>(at, i, in[0]);
    else
        put_many<T>(at, i, in);
}

template <class T, int W> static __device__ __forceinline__ void sums_of(const struct bn_args &a)
{
    const struct share<W> my(a);
    double s[W] = {}, q[W] = {};
    if (my.channel < a.c) {
        const int64_t first = (int64_t)blockIdx.z * a.rows * a.c + my.channel, step = ROWS_OF_ONE * W;
        float base[W];
        get_some<T>(base, a.x, first);
        for (int64_t r = my.begin; r < my.end;) {
            float part[W] = {}, squares[W] = {};
            for (int i = 0; i < CHUNK && r < my.end; i += FLIGHT, r += FLIGHT * step) {
                float x[FLIGHT][W];
                UNROLL for (int f = 0; f < FLIGHT; f++)
                    get_some<T>(x[f], a.x, r + f * step < my.end ? first + (r + f * step) * a.c : first);
                UNROLL for (int f = 0; f < FLIGHT; f++)
                    UNROLL for (int j = 0; j < W; j++) {
                        const float off = r + f * step < my.end ? x[f][j] - base[j] : 0.0f;
                        part[j] += off;
                        squares[j] = fmaf(off, off, squares[j]);
                    }
            }
            UNROLL for (int j = 0; j < W; j++) {
                s[j] += part[j];
                q[j] += squares[j];
            }
        }
    }
    write_sums<W>(a.sums, a.c, s, q);
}

/* Grid: channels, splits, groups. */
STORED_KERNEL(bn_sums, bn)
{
    if (a.c % many<T>::N == 0)
        sums_of<T, many<T>::N>(a);
    else
        sums_of<T, 1>(a);
}

/* A thread a channel. */
STORED_KERNEL(bn_statistics, bn)
{
    int64_t c = first_item();
    if (c >= a.c)
        return;
    if (a.frozen) {
        a.saved[c] = a.stats[c];
        a.saved[a.c + c] = (float)(1 / sqrt(a.stats[a.c + c] + a.eps));
        return;
    }
    double staged_mean = a.stage != nullptr ? a.stage[c] : 0, staged_var = a.stage != nullptr ? a.stage[a.c + c] : 0;
    double m = (double)a.rows;
    for (int64_t g = 0; g < a.groups; g++) {
        double s = 0, q = 0;
        for (int64_t i = 0; i < a.splits; i++) {
            const double *from = a.sums + (g * a.splits + i) * 2 * a.c;
            s += from[c];
            q += from[a.c + c];
        }
        double off = s / m, mean = get<T>(a.x, g * a.rows * a.c + c) + off, squares = q - s * off;
        if (squares < 0) /* by rounding; a NaN stays */
            squares = 0;
        a.saved[g * 2 * a.c + c] = (float)mean;
        a.saved[g * 2 * a.c + a.c + c] = (float)(1 / sqrt(squares / m + a.eps));
        staged_mean += mean;
        staged_var += m > 1 ? squares / (m - 1) : 0;
    }
    if (a.stage != nullptr) {
        a.stage[c] = (float)staged_mean;
        a.stage[a.c + c] = (float)staged_var;
    }
}

/* Of a channel: what bn_apply and bn_back_apply need. Eight of them are loaded at once where they are in one row. */
template <int W> static __device__ __forceinline__ void channels(float (&out)[W], const float *from, int64_t c)
{
    if (W % 4 == 0 && (uintptr_t)(from + c) % 16 == 0) {
        UNROLL for (int m = 0; m + 4 <= W; m += 4) {
            const struct quad in = *(const struct quad *)(const void *)(from + c + m);
            UNROLL for (int j = 0; j < 4; j++)
                out[m + j] = in.v[j];
        }
        return;
    }
    UNROLL for (int j = 0; j < W; j++)
        out[j] = from[c + j];
}

/* Numbers [i, i + W), of one row. The bits of the mask. */
template <class T, int W> static __device__ __forceinline__ unsigned apply(const struct bn_args &a, int64_t i)
{
    const int64_t c = i % a.c;
    float x[W], other[W] = {}, scale[W], shift[W] = {}, mean[W] = {}, invstd[W] = {}, y[W];
    unsigned bits = 0;
    get_some<T>(x, a.x, i);
    if (a.other != nullptr)
        get_some<T>(other, a.other, i);
    channels(scale, a.gamma, c);
    if (a.beta != nullptr)
        channels(shift, a.beta, c);
    if (!a.affine) {
        const float *saved = a.saved + i / (a.rows * a.c) * 2 * a.c;
        channels(mean, saved, c);
        channels(invstd, saved + a.c, c);
    }
    UNROLL for (int j = 0; j < W; j++) {
        y[j] = a.affine ? fmaf(x[j], scale[j], shift[j]) : fmaf((x[j] - mean[j]) * invstd[j], scale[j], shift[j]);
        if (a.other != nullptr)
            y[j] += other[j];
        if (a.relu && y[j] < 0)
            y[j] = 0;
        bits |= (unsigned)!(y[j] <= 0) << j;
    }
    put_some<T>(a.out, i, y);
    return bits;
}

/* A thread eight numbers, whose bits are a byte of the mask. */
STORED_KERNEL(bn_apply, bn)
{
    const int64_t count = a.groups * a.rows * a.c;
    for (int64_t first = first_item() * 8; first < count; first += item_step() * 8) {
        unsigned bits = 0;
        if (a.c % 8 == 0)
            bits = apply<T, 8>(a, first);
        else
            for (int64_t i = first; i < first + 8 && i < count; i++)
                bits |= apply<T, 1>(a, i) << (i - first);
        if (a.mask != nullptr)
            a.mask[first / 8] = (unsigned char)bits;
    }
}

/* The gradient behind the ReLU: in one or two parts, where the ReLU let it through. */
template <class T, int W>
static __device__ __forceinline__ void gradients(float (&d)[W], const struct bn_args &a, int64_t i)
{
    float more[W] = {};
    get_some<T>(d, a.dy, i);
    if (a.more != nullptr)
        get_some<T>(more, a.more, i);
    const unsigned bits = a.mask != nullptr ? a.mask[i / 8] >> i % 8 : ~0u;
    UNROLL for (int j = 0; j < W; j++) {
        if (a.more != nullptr)
            d[j] += more[j];
        if (!(bits >> j & 1))
            d[j] = 0;
    }
}

template <class T, int W> static __device__ __forceinline__ void back_sums_of(const struct bn_args &a)
{
    const struct share<W> my(a);
    double s[W] = {}, q[W] = {};
    if (my.channel < a.c) {
        const int64_t first = (int64_t)blockIdx.z * a.rows * a.c + my.channel, step = ROWS_OF_ONE * W;
        const float *saved = a.saved + (int64_t)blockIdx.z * 2 * a.c;
        float mean[W], invstd[W];
        channels(mean, saved, my.channel);
        channels(invstd, saved + a.c, my.channel);
        for (int64_t r = my.begin; r < my.end;) {
            float part[W] = {}, product[W] = {};
            for (int i = 0; i < CHUNK && r < my.end; i++, r += step) {
                const int64_t at = first + r * a.c;
                float d[W], x[W];
                get_some<T>(x, a.x, at);
                gradients<T>(d, a, at);
                UNROLL for (int j = 0; j < W; j++) {
                    part[j] += d[j];
                    product[j] = fmaf(d[j], (x[j] - mean[j]) * invstd[j], product[j]);
                }
            }
            UNROLL for (int j = 0; j < W; j++) {
                s[j] += part[j];
                q[j] += product[j];
            }
        }
    }
    write_sums<W>(a.sums, a.c, s, q);
}

/* Grid: channels, splits, groups. Sums d and d * xh. */
STORED_KERNEL(bn_back_sums, bn)
{
    if (a.c % many<T>::N == 0)
        back_sums_of<T, many<T>::N>(a);
    else
        back_sums_of<T, 1>(a);
}

/* A thread a channel. */
KERNEL(bn_back_end, bn)
{
    int64_t c = first_item();
    if (c >= a.c)
        return;
    double all = 0, all_xh = 0, m = (double)a.rows;
    for (int64_t g = 0; g < a.groups; g++) {
        double s = 0, q = 0;
        for (int64_t i = 0; i < a.splits; i++) {
            const double *from = a.sums + (g * a.splits + i) * 2 * a.c;
            s += from[c];
            q += from[a.c + c];
        }
        all += s;
        all_xh += q;
        a.means[g * 2 * a.c + c] = a.frozen ? 0 : (float)(s / m); /* given statistics do not depend on x */
        a.means[g * 2 * a.c + a.c + c] = a.frozen ? 0 : (float)(q / m);
    }
    if (a.d_gamma != nullptr)
        a.d_gamma[c] += (float)all_xh;
    if (a.d_beta != nullptr)
        a.d_beta[c] += (float)all;
}

template <class T, int W> static __device__ __forceinline__ void back_apply(const struct bn_args &a, int64_t i)
{
    const int64_t c = i % a.c, g = i / (a.rows * a.c);
    const float *saved = a.saved + g * 2 * a.c, *means = a.means + g * 2 * a.c;
    float x[W], d[W], mean[W], invstd[W], gamma[W], of_d[W], of_product[W], dx[W];
    get_some<T>(x, a.x, i);
    gradients<T>(d, a, i);
    channels(mean, saved, c);
    channels(invstd, saved + a.c, c);
    channels(gamma, a.gamma, c);
    channels(of_d, means, c);
    channels(of_product, means + a.c, c);
    UNROLL for (int j = 0; j < W; j++)
        dx[j] = gamma[j] * invstd[j] * (d[j] - of_d[j] - (x[j] - mean[j]) * invstd[j] * of_product[j]);
    if (a.d != nullptr)
        put_some<T>(a.d, i, d);
    put_some<T>(a.out, i, dx);
}

/* A thread eight numbers. What it writes may lie over what it reads. */
STORED_KERNEL(bn_back_apply, bn)
{
    const int64_t count = a.groups * a.rows * a.c;
    for (int64_t first = first_item() * 8; first < count; first += item_step() * 8)
        if (a.c % 8 == 0)
            back_apply<T, 8>(a, first);
        else
            for (int64_t i = first; i < first + 8 && i < count; i++)
                back_apply<T, 1>(a, i);
}

/* ---- inference ---- */

/* A thread a channel. */
KERNEL(fold_bn, fold)
{
    int64_t c = first_item();
    if (c >= a.c)
        return;
    double scale = a.gamma[c] / sqrt(a.stats[a.c + c] + a.eps);
    double bias = a.beta != nullptr ? a.beta[c] : 0;
    a.gamma[c] = (float)scale;
    a.shift[c] = (float)(bias - a.stats[c] * scale);
}

KERNEL(fold_weights, fold)
{
    for (int64_t i = first_item(); i < a.count; i += item_step())
        a.weight[i] *= a.gamma[i / a.each];
}
