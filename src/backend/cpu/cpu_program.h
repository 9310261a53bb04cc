/* SPDX-License-Identifier: MIT
 *
 * cpu_program: a plan of this device: its program, the order and type of its maps, and what ops need to know about
 * values and parameters. What a reader would get wrong: where weights are depends on the pass. A query encoder reads
 * masters (f32) or readers (bf16), a key encoder one block, inference reads folded weights (cpu_weights). */
#ifndef MOCO_CPU_PROGRAM_H
#define MOCO_CPU_PROGRAM_H

#include "backend/cpu/cpu_weights.h"
#include "backend/program/program.h"

struct be_plan {
    struct program program;
    struct be_device *dev;
    enum shim_order order; /* of activations; but: */
    int wide_nhwc;         /* inference: maps that are wide are in NHWC all the same */
    enum shim_type type;
    int warm;                 /* every primitive has run once */
    struct shim_prim map_out; /* INFER that ends in a feature map: to f32 [n][c][h][w]; else empty */
    int map_scratch;
};

extern const struct program_op *const cpu_program_ops[OP_KINDS]; /* cpu_plan.c */

/* From this width on oneDNN's f32 forward convolutions are faster in NHWC with AVX-512 (its brgemm kernels); in maps
 * that are narrower they take up to twice the time of the channel-blocked ones. */
#define CPU_WIDE 5
static inline int cpu_is_wide(const struct graph_value *value)
{
    return value->w >= CPU_WIDE;
}

/* After program_begin. */
void cpu_order_choose(struct be_plan *plan);

enum shim_order cpu_value_order(const struct be_plan *plan, int v);
int cpu_value_bf16(const struct be_plan *plan, int v); /* vectors (behind global pooling) are f32 always */
/* Describes n samples of value `v` to the kernels. */
struct kern_map cpu_value_map(const struct be_plan *plan, int v, int n);

const struct cpu_param *cpu_param_of(const struct be_plan *plan, const struct graph_op *op, int which);
/* Parameters of batch norms and linear layers, and gradients of all; NULL: the op has no such parameter. */
const float *cpu_vector_param(const struct be_plan *plan, const struct be_forward *io, const struct graph_op *op,
                              int which);
const float *cpu_master_of(const struct be_plan *plan, const void *masters, const struct graph_op *op, int which);
float *cpu_gradient_of(const struct be_plan *plan, const struct be_backward *io, const struct graph_op *op, int which);

/* The steps of backward that are of no op (ops/op_steps.c): program_device.plain. */
moco_status cpu_plain(const struct program_backward *run, const struct program_step *step, struct err *err);

#endif
