/* SPDX-License-Identifier: MIT
 *
 * program_order: gives every node and every step of backward its moment, its state and its buffers, according to the
 * device's table. */
#ifndef MOCO_PROGRAM_ORDER_H
#define MOCO_PROGRAM_ORDER_H

#include "backend/program/program.h"

/* For training every node writes a buffer of its own, since backward reads most of them; a key encoder and inference
 * keep nothing, and work in place where they can. */
moco_status program_order_forward(struct program *p, struct err *err);

/* TRAIN, after forward. */
moco_status program_order_backward(struct program *p, struct err *err);

#endif
