/* SPDX-License-Identifier: MIT
 *
 * ref_plan: the slots of the device that make and run plans. What a reader would get wrong: the compiler is shared
 * with the device cpu, so that this device is no oracle for it. Golden tests and finite differences are. */
#include <string.h>

#include "backend/program/program_buffers.h"
#include "backend/program/program_compile.h"
#include "backend/program/program_run.h"
#include "backend/ref/ref_plain.h"
#include "backend/ref/ref_program.h"

#define DECLARE(kind, name) extern const struct program_op ref_op_##name;
GRAPH_OPS(DECLARE)

#define ROW(kind, name) [kind] = &ref_op_##name,
const struct program_op *const ref_program_ops[OP_KINDS] = {GRAPH_OPS(ROW)};

/* The caller's gradient of the output is copied, since it is rounded. */
static const struct program_device device = {
    .name = "ref", .ops = ref_program_ops, .plain = ref_plain, .copies_output = 1};

static moco_status compile(struct be_plan *plan, struct err *err)
{
    struct program *p = &plan->program;
    TRY(program_begin(p, err));
    TRY(program_order(p, err));
    return program_end(p, err);
}

moco_status ref_precision_check(enum be_precision precision, struct err *err)
{
    if (precision < BE_F32 || precision > BE_TF32)
        return err_set(err, MOCO_EINVAL, "ref: there is no precision number %d", (int)precision);
    return MOCO_OK;
}

static moco_status check_weights(const struct be_plan_spec *spec, struct err *err)
{
    if ((spec->pass == BE_INFER) != (spec->weights != NULL))
        return err_set(err, MOCO_EINVAL, "ref: inference reads folded weights, and no other pass does");
    if (spec->weights != NULL && (spec->weights->layout != spec->layout || spec->weights->precision != spec->precision))
        return err_set(err, MOCO_EINVAL,
                       "ref: the weights were folded for another layout or precision than the plan's");
    return MOCO_OK;
}

moco_status ref_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                            struct err *err)
{
    *out = NULL;
    TRY(ref_precision_check(spec->precision, err));
    TRY(ref_layout_check(spec->layout, spec->graph, err));
    TRY(check_weights(spec, err));
    struct be_plan *plan = mem_zalloc(dev->ctx, sizeof *plan, err);
    if (plan == NULL)
        return MOCO_ENOMEM;
    *plan = (struct be_plan){.program = {.plan = plan,
                                         .ctx = dev->ctx,
                                         .device = &device,
                                         .spec = *spec,
                                         .map_number = sizeof(double),
                                         .vector_number = sizeof(double)},
                             .rounds_products =
                                 spec->precision == BE_F16 || (spec->precision == BE_BF16 && dev->rounds_products)};
    moco_status status = compile(plan, err);
    if (status != MOCO_OK) {
        ref_plan_free(plan);
        return status;
    }
    *out = plan;
    return MOCO_OK;
}

void ref_plan_free(struct be_plan *plan)
{
    if (plan == NULL)
        return;
    struct ctx *ctx = plan->program.ctx;
    program_free(&plan->program);
    mem_free(ctx, plan);
}

void ref_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes)
{
    *bytes = plan->program.bytes;
}

moco_status ref_plan_bind(struct be_plan *plan, void *slab, struct err *err)
{
    return program_bind(&plan->program, slab, err);
}

/* Maps are [n][h][w][c] here. */
static void write_out(const struct be_plan *plan, double *out)
{
    const struct ref_shape shape = ref_shape_of(plan, plan->program.spec.output);
    const double *from = ref_value(plan, plan->program.spec.output);
    size_t pixels = (size_t)shape.h * (size_t)shape.w, c = (size_t)shape.c;
    for (size_t n = 0; n < (size_t)shape.n; n++, out += c * pixels, from += c * pixels)
        for (size_t i = 0; i < c; i++)
            for (size_t j = 0; j < pixels; j++)
                out[i * pixels + j] = from[j * c + i];
}

moco_status ref_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    struct program *p = &plan->program;
    if (p->slab != NULL && p->spec.pass == BE_INFER && !p->spec.weights->folded)
        return err_set(err, MOCO_ESTATE, "ref: inference runs before its weights were folded");
    TRY(program_forward(p, io, err));
    write_out(plan, io->out);
    return MOCO_OK;
}

moco_status ref_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    struct program *p = &plan->program;
    if (p->slab != NULL && p->spec.pass == BE_TRAIN && !io->accumulate)
        memset(io->gradients, 0, ref_layout_bytes(p->spec.layout));
    return program_backward(p, io, err);
}
