/* SPDX-License-Identifier: MIT
 *
 * cpu_conv: which of oneDNN's convolutions to take when the weights stand in a layout that somebody else chose. The
 * fastest implementation in its own layout, with a reorder of the weights into a scratch block if that layout is
 * another one: weights are small beside activations. What a reader would get wrong: asked for a given layout, oneDNN
 * falls back to a slower implementation, or to its reference, without a word; hence the comparison of names. */
#include <string.h>

#include "backend/cpu/cpu_layout.h"

#define ALIGN 64

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

int cpu_conv_gathers(const struct graph_op *op)
{
    return op->kind == OP_CONV && op->kernel == 1 && op->stride > 1 && op->pad == 0;
}

struct shim_conv cpu_conv_shape(const struct graph *graph, const struct graph_op *op, int n, int dense)
{
    const struct graph_value *in = &graph->values[op->in[0]], *out = &graph->values[op->out];
    struct shim_conv shape = {.n = n,
                              .ci = in->c,
                              .co = out->c,
                              .h = in->h,
                              .w = in->w,
                              .oh = out->h,
                              .ow = out->w,
                              .kernel = op->kernel,
                              .stride = op->stride,
                              .pad = op->pad};
    if (dense) {
        shape.h = out->h;
        shape.w = out->w;
        shape.stride = 1;
    }
    return shape;
}

struct kern_conv cpu_kern_conv(const struct shim_conv *shape)
{
    return (struct kern_conv){.n = shape->n,
                              .ci = shape->ci,
                              .co = shape->co,
                              .h = shape->h,
                              .w = shape->w,
                              .out_h = shape->oh,
                              .out_w = shape->ow,
                              .kernel = shape->kernel,
                              .stride = shape->stride,
                              .pad = shape->pad};
}

/* Where the given layout serves as well as the preferred one, take it: that saves the reorder. */
static void prefer_given(struct shim_prim *best, const struct be_device *dev, const struct shim_conv_spec *spec,
                         const struct shim_md *given)
{
    struct shim_conv_spec wanted = *spec;
    struct shim_prim prim;
    wanted.weights = given;
    if (shim_conv_create(&prim, dev->engine, &wanted, NULL) != MOCO_OK)
        return;
    if (!prim.reference && (best->reference || strcmp(prim.name, best->name) == 0)) {
        shim_prim_free(best);
        *best = prim;
    } else {
        shim_prim_free(&prim);
    }
}

moco_status cpu_conv_create(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                            const struct shim_md *given, struct err *err)
{
    *out = (struct cpu_conv){0};
    struct shim_conv_spec any = *spec;
    any.weights = NULL;
    TRY(shim_conv_create(&out->run, dev->engine, &any, err));
    if (!shim_md_equal(&out->run.weights, given))
        prefer_given(&out->run, dev, spec, given);
    if (out->run.reference)
        ctx_log(dev->ctx, LOG_WARN,
                "oneDNN has only its slow reference for a convolution of %d x %d x %d x %d to %d channels, kernel %d",
                spec->shape.n, spec->shape.ci, spec->shape.h, spec->shape.w, spec->shape.co, spec->shape.kernel);
    size_t scratch = out->run.scratch, ordered = 0;
    if (!shim_md_equal(&out->run.weights, given)) {
        int result = spec->pass == SHIM_BACK_WEIGHTS;
        moco_status status = shim_reorder_create(&out->order, dev->engine, result ? &out->run.weights : given,
                                                 result ? given : &out->run.weights, err);
        if (status != MOCO_OK) {
            cpu_conv_free(out);
            return status;
        }
        if (out->order.scratch > scratch)
            scratch = out->order.scratch;
        ordered = out->run.weights.bytes;
    }
    out->ordered = aligned(scratch);
    out->bytes = out->ordered + aligned(ordered);
    return MOCO_OK;
}

void cpu_conv_free(struct cpu_conv *conv)
{
    shim_prim_free(&conv->run);
    shim_prim_free(&conv->order);
    *conv = (struct cpu_conv){0};
}
