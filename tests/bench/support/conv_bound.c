/* SPDX-License-Identifier: MIT
 *
 * conv_bound: see conv_bound.h. */
#include "bench/support/conv_bound.h"

#ifdef MOCO_HAVE_ONEDNN

#include <string.h>

#include "bench/support/timing.h"

static int add_pass(struct conv_bound *b, const struct shim_conv *shape, enum shim_pass pass, int bf16, int block,
                    int count)
{
    enum shim_order blocked = block == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8;
    struct conv_bound_part *c = &b->part[b->count];
    *c = (struct conv_bound_part){.count = count};
    int made = 0;
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
        if (prim.reference)
            shim_prim_free(&prim);
        else
            c->prim[made++] = prim;
    }
    b->count++;
    return made > 0;
}

/* Primitives keep the number of threads that OpenMP offers while they are made. */
static int make_parts(struct conv_bound *b, const struct be_plan *plan, const struct conv_bound_passes *passes)
{
    struct shim_conv shapes[CONV_BOUND_SHAPES];
    int counts[CONV_BOUND_SHAPES], shape_count = 0;
    const struct graph *g = plan->spec.graph;
    for (int i = 0; i < g->op_count; i++) {
        if (g->ops[i].kind != OP_CONV)
            continue;
        struct shim_conv shape = cpu_conv_shape(g, &g->ops[i], plan->spec.n, 0);
        int at = 0;
        while (at < shape_count && memcmp(&shapes[at], &shape, sizeof shape) != 0)
            at++;
        if (at == CONV_BOUND_SHAPES)
            return 0;
        if (at == shape_count) {
            shapes[shape_count] = shape;
            counts[shape_count++] = 0;
        }
        counts[at]++;
    }
    int bf16 = plan->type == SHIM_BF16, block = cpu_block(plan->dev), good = 1;
    for (int i = 0; i < shape_count; i++) {
        if (passes->forward > 0)
            good &= add_pass(b, &shapes[i], SHIM_FORWARD, bf16, block, passes->forward * counts[i]);
        if (passes->weights > 0)
            good &= add_pass(b, &shapes[i], SHIM_BACK_WEIGHTS, bf16, block, passes->weights * counts[i]);
        if (passes->data > 0 && shapes[i].ci != 3)
            good &= add_pass(b, &shapes[i], SHIM_BACK_DATA, bf16, block, passes->data * counts[i]);
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
    size_t quarter = b->memory.bytes / 4 / 4096 * 4096;
    char *base = b->memory.at;
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = base,
                            [SHIM_DST] = base + quarter,
                            [SHIM_WEIGHTS] = base + 2 * quarter,
                            [SHIM_SCRATCH] = base + 3 * quarter};
    for (int i = 0; i < b->count; i++) {
        double best = 0;
        for (int layout = 0; layout < 2; layout++)
            for (int run = 0; run < 2 && b->part[i].prim[layout].primitive != NULL; run++) {
                double began = now_ms();
                if (shim_run(b->dev->engine, &b->part[i].prim[layout], at, NULL) != MOCO_OK)
                    return 0;
                double ms = now_ms() - began;
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
        for (int layout = 0; layout < 2; layout++)
            shim_prim_free(&b->part[i].prim[layout]);
}

#else

typedef int conv_bound_needs_the_cpu_device;

#endif
