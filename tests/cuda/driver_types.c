/* SPDX-License-Identifier: MIT
 *
 * driver_types: what src/backend/cuda/cuda_driver.h declares of the driver, held against NVIDIA's header: compiled by
 * cuda-check where there is one, and never run. What a reader would get wrong: nvcc's pointers to functions are compared
 * by their whole type, so that an argument which is too narrow is an error. */
#include <cuda.h>

#include "backend/cuda/cuda_driver.h"

_Static_assert(sizeof(cu_address) == sizeof(CUdeviceptr) && sizeof(cu_device) == sizeof(CUdevice) &&
                   sizeof(cu_result) == sizeof(CUresult),
               "types");
_Static_assert(CU_OK == CUDA_SUCCESS && CU_NO_MEMORY == CUDA_ERROR_OUT_OF_MEMORY &&
                   CU_OPERATING_SYSTEM == CUDA_ERROR_OPERATING_SYSTEM && CU_STUB == CUDA_ERROR_STUB_LIBRARY &&
                   CU_UNAVAILABLE == CUDA_ERROR_DEVICE_UNAVAILABLE && CU_NO_DEVICE == CUDA_ERROR_NO_DEVICE &&
                   CU_BAD_DEVICE == CUDA_ERROR_INVALID_DEVICE && CU_NO_BINARY == CUDA_ERROR_NO_BINARY_FOR_GPU &&
                   CU_PTX_TOO_NEW == CUDA_ERROR_UNSUPPORTED_PTX_VERSION && CU_NOT_READY == CUDA_ERROR_NOT_READY &&
                   CU_ILLEGAL_ADDRESS == CUDA_ERROR_ILLEGAL_ADDRESS &&
                   CU_MISMATCH == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH &&
                   CU_CAPTURE_UNSUPPORTED == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED &&
                   CU_CAPTURE_INVALIDATED == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
               "results");
_Static_assert(CU_MULTIPROCESSORS == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT &&
                   CU_MAJOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR &&
                   CU_MINOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
               "attributes");
_Static_assert(CU_HOST_PORTABLE == CU_MEMHOSTALLOC_PORTABLE && CU_HOST_MAPPED == CU_MEMHOSTALLOC_DEVICEMAP &&
                   CU_EVENT_WITH_TIME == CU_EVENT_DEFAULT && CU_EVENT_NO_TIMING == CU_EVENT_DISABLE_TIMING &&
                   CU_STREAM_OF_ITS_OWN == CU_STREAM_NON_BLOCKING &&
                   CU_CAPTURE_OF_THREAD == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
               "flags");

/* Ours, in NVIDIA's types. CUresult is an enum, and CUdeviceptr another integer of 8 bytes. */
#define cu_result CUresult
#define cu_device CUdevice
#define cu_attribute CUdevice_attribute
#define cu_address CUdeviceptr
#define cu_capture_mode CUstreamCaptureMode
#define SAME(member, symbol, args)                                                                                     \
    _Static_assert(_Generic(&symbol, CUresult(*) args : 1, default : 0), #symbol " has other arguments");
CUDA_DRIVER(SAME)
