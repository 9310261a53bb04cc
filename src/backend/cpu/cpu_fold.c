/* SPDX-License-Identifier: MIT
 *
 * cpu_fold: see cpu_fold.h. Where parameters come one at a time, ops are divided among threads, since most of the time
 * goes into reading and hashing, which is one thread's for each parameter. Every kernel has one thread there. */
#include "backend/cpu/cpu_fold.h"

#include <stdatomic.h>

#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_program.h"
#include "backend/program/program_fuse.h"
#include "backend/program/program_run.h"

enum {
    PARTS = 2, /* ops at once: each takes the memory of the largest one */
    OF_OP = 4, /* parameters: two of its own, two of its batch norm */
    LINE = 64  /* bytes */
};

/* The context's memory, from the first line of a cache on. *block is what is to be freed. */
static void *lines(struct ctx *ctx, size_t bytes, void **block, struct err *err)
{
    *block = mem_alloc(ctx, bytes + LINE, err);
    return *block == NULL ? NULL : (char *)*block + (LINE - (uintptr_t)*block % LINE) % LINE;
}

/* ---- from a slab ---- */

static moco_status fold_slab(struct be_weights *w, const struct cpu_masters *masters, const void *stats,
                             struct err *err)
{
    struct parallel_scope scope;
    TRY(cpu_enter(w->dev, &scope, err));
    moco_status status = program_fold(cpu_program_ops, w, w->graph, masters, stats, err);
    parallel_leave(&scope);
    return status;
}

moco_status cpu_weights_fold(struct be_weights *w, const void *masters, const void *stats, struct err *err)
{
    void *block;
    struct cpu_masters m = {.slab = masters, .scratch = lines(w->dev->ctx, w->scratch_bytes, &block, err)};
    w->folded = 0;
    if (m.scratch == NULL)
        return MOCO_ENOMEM;
    moco_status status = fold_slab(w, &m, stats, err);
    mem_free(w->dev->ctx, block);
    w->folded = status == MOCO_OK;
    return status;
}

/* ---- one parameter at a time ---- */

struct part {
    struct cpu_masters masters;
    const float **at; /* masters.at */
    float *room;      /* of the parameters of an op */
    float *plain;     /* of one on its way into the slab's order */
    void *block;      /* of both, and of the scratch */
    int failed;       /* the op */
    moco_status status;
    struct err err;
};

struct work {
    struct be_weights *weights;
    const struct be_params *from;
    const void *stats;
    struct part part[PARTS];
    _Atomic int next, stop; /* the op to be taken next; nothing is done from `stop` on */
};

static size_t floats_of(const struct cpu_param *p)
{
    return kern_pad64((size_t)p->count * sizeof(float)) / sizeof(float);
}

/* Parameters of op `i`, and of the batch norm that goes into its weights. Returns their number. */
static int params_of(const struct graph *g, int i, int params[OF_OP])
{
    const struct graph_op *ops[2] = {&g->ops[i], program_folded(g, &g->ops[i])};
    int count = 0;
    if (program_is_folded(g, ops[0]))
        return 0;
    for (int o = 0; o < 2 && ops[o] != NULL; o++)
        for (int which = 0; which < 2; which++)
            if (ops[o]->param[which] >= 0)
                params[count++] = ops[o]->param[which];
    return count;
}

/* Floats that the largest op takes. */
static void largest(const struct be_weights *w, size_t *room, size_t *plain)
{
    *room = *plain = 0;
    for (int i = 0; i < w->graph->op_count; i++) {
        int params[OF_OP], count = params_of(w->graph, i, params);
        size_t sum = 0;
        for (int j = 0; j < count; j++) {
            const struct cpu_param *p = &w->layout->params[params[j]];
            sum += floats_of(p);
            *plain = p->order != SHIM_PLAIN && floats_of(p) > *plain ? floats_of(p) : *plain;
        }
        *room = sum > *room ? sum : *room;
    }
}

static moco_status part_make(struct part *part, const struct be_weights *w, struct err *err)
{
    size_t room, plain;
    largest(w, &room, &plain);
    part->at = mem_array(w->dev->ctx, (size_t)w->layout->count, sizeof *part->at, err);
    if (part->at == NULL)
        return MOCO_ENOMEM;
    part->room = lines(w->dev->ctx, (room + plain) * sizeof(float) + w->scratch_bytes, &part->block, err);
    if (part->room == NULL)
        return MOCO_ENOMEM;
    part->plain = part->room + room;
    part->masters = (struct cpu_masters){.at = part->at, .scratch = (char *)(part->plain + plain)};
    return MOCO_OK;
}

static moco_status fetch(const struct work *work, struct part *part, int i, struct err *err)
{
    int params[OF_OP], count = params_of(work->weights->graph, i, params);
    float *to = part->room;
    for (int j = 0; j < count; j++) {
        const struct cpu_param *p = &work->weights->layout->params[params[j]];
        float *read = p->order == SHIM_PLAIN ? to : part->plain;
        TRY(work->from->get(work->from->self, params[j], read, err));
        if (read != to)
            cpu_param_place(p, to, read);
        part->at[params[j]] = to;
        to += floats_of(p);
    }
    return MOCO_OK;
}

static void stop_at(struct work *work, int i)
{
    int stop = atomic_load(&work->stop);
    while (i < stop && !atomic_compare_exchange_weak(&work->stop, &stop, i)) {
    }
}

static void run_part(void *arg, int number, int parts)
{
    struct work *work = arg;
    struct part *part = &work->part[number];
    struct be_weights *w = work->weights;
    int i;
    (void)parts;
    while ((i = atomic_fetch_add(&work->next, 1)) < atomic_load(&work->stop)) {
        moco_status status = fetch(work, part, i, &part->err);
        if (status == MOCO_OK)
            status = program_fold_op(cpu_program_ops, w, w->graph, i, &part->masters, work->stats, &part->err);
        if (status != MOCO_OK) {
            part->status = status;
            part->failed = i;
            stop_at(work, i);
            return;
        }
    }
}

/* The failure of the first op in order, whichever came earlier in time. */
static moco_status judge(const struct work *work, struct err *err)
{
    const struct part *first = NULL;
    for (int p = 0; p < PARTS; p++)
        if (work->part[p].status != MOCO_OK && (first == NULL || work->part[p].failed < first->failed))
            first = &work->part[p];
    if (first == NULL)
        return MOCO_OK;
    if (err != NULL && err->status == MOCO_OK)
        *err = first->err;
    return first->status;
}

static moco_status run(struct work *work, struct err *err)
{
    struct be_device *dev = work->weights->dev;
    struct parallel_scope scope;
    int parts = dev->team.threads < PARTS ? dev->team.threads : PARTS;
    for (int p = 0; p < parts; p++)
        TRY(part_make(&work->part[p], work->weights, err));
    TRY(cpu_enter(dev, &scope, err));
    parallel_run(parts, run_part, work);
    parallel_leave(&scope);
    return judge(work, err);
}

moco_status cpu_weights_fold_from(struct be_weights *w, const struct be_params *from, const void *stats,
                                  struct err *err)
{
    struct work work = {.weights = w, .from = from, .stats = stats};
    w->folded = 0;
    atomic_init(&work.next, 0);
    atomic_init(&work.stop, w->graph->op_count);
    moco_status status = run(&work, err);
    for (int p = 0; p < PARTS; p++) {
        mem_free(w->dev->ctx, work.part[p].block);
        mem_free(w->dev->ctx, work.part[p].at);
    }
    w->folded = status == MOCO_OK;
    return status;
}
