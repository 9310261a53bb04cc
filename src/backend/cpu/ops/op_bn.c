/* SPDX-License-Identifier: MIT
 *
 * op_bn: batch norm, with ADD and ReLU behind it. What a reader would get wrong: for inference, and in training with
 * frozen statistics, it is an affine map with given statistics; in training all samples are then one group. */
#include "backend/cpu/ops/op_bn.h"

#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

struct op_bn_back {
    int scratch;
};

static struct kern_map map_of(const struct be_plan *plan, const struct program_node *node, int n)
{
    struct kern_map map = cpu_value_map(plan, node->in, n);
    if (plan->program.spec.frozen)
        map.groups = 1;
    return map;
}

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct op_bn *state = node->state;
    struct program *p = &plan->program;
    struct kern_map map = map_of(plan, node, n);
    size_t row = (size_t)map.c * sizeof(float);
    state->saved = state->mask = state->scratch = NONE;
    if (p->spec.pass == BE_INFER)
        return MOCO_OK; /* folded weights hold mean, 1 / deviation, weight and bias */
    TRY(program_buffer(p, &state->saved, (size_t)map.groups * 2 * row, CLASS_ACTIVATION, moment, err));
    if (!p->spec.frozen)
        TRY(program_buffer(p, &state->scratch, kern_bn_scratch(&plan->dev->team, &map), CLASS_SCRATCH, moment, err));
    if (p->spec.pass == BE_TRAIN && node->relu)
        TRY(program_buffer(p, &state->mask, kern_mask_bytes(&map), CLASS_ACTIVATION, moment, err));
    return MOCO_OK;
}

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct op_bn_back *state = step->state;
    const struct op_bn *of = step->node->state;
    struct program *p = &plan->program;
    state->scratch = NONE;
    program_use(p, of->saved, moment);
    if (step->kind == STEP_AGAIN)
        return MOCO_OK;
    program_use(p, of->mask, moment);
    program_use(p, p->value_buffer[step->node->in], moment);
    struct kern_map map = map_of(plan, step->node, p->spec.n);
    return program_buffer(p, &state->scratch, kern_bn_scratch(&plan->dev->team, &map), CLASS_SCRATCH, moment, err);
}

/* Writes mean and 1 / deviation, [2][c], from running statistics. */
static void save_given(const float *mean, size_t c, double eps, float *saved)
{
    memcpy(saved, mean, c * sizeof(float));
    for (size_t i = 0; i < c; i++)
        saved[c + i] = (float)(1.0 / sqrt((double)mean[c + i] + eps));
}

static void save_batch(const struct program_forward *run, const struct program_node *node, const struct kern_map *map,
                       const void *x, float *saved)
{
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    const struct op_bn *state = node->state;
    float *mean = run->io->stage == NULL ? NULL : (float *)run->io->stage + p->spec.graph->stats[node->op->stat].offset;
    kern_bn_stats(&plan->dev->team, map, x, node->op->eps, saved, mean, mean == NULL ? NULL : mean + map->c,
                  program_at(p, state->scratch, 0));
}

/* Computes y from statistics of the batch, of the folded weights (inference) or of the running ones (frozen). */
static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    const struct op_bn *state = node->state;
    struct kern_map map = map_of(plan, node, run->slice.n);
    const void *x = program_value_at(p, node->in, run->slice.at);
    int infer = p->spec.pass == BE_INFER;
    const float *given = infer ? cpu_weights_vector(p->spec.weights, node->op) : NULL;
    float *saved = infer ? NULL : program_at(p, state->saved, 0);
    struct kern_bn_forward io = {.x = x,
                                 .saved = infer ? given : saved,
                                 .add = program_value_at(p, node->other, run->slice.at),
                                 .relu = node->relu,
                                 .y = program_value_at(p, node->out, run->slice.at),
                                 .mask = program_at(p, state->mask, 0)};
    if (infer) {
        io.gamma = given + (size_t)2 * (size_t)map.c;
        io.beta = io.gamma + map.c;
    } else {
        io.gamma = cpu_vector_param(plan, run->io, node->op, 0);
        io.beta = cpu_vector_param(plan, run->io, node->op, 1);
        if (p->spec.frozen)
            save_given((const float *)run->io->stats + p->spec.graph->stats[node->op->stat].offset, (size_t)map.c,
                       node->op->eps, saved);
        else
            save_batch(run, node, &map, x, saved);
    }
    kern_bn_apply(&plan->dev->team, &map, &io);
    return MOCO_OK;
}

/* Computes a map again that was not kept, from the statistics that forward saved: the same bits. */
static void run_again(const struct program_backward *run, const struct program_step *step, const struct kern_map *map)
{
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    const struct program_node *node = step->node;
    const struct op_bn *state = node->state;
    struct kern_bn_forward io = {.x = program_at(p, step->in[0], 0),
                                 .saved = program_at(p, state->saved, 0),
                                 .gamma = cpu_master_of(plan, run->io->masters, node->op, 0),
                                 .beta = cpu_master_of(plan, run->io->masters, node->op, 1),
                                 .add = program_at(p, step->in[1], 0),
                                 .relu = node->relu,
                                 .y = program_at(p, step->out[0], 0)};
    kern_bn_apply(&plan->dev->team, map, &io);
}

/* Computes the gradients of x, gamma, beta and, at out[1], of what ADD added. */
static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    const struct program_node *node = step->node;
    const struct op_bn *state = node->state;
    struct kern_map map = map_of(plan, node, p->spec.n);
    if (step->kind == STEP_AGAIN) {
        run_again(run, step, &map);
        return MOCO_OK;
    }
    struct kern_bn_back io = {.x = program_value_at(p, node->in, 0),
                              .dy = program_at(p, step->in[0], 0),
                              .dy2 = program_at(p, step->in[1], 0),
                              .mask = program_at(p, state->mask, 0),
                              .saved = program_at(p, state->saved, 0),
                              .gamma = cpu_master_of(plan, run->io->masters, node->op, 0),
                              .frozen = p->spec.frozen,
                              .dz = program_at(p, step->out[1], 0),
                              .dx = program_at(p, step->out[0], 0),
                              .d_gamma = cpu_gradient_of(plan, run->io, node->op, 0),
                              .d_beta = cpu_gradient_of(plan, run->io, node->op, 1),
                              .accumulate = run->io->accumulate,
                              .scratch = program_at(p, ((const struct op_bn_back *)step->state)->scratch, 0)};
    kern_bn_backward(&plan->dev->team, &map, &io);
    return MOCO_OK;
}

static moco_status fold(struct be_weights *w, const struct graph_op *op, const struct graph_op *bn, const void *masters,
                        const void *stats, struct err *err)
{
    (void)bn;
    (void)err;
    const struct graph_stat *stat = &w->graph->stats[op->stat];
    size_t c = (size_t)stat->channels;
    float *to = w->of[op->param[0]].vector.at;
    const float *beta = cpu_weights_master(w, masters, op, 1);
    save_given((const float *)stats + stat->offset, c, op->eps, to);
    memcpy(to + 2 * c, cpu_weights_master(w, masters, op, 0), c * sizeof(float));
    if (beta != NULL)
        memcpy(to + 3 * c, beta, c * sizeof(float));
    else
        memset(to + 3 * c, 0, c * sizeof(float));
    return MOCO_OK;
}

const struct program_op cpu_op_bn = {.state = sizeof(struct op_bn),
                                     .back = sizeof(struct op_bn_back),
                                     .place = PLACE_OVER_INPUT,
                                     .compile = compile,
                                     .compile_back = compile_back,
                                     .run = run,
                                     .run_back = run_back,
                                     .fold = fold};
