/* SPDX-License-Identifier: MIT
 *
 * program_recompute: see program_recompute.h. */
#include "backend/program/program_recompute.h"

#include "backend/program/program_buffers.h"
#include "backend/program/program_facts.h"

/* Does the gradient of a reader read the value itself, other than a convolution's weight gradient? */
static int bound_to_be_kept(const struct program *p, int value)
{
    for (int i = 0; i < p->node_count; i++) {
        const struct program_node *node = &p->nodes[i];
        if (node->in == value && program_facts[node->op->kind].input_kept)
            return 1;
    }
    return value == p->spec.output;
}

static int never_kept(const struct program *p, const struct program_node *node)
{
    return node->other == NONE && program_value_bytes(p, node->out, 1) >= p->never_kept;
}

void program_recompute_choose(struct program *p)
{
    if (p->spec.pass != BE_TRAIN || !p->device->recomputes)
        return;
    for (int i = 0; i < p->node_count; i++) {
        const struct program_node *node = &p->nodes[i];
        if (node->op->kind != OP_BN || bound_to_be_kept(p, node->out))
            continue;
        if (!p->spec.recompute && !never_kept(p, node))
            continue;
        int depth = p->value_depth[node->in], other = node->other == NONE ? 0 : p->value_depth[node->other];
        depth = 1 + (depth > other ? depth : other);
        p->value_depth[node->out] = (unsigned char)(depth <= PROGRAM_DEPTH ? depth : 0);
    }
}
