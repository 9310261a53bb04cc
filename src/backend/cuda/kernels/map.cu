/* SPDX-License-Identifier: MIT
 *
 * map: images, sums, ReLU, pooling and normalisation. What a reader would get wrong: a number that is not finite passes
 * ReLU and wins a pooling, so that the step sees it; and backward of a pooling gathers, since sums by atomics would
 * come in any order. */
#include "backend/cuda/kernels/number.cuh"

STORED_KERNEL(input, input)
{
    int64_t area = (int64_t)a.h * a.w, pixels = area * a.n, half = a.n / 2;
    for (int64_t i = first_item(); i < pixels; i += item_step()) {
        int64_t sample = i / area, pixel = i % area;
        const uint8_t *images = a.second != nullptr && sample >= half ? a.second : a.images;
        int64_t image = a.index != nullptr ? a.index[sample] : a.second != nullptr ? sample % half : sample;
        UNROLL for (int c = 0; c < 3; c++) {
            float value = a.planes != nullptr
                              ? a.planes[(sample * 3 + c) * area + pixel]
                              : ((float)images[(image * area + pixel) * 3 + c] / 255.0f - a.mean[c]) / a.std[c];
            put<T>(a.out, i * a.channels + c, value);
        }
        for (int c = 3; c < a.channels; c++)
            put<T>(a.out, i * a.channels + c, 0);
    }
}

STORED_KERNEL(map_add, map)
{
    for (int64_t i = first_item(); i < a.count; i += item_step()) {
        float y = get<T>(a.x, i);
        if (a.bias != nullptr)
            y += a.bias[i % a.c];
        if (a.other != nullptr)
            y += get<T>(a.other, i);
        put<T>(a.y, i, a.relu && y < 0 ? 0 : y);
    }
}

/* y += other, of the gradient of a convolution's weights: rows of c numbers, in `other` of w, of which the last are those of
 * channels that only pad a picture. */
STORED_KERNEL(map_gradient, map)
{
    for (int64_t i = first_item(); i < a.count; i += item_step())
        put<float>(a.y, i, get<float>(a.y, i) + get<T>(a.other, i / a.c * a.w + i % a.c));
}

STORED_KERNEL(map_relu_back, map)
{
    for (int64_t i = first_item(); i < a.count; i += item_step())
        put<T>(a.y, i, get<T>(a.x, i) <= 0 ? 0 : get<T>(a.dy, i));
}

/* [n][h][w][c] to [n][c][h][w] of f32. */
STORED_KERNEL(map_out, map)
{
    int64_t area = (int64_t)a.h * a.w;
    for (int64_t i = first_item(); i < a.count; i += item_step()) {
        int64_t plane = i / area, sample = plane / a.c;
        put<float>(a.y, i, get<T>(a.x, (sample * area + i % area) * a.c + plane % a.c));
    }
}

/* `winner`: the place in its window, row by row, of the number that won; the first of equals does. */
STORED_KERNEL(maxpool, map)
{
    for (int64_t i = first_item(); i < a.count; i += item_step()) {
        int c = (int)(i % a.c), ox = (int)(i / a.c % a.ow), oy = (int)(i / a.c / a.ow % a.oh);
        int64_t image = i / a.c / a.ow / a.oh * a.h;
        int place = -1;
        float best = 0;
        for (int ky = 0; ky < a.kernel; ky++)
            for (int kx = 0; kx < a.kernel; kx++) {
                int y = oy * a.stride - a.pad + ky, x = ox * a.stride - a.pad + kx;
                if (y < 0 || y >= a.h || x < 0 || x >= a.w)
                    continue;
                float here = get<T>(a.x, ((image + y) * a.w + x) * a.c + c);
                if (place < 0 || here > best || (isnan(here) && !isnan(best))) {
                    best = here;
                    place = ky * a.kernel + kx;
                }
            }
        put<T>(a.y, i, best);
        if (a.winner != nullptr)
            a.winner[i] = (uint16_t)place;
    }
}

/* A thread a number of the input: the windows that it is in, in order. */
STORED_KERNEL(maxpool_back, map)
{
    for (int64_t i = first_item(); i < a.count; i += item_step()) {
        int c = (int)(i % a.c), x = (int)(i / a.c % a.w), y = (int)(i / a.c / a.w % a.h);
        int64_t image = i / a.c / a.w / a.h * a.oh;
        float sum = 0;
        for (int ky = a.kernel - 1; ky >= 0; ky--)
            for (int kx = a.kernel - 1; kx >= 0; kx--) {
                int top = y + a.pad - ky, left = x + a.pad - kx;
                if (top < 0 || left < 0 || top % a.stride != 0 || left % a.stride != 0)
                    continue;
                int oy = top / a.stride, ox = left / a.stride;
                if (oy >= a.oh || ox >= a.ow)
                    continue;
                int64_t at = ((image + oy) * a.ow + ox) * a.c + c;
                if (a.winner[at] == ky * a.kernel + kx)
                    sum += get<T>(a.dy, at);
            }
        put<T>(a.y, i, sum);
    }
}

/* The mean is a vector, and f32. */
STORED_KERNEL(gap, map)
{
    int64_t area = (int64_t)a.h * a.w;
    for (int64_t i = first_item(); i < (int64_t)a.n * a.c; i += item_step()) {
        const int64_t first = i / a.c * area * a.c + i % a.c;
        double sum = 0;
        for (int64_t p = 0; p < area; p++)
            sum += get<T>(a.x, first + p * a.c);
        put<float>(a.y, i, (float)(sum / (double)area));
    }
}

STORED_KERNEL(gap_back, map)
{
    int64_t area = (int64_t)a.h * a.w;
    for (int64_t i = first_item(); i < a.count; i += item_step())
        put<T>(a.y, i, get<float>(a.dy, i / a.c / area * a.c + i % a.c) / (float)area);
}

/* y = x / max(|x|, 1e-12), a block a row. */
#define L2_FLOOR 1e-12

static __device__ __forceinline__ double row_norm(const float *x, int c)
{
    SHARED(double, norm, [1]);
    double sum = 0;
    for (int i = (int)threadIdx.x; i < c; i += CUDA_BLOCK)
        sum = fma((double)x[i], (double)x[i], sum);
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        norm[0] = sqrt(sum);
    __syncthreads();
    return norm[0];
}

KERNEL(l2norm, map)
{
    const float *x = (const float *)a.x + (int64_t)blockIdx.x * a.c;
    float *y = (float *)a.y + (int64_t)blockIdx.x * a.c;
    double norm = row_norm(x, a.c), by = norm < L2_FLOOR ? L2_FLOOR : norm; /* not fmax: a NaN must stay one */
    for (int i = (int)threadIdx.x; i < a.c; i += CUDA_BLOCK)
        y[i] = (float)(x[i] / by);
}

/* dx = (dy - xh (xh . dy)) / |x|; below the floor the divisor is a constant. */
KERNEL(l2norm_back, map)
{
    SHARED(double, product, [1]);
    const float *x = (const float *)a.x + (int64_t)blockIdx.x * a.c;
    const float *dy = (const float *)a.dy + (int64_t)blockIdx.x * a.c;
    float *dx = (float *)a.y + (int64_t)blockIdx.x * a.c;
    double norm = row_norm(x, a.c), dot = 0;
    for (int i = (int)threadIdx.x; i < a.c; i += CUDA_BLOCK)
        dot = fma(x[i] / norm, (double)dy[i], dot);
    dot = block_sum(dot);
    if (threadIdx.x == 0)
        product[0] = dot;
    __syncthreads();
    dot = product[0];
    for (int i = (int)threadIdx.x; i < a.c; i += CUDA_BLOCK)
        dx[i] = (float)(norm < L2_FLOOR ? dy[i] / L2_FLOOR : (dy[i] - x[i] / norm * dot) / norm);
}

/* The gradient of a bias is added to the slab: y[c] += the sum of column c of dy [n][c]. */
KERNEL(bias_back, map)
{
    for (int64_t c = first_item(); c < a.c; c += item_step()) {
        double sum = 0;
        for (int64_t i = 0; i < a.n; i++)
            sum += get<float>(a.dy, i * a.c + c);
        put<float>(a.y, c, get<float>(a.y, c) + (float)sum);
    }
}
