/* SPDX-License-Identifier: MIT
 *
 * sim_work: what the simulated driver was given to do, see sim_driver.h: works in streams, which run when somebody waits,
 * graphs of them, and the faults that can be planted in both. */
#include "support/cudasim/sim_state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE 1000000 /* nanoseconds between two looks at what others do */

static uint64_t draws = 88172645463325252u;

void sim_seed(uint64_t seed)
{
    draws = (seed + 1) * 0x9e3779b97f4a7c15u;
}

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

/* Words are mixed as they come: a copy of the same bytes has the same hash, and what is no copy has another. */
uint64_t sim_hash(const void *bytes, size_t size)
{
    uint64_t hash = size + 1, word;
    for (size_t at = 0; at < size; at += sizeof word) {
        word = 0;
        memcpy(&word, (const char *)bytes + at, size - at < sizeof word ? size - at : sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash | 1;
}

int sim_is_queued(const struct block *b)
{
    for (const struct CUstream_st *s = sim.streams; s != NULL; s = s->next)
        for (const struct work *w = s->works.first; w != NULL; w = w->next)
            if (w->kind == WORK_COPY && (sim_find(w->from, w->bytes) == b || sim_find(w->to, w->bytes) == b))
                return 1;
    return 0;
}

/* A GPU reads the host's memory at any time between the call and the copy's end. */
static void run_copy(const struct work *w)
{
    if (w->hash != 0 && sim_hash(w->from, w->bytes) != w->hash)
        sim_fail("page-locked memory was written before a copy that was queued has read it");
    memcpy(w->to, w->from, w->bytes);
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
        run_copy(w);
    } else if (w->kind == WORK_FILL) {
        memset(w->to, w->value, w->bytes);
    } else if (w->kind == WORK_RECORD) {
        w->event->reached++;
        w->event->at = sim.clock;
    } else if (w->kind == WORK_GRAPH) {
        run_graph(w->graph);
    }
}

static int can_run(const struct work *w)
{
    if (w->kind == WORK_WAIT)
        return w->event->reached >= w->records || sim.error != 0;
    return w->kind != WORK_CALL || w->ready == NULL || sim.error != 0 || w->ready(w->arg);
}

/* What orders streams, and what is behind it. */
static int is_between(const struct work *w)
{
    return w->kind == WORK_WAIT || (w->kind == WORK_CALL && w->ready != NULL);
}

/* The next in order from a drawn one whose first work may run; NULL: there is none. */
static struct CUstream_st *next_stream(int count, int between)
{
    for (int i = 0, from = count > 0 ? (int)(draws % (uint64_t)count) : 0; i < count; i++) {
        struct CUstream_st *s = sim.streams;
        for (int j = (from + i) % count; j > 0; j--)
            s = s->next;
        const struct work *w = s->works.first;
        if (w != NULL && (!between || is_between(w)) && can_run(w))
            return s;
    }
    return NULL;
}

/* Streams in a drawn order; but mostly what may go on at once beside other work does, since that is when a missing order
 * shows. */
int sim_run_one(void)
{
    int count = 0;
    for (const struct CUstream_st *s = sim.streams; s != NULL; s = s->next)
        count++;
    draws ^= draws << 13;
    draws ^= draws >> 7;
    draws ^= draws << 17;
    struct CUstream_st *s = draws >> 32 & 7 ? next_stream(count, 1) : NULL;
    if (s == NULL)
        s = next_stream(count, 0);
    if (s == NULL)
        return 0;
    struct work *w = s->works.first;
    s->works.first = w->next;
    if (s->works.first == NULL)
        s->works.last = &s->works.first;
    sim.pending--;
    sim.meetings -= w->ready != NULL;
    open_for(w, 1);
    run(w);
    pthread_cond_broadcast(&sim_moved);
    open_for(w, 0);
    drop_work(w);
    return 1;
}

void sim_wait_for_others(const char *what, int *slices)
{
    struct timespec until;
    sim_fence_all(0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += SLICE;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&sim_moved, &sim_lock, &until);
    if (sim.meetings == 0 || ++*slices > SIM_PATIENCE * (1000000000 / SLICE))
        sim_fail(what);
}

static int is_busy(void)
{
    for (const struct CUstream_st *s = sim.streams; s != NULL; s = s->next)
        if (s->works.first != NULL && (sim_current() == NULL || s->of == sim_current()))
            return 1;
    return 0;
}

void sim_run_all(void)
{
    int slices = 0;
    while (is_busy())
        if (!sim_run_one())
            sim_wait_for_others("streams wait for each other in vain", &slices);
    sim_fence_all(0);
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
    sim.meetings += w->ready != NULL;
    pthread_cond_broadcast(&sim_moved);
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
