/* SPDX-License-Identifier: MIT
 *
 * cpu_update: all loops over the whole weights: the optimizer with the momentum average before it, and the copies
 * that plans read. A thread takes its part of the slabs piece by piece and does everything to a piece while that is
 * in the nearest cache. What a reader would get wrong: results do not depend on where a part or a piece ends. Pieces
 * are therefore cut only where a tile of a copy, or a cache line, ends too. */
#include "backend/cpu/cpu_update.h"

#include <math.h>
#include <stdatomic.h>

#include "backend/cpu/cpu_param.h"
#include "backend/cpu/cpu_readers.h"
#include "backend/cpu/kernels/simd_table.h"

enum {
    PIECE = 4 * SLAB_TILE, /* numbers */
    LINE = 64              /* numbers: parameters without tiles are cut at whole cache lines */
};

struct update {
    const struct be_layout *layout;
    const struct slab_loops *loops;
    /* `count` numbers of a parameter from number `at` */
    void (*piece)(struct update *update, const struct cpu_param *p, size_t at, size_t count);
    float *p, *v, *k; /* slabs; k NULL: no average is kept */
    const float *g;
    double m;
    float momentum;
    int lars;
    char *out; /* readers, or a key block */
    int readers;
    atomic_int infinite; /* has a number become so? */
};

/* How many units of a parameter at `offset` begin before `end` of the slab. */
static size_t units_before(size_t end, size_t offset, size_t unit)
{
    return end <= offset ? 0 : (end - offset + unit - 1) / unit;
}

static void walk(void *arg, int thread, int threads)
{
    struct update *u = arg;
    size_t begin, end;
    kern_share(u->layout->floats, thread, threads, &begin, &end);
    for (int i = 0; i < u->layout->count; i++) {
        const struct cpu_param *p = &u->layout->params[i];
        size_t unit = p->reader[0].handle != NULL ? SLAB_TILE : LINE, count = (size_t)p->count;
        size_t at = units_before(begin, p->offset, unit) * unit, stop = units_before(end, p->offset, unit) * unit;
        stop = stop < count ? stop : count;
        for (; at < stop; at += PIECE)
            u->piece(u, p, at, stop - at < PIECE ? stop - at : PIECE);
    }
    atomic_thread_fence(memory_order_seq_cst); /* copies were written past the caches */
}

static void run(struct update *u)
{
    const struct kern_team *team = &u->layout->dev->team;
    u->loops = team->simd->slab;
    parallel_run(team->threads, walk, u);
}

static void write_readers(const struct update *u, const struct cpu_param *p, size_t at, size_t count, const float *from)
{
    for (int which = 0; which < u->readers; which++)
        if (p->tiles[which].outputs != NULL)
            cpu_tiles_write(&p->tiles[which], u->loops, at / SLAB_TILE, count / SLAB_TILE, from,
                            u->out + p->reader_at[which]);
}

/* ---- the optimizer ---- */

static void update_piece(struct update *u, const struct cpu_param *param, size_t at, size_t count)
{
    const struct slab_loops *loops = u->loops;
    const struct host_rule *rule = &u->layout->rules[param - u->layout->params];
    size_t first = param->offset + at;
    float *p = u->p + first, *v = u->v + first;
    int finite = 1;
    if (u->k != NULL) { /* of the weights as they were */
        loops->ema(count, u->m, u->k + first, p, u->k + first);
        finite = loops->finite(count, u->k + first);
    }
    if (!rule->frozen && u->lars)
        loops->lars(count, (float)rule->lr, u->momentum, (float)rule->weight_decay, p, u->g + first, v);
    else if (!rule->frozen)
        loops->sgd(count, (float)rule->lr, u->momentum, (float)rule->weight_decay, p, u->g + first, v);
    write_readers(u, param, at, count, p);
    if (!finite || !loops->finite(count, p) || !loops->finite(count, v))
        atomic_store_explicit(&u->infinite, 1, memory_order_relaxed);
}

/* The learning rate of one tensor: BN's parameters and biases take it as it is. */
static void scale_rate(const struct be_layout *layout, const struct be_sgd *io, double trust, int i)
{
    double weight, pull;
    const struct slab_range *at = &layout->ranges[i];
    struct host_rule *rule = &layout->rules[i];
    if (cpu_param_plain(&layout->params[i])) {
        rule->weight_decay = 0;
        return;
    }
    slab_norms(&layout->dev->team, at->count, rule->weight_decay, (const float *)io->p + at->first,
               (const float *)io->g + at->first, &weight, &pull);
    double rate = rule->lr * trust * weight / pull;
    if (weight > 0 && pull > 0 && isfinite((float)rate)) /* a gradient of denormals is as good as none */
        rule->lr = rate;
}

/* One pass over all slabs: momentum average, optimizer and bf16 copies. Copies without tiles are written afterwards,
 * by oneDNN. */
static moco_status update(struct be_program *program, const struct be_sgd *io, struct err *err)
{
    const struct be_layout *layout = program->spec.layout;
    struct update u = {.layout = layout,
                       .piece = update_piece,
                       .p = io->p,
                       .g = io->g,
                       .v = io->v,
                       .k = io->k,
                       .m = program->now.key_momentum,
                       .momentum = (float)program->now.sgd_momentum,
                       .lars = io->lars,
                       .out = io->readers,
                       .readers = io->readers != NULL && layout->precision == BE_BF16 ? 2 : 0};
    for (int i = 0; i < layout->count; i++) {
        layout->rules[i] = host_rule_of(program, i);
        if (io->lars)
            scale_rate(layout, io, program->now.trust, i);
    }
    run(&u);
    program->so_far.finite = !atomic_load(&u.infinite);
    return u.readers > 0 ? cpu_readers_fill(layout, 1, u.p, io->readers, err) : MOCO_OK;
}

moco_status cpu_sgd(struct be_program *program, const struct be_sgd *io, struct err *err)
{
    struct parallel_scope scope;
    int may = 1;
    TRY(io->trial ? host_in_work(program, "a trial of sgd", err) : host_may(program, "sgd", &may, err));
    if (!may)
        return MOCO_OK;
    TRY(cpu_enter(program->dev, &scope, err));
    moco_status status = update(program, io, err);
    parallel_leave(&scope);
    return status;
}

/* ---- copies alone ---- */

static void readers_piece(struct update *u, const struct cpu_param *param, size_t at, size_t count)
{
    write_readers(u, param, at, count, u->p + param->offset + at);
}

moco_status cpu_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err)
{
    if (layout->precision != BE_BF16)
        return MOCO_OK; /* plans read the masters */
    struct parallel_scope scope;
    struct update u = {
        .layout = layout, .piece = readers_piece, .p = (float *)masters, .out = out, .readers = backward ? 2 : 1};
    TRY(cpu_enter(layout->dev, &scope, err));
    run(&u);
    moco_status status = cpu_readers_fill(layout, backward, masters, out, err);
    parallel_leave(&scope);
    return status;
}

static void average_piece(struct update *u, const struct cpu_param *param, size_t at, size_t count)
{
    const float *k = u->k + param->offset + at, *q = u->p + param->offset + at;
    float average[PIECE];
    if (param->reader[0].handle == NULL) {
        u->loops->ema(count, u->m, k, q, (float *)(void *)(u->out + param->key) + at);
    } else if (param->tiles[0].outputs != NULL) {
        u->loops->ema(count, u->m, k, q, average);
        write_readers(u, param, at, count, average);
    }
}

moco_status cpu_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err)
{
    const struct be_layout *layout = program->spec.layout;
    double m = program->now.key_momentum;
    struct parallel_scope scope;
    struct update u = {
        .layout = layout, .piece = average_piece, .k = (float *)k, .p = (float *)q, .m = m, .out = out, .readers = 1};
    TRY(host_in_work(program, "ema_readers", err));
    TRY(cpu_enter(program->dev, &scope, err));
    run(&u);
    moco_status status = cpu_readers_fill_average(layout, k, q, m, out, err);
    parallel_leave(&scope);
    return status;
}
