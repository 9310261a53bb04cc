/* SPDX-License-Identifier: MIT
 *
 * cpu_plan: see cpu_plan.h. Every primitive is made with the plan, once, and every byte that running takes is laid out
 * then; binding only adds an address. What a reader would get wrong: the first binding of a plan for training runs
 * every primitive once: oneDNN allocates lazily and crashes where that fails, so that it happens there, when little is
 * at stake, and a step never meets it. Inference is worth no step: its first launch does the same. */
#include "backend/cpu/cpu_plan.h"

#include <string.h>

#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"
#include "backend/program/program_compile.h"
#include "backend/program/program_run.h"

/* What a layer of a slice may read and write: a part of a last-level cache that others use too. */
#define SLICE_BYTES ((size_t)8 << 20)
/* In f32 an output as large as this is never kept, if nothing is added to it. ResNet-50 at 224 px has eight of them: a
 * twelfth of a step's memory for four thousandths of its time. */
#define NEVER_KEPT ((size_t)512 << 10) /* bytes a sample */

/* Op NAME of graph.h's list is cpu_op_NAME, in one of the files of ops/. */
#define DECLARE(kind, name) extern const struct program_op cpu_op_##name;
GRAPH_OPS(DECLARE)

#define ROW(kind, name) [kind] = &cpu_op_##name,
const struct program_op *const cpu_program_ops[OP_KINDS] = {GRAPH_OPS(ROW)};

static const struct program_device device = {
    .name = "cpu", .ops = cpu_program_ops, .plain = cpu_plain, .slice_bytes = SLICE_BYTES, .recomputes = 1};

static moco_status check_spec(const struct be_device *dev, const struct be_plan_spec *spec, struct err *err)
{
    if (spec->layout->dev != dev || spec->layout->count != spec->graph->param_count)
        return err_set(err, MOCO_EINVAL, "cpu: the layout is not of this device and network");
    if (spec->precision != BE_F32 && spec->precision != BE_BF16)
        return err_set(err, MOCO_ENOTSUP, "cpu: there is no precision %d", (int)spec->precision);
    if (spec->precision == BE_BF16 && spec->pass != BE_INFER && spec->layout->precision != BE_BF16)
        return err_set(err, MOCO_EINVAL, "cpu: a bf16 plan needs a layout made for bf16");
    if ((spec->pass == BE_INFER) != (spec->weights != NULL))
        return err_set(err, MOCO_EINVAL, "cpu: inference reads folded weights, and no other pass does");
    if (spec->weights != NULL && (spec->weights->layout != spec->layout || spec->weights->precision != spec->precision))
        return err_set(err, MOCO_EINVAL,
                       "cpu: the weights were folded for another layout or precision than the plan's");
    return MOCO_OK;
}

/* What brings a feature map out of the plan's order and type. */
static moco_status compile_map_out(struct be_plan *plan, struct err *err)
{
    struct program *p = &plan->program;
    int output = p->spec.output;
    const struct graph_value *value = &p->spec.graph->values[output];
    int64_t dims[4] = {p->spec.n, value->c, value->h, value->w};
    struct shim_md from = {0}, to = {0};
    moco_status status;
    if (p->value_vector[output])
        return MOCO_OK;
    TRY_GOTO(status, shim_md_create(&from, dims, plan->type, cpu_value_order(plan, output), err), done);
    TRY_GOTO(status, shim_md_create(&to, dims, SHIM_F32, SHIM_PLAIN, err), done);
    TRY_GOTO(status, shim_reorder_create(&plan->map_out, plan->dev->engine, &from, &to, err), done);
    status = program_buffer(p, &plan->map_scratch, plan->map_out.scratch, CLASS_SCRATCH, p->node_count - 1, err);
done:
    shim_md_free(&from);
    shim_md_free(&to);
    return status;
}

static moco_status compile(struct be_plan *plan, struct err *err)
{
    struct program *p = &plan->program;
    struct parallel_scope scope;
    TRY(program_begin(p, err));
    cpu_order_choose(plan);
    TRY(cpu_enter(plan->dev, &scope, err));
    moco_status status = program_order(p, err);
    if (status == MOCO_OK)
        status = compile_map_out(plan, err);
    parallel_leave(&scope);
    return status == MOCO_OK ? program_end(p, err) : status;
}

/* Compiles the graph. Maps are f32 or bf16 by the precision; vectors are always f32. */
moco_status cpu_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                            struct err *err)
{
    *out = NULL;
    TRY(check_spec(dev, spec, err));
    struct be_plan *plan = mem_zalloc(dev->ctx, sizeof *plan, err);
    if (plan == NULL)
        return MOCO_ENOMEM;
    int bf16 = spec->precision == BE_BF16;
    *plan = (struct be_plan){.program = {.plan = plan,
                                         .ctx = dev->ctx,
                                         .device = &device,
                                         .spec = *spec,
                                         .map_number = bf16 ? 2 : 4,
                                         .vector_number = 4,
                                         .never_kept = bf16 ? SIZE_MAX : NEVER_KEPT},
                             .dev = dev,
                             .type = bf16 ? SHIM_BF16 : SHIM_F32,
                             .map_scratch = NONE};
    moco_status status = compile(plan, err);
    if (status != MOCO_OK) {
        cpu_plan_free(plan);
        return status;
    }
    *out = plan;
    return MOCO_OK;
}

void cpu_plan_free(struct be_plan *plan)
{
    if (plan == NULL)
        return;
    program_free(&plan->program);
    shim_prim_free(&plan->map_out);
    mem_free(plan->dev->ctx, plan);
}

void cpu_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes)
{
    *bytes = plan->program.bytes;
}

/* ---- binding ---- */

static size_t largest_param(const struct be_layout *layout)
{
    size_t most = 64;
    for (int i = 0; i < layout->count; i++) {
        const struct cpu_param *p = &layout->params[i];
        size_t bytes = (size_t)p->count * sizeof(float);
        for (int which = 0; which < 2; which++) /* padded channels may make a copy larger than its master */
            bytes = p->reader[which].bytes > bytes ? p->reader[which].bytes : bytes;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Bytes of the zeros that are used for parameters, and for the caller's gradient of the output. */
static size_t zeros_bytes(const struct program *p)
{
    size_t param = largest_param(p->spec.layout), output = program_value_bytes(p, p->spec.output, p->spec.n);
    return param > output ? param : output;
}

moco_status cpu_plan_bind(struct be_plan *plan, void *slab, struct err *err)
{
    struct program *p = &plan->program;
    p->slab = slab;
    if (plan->warm || p->spec.pass == BE_INFER)
        return MOCO_OK;
    void *zeros = mem_zalloc(plan->dev->ctx, zeros_bytes(p), err);
    struct parallel_scope scope;
    moco_status status = zeros == NULL ? MOCO_ENOMEM : cpu_enter(plan->dev, &scope, err);
    if (status == MOCO_OK) {
        status = program_warm(p, zeros, err);
        parallel_leave(&scope);
    }
    mem_free(plan->dev->ctx, zeros);
    plan->warm = status == MOCO_OK;
    if (status != MOCO_OK)
        p->slab = NULL;
    return status;
}

/* ---- folded weights ---- */

/* Each copy in the order that a plan of one sample reads: such a plan is made, and is not wanted for more. */
static moco_status make_copies(struct be_weights *weights, struct err *err)
{
    const struct graph *g = weights->graph;
    struct be_plan_spec spec = {.graph = g,
                                .layout = weights->layout,
                                .precision = weights->precision,
                                .pass = BE_INFER,
                                .n = 1,
                                .groups = 1,
                                .output = g->embedding,
                                .weights = weights};
    struct be_plan *plan;
    TRY(cpu_plan_create(&plan, weights->dev, &spec, err));
    cpu_plan_free(plan);
    return MOCO_OK;
}

moco_status cpu_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                               const struct be_layout *layout, enum be_precision precision, struct err *err)
{
    struct be_weights *weights;
    *out = NULL;
    if (layout->dev != dev || layout->count != graph->param_count)
        return err_set(err, MOCO_EINVAL, "cpu: the layout is not of this device and network");
    TRY(cpu_weights_make(&weights, dev, graph, layout, precision, err));
    moco_status status = make_copies(weights, err);
    if (status != MOCO_OK) {
        cpu_weights_free(weights);
        return status;
    }
    *out = weights;
    return MOCO_OK;
}

/* ---- running ---- */

static moco_status write_out(const struct be_plan *plan, void *out, struct err *err)
{
    const struct program *p = &plan->program;
    void *value = program_value_at(p, p->spec.output, 0);
    if (plan->map_out.primitive == NULL) {
        memcpy(out, value, program_value_bytes(p, p->spec.output, p->spec.n));
        return MOCO_OK;
    }
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = value, [SHIM_DST] = out, [SHIM_SCRATCH] = program_at(p, plan->map_scratch, 0)};
    return shim_run(&plan->map_out, at, err);
}

moco_status cpu_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    const struct program *p = &plan->program;
    struct parallel_scope scope;
    if (p->spec.weights != NULL && p->slab != NULL && !p->spec.weights->folded)
        return err_set(err, MOCO_ESTATE, "cpu: inference runs before its weights were folded");
    TRY(cpu_enter(plan->dev, &scope, err));
    moco_status status = program_forward(&plan->program, io, err);
    if (status == MOCO_OK)
        status = write_out(plan, io->out, err);
    parallel_leave(&scope);
    return status;
}

/* Parameters that the output does not depend on have a gradient of zero. */
static void zero_others(const struct program *p, float *gradients)
{
    for (int i = 0; i < p->spec.layout->count; i++) {
        const struct cpu_param *param = &p->spec.layout->params[i];
        if (!program_has_param(p, i))
            memset(gradients + param->offset, 0, (size_t)param->count * sizeof(float));
    }
}

moco_status cpu_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    struct program *p = &plan->program;
    struct parallel_scope scope;
    TRY(cpu_enter(plan->dev, &scope, err));
    if (!io->accumulate && p->slab != NULL)
        zero_others(p, io->gradients);
    moco_status status = program_backward(p, io, err);
    parallel_leave(&scope);
    return status;
}
