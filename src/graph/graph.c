/* SPDX-License-Identifier: MIT
 *
 * graph: building one. Every builder call checks its arguments and infers the shape of its result. What a reader
 * would get wrong: parameters, statistics and states are numbered in the order of the calls, which must therefore be
 * the order in which the reference defines its modules. */
#include "graph/graph.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Far above any network here, low enough that no product of a shape leaves int64_t. */
#define SIDE_MAX 16384
#define CHANNELS_MAX (1 << 20)
#define KERNEL_MAX 63
#define NUMBERS_MAX (INT64_C(1) << 40)

moco_status graph_create(struct graph **out, struct ctx *ctx, struct err *err)
{
    *out = NULL;
    struct graph *g = mem_zalloc(ctx, sizeof *g, err);
    if (g == NULL)
        return MOCO_ENOMEM;
    g->ctx = ctx_ref(ctx);
    g->input = g->features = g->projection = g->embedding = -1;
    for (int i = 0; i < 4; i++)
        g->layers[i] = -1;
    *out = g;
    return MOCO_OK;
}

void graph_free(struct graph *graph)
{
    if (graph == NULL)
        return;
    struct ctx *ctx = graph->ctx;
    mem_free(ctx, graph->ops);
    mem_free(ctx, graph->values);
    mem_free(ctx, graph->params);
    mem_free(ctx, graph->stats);
    mem_free(ctx, graph->states);
    mem_free(ctx, graph);
    ctx_unref(ctx);
}

/* Room for one more element in an array that doubles. */
static moco_status reserve(struct graph *g, void **array, int count, size_t size)
{
    size_t need = ((size_t)count + 1) * size;
    if (*array != NULL && mem_size(*array) >= need)
        return MOCO_OK;
    void *grown = mem_grow(g->ctx, *array, count < 16 ? 32 * size : 2 * (size_t)count * size, &g->failed);
    if (grown == NULL)
        return MOCO_ENOMEM;
    *array = grown;
    return MOCO_OK;
}

/* An array member and its new last element; the macro keeps the void ** legal. */
#define APPEND(status, g, array, count, element)                                                                       \
    do {                                                                                                               \
        void *append_ = (g)->array;                                                                                    \
        (status) = reserve((g), &append_, (g)->count, sizeof *(g)->array);                                             \
        (g)->array = append_;                                                                                          \
        if ((status) == MOCO_OK)                                                                                       \
            (g)->array[(g)->count++] = (element);                                                                      \
    } while (0)

/* ---- pieces of an op ---- */

/* Starts an op and checks its name, its place and its inputs. Failures stay in g->failed, so that builders need not
 * check every call. */
static moco_status op_begin(struct graph *g, struct graph_op *op, enum op_kind kind, const char *name, int a, int b)
{
    TRY(g->failed.status);
    *op = (struct graph_op){.kind = kind, .in = {a, b}, .out = g->value_count, .param = {-1, -1}, .stat = -1};
    if (name == NULL) {
        snprintf(op->name, sizeof op->name, "%s%d", graph_kind_name(kind), g->op_count);
    } else {
        size_t length = strlen(name);
        if (length == 0 || length >= sizeof op->name)
            return err_set(&g->failed, MOCO_EINVAL, "graph: op %d (%s) has a name of %zu bytes; it must be 1 to %zu",
                           g->op_count, graph_kind_name(kind), length, sizeof op->name - 1);
        memcpy(op->name, name, length + 1);
    }
    if (g->frozen)
        return err_set(&g->failed, MOCO_ESTATE, "graph: %s is added after the graph was frozen", op->name);
    if (kind == OP_INPUT ? g->op_count > 0 : g->op_count == 0)
        return err_set(&g->failed, MOCO_ESTATE, "graph: %s is op %d; the input is the first op, and only the first",
                       op->name, g->op_count);
    for (int i = 0; i < 2; i++) {
        int wanted = kind == OP_INPUT ? 0 : kind == OP_ADD ? 2 : 1;
        if (i < wanted && (op->in[i] < 0 || op->in[i] >= g->value_count))
            return err_set(&g->failed, MOCO_EINVAL, "graph: %s reads value %d; there are %d values so far", op->name,
                           op->in[i], g->value_count);
    }
    return MOCO_OK;
}

/* Appends op and value. Returns the value's number or -1. */
static int op_end(struct graph *g, const struct graph_op *op, int c, int h, int w)
{
    moco_status status;
    const struct graph_value value = {.c = c, .h = h, .w = w, .producer = g->op_count};
    APPEND(status, g, values, value_count, value);
    if (status == MOCO_OK)
        APPEND(status, g, ops, op_count, *op);
    return status == MOCO_OK ? op->out : -1;
}

/* Adds a parameter, which is also a state: the order of states is that of files. */
static moco_status add_param(struct graph *g, int *index, enum param_kind kind, const char *op_name, const char *suffix,
                             int ndim, const int64_t shape[4])
{
    struct graph_param param = {.kind = kind, .ndim = ndim, .count = 1};
    for (int i = 0; i < ndim; i++) {
        param.shape[i] = shape[i];
        param.count *= shape[i];
    }
    snprintf(param.name, sizeof param.name, "%s.%s", op_name, suffix);
    if (param.count > NUMBERS_MAX - g->param_total)
        return err_set(&g->failed, MOCO_EINVAL, "graph: with %s the network has more than 2^40 parameters", param.name);
    for (int i = 0; i < g->param_count; i++)
        if (strcmp(g->params[i].name, param.name) == 0)
            return err_set(&g->failed, MOCO_EINVAL, "graph: two parameters are named %s", param.name);
    moco_status status;
    *index = g->param_count;
    const struct graph_state state = {STATE_PARAM, g->param_count};
    APPEND(status, g, params, param_count, param);
    TRY(status);
    APPEND(status, g, states, state_count, state);
    TRY(status);
    g->param_total += param.count;
    return MOCO_OK;
}

static moco_status add_stat(struct graph *g, struct graph_op *op, int channels)
{
    struct graph_stat stat = {.channels = channels, .offset = g->stat_total, .momentum = op->momentum};
    memcpy(stat.name, op->name, sizeof stat.name);
    op->stat = g->stat_count;
    moco_status status;
    APPEND(status, g, stats, stat_count, stat);
    TRY(status);
    for (int kind = STATE_MEAN; kind <= STATE_TRACKED; kind++) {
        const struct graph_state state = {(enum state_kind)kind, op->stat};
        APPEND(status, g, states, state_count, state);
        TRY(status);
    }
    g->stat_total += 2 * (int64_t)channels;
    return MOCO_OK;
}

static moco_status check_channels(struct graph *g, const char *name, int channels)
{
    if (channels < 1 || channels > CHANNELS_MAX)
        return err_set(&g->failed, MOCO_EINVAL, "graph: %s has %d output channels; it must be 1 to %d", name, channels,
                       CHANNELS_MAX);
    return MOCO_OK;
}

/* Shape of a sliding window over value `in`. */
static moco_status slide(struct graph *g, struct graph_op *op, int kernel, int stride, int pad, int *h, int *w)
{
    const struct graph_value *in = &g->values[op->in[0]];
    if (kernel < 1 || kernel > KERNEL_MAX || stride < 1 || stride > KERNEL_MAX || pad < 0 || pad >= kernel)
        return err_set(
            &g->failed, MOCO_EINVAL,
            "graph: %s has kernel %d, stride %d, padding %d; kernel and stride must be 1 to %d, padding 0 to "
            "less than the kernel",
            op->name, kernel, stride, pad, KERNEL_MAX);
    if (in->h + 2 * pad < kernel || in->w + 2 * pad < kernel)
        return err_set(&g->failed, MOCO_ESHAPE, "graph: %s has kernel %d, which does not fit its %d x %d input",
                       op->name, kernel, in->h, in->w);
    op->kernel = kernel;
    op->stride = stride;
    op->pad = pad;
    *h = (in->h + 2 * pad - kernel) / stride + 1;
    *w = (in->w + 2 * pad - kernel) / stride + 1;
    return MOCO_OK;
}

static moco_status check_vector(struct graph *g, const struct graph_op *op)
{
    const struct graph_value *in = &g->values[op->in[0]];
    if (in->h != 1 || in->w != 1)
        return err_set(&g->failed, MOCO_ESHAPE, "graph: %s reads a %d x %d x %d map; it needs a vector (c x 1 x 1)",
                       op->name, in->c, in->h, in->w);
    return MOCO_OK;
}

/* ---- ops ---- */

/* Would a ReLU get numbers that it makes 0 of? */
static int normalises(double mean, double std)
{
    return fabs(mean / std) <= FLT_MAX && fabs((1 - mean) / std) <= FLT_MAX;
}

int graph_input(struct graph *g, int h, int w, const double mean[3], const double std[3])
{
    struct graph_op op;
    if (op_begin(g, &op, OP_INPUT, "input", -1, -1) != MOCO_OK)
        return -1;
    if (h < 1 || h > SIDE_MAX || w < 1 || w > SIDE_MAX) {
        err_set(&g->failed, MOCO_EINVAL, "graph: the input is %d x %d; each side must be 1 to %d", h, w, SIDE_MAX);
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        if (!isfinite(mean[i]) || !isfinite(std[i]) || std[i] <= 0) {
            err_set(&g->failed, MOCO_EINVAL,
                    "graph: mean and std of input channel %d are not finite, or std is not above 0", i);
            return -1;
        }
        if (!normalises(mean[i], std[i])) {
            err_set(&g->failed, MOCO_EINVAL,
                    "graph: with this mean and std the values 0 to 1 of input channel %d are not finite in f32", i);
            return -1;
        }
        g->mean[i] = mean[i];
        g->std[i] = std[i];
    }
    g->input = op_end(g, &op, 3, h, w);
    return g->input;
}

int graph_conv(struct graph *g, int in, const char *name, int channels, int kernel, int stride, int pad)
{
    struct graph_op op;
    int h, w;
    if (op_begin(g, &op, OP_CONV, name, in, -1) != MOCO_OK || check_channels(g, op.name, channels) != MOCO_OK ||
        slide(g, &op, kernel, stride, pad, &h, &w) != MOCO_OK)
        return -1;
    const int64_t shape[4] = {channels, g->values[in].c, kernel, kernel};
    if (add_param(g, &op.param[0], PARAM_CONV, op.name, "weight", 4, shape) != MOCO_OK)
        return -1;
    return op_end(g, &op, channels, h, w);
}

int graph_bn_with(struct graph *g, int in, const char *name, int flags)
{
    struct graph_op op;
    if (op_begin(g, &op, OP_BN, name, in, -1) != MOCO_OK)
        return -1;
    const struct graph_value value = g->values[in];
    const int64_t shape[4] = {value.c};
    op.eps = 1e-5;
    op.momentum = 0.1;
    if (add_param(g, &op.param[0], PARAM_BN_WEIGHT, op.name, "weight", 1, shape) != MOCO_OK)
        return -1;
    g->params[op.param[0]].zero = (flags & GRAPH_ZERO_WEIGHT) != 0;
    if (!(flags & GRAPH_NO_BIAS) && add_param(g, &op.param[1], PARAM_BN_BIAS, op.name, "bias", 1, shape) != MOCO_OK)
        return -1;
    if (add_stat(g, &op, value.c) != MOCO_OK)
        return -1;
    return op_end(g, &op, value.c, value.h, value.w);
}

int graph_bn(struct graph *g, int in, const char *name)
{
    return graph_bn_with(g, in, name, 0);
}

int graph_relu(struct graph *g, int in)
{
    struct graph_op op;
    if (op_begin(g, &op, OP_RELU, NULL, in, -1) != MOCO_OK)
        return -1;
    const struct graph_value value = g->values[in];
    return op_end(g, &op, value.c, value.h, value.w);
}

int graph_add(struct graph *g, int a, int b)
{
    struct graph_op op;
    if (op_begin(g, &op, OP_ADD, NULL, a, b) != MOCO_OK)
        return -1;
    const struct graph_value x = g->values[a], y = g->values[b];
    if (a == b) {
        err_set(&g->failed, MOCO_EINVAL, "graph: %s adds value %d to itself", op.name, a);
        return -1;
    }
    if (x.c != y.c || x.h != y.h || x.w != y.w) {
        err_set(&g->failed, MOCO_ESHAPE, "graph: %s adds a %d x %d x %d map to one of %d x %d x %d", op.name, y.c, y.h,
                y.w, x.c, x.h, x.w);
        return -1;
    }
    return op_end(g, &op, x.c, x.h, x.w);
}

int graph_maxpool(struct graph *g, int in, int kernel, int stride, int pad)
{
    struct graph_op op;
    int h, w;
    if (op_begin(g, &op, OP_MAXPOOL, NULL, in, -1) != MOCO_OK || slide(g, &op, kernel, stride, pad, &h, &w) != MOCO_OK)
        return -1;
    if (pad > kernel / 2) {
        err_set(&g->failed, MOCO_EINVAL, "graph: %s has padding %d; it must be at most half the kernel %d", op.name,
                pad, kernel);
        return -1;
    }
    return op_end(g, &op, g->values[in].c, h, w);
}

int graph_gap(struct graph *g, int in)
{
    struct graph_op op;
    if (op_begin(g, &op, OP_GAP, NULL, in, -1) != MOCO_OK)
        return -1;
    return op_end(g, &op, g->values[in].c, 1, 1);
}

int graph_linear_with(struct graph *g, int in, const char *name, int out, int flags)
{
    struct graph_op op;
    if (op_begin(g, &op, OP_LINEAR, name, in, -1) != MOCO_OK || check_vector(g, &op) != MOCO_OK ||
        check_channels(g, op.name, out) != MOCO_OK)
        return -1;
    const int64_t weight[4] = {out, g->values[in].c}, bias[4] = {out};
    if (add_param(g, &op.param[0], PARAM_LINEAR, op.name, "weight", 2, weight) != MOCO_OK)
        return -1;
    if (!(flags & GRAPH_NO_BIAS) && add_param(g, &op.param[1], PARAM_BIAS, op.name, "bias", 1, bias) != MOCO_OK)
        return -1;
    return op_end(g, &op, out, 1, 1);
}

int graph_linear(struct graph *g, int in, const char *name, int out)
{
    return graph_linear_with(g, in, name, out, 0);
}

int graph_l2norm(struct graph *g, int in)
{
    struct graph_op op;
    if (op_begin(g, &op, OP_L2NORM, NULL, in, -1) != MOCO_OK || check_vector(g, &op) != MOCO_OK)
        return -1;
    return op_end(g, &op, g->values[in].c, 1, 1);
}
