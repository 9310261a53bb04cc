/* SPDX-License-Identifier: MIT
 *
 * ref_plain: see ref_plain.h. */
#include "backend/ref/ref_plain.h"

#include <string.h>

#include "backend/program/program_buffers.h"
#include "backend/ref/ref_program.h"

moco_status ref_plain(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    size_t count = program_value_count(&plan->program, step->value, plan->program.spec.n);
    const double *dy = step->in[0] == NONE ? run->io->d_out : ref_at(plan, step->in[0]);
    double *to = ref_at(plan, step->out[0]);
    if (step->kind == STEP_SUM)
        ref_add(count, dy, ref_at(plan, step->in[1]), to);
    else if (step->kind == STEP_COPY)
        memcpy(to, dy, count * sizeof *to);
    else
        ref_relu_backward(count, ref_value(plan, step->value), dy, to);
    ref_round_value(plan, step->value, to);
    return MOCO_OK;
}
