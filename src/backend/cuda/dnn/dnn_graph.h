/* SPDX-License-Identifier: MIT
 *
 * dnn_graph: convolutions by cuDNN: a graph of one operation, the engine that is taken for it, and running it. Maps are
 * [n][h][w][c] and weights [co][kh][kw][ci]. Engines are chosen when a plan is made, by cuDNN's heuristics and the notes
 * on each engine; who wants the fastest asks for several, runs them, and takes one (dnn_fastest.c). What a reader would get wrong: the first engine that cuDNN names is not good enough
 * for us as it is. One whose bits differ from run to run, or that computes in less than was asked for (f32 by tensor
 * cores), or that compiles code when it is first used, is passed over. */
#ifndef MOCO_BACKEND_CUDA_DNN_GRAPH_H
#define MOCO_BACKEND_CUDA_DNN_GRAPH_H

#include "backend/backend.h"
#include "backend/cuda/dnn/dnn_library.h"

enum dnn_pass {
    DNN_FORWARD, /* y from x and w */
    DNN_DATA,    /* dx from dy and w */
    DNN_WEIGHTS  /* dw from x and dy */
};

struct dnn_conv {
    enum dnn_pass pass;
    enum be_precision precision; /* F32, TF32: numbers are f32; BF16, F16: all three tensors; sums are f32 in all */
    int n, h, w, ci, oh, ow, co, kernel, stride, pad;
};

/* cuDNN on a GPU, or (deviceless) on the description of one, where plans are made and cannot run. */
struct dnn {
    const struct dnn_library *lib;
    dnn_handle handle;     /* NULL: deviceless */
    dnn_descriptor device; /* deviceless: the description; else NULL */
};

enum { DNN_KEPT = 6, DNN_ENGINES = 5, DNN_NAME = 128 };

/* An engine with its knobs, and its plan. Its name, "4" or "4 2=3 13=1", is its number in cuDNN with the types and values
 * of its knobs: of one release on one kind of GPU, the same name computes the same way. */
struct dnn_engine {
    dnn_descriptor config, plan;
    size_t workspace;
    int number;
    char name[DNN_NAME];
};

struct dnn_plan {
    const struct dnn_library *lib;
    struct dnn_conv conv;
    dnn_descriptor kept[DNN_KEPT];         /* what the engines were made of */
    struct dnn_engine engine[DNN_ENGINES]; /* those that will do, in the order in which cuDNN names them */
    int count, taken;                      /* taken: the one that runs; the first, if nobody took another */
    dnn_descriptor pack;                   /* the addresses it ran with last; NULL: none */
    const void *packed[4];                 /* x, w, y, workspace */
    size_t workspace;                      /* the most that one of them wants */
    int passed;                            /* how many were named before the first, and passed over */
};

/* `stream` is that of the current context. MOCO_ENODEV and cuDNN's own words. */
moco_status dnn_open(struct dnn *out, const struct dnn_library *lib, dnn_stream stream, struct err *err);
/* From a GPU's properties, as cuDNN writes them down in JSON. MOCO_EINVAL and cuDNN's own words. */
moco_status dnn_open_described(struct dnn *out, const struct dnn_library *lib, const char *json, struct err *err);
void dnn_close(struct dnn *dnn);
/* What runs from now on is queued into this stream. MOCO_EDEVICE and cuDNN's own words. */
moco_status dnn_stream_set(struct dnn *dnn, dnn_stream stream, struct err *err);

/* "forward in bf16 of a convolution of N x H x W x C, ...": for sentences, and different for different convolutions. */
enum { DNN_CONV_TEXT = 192 };
const char *dnn_conv_text(const struct dnn_conv *conv, char text[DNN_CONV_TEXT]);

/* How much workspace an engine of this precision may want. */
size_t dnn_reserve(enum be_precision precision);

/* How many channels a map of `channels` has to have in this precision: pictures have 3. */
int dnn_channels(enum be_precision precision, int channels);

/* Finds the first `most` engines, 1 to DNN_ENGINES, that compute what was asked for, in equal bits every time, in at most
 * dnn_reserve bytes of workspace. `name`: only the engine of this name, if it is one of those; NULL: any. MOCO_ENOTSUP:
 * there is none. A plan that is all zeros may be freed. */
moco_status dnn_choose(struct dnn_plan *out, const struct dnn *dnn, const struct dnn_conv *conv, int most,
                       const char *name, struct err *err);
void dnn_take(struct dnn_plan *plan, int which); /* gives back the others */
void dnn_plan_free(struct dnn_plan *plan);

/* Queues the engine that was taken. x, w, y: of the pass's three tensors, as addresses in device memory that are multiples of 16; which of them
 * is written depends on the pass. */
moco_status dnn_run(const struct dnn *dnn, struct dnn_plan *plan, const void *x, const void *w, const void *y,
                    const void *workspace, struct err *err);

#endif
