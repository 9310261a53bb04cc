/* SPDX-License-Identifier: MIT
 *
 * cpu_layout: where every parameter stands in a slab, in the bf16 copies that a plan reads (readers), and in the block
 * of a key encoder. What a reader would get wrong: a slab has no padding inside a parameter: blocked orders are used
 * only where channels are multiples of the block. */
#ifndef MOCO_CPU_LAYOUT_H
#define MOCO_CPU_LAYOUT_H

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/cpu_tiles.h"
#include "backend/cpu/kernels/optimizer.h"

#define CPU_NOWHERE SIZE_MAX

struct cpu_param {
    enum param_kind kind;
    int64_t dims[4]; /* co, ci, kernel, kernel; others: count, 1, 1, 1 */
    int64_t count;
    int block;             /* CONV: of the order below */
    enum shim_order order; /* CONV: of the master */
    size_t offset;         /* floats into a slab */
    size_t key;            /* bytes into a key block; bf16 weights: the forward reader */
    /* bf16, CONV only */
    struct shim_md master, reader[2]; /* reader: what forward, and what backward data, reads */
    struct cpu_tiles tiles[2];        /* of reader */
    struct shim_prim fill[2];         /* master -> reader, where that is not one of tiles */
    size_t reader_at[2];              /* bytes into a reader block */
    size_t scratch;                   /* of fill */
};

struct be_layout {
    struct be_device *dev;
    enum be_precision precision;
    int count;
    struct cpu_param *params;
    struct slab_range *ranges;   /* of a slab, one per parameter */
    size_t floats;               /* of a slab */
    size_t forward_bytes, bytes; /* of a reader block: forward's part, all */
    size_t key_bytes;
    float *rates;         /* of LARS, one per parameter */
    void *scratch;        /* of fill, or a parameter's average on its way into a reader */
    size_t average_bytes; /* of scratch: the average stands first */
};

/* The layout in which masters stand, as oneDNN describes it. */
moco_status cpu_param_master(struct shim_md *out, const struct cpu_param *param, struct err *err);

/* Does the optimizer neither decay nor rescale it? Those of BN, and biases. */
static inline int cpu_param_plain(const struct cpu_param *param)
{
    return param->kind != PARAM_CONV && param->kind != PARAM_LINEAR;
}

/* Chooses and lays out the readers; their part of layout_create and layout_free. */
moco_status cpu_readers_plan(struct be_layout *layout, const struct graph *graph, struct err *err);
void cpu_readers_free(struct be_layout *layout);
/* Copies that are not ones of tiles, from the masters; nothing to do for most networks. */
moco_status cpu_readers_fill(const struct be_layout *layout, int backward, const float *masters, void *out,
                             struct err *err);
/* The same for forward's copies of m * k + (1 - m) * q. */
moco_status cpu_readers_fill_average(const struct be_layout *layout, const float *k, const float *q, double m,
                                     void *out, struct err *err);

/* The shape of a convolution for n samples. A strided 1 x 1 convolution reads every stride-th pixel: with `dense` its
 * shape after those have been gathered. */
struct shim_conv cpu_conv_shape(const struct graph *graph, const struct graph_op *op, int n, int dense);
/* Does the plan gather its input first? */
int cpu_conv_gathers(const struct graph_op *op);

#endif
