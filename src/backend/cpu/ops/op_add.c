/* SPDX-License-Identifier: MIT
 *
 * op_add: sums and ReLUs that are not fused with another op. Their backward pass consists of op_steps alone. */
#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

static moco_status run_relu(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    const void *x = program_value_at(p, node->in, run->slice.at);
    kern_relu_back(&run->plan->dev->team, program_value_count(p, node->out, run->slice.n),
                   cpu_value_bf16(run->plan, node->in), x, x, program_value_at(p, node->out, run->slice.at));
    return MOCO_OK;
}

const struct program_op cpu_op_relu = {.place = PLACE_OVER_INPUT, .run = run_relu};

static moco_status run_add(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    kern_add(&run->plan->dev->team, program_value_count(p, node->out, run->slice.n),
             cpu_value_bf16(run->plan, node->in), program_value_at(p, node->in, run->slice.at),
             program_value_at(p, node->other, run->slice.at), node->relu,
             program_value_at(p, node->out, run->slice.at));
    return MOCO_OK;
}

const struct program_op cpu_op_add = {.place = PLACE_OVER_INPUT, .run = run_add};
