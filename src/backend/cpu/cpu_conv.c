/* SPDX-License-Identifier: MIT
 *
 * cpu_conv: see cpu_conv.h. */
#include "backend/cpu/cpu_conv.h"

#include <string.h>

/* Pairs of channels for which weights of tiles of 4 x 4 outputs are at most 2.4 MB. */
#define WIDE_PAIRS (128 * 128)

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

static struct kern_conv kern_of(const struct shim_conv_spec *spec)
{
    const struct shim_conv *shape = &spec->shape;
    return (struct kern_conv){.n = shape->n,
                              .ci = shape->ci,
                              .co = shape->co,
                              .h = shape->h,
                              .w = shape->w,
                              .out_h = shape->oh,
                              .out_w = shape->ow,
                              .kernel = shape->kernel,
                              .stride = shape->stride,
                              .pad = shape->pad,
                              .bf16 = spec->type == SHIM_BF16};
}

/* Do the samples that a tile reads, each at the same place, fall into the same sets of the second cache? */
static int samples_collide(const struct shim_conv_spec *spec)
{
    const struct shim_conv *c = &spec->shape;
    size_t number = spec->type == SHIM_BF16 ? 2 : 4;
    size_t sample = spec->pass == SHIM_BACK_DATA ? (size_t)c->co * (size_t)c->oh * (size_t)c->ow
                                                 : (size_t)c->ci * (size_t)c->h * (size_t)c->w;
    return sample * number % (64 << 10) == 0;
}

/* Where ours is the faster one, as measured inside a step (docs/performance.md): for gradients of weights, but for f32
 * with a stride and one tap, which reads every other line; elsewhere where much of the kernel lies outside of small
 * maps, and where a stride leaves taps out. A tile wants eight samples. */
static int pays(const struct be_device *dev, const struct shim_conv_spec *spec)
{
    const struct shim_conv *c = &spec->shape;
    int bf16 = spec->type == SHIM_BF16, spatial = c->kernel > 1, strided = c->stride > 1;
    int back = spec->pass == SHIM_BACK_DATA;
    if (spec->pass == SHIM_BACK_WEIGHTS)
        return bf16 || spatial || !strided;
    if (c->n < 8)
        return 0;
    if (bf16)
        return spatial ? c->ow <= (back ? 16 : 8) || strided : c->ow <= 8;
    if (!spatial)
        return 0;
    if (back && strided)
        return c->ow <= 32;
    return c->ow <= (cpu_block(dev) == 16 ? 4 : 8) || (c->ow <= 16 && !samples_collide(spec));
}

int cpu_conv_own(const struct be_device *dev, const struct shim_conv_spec *spec)
{
    struct kern_conv kern = kern_of(spec);
    enum shim_order order = kern.bf16 ? SHIM_NHWC : cpu_block(dev) == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8;
    return spec->pass != SHIM_INFER && spec->src == order && spec->dst == order && kern_conv_fits(&dev->team, &kern) &&
           pays(dev, spec);
}

/* Multiplications of a pair of channels for one sample. */
static int64_t winograd_products(const struct kern_winograd *w, int tile)
{
    int64_t side = tile + 2;
    return (int64_t)((w->h + tile - 1) / tile) * ((w->w + tile - 1) / tile) * side * side;
}

static struct kern_winograd winograd_of(const struct shim_conv_spec *spec, int tile)
{
    const struct shim_conv *c = &spec->shape;
    return (struct kern_winograd){
        .n = c->n, .ci = c->ci, .co = c->co, .h = c->h, .w = c->w, .blocked = spec->src != SHIM_NHWC, .tile = tile};
}

/* Winograd's way is taken where it needs at most half of the multiplications of the definition. The larger tile needs
 * fewest, but has four times as many weights as the slab, and a launch of one picture waits for what of them the second
 * cache does not hold. */
int cpu_conv_tile(const struct be_device *dev, const struct shim_conv_spec *spec)
{
    const struct shim_conv *c = &spec->shape;
    if (spec->pass != SHIM_INFER || spec->type != SHIM_F32 || c->kernel != 3 || c->stride != 1 || c->pad != 1 ||
        spec->src != spec->dst || spec->src == SHIM_PLAIN)
        return 0;
    struct kern_winograd w = winograd_of(spec, 2);
    int64_t small = winograd_products(&w, 2), large = winograd_products(&w, 4);
    if ((int64_t)c->ci * c->co <= WIDE_PAIRS && large < small)
        w.tile = 4;
    int pays = 2 * winograd_products(&w, w.tile) <= (int64_t)9 * c->h * c->w;
    return pays && kern_winograd_fits(&dev->team, &w) ? w.tile : 0;
}

void cpu_conv_winograd(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec, int tile)
{
    *out = (struct cpu_conv){.wino = winograd_of(spec, tile)};
    out->bytes = kern_winograd_scratch(&dev->team, &out->wino);
}

/* What a kernel of ours reads. */
static moco_status own_reads(struct shim_md *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                             struct err *err)
{
    int64_t dims[4] = {spec->shape.co, spec->shape.ci, spec->shape.kernel, spec->shape.kernel};
    int wide = cpu_block(dev) == 16, back = spec->pass == SHIM_BACK_DATA;
    if (spec->type == SHIM_BF16)
        return shim_md_create(out, dims, SHIM_BF16, back ? SHIM_IOHW_PAIRS : SHIM_OIHW_PAIRS, err);
    if (back)
        return shim_md_create(out, dims, SHIM_F32, wide ? SHIM_OIHW16_TURNED : SHIM_OIHW8_TURNED, err);
    return shim_md_create(out, dims, SHIM_F32, wide ? SHIM_OIHW16 : SHIM_OIHW8, err);
}

moco_status cpu_conv_reads(struct shim_md *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                           struct err *err)
{
    if (cpu_conv_own(dev, spec))
        return own_reads(out, dev, spec, err);
    struct shim_prim prim;
    TRY(shim_conv_create(&prim, dev->engine, spec, err));
    *out = prim.weights;
    prim.weights = (struct shim_md){0};
    shim_prim_free(&prim);
    return MOCO_OK;
}

/* A kernel of ours: its scratch, and a reorder if its weights are in another layout. */
static moco_status create_own(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                              const struct shim_md *given, struct err *err)
{
    if (spec->pass == SHIM_BACK_WEIGHTS) {
        out->bytes = kern_conv_weights_scratch(&dev->team, &out->kern);
        return MOCO_OK;
    }
    struct shim_md reads;
    moco_status status = own_reads(&reads, dev, spec, err);
    if (status == MOCO_OK && !shim_md_equal(&reads, given)) {
        status = shim_reorder_create(&out->order, dev->engine, given, &reads, err);
        out->ordered = kern_pad64(out->order.scratch);
        out->bytes = out->ordered + kern_pad64(reads.bytes);
    }
    shim_md_free(&reads);
    return status;
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

/* First takes oneDNN's favourite layout. If that is not the given one, it takes the primitive for the given layout,
 * provided that oneDNN has the same implementation for it. Otherwise it keeps the favourite and adds a reorder. */
moco_status cpu_conv_create(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                            const struct shim_md *given, struct err *err)
{
    *out = (struct cpu_conv){.own = cpu_conv_own(dev, spec), .kern = kern_of(spec)};
    if (out->own)
        return create_own(out, dev, spec, given, err);
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
    out->ordered = kern_pad64(scratch);
    out->bytes = out->ordered + kern_pad64(ordered);
    out->blank = spec->pass == SHIM_BACK_WEIGHTS && spec->type == SHIM_BF16; /* oneDNN 2.6, where channels are few */
    return MOCO_OK;
}

void cpu_conv_as_read(struct cpu_conv *conv, struct shim_md *order)
{
    *order = conv->run.weights;
    conv->run.weights = (struct shim_md){0};
    shim_prim_free(&conv->order);
    conv->bytes = conv->ordered;
}

void cpu_conv_free(struct cpu_conv *conv)
{
    shim_prim_free(&conv->run);
    shim_prim_free(&conv->order);
    *conv = (struct cpu_conv){0};
}
