/* SPDX-License-Identifier: MIT
 *
 * program_compile: see program_compile.h. */
#include "backend/program/program_compile.h"

#include "backend/program/program_buffers.h"
#include "backend/program/program_fuse.h"
#include "backend/program/program_order.h"
#include "backend/program/program_recompute.h"
#include "backend/program/program_slices.h"

moco_status program_begin(struct program *p, struct err *err)
{
    TRY(program_check(p, err));
    return program_fuse(p, err);
}

moco_status program_order(struct program *p, struct err *err)
{
    program_slices_choose(p);
    program_recompute_choose(p);
    TRY(program_order_forward(p, err));
    return p->spec.pass == BE_TRAIN ? program_order_backward(p, err) : MOCO_OK;
}

moco_status program_end(struct program *p, struct err *err)
{
    program_slices_widen(p);
    return program_lay_out(p, err);
}

/* Frees a program in whatever state it is: compiling may have ended after any node. */
void program_free(struct program *p)
{
    for (int i = 0; i < p->node_count; i++) {
        struct program_node *node = &p->nodes[i];
        const struct program_op *op = p->device->ops[node->op->kind];
        if (node->state != NULL && op->free != NULL)
            op->free(node);
        mem_free(p->ctx, node->state);
    }
    for (int i = 0; i < p->step_count; i++) {
        struct program_step *step = &p->steps[i];
        const struct program_op *op = step->node == NULL ? NULL : p->device->ops[step->node->op->kind];
        if (step->state != NULL && op->free_back != NULL)
            op->free_back(step);
        mem_free(p->ctx, step->state);
    }
    mem_free(p->ctx, p->nodes);
    mem_free(p->ctx, p->steps);
    mem_free(p->ctx, p->value_buffer);
    mem_free(p->ctx, p->value_readers);
    mem_free(p->ctx, p->value_vector);
    mem_free(p->ctx, p->value_depth);
    mem_free(p->ctx, p->buffers);
}
