/* SPDX-License-Identifier: MIT
 *
 * op_linear: linear layers, with ReLU behind them, in f32 on vectors. What a reader would get wrong: the gradient of
 * the weights has two primitives, one that writes and one that adds to an earlier gradient. */
#include <string.h>

#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

struct op_linear {
    struct shim_prim product;
    int rows; /* of one product; 1 in steady plans, because oneDNN may take another kernel for a single sample */
    int scratch;
};

struct op_linear_back {
    struct shim_prim product;
    struct shim_prim added; /* WEIGHTS: the product that adds to an earlier gradient */
    int scratch;
};

static int inputs(const struct be_plan *plan, const struct program_node *node)
{
    return plan->program.spec.graph->values[node->in].c;
}

static int outputs(const struct be_plan *plan, const struct program_node *node)
{
    return plan->program.spec.graph->values[node->out].c;
}

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct op_linear *state = node->state;
    struct program *p = &plan->program;
    int in = inputs(plan, node), out = outputs(plan, node);
    state->scratch = NONE;
    state->rows = p->spec.steady ? 1 : n;
    TRY(shim_matmul_create(&state->product, plan->dev->engine, state->rows, out, in, 0, 1, 0, err));
    return program_buffer(p, &state->scratch, state->product.scratch, CLASS_SCRATCH, moment, err);
}

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct op_linear_back *state = step->state;
    struct shim_engine *engine = plan->dev->engine;
    int n = plan->program.spec.n, in = inputs(plan, step->node), out = outputs(plan, step->node);
    state->scratch = NONE;
    if (step->kind == STEP_WEIGHTS) {
        TRY(shim_matmul_create(&state->product, engine, out, in, n, 1, 0, 0, err));
        TRY(shim_matmul_create(&state->added, engine, out, in, n, 1, 0, 1, err));
    } else {
        TRY(shim_matmul_create(&state->product, engine, n, in, out, 0, 0, 0, err));
    }
    size_t scratch = state->product.scratch > state->added.scratch ? state->product.scratch : state->added.scratch;
    return program_buffer(&plan->program, &state->scratch, scratch, CLASS_SCRATCH, moment, err);
}

static moco_status product(const struct program_forward *run, const struct program_node *node, const float *weights,
                           struct err *err)
{
    const struct program *p = &run->plan->program;
    const struct op_linear *state = node->state;
    float *x = program_value_at(p, node->in, run->slice.at), *y = program_value_at(p, node->out, run->slice.at);
    for (int row = 0; row < run->slice.n; row += state->rows) {
        void *at[SHIM_SLOTS] = {[SHIM_SRC] = x + program_value_count(p, node->in, row),
                                [SHIM_WEIGHTS] = (void *)(uintptr_t)weights,
                                [SHIM_DST] = y + program_value_count(p, node->out, row),
                                [SHIM_SCRATCH] = program_at(p, state->scratch, 0)};
        TRY(shim_run(&state->product, at, err));
    }
    return MOCO_OK;
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    int infer = p->spec.pass == BE_INFER, c = outputs(plan, node);
    const float *weights =
        infer ? cpu_weights_vector(p->spec.weights, node->op) : cpu_vector_param(plan, run->io, node->op, 0);
    const float *bias =
        infer ? cpu_weights_bias(p->spec.weights, node->op) : cpu_vector_param(plan, run->io, node->op, 1);
    TRY(product(run, node, weights, err));
    float *y = program_value_at(p, node->out, run->slice.at);
    if (bias != NULL)
        kern_bias(&plan->dev->team, run->slice.n, c, bias, node->relu, y);
    else if (node->relu)
        kern_relu_back(&plan->dev->team, program_value_count(p, node->out, run->slice.n), 0, y, y, y);
    return MOCO_OK;
}

/* Returns the gradient of the output: the caller's own array if the layer is the network's last. */
static const void *gradient_at(const struct program_backward *run, const struct program_step *step)
{
    return step->in[0] == NONE ? run->io->d_out : program_at(&run->plan->program, step->in[0], 0);
}

static moco_status back_weights(const struct be_plan *plan, const struct program_step *step, const void *dy,
                                float *gradient, int accumulate, struct err *err)
{
    const struct op_linear_back *state = step->state;
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = (void *)dy,
                            [SHIM_WEIGHTS] = program_at(&plan->program, step->in[1], 0),
                            [SHIM_DST] = gradient,
                            [SHIM_SCRATCH] = program_at(&plan->program, state->scratch, 0)};
    return shim_run(accumulate ? &state->added : &state->product, at, err);
}

static moco_status back_data(const struct be_plan *plan, const struct program_step *step, const void *dy,
                             const float *weights, struct err *err)
{
    const struct op_linear_back *state = step->state;
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = (void *)dy,
                            [SHIM_WEIGHTS] = (void *)weights,
                            [SHIM_DST] = program_at(&plan->program, step->out[0], 0),
                            [SHIM_SCRATCH] = program_at(&plan->program, state->scratch, 0)};
    return shim_run(&state->product, at, err);
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct graph_op *op = step->node->op;
    const void *dy = gradient_at(run, step);
    if (step->kind == STEP_DATA)
        return back_data(plan, step, dy, cpu_master_of(plan, run->io->masters, op, 0), err);
    TRY(back_weights(plan, step, dy, cpu_gradient_of(plan, run->io, op, 0), run->io->accumulate, err));
    float *d_bias = cpu_gradient_of(plan, run->io, op, 1);
    if (d_bias != NULL)
        kern_bias_back(&plan->dev->team, plan->program.spec.n, outputs(plan, step->node), dy, d_bias,
                       run->io->accumulate);
    return MOCO_OK;
}

static moco_status fold(struct be_weights *w, const struct graph_op *op, const struct graph_op *bn, const void *masters,
                        const void *stats, struct err *err)
{
    (void)bn;
    (void)stats;
    (void)err;
    float *to = w->of[op->param[0]].vector.at;
    for (int which = 0; which < 2 && op->param[which] >= 0; which++) {
        int64_t count = w->layout->params[op->param[which]].count;
        memcpy(to, cpu_weights_master(w, masters, op, which), (size_t)count * sizeof(float));
        to += count;
    }
    return MOCO_OK;
}

static moco_status warm(const struct program_forward *run, const struct program_node *node, void *zeros,
                        struct err *err)
{
    return product(run, node, zeros, err);
}

static moco_status warm_back(const struct program_backward *run, const struct program_step *step, void *zeros,
                             struct err *err)
{
    const void *dy = step->in[0] == NONE ? zeros : program_at(&run->plan->program, step->in[0], 0);
    if (step->kind == STEP_DATA)
        return back_data(run->plan, step, dy, zeros, err);
    TRY(back_weights(run->plan, step, dy, zeros, 0, err));
    return back_weights(run->plan, step, dy, zeros, 1, err);
}

static void release(struct program_node *node)
{
    shim_prim_free(&((struct op_linear *)node->state)->product);
}

static void release_back(struct program_step *step)
{
    struct op_linear_back *state = step->state;
    shim_prim_free(&state->product);
    shim_prim_free(&state->added);
}

const struct program_op cpu_op_linear = {.state = sizeof(struct op_linear),
                                         .back = sizeof(struct op_linear_back),
                                         .place = PLACE_NEW,
                                         .compile = compile,
                                         .compile_back = compile_back,
                                         .run = run,
                                         .run_back = run_back,
                                         .fold = fold,
                                         .warm = warm,
                                         .warm_back = warm_back,
                                         .free = release,
                                         .free_back = release_back};
