/* SPDX-License-Identifier: MIT
 *
 * bank_state: the fields of a bank, for the files bank*.c only. What a reader would get wrong: a mapped file is the
 * first part of its bank and never changes. What is appended is in memory and is the second part. */
#ifndef MOCO_EVAL_BANK_STATE_H
#define MOCO_EVAL_BANK_STATE_H

#include "eval/bank.h"
#include "eval/neighbours.h"
#include "file/file_map.h"

#define BANK_DIM_MOST NEIGHBOURS_DIM_MOST

struct bank_part {
    const float *rows; /* [count][dim], of length 1 */
    const int64_t *ids;
    int64_t count;
};

struct bank {
    struct ctx *ctx;
    int dim;
    struct bank_part part[2]; /* a mapped file's, our own */
    float *rows;              /* of part 1: [capacity][dim] */
    int64_t *ids;             /* [capacity] */
    int64_t capacity;
    struct file_map map;
    struct neighbours *neighbours;
};

/* Room for n more vectors of our own. */
moco_status bank_reserve(struct bank *bank, int64_t n, struct err *err);

#endif
