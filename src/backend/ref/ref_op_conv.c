/* SPDX-License-Identifier: MIT
 *
 * ref_op_conv: convolutions, and linear layers, which are convolutions of 1 x 1 maps. */
#include "backend/program/program_buffers.h"
#include "backend/ref/ref_program.h"

struct ref_op_conv {
    int scratch;
    int read[2]; /* TF32: the two factors, as they are read; else NONE */
};

struct ref_op_conv_back {
    int scratch;
    int read[2];
    int gradient; /* WEIGHTS: this launch's, of the weight and behind it of the bias */
};

static struct ref_conv conv_of(const struct be_plan *plan, const struct program_node *node)
{
    const struct graph_op *op = node->op;
    struct ref_window window = {op->kernel, op->stride, op->pad};
    if (op->kind == OP_LINEAR)
        window = (struct ref_window){1, 1, 0};
    return (struct ref_conv){ref_shape_of(plan, node->in), ref_shape_of(plan, op->out), window};
}

/* ---- TF32 ---- */

/* Buffers for the two factors of products, of linear layers, too. */
static moco_status make_read(struct be_plan *plan, int read[2], const size_t count[2], int moment, struct err *err)
{
    read[0] = read[1] = NONE;
    if (plan->program.spec.precision != BE_TF32)
        return MOCO_OK;
    for (int i = 0; i < 2; i++)
        TRY(program_buffer(&plan->program, &read[i], count[i] * sizeof(double), CLASS_SCRATCH, moment, err));
    return MOCO_OK;
}

static const double *as_read(const struct be_plan *plan, int buffer, const double *from, size_t count)
{
    double *to = ref_at(plan, buffer);
    if (buffer == NONE)
        return from;
    for (size_t i = 0; i < count; i++)
        to[i] = (double)tf32_round((float)from[i]);
    return to;
}

static size_t weights_of(const struct be_plan *plan, const struct program_node *node)
{
    return (size_t)plan->program.spec.graph->params[node->op->param[0]].count;
}

/* ---- forward and back ---- */

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    (void)n;
    struct ref_op_conv *state = node->state;
    struct ref_conv conv = conv_of(plan, node);
    TRY(make_read(plan, state->read, (size_t[]){ref_count(&conv.in), weights_of(plan, node)}, moment, err));
    return program_buffer(&plan->program, &state->scratch, ref_conv_scratch(&conv) * sizeof(double), CLASS_SCRATCH,
                          moment, err);
}

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct ref_op_conv_back *state = step->state;
    const struct graph_op *op = step->node->op;
    const struct graph_param *params = plan->program.spec.graph->params;
    struct ref_conv conv = conv_of(plan, step->node);
    state->gradient = NONE;
    TRY(make_read(plan, state->read,
                  (size_t[]){ref_count(&conv.out),
                             step->kind == STEP_WEIGHTS ? ref_count(&conv.in) : weights_of(plan, step->node)},
                  moment, err));
    if (step->kind == STEP_WEIGHTS) {
        size_t count = (size_t)params[op->param[0]].count;
        if (op->param[1] >= 0)
            count += (size_t)params[op->param[1]].count;
        TRY(program_buffer(&plan->program, &state->gradient, count * sizeof(double), CLASS_SCRATCH, moment, err));
    }
    return program_buffer(&plan->program, &state->scratch, ref_conv_scratch(&conv) * sizeof(double), CLASS_SCRATCH,
                          moment, err);
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    const struct ref_op_conv *state = node->state;
    const struct ref_conv conv = conv_of(plan, node);
    double *y = ref_value(plan, node->out);
    const double *x = as_read(plan, state->read[0], ref_value(plan, node->in), ref_count(&conv.in));
    const double *w = as_read(plan, state->read[1], ref_weight(run, node->op, 0), weights_of(plan, node));
    ref_conv_forward(&conv, x, w, y, ref_at(plan, state->scratch));
    if (plan->rounds_products && node->op->kind == OP_CONV)
        ref_round_value(plan, node->out, y);
    if (node->op->kind == OP_LINEAR && node->op->param[1] >= 0)
        ref_bias(&conv.out, ref_other_param(run, node->op, 1), y);
    if (node->bn != NULL)
        ref_affine(&conv.out, y, NULL, ref_shift(run, node->bn), y);
    ref_finish(plan, node);
    return MOCO_OK;
}

/* Computes the gradient of the input (STEP_DATA), or those of weights and bias. */
static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    (void)err;
    const struct be_plan *plan = run->plan;
    const struct ref_op_conv_back *state = step->state;
    const struct program_node *node = step->node;
    const struct ref_conv conv = conv_of(plan, node);
    const double *dy = ref_at(plan, step->in[0]), *read = as_read(plan, state->read[0], dy, ref_count(&conv.out));
    double *scratch = ref_at(plan, state->scratch), *to = ref_at(plan, step->out[0]);
    if (step->kind == STEP_DATA) {
        const double *w = ref_param(plan, run->io->weights, node->op, 0);
        ref_conv_backward_data(&conv, as_read(plan, state->read[1], w, weights_of(plan, node)), read, to, scratch);
        ref_round_value(plan, node->in, to);
        return MOCO_OK;
    }
    double *gradient = ref_at(plan, state->gradient);
    if (node->op->param[1] >= 0) {
        double *d_bias = gradient + plan->program.spec.graph->params[node->op->param[0]].count;
        ref_bias_backward(&conv.out, dy, d_bias);
        ref_add_gradient(run, node->op, 1, d_bias);
    }
    const double *x = as_read(plan, state->read[1], ref_at(plan, step->in[1]), ref_count(&conv.in));
    ref_conv_backward_weight(&conv, x, read, gradient, scratch);
    if (plan->rounds_products && node->op->kind == OP_CONV)
        ref_round_all(plan->program.spec.precision, gradient, weights_of(plan, node));
    ref_add_gradient(run, node->op, 0, gradient);
    return MOCO_OK;
}

static moco_status fold(struct be_weights *w, const struct graph_op *op, const struct graph_op *bn, const void *masters,
                        const void *stats, struct err *err)
{
    (void)masters; /* the copy is made already */
    (void)err;
    if (bn == NULL)
        return MOCO_OK;
    const double *scale = ref_fold_bn(w, bn, stats);
    int channels = w->graph->values[op->out].c, param = op->param[0];
    int64_t each = w->graph->params[param].count / channels;
    double *weight = w->slab + w->layout->offset[param];
    for (int c = 0; c < channels; c++)
        for (int64_t k = 0; k < each; k++)
            weight[c * each + k] *= scale[c];
    return MOCO_OK;
}

const struct program_op ref_op_conv = {.state = sizeof(struct ref_op_conv),
                                       .back = sizeof(struct ref_op_conv_back),
                                       .compile = compile,
                                       .compile_back = compile_back,
                                       .run = run,
                                       .run_back = run_back,
                                       .fold = fold};

const struct program_op ref_op_linear = {.state = sizeof(struct ref_op_conv),
                                         .back = sizeof(struct ref_op_conv_back),
                                         .compile = compile,
                                         .compile_back = compile_back,
                                         .run = run,
                                         .run_back = run_back};
