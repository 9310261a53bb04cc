/* SPDX-License-Identifier: MIT
 *
 * op_bn: the state of a batch norm's node; in a header for the tests that inspect it. */
#ifndef MOCO_CPU_OP_BN_H
#define MOCO_CPU_OP_BN_H

/* Numbers of buffers; NONE: there is no such buffer. */
struct op_bn {
    int saved; /* mean and 1 / deviation, of each group; INFER: NONE */
    int mask;  /* TRAIN: one bit for each number that ReLU let through */
    int scratch;
};

#endif
