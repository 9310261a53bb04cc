/* SPDX-License-Identifier: MIT
 *
 * cpu_readers: see cpu_readers.h. */
#include "backend/cpu/cpu_readers.h"

#include "backend/cpu/cpu_conv.h"

#define USUAL_BATCH 32

/* The layout that is read best, and how it is written. */
static moco_status plan_reader(struct be_layout *layout, struct cpu_param *p, int which, const struct shim_conv *shape,
                               struct err *err)
{
    struct shim_conv_spec spec = {.pass = which == 0 ? SHIM_FORWARD : SHIM_BACK_DATA,
                                  .type = SHIM_BF16,
                                  .shape = *shape,
                                  .src = SHIM_NHWC,
                                  .dst = SHIM_NHWC};
    TRY(cpu_conv_reads(&p->reader[which], layout->dev, &spec, err));
    if (p->order == SHIM_OIHW16)
        TRY(cpu_tiles_plan(&p->tiles[which], layout->dev->ctx, p->dims, &p->reader[which], err));
    if (p->tiles[which].outputs != NULL)
        return MOCO_OK;
    TRY(shim_reorder_create(&p->fill[which], layout->dev->engine, &p->master, &p->reader[which], err));
    if (p->fill[which].scratch > p->scratch)
        p->scratch = p->fill[which].scratch;
    return MOCO_OK;
}

static moco_status plan_conv(struct be_layout *layout, const struct graph *graph, const struct graph_op *op,
                             struct err *err)
{
    struct cpu_param *p = &layout->params[op->param[0]];
    TRY(cpu_param_master(&p->master, p, err));
    struct shim_conv shape = cpu_conv_shape(graph, op, USUAL_BATCH, cpu_conv_gathers(op));
    TRY(plan_reader(layout, p, 0, &shape, err));
    if (op->in[0] == graph->input)
        return MOCO_OK; /* images have no gradient */
    shape = cpu_conv_shape(graph, op, USUAL_BATCH, 0);
    return plan_reader(layout, p, 1, &shape, err);
}

/* Offsets: forward's copies, then backward's; in a key block forward's, then all that is no convolution. */
static void lay_out(struct be_layout *layout)
{
    size_t at = 0, largest = 0;
    for (int i = 0; i < layout->count; i++) {
        struct cpu_param *p = &layout->params[i];
        p->reader_at[0] = p->reader_at[1] = CPU_NOWHERE;
        if (p->reader[0].handle == NULL)
            continue;
        p->reader_at[0] = p->key = at;
        at += kern_pad64(p->reader[0].bytes);
        size_t floats = p->fill[0].primitive != NULL ? kern_pad64((size_t)p->count * sizeof(float)) : 0;
        largest = floats > largest ? floats : largest;
    }
    layout->forward_bytes = layout->key_bytes = at;
    for (int i = 0; i < layout->count; i++) {
        struct cpu_param *p = &layout->params[i];
        if (p->reader[1].handle != NULL) {
            p->reader_at[1] = at;
            at += kern_pad64(p->reader[1].bytes);
        }
        if (p->reader[0].handle == NULL) {
            p->key = layout->key_bytes;
            layout->key_bytes += kern_pad64((size_t)p->count * sizeof(float));
        }
    }
    layout->bytes = at;
    layout->average_bytes = largest;
}

/* In f32 there are no readers: the key block is laid out as a slab. In bf16 each convolution gets its two copies. */
moco_status cpu_readers_plan(struct be_layout *layout, const struct graph *graph, struct err *err)
{
    if (layout->precision != BE_BF16) {
        for (int i = 0; i < layout->count; i++)
            layout->params[i].key = layout->params[i].offset * sizeof(float);
        layout->key_bytes = layout->floats * sizeof(float);
        return MOCO_OK;
    }
    struct parallel_scope scope;
    TRY(cpu_enter(layout->dev, &scope, err));
    moco_status status = MOCO_OK;
    for (int i = 0; i < graph->op_count && status == MOCO_OK; i++)
        if (graph->ops[i].kind == OP_CONV)
            status = plan_conv(layout, graph, &graph->ops[i], err);
    parallel_leave(&scope);
    if (status != MOCO_OK)
        return status;
    lay_out(layout);
    size_t scratch = 0;
    for (int i = 0; i < layout->count; i++)
        if (layout->params[i].scratch > scratch)
            scratch = layout->params[i].scratch;
    layout->scratch = mem_zalloc(layout->dev->ctx, layout->average_bytes + scratch, err);
    return layout->scratch == NULL ? MOCO_ENOMEM : MOCO_OK;
}

void cpu_readers_free(struct be_layout *layout)
{
    for (int i = 0; i < layout->count; i++) {
        struct cpu_param *p = &layout->params[i];
        shim_md_free(&p->master);
        for (int which = 0; which < 2; which++) {
            shim_md_free(&p->reader[which]);
            shim_prim_free(&p->fill[which]);
            cpu_tiles_free(&p->tiles[which], layout->dev->ctx);
        }
    }
    mem_free(layout->dev->ctx, layout->scratch);
}

size_t cpu_reader_bytes(const struct be_layout *layout, int backward)
{
    if (layout->precision != BE_BF16)
        return 0;
    return backward ? layout->bytes : layout->forward_bytes;
}

size_t cpu_key_bytes(const struct be_layout *layout)
{
    return layout->key_bytes;
}

static moco_status fill(const struct be_layout *layout, const struct cpu_param *p, int which, const float *from,
                        char *block, struct err *err)
{
    void *at[SHIM_SLOTS] = {0};
    at[SHIM_SRC] = (void *)from;
    at[SHIM_DST] = block + p->reader_at[which];
    at[SHIM_SCRATCH] = (char *)layout->scratch + layout->average_bytes;
    return shim_run(&p->fill[which], at, err);
}

moco_status cpu_readers_fill(const struct be_layout *layout, int backward, const float *masters, void *out,
                             struct err *err)
{
    for (int i = 0; i < layout->count; i++) {
        const struct cpu_param *p = &layout->params[i];
        for (int which = 0; which < 1 + !!backward; which++)
            if (p->fill[which].primitive != NULL)
                TRY(fill(layout, p, which, masters + p->offset, out, err));
    }
    return MOCO_OK;
}

moco_status cpu_readers_fill_average(const struct be_layout *layout, const float *k, const float *q, double m,
                                     void *out, struct err *err)
{
    for (int i = 0; i < layout->count; i++) {
        const struct cpu_param *p = &layout->params[i];
        if (p->fill[0].primitive == NULL)
            continue;
        kern_ema(&layout->dev->team, (size_t)p->count, m, k + p->offset, q + p->offset, layout->scratch);
        TRY(fill(layout, p, 0, layout->scratch, out, err));
    }
    return MOCO_OK;
}
