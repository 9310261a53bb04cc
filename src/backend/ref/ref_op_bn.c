/* SPDX-License-Identifier: MIT
 *
 * ref_op_bn: batch norm, with ADD and ReLU behind it. What a reader would get wrong: statistics (the saved ones and
 * the staged sums) are rounded as they are stored. */
#include <math.h>

#include "backend/program/program_buffers.h"
#include "backend/ref/ref_program.h"

struct ref_op_bn {
    int saved; /* mean and 1 / deviation of each group; INFER: NONE */
};

struct ref_op_bn_back {
    int scratch;
    int gradient; /* this launch's, of weight and bias, whether it has one or not */
};

static int groups_of(const struct be_plan *plan)
{
    return plan->program.spec.frozen ? 1 : plan->program.spec.groups;
}

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    (void)n;
    struct ref_op_bn *state = node->state;
    struct program *p = &plan->program;
    size_t row = (size_t)p->spec.graph->values[node->in].c * sizeof(double);
    state->saved = NONE;
    if (p->spec.pass == BE_INFER)
        return MOCO_OK;
    return program_buffer(p, &state->saved, 2 * row * (size_t)groups_of(plan), CLASS_ACTIVATION, moment, err);
}

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct ref_op_bn_back *state = step->state;
    struct program *p = &plan->program;
    const struct program_node *node = step->node;
    size_t row = (size_t)p->spec.graph->values[node->in].c * sizeof(double);
    program_use(p, ((const struct ref_op_bn *)node->state)->saved, moment);
    program_use(p, p->value_buffer[node->in], moment);
    if (node->relu)
        program_use(p, p->value_buffer[node->out], moment);
    TRY(program_buffer(p, &state->gradient, 2 * row, CLASS_SCRATCH, moment, err));
    return program_buffer(p, &state->scratch, 2 * row, CLASS_SCRATCH, moment, err);
}

/* Computes or takes the statistics, and rounds them as the device in this precision would keep them. */
static void save_statistics(const struct program_forward *run, const struct program_node *node, double *saved)
{
    const struct be_plan *plan = run->plan;
    const struct ref_shape shape = ref_shape_of(plan, node->in);
    enum be_precision rounding = ref_master(plan->program.spec.precision);
    int64_t offset = plan->program.spec.graph->stats[node->op->stat].offset;
    double *stage = run->io->stage == NULL ? NULL : (double *)run->io->stage + offset;
    if (plan->program.spec.frozen) {
        const double *mean = (const double *)run->io->stats + offset, *var = mean + shape.c;
        for (int c = 0; c < shape.c; c++) {
            saved[c] = mean[c];
            saved[shape.c + c] = 1 / sqrt(var[c] + node->op->eps);
        }
        stage = NULL;
    } else {
        ref_bn_stats(&shape, plan->program.spec.groups, ref_value(plan, node->in), node->op->eps, saved, stage);
    }
    ref_round_all(rounding, saved, 2 * (size_t)shape.c * (size_t)groups_of(plan));
    if (stage != NULL)
        ref_round_all(rounding, stage, 2 * (size_t)shape.c);
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    const struct ref_shape shape = ref_shape_of(plan, node->in);
    const double *x = ref_value(plan, node->in);
    double *y = ref_value(plan, node->out), *saved = ref_at(plan, ((const struct ref_op_bn *)node->state)->saved);
    const double *gamma = ref_other_param(run, node->op, 0), *beta = ref_other_param(run, node->op, 1);
    if (plan->program.spec.pass == BE_INFER) {
        ref_affine(&shape, x, gamma, ref_shift(run, node->op), y);
    } else {
        save_statistics(run, node, saved);
        ref_bn_apply(&shape, groups_of(plan), x, saved, gamma, beta, y);
    }
    ref_finish(plan, node);
    return MOCO_OK;
}

/* Undoes ReLU, which gives the gradient of ADD as well, and then propagates back through the normalisation. */
static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    const struct ref_op_bn_back *state = step->state;
    const struct program_node *node = step->node;
    const struct ref_shape shape = ref_shape_of(plan, node->in);
    size_t count = ref_count(&shape);
    double *d = ref_at(plan, step->in[0]), *dx = ref_at(plan, step->out[0]);
    double *d_gamma = ref_at(plan, state->gradient), *d_beta = d_gamma + shape.c;
    if (step->in[1] != NONE)
        ref_add(count, d, ref_at(plan, step->in[1]), d);
    if (node->relu)
        ref_relu_backward(count, ref_value(plan, node->out), d, d);
    struct ref_bn_back back = {.shape = shape,
                               .groups = groups_of(plan),
                               .frozen = plan->program.spec.frozen,
                               .x = ref_value(plan, node->in),
                               .saved = ref_at(plan, ((const struct ref_op_bn *)node->state)->saved),
                               .gamma = ref_param(plan, run->io->masters, node->op, 0),
                               .dy = d,
                               .dx = dx,
                               .d_gamma = d_gamma,
                               .d_beta = d_beta,
                               .scratch = ref_at(plan, state->scratch)};
    ref_bn_backward(&back);
    ref_add_gradient(run, node->op, 1, d_beta);
    ref_add_gradient(run, node->op, 0, d_gamma);
    ref_round_value(plan, node->in, dx);
    if (node->other != NONE)
        ref_round_value(plan, node->other, d); /* which is where it belongs */
    return MOCO_OK;
}

static moco_status fold(struct be_weights *w, const struct graph_op *op, const struct graph_op *bn, const void *masters,
                        const void *stats, struct err *err)
{
    (void)bn;
    (void)masters;
    (void)err;
    ref_fold_bn(w, op, stats);
    return MOCO_OK;
}

const struct program_op ref_op_bn = {.state = sizeof(struct ref_op_bn),
                                     .back = sizeof(struct ref_op_bn_back),
                                     .place = PLACE_OVER_INPUT,
                                     .compile = compile,
                                     .compile_back = compile_back,
                                     .run = run,
                                     .run_back = run_back,
                                     .fold = fold};
