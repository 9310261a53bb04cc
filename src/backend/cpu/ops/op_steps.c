/* SPDX-License-Identifier: MIT
 *
 * op_steps: the steps of backward that belong to no op: sums of gradients, copies, undone ReLUs. */
#include <string.h>

#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

moco_status cpu_plain(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct program *p = &run->plan->program;
    const struct kern_team *team = &run->plan->dev->team;
    size_t count = program_value_count(p, step->value, p->spec.n);
    int bf16 = cpu_value_bf16(run->plan, step->value);
    const void *dy = step->in[0] == NONE ? run->io->d_out : program_at(p, step->in[0], 0);
    void *to = program_at(p, step->out[0], 0);
    if (step->kind == STEP_SUM)
        kern_add(team, count, bf16, dy, program_at(p, step->in[1], 0), 0, to);
    else if (step->kind == STEP_COPY)
        memcpy(to, dy, program_value_bytes(p, step->value, p->spec.n));
    else
        kern_relu_back(team, count, bf16, dy, program_value_at(p, step->value, 0), to);
    return MOCO_OK;
}
