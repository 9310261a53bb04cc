/* SPDX-License-Identifier: MIT
 *
 * cpu_bind: gives a plan its memory, and the first time runs every primitive once. What a reader would get wrong: that
 * run is no decoration: oneDNN allocates lazily and crashes where that fails, so that it happens here, when little is
 * at stake, and a step never meets it. Parameters are read from, and gradients written to, a block of zeros. */
#include "backend/cpu/cpu_plan.h"

static size_t largest_param(const struct be_plan *plan)
{
    size_t most = 64;
    for (int i = 0; i < plan->spec.layout->count; i++) {
        size_t bytes = (size_t)plan->spec.layout->params[i].count * sizeof(float);
        const struct cpu_param *p = &plan->spec.layout->params[i];
        for (int which = 0; which < 2; which++) /* padded channels may make a copy larger than its master */
            bytes = p->reader[which].bytes > bytes ? p->reader[which].bytes : bytes;
        most = bytes > most ? bytes : most;
    }
    return most;
}

static moco_status warm_up_segment(const struct be_plan *plan, const struct segment *segment, void *param,
                                   struct err *err)
{
    for (int i = segment->first; i < segment->end; i++) {
        const struct node *node = &plan->nodes[i];
        int infer = plan->spec.pass == BE_INFER;
        if (node->kind == NODE_CONV)
            TRY(cpu_run_conv(plan, node, infer ? cpu_buffer(plan, node->folded) : param, err));
        else if (node->kind == NODE_LINEAR)
            TRY(cpu_run_linear(plan, node, param, err));
    }
    return MOCO_OK;
}

static moco_status warm_up(struct be_plan *plan, void *param, struct err *err)
{
    moco_status status = MOCO_OK;
    for (int i = 0; i < plan->segment_count && status == MOCO_OK; i++) {
        plan->n = plan->segments[i].n;
        status = warm_up_segment(plan, &plan->segments[i], param, err);
    }
    plan->n = plan->spec.n;
    if (status != MOCO_OK)
        return status;
    for (int i = 0; i < plan->back_count; i++) {
        TRY(cpu_run_back(plan, &plan->backs[i], param, param, 0, err));
        if (plan->backs[i].kind == BACK_LINEAR_WEIGHTS)
            TRY(cpu_run_back(plan, &plan->backs[i], param, param, 1, err));
    }
    return MOCO_OK;
}

moco_status cpu_plan_bind(struct be_plan *plan, void *slab, struct err *err)
{
    plan->slab = slab;
    if (plan->warm)
        return MOCO_OK;
    void *param = mem_zalloc(plan->dev->ctx, largest_param(plan), err);
    struct parallel_scope scope;
    moco_status status = param == NULL ? MOCO_ENOMEM : cpu_enter(plan->dev, &scope, err);
    if (status == MOCO_OK) {
        status = warm_up(plan, param, err);
        parallel_leave(&scope);
    }
    mem_free(plan->dev->ctx, param);
    plan->warm = status == MOCO_OK;
    if (status != MOCO_OK)
        plan->slab = NULL;
    return status;
}
