/* SPDX-License-Identifier: MIT
 *
 * cpu_layout: see cpu_layout.h. The weights of a convolution are in an order that oneDNN's f32 forward and backward
 * weights both accept; everything else is in the reference's order. The choice depends on the channels and the block
 * alone, never on the image size or the batch. */
#include "backend/cpu/cpu_layout.h"

#include <string.h>

#include "backend/cpu/cpu_param.h"
#include "backend/cpu/cpu_readers.h"

#define ALIGN_FLOATS 16 /* 64 bytes */

static void choose_order(struct cpu_param *p, int block)
{
    int whole_out = p->dims[0] % block == 0, whole_in = p->dims[1] % block == 0;
    p->block = 1;
    p->order = SHIM_PLAIN;
    if (whole_out) {
        p->block = block;
        if (whole_in)
            p->order = block == 16 ? SHIM_OIHW16 : SHIM_OIHW8;
        else if (p->dims[1] < block) /* the first convolution's three colours */
            p->order = block == 16 ? SHIM_OHWI16 : SHIM_OHWI8;
        else
            p->block = 1;
    }
}

/* Gives each parameter its order and its offset in a slab, then lays out the readers. Offsets are padded to whole
 * vectors; the padding is always zero. */
moco_status cpu_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                              enum be_precision precision, struct err *err)
{
    *out = NULL;
    struct be_layout *layout = mem_zalloc(dev->ctx, sizeof *layout, err);
    if (layout == NULL)
        return MOCO_ENOMEM;
    layout->dev = dev;
    layout->precision = precision;
    moco_status status = MOCO_ENOMEM;
    layout->params = mem_array(dev->ctx, (size_t)graph->param_count, sizeof *layout->params, err);
    layout->ranges = mem_array(dev->ctx, (size_t)graph->param_count, sizeof *layout->ranges, err);
    layout->rules = mem_array(dev->ctx, (size_t)graph->param_count, sizeof *layout->rules, err);
    if (layout->params == NULL || layout->ranges == NULL || layout->rules == NULL)
        goto fail;
    layout->count = graph->param_count;
    for (int i = 0; i < layout->count; i++) {
        const struct graph_param *from = &graph->params[i];
        struct cpu_param *p = &layout->params[i];
        p->kind = from->kind;
        p->count = from->count;
        p->block = 1;
        p->order = SHIM_PLAIN;
        if (from->kind == PARAM_CONV) {
            memcpy(p->dims, from->shape, sizeof p->dims);
            choose_order(p, cpu_block(dev));
        } else {
            p->dims[0] = from->count;
            p->dims[1] = p->dims[2] = p->dims[3] = 1;
        }
        p->offset = layout->floats;
        layout->ranges[i] = (struct slab_range){.first = p->offset, .count = (size_t)p->count};
        layout->floats += ((size_t)p->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    }
    TRY_GOTO(status, cpu_readers_plan(layout, graph, err), fail);
    *out = layout;
    return MOCO_OK;
fail:
    cpu_layout_free(layout);
    return status;
}

void cpu_layout_free(struct be_layout *layout)
{
    if (layout == NULL)
        return;
    struct ctx *ctx = layout->dev->ctx;
    cpu_readers_free(layout);
    mem_free(ctx, layout->params);
    mem_free(ctx, layout->ranges);
    mem_free(ctx, layout->rules);
    mem_free(ctx, layout);
}

size_t cpu_layout_bytes(const struct be_layout *layout)
{
    return layout->floats * sizeof(float);
}

size_t cpu_param_at(const struct be_layout *layout, int index)
{
    return (index < layout->count ? layout->params[index].offset : layout->floats) * sizeof(float);
}

enum { ROW = 64 }; /* numbers of the reference's order that are moved in a row */

/* Between the reference's order and the slab's. A blocked order has `block` output channels by as many input channels,
 * or by all of the first convolution's, side by side; the numbers of a kernel are `step` apart. Where kernels are one
 * number, input channels of several blocks are evenly apart, too, and a row is made longer, so that memory is read as
 * it lies. */
static inline void move(const struct cpu_param *p, float *slab, double *values, int set)
{
    int square = p->order == SHIM_OIHW8 || p->order == SHIM_OIHW16;
    int64_t b = p->block, area = p->dims[2] * p->dims[3], all = p->dims[1];
    int64_t inputs = !square ? all : area == 1 ? ROW : b, step = (square ? b : all) * b;
    if (p->order == SHIM_PLAIN) {
        for (int64_t k = 0; k < p->count; k++)
            if (set)
                slab[k] = (float)values[k];
            else
                values[k] = slab[k];
        return;
    }
    for (int64_t o = 0; o < p->dims[0]; o += b)
        for (int64_t i = 0; i < all; i += inputs)
            for (int64_t oo = 0; oo < b; oo++)
                for (int64_t ii = 0; ii < inputs && i + ii < all; ii++) {
                    double *row = values + ((o + oo) * all + i + ii) * area;
                    float *at = slab + (o * all + i * b) * area + ii * b + oo;
                    for (int64_t yx = 0; yx < area; yx++)
                        if (set)
                            at[yx * step] = (float)row[yx];
                        else
                            row[yx] = at[yx * step];
                }
}

static moco_status find(const struct be_layout *layout, int index, const struct cpu_param **out, struct err *err)
{
    if (index < 0 || index >= layout->count)
        return err_set(err, MOCO_EINVAL, "there is no parameter %d: there are %d", index, layout->count);
    *out = &layout->params[index];
    return MOCO_OK;
}

moco_status cpu_param_get(const struct be_layout *layout, const void *slab, int index, double *values, struct err *err)
{
    const struct cpu_param *p = NULL;
    TRY(find(layout, index, &p, err));
    move(p, (float *)(uintptr_t)slab + p->offset, values, 0);
    return MOCO_OK;
}

moco_status cpu_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err)
{
    const struct cpu_param *p = NULL;
    TRY(find(layout, index, &p, err));
    move(p, (float *)slab + p->offset, (double *)(uintptr_t)values, 1);
    return MOCO_OK;
}
