/* SPDX-License-Identifier: MIT
 *
 * cpu_plan: makes and measures a plan; see cpu_plan.h. Every primitive is made here, once, and every byte that running
 * takes is laid out here; binding only adds an address. */
#include "backend/cpu/cpu_plan.h"

#include <time.h>

#define SLAB_ALIGN ((size_t)4096)

/* The most bytes of a class that are alive at once. */
static size_t peak(const struct be_plan *plan, enum buffer_class class)
{
    size_t most = 0;
    for (int step = 0; step < plan->node_count + plan->back_count; step++) {
        size_t sum = 0;
        for (int i = 0; i < plan->buffer_count; i++)
            if (plan->classes[i] == class && plan->buffers[i].first <= step && step <= plan->buffers[i].last)
                sum += plan->buffers[i].bytes;
        most = sum > most ? sum : most;
    }
    return most;
}

static moco_status lay_out(struct be_plan *plan, struct err *err)
{
    size_t total;
    TRY(memplan_solve(plan->dev->ctx, plan->buffers, plan->buffer_count, &total, err));
    if (total > SIZE_MAX - SLAB_ALIGN)
        return err_set(err, MOCO_ENOMEM, "cpu: the plan needs %zu bytes", total);
    plan->bytes.slab = (total + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN;
    plan->bytes.activations = plan->spec.pass == BE_TRAIN ? peak(plan, CLASS_ACTIVATION) : 0; /* kept for backward */
    plan->bytes.gradients = peak(plan, CLASS_GRADIENT);
    plan->bytes.scratch = peak(plan, CLASS_SCRATCH);
    return MOCO_OK;
}

static moco_status check_spec(const struct be_device *dev, const struct be_plan_spec *spec, struct err *err)
{
    if (spec->n < 1 || spec->groups < 1 || spec->n % spec->groups != 0)
        return err_set(err, MOCO_EINVAL, "cpu: a launch of %d samples in %d groups", spec->n, spec->groups);
    if (spec->output < 0 || spec->output >= spec->graph->value_count)
        return err_set(err, MOCO_EINVAL, "cpu: a plan's output is value %d of %d", spec->output,
                       spec->graph->value_count);
    if (spec->pass == BE_TRAIN && spec->output != spec->graph->embedding)
        return err_set(err, MOCO_EINVAL, "cpu: a plan for training ends in the embedding");
    if (spec->f32_input && spec->pass != BE_INFER)
        return err_set(err, MOCO_EINVAL, "cpu: only inference takes images that are normalised already");
    if (spec->layout->dev != dev || spec->layout->count != spec->graph->param_count)
        return err_set(err, MOCO_EINVAL, "cpu: the layout is not of this device and network");
    if (spec->precision != BE_F32 && spec->precision != BE_BF16)
        return err_set(err, MOCO_ENOTSUP, "cpu: there is no precision %d", (int)spec->precision);
    if (spec->precision == BE_BF16 && spec->pass != BE_INFER && spec->layout->precision != BE_BF16)
        return err_set(err, MOCO_EINVAL, "cpu: a bf16 plan needs a layout made for bf16");
    return MOCO_OK;
}

static moco_status compile(struct be_plan *plan, struct err *err)
{
    struct parallel_scope scope;
    TRY(cpu_nodes_build(plan, err));
    TRY(cpu_slices_choose(plan, err));
    cpu_recompute_choose(plan);
    TRY(cpu_enter(plan->dev, &scope, err));
    moco_status status = cpu_compile_forward(plan, err);
    if (status == MOCO_OK && plan->spec.pass == BE_TRAIN)
        status = cpu_compile_backward(plan, err);
    parallel_leave(&scope);
    if (status != MOCO_OK)
        return status;
    cpu_slices_widen(plan);
    status = lay_out(plan, err);
    return status;
}

moco_status cpu_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                            struct err *err)
{
    *out = NULL;
    TRY(check_spec(dev, spec, err));
    struct be_plan *plan = mem_zalloc(dev->ctx, sizeof *plan, err);
    if (plan == NULL)
        return MOCO_ENOMEM;
    plan->dev = dev;
    plan->spec = *spec;
    plan->n = spec->n;
    plan->fold = NONE;
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
    struct ctx *ctx = plan->dev->ctx;
    for (int i = 0; i < plan->node_count; i++)
        cpu_node_free(&plan->nodes[i]);
    for (int i = 0; i < plan->back_count; i++)
        cpu_back_free(&plan->backs[i]);
    mem_free(ctx, plan->nodes);
    mem_free(ctx, plan->backs);
    mem_free(ctx, plan->value_buffer);
    mem_free(ctx, plan->value_readers);
    mem_free(ctx, plan->value_vector);
    mem_free(ctx, plan->value_depth);
    mem_free(ctx, plan->buffers);
    mem_free(ctx, plan->classes);
    mem_free(ctx, plan->strides);
    mem_free(ctx, plan->segments);
    mem_free(ctx, plan);
}

void cpu_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes)
{
    *bytes = plan->bytes;
}

moco_status cpu_poll(be_cancel *cancel, struct err *err)
{
    if (cancel != NULL && atomic_load(cancel) != 0)
        return err_set(err, MOCO_ECANCELED, "cancelled");
    return MOCO_OK;
}

double cpu_clock(const struct be_plan *plan)
{
    struct timespec t;
    if (plan->profile == NULL || clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        return 0;
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

void cpu_profile(struct be_plan *plan, int step, double began)
{
    if (plan->profile != NULL)
        plan->profile[step] += cpu_clock(plan) - began;
}
