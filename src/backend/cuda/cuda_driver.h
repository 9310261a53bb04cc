/* SPDX-License-Identifier: MIT
 *
 * cuda_driver: the part of the CUDA driver's interface that this backend uses, as a table of functions that is filled at
 * run time. Its types and numbers are declared here, so that the host's code is compiled, and tested on a simulated
 * driver, where there is no CUDA toolkit; tests/cuda/driver_types.c holds them against NVIDIA's header where there is
 * one. What a reader would get wrong: symbols have versions (cuMemAlloc_v2), and NVIDIA's header hides them behind macros. */
#ifndef MOCO_BACKEND_CUDA_DRIVER_H
#define MOCO_BACKEND_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef int cu_result;
typedef int cu_device;
typedef int cu_attribute;    /* of a device */
typedef uint64_t cu_address; /* of device memory */
typedef struct CUctx_st *cu_context;
typedef struct CUstream_st *cu_stream;
typedef struct CUevent_st *cu_event;
typedef struct CUmod_st *cu_module;
typedef struct CUfunc_st *cu_function;
typedef struct CUgraph_st *cu_graph;
typedef struct CUgraphExec_st *cu_graph_exec;
typedef int cu_capture_mode;

enum {
    CU_OK = 0,
    CU_NO_MEMORY = 2,
    CU_OPERATING_SYSTEM = 304, /* page-locked memory is limited, as by RLIMIT_MEMLOCK */
    CU_STUB = 34,
    CU_UNAVAILABLE = 46,
    CU_NO_DEVICE = 100,
    CU_BAD_DEVICE = 101,
    CU_NO_BINARY = 209,
    CU_PTX_TOO_NEW = 222,
    CU_NOT_READY = 600,
    CU_ILLEGAL_ADDRESS = 700,
    CU_MISMATCH = 803,
    CU_CAPTURE_UNSUPPORTED = 900,
    CU_CAPTURE_INVALIDATED = 901
};
enum { CU_MULTIPROCESSORS = 16, CU_MAJOR = 75, CU_MINOR = 76 }; /* attributes of a device */
enum { CU_HOST_PORTABLE = 1, CU_HOST_MAPPED = 2 };
enum { CU_EVENT_WITH_TIME = 0, CU_EVENT_NO_TIMING = 2 };
enum { CU_STREAM_OF_ITS_OWN = 1 }; /* does not wait for the default stream */
enum { CU_CAPTURE_OF_THREAD = 1 }; /* what must not be done while a stream records is an error in this thread alone */

/* Member, symbol, arguments. */
#define CUDA_DRIVER(F)                                                                                                 \
    F(init, cuInit, (unsigned flags))                                                                                  \
    F(driver_version, cuDriverGetVersion, (int *version))                                                              \
    F(error_name, cuGetErrorName, (cu_result error, const char **name))                                                \
    F(device_count, cuDeviceGetCount, (int *count))                                                                    \
    F(device_get, cuDeviceGet, (cu_device * device, int number))                                                       \
    F(device_name, cuDeviceGetName, (char *name, int size, cu_device device))                                          \
    F(device_attribute, cuDeviceGetAttribute, (int *value, cu_attribute attribute, cu_device device))                  \
    F(context_retain, cuDevicePrimaryCtxRetain, (cu_context * context, cu_device device))                              \
    F(context_release, cuDevicePrimaryCtxRelease_v2, (cu_device device))                                               \
    F(context_push, cuCtxPushCurrent_v2, (cu_context context))                                                         \
    F(context_pop, cuCtxPopCurrent_v2, (cu_context * context))                                                         \
    F(memory_info, cuMemGetInfo_v2, (size_t * available, size_t * total))                                              \
    F(memory_alloc, cuMemAlloc_v2, (cu_address * at, size_t bytes))                                                    \
    F(memory_free, cuMemFree_v2, (cu_address at))                                                                      \
    F(host_alloc, cuMemHostAlloc, (void **memory, size_t bytes, unsigned flags))                                       \
    F(host_free, cuMemFreeHost, (void *memory))                                                                        \
    F(host_address, cuMemHostGetDevicePointer_v2, (cu_address * at, void *memory, unsigned flags))                     \
    F(copy_in, cuMemcpyHtoDAsync_v2, (cu_address to, const void *from, size_t bytes, cu_stream stream))                \
    F(copy_out, cuMemcpyDtoHAsync_v2, (void *to, cu_address from, size_t bytes, cu_stream stream))                     \
    F(copy, cuMemcpyDtoDAsync_v2, (cu_address to, cu_address from, size_t bytes, cu_stream stream))                    \
    F(fill, cuMemsetD8Async, (cu_address at, unsigned char value, size_t bytes, cu_stream stream))                     \
    F(stream_create, cuStreamCreate, (cu_stream * stream, unsigned flags))                                             \
    F(stream_destroy, cuStreamDestroy_v2, (cu_stream stream))                                                          \
    F(stream_sync, cuStreamSynchronize, (cu_stream stream))                                                            \
    F(stream_wait, cuStreamWaitEvent, (cu_stream stream, cu_event event, unsigned flags))                              \
    F(capture_begin, cuStreamBeginCapture_v2, (cu_stream stream, cu_capture_mode mode))                                \
    F(capture_end, cuStreamEndCapture, (cu_stream stream, cu_graph * graph))                                           \
    F(graph_make, cuGraphInstantiateWithFlags, (cu_graph_exec * exec, cu_graph graph, unsigned long long flags))       \
    F(graph_destroy, cuGraphDestroy, (cu_graph graph))                                                                 \
    F(graph_launch, cuGraphLaunch, (cu_graph_exec exec, cu_stream stream))                                             \
    F(graph_exec_destroy, cuGraphExecDestroy, (cu_graph_exec exec))                                                    \
    F(event_create, cuEventCreate, (cu_event * event, unsigned flags))                                                 \
    F(event_destroy, cuEventDestroy_v2, (cu_event event))                                                              \
    F(event_record, cuEventRecord, (cu_event event, cu_stream stream))                                                 \
    F(event_query, cuEventQuery, (cu_event event))                                                                     \
    F(event_sync, cuEventSynchronize, (cu_event event))                                                                \
    F(event_elapsed, cuEventElapsedTime, (float *milliseconds, cu_event from, cu_event to))                            \
    F(module_load, cuModuleLoadData, (cu_module * module, const void *image))                                          \
    F(module_unload, cuModuleUnload, (cu_module module))                                                               \
    F(module_function, cuModuleGetFunction, (cu_function * function, cu_module module, const char *name))              \
    F(launch, cuLaunchKernel,                                                                                          \
      (cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,    \
       unsigned block_z, unsigned shared, cu_stream stream, void **args, void **extra))

#define CUDA_MEMBER(member, symbol, args) cu_result(*member) args;
struct cuda_driver {
    CUDA_DRIVER(CUDA_MEMBER)
};
#undef CUDA_MEMBER

/* The oldest driver whose symbols are all there, and that runs what nvcc of CUDA 12 makes: 12.0. */
enum { CUDA_DRIVER_OLDEST = 12000 };

/* Loads libcuda.so.1 from one of the folders that the build was given, and initialises it. MOCO_ENODEV, and one
 * sentence: there is none, it is too old, it finds no GPU, ... A driver that was taken stays loaded. */
moco_status cuda_driver_load(struct cuda_driver *out, struct err *err);

/* The same from what was loaded already: initialises it and looks at its version. */
moco_status cuda_driver_start(const struct cuda_driver *cu, const char *path, struct err *err);

#endif
