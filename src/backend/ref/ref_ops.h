/* SPDX-License-Identifier: MIT
 *
 * ref_ops: the arithmetic of every op, forward and backward, as plain functions over arrays of doubles: no plan, no
 * rounding, no memory of their own. Feature maps are [n][h][w][c], vectors [n][c], parameters in the reference's
 * shape. Outputs are overwritten, never added to, and do not overlap inputs unless a comment allows it. What a
 * reader would get wrong: channels come last, so that inner loops run over contiguous channels and a compiler can
 * vectorise them without changing the order of any sum. */
#ifndef MOCO_BACKEND_REF_OPS_H
#define MOCO_BACKEND_REF_OPS_H

#include <stddef.h>
#include <stdint.h>

struct ref_shape {
    int n, c, h, w;
};

static inline size_t ref_count(const struct ref_shape *s)
{
    return (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
}

struct ref_window {
    int kernel, stride, pad;
};

/* x -> y of a convolution or a pooling. A linear layer is a convolution of 1 x 1 maps. */
struct ref_conv {
    struct ref_shape in, out;
    struct ref_window window;
};

size_t ref_conv_scratch(const struct ref_conv *v); /* numbers, for each of the three */
void ref_conv_forward(const struct ref_conv *v, const double *x, const double *weight, double *y, double *scratch);
void ref_conv_backward_data(const struct ref_conv *v, const double *weight, const double *dy, double *dx,
                            double *scratch);
void ref_conv_backward_weight(const struct ref_conv *v, const double *x, const double *dy, double *d_weight,
                              double *scratch);

void ref_bias(const struct ref_shape *s, const double *bias, double *y); /* y += bias */
void ref_bias_backward(const struct ref_shape *s, const double *dy, double *d_bias);

/* saved[group][2][c] = mean, 1 / sqrt(biased variance + eps). stage[2][c] += mean and unbiased variance of every group
 * (NULL: not wanted); of a single number the unbiased variance is taken as 0. */
void ref_bn_stats(const struct ref_shape *s, int groups, const double *x, double eps, double *saved, double *stage);
/* beta NULL: 0. y may be x. */
void ref_bn_apply(const struct ref_shape *s, int groups, const double *x, const double *saved, const double *gamma,
                  const double *beta, double *y);
struct ref_bn_back {
    struct ref_shape shape;
    int groups;
    int frozen; /* 1: `saved` does not depend on x */
    const double *x, *saved, *gamma, *dy;
    double *dx; /* may be dy */
    double *d_gamma, *d_beta;
    double *scratch; /* 2 c numbers */
};
void ref_bn_backward(const struct ref_bn_back *io);
/* y = x * scale + shift per channel; scale NULL: 1. y may be x. */
void ref_affine(const struct ref_shape *s, const double *x, const double *scale, const double *shift, double *y);

/* A number that is not finite passes. y may be x; dx may be dy. */
void ref_relu(size_t count, const double *x, double *y);
void ref_relu_backward(size_t count, const double *y, const double *dy, double *dx);

/* out may be a or b. */
void ref_add(size_t count, const double *a, const double *b, double *out);

/* winner: place in its window, row by row, of the number that won; the first of equals wins. NULL: not wanted. */
void ref_maxpool(const struct ref_conv *v, const double *x, double *y, uint16_t *winner);
void ref_maxpool_backward(const struct ref_conv *v, const uint16_t *winner, const double *dy, double *dx);

void ref_gap(const struct ref_shape *in, const double *x, double *y);
void ref_gap_backward(const struct ref_shape *in, const double *dy, double *dx);

/* y = x / max(|x|, 1e-12) per row. */
void ref_l2norm(int n, int c, const double *x, double *y);
void ref_l2norm_backward(int n, int c, const double *x, const double *dy, double *dx);

/* (u8 / 255 - mean) / std; sample j is images[index[j]] (NULL: j). */
void ref_input(const struct ref_shape *s, const uint8_t *images, const int32_t *index, const double mean[3],
               const double std[3], double *out);
/* [n][c][h][w] f32 -> [n][h][w][c]. */
void ref_input_planes(const struct ref_shape *s, const float *images, double *out);

#endif
