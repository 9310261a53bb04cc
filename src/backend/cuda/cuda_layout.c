/* SPDX-License-Identifier: MIT
 *
 * cuda_layout: where a parameter is in a slab, and the tables of slices that kernels walk by. What a reader would get
 * wrong: a convolution's weights have the input channels innermost, as feature maps do; values cross in the reference's
 * order, and are moved on the host. */
#include <string.h>

#include "backend/cuda/cuda.h"

enum { ALIGN_FLOATS = 16, ALIGN_HALVES = 32 }; /* 64 bytes */

static int is_plain(enum param_kind kind)
{
    return kind != PARAM_CONV && kind != PARAM_LINEAR;
}

static int64_t aligned(int64_t numbers, int64_t to)
{
    return (numbers + to - 1) / to * to;
}

/* Of the convolutions that read the picture: copies of their weights are padded as it is. */
static int reads_picture(const struct graph *graph, int param)
{
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i].param[0] == param)
            return graph->ops[i].in[0] == graph->input;
    return 0;
}

static void place_copy(struct be_layout *layout, struct cuda_place *p, int padded)
{
    p->copy = p->rest = -1;
    if (p->kind == PARAM_CONV) {
        p->padded = padded;
        p->copy = layout->copies;
        layout->copies += aligned((int64_t)p->out * p->area * padded, ALIGN_HALVES);
    } else {
        p->rest = layout->rest;
        layout->rest += aligned(p->count, ALIGN_FLOATS);
    }
}

static void place_params(struct be_layout *layout, const struct graph *graph)
{
    for (int i = 0; i < layout->count; i++) {
        const struct graph_param *from = &graph->params[i];
        struct cuda_place *p = &layout->place[i];
        *p = (struct cuda_place){.kind = from->kind, .first = layout->total, .count = from->count, .area = 1};
        if (from->kind == PARAM_CONV) {
            p->out = (int)from->shape[0];
            p->in = (int)from->shape[1];
            p->area = (int)(from->shape[2] * from->shape[3]);
        }
        layout->slice_count += (int)((from->count + CUDA_SLICE - 1) / CUDA_SLICE);
        layout->total += aligned(from->count, ALIGN_FLOATS);
        place_copy(layout, p, reads_picture(graph, i) ? dnn_channels(BE_BF16, p->in) : p->in);
    }
}

/* What is in the tables that kernels only read. */
static void fill_tables(const struct be_layout *layout, struct cuda_slice *slices, struct cuda_param *params)
{
    int next = 0;
    for (int i = 0; i < layout->count; i++) {
        const struct cuda_place *p = &layout->place[i];
        params[i] = (struct cuda_param){.first = p->first,
                                        .copy = p->copy,
                                        .rest = p->rest,
                                        .first_slice = next,
                                        .plain = is_plain(p->kind),
                                        .row = p->in,
                                        .padded = p->padded};
        for (int64_t at = 0; at < p->count; at += CUDA_SLICE, next++) {
            int64_t left = p->count - at;
            slices[next] = (struct cuda_slice){p->first + at, (int32_t)(left < CUDA_SLICE ? left : CUDA_SLICE), i};
        }
        params[i].slices = next - params[i].first_slice;
    }
}

/* Takes all tables of a layout as one block, and copies those that the kernels only read. */
static moco_status make_tables(struct be_layout *layout, struct err *err)
{
    struct be_device *dev = layout->dev;
    size_t slices = cuda_up((size_t)layout->slice_count * sizeof(struct cuda_slice));
    size_t params = cuda_up((size_t)layout->count * sizeof(struct cuda_param));
    size_t sums = cuda_up((size_t)layout->slice_count * sizeof(struct cuda_sums));
    size_t rules = cuda_up((size_t)layout->count * sizeof(struct cuda_rule));
    TRY(cuda_take(dev, slices + params + sums + rules + sizeof(struct cuda_measure), &layout->memory, err));
    char *at = layout->memory.at;
    layout->slices = (struct cuda_slice *)(void *)at;
    layout->params = (struct cuda_param *)(void *)(at + slices);
    layout->sums = (struct cuda_sums *)(void *)(at + slices + params);
    layout->rules = (struct cuda_rule *)(void *)(at + slices + params + sums);
    layout->measure = (struct cuda_measure *)(void *)(at + slices + params + sums + rules);
    char *filled = mem_zalloc(dev->ctx, slices + params, err);
    if (filled == NULL)
        return MOCO_ENOMEM;
    fill_tables(layout, (struct cuda_slice *)(void *)filled, (struct cuda_param *)(void *)(filled + slices));
    moco_status status = cuda_put(dev, at, filled, slices + params, err);
    mem_free(dev->ctx, filled);
    return status;
}

moco_status cuda_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                               enum be_precision precision, struct err *err)
{
    *out = NULL;
    struct be_layout *layout = mem_zalloc(dev->ctx, sizeof *layout, err);
    if (layout == NULL)
        return MOCO_ENOMEM;
    layout->dev = dev;
    layout->precision = precision;
    layout->count = graph->param_count;
    layout->place = mem_array(dev->ctx, (size_t)graph->param_count, sizeof *layout->place, err);
    moco_status status = layout->place == NULL ? MOCO_ENOMEM : cuda_enter(dev, err);
    if (status == MOCO_OK) {
        place_params(layout, graph);
        status = make_tables(layout, err);
        cuda_leave(dev);
    }
    if (status != MOCO_OK) {
        cuda_layout_free(layout);
        return status;
    }
    *out = layout;
    return MOCO_OK;
}

void cuda_layout_free(struct be_layout *layout)
{
    if (layout == NULL)
        return;
    struct ctx *ctx = layout->dev->ctx;
    cuda_release(layout->dev, &layout->memory);
    mem_free(ctx, layout->place);
    mem_free(ctx, layout);
}

size_t cuda_layout_bytes(const struct be_layout *layout)
{
    return (size_t)layout->total * sizeof(float);
}

size_t cuda_param_at(const struct be_layout *layout, int index)
{
    return (size_t)(index < layout->count ? layout->place[index].first : layout->total) * sizeof(float);
}

/* ---- values ---- */

static moco_status find(const struct be_layout *layout, int index, const struct cuda_place **out, struct err *err)
{
    if (index < 0 || index >= layout->count)
        return err_set(err, MOCO_EINVAL, "%s: there is no parameter %d; the network has %d", layout->dev->name, index,
                       layout->count);
    *out = &layout->place[index];
    return MOCO_OK;
}

/* Where number `i` of the reference's order is in the slab's. */
static int64_t number_at(const struct cuda_place *p, int64_t i)
{
    if (p->kind != PARAM_CONV)
        return i;
    int64_t yx = i % p->area, in = i / p->area % p->in, out = i / p->area / p->in;
    return (out * p->area + yx) * p->in + in;
}

moco_status cuda_param_get(const struct be_layout *layout, const void *slab, int index, double *values, struct err *err)
{
    const struct cuda_place *p = NULL;
    TRY(find(layout, index, &p, err));
    size_t bytes = (size_t)p->count * sizeof(float);
    float *numbers = mem_alloc(layout->dev->ctx, bytes, err);
    if (numbers == NULL)
        return MOCO_ENOMEM;
    moco_status status = cuda_read(layout->dev, numbers, (const float *)slab + p->first, bytes, err);
    for (int64_t i = 0; i < p->count && status == MOCO_OK; i++)
        values[i] = (double)numbers[number_at(p, i)];
    mem_free(layout->dev->ctx, numbers);
    return status;
}

moco_status cuda_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err)
{
    const struct cuda_place *p = NULL;
    TRY(find(layout, index, &p, err));
    size_t bytes = (size_t)p->count * sizeof(float);
    float *numbers = mem_alloc(layout->dev->ctx, bytes, err);
    if (numbers == NULL)
        return MOCO_ENOMEM;
    for (int64_t i = 0; i < p->count; i++)
        numbers[number_at(p, i)] = (float)values[i];
    moco_status status = cuda_write(layout->dev, (float *)slab + p->first, numbers, bytes, err);
    mem_free(layout->dev->ctx, numbers);
    return status;
}
