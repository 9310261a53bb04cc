/* SPDX-License-Identifier: MIT
 *
 * cuda_weights: slots of the device for folded weights: a copy of the parameters in the slab's layout, whose batch norms
 * are scales and shifts; behind it the shifts of batch norms without a bias, and copies of convolutions' weights in 16 bits
 * if plans read such. What a reader would get wrong: a fold is
 * queued, so that `folded` says that it will have been done when a launch behind it runs. */
#include "backend/cuda/cuda_plan.h"

#include "backend/program/program_run.h"

/* Where the copies are. */
static size_t copies_at(const struct be_weights *weights)
{
    size_t bytes = cuda_layout_bytes(weights->layout) + (size_t)weights->graph->stat_total * sizeof(float);
    return (bytes + 255) / 256 * 256;
}

size_t cuda_weights_bytes(const struct be_weights *weights)
{
    return copies_at(weights) + cuda_copies_bytes(weights->layout, weights->precision);
}

moco_status cuda_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                                const struct be_layout *layout, enum be_precision precision, struct err *err)
{
    *out = NULL;
    TRY(backend_has_precision(dev->name, cuda_precisions(dev), (int)precision, err));
    TRY(cuda_layout_check(layout, graph, err));
    struct be_weights *weights = mem_zalloc(dev->ctx, sizeof *weights, err);
    if (weights == NULL)
        return MOCO_ENOMEM;
    *weights = (struct be_weights){.dev = dev, .graph = graph, .layout = layout, .precision = precision};
    moco_status status = cuda_alloc(dev, cuda_weights_bytes(weights), &weights->memory, err);
    weights->copies = status == MOCO_OK ? (char *)weights->memory.at + copies_at(weights) : NULL;
    if (status != MOCO_OK) {
        mem_free(dev->ctx, weights);
        return status;
    }
    *out = weights;
    return MOCO_OK;
}

void cuda_weights_free(struct be_weights *weights)
{
    if (weights == NULL)
        return;
    cuda_release(weights->dev, &weights->memory); /* waits for what is queued */
    mem_free(weights->dev->ctx, weights);
}

static moco_status fold(struct be_weights *weights, const void *masters, const void *stats, struct err *err)
{
    TRY(cuda_move(weights->dev, weights->memory.at, masters, cuda_layout_bytes(weights->layout), err));
    TRY(program_fold(cuda_program_ops, weights, weights->graph, masters, stats, err));
    if (cuda_storage(weights->precision) == 0)
        return MOCO_OK;
    return cuda_copy_weights(weights->layout, weights->precision, weights->memory.at, weights->copies, err);
}

moco_status cuda_weights_fold(struct be_weights *weights, const void *masters, const void *stats, struct err *err)
{
    CUDA_WITHIN(weights->dev, fold(weights, masters, stats, err));
    weights->folded = 1;
    return MOCO_OK;
}
