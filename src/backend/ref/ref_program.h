/* SPDX-License-Identifier: MIT
 *
 * ref_program: a plan of this device: its program. Its nodes are those of the device cpu, so that results are
 * rounded where the cpu stores them: once a node, not between the ops of a node. What a reader would get wrong: a
 * gradient with two contributions is the sum of two rounded numbers. It is rounded again only if the op before it
 * reads it from memory, as pooling and convolutions do; batch norm adds the two itself. */
#ifndef MOCO_REF_PROGRAM_H
#define MOCO_REF_PROGRAM_H

#include "backend/program/program.h"
#include "backend/ref/ref.h"
#include "backend/ref/ref_ops.h"

struct be_plan {
    struct program program;
    int rounds_products; /* a convolution's results are rounded before anything is added to them */
};

extern const struct program_op *const ref_program_ops[OP_KINDS]; /* ref_plan.c */

moco_status ref_precision_check(enum be_precision precision, struct err *err);

static inline struct ref_shape ref_shape_of(const struct be_plan *plan, int value)
{
    const struct graph_value *v = &plan->program.spec.graph->values[value];
    return (struct ref_shape){plan->program.spec.n, v->c, v->h, v->w};
}

/* How a value and its gradient are stored. From the pooling over all pixels on, vectors are f32 in 16 bits too. */
static inline enum be_precision ref_rounding(const struct be_plan *plan, int value)
{
    enum be_precision precision = plan->program.spec.precision;
    return plan->program.value_vector[value] ? ref_master(precision) : precision;
}

static inline double *ref_value(const struct be_plan *plan, int value)
{
    return program_value_at(&plan->program, value, 0);
}

static inline double *ref_at(const struct be_plan *plan, int buffer)
{
    return program_at(&plan->program, buffer, 0);
}

void ref_round_value(const struct be_plan *plan, int value, double *numbers);

/* What a node has taken of the ops behind it, and rounding: of its value, which is all there but for these. */
void ref_finish(const struct be_plan *plan, const struct program_node *node);

/* A parameter in a slab; NULL: the op has none. */
const double *ref_param(const struct be_plan *plan, const void *slab, const struct graph_op *op, int which);
const double *ref_weight(const struct program_forward *run, const struct graph_op *op, int which); /* a convolution's */
const double *ref_other_param(const struct program_forward *run, const struct graph_op *op, int which);

/* Adds this launch's gradient, rounded as it leaves the op, to the slab. */
void ref_add_gradient(const struct program_backward *run, const struct graph_op *op, int which, const double *values);

/* INFER: the shift of a batch norm. */
const double *ref_shift(const struct program_forward *run, const struct graph_op *bn);

/* Weight and bias of a batch norm become scale and shift in folded weights. Returns the scale, not rounded yet. */
const double *ref_fold_bn(struct be_weights *w, const struct graph_op *bn, const void *stats);

#endif
