/* SPDX-License-Identifier: MIT
 *
 * args: what host and kernels share, read by C and by nvcc: the list of kernels, the arguments of each (one struct a
 * kernel), and what lies in device memory. What a reader would get wrong: a struct of arguments is copied when a kernel
 * is queued, so that a number in it is frozen by a recording. What changes from step to step is in the step's block. */
#ifndef MOCO_BACKEND_CUDA_ARGS_H
#define MOCO_BACKEND_CUDA_ARGS_H

#include <stdint.h>

#include "pixel.h"

enum {
    CUDA_BLOCK = 256,        /* threads of a block, but for those below */
    CUDA_SLICE = 1 << 14,    /* numbers of a parameter that one block works on */
    CUDA_TILE = 64,          /* rows and columns of a product that one block computes */
    CUDA_BN_CHANNELS = 32,   /* channels of a block of batch norm */
    CUDA_NCE_DIM = 128,      /* the longest rows of losses in one pass */
    CUDA_NCE_QUERIES = 128,  /* queries of a block there */
    CUDA_NEAREST_KEYS = 256, /* the most neighbours that are looked for, and their spare ones */
    CUDA_VIEW_TILE = 16,     /* rows and columns of a view that a block resizes: a pixel a thread */
    CUDA_VIEW_TAPS = 256,    /* the most taps of a resize: pictures 63 times as large as the view, or 127 (bilinear) */
    CUDA_VIEW_LINES = 3 * PIXEL_SIDE_MAX /* bytes of lines that a block blurs */
};

/* Findings of kernels: numbers of enum be_what, which is in a header for C alone. */
enum { CUDA_LOSS = 2, CUDA_GRADIENT = 3, CUDA_NORM = 4, CUDA_LIMIT = 7, CUDA_VETO = 8 };

/* ---- in device memory ---- */

struct cuda_range {
    int32_t first, count, frozen, unused;
    double rate, weight_decay;
};

/* A step: what the host writes when it begins, and what kernels find out. Its ranges lie behind it. */
struct cuda_step {
    double lr, sgd_momentum, weight_decay, trust, key_momentum, temperature, loss_scale, gradient_limit;
    int64_t step, queue_row;
    int64_t fetched; /* failed steps whose outcome the host had fetched when this one began */
    unsigned long long bad;
    double loss, top1, top5, pos, neg, sum_squares, feature_std;
    int32_t range_count;
    int32_t may; /* decided: it may commit */
    int32_t cancelled, follows, committed;
    int32_t updated, infinite; /* the optimizer ran; it wrote a number that is not finite */
    int32_t unused;
};

/* Of a program, across steps. */
struct cuda_chain {
    int64_t failed; /* steps that ended without a commit */
};

struct cuda_slice {
    int64_t at; /* its first number in the slab */
    int32_t count, param;
};

struct cuda_param {
    int64_t first; /* its first number in the slab */
    int64_t copy;  /* of a convolution's weight: the first number of its copy among the copies; else -1 */
    int64_t rest;  /* else: its first number among what is not copied */
    int32_t first_slice, slices;
    int32_t plain;       /* LARS neither decays nor scales it */
    int32_t row, padded; /* a copy: input channels, and those that a row of them has there */
    int32_t unused;
};

/* How the update treats a parameter in this step. */
struct cuda_rule {
    float rate, decay;
    int32_t frozen, unused;
};

struct cuda_sums { /* of a slice */
    double g, p, pull;
    int64_t bad; /* 1: a number is not finite */
};

struct cuda_measure {
    double sum_squares;
    int64_t bad; /* parameter, or -1 */
};

/* What a query finds in a slice of a queue. */
struct cuda_contrast {
    float top, sum; /* the largest similarity; of exp((similarity - top) / temperature) */
    float total;    /* of similarities */
    int32_t larger, equal;
};

/* A query's softmax, when all candidates are known: candidate c weighs each * exp((similarity - top) / temperature) in the
 * gradient, and the positive `pull`. */
struct cuda_softmax {
    float top, each, pull, unused;
};

/* ---- arguments ---- */

/* NULL: outside of a step. */
struct rows_args {
    struct cuda_step *step;
    float *out;
    const float *rows;
    const int32_t *index;
    int64_t length; /* of the ring */
    int32_t n, dim;
    uint32_t what;
};

struct stats_args {
    struct cuda_step *step;
    float *running;
    const float *stage;
    int64_t count;
    double momentum;
    int32_t groups;
    uint32_t what;
};

struct slab_args {
    struct cuda_step *step;
    float *p, *v, *k;
    const float *g;
    void *copies; /* of convolutions' weights, as plans of 16-bit numbers read them; NULL: not wanted */
    float *out;   /* what else they read */
    const struct cuda_slice *slices;
    const struct cuda_param *params;
    struct cuda_sums *sums;
    struct cuda_rule *rules;
    struct cuda_measure *measure;
    int32_t slice_count, param_count;
    int32_t lars, trial;
    uint32_t what;
};

struct verdict_args {
    struct cuda_step *step;
    struct cuda_chain *chain;
    const volatile int32_t *cancel; /* mapped host memory; NULL: no flag */
    uint32_t veto;
};

/* Images to a feature map of `channels` channels, of which those from the fourth on are 0. Pointers to maps are void:
 * a kernel knows by its name how their numbers are stored (number.cuh). */
struct input_args {
    const uint8_t *images, *second; /* second: of sample n / 2 and up; NULL */
    const float *planes;            /* instead of images: normalised, [n][3][h][w] */
    const int32_t *index;
    void *out;
    float mean[3], std[3];
    int32_t n, h, w, channels;
};

/* A picture of a resident set: RGB, rows without gaps. */
struct cuda_picture {
    int64_t at; /* its first byte */
    int32_t w, h;
};

/* Views [n][size][size][3]. */
struct view_args {
    const uint8_t *pixels;
    const struct cuda_picture *pictures;
    const struct pixel_view *views; /* [n] */
    uint8_t *out;
    int32_t size;
};

/* Feature maps [n][h][w][c] and vectors [n][c]; pooling: [n][oh][ow][c]. */
struct map_args {
    const void *x, *other, *dy;
    const float *bias; /* map_add: [c]; NULL */
    void *y;
    uint16_t *winner;
    int64_t count;
    int32_t n, h, w, c, oh, ow, kernel, stride, pad, relu;
};

struct bn_args {
    const void *x, *other;
    const void *dy, *more; /* the gradient in one or two parts */
    const float *gamma, *beta, *stats;
    void *out;           /* y, or dx */
    void *d;             /* dy + more, where the ReLU let it through: the gradient of what was added; NULL */
    unsigned char *mask; /* a bit a number: 1: the ReLU let it through; NULL */
    double *sums;        /* [group][split][2][c] */
    float *saved;        /* [group][2][c]: mean, 1 / deviation; affine: none, gamma and beta are scale and shift */
    float *means;        /* [group][2][c]: of d, of d * xh */
    float *stage, *d_gamma, *d_beta;
    int64_t rows; /* of a group */
    double eps;
    int32_t c, groups, splits, relu, frozen, affine;
};

/* Inference: weights and biases of batch norm become scale and shift, in folded weights. */
struct fold_args {
    float *weight, *gamma, *beta, *shift;
    const float *stats;
    int64_t count; /* of the weight */
    double eps;
    int32_t c, each;
};

/* out = A B, of convolutions and, with 1 x 1 maps, of matrices:
 *   forward  a: x [n][h][w][ci]     b: w [co][kernel][kernel][ci]   out: y [n][oh][ow][co]
 *   data     a: dy [n][oh][ow][co]  b: w                            out: dx [n][h][w][ci]
 *   weights  a: dy                  b: x                            out: dw */
struct product_args {
    const void *a, *b; /* f32, or 16 bits; so is `out` of forward and data, and `other`; that of weights is f32 */
    const float *bias; /* a column's; NULL */
    const void *other; /* of the output's shape; NULL */
    void *out;
    float *parts; /* splits > 1: [split][rows][columns] */
    int32_t n, h, w, ci, oh, ow, co, kernel, stride, pad;
    int32_t relu, accumulate, splits;
    int32_t tf32; /* of f32: 1: factors are read in TF32; 0: products are as good as f32's */
};

/* Rows [first, first + rows) of queries against `count` candidates. */
struct loss_args {
    struct cuda_step *step;
    const float *q, *k;
    float *s;                /* [rows][count] similarities, which become weights of the gradient */
    float *positives, *pull; /* [n] similarity with a positive that is no candidate, its weight; NULL */
    double *results;         /* [n][5] */
    float *d_q;
    int64_t count;
    double scale;
    int32_t n, rows, first, dim, own; /* own: the candidate that is the positive of query 0 */
    int32_t ntxent;
};

/* What the positive is to the candidates. */
enum { CUDA_APART, CUDA_AMONG, CUDA_NTXENT }; /* none of them; one of them; and so is the query itself */

/* Queries against candidates, in slices of them. nce_keys and nce_keys_end: candidates against queries, so that a "query"
 * is a candidate and the other way round. */
struct nce_args {
    struct cuda_step *step;
    const float *q, *k, *queue;   /* k: the positive of query i is row (i + own) % rows */
    float *positives;             /* [n] similarity with it */
    struct cuda_contrast *found;  /* [slice][n] */
    struct cuda_softmax *softmax; /* [n], nce_keys: [length]; NULL: not wanted */
    float *sums;                  /* [slice][n][dim] of weight * candidate, weights as in `found` */
    double *results;              /* [n][5] */
    float *d_q;
    double scale;
    int32_t n, dim, length, slices, slice; /* slice: candidates of one */
    int32_t own, rows, positive;           /* positive: CUDA_APART, ... */
    int32_t accumulate;                    /* nce_keys_end: d_q is added to */
};

/* What the nearest of rows are told as: struct be_hit, which is in a header for C alone. */
struct cuda_hit {
    double cosine;
    uint32_t row, mark;
};

/* Rows [count][dim] against queries [n][dim], in slices of rows. */
struct nearest_args {
    const float *rows, *queries;
    void *keys;            /* u64 [slice][n][2][CUDA_NEAREST_KEYS]: the best, and those that are not sorted in yet */
    struct cuda_hit *hits; /* [n][k] */
    int64_t count, slice;  /* slice: rows of one */
    int32_t n, dim, slices;
    int32_t k, kept; /* kept: k and the spare ones, or all rows */
};

/* A kernel over maps: of f32, bf16 and fp16, in this order. */
#define CUDA_STORED(K, name, args) K(name, args) K(name##_bf16, args) K(name##_f16, args)

#define CUDA_KERNELS(K)                                                                                                \
    K(gather, rows)                                                                                                    \
    K(scatter, rows)                                                                                                   \
    K(push, rows)                                                                                                      \
    K(check_rows, rows)                                                                                                \
    K(row_std, rows)                                                                                                   \
    K(check_stats, stats)                                                                                              \
    K(stats_commit, stats)                                                                                             \
    K(slab_sums, slab)                                                                                                 \
    K(slab_end, slab)                                                                                                  \
    K(slab_rules, slab)                                                                                                \
    CUDA_STORED(K, slab_update, slab)                                                                                  \
    CUDA_STORED(K, slab_readers, slab)                                                                                 \
    K(decide, verdict)                                                                                                 \
    K(step_end, verdict)                                                                                               \
    CUDA_STORED(K, input, input)                                                                                       \
    CUDA_STORED(K, map_add, map)                                                                                       \
    CUDA_STORED(K, map_gradient, map)                                                                                  \
    CUDA_STORED(K, map_relu_back, map)                                                                                 \
    CUDA_STORED(K, map_out, map)                                                                                       \
    CUDA_STORED(K, maxpool, map)                                                                                       \
    CUDA_STORED(K, maxpool_back, map)                                                                                  \
    CUDA_STORED(K, gap, map)                                                                                           \
    CUDA_STORED(K, gap_back, map)                                                                                      \
    K(l2norm, map)                                                                                                     \
    K(l2norm_back, map)                                                                                                \
    K(bias_back, map)                                                                                                  \
    CUDA_STORED(K, bn_sums, bn)                                                                                        \
    CUDA_STORED(K, bn_statistics, bn)                                                                                  \
    CUDA_STORED(K, bn_apply, bn)                                                                                       \
    CUDA_STORED(K, bn_back_sums, bn)                                                                                   \
    K(bn_back_end, bn)                                                                                                 \
    CUDA_STORED(K, bn_back_apply, bn)                                                                                  \
    K(fold_bn, fold)                                                                                                   \
    K(fold_weights, fold)                                                                                              \
    CUDA_STORED(K, product_forward, product)                                                                           \
    CUDA_STORED(K, product_data, product)                                                                              \
    CUDA_STORED(K, product_weights, product)                                                                           \
    K(product_end, product)                                                                                            \
    K(loss_positives, loss)                                                                                            \
    K(loss_softmax, loss)                                                                                              \
    K(loss_pull, loss)                                                                                                 \
    K(loss_end, loss)                                                                                                  \
    K(nce_slices, nce)                                                                                                 \
    K(nce_end, nce)                                                                                                    \
    K(nce_keys, nce)                                                                                                   \
    K(nce_keys_end, nce)                                                                                               \
    K(nearest_slices, nearest)                                                                                         \
    K(nearest_end, nearest)                                                                                            \
    K(view_resize, view)                                                                                               \
    K(view_colour, view)                                                                                               \
    K(view_blur_rows, view)                                                                                            \
    K(view_blur_columns, view)

#define CUDA_NUMBER(name, args) CUDA_##name,
enum cuda_kernel { CUDA_KERNELS(CUDA_NUMBER) CUDA_KERNEL_COUNT };
#undef CUDA_NUMBER

#endif
