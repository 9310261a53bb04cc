/* SPDX-License-Identifier: MIT
 *
 * op_conv: the state of a convolution's node and of its backward steps; in a header for the benchmarks and tests
 * that inspect it. */
#ifndef MOCO_CPU_OP_CONV_H
#define MOCO_CPU_OP_CONV_H

#include "backend/cpu/cpu_conv.h"

/* Numbers of buffers; NONE: there is no such buffer. */
struct op_conv {
    struct cpu_conv conv;
    int dense;          /* the input gathered for a strided 1 x 1 convolution, or brought into the output's order */
    const void *folded; /* INFER: its folded weights */
    const float *bias;
    int scratch;
};

struct op_conv_back {
    struct cpu_conv conv;
    int scratch;
    size_t result; /* WEIGHTS: offset in scratch of a gradient that is then added to the slab's */
};

#endif
