/* SPDX-License-Identifier: MIT
 *
 * cpu_param: where every parameter is in a slab, in the bf16 copies that a plan reads (readers), and in the block of
 * a key encoder. What a reader would get wrong: a slab has no padding inside a parameter. Blocked orders are used
 * only if the channels are a multiple of the block. */
#ifndef MOCO_CPU_PARAM_H
#define MOCO_CPU_PARAM_H

#include "backend/cpu/cpu_team.h"
#include "backend/cpu/cpu_tiles.h"
#include "backend/cpu/kernels/optimizer.h"

#define CPU_NOWHERE SIZE_MAX

struct cpu_param {
    enum param_kind kind;
    int64_t dims[4]; /* co, ci, kernel, kernel; others: count, 1, 1, 1 */
    int64_t count;
    int block;             /* CONV: the channel block of `order` */
    enum shim_order order; /* CONV: the order of the master */
    size_t offset;         /* floats into a slab */
    size_t key;            /* bytes into a key block; bf16 weights: the forward reader */
    /* bf16, CONV only */
    struct shim_md master, reader[2]; /* reader: those of forward and of backward data */
    struct cpu_tiles tiles[2];        /* of reader */
    struct shim_prim fill[2];         /* from master to reader, for a reader without tiles */
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
    struct host_rule *rules; /* of the update that runs, one per parameter: LARS has scaled their rates */
    void *scratch;           /* of fill, or a parameter's average on its way into a reader */
    size_t average_bytes;    /* of scratch: the average comes first */
};

/* The layout in which masters are, as oneDNN describes it. */
moco_status cpu_param_master(struct shim_md *out, const struct cpu_param *param, struct err *err);

/* Does the optimizer neither decay nor rescale it? Those of BN, and biases. */
static inline int cpu_param_plain(const struct cpu_param *param)
{
    return param->kind != PARAM_CONV && param->kind != PARAM_LINEAR;
}

#endif
