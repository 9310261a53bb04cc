/* SPDX-License-Identifier: MIT
 *
 * cuda_op_map: the other ops: images, sums, ReLU, pooling, normalisation (kernels/map.cu). */
#include "backend/cuda/cuda_params.h"
#include "backend/program/program_buffers.h"

static struct map_args shape_of(const struct be_plan *plan, const struct program_node *node)
{
    const struct graph_op *op = node->op;
    const struct graph_value *in = cuda_value(plan, node->in), *out = cuda_value(plan, node->out);
    return (struct map_args){.n = plan->program.spec.n,
                             .h = in->h,
                             .w = in->w,
                             .c = in->c,
                             .oh = out->h,
                             .ow = out->w,
                             .kernel = op->kernel,
                             .stride = op->stride,
                             .pad = op->pad};
}

static int64_t count_of(const struct be_plan *plan, int value)
{
    return (int64_t)program_value_count(&plan->program, value, plan->program.spec.n);
}

/* ---- images ---- */

struct cuda_input {
    int upload; /* INFER: where images of the host come to; NONE */
};

static size_t image_bytes(const struct be_plan *plan, const struct program_node *node)
{
    const struct graph_value *v = cuda_value(plan, node->out);
    return (size_t)v->h * (size_t)v->w * 3 * (plan->program.spec.f32_input ? sizeof(float) : 1);
}

static moco_status compile_input(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct cuda_input *state = node->state;
    state->upload = NONE;
    if (plan->program.spec.pass != BE_INFER)
        return MOCO_OK;
    return program_buffer(&plan->program, &state->upload, (size_t)n * image_bytes(plan, node), CLASS_SCRATCH, moment,
                          err);
}

/* Images of the host, in the order in which the launch has them. */
static moco_status upload(const struct be_plan *plan, const struct program_node *node, const struct be_forward *io,
                          char *to, struct err *err)
{
    size_t bytes = image_bytes(plan, node);
    int n = plan->program.spec.n;
    if (io->index == NULL && io->second == NULL)
        return cuda_put(plan->dev, to, io->images, (size_t)n * bytes, err);
    for (int j = 0; j < n; j++) {
        int late = io->second != NULL && j >= n / 2;
        size_t image = io->index != NULL ? (size_t)io->index[j] : (size_t)(late ? j - n / 2 : j);
        const char *from = late ? io->second : io->images;
        TRY(cuda_put(plan->dev, to + (size_t)j * bytes, from + image * bytes, bytes, err));
    }
    return MOCO_OK;
}

/* Normalises the images of a launch. Inference uploads them first; a step has them on the device. */
static moco_status run_input(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct cuda_input *state = node->state;
    const struct graph *g = plan->program.spec.graph;
    const struct graph_value *v = cuda_value(plan, node->out);
    struct input_args args = {.images = run->io->images,
                              .second = run->io->second,
                              .index = run->io->index,
                              .out = cuda_value_at(plan, node->out),
                              .n = plan->program.spec.n,
                              .h = v->h,
                              .w = v->w,
                              .channels = cuda_channels(plan, node->out)};
    for (int c = 0; c < 3; c++) {
        args.mean[c] = (float)g->mean[c];
        args.std[c] = (float)g->std[c];
    }
    if (state->upload != NONE) {
        char *to = cuda_buffer(plan, state->upload);
        TRY(upload(plan, node, run->io, to, err));
        args.images = (const uint8_t *)to;
        args.second = NULL;
        args.index = NULL;
        if (plan->program.spec.f32_input)
            args.planes = (const float *)(const void *)to;
    }
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_input, node->out), (int64_t)args.n * args.h * args.w,
                             &args, err);
}

const struct program_op cuda_op_input = {
    .state = sizeof(struct cuda_input), .compile = compile_input, .run = run_input};

/* ---- sums and ReLU ---- */

static moco_status run_add(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct map_args args = {.x = cuda_value_at(plan, node->in),
                            .other = cuda_value_at(plan, node->other),
                            .y = cuda_value_at(plan, node->out),
                            .count = count_of(plan, node->out),
                            .relu = node->relu || node->op->kind == OP_RELU};
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_map_add, node->out), args.count, &args, err);
}

const struct program_op cuda_op_relu = {.place = PLACE_OVER_INPUT, .run = run_add};
const struct program_op cuda_op_add = {.place = PLACE_OVER_INPUT, .run = run_add};

/* ---- max pooling ---- */

struct cuda_maxpool {
    int winner; /* TRAIN; else NONE */
};

static moco_status compile_maxpool(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct cuda_maxpool *state = node->state;
    return program_winners(&plan->program, &state->winner, node->out, n, moment, err);
}

static moco_status compile_maxpool_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    (void)err;
    program_use(&plan->program, ((const struct cuda_maxpool *)step->node->state)->winner, moment);
    return MOCO_OK;
}

static struct map_args pool_of(const struct be_plan *plan, const struct program_node *node)
{
    struct map_args args = shape_of(plan, node);
    args.winner = cuda_buffer(plan, ((const struct cuda_maxpool *)node->state)->winner);
    return args;
}

static moco_status run_maxpool(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct map_args args = pool_of(plan, node);
    args.x = cuda_value_at(plan, node->in);
    args.y = cuda_value_at(plan, node->out);
    args.count = count_of(plan, node->out);
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_maxpool, node->out), args.count, &args, err);
}

static moco_status run_maxpool_back(const struct program_backward *run, const struct program_step *step,
                                    struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct map_args args = pool_of(plan, step->node);
    args.dy = cuda_buffer(plan, step->in[0]);
    args.y = cuda_buffer(plan, step->out[0]);
    args.count = count_of(plan, step->node->in);
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_maxpool_back, step->node->in), args.count, &args, err);
}

const struct program_op cuda_op_maxpool = {.state = sizeof(struct cuda_maxpool),
                                           .compile = compile_maxpool,
                                           .compile_back = compile_maxpool_back,
                                           .run = run_maxpool,
                                           .run_back = run_maxpool_back};

/* ---- maps to vectors, and vectors ---- */

static moco_status run_gap(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct map_args args = shape_of(plan, node);
    args.x = cuda_value_at(plan, node->in);
    args.y = cuda_value_at(plan, node->out);
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_gap, node->in), (int64_t)args.n * args.c, &args, err);
}

static moco_status run_gap_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct map_args args = shape_of(plan, step->node);
    args.dy = cuda_buffer(plan, step->in[0]);
    args.y = cuda_buffer(plan, step->out[0]);
    args.count = count_of(plan, step->node->in);
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_gap_back, step->node->in), args.count, &args, err);
}

const struct program_op cuda_op_gap = {.run = run_gap, .run_back = run_gap_back};

static moco_status compile_l2norm_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    (void)err;
    program_use(&plan->program, plan->program.value_buffer[step->node->in], moment);
    return MOCO_OK;
}

static moco_status run_l2norm(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct map_args args = shape_of(plan, node);
    args.x = cuda_value_at(plan, node->in);
    args.y = cuda_value_at(plan, node->out);
    return cuda_launch(plan->dev, CUDA_l2norm, args.n, 1, 1, &args, err);
}

static moco_status run_l2norm_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct map_args args = shape_of(plan, step->node);
    args.x = cuda_value_at(plan, step->node->in);
    args.dy = cuda_buffer(plan, step->in[0]);
    args.y = cuda_buffer(plan, step->out[0]);
    return cuda_launch(plan->dev, CUDA_l2norm_back, args.n, 1, 1, &args, err);
}

const struct program_op cuda_op_l2norm = {
    .compile_back = compile_l2norm_back, .run = run_l2norm, .run_back = run_l2norm_back};
