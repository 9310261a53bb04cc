/* SPDX-License-Identifier: MIT
 *
 * sim_dnn: see sim_dnn.h. A descriptor is a list of attributes; what it must have, and of which type, is in tables. Sums
 * are in double: how cuDNN rounds within a sum is no business of a simulation. */
#include "support/cudasim/sim_dnn.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "support/cudasim/sim_driver.h"

enum { BAD_PARAM = 2000, NOT_FINALIZED = 2004, MISALIGNED = 2003, NOT_SUPPORTED = 3000, EXECUTION_FAILED = 5000 };
enum { MOST_ATTRIBUTES = 8, MOST_BYTES = 64, ALIGNMENT = 16 };

struct attribute {
    dnn_attribute name;
    dnn_type type;
    int64_t count;
    char values[MOST_BYTES];
};

struct descriptor {
    dnn_thing thing;
    int final, count, engine; /* engine: of a config or an engine: which of the table below; -1: not filled in */
    struct attribute attributes[MOST_ATTRIBUTES];
};

struct cudnnContext {
    dnn_stream stream;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int live, without_engines, ran[SIM_DNN_CONFIGS];
static _Thread_local char why[128];

static void count_live(int by)
{
    pthread_mutex_lock(&lock);
    live += by;
    pthread_mutex_unlock(&lock);
}

static dnn_status refuse(dnn_status status, const char *text)
{
    snprintf(why, sizeof why, "%s", text);
    return status;
}

/* ---- engines ---- */

enum { BEST = 1, FALLBACK = 2 };

/* Configurations, in the order in which the heuristics name them. Those that must not be taken are the fastest. */
static struct engine {
    int named;               /* by which heuristics */
    int numerical, behavior; /* one note each; -1: none */
    int64_t workspace;
    int runs_here, number;
    int64_t knob; /* the value of its only knob; -1: it has none */
    int right;
    double milliseconds;
} engines[SIM_DNN_CONFIGS] = {
    {BEST, DNN_NOTE_NONDETERMINISTIC, -1, 0, 1, 0, -1, 0, 0.1},
    {BEST, -1, DNN_NOTE_COMPILES, 0, 1, 1, -1, 0, 0.1},
    {BEST, -1, -1, (int64_t)1 << 40, 1, 2, -1, 0, 0.1}, /* more workspace than any reserve */
    {BEST, -1, -1, 0, 0, 3, -1, 0, 0.1},
    {BEST | FALLBACK, DNN_NOTE_TENSOR_CORE, -1, SIM_DNN_WORKSPACE, 1, 4, -1, 1, 1}, /* right, but for f32 */
    {BEST, DNN_NOTE_TENSOR_CORE, -1, SIM_DNN_WORKSPACE, 1, 4, 7, 1, 1},
    {BEST, DNN_NOTE_TENSOR_CORE, -1, 2 * SIM_DNN_WORKSPACE, 1, 6, 1, 1, 1},
    {FALLBACK, -1, -1, SIM_DNN_WORKSPACE, 1, 5, -1, 1, 1}, /* right */
    {FALLBACK, -1, -1, SIM_DNN_WORKSPACE / 2, 1, 5, 2, 1, 1},
};

/* ---- descriptors ---- */

/* Which attributes a thing has to have when it is finalised, of which type, and how many values. */
static const struct {
    dnn_thing thing;
    dnn_attribute name;
    dnn_type type;
    int64_t count;
    int optional;
} known[] = {
    {DNN_THING_TENSOR, DNN_TENSOR_NUMBER, DNN_TYPE_NUMBER, 1, 0},
    {DNN_THING_TENSOR, DNN_TENSOR_NAME, DNN_TYPE_INT64, 1, 0},
    {DNN_THING_TENSOR, DNN_TENSOR_ALIGNMENT, DNN_TYPE_INT64, 1, 0},
    {DNN_THING_TENSOR, DNN_TENSOR_DIMENSIONS, DNN_TYPE_INT64, 4, 0},
    {DNN_THING_TENSOR, DNN_TENSOR_STRIDES, DNN_TYPE_INT64, 4, 0},
    {DNN_THING_CONVOLUTION, DNN_CONV_COMPUTE, DNN_TYPE_NUMBER, 1, 0},
    {DNN_THING_CONVOLUTION, DNN_CONV_MODE, DNN_TYPE_CONV_MODE, 1, 0},
    {DNN_THING_CONVOLUTION, DNN_CONV_DIMENSIONS, DNN_TYPE_INT64, 1, 0},
    {DNN_THING_CONVOLUTION, DNN_CONV_STRIDES, DNN_TYPE_INT64, 2, 0},
    {DNN_THING_CONVOLUTION, DNN_CONV_PADS_BEFORE, DNN_TYPE_INT64, 2, 0},
    {DNN_THING_CONVOLUTION, DNN_CONV_PADS_AFTER, DNN_TYPE_INT64, 2, 0},
    {DNN_THING_CONVOLUTION, DNN_CONV_DILATIONS, DNN_TYPE_INT64, 2, 0},
    {DNN_THING_FORWARD, DNN_FORWARD_ALPHA, DNN_TYPE_FLOAT, 1, 0},
    {DNN_THING_FORWARD, DNN_FORWARD_BETA, DNN_TYPE_FLOAT, 1, 0},
    {DNN_THING_FORWARD, DNN_FORWARD_CONV, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_FORWARD, DNN_FORWARD_W, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_FORWARD, DNN_FORWARD_X, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_FORWARD, DNN_FORWARD_Y, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_DATA, DNN_DATA_ALPHA, DNN_TYPE_FLOAT, 1, 0},
    {DNN_THING_DATA, DNN_DATA_BETA, DNN_TYPE_FLOAT, 1, 0},
    {DNN_THING_DATA, DNN_DATA_CONV, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_DATA, DNN_DATA_W, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_DATA, DNN_DATA_DX, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_DATA, DNN_DATA_DY, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_WEIGHTS, DNN_WEIGHTS_ALPHA, DNN_TYPE_FLOAT, 1, 0},
    {DNN_THING_WEIGHTS, DNN_WEIGHTS_BETA, DNN_TYPE_FLOAT, 1, 0},
    {DNN_THING_WEIGHTS, DNN_WEIGHTS_CONV, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_WEIGHTS, DNN_WEIGHTS_DW, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_WEIGHTS, DNN_WEIGHTS_X, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_WEIGHTS, DNN_WEIGHTS_DY, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_GRAPH, DNN_GRAPH_OPS, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_GRAPH, DNN_GRAPH_HANDLE, DNN_TYPE_HANDLE, 1, 1},
    {DNN_THING_HEURISTICS, DNN_HEURISTICS_GRAPH, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_HEURISTICS, DNN_HEURISTICS_MODE, DNN_TYPE_HEURISTICS, 1, 0},
    {DNN_THING_HEURISTICS, DNN_HEURISTICS_DEVICE, DNN_TYPE_DESCRIPTOR, 1, 1},
    {DNN_THING_PLAN, DNN_PLAN_CONFIG, DNN_TYPE_DESCRIPTOR, 1, 0},
    {DNN_THING_PLAN, DNN_PLAN_HANDLE, DNN_TYPE_HANDLE, 1, 1},
    {DNN_THING_PLAN, DNN_PLAN_DEVICE, DNN_TYPE_DESCRIPTOR, 1, 1},
    {DNN_THING_PACK, DNN_PACK_NAMES, DNN_TYPE_INT64, 3, 0},
    {DNN_THING_PACK, DNN_PACK_ADDRESSES, DNN_TYPE_ADDRESS, 3, 0},
    {DNN_THING_PACK, DNN_PACK_WORKSPACE, DNN_TYPE_ADDRESS, 1, 0},
};
enum { KNOWN = sizeof known / sizeof *known };

static size_t bytes_of(dnn_type type)
{
    return type == DNN_TYPE_INT64 || type == DNN_TYPE_DESCRIPTOR || type == DNN_TYPE_HANDLE || type == DNN_TYPE_ADDRESS
               ? 8
               : 4;
}

static const void *values_of(const struct descriptor *d, dnn_attribute name)
{
    for (int i = 0; i < d->count; i++)
        if (d->attributes[i].name == name)
            return d->attributes[i].values;
    return NULL;
}

static struct descriptor *child_of(const struct descriptor *d, dnn_attribute name)
{
    struct descriptor *child = NULL;
    const void *values = values_of(d, name);
    if (values != NULL)
        memcpy(&child, values, sizeof child);
    return child;
}

static dnn_status sim_make(dnn_thing thing, dnn_descriptor *out)
{
    struct descriptor *d = calloc(1, sizeof *d);
    if (d == NULL)
        abort();
    d->thing = thing;
    d->engine = -1;
    *out = d;
    count_live(1);
    return DNN_OK;
}

static dnn_status sim_drop(dnn_descriptor descriptor)
{
    struct descriptor *d = descriptor;
    memset(d, 0xdd, sizeof *d); /* whoever uses it yet finds no thing that is known */
    free(d);
    count_live(-1);
    return DNN_OK;
}

static dnn_status sim_set(dnn_descriptor descriptor, dnn_attribute name, dnn_type type, int64_t count,
                          const void *values)
{
    struct descriptor *d = descriptor;
    int which = 0;
    while (which < KNOWN && (known[which].thing != d->thing || known[which].name != name))
        which++;
    if (d->final)
        return refuse(BAD_PARAM, "it is final");
    if (which == KNOWN || known[which].type != type || known[which].count != count)
        return refuse(BAD_PARAM, "no such attribute, or one of another type");
    if (type == DNN_TYPE_DESCRIPTOR) {
        const struct descriptor *child;
        memcpy(&child, values, sizeof child);
        if (child == NULL || !child->final)
            return refuse(NOT_FINALIZED, "what is given is not final");
    }
    if (d->count == MOST_ATTRIBUTES)
        return refuse(BAD_PARAM, "there are too many attributes");
    struct attribute *a = &d->attributes[d->count++];
    *a = (struct attribute){.name = name, .type = type, .count = count};
    memcpy(a->values, values, (size_t)count * bytes_of(type));
    return DNN_OK;
}

/* ---- a convolution, read from its descriptors ---- */

struct tensor {
    int64_t name, n, c, h, w;
    int number;
};

struct conv {
    dnn_thing pass;
    struct tensor x, w, y; /* w: n is co, c is ci, h and w the kernel's */
    int64_t stride, pad;
};

static int read_tensor(const struct descriptor *d, struct tensor *out)
{
    int64_t size[4], stride[4], alignment;
    if (d == NULL || d->thing != DNN_THING_TENSOR)
        return 0;
    memcpy(size, values_of(d, DNN_TENSOR_DIMENSIONS), sizeof size);
    memcpy(stride, values_of(d, DNN_TENSOR_STRIDES), sizeof stride);
    memcpy(&alignment, values_of(d, DNN_TENSOR_ALIGNMENT), sizeof alignment);
    *out = (struct tensor){.n = size[0], .c = size[1], .h = size[2], .w = size[3]};
    memcpy(&out->name, values_of(d, DNN_TENSOR_NAME), sizeof out->name);
    memcpy(&out->number, values_of(d, DNN_TENSOR_NUMBER), sizeof out->number);
    return alignment == ALIGNMENT && stride[1] == 1 && stride[3] == out->c && stride[2] == out->w * out->c &&
           stride[0] == out->h * out->w * out->c;
}

static int read_conv(const struct descriptor *op, struct conv *out)
{
    const dnn_attribute tensors[3][4] = {{DNN_FORWARD_X, DNN_FORWARD_W, DNN_FORWARD_Y, DNN_FORWARD_CONV},
                                         {DNN_WEIGHTS_X, DNN_WEIGHTS_DW, DNN_WEIGHTS_DY, DNN_WEIGHTS_CONV},
                                         {DNN_DATA_DX, DNN_DATA_W, DNN_DATA_DY, DNN_DATA_CONV}};
    if (op->thing < DNN_THING_FORWARD || op->thing > DNN_THING_DATA)
        return 0;
    const dnn_attribute *of = tensors[op->thing - DNN_THING_FORWARD];
    const struct descriptor *conv = child_of(op, of[3]);
    int64_t stride[2], pad[2], after[2], dilation[2];
    float alpha, beta;
    *out = (struct conv){.pass = op->thing};
    if (!read_tensor(child_of(op, of[0]), &out->x) || !read_tensor(child_of(op, of[1]), &out->w) ||
        !read_tensor(child_of(op, of[2]), &out->y) || conv == NULL || conv->thing != DNN_THING_CONVOLUTION)
        return 0;
    memcpy(stride, values_of(conv, DNN_CONV_STRIDES), sizeof stride);
    memcpy(pad, values_of(conv, DNN_CONV_PADS_BEFORE), sizeof pad);
    memcpy(after, values_of(conv, DNN_CONV_PADS_AFTER), sizeof after);
    memcpy(dilation, values_of(conv, DNN_CONV_DILATIONS), sizeof dilation);
    memcpy(&alpha, values_of(op, of[3] - 2), sizeof alpha);
    memcpy(&beta, values_of(op, of[3] - 1), sizeof beta);
    out->stride = stride[0];
    out->pad = pad[0];
    return stride[0] == stride[1] && pad[0] == pad[1] && pad[0] == after[0] && pad[0] == after[1] && dilation[0] == 1 &&
           dilation[1] == 1 && alpha == 1 && beta == 0 && out->w.h == out->w.w && out->x.n == out->y.n &&
           out->x.c == out->w.c && out->y.c == out->w.n &&
           out->y.h == (out->x.h + 2 * pad[0] - out->w.h) / stride[0] + 1 &&
           out->y.w == (out->x.w + 2 * pad[0] - out->w.w) / stride[0] + 1 && out->x.number == out->w.number &&
           out->x.number == out->y.number;
}

static dnn_status sim_finalize(dnn_descriptor descriptor)
{
    struct descriptor *d = descriptor;
    struct tensor tensor;
    struct conv conv;
    if (d->final)
        return refuse(BAD_PARAM, "it is final already");
    for (int i = 0; i < KNOWN; i++)
        if (known[i].thing == d->thing && !known[i].optional && values_of(d, known[i].name) == NULL)
            return refuse(BAD_PARAM, "an attribute is missing");
    if (d->thing == DNN_THING_TENSOR && !read_tensor(d, &tensor))
        return refuse(NOT_SUPPORTED, "a tensor that is not [n][h][w][c]");
    if (d->thing >= DNN_THING_FORWARD && d->thing <= DNN_THING_DATA && !read_conv(d, &conv))
        return refuse(BAD_PARAM, "the shapes do not belong together");
    if (d->thing == DNN_THING_PLAN) {
        const struct descriptor *config = child_of(d, DNN_PLAN_CONFIG);
        if (config->thing != DNN_THING_CONFIG || config->engine < 0 || values_of(d, DNN_PLAN_HANDLE) == NULL)
            return refuse(BAD_PARAM, "a plan of nothing");
        if (!engines[config->engine].runs_here)
            return refuse(NOT_SUPPORTED, "this engine does not run here");
    }
    d->final = 1;
    return DNN_OK;
}

/* ---- asking ---- */

static dnn_status give(void *values, const void *from, size_t bytes, int64_t *count)
{
    memcpy(values, from, bytes);
    *count = 1;
    return DNN_OK;
}

static dnn_status get_results(const struct descriptor *d, int64_t room, int64_t *count, void *values)
{
    int mode;
    memcpy(&mode, values_of(d, DNN_HEURISTICS_MODE), sizeof mode);
    int named = mode == DNN_HEURISTICS_FALLBACK ? FALLBACK : mode == DNN_HEURISTICS_BEST ? BEST : 0;
    if (named == 0)
        return refuse(BAD_PARAM, "no such mode");
    pthread_mutex_lock(&lock);
    int none_is_right = without_engines;
    pthread_mutex_unlock(&lock);
    *count = 0;
    for (int i = 0; i < SIM_DNN_CONFIGS; i++) {
        if (!(engines[i].named & named) || (none_is_right && engines[i].right))
            continue;
        if (*count < room) {
            struct descriptor *config = ((struct descriptor **)values)[*count];
            if (config == NULL || config->thing != DNN_THING_CONFIG)
                return refuse(BAD_PARAM, "results go into configurations");
            config->engine = i;
            config->final = 1;
            config->attributes[0] = (struct attribute){.name = DNN_HEURISTICS_GRAPH};
            memcpy(config->attributes[0].values, values_of(d, DNN_HEURISTICS_GRAPH), sizeof(void *));
            config->count = 1;
        }
        ++*count;
    }
    return DNN_OK;
}

static dnn_status get_knobs(const struct descriptor *config, int64_t room, int64_t *count, void *values)
{
    *count = engines[config->engine].knob >= 0;
    if (*count == 0)
        return DNN_OK;
    struct descriptor *knob = room < 1 ? NULL : *(struct descriptor **)values;
    if (knob == NULL || knob->thing != DNN_THING_KNOB)
        return refuse(BAD_PARAM, "knobs go into choices of knobs");
    knob->engine = config->engine;
    knob->final = 1;
    return DNN_OK;
}

static dnn_status get_note(int note, int64_t *count, void *values)
{
    *count = note >= 0;
    if (note >= 0)
        memcpy(values, &note, sizeof note);
    return DNN_OK;
}

static dnn_status sim_get(dnn_descriptor descriptor, dnn_attribute name, dnn_type type, int64_t room, int64_t *count,
                          void *values)
{
    struct descriptor *d = descriptor;
    if (!d->final)
        return refuse(NOT_FINALIZED, "it is asked before it is final");
    if (d->thing == DNN_THING_HEURISTICS && name == DNN_HEURISTICS_RESULTS && type == DNN_TYPE_DESCRIPTOR)
        return get_results(d, room, count, values);
    if (d->thing == DNN_THING_CONFIG && name == DNN_CONFIG_ENGINE && type == DNN_TYPE_DESCRIPTOR && room == 1) {
        struct descriptor *engine;
        memcpy(&engine, values, sizeof engine);
        engine->engine = d->engine;
        engine->final = 1;
        *count = 1;
        return DNN_OK;
    }
    if (d->thing == DNN_THING_ENGINE && name == DNN_ENGINE_NUMERICAL && type == DNN_TYPE_NUMERICAL)
        return get_note(engines[d->engine].numerical, count, values);
    if (d->thing == DNN_THING_ENGINE && name == DNN_ENGINE_BEHAVIOR && type == DNN_TYPE_BEHAVIOR)
        return get_note(engines[d->engine].behavior, count, values);
    if (d->thing == DNN_THING_ENGINE && name == DNN_ENGINE_NUMBER && type == DNN_TYPE_INT64)
        return give(values, &(int64_t){engines[d->engine].number}, sizeof(int64_t), count);
    if (d->thing == DNN_THING_CONFIG && name == DNN_CONFIG_KNOBS && type == DNN_TYPE_DESCRIPTOR)
        return get_knobs(d, room, count, values);
    if (d->thing == DNN_THING_KNOB && name == DNN_KNOB_TYPE && type == DNN_TYPE_KNOB)
        return give(values, &(int){SIM_DNN_KNOB}, sizeof(int), count);
    if (d->thing == DNN_THING_KNOB && name == DNN_KNOB_VALUE && type == DNN_TYPE_INT64)
        return give(values, &engines[d->engine].knob, sizeof(int64_t), count);
    if (d->thing == DNN_THING_PLAN && name == DNN_PLAN_WORKSPACE && type == DNN_TYPE_INT64)
        return give(values, &engines[child_of(d, DNN_PLAN_CONFIG)->engine].workspace, sizeof(int64_t), count);
    return refuse(BAD_PARAM, "nothing of that kind is told");
}

/* ---- computing ---- */

struct job {
    struct conv conv;
    const struct engine *engine;
    void *x, *w, *y, *workspace;
};

static size_t numbers_of(const struct tensor *t)
{
    return (size_t)(t->n * t->c * t->h * t->w);
}

static size_t bytes_of_tensor(const struct tensor *t)
{
    return numbers_of(t) * (t->number == DNN_F32 ? 4 : 2);
}

static double *take_in(const struct tensor *t, const void *from, int tensor_core)
{
    size_t count = numbers_of(t);
    double *out = malloc(count * sizeof *out);
    if (out == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        out[i] = t->number == DNN_F32
                     ? (double)(tensor_core ? tf32_round(((const float *)from)[i]) : ((const float *)from)[i])
                 : t->number == DNN_BF16 ? (double)bf16_to_float(((const uint16_t *)from)[i])
                                         : (double)f16_to_float(((const uint16_t *)from)[i]);
    return out;
}

static void put_out(const struct tensor *t, void *to, const double *from)
{
    for (size_t i = 0, count = numbers_of(t); i < count; i++)
        if (t->number == DNN_F32)
            ((float *)to)[i] = (float)from[i];
        else if (t->number == DNN_BF16)
            ((uint16_t *)to)[i] = bf16_from_float((float)from[i]);
        else
            ((uint16_t *)to)[i] = f16_from_float((float)from[i]);
}

/* Once for each pair of an output pixel and a place of the kernel that hits the picture: rows of channels. */
static void walk(const struct conv *c, double *x, double *w, double *y,
                 void (*row)(int64_t ci, int64_t co, int64_t step, double *x, double *w, double *y))
{
    int64_t k = c->w.h, ci = c->x.c, co = c->y.c;
    for (int64_t n = 0; n < c->y.n; n++)
        for (int64_t oy = 0; oy < c->y.h; oy++)
            for (int64_t ox = 0; ox < c->y.w; ox++)
                for (int64_t ky = 0; ky < k; ky++)
                    for (int64_t kx = 0; kx < k; kx++) {
                        int64_t iy = oy * c->stride - c->pad + ky, ix = ox * c->stride - c->pad + kx;
                        if (iy >= 0 && iy < c->x.h && ix >= 0 && ix < c->x.w)
                            row(ci, co, k * k * ci, x + ((n * c->x.h + iy) * c->x.w + ix) * ci, w + (ky * k + kx) * ci,
                                y + ((n * c->y.h + oy) * c->y.w + ox) * co);
                    }
}

static void row_forward(int64_t ci, int64_t co, int64_t step, double *x, double *w, double *y)
{
    for (int64_t o = 0; o < co; o++, w += step) {
        double sum = 0;
        for (int64_t i = 0; i < ci; i++)
            sum += x[i] * w[i];
        y[o] += sum;
    }
}

static void row_data(int64_t ci, int64_t co, int64_t step, double *x, double *w, double *y)
{
    for (int64_t o = 0; o < co; o++, w += step)
        for (int64_t i = 0; i < ci; i++)
            x[i] += y[o] * w[i];
}

static void row_weights(int64_t ci, int64_t co, int64_t step, double *x, double *w, double *y)
{
    for (int64_t o = 0; o < co; o++, w += step)
        for (int64_t i = 0; i < ci; i++)
            w[i] += y[o] * x[i];
}

static void compute(const struct job *job)
{
    const struct conv *c = &job->conv;
    int cores = job->engine->numerical == DNN_NOTE_TENSOR_CORE;
    double *x = take_in(&c->x, job->x, cores), *w = take_in(&c->w, job->w, cores), *y = take_in(&c->y, job->y, cores);
    double *out = c->pass == DNN_THING_FORWARD ? y : c->pass == DNN_THING_DATA ? x : w;
    const struct tensor *to = c->pass == DNN_THING_FORWARD ? &c->y : c->pass == DNN_THING_DATA ? &c->x : &c->w;
    for (size_t i = 0; i < numbers_of(to); i++)
        out[i] = job->engine->right ? 0 : (double)NAN;
    if (job->engine->right)
        walk(c, x, w, y,
             c->pass == DNN_THING_FORWARD ? row_forward
             : c->pass == DNN_THING_DATA  ? row_data
                                          : row_weights);
    put_out(to, c->pass == DNN_THING_FORWARD ? job->y : c->pass == DNN_THING_DATA ? job->x : job->w, out);
    memset(job->workspace, 0xff, (size_t)job->engine->workspace);
    sim_take_time(job->engine->milliseconds);
    free(x);
    free(w);
    free(y);
}

static void run(void *arg)
{
    compute(arg);
}

static dnn_status sim_execute(dnn_handle handle, dnn_descriptor plan, dnn_descriptor pack)
{
    const struct descriptor *config = child_of(plan, DNN_PLAN_CONFIG), *p = pack;
    const struct descriptor *graph = child_of(config, DNN_HEURISTICS_GRAPH);
    int64_t names[3];
    void *at[3];
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        abort();
    if (!((struct descriptor *)plan)->final || !p->final || !read_conv(child_of(graph, DNN_GRAPH_OPS), &job->conv)) {
        free(job);
        return refuse(NOT_FINALIZED, "what runs is not final");
    }
    memcpy(names, values_of(p, DNN_PACK_NAMES), sizeof names);
    memcpy(at, values_of(p, DNN_PACK_ADDRESSES), sizeof at);
    memcpy(&job->workspace, values_of(p, DNN_PACK_WORKSPACE), sizeof job->workspace);
    for (int i = 0; i < 3; i++)
        *(names[i] == job->conv.x.name ? &job->x : names[i] == job->conv.w.name ? &job->w : &job->y) = at[i];
    job->engine = &engines[config->engine];
    pthread_mutex_lock(&lock);
    ran[config->engine]++;
    pthread_mutex_unlock(&lock);
    if (job->engine->milliseconds < 0) {
        free(job);
        return refuse(EXECUTION_FAILED, "this engine does not run after all");
    }
    const struct sim_span spans[] = {{job->x, bytes_of_tensor(&job->conv.x)},
                                     {job->w, bytes_of_tensor(&job->conv.w)},
                                     {job->y, bytes_of_tensor(&job->conv.y)},
                                     {job->workspace, (size_t)job->engine->workspace}};
    for (int i = 0; i < 3; i++)
        if ((uintptr_t)spans[i].at % ALIGNMENT != 0) {
            free(job);
            return refuse(MISALIGNED, "an address is no multiple of 16");
        }
    if (sim_call(handle->stream, run, free, job, spans, 4) == CU_OK)
        return DNN_OK;
    free(job);
    return refuse(EXECUTION_FAILED, "the driver refused it");
}

/* ---- the library ---- */

static _Atomic int release = 91900;

void sim_dnn_release(int version)
{
    release = version;
}

static size_t sim_version(void)
{
    return (size_t)release;
}

static size_t sim_runtime_version(void)
{
    return 13000;
}

static const char *sim_error_string(dnn_status status)
{
    return status == BAD_PARAM ? "BAD_PARAM" : status == EXECUTION_FAILED ? "EXECUTION_FAILED" : "an error";
}

static void sim_last_error(char *text, size_t size)
{
    snprintf(text, size, "%s", why);
}

static dnn_status sim_create(dnn_handle *handle)
{
    *handle = calloc(1, sizeof **handle);
    if (*handle == NULL)
        abort();
    count_live(1);
    return DNN_OK;
}

static dnn_status sim_destroy(dnn_handle handle)
{
    free(handle);
    count_live(-1);
    return DNN_OK;
}

static dnn_status sim_set_stream(dnn_handle handle, dnn_stream stream)
{
    handle->stream = stream;
    return DNN_OK;
}

#define ENTRY(member, symbol, result, args) .member = sim_##member,
const struct dnn_library sim_dnn = {DNN_LIBRARY(ENTRY)};

int sim_dnn_live(void)
{
    pthread_mutex_lock(&lock);
    int count = live;
    pthread_mutex_unlock(&lock);
    return count;
}

void sim_dnn_times(const double milliseconds[SIM_DNN_CONFIGS])
{
    for (int i = 0; i < SIM_DNN_CONFIGS; i++)
        engines[i].milliseconds = milliseconds[i];
}

int sim_dnn_ran(int config)
{
    pthread_mutex_lock(&lock);
    int count = ran[config];
    pthread_mutex_unlock(&lock);
    return count;
}

void sim_dnn_without_engines(int without)
{
    pthread_mutex_lock(&lock);
    without_engines = without;
    pthread_mutex_unlock(&lock);
}
