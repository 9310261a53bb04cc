/* SPDX-License-Identifier: MIT
 *
 * workspace: see workspace.h. */
#include "algo/serve/workspace.h"

#include <string.h>

moco_status workspace_create(struct workspace **out, const struct workspace_shared *shared, struct err *err)
{
    *out = NULL;
    struct workspace *w = mem_zalloc(shared->ctx, sizeof *w, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    w->plans = mem_array(shared->ctx, (size_t)shared->plans, sizeof *w->plans, err);
    moco_status status = w->plans == NULL ? MOCO_ENOMEM : shared->be->cancel_alloc(shared->dev, &w->cancel, err);
    if (status != MOCO_OK) {
        workspace_free(w, shared);
        return status;
    }
    atomic_init(&w->bytes, 0);
    *out = w;
    return MOCO_OK;
}

static void plan_free(struct workspace_plan *plan, const struct workspace_shared *shared)
{
    if (plan->plan != NULL)
        shared->be->plan_free(plan->plan);
    graph_free(plan->graph);
    *plan = (struct workspace_plan){0};
}

void workspace_free(struct workspace *w, const struct workspace_shared *shared)
{
    if (w == NULL)
        return;
    for (int i = 0; i < w->plan_count; i++)
        plan_free(&w->plans[i], shared);
    if (w->cancel != NULL)
        shared->be->cancel_free(shared->dev, w->cancel);
    shared->be->release(shared->dev, &w->slab);
    shared->be->release(shared->dev, &w->out);
    mem_free(shared->ctx, w->rows);
    mem_free(shared->ctx, w->plans);
    mem_free(shared->ctx, w);
}

/* ---- plans ---- */

/* Builds the network anew for this size of pictures, and its plan. Weights are shared and not touched. */
static moco_status compile(struct workspace_plan *plan, const struct workspace_shared *shared, struct err *err)
{
    const struct workspace_kind *kind = &plan->kind;
    struct net_config config = shared->config;
    config.image_h = kind->h;
    config.image_w = kind->w;
    TRY(net_build(&plan->graph, shared->ctx, &config, err));
    struct be_plan_spec spec = {.graph = plan->graph,
                                .layout = shared->layout,
                                .precision = shared->precision,
                                .pass = BE_INFER,
                                .n = kind->n,
                                .groups = 1,
                                .output = kind->output,
                                .weights = shared->weights,
                                .f32_input = kind->f32,
                                .steady = shared->steady};
    TRY(shared->be->plan_create(&plan->plan, shared->dev, &spec, err));
    struct be_plan_bytes bytes;
    shared->be->plan_bytes(plan->plan, &bytes);
    const struct graph_value *value = &plan->graph->values[kind->output];
    plan->slab = bytes.slab;
    plan->row = (size_t)value->c * (size_t)value->h * (size_t)value->w * shared->real_bytes;
    return MOCO_OK;
}

/* A place for one more plan: at the end, or that of the one whose last launch is the longest ago. */
static struct workspace_plan *place_for(struct workspace *w, const struct workspace_shared *shared)
{
    if (w->plan_count < shared->plans)
        return &w->plans[w->plan_count];
    struct workspace_plan *oldest = &w->plans[0];
    for (int i = 1; i < w->plan_count; i++)
        if (w->plans[i].used < oldest->used)
            oldest = &w->plans[i];
    return oldest;
}

/* Finds the plan of this kind or compiles it; if there is no place, the one that was not used for longest goes. */
static moco_status find_plan(struct workspace *w, struct workspace_shared *shared, const struct workspace_kind *kind,
                             struct workspace_plan **out, struct err *err)
{
    for (int i = 0; i < w->plan_count; i++)
        if (memcmp(&w->plans[i].kind, kind, sizeof *kind) == 0) {
            *out = &w->plans[i];
            return MOCO_OK;
        }
    struct workspace_plan fresh = {.kind = *kind};
    pthread_mutex_lock(&shared->compile); /* weights may gain a copy */
    moco_status status = compile(&fresh, shared, err);
    pthread_mutex_unlock(&shared->compile);
    if (status != MOCO_OK) {
        plan_free(&fresh, shared);
        return status;
    }
    atomic_fetch_add(&shared->compiled, 1);
    struct workspace_plan *place = place_for(w, shared);
    if (place == &w->plans[w->plan_count])
        w->plan_count++;
    else
        plan_free(place, shared);
    *place = fresh;
    *out = place;
    return MOCO_OK;
}

/* ---- memory ---- */

/* The old block goes first: nothing in it outlives a launch. */
static moco_status fit(struct be_memory *memory, const struct workspace_shared *shared, size_t bytes, struct err *err)
{
    if (memory->bytes >= bytes)
        return MOCO_OK;
    shared->be->release(shared->dev, memory);
    return shared->be->alloc(shared->dev, bytes, memory, err);
}

static moco_status take_memory(struct workspace *w, const struct workspace_shared *shared,
                               const struct workspace_plan *plan, struct err *err)
{
    size_t rows = (size_t)plan->kind.n * plan->row;
    TRY(fit(&w->slab, shared, plan->slab, err));
    TRY(fit(&w->out, shared, rows, err));
    if (w->rows_bytes < rows) {
        mem_free(shared->ctx, w->rows);
        w->rows_bytes = 0;
        w->rows = mem_alloc(shared->ctx, rows, err);
        if (w->rows == NULL)
            return MOCO_ENOMEM;
        w->rows_bytes = rows;
    }
    atomic_store(&w->bytes, (int64_t)(w->slab.bytes + w->out.bytes + w->rows_bytes));
    return MOCO_OK;
}

/* A new slab may be where the old one was: all plans are bound again. */
static moco_status bind(struct workspace *w, const struct workspace_shared *shared, struct workspace_plan *plan,
                        struct err *err)
{
    const void *before = w->slab.at;
    size_t size = w->slab.bytes;
    TRY(take_memory(w, shared, plan, err));
    if (w->slab.at != before || w->slab.bytes != size)
        for (int i = 0; i < w->plan_count; i++)
            w->plans[i].bound = NULL;
    if (plan->bound == w->slab.at)
        return MOCO_OK;
    TRY(shared->be->plan_bind(plan->plan, w->slab.at, err));
    plan->bound = w->slab.at;
    return MOCO_OK;
}

moco_status workspace_run(struct workspace *w, struct workspace_shared *shared, const struct workspace_kind *kind,
                          const void *images, struct err *err)
{
    struct workspace_plan *plan;
    TRY(find_plan(w, shared, kind, &plan, err));
    TRY(bind(w, shared, plan, err));
    plan->used = ++w->launches;
    w->dim = (int64_t)(plan->row / shared->real_bytes);
    struct be_forward io = {.images = images, .out = w->out.at, .cancel = w->cancel};
    TRY(shared->be->forward(plan->plan, &io, err));
    return shared->be->read(shared->dev, w->rows, w->out.at, (size_t)kind->n * plan->row, err);
}
