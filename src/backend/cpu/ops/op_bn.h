/* SPDX-License-Identifier: MIT
 *
 * op_bn: what a batch norm's node keeps; here for the tests that look. */
#ifndef MOCO_CPU_OP_BN_H
#define MOCO_CPU_OP_BN_H

/* Buffers; NONE where there is none. */
struct op_bn {
    int saved; /* mean and 1 / deviation, of each group; INFER: NONE */
    int mask;  /* TRAIN: what ReLU let through */
    int scratch;
};

#endif
