/* SPDX-License-Identifier: MIT
 *
 * cpu_layout: see cpu_layout.h. The weights of a convolution are in an order that oneDNN's f32 forward and backward
 * weights both accept; everything else is in the reference's order. The choice depends on the channels and the block
 * alone, never on the image size or the batch. */
#include "backend/cpu/cpu_layout.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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

/* ---- between the reference's order and the slab's ----
 *
 * A blocked order has `block` output channels side by side. To the reference they are rows of `columns` numbers, one row
 * a channel, and a column is a place of a kernel of an input channel; so each column of the rows of a block stands in a
 * row in the slab, and moving is a transposition. */

/* Walks the columns in order. `at`: floats from where a block of output channels begins. */
struct column {
    int64_t area, inputs, step, block; /* inputs: channels whose kernels are interleaved */
    int64_t yx, input, first, at;
};

static struct column column_start(const struct cpu_param *p)
{
    int square = p->order == SHIM_OIHW8 || p->order == SHIM_OIHW16;
    struct column c = {.area = p->dims[2] * p->dims[3], .inputs = square ? p->block : p->dims[1], .block = p->block};
    c.step = c.inputs * c.block;
    return c;
}

static inline int64_t column_next(struct column *c)
{
    int64_t at = c->at;
    c->at += c->step;
    if (++c->yx < c->area)
        return at;
    c->yx = 0;
    if (++c->input == c->inputs) {
        c->input = 0;
        c->first += c->area * c->step;
    }
    c->at = c->first + c->input * c->block;
    return at;
}

static int64_t columns_of(const struct cpu_param *p)
{
    return p->dims[1] * p->dims[2] * p->dims[3];
}

static void move_doubles(const struct cpu_param *p, float *slab, double *values, int set)
{
    int64_t columns = columns_of(p);
    for (int64_t o = 0; o < p->dims[0]; o += p->block) {
        struct column c = column_start(p);
        for (int64_t i = 0; i < columns; i++) {
            float *at = slab + o * columns + column_next(&c);
            double *from = values + o * columns + i;
            for (int64_t oo = 0; oo < p->block; oo++)
                if (set)
                    at[oo] = (float)from[oo * columns];
                else
                    from[oo * columns] = at[oo];
        }
    }
}

typedef float four __attribute__((vector_size(16)));
enum { FOUR = 4, LINE = 16 };

/* to[k][l] = from[l][k] of 4 x 4 numbers, each row where it is said to be. */
static inline void transpose(const float *const from[FOUR], float *const to[FOUR])
{
    four a, b, c, d;
    memcpy(&a, from[0], sizeof a);
    memcpy(&b, from[1], sizeof b);
    memcpy(&c, from[2], sizeof c);
    memcpy(&d, from[3], sizeof d);
    four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    four ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    four out[FOUR] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                      __builtin_shufflevector(ef, gh, 0, 1, 4, 5), __builtin_shufflevector(ef, gh, 2, 3, 6, 7)};
    for (int k = 0; k < FOUR; k++)
        memcpy(to[k], &out[k], sizeof out[k]);
}

/* Where numbers go: out of the slab's order; into it and soon read; into it, past the caches where that can be asked for,
 * since nobody reads them soon, and their lines need not be fetched first. */
enum way { OUT, IN, IN_PAST_CACHES };

/* A column's row to its place. */
static inline void put_row(float *to, const float *row, int count, enum way way)
{
#if defined(__SSE2__)
    for (int k = 0; k < count; k += FOUR)
        if (way == IN_PAST_CACHES)
            _mm_stream_ps(to + k, _mm_load_ps(row + k));
        else
            _mm_store_ps(to + k, _mm_load_ps(row + k));
#else
    memcpy(to, row, (size_t)count * sizeof *row);
    (void)way;
#endif
}

static inline void rows_put(void)
{
#if defined(__SSE2__)
    _mm_sfence(); /* before another thread may read them */
#endif
}

/* As many columns as stand in a line of the cache, through a tile: four channels at a time, since channels are a power of
 * 2 apart and more of them would push each other's lines out. */
static inline void move_line(const struct cpu_param *p, float *block, const int64_t at[LINE], float *rows,
                             int64_t columns, enum way way)
{
    _Alignas(64) float tile[LINE][LINE];
    for (int oo = 0; oo < p->block; oo += FOUR)
        for (int k = 0; k < LINE; k += FOUR) {
            float *row[FOUR], *place[FOUR];
            for (int l = 0; l < FOUR; l++) {
                row[l] = rows + (oo + l) * columns + k;
                place[l] = way != OUT ? tile[k + l] + oo : block + at[k + l] + oo;
            }
            if (way != OUT)
                transpose((const float *const *)row, place);
            else
                transpose((const float *const *)place, row);
        }
    for (int k = 0; k < LINE && way != OUT; k++)
        put_row(block + at[k], tile[k], p->block, way);
}

/* Moves a tensor between the slab's order and C order, LINE columns at a time, so that both sides use whole cache
 * lines. */
static inline void move_floats(const struct cpu_param *p, float *slab, float *values, enum way way)
{
    int64_t columns = columns_of(p), whole = columns - columns % LINE;
    for (int64_t o = 0; o < p->dims[0]; o += p->block) {
        struct column c = column_start(p);
        float *block = slab + o * columns, *rows = values + o * columns;
        for (int64_t i = 0; i < whole; i += LINE) {
            int64_t at[LINE];
            for (int k = 0; k < LINE; k++)
                at[k] = column_next(&c);
            move_line(p, block, at, rows + i, columns, way);
        }
        for (int64_t i = whole; i < columns; i++) {
            float *at = block + column_next(&c);
            for (int64_t oo = 0; oo < p->block; oo++)
                if (way != OUT)
                    at[oo] = rows[oo * columns + i];
                else
                    rows[oo * columns + i] = at[oo];
        }
    }
    if (way == IN_PAST_CACHES)
        rows_put();
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
    const float *at = (const float *)slab + p->offset;
    if (p->order != SHIM_PLAIN)
        move_doubles(p, (float *)(uintptr_t)at, values, 0);
    else
        for (int64_t i = 0; i < p->count; i++)
            values[i] = at[i];
    return MOCO_OK;
}

moco_status cpu_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err)
{
    const struct cpu_param *p = NULL;
    TRY(find(layout, index, &p, err));
    float *at = (float *)slab + p->offset;
    if (p->order != SHIM_PLAIN)
        move_doubles(p, at, (double *)(uintptr_t)values, 1);
    else
        for (int64_t i = 0; i < p->count; i++)
            at[i] = (float)values[i];
    return MOCO_OK;
}

moco_status cpu_param_get_f32(const struct be_layout *layout, const void *slab, int index, float *values,
                              struct err *err)
{
    const struct cpu_param *p = NULL;
    TRY(find(layout, index, &p, err));
    const float *at = (const float *)slab + p->offset;
    if (p->order != SHIM_PLAIN)
        move_floats(p, (float *)(uintptr_t)at, values, OUT);
    else
        memcpy(values, at, (size_t)p->count * sizeof *values);
    return MOCO_OK;
}

moco_status cpu_param_set_f32(const struct be_layout *layout, void *slab, int index, const float *values,
                              struct err *err)
{
    const struct cpu_param *p = NULL;
    TRY(find(layout, index, &p, err));
    float *at = (float *)slab + p->offset;
    if (p->order != SHIM_PLAIN)
        move_floats(p, at, (float *)(uintptr_t)values, IN_PAST_CACHES);
    else
        memcpy(at, values, (size_t)p->count * sizeof *values);
    return MOCO_OK;
}

void cpu_param_place(const struct cpu_param *param, float *at, const float *values)
{
    move_floats(param, at, (float *)(uintptr_t)values, IN);
}
