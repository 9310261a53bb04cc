/* SPDX-License-Identifier: MIT
 *
 * ref_op_map: the other ops: images, sums, ReLU, pooling, normalisation. */
#include <string.h>

#include "backend/program/program_buffers.h"
#include "backend/ref/ref_program.h"

/* Normalises the images, which may be in one array or in two halves. */
static moco_status run_input(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    const struct be_forward *io = run->io;
    const struct graph *g = plan->program.spec.graph;
    const struct ref_shape shape = ref_shape_of(plan, node->out);
    double *out = ref_value(plan, node->out);
    if (plan->program.spec.f32_input)
        ref_input_planes(&shape, (const float *)(const void *)io->images, out);
    else if (io->second == NULL)
        ref_input(&shape, io->images, io->index, g->mean, g->std, out);
    else
        for (int half = 0; half < 2; half++) {
            struct ref_shape part = {shape.n / 2, shape.c, shape.h, shape.w};
            ref_input(&part, half ? io->second : io->images, io->index == NULL ? NULL : io->index + half * part.n,
                      g->mean, g->std, out + (size_t)half * ref_count(&part));
        }
    ref_finish(plan, node);
    return MOCO_OK;
}

const struct program_op ref_op_input = {.run = run_input};

static moco_status run_relu(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct ref_shape shape = ref_shape_of(run->plan, node->out);
    ref_relu(ref_count(&shape), ref_value(run->plan, node->in), ref_value(run->plan, node->out));
    ref_finish(run->plan, node);
    return MOCO_OK;
}

const struct program_op ref_op_relu = {.place = PLACE_OVER_INPUT, .run = run_relu};

static moco_status run_add(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct ref_shape shape = ref_shape_of(run->plan, node->out);
    const double *x = ref_value(run->plan, node->in);
    double *y = ref_value(run->plan, node->out);
    if (y != x)
        memcpy(y, x, ref_count(&shape) * sizeof *y);
    ref_finish(run->plan, node); /* adds the other */
    return MOCO_OK;
}

const struct program_op ref_op_add = {.place = PLACE_OVER_INPUT, .run = run_add};

/* ---- max pooling ---- */

struct ref_op_maxpool {
    int winner; /* TRAIN; else NONE */
};

static struct ref_conv window_of(const struct be_plan *plan, const struct program_node *node)
{
    const struct graph_op *op = node->op;
    return (struct ref_conv){
        ref_shape_of(plan, node->in), ref_shape_of(plan, node->out), {op->kernel, op->stride, op->pad}};
}

static moco_status compile_maxpool(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct ref_op_maxpool *state = node->state;
    return program_winners(&plan->program, &state->winner, node->out, n, moment, err);
}

static moco_status compile_maxpool_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    (void)err;
    program_use(&plan->program, ((const struct ref_op_maxpool *)step->node->state)->winner, moment);
    return MOCO_OK;
}

static moco_status run_maxpool(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct ref_conv pool = window_of(run->plan, node);
    ref_maxpool(&pool, ref_value(run->plan, node->in), ref_value(run->plan, node->out),
                program_at(&run->plan->program, ((const struct ref_op_maxpool *)node->state)->winner, 0));
    ref_finish(run->plan, node);
    return MOCO_OK;
}

static moco_status run_maxpool_back(const struct program_backward *run, const struct program_step *step,
                                    struct err *err)
{
    (void)err;
    const struct program_node *node = step->node;
    const struct ref_conv pool = window_of(run->plan, node);
    double *dx = ref_at(run->plan, step->out[0]);
    ref_maxpool_backward(&pool,
                         program_at(&run->plan->program, ((const struct ref_op_maxpool *)node->state)->winner, 0),
                         ref_at(run->plan, step->in[0]), dx);
    ref_round_value(run->plan, node->in, dx);
    return MOCO_OK;
}

const struct program_op ref_op_maxpool = {.state = sizeof(struct ref_op_maxpool),
                                          .compile = compile_maxpool,
                                          .compile_back = compile_maxpool_back,
                                          .run = run_maxpool,
                                          .run_back = run_maxpool_back};

/* ---- maps to vectors, and vectors ---- */

static moco_status run_gap(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct ref_shape in = ref_shape_of(run->plan, node->in);
    ref_gap(&in, ref_value(run->plan, node->in), ref_value(run->plan, node->out));
    ref_finish(run->plan, node);
    return MOCO_OK;
}

static moco_status run_gap_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct ref_shape in = ref_shape_of(run->plan, step->node->in);
    double *dx = ref_at(run->plan, step->out[0]);
    ref_gap_backward(&in, ref_at(run->plan, step->in[0]), dx);
    ref_round_value(run->plan, step->node->in, dx);
    return MOCO_OK;
}

const struct program_op ref_op_gap = {.run = run_gap, .run_back = run_gap_back};

static moco_status compile_l2norm_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    (void)err;
    program_use(&plan->program, plan->program.value_buffer[step->node->in], moment);
    return MOCO_OK;
}

static moco_status run_l2norm(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct ref_shape in = ref_shape_of(run->plan, node->in);
    ref_l2norm(in.n, in.c, ref_value(run->plan, node->in), ref_value(run->plan, node->out));
    ref_finish(run->plan, node);
    return MOCO_OK;
}

static moco_status run_l2norm_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct ref_shape in = ref_shape_of(run->plan, step->node->in);
    double *dx = ref_at(run->plan, step->out[0]);
    ref_l2norm_backward(in.n, in.c, ref_value(run->plan, step->node->in), ref_at(run->plan, step->in[0]), dx);
    ref_round_value(run->plan, step->node->in, dx);
    return MOCO_OK;
}

const struct program_op ref_op_l2norm = {
    .compile_back = compile_l2norm_back, .run = run_l2norm, .run_back = run_l2norm_back};
