/* SPDX-License-Identifier: MIT
 *
 * cuda_plan: slots that make and run plans; see cuda_plan.h. */
#include "backend/cuda/cuda_plan.h"

#include "backend/program/program_buffers.h"
#include "backend/program/program_compile.h"
#include "backend/program/program_run.h"

#define DECLARE(kind, name) extern const struct program_op cuda_op_##name;
GRAPH_OPS(DECLARE)

#define ROW(kind, name) [kind] = &cuda_op_##name,
const struct program_op *const cuda_program_ops[OP_KINDS] = {GRAPH_OPS(ROW)};

/* SUM, COPY and RELU. */
static moco_status plain(const struct program_backward *run, const struct program_step *step, struct err *err)
{
    const struct be_plan *plan = run->plan;
    struct be_device *dev = plan->dev;
    const void *dy = step->in[0] == NONE ? run->io->d_out : cuda_buffer(plan, step->in[0]);
    struct map_args args = {.x = dy, .y = cuda_buffer(plan, step->out[0])};
    args.count = (int64_t)program_value_count(&plan->program, step->value, plan->program.spec.n);
    if (step->kind == STEP_COPY)
        return cuda_move(dev, args.y, dy, program_value_bytes(&plan->program, step->value, plan->program.spec.n), err);
    if (step->kind == STEP_SUM) {
        args.other = cuda_buffer(plan, step->in[1]);
        return cuda_launch_items(dev, cuda_stored(plan, CUDA_map_add, step->value), args.count, &args, err);
    }
    args.x = cuda_value_at(plan, step->value);
    args.dy = dy;
    return cuda_launch_items(dev, cuda_stored(plan, CUDA_map_relu_back, step->value), args.count, &args, err);
}

/* Backward begins with a copy of the caller's gradient, since batch norm works in it. */
static const struct program_device device = {
    .name = "cuda", .ops = cuda_program_ops, .plain = plain, .copies_output = 1};

moco_status cuda_layout_check(const struct be_layout *layout, const struct graph *graph, struct err *err)
{
    int same = layout->count == graph->param_count;
    for (int i = 0; same && i < layout->count; i++)
        same = layout->place[i].count == graph->params[i].count;
    if (!same)
        return err_set(err, MOCO_ESHAPE, "%s: the layout was made for a network with other parameters than the plan's",
                       layout->dev->name);
    return MOCO_OK;
}

static moco_status check_weights(const struct be_device *dev, const struct be_plan_spec *spec, struct err *err)
{
    if ((spec->pass == BE_INFER) != (spec->weights != NULL))
        return err_set(err, MOCO_EINVAL, "%s: inference reads folded weights, and no other pass does", dev->name);
    if (spec->weights != NULL && (spec->weights->layout != spec->layout || spec->weights->precision != spec->precision))
        return err_set(err, MOCO_EINVAL, "%s: the weights were folded for another layout or precision than the plan's",
                       dev->name);
    if (spec->pass != BE_INFER && cuda_storage(spec->layout->precision) != cuda_storage(spec->precision))
        return err_set(err, MOCO_EINVAL, "%s: a plan in %s needs a layout that was made for it", dev->name,
                       backend_precision_name((int)spec->precision));
    return MOCO_OK;
}

static moco_status compile(struct be_plan *plan, struct err *err)
{
    struct program *p = &plan->program;
    TRY(program_begin(p, err));
    TRY(program_order(p, err));
    return program_end(p, err);
}

moco_status cuda_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                             struct err *err)
{
    *out = NULL;
    TRY(backend_has_precision(dev->name, cuda_precisions(dev), (int)spec->precision, err));
    TRY(cuda_layout_check(spec->layout, spec->graph, err));
    TRY(check_weights(dev, spec, err));
    struct be_plan *plan = mem_zalloc(dev->ctx, sizeof *plan, err);
    if (plan == NULL)
        return MOCO_ENOMEM;
    const struct graph_value *picture = &spec->graph->values[spec->graph->input];
    *plan =
        (struct be_plan){.program = {.plan = plan,
                                     .ctx = dev->ctx,
                                     .device = &device,
                                     .spec = *spec,
                                     .map_number = cuda_storage(spec->precision) > 0 ? sizeof(uint16_t) : sizeof(float),
                                     .vector_number = sizeof(float),
                                     .picture_channels = dnn_channels(spec->precision, picture->c)},
                         .dev = dev};
    moco_status status = cuda_enter(dev, err);
    if (status == MOCO_OK) {
        status = compile(plan, err);
        cuda_leave(dev);
    }
    if (status != MOCO_OK) {
        cuda_plan_free(plan);
        return status;
    }
    *out = plan;
    return MOCO_OK;
}

void cuda_plan_free(struct be_plan *plan)
{
    if (plan == NULL)
        return;
    struct ctx *ctx = plan->program.ctx;
    struct be_device *dev = plan->dev;
    cuda_enter_lost(dev);
    if (dev->dnn.lib != NULL)
        dev->cu->stream_sync(dev->stream); /* cuDNN does not say whether what is queued still needs a plan */
    program_free(&plan->program);
    cuda_leave(dev);
    mem_free(ctx, plan);
}

void cuda_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes)
{
    *bytes = plan->program.bytes;
}

/* Takes the fastest engines, and keeps which they are. Without memory for a weight it is the first of each. */
static moco_status tune(struct be_plan *plan, struct err *err)
{
    struct be_device *dev = plan->dev;
    struct be_memory zeros = {0};
    struct err why = {0};
    if (cuda_take(dev, plan->timed_weight, &zeros, &why) != MOCO_OK) {
        ctx_log(dev->ctx, LOG_WARN, "%s: engines are not timed: %.300s", dev->name, why.text);
        return dev->lost.status == MOCO_OK ? MOCO_OK : err_set(err, why.status, "%s", why.text);
    }
    moco_status status = program_warm(&plan->program, zeros.at, err);
    cuda_give(dev, &zeros);
    if (status == MOCO_OK)
        dnn_tuning_save(dev->tuning);
    plan->timed_weight = 0;
    return status;
}

moco_status cuda_plan_bind(struct be_plan *plan, void *slab, struct err *err)
{
    TRY(program_bind(&plan->program, slab, err));
    if (plan->timed_weight > 0)
        CUDA_WITHIN(plan->dev, tune(plan, err));
    return MOCO_OK;
}

/* ---- running ---- */

/* Maps are [n][h][w][c] here. */
static moco_status write_out(const struct be_plan *plan, void *out, struct err *err)
{
    const struct program *p = &plan->program;
    const struct graph_value *v = cuda_value(plan, p->spec.output);
    const void *from = cuda_value_at(plan, p->spec.output);
    if (p->value_vector[p->spec.output])
        return cuda_move(plan->dev, out, from, program_value_bytes(p, p->spec.output, p->spec.n), err);
    struct map_args args = {.x = from, .y = out, .h = v->h, .w = v->w, .c = v->c};
    args.count = (int64_t)program_value_count(p, p->spec.output, p->spec.n);
    return cuda_launch_items(plan->dev, cuda_stored(plan, CUDA_map_out, p->spec.output), args.count, &args, err);
}

static moco_status forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    struct program *p = &plan->program;
    struct be_forward queued = *io;
    queued.cancel = NULL; /* nothing of it has begun while it is queued; decide looks at the flag */
    TRY(program_forward(p, &queued, err));
    return write_out(plan, io->out, err);
}

moco_status cuda_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    struct program *p = &plan->program;
    if (p->slab != NULL && p->spec.pass == BE_INFER && !p->spec.weights->folded)
        return err_set(err, MOCO_ESTATE, "%s: inference runs before its weights were folded", plan->dev->name);
    CUDA_WITHIN(plan->dev, forward(plan, io, err));
    return MOCO_OK;
}

static moco_status backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    struct program *p = &plan->program;
    if (p->slab != NULL && p->spec.pass == BE_TRAIN && !io->accumulate)
        TRY(cuda_fill(plan->dev, io->gradients, cuda_layout_bytes(p->spec.layout), err));
    struct be_backward queued = *io;
    queued.cancel = NULL;
    return program_backward(p, &queued, err);
}

moco_status cuda_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    CUDA_WITHIN(plan->dev, backward(plan, io, err));
    return MOCO_OK;
}
