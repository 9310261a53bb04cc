/* SPDX-License-Identifier: MIT
 *
 * ref_ops: every op except convolution; see ref_ops.h. The code is written to be read; sums over pixels have one
 * accumulator per channel. */
#include "backend/ref/ref_ops.h"

#include <math.h>
#include <string.h>

static size_t pixels_of(const struct ref_shape *s)
{
    return (size_t)s->n * (size_t)s->h * (size_t)s->w;
}

void ref_bias(const struct ref_shape *s, const double *bias, double *y)
{
    ref_affine(s, y, NULL, bias, y);
}

void ref_bias_backward(const struct ref_shape *s, const double *dy, double *d_bias)
{
    size_t c = (size_t)s->c, pixels = pixels_of(s);
    memset(d_bias, 0, c * sizeof *d_bias);
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < c; i++)
            d_bias[i] += dy[p * c + i];
}

/* Two passes: the variance must not cancel where the mean is large. */
void ref_bn_stats(const struct ref_shape *s, int groups, const double *x, double eps, double *saved, double *stage)
{
    size_t c = (size_t)s->c, m = pixels_of(s) / (size_t)groups;
    for (int g = 0; g < groups; g++, x += m * c, saved += 2 * c) {
        double *restrict mean = saved, *restrict var = saved + c;
        memset(saved, 0, 2 * c * sizeof *saved);
        for (size_t p = 0; p < m; p++)
            for (size_t i = 0; i < c; i++)
                mean[i] += x[p * c + i];
        for (size_t i = 0; i < c; i++)
            mean[i] /= (double)m;
        for (size_t p = 0; p < m; p++)
            for (size_t i = 0; i < c; i++) {
                double d = x[p * c + i] - mean[i];
                var[i] += d * d;
            }
        for (size_t i = 0; i < c; i++) {
            if (stage != NULL) {
                stage[i] += mean[i];
                stage[c + i] += m > 1 ? var[i] / (double)(m - 1) : 0;
            }
            var[i] = 1 / sqrt(var[i] / (double)m + eps);
        }
    }
}

void ref_bn_apply(const struct ref_shape *s, int groups, const double *x, const double *saved, const double *gamma,
                  const double *beta, double *y)
{
    size_t c = (size_t)s->c, m = pixels_of(s) / (size_t)groups;
    for (int g = 0; g < groups; g++, saved += 2 * c)
        for (size_t p = 0; p < m; p++, x += c, y += c)
            for (size_t i = 0; i < c; i++)
                y[i] = (x[i] - saved[i]) * saved[c + i] * gamma[i] + (beta != NULL ? beta[i] : 0);
}

/* With xh = (x - mean) * invstd: dx = gamma * invstd * (dy - mean(dy) - xh * mean(dy * xh)), means over the group, which with
 * frozen statistics are no part of it. */
void ref_bn_backward(const struct ref_bn_back *io)
{
    size_t c = (size_t)io->shape.c, m = pixels_of(&io->shape) / (size_t)io->groups;
    const double *x = io->x, *saved = io->saved, *gamma = io->gamma, *dy = io->dy;
    double *dx = io->dx, *restrict sum = io->scratch, *restrict sum_xh = io->scratch + c;
    memset(io->d_gamma, 0, c * sizeof *dx);
    memset(io->d_beta, 0, c * sizeof *dx);
    for (int g = 0; g < io->groups; g++, saved += 2 * c, x += m * c, dy += m * c, dx += m * c) {
        const double *mean = saved, *invstd = saved + c;
        memset(io->scratch, 0, 2 * c * sizeof *dx);
        for (size_t p = 0; p < m; p++)
            for (size_t i = 0; i < c; i++) {
                sum[i] += dy[p * c + i];
                sum_xh[i] += dy[p * c + i] * ((x[p * c + i] - mean[i]) * invstd[i]);
            }
        for (size_t i = 0; i < c; i++) {
            io->d_gamma[i] += sum_xh[i];
            io->d_beta[i] += sum[i];
            sum[i] = io->frozen ? 0 : sum[i] / (double)m;
            sum_xh[i] = io->frozen ? 0 : sum_xh[i] / (double)m;
        }
        for (size_t p = 0; p < m; p++)
            for (size_t i = 0; i < c; i++) {
                double xh = (x[p * c + i] - mean[i]) * invstd[i];
                dx[p * c + i] = gamma[i] * invstd[i] * (dy[p * c + i] - sum[i] - xh * sum_xh[i]);
            }
    }
}

void ref_affine(const struct ref_shape *s, const double *x, const double *scale, const double *shift, double *y)
{
    size_t c = (size_t)s->c, pixels = pixels_of(s);
    for (size_t p = 0; p < pixels; p++, x += c, y += c)
        for (size_t i = 0; i < c; i++)
            y[i] = (scale != NULL ? x[i] * scale[i] : x[i]) + shift[i];
}

/* Written so that a NaN is neither clipped nor stopped: the step must see it. */
void ref_relu(size_t count, const double *x, double *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

void ref_relu_backward(size_t count, const double *y, const double *dy, double *dx)
{
    for (size_t i = 0; i < count; i++)
        dx[i] = y[i] <= 0 ? 0 : dy[i];
}

void ref_add(size_t count, const double *a, const double *b, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = a[i] + b[i];
}

/* First row and column of the window of output (oy, ox), and how much of the window lies before the image. */
static int clip(int from, int kernel, int size, int *skip)
{
    *skip = from < 0 ? -from : 0;
    return from + kernel > size ? size - from : kernel;
}

void ref_maxpool(const struct ref_conv *v, const double *x, double *y, uint16_t *winner)
{
    int kernel = v->window.kernel, h = v->in.h, w = v->in.w, oh = v->out.h, ow = v->out.w;
    size_t c = (size_t)v->in.c, pixels = pixels_of(&v->out);
    for (size_t p = 0; p < pixels; p++, y += c) {
        int top = (int)(p / (size_t)ow % (size_t)oh) * v->window.stride - v->window.pad;
        int left = (int)(p % (size_t)ow) * v->window.stride - v->window.pad;
        const double *image = x + p / ((size_t)oh * (size_t)ow) * (size_t)h * (size_t)w * c;
        int ky0, kx0, ky1 = clip(top, kernel, h, &ky0), kx1 = clip(left, kernel, w, &kx0);
        for (size_t i = 0; i < c; i++) {
            double best = -INFINITY;
            int place = ky0 * kernel + kx0;
            for (int ky = ky0; ky < ky1; ky++)
                for (int kx = kx0; kx < kx1; kx++) {
                    double here = image[((size_t)(top + ky) * (size_t)w + (size_t)(left + kx)) * c + i];
                    if (here > best || (isnan(here) && !isnan(best))) {
                        best = here;
                        place = ky * kernel + kx;
                    }
                }
            y[i] = best;
            if (winner != NULL)
                winner[p * c + i] = (uint16_t)place;
        }
    }
}

void ref_maxpool_backward(const struct ref_conv *v, const uint16_t *winner, const double *dy, double *dx)
{
    int kernel = v->window.kernel, h = v->in.h, w = v->in.w, oh = v->out.h, ow = v->out.w;
    size_t c = (size_t)v->in.c, pixels = pixels_of(&v->out);
    memset(dx, 0, ref_count(&v->in) * sizeof *dx);
    for (size_t p = 0; p < pixels; p++, dy += c, winner += c) {
        int top = (int)(p / (size_t)ow % (size_t)oh) * v->window.stride - v->window.pad;
        int left = (int)(p % (size_t)ow) * v->window.stride - v->window.pad;
        double *image = dx + p / ((size_t)oh * (size_t)ow) * (size_t)h * (size_t)w * c;
        for (size_t i = 0; i < c; i++) {
            int ky = top + winner[i] / kernel, kx = left + winner[i] % kernel;
            image[((size_t)ky * (size_t)w + (size_t)kx) * c + i] += dy[i];
        }
    }
}

void ref_gap(const struct ref_shape *in, const double *x, double *y)
{
    size_t c = (size_t)in->c, area = (size_t)in->h * (size_t)in->w;
    memset(y, 0, (size_t)in->n * c * sizeof *y);
    for (int n = 0; n < in->n; n++, y += c) {
        for (size_t p = 0; p < area; p++, x += c)
            for (size_t i = 0; i < c; i++)
                y[i] += x[i];
        for (size_t i = 0; i < c; i++)
            y[i] /= (double)area;
    }
}

void ref_gap_backward(const struct ref_shape *in, const double *dy, double *dx)
{
    size_t c = (size_t)in->c, area = (size_t)in->h * (size_t)in->w;
    for (int n = 0; n < in->n; n++, dy += c)
        for (size_t p = 0; p < area; p++, dx += c)
            for (size_t i = 0; i < c; i++)
                dx[i] = dy[i] / (double)area;
}

#define L2_FLOOR 1e-12

static double norm_of(int c, const double *x)
{
    double sum = 0;
    for (int i = 0; i < c; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* Not fmax: a NaN must stay one. */
void ref_l2norm(int n, int c, const double *x, double *y)
{
    for (int r = 0; r < n; r++, x += c, y += c) {
        double norm = norm_of(c, x), by = norm < L2_FLOOR ? L2_FLOOR : norm;
        for (int i = 0; i < c; i++)
            y[i] = x[i] / by;
    }
}

/* With y = x / |x|: dx = (dy - y (y . dy)) / |x|; below the floor the divisor is a constant. */
void ref_l2norm_backward(int n, int c, const double *x, const double *dy, double *dx)
{
    for (int r = 0; r < n; r++, x += c, dy += c, dx += c) {
        double norm = norm_of(c, x), dot = 0;
        if (norm < L2_FLOOR) {
            for (int i = 0; i < c; i++)
                dx[i] = dy[i] / L2_FLOOR;
            continue;
        }
        for (int i = 0; i < c; i++)
            dot += x[i] / norm * dy[i];
        for (int i = 0; i < c; i++)
            dx[i] = (dy[i] - x[i] / norm * dot) / norm;
    }
}

void ref_input(const struct ref_shape *s, const uint8_t *images, const int32_t *index, const double mean[3],
               const double std[3], double *out)
{
    size_t image = (size_t)s->h * (size_t)s->w * 3;
    for (size_t n = 0; n < (size_t)s->n; n++, out += image) {
        const uint8_t *from = images + (index != NULL ? (size_t)index[n] : n) * image;
        for (size_t i = 0; i < image; i++)
            out[i] = (from[i] / 255.0 - mean[i % 3]) / std[i % 3];
    }
}

void ref_input_planes(const struct ref_shape *s, const float *images, double *out)
{
    size_t area = (size_t)s->h * (size_t)s->w, c = (size_t)s->c;
    for (size_t n = 0; n < (size_t)s->n; n++, images += c * area)
        for (size_t p = 0; p < area; p++)
            for (size_t i = 0; i < c; i++)
                *out++ = images[i * area + p];
}
