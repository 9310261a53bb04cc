/* SPDX-License-Identifier: MIT
 *
 * program_run: see program_run.h. */
#include "backend/program/program_run.h"

#include <time.h>

#include "backend/program/program_facts.h"
#include "backend/program/program_fuse.h"

static moco_status poll_cancel(be_cancel *cancel, struct err *err)
{
    if (cancel != NULL && atomic_load(cancel) != 0)
        return err_set(err, MOCO_ECANCELED, "cancelled");
    return MOCO_OK;
}

static double now(const struct program *p)
{
    struct timespec t;
    if (p->profile == NULL || clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        return 0;
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Adds up what a moment took, if anybody wants to know. */
static void count_time(struct program *p, int moment, double began)
{
    if (p->profile != NULL)
        p->profile[moment] += now(p) - began;
}

static moco_status check(const struct program *p, enum be_pass pass, const char *what, struct err *err)
{
    if (p->slab == NULL)
        return err_set(err, MOCO_ESTATE, "%s: the plan is not bound to memory", p->device->name);
    if (p->spec.pass != pass)
        return err_set(err, MOCO_ESTATE, "%s: only a plan for %s", p->device->name, what);
    return MOCO_OK;
}

moco_status program_bind(struct program *p, void *slab, struct err *err)
{
    if ((uintptr_t)slab % 64 != 0)
        return err_set(err, MOCO_EINVAL, "%s: a plan is bound to an address that is no multiple of 64",
                       p->device->name);
    p->slab = slab;
    return MOCO_OK;
}

/* ---- forward ---- */

static moco_status forward_slice(struct program *p, const struct program_segment *segment,
                                 const struct program_forward *run, struct err *err)
{
    for (int i = segment->first; i < segment->end; i++) {
        const struct program_node *node = &p->nodes[i];
        double began = now(p);
        TRY(poll_cancel(run->io->cancel, err));
        TRY(p->device->ops[node->op->kind]->run(run, node, err));
        count_time(p, i, began);
    }
    return MOCO_OK;
}

moco_status program_forward(struct program *p, const struct be_forward *io, struct err *err)
{
    TRY(check(p, p->spec.pass, "", err));
    for (int i = 0; i < p->segment_count; i++) {
        struct program_forward run = {.plan = p->plan, .io = io, .slice = {.n = p->segments[i].n}};
        for (; run.slice.at < p->spec.n; run.slice.at += run.slice.n)
            TRY(forward_slice(p, &p->segments[i], &run, err));
    }
    return MOCO_OK;
}

/* ---- backward ---- */

int program_has_param(const struct program *p, int param)
{
    for (int i = 0; i < p->node_count; i++)
        if (p->nodes[i].op->param[0] == param || p->nodes[i].op->param[1] == param)
            return 1;
    return 0;
}

/* Tells which gradients are final after this step. */
static void announce(const struct be_backward *io, const struct program_step *step)
{
    if (io->on_grad == NULL || step->node == NULL)
        return;
    const struct graph_op *op = step->node->op;
    if (step->kind != (program_facts[op->kind].weights ? STEP_WEIGHTS : STEP_DATA))
        return;
    for (int which = 0; which < 2; which++)
        if (op->param[which] >= 0)
            io->on_grad(io->user, op->param[which], 1);
}

static moco_status run_step(const struct program *p, const struct program_backward *run,
                            const struct program_step *step, struct err *err)
{
    if (step->kind == STEP_SUM || step->kind == STEP_COPY || step->kind == STEP_RELU)
        return p->device->plain(run, step, err);
    return p->device->ops[step->node->op->kind]->run_back(run, step, err);
}

moco_status program_backward(struct program *p, const struct be_backward *io, struct err *err)
{
    struct program_backward run = {.plan = p->plan, .io = io};
    TRY(check(p, BE_TRAIN, "training runs backward", err));
    for (int i = 0; io->on_grad != NULL && i < p->spec.graph->param_count; i++)
        if (!program_has_param(p, i))
            io->on_grad(io->user, i, 1);
    for (int i = 0; i < p->step_count; i++) {
        double began = now(p);
        TRY(poll_cancel(io->cancel, err));
        TRY(run_step(p, &run, &p->steps[i], err));
        announce(io, &p->steps[i]);
        count_time(p, p->node_count + i, began);
    }
    return MOCO_OK;
}

/* ---- once ---- */

moco_status program_fold_op(const struct program_op *const *ops, struct be_weights *weights, const struct graph *graph,
                            int i, const void *masters, const void *stats, struct err *err)
{
    const struct graph_op *op = &graph->ops[i];
    const struct program_op *device = ops[op->kind];
    if (device == NULL || device->fold == NULL || program_is_folded(graph, op))
        return MOCO_OK;
    return device->fold(weights, op, program_folded(graph, op), masters, stats, err);
}

moco_status program_fold(const struct program_op *const *ops, struct be_weights *weights, const struct graph *graph,
                         const void *masters, const void *stats, struct err *err)
{
    for (int i = 0; i < graph->op_count; i++)
        TRY(program_fold_op(ops, weights, graph, i, masters, stats, err));
    return MOCO_OK;
}

moco_status program_warm(struct program *p, void *zeros, struct err *err)
{
    struct program_backward back = {.plan = p->plan};
    for (int i = 0; i < p->segment_count; i++) {
        struct program_forward run = {.plan = p->plan, .slice = {.n = p->segments[i].n}};
        for (int j = p->segments[i].first; j < p->segments[i].end; j++) {
            const struct program_op *op = p->device->ops[p->nodes[j].op->kind];
            if (op->warm != NULL)
                TRY(op->warm(&run, &p->nodes[j], zeros, err));
        }
    }
    for (int i = 0; i < p->step_count; i++) {
        const struct program_step *step = &p->steps[i];
        const struct program_op *op = step->node == NULL ? NULL : p->device->ops[step->node->op->kind];
        if (op != NULL && op->warm_back != NULL)
            TRY(op->warm_back(&back, step, zeros, err));
    }
    return MOCO_OK;
}
