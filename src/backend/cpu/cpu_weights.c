/* SPDX-License-Identifier: MIT
 *
 * cpu_weights: see cpu_weights.h. A copy that comes after a fold is filled from the first one: masters may be gone. */
#include "backend/cpu/cpu_weights.h"

#include "backend/cpu/cpu_memory.h"
#include "backend/program/program_fuse.h"

/* ---- making ---- */

static size_t vector_floats(const struct be_weights *w, const struct graph_op *op)
{
    const struct be_layout *layout = w->layout;
    if (op->kind == OP_CONV)
        return (size_t)layout->params[op->param[0]].dims[0];
    if (op->kind == OP_BN)
        return 4 * (size_t)layout->params[op->param[0]].count;
    size_t bias = op->param[1] < 0 ? 0 : (size_t)layout->params[op->param[1]].count;
    return (size_t)layout->params[op->param[0]].count + bias;
}

static moco_status make_vectors(struct be_weights *w, struct err *err)
{
    for (int i = 0; i < w->graph->op_count; i++) {
        const struct graph_op *op = &w->graph->ops[i];
        if (op->param[0] < 0 || program_is_folded(w->graph, op))
            continue;
        TRY(cpu_alloc(w->dev, vector_floats(w, op) * sizeof(float), &w->of[op->param[0]].vector, err));
    }
    return MOCO_OK;
}

moco_status cpu_weights_make(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                             const struct be_layout *layout, enum be_precision precision, struct err *err)
{
    *out = NULL;
    struct be_weights *w = mem_zalloc(dev->ctx, sizeof *w, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    *w = (struct be_weights){.dev = dev, .graph = graph, .layout = layout, .precision = precision};
    w->of = mem_array(dev->ctx, (size_t)layout->count, sizeof *w->of, err);
    moco_status status = w->of == NULL ? MOCO_ENOMEM : make_vectors(w, err);
    if (status != MOCO_OK) {
        cpu_weights_free(w);
        return status;
    }
    *out = w;
    return MOCO_OK;
}

static void copy_free(struct cpu_weights_copy *copy, struct be_device *dev)
{
    shim_md_free(&copy->order);
    shim_prim_free(&copy->fill);
    cpu_release(dev, &copy->memory);
    mem_free(dev->ctx, copy);
}

void cpu_weights_free(struct be_weights *w)
{
    if (w == NULL)
        return;
    for (int i = 0; w->of != NULL && i < w->layout->count; i++) {
        for (struct cpu_weights_copy *copy = w->of[i].copies, *next; copy != NULL; copy = next) {
            next = copy->next;
            copy_free(copy, w->dev);
        }
        cpu_release(w->dev, &w->of[i].vector);
    }
    mem_free(w->dev->ctx, w->of);
    mem_free(w->dev->ctx, w);
}

size_t cpu_weights_bytes(const struct be_weights *w)
{
    size_t bytes = 0;
    for (int i = 0; i < w->layout->count; i++) {
        bytes += w->of[i].vector.bytes;
        for (const struct cpu_weights_copy *copy = w->of[i].copies; copy != NULL; copy = copy->next)
            bytes += copy->memory.bytes;
    }
    return bytes;
}

/* ---- copies ---- */

static size_t folded_bytes(const struct cpu_param *param)
{
    return kern_pad64((size_t)param->count * sizeof(float));
}

/* From the first copy, which has been filled. */
static moco_status fill_late(const struct be_weights *w, const struct cpu_weights_copy *first,
                             const struct cpu_weights_copy *copy, struct err *err)
{
    struct shim_prim reorder;
    struct be_memory scratch = {0};
    TRY(shim_reorder_create(&reorder, w->dev->engine, &first->order, &copy->order, err));
    moco_status status = cpu_alloc(w->dev, reorder.scratch, &scratch, err);
    if (status == MOCO_OK) {
        void *at[SHIM_SLOTS] = {
            [SHIM_SRC] = first->memory.at, [SHIM_DST] = copy->memory.at, [SHIM_SCRATCH] = scratch.at};
        status = shim_run(&reorder, at, err);
    }
    cpu_release(w->dev, &scratch);
    shim_prim_free(&reorder);
    return status;
}

static moco_status copy_fill(struct be_weights *w, const struct cpu_param *param, const struct shim_md *master,
                             const struct cpu_weights_copy *first, struct cpu_weights_copy *copy, struct err *err)
{
    TRY(cpu_alloc(w->dev, copy->order.bytes, &copy->memory, err));
    if (!shim_md_equal(master, &copy->order)) {
        TRY(shim_reorder_create(&copy->fill, w->dev->engine, master, &copy->order, err));
        size_t scratch = folded_bytes(param) + kern_pad64(copy->fill.scratch);
        w->scratch_bytes = scratch > w->scratch_bytes ? scratch : w->scratch_bytes;
    }
    return w->folded && first != NULL ? fill_late(w, first, copy, err) : MOCO_OK;
}

/* The copy in this order, which is taken over: the one that there is, or a new one. */
static moco_status copy_in(struct be_weights *w, const struct cpu_param *param, const struct shim_md *master,
                           struct shim_md *order, struct cpu_weights_copy **list, struct cpu_weights_copy **out,
                           struct err *err)
{
    struct cpu_weights_copy *first = *list;
    for (; *list != NULL; list = &(*list)->next)
        if (shim_md_equal(&(*list)->order, order)) {
            *out = *list;
            return MOCO_OK;
        }
    struct cpu_weights_copy *copy = mem_zalloc(w->dev->ctx, sizeof *copy, err);
    if (copy == NULL)
        return MOCO_ENOMEM;
    copy->order = *order;
    *order = (struct shim_md){0};
    moco_status status = copy_fill(w, param, master, first, copy, err);
    if (status != MOCO_OK) {
        copy_free(copy, w->dev);
        return status;
    }
    *list = *out = copy;
    return MOCO_OK;
}

/* The only copy of a convolution that is done by Winograd's kernel. */
static moco_status copy_winograd(struct be_weights *w, const struct kern_winograd *wino, struct cpu_weights_copy **list,
                                 struct err *err)
{
    if (*list != NULL)
        return MOCO_OK;
    struct cpu_weights_copy *copy = mem_zalloc(w->dev->ctx, sizeof *copy, err);
    if (copy == NULL)
        return MOCO_ENOMEM;
    copy->wino = *wino;
    moco_status status = cpu_alloc(w->dev, kern_winograd_weights_bytes(wino), &copy->memory, err);
    if (status != MOCO_OK) {
        copy_free(copy, w->dev);
        return status;
    }
    *list = copy;
    return MOCO_OK;
}

moco_status cpu_weights_conv(struct be_weights *w, const struct graph_op *op, const struct shim_conv_spec *spec,
                             struct cpu_conv *conv, const void **at, struct err *err)
{
    const struct cpu_param *param = &w->layout->params[op->param[0]];
    struct cpu_weights_copy **copies = &w->of[op->param[0]].copies, *copy;
    int tile = *copies == NULL ? cpu_conv_tile(w->dev, spec) : (*copies)->wino.tile;
    if (tile != 0) {
        cpu_conv_winograd(conv, w->dev, spec, tile);
        TRY(copy_winograd(w, &conv->wino, copies, err));
        *at = (*copies)->memory.at;
        return MOCO_OK;
    }
    struct shim_md master, order = {0};
    TRY(cpu_param_master(&master, param, err));
    moco_status status = cpu_conv_create(conv, w->dev, spec, *copies != NULL ? &(*copies)->order : &master, err);
    if (status == MOCO_OK) {
        cpu_conv_as_read(conv, &order);
        status = copy_in(w, param, &master, &order, copies, &copy, err);
    }
    if (status == MOCO_OK)
        *at = copy->memory.at;
    shim_md_free(&order);
    shim_md_free(&master);
    return status;
}

/* ---- folding ---- */

const float *cpu_weights_vector(const struct be_weights *w, const struct graph_op *op)
{
    return w->of[op->param[0]].vector.at;
}

const float *cpu_weights_bias(const struct be_weights *w, const struct graph_op *op)
{
    return op->param[1] < 0 ? NULL : cpu_weights_vector(w, op) + w->layout->params[op->param[0]].count;
}

const float *cpu_weights_master(const struct be_weights *w, const void *masters, const struct graph_op *op, int which)
{
    const struct cpu_masters *m = masters;
    int param = op->param[which];
    if (param < 0)
        return NULL;
    return m->slab != NULL ? m->slab + w->layout->params[param].offset : m->at[param];
}
