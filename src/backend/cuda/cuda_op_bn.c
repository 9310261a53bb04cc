/* SPDX-License-Identifier: MIT
 *
 * cuda_op_bn: see cuda_op_bn.h, and kernels/bn.cu. What a reader would get wrong: backward reads the mask, not the
 * output, so that an output which nobody else reads is free after forward. */
#include "backend/cuda/cuda_op_bn.h"

#include "backend/program/program_buffers.h"

struct cuda_bn_back {
    int sums, means;
};

enum { MOST_SPLITS = 64, LEAST_ROWS = 256 /* of a split */ };

/* How many parts a group's rows are summed in: by the shape alone. */
static int splits_of(int64_t rows)
{
    int64_t splits = rows / LEAST_ROWS;
    return splits < 1 ? 1 : splits > MOST_SPLITS ? MOST_SPLITS : (int)splits;
}

static struct bn_args shape_of(const struct be_plan *plan, const struct program_node *node)
{
    const struct be_plan_spec *spec = &plan->program.spec;
    const struct graph_value *in = cuda_value(plan, node->in);
    struct bn_args args = {.eps = node->op->eps, .c = in->c, .relu = node->relu, .frozen = spec->frozen};
    args.groups = spec->frozen || spec->pass == BE_INFER ? 1 : spec->groups;
    args.rows = (int64_t)spec->n / args.groups * in->h * in->w;
    args.splits = splits_of(args.rows);
    return args;
}

static int64_t count_of(const struct bn_args *args)
{
    return args->groups * args->rows * args->c;
}

static size_t sums_bytes(const struct bn_args *args)
{
    return (size_t)args->groups * (size_t)args->splits * 2 * (size_t)args->c * sizeof(double);
}

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct cuda_bn *state = node->state;
    struct program *p = &plan->program;
    struct bn_args args = shape_of(plan, node);
    size_t row = (size_t)args.c * sizeof(float);
    (void)n;
    *state = (struct cuda_bn){NONE, NONE, NONE};
    if (p->spec.pass == BE_INFER)
        return MOCO_OK;
    if (p->spec.pass == BE_TRAIN && node->relu)
        TRY(program_buffer(p, &state->mask, ((size_t)count_of(&args) + 7) / 8, CLASS_ACTIVATION, moment, err));
    TRY(program_buffer(p, &state->sums, sums_bytes(&args), CLASS_SCRATCH, moment, err));
    return program_buffer(p, &state->saved, 2 * row * (size_t)args.groups, CLASS_ACTIVATION, moment, err);
}

static moco_status compile_back(struct be_plan *plan, struct program_step *step, int moment, struct err *err)
{
    struct cuda_bn_back *state = step->state;
    struct program *p = &plan->program;
    const struct cuda_bn *forward = step->node->state;
    struct bn_args args = shape_of(plan, step->node);
    program_use(p, forward->saved, moment);
    program_use(p, forward->mask, moment);
    program_use(p, p->value_buffer[step->node->in], moment);
    TRY(program_buffer(p, &state->sums, sums_bytes(&args), CLASS_SCRATCH, moment, err));
    return program_buffer(p, &state->means, 2 * (size_t)args.groups * (size_t)args.c * sizeof(float), CLASS_SCRATCH,
                          moment, err);
}

static int channel_blocks(const struct bn_args *args)
{
    return (args->c + CUDA_BN_CHANNELS - 1) / CUDA_BN_CHANNELS;
}

/* Mean and deviation of every group, or of what is given. */
static moco_status find_statistics(const struct program_forward *run, const struct program_node *node,
                                   struct bn_args *args, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct cuda_bn *state = node->state;
    int64_t offset = plan->program.spec.graph->stats[node->op->stat].offset;
    args->saved = cuda_buffer(plan, state->saved);
    args->sums = cuda_buffer(plan, state->sums);
    args->mask = cuda_buffer(plan, state->mask);
    if (args->frozen)
        args->stats = (const float *)run->io->stats + offset;
    else if (run->io->stage != NULL)
        args->stage = (float *)run->io->stage + offset;
    if (!args->frozen)
        TRY(cuda_launch(plan->dev, cuda_stored(plan, CUDA_bn_sums, node->in), channel_blocks(args), args->splits,
                        args->groups, args, err));
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_bn_statistics, node->in), args->c, args, err);
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct bn_args args = shape_of(plan, node);
    args.x = cuda_value_at(plan, node->in);
    args.other = cuda_value_at(plan, node->other);
    args.out = cuda_value_at(plan, node->out);
    args.gamma = cuda_other_param(run, node->op, 0);
    args.beta = cuda_other_param(run, node->op, 1);
    if (plan->program.spec.pass == BE_INFER) {
        args.affine = 1;
        args.beta = cuda_shift(run, node->op);
    } else {
        TRY(find_statistics(run, node, &args, err));
    }
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_bn_apply, node->in), (count_of(&args) + 7) / 8, &args,
                             err);
}

static moco_status run_back(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    const struct cuda_bn_back *state = step->state;
    const struct program_node *node = step->node;
    const struct cuda_bn *forward = node->state;
    struct bn_args args = shape_of(plan, node);
    args.x = cuda_value_at(plan, node->in);
    args.dy = cuda_buffer(plan, step->in[0]);
    if (node->other != NONE) /* whose gradient belongs there */
        args.d = cuda_buffer(plan, step->in[0]);
    args.more = cuda_buffer(plan, step->in[1]);
    args.out = cuda_buffer(plan, step->out[0]);
    args.saved = cuda_buffer(plan, forward->saved);
    args.mask = cuda_buffer(plan, forward->mask);
    args.gamma = cuda_param_in(plan, run->io->masters, node->op, 0);
    args.sums = cuda_buffer(plan, state->sums);
    args.means = cuda_buffer(plan, state->means);
    args.d_gamma = cuda_param_in(plan, run->io->gradients, node->op, 0);
    args.d_beta = cuda_param_in(plan, run->io->gradients, node->op, 1);
    TRY(cuda_launch(plan->dev, cuda_stored(plan, CUDA_bn_back_sums, node->in), channel_blocks(&args), args.splits,
                    args.groups, &args, err));
    TRY(cuda_launch_items(plan->dev, CUDA_bn_back_end, args.c, &args, err));
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_bn_back_apply, node->in), (count_of(&args) + 7) / 8,
                             &args, err);
}

static moco_status fold(struct be_weights *weights, const struct graph_op *op, const struct graph_op *bn,
                        const void *masters, const void *stats, struct err *err)
{
    struct fold_args args = {0};
    (void)bn;
    (void)masters; /* the copy is queued already */
    return cuda_fold_bn(weights, op, stats, &args, err);
}

const struct program_op cuda_op_bn = {.state = sizeof(struct cuda_bn),
                                      .back = sizeof(struct cuda_bn_back),
                                      .place = PLACE_OVER_INPUT,
                                      .compile = compile,
                                      .compile_back = compile_back,
                                      .run = run,
                                      .run_back = run_back,
                                      .fold = fold};
