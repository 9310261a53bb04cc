/* SPDX-License-Identifier: MIT
 *
 * sim_work: what the simulated driver was given to do, see sim_driver.h: works in streams, which run when somebody waits,
 * graphs of them, and the faults that can be planted in both. */
#include "support/cudasim/sim_state.h"

#include <stdlib.h>
#include <string.h>

static uint64_t draws = 88172645463325252u;

/* ---- works ---- */

/* A kernel may go anywhere; a copy is in two blocks, of which one may be the host's. */
static void open_for(const struct work *w, int open)
{
    const struct block *a = sim_find(w->to, w->bytes), *b = w->kind == WORK_COPY ? sim_find(w->from, w->bytes) : NULL;
    if (w->kind == WORK_KERNEL || w->kind == WORK_CALL || w->kind == WORK_GRAPH)
        sim_fence_all(1); /* until the wait is over */
    else if (sim_all_open() || (w->kind != WORK_COPY && w->kind != WORK_FILL))
        return;
    else
        for (int i = 0; i < 2; i++)
            if ((i == 0 ? a : b) != NULL)
                sim_fence(i == 0 ? a : b, open);
}

static void drop_work(struct work *w)
{
    if (w->kind == WORK_CALL)
        w->drop(w->arg);
    free(w);
}

static void run_graph(struct CUgraphExec_st *graph);
static void misjudge(const struct work *w);

static void run(struct work *w)
{
    if (w->faults)
        sim.error = CU_ILLEGAL_ADDRESS;
    if (w->kind == WORK_GRAPH)
        w->graph->runs--;
    if (sim.error != 0 && w->kind != WORK_RECORD)
        return;
    if (w->kind == WORK_KERNEL) {
        simt_launch(w->kernel->run, w->args, w->grid, w->block);
        misjudge(w);
    } else if (w->kind == WORK_CALL) {
        w->call(w->arg);
    } else if (w->kind == WORK_COPY) {
        memcpy(w->to, w->from, w->bytes);
    } else if (w->kind == WORK_FILL) {
        memset(w->to, w->value, w->bytes);
    } else if (w->kind == WORK_RECORD) {
        w->event->reached++;
    } else if (w->kind == WORK_GRAPH) {
        run_graph(w->graph);
    }
}

/* The first work of some stream that is not waiting; 0: there is none. */
int sim_run_one(void)
{
    int count = 0;
    for (const struct CUstream_st *s = sim.streams; s != NULL; s = s->next)
        count++;
    draws ^= draws << 13;
    draws ^= draws >> 7;
    draws ^= draws << 17;
    for (int i = 0, from = count > 0 ? (int)(draws % (uint64_t)count) : 0; i < count; i++) {
        struct CUstream_st *s = sim.streams;
        for (int j = (from + i) % count; j > 0; j--)
            s = s->next;
        struct work *w = s->works.first;
        if (w == NULL || (w->kind == WORK_WAIT && w->event->reached < w->records && sim.error == 0))
            continue;
        s->works.first = w->next;
        if (s->works.first == NULL)
            s->works.last = &s->works.first;
        sim.pending--;
        open_for(w, 1);
        run(w);
        open_for(w, 0);
        drop_work(w);
        return 1;
    }
    return 0;
}

void sim_run_all(void)
{
    while (sim_run_one()) {
    }
    sim_fence_all(0);
    if (sim.pending > 0)
        sim_fail("streams wait for each other in vain");
}

cu_result sim_queue(struct CUstream_st *s, const struct work *work)
{
    struct works *works = s->records != NULL ? &s->records->works : &s->works;
    if (s->records != NULL && s->records->invalid)
        return CU_CAPTURE_INVALIDATED;
    struct work *w = malloc(sizeof *w);
    if (w == NULL)
        sim_fail("no memory");
    *w = *work;
    w->next = NULL;
    *works->last = w;
    works->last = &w->next;
    sim.pending += s->records == NULL;
    return CU_OK;
}

/* ---- graphs ---- */

void sim_free_works(struct works *works)
{
    for (struct work *w = works->first, *next; w != NULL; w = next) {
        next = w->next;
        drop_work(w);
    }
    *works = (struct works){.first = NULL};
}

/* Notes the blocks that a work is about: of a kernel, whatever in its arguments is an address of device memory. */
void sim_note_blocks(struct CUgraphExec_st *graph, const struct work *w)
{
    const char *at[SIM_ARGS / sizeof(char *)] = {w->to, w->kind == WORK_COPY ? w->from : NULL};
    size_t count = 2;
    if (w->kind == WORK_KERNEL) {
        count = w->kernel->bytes / sizeof *at;
        memcpy(at, w->args, count * sizeof *at);
    }
    for (size_t i = 0; i < count; i++) {
        const struct block *b = at[i] != NULL ? sim_find(at[i], 1) : NULL;
        if (b == NULL)
            continue;
        graph->seen = realloc(graph->seen, (size_t)(graph->seen_count + 1) * sizeof *graph->seen);
        if (graph->seen == NULL)
            sim_fail("no memory");
        graph->seen[graph->seen_count++] = (struct seen){at[i], b->number};
    }
}

/* Memory that a graph was recorded with, and that was freed since: a real GPU faults, or computes with what is there now. */
static int all_there(const struct CUgraphExec_st *graph)
{
    for (int i = 0; i < graph->seen_count; i++) {
        const struct block *b = sim_find(graph->seen[i].at, 1);
        if (b == NULL || b->number != graph->seen[i].block)
            return 0;
    }
    return 1;
}

/* The step's block, which is the first argument of most kernels of a step. */
static struct cuda_step *step_in(const struct work *w)
{
    struct cuda_step *step = NULL;
    if (w->kind == WORK_KERNEL &&
        (strcmp(w->kernel->name, "moco_slab_average") == 0 || strcmp(w->kernel->name, "moco_slab_rules") == 0 ||
         strcmp(w->kernel->name, "moco_decide") == 0))
        memcpy(&step, w->args, sizeof step);
    return step;
}

/* SIM_FROZEN: as if what is in the block were arguments of kernels. */
static void freeze(struct CUgraphExec_st *graph)
{
    struct cuda_step *step = NULL;
    for (const struct work *w = graph->works.first; w != NULL && step == NULL; w = w->next)
        step = step_in(w);
    if (sim.fault != SIM_FROZEN || step == NULL)
        return;
    if (!graph->has_frozen)
        graph->frozen = *step;
    graph->has_frozen = 1;
    step->lr = graph->frozen.lr;
    step->sgd_momentum = graph->frozen.sgd_momentum;
    step->key_momentum = graph->frozen.key_momentum;
    step->temperature = graph->frozen.temperature;
    step->queue_row = graph->frozen.queue_row;
}

/* SIM_NO_VERDICT and SIM_FORGETS: behind `decide`. */
static void misjudge(const struct work *w)
{
    struct cuda_step *step = sim.fault == SIM_NO_VERDICT || sim.fault == SIM_FORGETS ? step_in(w) : NULL;
    if (step == NULL || strcmp(w->kernel->name, "moco_decide") != 0 || (sim.fault == SIM_FORGETS && !step->follows))
        return;
    step->may = 1;
    step->follows = 0;
}

static void run_graph(struct CUgraphExec_st *graph)
{
    if (!all_there(graph)) {
        sim.error = CU_ILLEGAL_ADDRESS;
        return;
    }
    freeze(graph);
    for (struct work *w = graph->works.first; w != NULL; w = w->next)
        run(w);
}
