/* SPDX-License-Identifier: MIT
 *
 * cuda_op_bn: batch norm, with ADD and ReLU behind it. */
#ifndef MOCO_BACKEND_CUDA_OP_BN_H
#define MOCO_BACKEND_CUDA_OP_BN_H

#include "backend/cuda/cuda_params.h"

/* State of a node. Buffers, or NONE. */
struct cuda_bn {
    int saved; /* mean and 1 / deviation of each group; INFER: NONE */
    int mask;  /* TRAIN with a ReLU: a bit a number, in the order of the map: what it let through */
    int sums;  /* of splits */
};

#endif
