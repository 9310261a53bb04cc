/* SPDX-License-Identifier: MIT
 *
 * ref_layout: where each parameter is in a slab, and the copies of weights that plans read. Readers and the key
 * encoder's block have the layout of the slab. Only the values differ: the weights of a convolution are rounded to
 * 16 bits. */
#include "backend/ref/ref.h"

#include <string.h>

#define ALIGN 8 /* numbers */

void ref_round_all(enum be_precision precision, double *values, size_t count)
{
    if (precision == BE_F64)
        return;
    for (size_t i = 0; i < count; i++)
        values[i] = ref_round(precision, values[i]);
}

moco_status ref_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                              enum be_precision precision, struct err *err)
{
    *out = NULL;
    struct be_layout *layout = mem_zalloc(dev->ctx, sizeof *layout, err);
    if (layout == NULL)
        return MOCO_ENOMEM;
    size_t count = (size_t)graph->param_count;
    layout->ctx = dev->ctx;
    layout->precision = precision;
    layout->count = graph->param_count;
    layout->offset = mem_array(dev->ctx, count, sizeof(int64_t), err);
    layout->length = mem_array(dev->ctx, count, sizeof(int64_t), err);
    layout->conv = mem_array(dev->ctx, count, 1, err);
    layout->plain = mem_array(dev->ctx, count, 1, err);
    if (layout->offset == NULL || layout->length == NULL || layout->conv == NULL || layout->plain == NULL) {
        ref_layout_free(layout);
        return MOCO_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        layout->offset[i] = layout->total;
        layout->length[i] = graph->params[i].count;
        layout->conv[i] = graph->params[i].kind == PARAM_CONV;
        layout->plain[i] = graph->params[i].kind != PARAM_CONV && graph->params[i].kind != PARAM_LINEAR;
        layout->total += (graph->params[i].count + ALIGN - 1) / ALIGN * ALIGN;
    }
    *out = layout;
    return MOCO_OK;
}

void ref_layout_free(struct be_layout *layout)
{
    if (layout == NULL)
        return;
    mem_free(layout->ctx, layout->offset);
    mem_free(layout->ctx, layout->length);
    mem_free(layout->ctx, layout->conv);
    mem_free(layout->ctx, layout->plain);
    mem_free(layout->ctx, layout);
}

size_t ref_layout_bytes(const struct be_layout *layout)
{
    return (size_t)layout->total * sizeof(double);
}

moco_status ref_layout_check(const struct be_layout *layout, const struct graph *graph, struct err *err)
{
    int same = layout->count == graph->param_count;
    for (int i = 0; same && i < layout->count; i++)
        same = layout->length[i] == graph->params[i].count;
    if (!same)
        return err_set(err, MOCO_ESHAPE,
                       "ref: the layout was made for a network with other parameters than the plan's");
    return MOCO_OK;
}

size_t ref_param_at(const struct be_layout *layout, int index)
{
    return (size_t)(index < layout->count ? layout->offset[index] : layout->total) * sizeof(double);
}

static moco_status check_index(const struct be_layout *layout, int index, struct err *err)
{
    if (index < 0 || index >= layout->count)
        return err_set(err, MOCO_EINVAL, "ref: there is no parameter %d; the network has %d", index, layout->count);
    return MOCO_OK;
}

moco_status ref_param_get(const struct be_layout *layout, const void *slab, int index, double *values, struct err *err)
{
    TRY(check_index(layout, index, err));
    memcpy(values, (const double *)slab + layout->offset[index], (size_t)layout->length[index] * sizeof(double));
    return MOCO_OK;
}

moco_status ref_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err)
{
    TRY(check_index(layout, index, err));
    double *to = (double *)slab + layout->offset[index];
    for (int64_t i = 0; i < layout->length[index]; i++)
        to[i] = ref_round(ref_master(layout->precision), values[i]);
    return MOCO_OK;
}

/* Rounds the convolutions' weights of a block laid out as a slab to what a plan of this precision reads. */
static void round_weights(const struct be_layout *layout, enum be_precision precision, double *block)
{
    for (int i = 0; i < layout->count; i++)
        if (layout->conv[i])
            ref_round_all(precision, block + layout->offset[i], (size_t)layout->length[i]);
}

size_t ref_reader_bytes(const struct be_layout *layout, int backward)
{
    (void)backward; /* both passes read the same copy */
    return ref_is_half(layout->precision) ? ref_layout_bytes(layout) : 0;
}

moco_status ref_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err)
{
    (void)err;
    if (ref_reader_bytes(layout, backward) == 0)
        return MOCO_OK;
    memcpy(out, masters, ref_layout_bytes(layout));
    round_weights(layout, layout->precision, out);
    return MOCO_OK;
}

size_t ref_key_bytes(const struct be_layout *layout)
{
    return ref_layout_bytes(layout);
}

/* out may be k. */
static void ema_slab(const struct be_layout *layout, const double *k, const double *q, double m, double *out)
{
    enum be_precision master = ref_master(layout->precision);
    for (int64_t i = 0; i < layout->total; i++)
        out[i] = ref_round(master, m * k[i] + (1 - m) * q[i]);
}

void ref_follow(const struct be_layout *layout, double *k, const double *q, double m)
{
    if (k != NULL)
        ema_slab(layout, k, q, m, k);
}

moco_status ref_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err)
{
    const struct be_layout *layout = program->spec.layout;
    TRY(host_in_work(program, "ema_readers", err));
    ema_slab(layout, k, q, program->now.key_momentum, out);
    if (ref_is_half(layout->precision))
        round_weights(layout, layout->precision, out);
    return MOCO_OK;
}
