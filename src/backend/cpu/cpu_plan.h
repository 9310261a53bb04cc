/* SPDX-License-Identifier: MIT
 *
 * cpu_plan: a compiled graph: nodes (fused ops) in forward order, the steps of backward, and the buffers that both use.
 * Time is counted in steps: node i runs at step i, backward's step j at step node_count + j; a buffer lives from the
 * first step that touches it to the last, and memplan lays it over others. What a reader would get wrong: one buffer
 * may hold several values in turn (an operation in place), so that values and gradients name buffers, never addresses.
 */
#ifndef MOCO_CPU_PLAN_H
#define MOCO_CPU_PLAN_H

#include "backend/cpu/cpu_layout.h"
#include "backend/memplan.h"

#define NONE (-1)

enum node_kind {
    NODE_INPUT,
    NODE_CONV, /* INFER: with the batch norm folded in, and ADD and ReLU behind it */
    NODE_BN,   /* with ADD and ReLU behind it */
    NODE_RELU,
    NODE_ADD, /* with ReLU */
    NODE_MAXPOOL,
    NODE_GAP,
    NODE_LINEAR, /* with ReLU */
    NODE_L2NORM
};

struct node {
    enum node_kind kind;
    const struct graph_op *op; /* the first of the fused ones */
    const struct graph_op *bn; /* INFER: folded into CONV; NULL */
    int in, other, out;        /* values; other: what is added, or NONE */
    int relu;
    /* buffers, NONE where there is none */
    int saved;   /* BN: mean and deviation; INFER: and gamma, beta */
    int mask;    /* BN: what ReLU let through */
    int index;   /* MAXPOOL: winners */
    int dense;   /* CONV: input gathered for a strided 1 x 1 convolution, or brought into the output's order */
    int folded;  /* INFER: CONV, LINEAR: weights */
    int bias;    /* INFER: CONV, LINEAR */
    int scratch; /* of forward */
    struct cpu_conv conv;
    struct shim_prim convert; /* INPUT: f32 images -> out */
    struct shim_prim product; /* LINEAR */
};

enum back_kind {
    BACK_L2NORM,
    BACK_LINEAR_WEIGHTS,
    BACK_LINEAR_DATA,
    BACK_GAP,
    BACK_MAXPOOL,
    BACK_RELU,
    BACK_BN,
    BACK_CONV_WEIGHTS,
    BACK_CONV_DATA,
    BACK_SUM,       /* dx = dy + dy2 */
    BACK_COPY,      /* dx = dy */
    BACK_RECOMPUTE, /* dx = a batch norm's output once more, dy: its input, dy2: what is added */
    BACK_GATHER     /* dx = the pixels of dy, a convolution's input, that its stride meets */
};

struct back {
    enum back_kind kind;
    int node;
    int dy, dy2; /* buffers read; dy NONE: the caller's gradient of the embedding */
    int dz;      /* BN: gradient of what was added */
    int src;     /* CONV_WEIGHTS: buffer of the input */
    int dx;      /* buffer written */
    int value;   /* SUM, COPY, RELU: whose gradient it is */
    int scratch;
    size_t master; /* CONV_WEIGHTS: in scratch, a result to be added to the slab's */
    struct cpu_conv conv;
    struct shim_prim product, added; /* LINEAR: result written; added to what is there */
};

/* Nodes that run for `n` samples at a time, one such slice after the other, before the next segment begins. */
struct segment {
    int first, end, n;
};

enum buffer_class { CLASS_ACTIVATION, CLASS_GRADIENT, CLASS_SCRATCH };

struct be_plan {
    struct be_device *dev;
    struct be_plan_spec spec;
    enum shim_order order; /* of activations; but: */
    int wide_nhwc;         /* inference: maps that are wide stand in NHWC all the same */
    enum shim_type type;
    struct node *nodes;
    int node_count;
    struct back *backs;
    int back_count, back_capacity;
    struct segment *segments; /* one, of all samples, but for inference */
    int segment_count;
    int n, at;          /* samples of the slice that is compiled or run, and the first one's place in the launch */
    int *value_buffer;  /* per value; NONE: no such value in this plan */
    int *value_readers; /* per value: ops of this plan that read it; the output counts as read */
    unsigned char *value_vector; /* per value: behind global pooling, [n][c] in f32 */
    unsigned char *value_depth;  /* per value: 0: kept for backward if that reads it; else how many batch norms are
                                    computed once more to have it again */
    struct memplan_buffer *buffers;
    unsigned char *classes; /* per buffer: enum buffer_class */
    size_t *strides;        /* per buffer: bytes a sample, if it holds a whole launch beside slices; else 0 */
    int buffer_count, buffer_capacity;
    int fold; /* INFER: buffer for one convolution's folded weights on their way into its layout; NONE */
    struct be_plan_bytes bytes;
    char *slab;      /* NULL: not bound */
    int warm;        /* every primitive has run once */
    double *profile; /* NULL, or milliseconds per step, added up: for benchmarks */
};

/* From this width on oneDNN's f32 forward convolutions are faster in NHWC with AVX-512 (its brgemm kernels); in maps
 * that are narrower they take up to twice the time of the channel-blocked ones. */
#define CPU_WIDE 5
static inline int cpu_is_wide(const struct graph_value *value)
{
    return value->w >= CPU_WIDE;
}

/* ---- cpu_nodes.c: which ops become which node ---- */
moco_status cpu_nodes_build(struct be_plan *plan, struct err *err);

/* ---- cpu_slices.c: how many samples at a time ---- */
moco_status cpu_slices_choose(struct be_plan *plan, struct err *err);
/* After compiling: what one segment writes and another reads holds the whole launch, and lives through both. */
void cpu_slices_widen(struct be_plan *plan);

/* ---- cpu_values.c: values and their buffers ---- */
/* Describes value `v` to the kernels. Vectors (behind global pooling) are f32 always. */
struct kern_map cpu_value_map(const struct be_plan *plan, int v);
enum shim_order cpu_value_order(const struct be_plan *plan, int v);
int cpu_value_bf16(const struct be_plan *plan, int v);
size_t cpu_value_count(const struct be_plan *plan, int v);
size_t cpu_value_bytes(const struct be_plan *plan, int v);
moco_status cpu_buffer_new(struct be_plan *plan, int *out, size_t bytes, enum buffer_class class, int step,
                           struct err *err);
void cpu_buffer_use(struct be_plan *plan, int buffer, int step); /* NONE is fine */
static inline void *cpu_buffer(const struct be_plan *plan, int buffer)
{
    return buffer < 0 ? NULL : plan->slab + plan->buffers[buffer].offset + (size_t)plan->at * plan->strides[buffer];
}
static inline void *cpu_value(const struct be_plan *plan, int v)
{
    return v < 0 ? NULL : cpu_buffer(plan, plan->value_buffer[v]);
}

/* ---- cpu_recompute.c: which values are not kept for backward ---- */
void cpu_recompute_choose(struct be_plan *plan);

/* ---- cpu_compile.c, cpu_compile_back.c: primitives and buffers of every step ---- */
moco_status cpu_compile_forward(struct be_plan *plan, struct err *err);
moco_status cpu_compile_backward(struct be_plan *plan, struct err *err);
size_t cpu_gather_bytes(const struct be_plan *plan, const struct node *node); /* what cpu_gather writes */
void cpu_node_free(struct node *node);
void cpu_back_free(struct back *back);

/* ---- running: a convolution's or linear layer's primitives, with the weights given ---- */
moco_status cpu_run_conv(const struct be_plan *plan, const struct node *node, const void *weights, struct err *err);
moco_status cpu_run_linear(const struct be_plan *plan, const struct node *node, const float *weights, struct err *err);
moco_status cpu_run_back(const struct be_plan *plan, const struct back *back, const void *weights, float *gradient,
                         int accumulate, struct err *err);

/* The input of a convolution densely and in the order of its output: every stride-th pixel, if it is a 1 x 1 one. */
void cpu_gather(const struct be_plan *plan, const struct node *node, const void *from, void *to);

/* Weights of a convolution as the plan's precision reads them; anything else of a network in f32. */
const void *cpu_conv_weights(const struct be_plan *plan, const struct node *node, const void *weights, int backward);

/* MOCO_ECANCELED if the flag is up. */
moco_status cpu_poll(be_cancel *cancel, struct err *err);

/* Adds up what a step took, if anybody wants to know: call with the time it began. */
double cpu_clock(const struct be_plan *plan);
void cpu_profile(struct be_plan *plan, int step, double began);

#endif
