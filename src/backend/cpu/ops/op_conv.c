/* SPDX-License-Identifier: MIT
 *
 * op_conv: convolutions; for inference with the batch norm folded in, and ADD and ReLU behind it. What a reader
 * would get wrong: a primitive may give the gradient of the weights in another layout than the slab's, or the
 * gradient may have to be added to an earlier one. Both go through the step's scratch. */
#include "backend/cpu/ops/op_conv.h"

#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

/* Returns the weights in the plan's precision: the readers in bf16, else the masters themselves. */
static const void *weights_of(const struct be_plan *plan, const struct graph_op *op, const void *weights, int backward)
{
    const struct cpu_param *p = cpu_param_of(plan, op, 0);
    if (plan->type == SHIM_BF16)
        return (const char *)weights + p->reader_at[backward];
    return (const float *)weights + p->offset;
}

/* ---- the input densely and in the order of the output: every stride-th pixel of it, if the kernel is 1 x 1 ---- */

struct gather {
    const char *from;
    char *to;
    int64_t rows; /* rows of the output: samples x channel blocks x height */
    int64_t h, w, oh, ow, stride;
    int64_t blocks; /* channel blocks of the output in one pixel of the input: 1 if both have the same order */
    size_t pixel;   /* contiguous bytes of the input: the channels of a pixel, or a block of them */
    size_t block;   /* bytes of a block of the output */
};

static void gather_rows(void *arg, int thread, int threads)
{
    const struct gather *g = arg;
    for (int64_t row = g->rows * thread / threads; row < g->rows * (thread + 1) / threads; row++) {
        int64_t plane = row / g->oh, line = plane / g->blocks * g->h + row % g->oh * g->stride;
        const char *from = g->from + (size_t)(line * g->w) * g->pixel + (size_t)(plane % g->blocks) * g->block;
        char *to = g->to + (size_t)(row * g->ow) * g->block;
        for (int64_t x = 0; x < g->ow; x++)
            memcpy(to + (size_t)x * g->block, from + (size_t)(x * g->stride) * g->pixel, g->block);
    }
}

static void gather(const struct be_plan *plan, const struct program_node *node, int n, const void *from, void *to)
{
    struct kern_map in = cpu_value_map(plan, node->in, n), out = cpu_value_map(plan, node->out, n);
    int strided = cpu_conv_gathers(node->op),
        same = cpu_value_order(plan, node->in) == cpu_value_order(plan, node->out);
    int64_t bytes = in.bf16 ? 2 : 4, block = same ? in.block : out.block, oh = strided ? out.h : in.h;
    struct gather g = {.from = from,
                       .to = to,
                       .rows = (int64_t)in.n * (in.c / block) * oh,
                       .h = in.h,
                       .w = in.w,
                       .oh = oh,
                       .ow = strided ? out.w : in.w,
                       .stride = strided ? node->op->stride : 1,
                       .blocks = same ? 1 : in.c / block,
                       .pixel = (size_t)(in.block * bytes),
                       .block = (size_t)(block * bytes)};
    parallel_run(plan->dev->team.threads, gather_rows, &g);
}

static size_t gather_bytes(const struct be_plan *plan, const struct graph_op *op, int n)
{
    struct shim_conv shape = cpu_conv_shape(plan->program.spec.graph, op, n, cpu_conv_gathers(op));
    size_t count = (size_t)shape.n * (size_t)shape.ci * (size_t)shape.h * (size_t)shape.w;
    return count * (plan->type == SHIM_BF16 ? 2 : 4);
}

/* ---- compiling ---- */

/* Creates the convolution and offers it the layout that its weights already have. */
static moco_status create(struct be_plan *plan, const struct graph_op *op, const struct shim_conv_spec *spec,
                          struct op_conv *state, struct err *err)
{
    struct be_weights *folded = plan->program.spec.weights;
    const struct cpu_param *p = cpu_param_of(plan, op, 0);
    struct shim_md master;
    if (folded != NULL) {
        state->bias = cpu_weights_vector(folded, op);
        return cpu_weights_conv(folded, op, spec, &state->conv, &state->folded, err);
    }
    TRY(cpu_param_master(&master, p, err));
    moco_status status =
        cpu_conv_create(&state->conv, plan->dev, spec, plan->type == SHIM_BF16 ? &p->reader[0] : &master, err);
    shim_md_free(&master);
    return status;
}

/* Chooses the form of the input. oneDNN is slow at strided 1 x 1 convolutions: it gets the pixels that count,
 * gathered. */
static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct op_conv *state = node->state;
    struct program *program = &plan->program;
    const struct graph *g = program->spec.graph;
    int infer = program->spec.pass == BE_INFER;
    enum shim_order in = cpu_value_order(plan, node->in), out = cpu_value_order(plan, node->out);
    int reorders = in == SHIM_NHWC && out != SHIM_NHWC;
    struct shim_conv_spec spec = {.pass = infer ? SHIM_INFER : SHIM_FORWARD,
                                  .type = plan->type,
                                  .shape = cpu_conv_shape(g, node->op, n, 0),
                                  .src = reorders ? out : in,
                                  .dst = out,
                                  .sum = node->other != NONE,
                                  .relu = node->relu};
    state->dense = state->scratch = NONE;
    int gathers = cpu_conv_gathers(node->op) && !cpu_conv_own(plan->dev, &spec);
    if (gathers)
        spec.shape = cpu_conv_shape(g, node->op, n, 1);
    if (gathers || reorders)
        TRY(program_buffer(program, &state->dense, gather_bytes(plan, node->op, n), CLASS_SCRATCH, moment, err));
    TRY(create(plan, node->op, &spec, state, err));
    return program_buffer(program, &state->scratch, state->conv.bytes, CLASS_SCRATCH, moment, err);
}

/* Describes a pass of backward, which runs over all samples at once. */
static struct shim_conv_spec back_spec(const struct be_plan *plan, const struct program_node *node, enum shim_pass pass)
{
    const struct graph *g = plan->program.spec.graph;
    int first = node->in == g->input;
    return (struct shim_conv_spec){.pass = pass,
                                   .type = plan->type,
                                   .shape = cpu_conv_shape(g, node->op, plan->program.spec.n, 0),
                                   .src = first && plan->order != SHIM_NHWC ? SHIM_PLAIN : plan->order,
                                   .dst = plan->order};
}

static size_t pack(const struct be_plan *plan, const struct program_node *node)
{
    struct shim_conv_spec spec = back_spec(plan, node, SHIM_BACK_WEIGHTS);
    if (!cpu_conv_gathers(node->op) || cpu_conv_own(plan->dev, &spec))
        return 0;
    return gather_bytes(plan, node->op, plan->program.spec.n);
}

/* Makes scratch for the pass: for weights, also for a gradient that has to be added to an earlier one. */
static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct op_conv_back *state = step->state;
    const struct program_node *node = step->node;
    const struct cpu_param *p = cpu_param_of(plan, node->op, 0);
    int weights = step->kind == STEP_WEIGHTS;
    struct shim_conv_spec spec = back_spec(plan, node, weights ? SHIM_BACK_WEIGHTS : SHIM_BACK_DATA);
    if (weights && pack(plan, node) > 0)
        spec.shape = cpu_conv_shape(plan->program.spec.graph, node->op, plan->program.spec.n, 1);
    struct shim_md master;
    TRY(cpu_param_master(&master, p, err));
    int reader = !weights && plan->type == SHIM_BF16;
    moco_status status = cpu_conv_create(&state->conv, plan->dev, &spec, reader ? &p->reader[1] : &master, err);
    shim_md_free(&master);
    if (status != MOCO_OK)
        return status;
    state->result = state->conv.bytes;
    size_t added = weights && !state->conv.own ? (size_t)p->count * sizeof(float) : 0;
    return program_buffer(&plan->program, &state->scratch, state->result + added, CLASS_SCRATCH, moment, err);
}

/* ---- running ---- */

/* Reorders the weights into the scratch if the primitive reads another layout than they have. */
static moco_status in_layout(const struct cpu_conv *conv, char *scratch, const void **weights, struct err *err)
{
    if (conv->order.primitive == NULL)
        return MOCO_OK;
    void *at[SHIM_SLOTS] = {
        [SHIM_SRC] = (void *)*weights, [SHIM_DST] = scratch + conv->ordered, [SHIM_SCRATCH] = scratch};
    *weights = scratch + conv->ordered;
    return shim_run(&conv->order, at, err);
}

/* Runs the convolution by the kernel that was chosen when the plan was made: our own, Winograd's or oneDNN's. */
static moco_status forward(const struct program_forward *run, const struct program_node *node, const void *weights,
                           struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    const struct op_conv *state = node->state;
    int sample = run->slice.at;
    char *scratch = program_at(p, state->scratch, sample);
    void *src = program_value_at(p, node->in, sample), *dst = program_value_at(p, node->out, sample);
    if (p->spec.pass != BE_INFER)
        TRY(in_layout(&state->conv, scratch, &weights, err));
    if (state->conv.own) {
        kern_conv_forward(&plan->dev->team, &state->conv.kern, src, weights, dst);
        return MOCO_OK;
    }
    if (state->conv.wino.tile != 0) {
        struct kern_winograd_io io = {.x = src,
                                      .weights = weights,
                                      .bias = state->bias,
                                      .y = dst,
                                      .sum = node->other != NONE,
                                      .relu = node->relu,
                                      .scratch = scratch};
        kern_winograd_forward(&plan->dev->team, &state->conv.wino, &io);
        return MOCO_OK;
    }
    if (state->dense != NONE) {
        void *dense = program_at(p, state->dense, sample);
        gather(plan, node, run->slice.n, src, dense);
        src = dense;
    }
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = src,
                            [SHIM_WEIGHTS] = (void *)weights,
                            [SHIM_BIAS] = (void *)(uintptr_t)state->bias,
                            [SHIM_DST] = dst,
                            [SHIM_SCRATCH] = scratch};
    return shim_run(&state->conv.run, at, err);
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct op_conv *state = node->state;
    if (plan->program.spec.pass == BE_INFER)
        return forward(run, node, state->folded, err);
    return forward(run, node, weights_of(plan, node->op, run->io->weights, 0), err);
}

/* Computes the gradient of the weights: by oneDNN first in its layout, then reordered, then added, if necessary. */
static moco_status back_weights(const struct be_plan *plan, const struct program_step *step, float *gradient,
                                int accumulate, struct err *err)
{
    const struct op_conv_back *state = step->state;
    const struct cpu_conv *conv = &state->conv;
    const struct program *p = &plan->program;
    char *scratch = program_at(p, state->scratch, 0);
    void *dy = program_at(p, step->in[0], 0), *x = program_at(p, step->in[1], 0);
    if (conv->own) {
        kern_conv_weights(&plan->dev->team, &conv->kern, x, dy, accumulate, gradient, scratch);
        return MOCO_OK;
    }
    float *result = accumulate ? (float *)(void *)(scratch + state->result) : gradient;
    int reorders = conv->order.primitive != NULL;
    void *written = reorders ? (void *)(scratch + conv->ordered) : result;
    if (conv->blank) /* oneDNN adds this memory times zero to the sum, which would be NaN if it held one */
        memset(scratch, 0, conv->run.scratch);
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = x, [SHIM_WEIGHTS] = written, [SHIM_DST] = dy, [SHIM_SCRATCH] = scratch};
    TRY(shim_run(&conv->run, at, err));
    if (reorders) {
        void *turned[SHIM_SLOTS] = {[SHIM_SRC] = written, [SHIM_DST] = result, [SHIM_SCRATCH] = scratch};
        TRY(shim_run(&conv->order, turned, err));
    }
    if (accumulate)
        kern_add_floats(&plan->dev->team, (size_t)cpu_param_of(plan, step->node->op, 0)->count, result, gradient);
    return MOCO_OK;
}

static moco_status back_data(const struct be_plan *plan, const struct program_step *step, const void *weights,
                             struct err *err)
{
    const struct op_conv_back *state = step->state;
    const struct program *p = &plan->program;
    char *scratch = program_at(p, state->scratch, 0);
    void *dy = program_at(p, step->in[0], 0), *dx = program_at(p, step->out[0], 0);
    TRY(in_layout(&state->conv, scratch, &weights, err));
    if (state->conv.own) {
        kern_conv_back_data(&plan->dev->team, &state->conv.kern, dy, weights, dx);
        return MOCO_OK;
    }
    void *at[SHIM_SLOTS] = {
        [SHIM_SRC] = dx, [SHIM_WEIGHTS] = (void *)weights, [SHIM_DST] = dy, [SHIM_SCRATCH] = scratch};
    return shim_run(&state->conv.run, at, err);
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    const struct graph_op *op = step->node->op;
    if (step->kind == STEP_PACK) {
        gather(plan, step->node, p->spec.n, program_at(p, step->in[0], 0), program_at(p, step->out[0], 0));
        return MOCO_OK;
    }
    if (step->kind == STEP_WEIGHTS)
        return back_weights(plan, step, cpu_gradient_of(plan, run->io, op, 0), run->io->accumulate, err);
    return back_data(plan, step, weights_of(plan, op, run->io->weights, 1), err);
}

/* ---- folding ---- */

struct fold {
    const struct cpu_param *param;
    const float *from;
    const float *scale; /* for each output channel; NULL: 1 */
    float *to;
};

/* Folds row r, whose numbers belong to outputs r * b to (r + 1) * b - 1 in turn. */
static inline __attribute__((always_inline)) void fold_row(const struct fold *f, int64_t r, int64_t row, int64_t b)
{
    const float *from = f->from + r * row;
    float *to = f->to + r * row;
    if (f->scale == NULL)
        memcpy(to, from, (size_t)row * sizeof *to);
    for (int64_t j = 0; f->scale != NULL && j < row; j += b)
        for (int64_t o = 0; o < b; o++)
            to[j + o] = from[j + o] * f->scale[r * b + o];
}

/* Multiplies weights by the factor of their output channel. In every order of a slab the outputs of a block are
 * innermost. */
static void fold_rows(void *arg, int thread, int threads)
{
    const struct fold *f = arg;
    const struct cpu_param *p = f->param;
    int64_t rows = p->dims[0] / p->block, row = p->count / rows;
    for (int64_t r = rows * thread / threads; r < rows * (thread + 1) / threads; r++)
        if (p->block == 16)
            fold_row(f, r, row, 16);
        else if (p->block == 8)
            fold_row(f, r, row, 8);
        else
            fold_row(f, r, row, 1);
}

/* Multiplies the weights by their factors, into the form of Winograd's kernel or else in the master's order. */
static void fold_weights(const struct be_weights *w, const struct cpu_weights_copy *copy, struct fold *f)
{
    if (copy->wino.tile != 0)
        kern_winograd_weights(&w->dev->team, &copy->wino, f->from, f->scale, f->to);
    else
        parallel_run(w->dev->team.threads, fold_rows, f);
}

/* Writes weights * gamma / deviation into `to`, and beta - mean * gamma / deviation into `bias`. */
static void fold_into(const struct be_weights *w, const struct graph_op *op, const struct graph_op *bn,
                      const void *masters, const void *stats, const struct cpu_weights_copy *copy, float *bias,
                      float *to)
{
    const struct cpu_param *param = &w->layout->params[op->param[0]];
    struct fold f = {.param = param, .from = cpu_weights_master(w, masters, op, 0), .to = to};
    int c = (int)param->dims[0];
    memset(bias, 0, (size_t)c * sizeof(float));
    if (bn == NULL) {
        fold_weights(w, copy, &f);
        return;
    }
    const float *gamma = cpu_weights_master(w, masters, bn, 0), *beta = cpu_weights_master(w, masters, bn, 1);
    const float *mean = (const float *)stats + w->graph->stats[bn->stat].offset, *variance = mean + c;
    f.scale = bias; /* `bias` holds the factors first, and the biases at the end */
    for (int i = 0; i < c; i++)
        bias[i] = gamma[i] * (float)(1.0 / sqrt((double)variance[i] + bn->eps));
    fold_weights(w, copy, &f);
    for (int i = 0; i < c; i++)
        bias[i] = (beta != NULL ? beta[i] : 0) - mean[i] * bias[i];
}

/* Folds into every copy of the weights. A copy in another order than the master's goes through the scratch. */
static moco_status fold(struct be_weights *w, const struct graph_op *op, const struct graph_op *bn, const void *masters,
                        const void *stats, struct err *err)
{
    const struct cpu_weights_of *of = &w->of[op->param[0]];
    size_t folded = kern_pad64((size_t)w->layout->params[op->param[0]].count * sizeof(float));
    char *scratch = ((const struct cpu_masters *)masters)->scratch;
    for (const struct cpu_weights_copy *copy = of->copies; copy != NULL; copy = copy->next) {
        int reorders = copy->fill.primitive != NULL;
        float *to = reorders ? (void *)scratch : copy->memory.at;
        fold_into(w, op, bn, masters, stats, copy, of->vector.at, to);
        if (!reorders)
            continue;
        void *at[SHIM_SLOTS] = {[SHIM_SRC] = to, [SHIM_DST] = copy->memory.at, [SHIM_SCRATCH] = scratch + folded};
        TRY(shim_run(&copy->fill, at, err));
    }
    return MOCO_OK;
}

/* ---- the rest ---- */

static moco_status warm(const struct program_forward *run, const struct program_node *node, void *zeros,
                        struct err *err)
{
    const struct op_conv *state = node->state;
    const struct program *p = &run->plan->program;
    return forward(run, node, p->spec.pass == BE_INFER ? state->folded : zeros, err);
}

static moco_status warm_back(const struct program_backward *run, const struct program_step *step, void *zeros,
                             struct err *err)
{
    if (step->kind == STEP_WEIGHTS)
        return back_weights(run->plan, step, zeros, 0, err);
    return step->kind == STEP_DATA ? back_data(run->plan, step, zeros, err) : MOCO_OK;
}

static void release(struct program_node *node)
{
    cpu_conv_free(&((struct op_conv *)node->state)->conv);
}

static void release_back(struct program_step *step)
{
    cpu_conv_free(&((struct op_conv_back *)step->state)->conv);
}

const struct program_op cpu_op_conv = {.state = sizeof(struct op_conv),
                                       .back = sizeof(struct op_conv_back),
                                       .place = PLACE_OVER_OTHER,
                                       .compile = compile,
                                       .pack = pack,
                                       .compile_back = compile_back,
                                       .run = run,
                                       .run_back = run_back,
                                       .fold = fold,
                                       .warm = warm,
                                       .warm_back = warm_back,
                                       .free = release,
                                       .free_back = release_back};
