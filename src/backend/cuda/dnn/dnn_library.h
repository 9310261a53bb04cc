/* SPDX-License-Identifier: MIT
 *
 * dnn_library: the part of cuDNN 9's graph interface that this backend uses, as a table of functions that is filled at run
 * time, as cuda_driver.h does for the driver. Numbers are declared here, so that the code is compiled, and tested on a
 * simulated library, where there is no cuDNN; tests/cuda/dnn_types.c holds them against NVIDIA's header where there is one.
 * What a reader would get wrong: cuDNN is optional. Without it f32 runs on kernels of our own, so that why it is not there
 * is a sentence to show, and no failure of open. */
#ifndef MOCO_BACKEND_CUDA_DNN_LIBRARY_H
#define MOCO_BACKEND_CUDA_DNN_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef int dnn_status;
typedef int dnn_attribute;
typedef int dnn_type; /* of what an attribute holds */
typedef int dnn_thing;
typedef struct cudnnContext *dnn_handle;
typedef void *dnn_descriptor;
typedef struct CUstream_st *dnn_stream;

enum { DNN_OK = 0 };

enum { /* descriptors */
       DNN_THING_CONVOLUTION = 1,
       DNN_THING_ENGINE = 2,
       DNN_THING_CONFIG = 3,
       DNN_THING_HEURISTICS = 4,
       DNN_THING_PLAN = 5,
       DNN_THING_KNOB = 7, /* a choice of one */
       DNN_THING_FORWARD = 10,
       DNN_THING_WEIGHTS = 11,
       DNN_THING_DATA = 12,
       DNN_THING_GRAPH = 15,
       DNN_THING_PACK = 16,
       DNN_THING_TENSOR = 17,
       DNN_THING_DEVICE = 38
};

enum { /* their attributes */
       DNN_CONV_COMPUTE = 100,
       DNN_CONV_MODE = 101,
       DNN_CONV_DILATIONS = 102,
       DNN_CONV_STRIDES = 103,
       DNN_CONV_PADS_AFTER = 104,
       DNN_CONV_PADS_BEFORE = 105,
       DNN_CONV_DIMENSIONS = 106,
       DNN_HEURISTICS_MODE = 200,
       DNN_HEURISTICS_GRAPH = 201,
       DNN_HEURISTICS_RESULTS = 202,
       DNN_HEURISTICS_DEVICE = 204,
       DNN_CONFIG_ENGINE = 300,
       DNN_CONFIG_KNOBS = 302,
       DNN_PLAN_HANDLE = 400,
       DNN_PLAN_CONFIG = 401,
       DNN_PLAN_WORKSPACE = 402,
       DNN_PLAN_DEVICE = 407,
       DNN_KNOB_TYPE = 600,
       DNN_KNOB_VALUE = 601,
       DNN_FORWARD_ALPHA = 700, /* behind it: beta, convolution, w, x, y */
       DNN_FORWARD_BETA = 701,
       DNN_FORWARD_CONV = 702,
       DNN_FORWARD_W = 703,
       DNN_FORWARD_X = 704,
       DNN_FORWARD_Y = 705,
       DNN_DATA_ALPHA = 706,
       DNN_DATA_BETA = 707,
       DNN_DATA_CONV = 708,
       DNN_DATA_W = 709,
       DNN_DATA_DX = 710,
       DNN_DATA_DY = 711,
       DNN_WEIGHTS_ALPHA = 712,
       DNN_WEIGHTS_BETA = 713,
       DNN_WEIGHTS_CONV = 714,
       DNN_WEIGHTS_DW = 715,
       DNN_WEIGHTS_X = 716,
       DNN_WEIGHTS_DY = 717,
       DNN_GRAPH_HANDLE = 800,
       DNN_GRAPH_OPS = 801,
       DNN_TENSOR_ALIGNMENT = 900,
       DNN_TENSOR_NUMBER = 901,
       DNN_TENSOR_DIMENSIONS = 902,
       DNN_TENSOR_STRIDES = 903,
       DNN_TENSOR_NAME = 906,
       DNN_PACK_NAMES = 1000,
       DNN_PACK_ADDRESSES = 1001,
       DNN_PACK_WORKSPACE = 1003,
       DNN_ENGINE_NUMBER = 1301,
       DNN_ENGINE_NUMERICAL = 1303,
       DNN_ENGINE_BEHAVIOR = 1305,
       DNN_DEVICE_JSON = 2702
};

enum { /* what attributes hold */
       DNN_TYPE_HANDLE = 0,
       DNN_TYPE_NUMBER = 1,
       DNN_TYPE_INT64 = 3,
       DNN_TYPE_FLOAT = 4,
       DNN_TYPE_ADDRESS = 6,
       DNN_TYPE_CONV_MODE = 7,
       DNN_TYPE_HEURISTICS = 8,
       DNN_TYPE_KNOB = 9,
       DNN_TYPE_NUMERICAL = 11,
       DNN_TYPE_DESCRIPTOR = 15,
       DNN_TYPE_BEHAVIOR = 19,
       DNN_TYPE_CHAR = 24
};

enum { DNN_F32 = 0, DNN_F16 = 2, DNN_BF16 = 9 };               /* numbers */
enum { DNN_CROSS_CORRELATION = 1 };                            /* what neural networks call convolution */
enum { DNN_HEURISTICS_FALLBACK = 2, DNN_HEURISTICS_BEST = 3 }; /* modes */
enum {                                                         /* numerical notes of an engine */
       DNN_NOTE_TENSOR_CORE = 0,
       DNN_NOTE_DOWN_CONVERT = 1,
       DNN_NOTE_REDUCED_SUM = 2,
       DNN_NOTE_FFT = 3,
       DNN_NOTE_NONDETERMINISTIC = 4,
       DNN_NOTE_WINOGRAD = 5,
       DNN_NOTE_COUNT = 10
};
enum { DNN_KNOB_COUNT = 64 };                                                  /* more than an engine has */
enum { DNN_NOTE_COMPILES = 0, DNN_NOTE_CUBLASLT = 4, DNN_BEHAVIOR_COUNT = 5 }; /* notes on its behavior */

/* Member, symbol, result, arguments. */
#define DNN_LIBRARY(F)                                                                                                 \
    F(version, cudnnGetVersion, size_t, (void))                                                                        \
    F(runtime_version, cudnnGetCudartVersion, size_t, (void))                                                          \
    F(error_string, cudnnGetErrorString, const char *, (dnn_status status))                                            \
    F(last_error, cudnnGetLastErrorString, void, (char *text, size_t size))                                            \
    F(create, cudnnCreate, dnn_status, (dnn_handle * handle))                                                          \
    F(destroy, cudnnDestroy, dnn_status, (dnn_handle handle))                                                          \
    F(set_stream, cudnnSetStream, dnn_status, (dnn_handle handle, dnn_stream stream))                                  \
    F(make, cudnnBackendCreateDescriptor, dnn_status, (dnn_thing thing, dnn_descriptor * out))                         \
    F(drop, cudnnBackendDestroyDescriptor, dnn_status, (dnn_descriptor descriptor))                                    \
    F(finalize, cudnnBackendFinalize, dnn_status, (dnn_descriptor descriptor))                                         \
    F(set, cudnnBackendSetAttribute, dnn_status,                                                                       \
      (dnn_descriptor descriptor, dnn_attribute attribute, dnn_type type, int64_t count, const void *values))          \
    F(get, cudnnBackendGetAttribute, dnn_status,                                                                       \
      (dnn_descriptor descriptor, dnn_attribute attribute, dnn_type type, int64_t room, int64_t * count,               \
       void *values))                                                                                                  \
    F(execute, cudnnBackendExecute, dnn_status, (dnn_handle handle, dnn_descriptor plan, dnn_descriptor pack))

#define DNN_MEMBER(member, symbol, result, args) result(*member) args;
struct dnn_library {
    DNN_LIBRARY(DNN_MEMBER)
};
#undef DNN_MEMBER

/* The oldest release of version 9 whose plans can be made from the description of a GPU, which is how they were checked;
 * and the major version whose interface this is. */
enum { DNN_OLDEST = 90800, DNN_MAJOR = 9 };

/* Loads libcudnn.so.9 from the first of `folders` (separated by ':', each may be a glob pattern; NULL: those that the
 * build was told) that has one, and looks at its version and at that of the CUDA runtime it was made for. MOCO_ENODEV,
 * and one sentence: there is none, it cannot be loaded, it is too old, it needs a newer driver. `driver`: the driver's
 * version, 1000 * major + 10 * minor; 0: there is none, and none is needed. `version` gets cuDNN's. What was taken stays
 * loaded. */
moco_status dnn_library_load(struct dnn_library *out, const char *folders, int driver, int *version, struct err *err);

/* The same checks of what was loaded already. */
moco_status dnn_library_check(const struct dnn_library *lib, const char *path, int driver, int *version,
                              struct err *err);

#endif
