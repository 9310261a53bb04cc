/* SPDX-License-Identifier: MIT
 *
 * op_pool: max pooling, and the average over all pixels that turns a map into a vector. */
#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

/* ---- max pooling ---- */

struct op_maxpool {
    int index; /* TRAIN: number of the buffer of winners; else NONE */
};

static moco_status check(const struct be_plan *plan, const struct graph_op *op, struct err *err)
{
    (void)plan;
    if (op->kernel * op->kernel > KERN_POOL_WINDOW)
        return err_set(err, MOCO_ENOTSUP, "cpu: %s has a window of %d x %d; at most %d pixels are supported", op->name,
                       op->kernel, op->kernel, KERN_POOL_WINDOW);
    return MOCO_OK;
}

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct op_maxpool *state = node->state;
    struct program *p = &plan->program;
    state->index = NONE;
    if (p->spec.pass != BE_TRAIN)
        return MOCO_OK;
    return program_buffer(p, &state->index, program_value_count(p, node->out, n), CLASS_ACTIVATION, moment, err);
}

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    (void)err;
    program_use(&plan->program, ((const struct op_maxpool *)step->node->state)->index, moment);
    return MOCO_OK;
}

static struct kern_pool pool_of(const struct be_plan *plan, const struct program_node *node)
{
    const struct graph_value *out = &plan->program.spec.graph->values[node->out];
    const struct graph_op *op = node->op;
    return (struct kern_pool){
        .kernel = op->kernel, .stride = op->stride, .pad = op->pad, .out_h = out->h, .out_w = out->w};
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    struct kern_map in = cpu_value_map(run->plan, node->in, run->slice.n);
    struct kern_pool pool = pool_of(run->plan, node);
    kern_maxpool(&run->plan->dev->team, &in, &pool, program_value_at(p, node->in, run->slice.at),
                 program_value_at(p, node->out, run->slice.at),
                 program_at(p, ((const struct op_maxpool *)node->state)->index, 0));
    return MOCO_OK;
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    const struct program_node *node = step->node;
    struct kern_map in = cpu_value_map(run->plan, node->in, p->spec.n);
    struct kern_pool pool = pool_of(run->plan, node);
    kern_maxpool_back(&run->plan->dev->team, &in, &pool, program_at(p, step->in[0], 0),
                      program_at(p, ((const struct op_maxpool *)node->state)->index, 0),
                      program_at(p, step->out[0], 0));
    return MOCO_OK;
}

const struct program_op cpu_op_maxpool = {.state = sizeof(struct op_maxpool),
                                          .place = PLACE_NEW,
                                          .check = check,
                                          .compile = compile,
                                          .compile_back = compile_back,
                                          .run = run,
                                          .run_back = run_back};

/* ---- the average over all pixels ---- */

static moco_status run_gap(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    struct kern_map in = cpu_value_map(run->plan, node->in, run->slice.n);
    kern_gap(&run->plan->dev->team, &in, program_value_at(p, node->in, run->slice.at),
             program_value_at(p, node->out, run->slice.at));
    return MOCO_OK;
}

static moco_status run_gap_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    struct kern_map in = cpu_value_map(run->plan, step->node->in, p->spec.n);
    const void *dy = step->in[0] == NONE ? run->io->d_out : program_at(p, step->in[0], 0);
    kern_gap_back(&run->plan->dev->team, &in, dy, program_at(p, step->out[0], 0));
    return MOCO_OK;
}

const struct program_op cpu_op_gap = {.place = PLACE_NEW, .run = run_gap, .run_back = run_gap_back};
