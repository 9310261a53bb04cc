/* SPDX-License-Identifier: MIT
 *
 * ref_weights: slots of the device for folded weights: a copy of the parameters in the slab's layout, whose batch norms
 * are scales and shifts. What a reader would get wrong: the scale of a batch norm that is folded has gone into the
 * convolution's weights, so that only its shift is read. */
#include <string.h>

#include "backend/program/program_run.h"
#include "backend/ref/ref_program.h"

moco_status ref_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                               const struct be_layout *layout, enum be_precision precision, struct err *err)
{
    *out = NULL;
    TRY(ref_precision_check(precision, err));
    TRY(ref_layout_check(layout, graph, err));
    struct be_weights *w = mem_zalloc(dev->ctx, sizeof *w, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    *w = (struct be_weights){.ctx = dev->ctx, .graph = graph, .layout = layout, .precision = precision};
    w->slab = mem_alloc(w->ctx, ref_layout_bytes(layout), err);
    w->apart = w->slab == NULL ? NULL : mem_array(w->ctx, (size_t)graph->stat_total, sizeof *w->apart, err);
    if (w->apart == NULL) {
        ref_weights_free(w);
        return MOCO_ENOMEM;
    }
    *out = w;
    return MOCO_OK;
}

void ref_weights_free(struct be_weights *weights)
{
    if (weights == NULL)
        return;
    mem_free(weights->ctx, weights->slab);
    mem_free(weights->ctx, weights->apart);
    mem_free(weights->ctx, weights);
}

size_t ref_weights_bytes(const struct be_weights *weights)
{
    return ref_layout_bytes(weights->layout) + (size_t)weights->graph->stat_total * sizeof *weights->apart;
}

moco_status ref_weights_fold(struct be_weights *w, const void *masters, const void *stats, struct err *err)
{
    memcpy(w->slab, masters, ref_layout_bytes(w->layout));
    TRY(program_fold(ref_program_ops, w, w->graph, masters, stats, err));
    for (int i = 0; i < w->layout->count; i++)
        ref_round_all(w->layout->conv[i] ? w->precision : ref_master(w->precision), w->slab + w->layout->offset[i],
                      (size_t)w->layout->length[i]);
    w->folded = 1;
    return MOCO_OK;
}
