/* SPDX-License-Identifier: MIT
 *
 * graph: a network as a list of typed, named ops in execution order, with shapes per sample. There is no arithmetic
 * here. The batch dimension is not part of a graph: a backend compiles it for a launch of n samples. What a reader
 * would get wrong: indices of parameters and statistics do not depend on the image size, so that two graphs of one
 * network at two sizes share parameters. Builder calls return a value number >= 0, or -1 after the first failure,
 * which graph_freeze reports. */
#ifndef MOCO_GRAPH_H
#define MOCO_GRAPH_H

#include <stdint.h>

#include "ctx.h"
#include "err.h"

/* Every op by its number and the name that devices give it (cpu_op_conv); in the order of the numbers. */
#define GRAPH_OPS(OP)                                                                                                  \
    OP(OP_INPUT, input)                                                                                                \
    OP(OP_CONV, conv)                                                                                                  \
    OP(OP_BN, bn)                                                                                                      \
    OP(OP_RELU, relu)                                                                                                  \
    OP(OP_ADD, add)                                                                                                    \
    OP(OP_MAXPOOL, maxpool)                                                                                            \
    OP(OP_GAP, gap)                                                                                                    \
    OP(OP_LINEAR, linear)                                                                                              \
    OP(OP_L2NORM, l2norm)

enum op_kind {
    OP_INPUT, /* uint8 RGB [h][w][3] -> (x / 255 - mean) / std, 3 channels */
    OP_CONV,  /* square kernel, no bias */
    OP_BN,    /* batch norm over (group, h, w), with or without bias */
    OP_RELU,
    OP_ADD,
    OP_MAXPOOL, /* padding never wins */
    OP_GAP,     /* global average pool: c x h x w -> c x 1 x 1 */
    OP_LINEAR,  /* with or without bias, on c x 1 x 1 */
    OP_L2NORM,  /* x / max(|x|, 1e-12), on c x 1 x 1 */
    OP_KINDS
};

enum param_kind { PARAM_CONV, PARAM_LINEAR, PARAM_BIAS, PARAM_BN_WEIGHT, PARAM_BN_BIAS };

struct graph_value {
    int c, h, w;
    int producer; /* op number */
    int readers;  /* ops that read it, counted by freeze */
};

struct graph_op {
    enum op_kind kind;
    int in[2]; /* values; -1: unused */
    int out;
    int param[2]; /* CONV: weight; LINEAR, BN: weight, bias; -1: there is none */
    int stat;     /* BN: statistic number; -1 */
    int kernel, stride, pad;
    double eps, momentum; /* BN: 1e-5, 0.1 */
    char name[48];        /* "layer1.0.conv2"; ops without a name of their own: kind and number, "relu17" */
};

struct graph_param {
    enum param_kind kind;
    int ndim;
    int64_t shape[4]; /* the reference's: [co,ci,kh,kw], [out,in], [c] */
    int64_t count;
    int zero;      /* BN weight that starts at 0 instead of 1 */
    char name[64]; /* "layer1.0.conv2.weight" */
};

struct graph_stat {
    int channels;
    int64_t offset; /* into a statistics array: mean[channels] at offset, var[channels] at offset + channels */
    double momentum;
    char name[48]; /* "layer1.0.bn2": buffers are name + ".running_mean", ".running_var", ".num_batches_tracked" */
};

/* The reference's state-dict order: parameters and BN buffers interleaved as modules are defined. */
enum state_kind { STATE_PARAM, STATE_MEAN, STATE_VAR, STATE_TRACKED };
struct graph_state {
    enum state_kind kind;
    int index; /* of param or stat */
};

struct graph {
    struct ctx *ctx;
    struct graph_op *ops;
    struct graph_value *values;
    struct graph_param *params;
    struct graph_stat *stats;
    struct graph_state *states;
    int op_count, value_count, param_count, stat_count, state_count;
    int64_t param_total; /* numbers */
    int64_t stat_total;  /* numbers: 2 x channels over all BN */
    double mean[3], std[3];
    int input, features, projection, embedding; /* values; embedding = L2NORM(projection) */
    int layers[4];                              /* values that the stages of a ResNet end in; -1: there is none */
    int frozen;
    struct err failed;
};

moco_status graph_create(struct graph **out, struct ctx *ctx, struct err *err);
void graph_free(struct graph *graph);

int graph_input(struct graph *g, int h, int w, const double mean[3], const double std[3]);
int graph_conv(struct graph *g, int in, const char *name, int channels, int kernel, int stride, int pad);
int graph_bn(struct graph *g, int in, const char *name);
int graph_relu(struct graph *g, int in);
int graph_add(struct graph *g, int a, int b);
int graph_maxpool(struct graph *g, int in, int kernel, int stride, int pad);
int graph_gap(struct graph *g, int in);
int graph_linear(struct graph *g, int in, const char *name, int out);
enum { GRAPH_NO_BIAS = 1, GRAPH_ZERO_WEIGHT = 2 /* of a BN, at the start */ };
int graph_bn_with(struct graph *g, int in, const char *name, int flags);
int graph_linear_with(struct graph *g, int in, const char *name, int out, int flags);
int graph_l2norm(struct graph *g, int in);

/* Checks everything (each value produced before it is read, outputs set, shapes positive) and counts readers. */
moco_status graph_freeze(struct graph *g, int features, int projection, int embedding, struct err *err);

const char *graph_kind_name(enum op_kind kind); /* "conv" */

/* Full name of state `i` ("bn1.running_mean") into text. */
void graph_state_name(const struct graph *g, int i, char *text, size_t size);

/* 2 x multiply-adds of one forward of one sample over convolutions and linear layers. */
double graph_flops(const struct graph *g);

#endif
