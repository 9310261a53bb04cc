/* SPDX-License-Identifier: MIT
 *
 * ref_conv: convolution and its two gradients as products of matrices. The patches under the kernel are gathered for
 * a block of output pixels at a time, from whichever images these belong to. A patch is [kh][kw][ci], so that
 * weights are first transposed from the reference's [co][ci][kh][kw]. */
#include "backend/ref/ref_ops.h"

#include <string.h>

enum { PIXELS = 64 }; /* output pixels whose patches are gathered at once */
enum { DEPTH = 64 };  /* rows of b that stay in cache while all rows of c are updated */

static size_t patch_size(const struct ref_conv *v)
{
    return (size_t)v->window.kernel * (size_t)v->window.kernel * (size_t)v->in.c;
}

static size_t output_pixels(const struct ref_conv *v)
{
    return (size_t)v->out.n * (size_t)v->out.h * (size_t)v->out.w;
}

size_t ref_conv_scratch(const struct ref_conv *v)
{
    return patch_size(v) * ((size_t)v->out.c + PIXELS);
}

/* c[i][j] += sum over k of a(i, k) * b[k][j], with a(i, k) = a[i * row + k * column]. */
static void multiply_add(size_t rows, size_t columns, size_t depth, const double *a, size_t row, size_t column,
                         const double *b, double *c)
{
    for (size_t k0 = 0; k0 < depth; k0 += DEPTH) {
        size_t k1 = depth - k0 < DEPTH ? depth : k0 + DEPTH;
        for (size_t i = 0; i < rows; i++) {
            double *restrict out = c + i * columns;
            const double *ai = a + i * row;
            size_t k = k0;
            for (; k + 4 <= k1; k += 4) {
                double a0 = ai[k * column], a1 = ai[(k + 1) * column];
                double a2 = ai[(k + 2) * column], a3 = ai[(k + 3) * column];
                const double *b0 = b + k * columns, *b1 = b0 + columns, *b2 = b1 + columns, *b3 = b2 + columns;
                for (size_t j = 0; j < columns; j++)
                    out[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
            }
            for (; k < k1; k++)
                for (size_t j = 0; j < columns; j++)
                    out[j] += ai[k * column] * b[k * columns + j];
        }
    }
}

/* Where output pixel `p` of the launch looks: its image, and the corner of its window. */
struct corner {
    size_t image;
    int y, x;
};

static struct corner corner_of(const struct ref_conv *v, size_t p)
{
    size_t w = (size_t)v->out.w, h = (size_t)v->out.h;
    return (struct corner){p / (h * w), (int)(p / w % h) * v->window.stride - v->window.pad,
                           (int)(p % w) * v->window.stride - v->window.pad};
}

/* patches[count][kh][kw][ci] of `count` output pixels from `first` on; zero outside the image. */
static void gather(const struct ref_conv *v, const double *x, size_t first, size_t count, double *patches)
{
    int kernel = v->window.kernel, h = v->in.h, w = v->in.w;
    size_t c = (size_t)v->in.c;
    for (size_t p = 0; p < count; p++) {
        struct corner at = corner_of(v, first + p);
        for (int ky = at.y; ky < at.y + kernel; ky++)
            for (int kx = at.x; kx < at.x + kernel; kx++, patches += c) {
                if (ky < 0 || ky >= h || kx < 0 || kx >= w)
                    memset(patches, 0, c * sizeof *patches);
                else
                    memcpy(patches, x + ((at.image * (size_t)h + (size_t)ky) * (size_t)w + (size_t)kx) * c,
                           c * sizeof *patches);
            }
    }
}

/* The reverse: adds patches to the places they came from. */
static void scatter_add(const struct ref_conv *v, const double *patches, size_t first, size_t count, double *x)
{
    int kernel = v->window.kernel, h = v->in.h, w = v->in.w;
    size_t c = (size_t)v->in.c;
    for (size_t p = 0; p < count; p++) {
        struct corner at = corner_of(v, first + p);
        for (int ky = at.y; ky < at.y + kernel; ky++)
            for (int kx = at.x; kx < at.x + kernel; kx++, patches += c) {
                if (ky < 0 || ky >= h || kx < 0 || kx >= w)
                    continue;
                double *to = x + ((at.image * (size_t)h + (size_t)ky) * (size_t)w + (size_t)kx) * c;
                for (size_t i = 0; i < c; i++)
                    to[i] += patches[i];
            }
    }
}

/* A 1 x 1 kernel with stride 1 sees the map as it is. */
static int is_pointwise(const struct ref_conv *v)
{
    return v->window.kernel == 1 && v->window.stride == 1 && v->window.pad == 0;
}

void ref_conv_forward(const struct ref_conv *v, const double *x, const double *weight, double *y, double *scratch)
{
    size_t ci = (size_t)v->in.c, co = (size_t)v->out.c, taps = (size_t)v->window.kernel * (size_t)v->window.kernel;
    size_t patch = patch_size(v), total = output_pixels(v);
    double *turned = scratch, *patches = scratch + patch * co; /* turned: [kh][kw][ci][co] */
    for (size_t o = 0; o < co; o++)
        for (size_t i = 0; i < ci; i++)
            for (size_t t = 0; t < taps; t++)
                turned[(t * ci + i) * co + o] = weight[(o * ci + i) * taps + t];
    memset(y, 0, total * co * sizeof *y);
    for (size_t p = 0; p < total; p += PIXELS) {
        size_t count = total - p < PIXELS ? total - p : PIXELS;
        const double *from = x + p * ci;
        if (!is_pointwise(v)) {
            gather(v, x, p, count, patches);
            from = patches;
        }
        multiply_add(count, co, patch, from, patch, 1, turned, y + p * co);
    }
}

void ref_conv_backward_data(const struct ref_conv *v, const double *weight, const double *dy, double *dx,
                            double *scratch)
{
    size_t ci = (size_t)v->in.c, co = (size_t)v->out.c, taps = (size_t)v->window.kernel * (size_t)v->window.kernel;
    size_t patch = patch_size(v), total = output_pixels(v);
    double *turned = scratch, *patches = scratch + patch * co; /* turned: [co][kh][kw][ci] */
    for (size_t o = 0; o < co; o++)
        for (size_t i = 0; i < ci; i++)
            for (size_t t = 0; t < taps; t++)
                turned[(o * taps + t) * ci + i] = weight[(o * ci + i) * taps + t];
    memset(dx, 0, ref_count(&v->in) * sizeof *dx);
    for (size_t p = 0; p < total; p += PIXELS) {
        size_t count = total - p < PIXELS ? total - p : PIXELS;
        memset(patches, 0, count * patch * sizeof *patches);
        multiply_add(count, patch, co, dy + p * co, co, 1, turned, patches);
        scatter_add(v, patches, p, count, dx);
    }
}

void ref_conv_backward_weight(const struct ref_conv *v, const double *x, const double *dy, double *d_weight,
                              double *scratch)
{
    size_t ci = (size_t)v->in.c, co = (size_t)v->out.c, taps = (size_t)v->window.kernel * (size_t)v->window.kernel;
    size_t patch = patch_size(v), total = output_pixels(v);
    double *turned = scratch, *patches = scratch + patch * co; /* turned: [kh][kw][ci][co] */
    memset(turned, 0, patch * co * sizeof *turned);
    for (size_t p = 0; p < total; p += PIXELS) {
        size_t count = total - p < PIXELS ? total - p : PIXELS;
        const double *from = x + p * ci;
        if (!is_pointwise(v)) {
            gather(v, x, p, count, patches);
            from = patches;
        }
        multiply_add(patch, co, count, from, 1, patch, dy + p * co, turned);
    }
    for (size_t o = 0; o < co; o++)
        for (size_t i = 0; i < ci; i++)
            for (size_t t = 0; t < taps; t++)
                d_weight[(o * ci + i) * taps + t] = turned[(t * ci + i) * co + o];
}
