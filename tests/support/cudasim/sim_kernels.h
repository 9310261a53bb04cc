/* SPDX-License-Identifier: MIT
 *
 * sim_kernels: the CUDA backend's kernels, compiled for the host (simt.h). */
#ifndef MOCO_TESTS_SIM_KERNELS_H
#define MOCO_TESTS_SIM_KERNELS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sim_kernel {
    const char *name;
    size_t bytes; /* of its arguments */
    void (*run)(const void *args);
};

extern const struct sim_kernel sim_kernels[];
extern const int sim_kernel_count;

#ifdef __cplusplus
}
#endif

#endif
