/* SPDX-License-Identifier: MIT
 *
 * op_vector: L2 normalisation of the rows of a vector. */
#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    (void)err;
    program_use(&plan->program, plan->program.value_buffer[step->node->in], moment);
    return MOCO_OK;
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    kern_l2norm(&run->plan->dev->team, run->slice.n, p->spec.graph->values[node->out].c,
                program_value_at(p, node->in, run->slice.at), program_value_at(p, node->out, run->slice.at));
    return MOCO_OK;
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    const void *dy = step->in[0] == NONE ? run->io->d_out : program_at(p, step->in[0], 0);
    kern_l2norm_back(&run->plan->dev->team, p->spec.n, p->spec.graph->values[step->node->out].c,
                     program_value_at(p, step->node->in, 0), dy, program_at(p, step->out[0], 0));
    return MOCO_OK;
}

const struct program_op cpu_op_l2norm = {
    .place = PLACE_NEW, .compile_back = compile_back, .run = run, .run_back = run_back};
