/* SPDX-License-Identifier: MIT
 *
 * cpu_recompute: which outputs of batch norm a plan for training does not keep. Its input and its statistics are kept
 * for its own gradient, so that one more pass over memory gives the output again, bit by bit. What a reader would get
 * wrong: a residual sum comes back from the sum before it, which may itself have to come back first; beyond two passes
 * in a row the value is kept, so that of a chain of sums every third one is. */
#include "backend/cpu/cpu_plan.h"

#define DEPTH_MAX 2
/* In f32 an output as large as this is never kept, if nothing is added to it. ResNet-50 at 224 px has eight of them: a
 * twelfth of a step's memory for four thousandths of its time. */
#define NEVER_KEPT ((size_t)512 << 10) /* bytes a sample */

/* Does the gradient of a reader read the value itself, other than a convolution's weight gradient? */
static int bound_to_be_kept(const struct be_plan *plan, int value)
{
    for (int i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        if (node->in == value && (node->kind == NODE_BN || node->kind == NODE_LINEAR || node->kind == NODE_L2NORM))
            return 1;
    }
    return value == plan->spec.output;
}

static int never_kept(const struct be_plan *plan, const struct node *node)
{
    return plan->type == SHIM_F32 && node->other == NONE &&
           cpu_value_bytes(plan, node->out) >= NEVER_KEPT * (size_t)plan->spec.n;
}

void cpu_recompute_choose(struct be_plan *plan)
{
    if (plan->spec.pass != BE_TRAIN)
        return;
    for (int i = 0; i < plan->node_count; i++) {
        const struct node *node = &plan->nodes[i];
        if (node->kind != NODE_BN || bound_to_be_kept(plan, node->out))
            continue;
        if (!plan->spec.recompute && !never_kept(plan, node))
            continue;
        int depth = plan->value_depth[node->in], other = node->other == NONE ? 0 : plan->value_depth[node->other];
        depth = 1 + (depth > other ? depth : other);
        plan->value_depth[node->out] = (unsigned char)(depth <= DEPTH_MAX ? depth : 0);
    }
}
