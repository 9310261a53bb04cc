/* SPDX-License-Identifier: MIT
 *
 * conv_bound: see conv_bound.h. */
#include "bench/support/conv_bound.h"

#ifdef MOCO_HAVE_ONEDNN

#include <string.h>

#include "backend/cpu/cpu_conv.h"
#include "bench/support/timing.h"

struct bound_shape {
    struct shim_conv conv; /* of a launch */
    int slice, count;
};

/* A sweep's memory: input, output, weights, scratch, a quarter each, but maps may be as large as two: what numbers they
 * leave behind changes no time. */
static size_t quarter_of(const struct conv_bound *b)
{
    return b->memory.bytes / 4 / 4096 * 4096;
}

static int fits(const struct conv_bound *b, const struct shim_conv *s, const struct shim_prim *prim)
{
    size_t quarter = quarter_of(b), n = (size_t)s->n * (b->bf16 ? 2 : 4);
    return n * (size_t)s->ci * (size_t)s->h * (size_t)s->w <= 2 * quarter &&
           n * (size_t)s->co * (size_t)s->oh * (size_t)s->ow <= 2 * quarter && prim->weights.bytes <= quarter &&
           prim->scratch <= quarter;
}

/* Both layouts of a convolution for so many samples at a time. */
static int add_layouts(struct conv_bound *b, const struct shim_conv *shape, enum shim_pass pass, int made, int repeats)
{
    struct conv_bound_part *c = &b->part[b->count];
    int bf16 = b->bf16, block = b->block;
    enum shim_order blocked = block == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8;
    for (int layout = 0; layout < (bf16 ? 1 : 2); layout++) {
        enum shim_order order = layout == 0 ? SHIM_NHWC : blocked;
        if (order != SHIM_NHWC && shape->co % block != 0)
            continue;
        struct shim_conv_spec spec = {.pass = pass,
                                      .type = bf16 ? SHIM_BF16 : SHIM_F32,
                                      .shape = *shape,
                                      .src = shape->ci == 3 && order != SHIM_NHWC ? SHIM_PLAIN : order,
                                      .dst = order};
        struct shim_prim prim;
        if (shim_conv_create(&prim, b->dev->engine, &spec, NULL) != MOCO_OK)
            continue;
        if (prim.reference || !fits(b, shape, &prim)) {
            shim_prim_free(&prim);
        } else {
            c->repeats[made] = repeats;
            c->prim[made++] = prim;
        }
    }
    return made;
}

static int add_pass(struct conv_bound *b, const struct bound_shape *shape, enum shim_pass pass, int times)
{
    struct shim_conv whole = shape->conv;
    b->part[b->count] = (struct conv_bound_part){.count = times * shape->count};
    int made = add_layouts(b, &whole, pass, 0, 1);
    if (shape->slice < whole.n) {
        whole.n = shape->slice;
        made = add_layouts(b, &whole, pass, made, shape->conv.n / shape->slice);
    }
    b->count++;
    return made > 0;
}

/* The convolutions of a plan without repetition; 0: there are too many. */
static int shapes_of(const struct program *plan, struct bound_shape *shapes)
{
    int shape_count = 0;
    for (int i = 0; i < plan->segment_count; i++)
        for (int j = plan->segments[i].first; j < plan->segments[i].end; j++) {
            if (plan->nodes[j].op->kind != OP_CONV)
                continue;
            struct shim_conv conv = cpu_conv_shape(plan->spec.graph, plan->nodes[j].op, plan->spec.n, 0);
            int at = 0, slice = plan->segments[i].n;
            while (at < shape_count && (memcmp(&shapes[at].conv, &conv, sizeof conv) != 0 || shapes[at].slice != slice))
                at++;
            if (at == CONV_BOUND_SHAPES)
                return 0;
            if (at == shape_count)
                shapes[shape_count++] = (struct bound_shape){.conv = conv, .slice = slice};
            shapes[at].count++;
        }
    return shape_count;
}

/* Primitives keep the number of threads that OpenMP offers while they are made. */
static int make_parts(struct conv_bound *b, const struct be_plan *plan, const struct conv_bound_passes *passes)
{
    struct bound_shape shapes[CONV_BOUND_SHAPES];
    int shape_count = shapes_of(&plan->program, shapes), good = shape_count > 0;
    b->bf16 = plan->type == SHIM_BF16;
    b->block = cpu_block(plan->dev);
    for (int i = 0; i < shape_count; i++) {
        if (passes->forward > 0)
            good &= add_pass(b, &shapes[i], SHIM_FORWARD, passes->forward);
        if (passes->weights > 0)
            good &= add_pass(b, &shapes[i], SHIM_BACK_WEIGHTS, passes->weights);
        if (passes->data > 0 && shapes[i].conv.ci != 3)
            good &= add_pass(b, &shapes[i], SHIM_BACK_DATA, passes->data);
    }
    return good;
}

int conv_bound_make(struct conv_bound *b, const struct be_plan *plan, const struct conv_bound_passes *passes,
                    const struct be_memory *memory)
{
    struct parallel_scope scope;
    b->dev = plan->dev;
    b->memory = *memory;
    if (cpu_enter(b->dev, &scope, NULL) != MOCO_OK)
        return 0;
    int good = make_parts(b, plan, passes);
    parallel_leave(&scope);
    return good;
}

static double sweep(struct conv_bound *b)
{
    double total = 0;
    size_t quarter = quarter_of(b);
    char *base = b->memory.at;
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = base,
                            [SHIM_DST] = base + quarter,
                            [SHIM_WEIGHTS] = base + 2 * quarter,
                            [SHIM_SCRATCH] = base + 3 * quarter};
    for (int i = 0; i < b->count; i++) {
        double best = 0;
        for (int way = 0; way < CONV_BOUND_WAYS; way++)
            for (int run = 0; run < 2 && b->part[i].prim[way].primitive != NULL; run++) {
                double began = now_ms();
                if (shim_run(&b->part[i].prim[way], at, NULL) != MOCO_OK)
                    return 0;
                double ms = (now_ms() - began) * b->part[i].repeats[way];
                if (best == 0 || ms < best)
                    best = ms;
            }
        if (b->part[i].best == 0 || best < b->part[i].best)
            b->part[i].best = best;
        total += b->part[i].count * best;
    }
    return total;
}

double conv_bound_sweep(struct conv_bound *b)
{
    struct parallel_scope scope;
    if (cpu_enter(b->dev, &scope, NULL) != MOCO_OK)
        return 0;
    double ms = sweep(b);
    parallel_leave(&scope);
    return ms;
}

double conv_bound_best(const struct conv_bound *b)
{
    double total = 0;
    for (int i = 0; i < b->count; i++)
        total += b->part[i].count * b->part[i].best;
    return total;
}

void conv_bound_free(struct conv_bound *b)
{
    for (int i = 0; i < b->count; i++)
        for (int way = 0; way < CONV_BOUND_WAYS; way++)
            shim_prim_free(&b->part[i].prim[way]);
}

#else

typedef int conv_bound_needs_the_cpu_device;

#endif
