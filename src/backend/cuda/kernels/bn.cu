/* SPDX-License-Identifier: MIT
 *
 * bn: batch norm over the rows of a group ([rows][c], a row a pixel), with what is added and the ReLU behind it. Sums
 * are taken by blocks of 32 channels and 8 rows side by side, a split of a group's rows each; one thread a channel then
 * adds the splits in order. What a reader would get wrong: rows are summed after a row of theirs was taken off, the
 * group's first, so that a variance does not cancel where the mean is large. */
#include "backend/cuda/kernels/number.cuh"

enum { ROWS = CUDA_BLOCK / CUDA_BN_CHANNELS, CHUNK = 32 /* numbers that are added up in f32 */ };

/* Adds the sums of the block's rows, for its first row of threads, and writes them. */
static __device__ __forceinline__ void write_sums(double *sums, int c, double s, double q)
{
    SHARED(double, all_s, [ROWS][CUDA_BN_CHANNELS]);
    SHARED(double, all_q, [ROWS][CUDA_BN_CHANNELS]);
    int lane = (int)threadIdx.x % CUDA_BN_CHANNELS, row = (int)threadIdx.x / CUDA_BN_CHANNELS;
    int channel = (int)blockIdx.x * CUDA_BN_CHANNELS + lane;
    all_s[row][lane] = s;
    all_q[row][lane] = q;
    __syncthreads();
    if (row != 0 || channel >= c)
        return;
    for (int i = 1; i < ROWS; i++) {
        s += all_s[i][lane];
        q += all_q[i][lane];
    }
    double *to = sums + ((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * 2 * c;
    to[channel] = s;
    to[c + channel] = q;
}

/* Grid: channels, splits, groups. */
STORED_KERNEL(bn_sums, bn)
{
    int channel = (int)(blockIdx.x * CUDA_BN_CHANNELS + threadIdx.x % CUDA_BN_CHANNELS);
    int64_t begin = a.rows * blockIdx.y / gridDim.y, end = a.rows * (blockIdx.y + 1) / gridDim.y;
    double s = 0, q = 0;
    if (channel < a.c) {
        const int64_t first = (int64_t)blockIdx.z * a.rows * a.c + channel;
        const float base = get<T>(a.x, first);
        for (int64_t r = begin + threadIdx.x / CUDA_BN_CHANNELS; r < end;) {
            float part = 0, squares = 0;
            for (int i = 0; i < CHUNK && r < end; i++, r += ROWS) {
                float off = get<T>(a.x, first + r * a.c) - base;
                part += off;
                squares = fmaf(off, off, squares);
            }
            s += part;
            q += squares;
        }
    }
    write_sums(a.sums, a.c, s, q);
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

/* A thread eight numbers, whose bits are a byte of the mask. */
STORED_KERNEL(bn_apply, bn)
{
    int64_t count = a.groups * a.rows * a.c, group = a.rows * a.c;
    for (int64_t first = first_item() * 8; first < count; first += item_step() * 8) {
        unsigned bits = 0;
        for (int64_t i = first; i < first + 8 && i < count; i++) {
            int64_t c = i % a.c;
            const float *saved = a.saved + i / group * 2 * a.c;
            const float x = get<T>(a.x, i);
            float y = a.affine ? fmaf(x, a.gamma[c], a.beta[c])
                               : fmaf((x - saved[c]) * saved[a.c + c], a.gamma[c],
                                      a.beta != nullptr ? a.beta[c] : 0.0f);
            if (a.other != nullptr)
                y += get<T>(a.other, i);
            if (a.relu && y < 0)
                y = 0;
            put<T>(a.out, i, y);
            bits |= (unsigned)!(y <= 0) << (i - first);
        }
        if (a.mask != nullptr)
            a.mask[first / 8] = (unsigned char)bits;
    }
}

/* The gradient behind the ReLU: in one or two parts, where the ReLU let it through. */
template <class T> static __device__ __forceinline__ float gradient_at(const struct bn_args &a, int64_t i)
{
    float d = get<T>(a.dy, i);
    if (a.more != nullptr)
        d += get<T>(a.more, i);
    return a.mask != nullptr && !(a.mask[i / 8] >> i % 8 & 1) ? 0 : d;
}

/* Grid: channels, splits, groups. Sums d and d * xh. */
STORED_KERNEL(bn_back_sums, bn)
{
    int channel = (int)(blockIdx.x * CUDA_BN_CHANNELS + threadIdx.x % CUDA_BN_CHANNELS);
    int64_t begin = a.rows * blockIdx.y / gridDim.y, end = a.rows * (blockIdx.y + 1) / gridDim.y;
    double s = 0, q = 0;
    if (channel < a.c) {
        int64_t group = (int64_t)blockIdx.z * a.rows * a.c;
        const float *saved = a.saved + (int64_t)blockIdx.z * 2 * a.c;
        const float mean = saved[channel], invstd = saved[a.c + channel];
        for (int64_t r = begin + threadIdx.x / CUDA_BN_CHANNELS; r < end;) {
            float part = 0, product = 0;
            for (int i = 0; i < CHUNK && r < end; i++, r += ROWS) {
                int64_t at = group + r * a.c + channel;
                float d = gradient_at<T>(a, at);
                part += d;
                product = fmaf(d, (get<T>(a.x, at) - mean) * invstd, product);
            }
            s += part;
            q += product;
        }
    }
    write_sums(a.sums, a.c, s, q);
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

/* What it writes may lie over what it reads. */
STORED_KERNEL(bn_back_apply, bn)
{
    int64_t count = a.groups * a.rows * a.c, group = a.rows * a.c;
    for (int64_t i = first_item(); i < count; i += item_step()) {
        int64_t c = i % a.c, g = i / group;
        const float *saved = a.saved + g * 2 * a.c, *means = a.means + g * 2 * a.c;
        float invstd = saved[a.c + c], xh = (get<T>(a.x, i) - saved[c]) * invstd, d = gradient_at<T>(a, i);
        if (a.d != nullptr)
            put<T>(a.d, i, d);
        put<T>(a.out, i, a.gamma[c] * invstd * (d - means[c] - xh * means[a.c + c]));
    }
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
