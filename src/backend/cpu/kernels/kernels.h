/* SPDX-License-Identifier: MIT
 *
 * kernels: everything in a plan that oneDNN does not compute: batch norm with add and ReLU, pooling, normalisation,
 * sums over slabs, and the convolutions that are faster here (cpu_conv.c). A feature map is [n][c/b][h][w][b] with a
 * channel block b (b = c is NHWC), in f32 or bf16. Statistics, parameters and vectors ([n][c], after global pooling)
 * are always f32. Each call divides its own work over the team, so that it must be between parallel_enter and
 * parallel_leave; none allocates. What a reader would get wrong: results depend on the number of threads only
 * through the order of sums, and that order is fixed for a given number. */
#ifndef MOCO_CPU_KERNELS_H
#define MOCO_CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "backend/cpu/kernels/parallel.h"

struct simd_table; /* inner loops compiled for one instruction set (kernels of *_simd.c) */

/* Which inner loops, and how many threads. */
struct kern_team {
    const struct simd_table *simd;
    int threads;
};

/* Whole cache lines: where pieces of a block of scratch begin. */
static inline size_t kern_pad64(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* Inner loops for what oneDNN will use: 0 baseline, 1 AVX2, 2 AVX-512, 3 AVX-512 with bf16 (enum shim_isa). */
const struct simd_table *kern_table(int isa);

struct kern_map {
    int n, groups; /* groups: BN groups of n / groups contiguous samples */
    int c, h, w;
    int block;
    int bf16;
};

/* Bits of "ReLU let it through", one per number of a map, in the map's order; a plane [h][w][b] starts at a whole byte
 * (a pixel does, where b is above 2048). */
size_t kern_mask_bytes(const struct kern_map *map);

/* uint8 RGB [*][h][w][3] -> (x / 255 - mean) / std. Sample j is images[index[j]] (index NULL: j). `plain` 1:
 * [n][3][h][w], 0: [n][h][w][3]. */
void kern_input(const struct kern_team *team, const struct kern_map *map, int plain, const uint8_t *images,
                const int32_t *index, const double mean[3], const double std[3], void *out);

/* ---- batch norm ---- */

size_t kern_bn_scratch(const struct kern_team *team, const struct kern_map *map); /* bytes, forward and backward */

/* saved[group][2][c] = mean, 1 / sqrt(biased variance + eps). Adds, per group, mean and unbiased variance to
 * stage_mean[c] and stage_var[c] unless NULL. Must not cancel where the mean is large against the deviation. */
void kern_bn_stats(const struct kern_team *team, const struct kern_map *map, const void *x, double eps, float *saved,
                   float *stage_mean, float *stage_var, void *scratch);

/* y = [relu]((x - mean) * invstd * gamma + beta [+ add]) */
struct kern_bn_forward {
    const void *x;
    const float *saved;        /* [group][2][c], as kern_bn_stats writes it */
    const float *gamma, *beta; /* beta NULL: 0 */
    const void *add;           /* NULL: nothing */
    int relu;
    void *y;       /* may be x */
    uint8_t *mask; /* NULL: not wanted; else relu is 1 */
};
void kern_bn_apply(const struct kern_team *team, const struct kern_map *map, const struct kern_bn_forward *io);

/* d = (dy [+ dy2]) where mask lets through; dz = d; dx = gradient of x. */
struct kern_bn_back {
    const void *x, *dy, *dy2; /* dy2 NULL: nothing is added */
    const uint8_t *mask;      /* NULL: lets everything through */
    const float *saved, *gamma;
    int frozen;              /* 1: `saved` does not depend on x */
    void *dz;                /* NULL: not wanted; may be dy */
    void *dx;                /* may be dy, dy2 or dz */
    float *d_gamma, *d_beta; /* written, or added to if `accumulate`; d_beta NULL: not wanted */
    int accumulate;
    void *scratch;
};
void kern_bn_backward(const struct kern_team *team, const struct kern_map *map, const struct kern_bn_back *io);

/* ---- convolutions ---- */

/* Maps are NHWC in bf16, and [n][c/b][h][w][b] with b the lanes of a vector (16, AVX2: 8) in f32. */
struct kern_conv {
    int n, ci, co, h, w, out_h, out_w, kernel, stride, pad;
    int bf16;
};

/* Has this team's instruction set the loops, and do the channels fit them (multiples of b; in bf16 of 16)? */
int kern_conv_fits(const struct kern_team *team, const struct kern_conv *conv);

/* Weights in f32 [co/b][ci/b][kernel][kernel][b ci][b co], in bf16 [co/16][ci/16][kernel][kernel][8 ci][16 co][2 ci].
 */
void kern_conv_forward(const struct kern_team *team, const struct kern_conv *conv, const void *x, const void *weights,
                       void *y);
/* Weights with blocks the other way round: in f32 [co/b][ci/b][kernel][kernel][b co][b ci], in bf16
 * [ci/16][co/16][kernel][kernel][8 co][16 ci][2 co]. */
void kern_conv_back_data(const struct kern_team *team, const struct kern_conv *conv, const void *dy,
                         const void *weights, void *dx);

size_t kern_conv_weights_scratch(const struct kern_team *team, const struct kern_conv *conv); /* bytes, aligned to 64 */
/* dw = (with `accumulate`, +=) gradient of the weights, f32, [co/b][ci/b][kernel][kernel][b ci][b co]. */
void kern_conv_weights(const struct kern_team *team, const struct kern_conv *conv, const void *x, const void *dy,
                       int accumulate, float *dw, void *scratch);

/* ---- convolutions of inference: kernel 3, stride 1, padding 1, in f32, with bias, sum and ReLU, by Winograd's
 * F(tile x tile, 3 x 3) ---- */

/* Maps are NHWC, or (`blocked`) [n][c/b][h][w][b] with b the lanes of a vector. */
struct kern_winograd {
    int n, ci, co, h, w;
    int blocked;
    int tile; /* 2 or 4: outputs of a tile each way */
};

struct kern_winograd_io {
    const float *x, *weights, *bias;
    float *y;
    int sum, relu; /* y = [relu](conv + bias [+ y]) */
    void *scratch; /* kern_winograd_scratch bytes, at a cache line */
};

/* Has this team's instruction set the loops, and are ci and co whole vectors, co pairs of them? */
int kern_winograd_fits(const struct kern_team *team, const struct kern_winograd *conv);
size_t kern_winograd_scratch(const struct kern_team *team, const struct kern_winograd *conv);
size_t kern_winograd_weights_bytes(const struct kern_winograd *conv);
/* From f32 [co/b][ci/b][3][3][b ci][b co], times scale[co] (NULL: 1). What comes of it is the same for every n, h, w
 * and layout of maps. */
void kern_winograd_weights(const struct kern_team *team, const struct kern_winograd *conv, const float *from,
                           const float *scale, float *to);
/* A sample's bits depend neither on n nor on the number of threads. */
void kern_winograd_forward(const struct kern_team *team, const struct kern_winograd *conv,
                           const struct kern_winograd_io *io);

/* ---- other feature maps and vectors: `count` numbers of one kind ---- */

/* out = [relu](a + b); out may be a or b. */
void kern_add(const struct kern_team *team, size_t count, int bf16, const void *a, const void *b, int relu, void *out);
/* out = 0 where y <= 0, else dy, so that NaN stays: backward of ReLU with its output, or ReLU itself with y = dy = x.
 * In place allowed. */
void kern_relu_back(const struct kern_team *team, size_t count, int bf16, const void *dy, const void *y, void *out);

#define KERN_POOL_WINDOW 256 /* pixels of a pooling window, at most: their places are numbered in a byte */

struct kern_pool {
    int kernel, stride, pad, out_h, out_w;
};

/* index: the winner's place in its window, one byte per output; NULL: not wanted. The first of equals wins. */
void kern_maxpool(const struct kern_team *team, const struct kern_map *in, const struct kern_pool *pool, const void *x,
                  void *y, uint8_t *index);
void kern_maxpool_back(const struct kern_team *team, const struct kern_map *in, const struct kern_pool *pool,
                       const void *dy, const uint8_t *index, void *dx);

void kern_gap(const struct kern_team *team, const struct kern_map *in, const void *x, float *y);
void kern_gap_back(const struct kern_team *team, const struct kern_map *in, const float *dy, void *dx);

/* y[n][c] = [relu](y + bias), bias not NULL; d_bias[c] = (or, with accumulate, +=) sum of dy over n. */
void kern_bias(const struct kern_team *team, int n, int c, const float *bias, int relu, float *y);
void kern_bias_back(const struct kern_team *team, int n, int c, const float *dy, float *d_bias, int accumulate);

/* y = x / max(|x|, 1e-12) per row, and backward. */
void kern_l2norm(const struct kern_team *team, int n, int c, const float *x, float *y);
void kern_l2norm_back(const struct kern_team *team, int n, int c, const float *x, const float *dy, float *dx);

/* ---- slabs ---- */

void kern_add_floats(const struct kern_team *team, size_t count, const float *from, float *to); /* to += from */
/* out = m * k + (1 - m) * q; out may be k. The same bits for the same numbers, however a slab is cut. */
void kern_ema(const struct kern_team *team, size_t count, double m, const float *k, const float *q, float *out);
void kern_zero(const struct kern_team *team, void *at, size_t bytes);

#endif
