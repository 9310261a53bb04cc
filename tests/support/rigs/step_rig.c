/* SPDX-License-Identifier: MIT
 *
 * step_rig: see step_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/rigs/step_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "philox.h"

#define OK STEP_OK

enum { STREAM_IMAGES = 1, STREAM_ROWS, STREAM_ORDER };

void step_rig_expect(moco_status status, moco_status wanted, const struct err *err)
{
    if (status != wanted)
        fail_msg("status %d instead of %d: %s", (int)status, (int)wanted, err->text);
}

void step_rig_expect_words(const struct err *err, const char *words)
{
    if (strstr(err->text, words) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", err->text, words);
}

/* ---- making ---- */

static size_t vectors(const struct step_rig *r)
{
    return (size_t)STEP_N * STEP_DIM * r->info.real_bytes;
}

static void take(struct step_rig *r, struct be_memory *memory, size_t bytes)
{
    OK(r->be->alloc(r->dev, bytes, memory, &err));
}

static struct be_plan *plan_of(struct step_rig *r, enum be_pass pass)
{
    struct be_plan *plan;
    struct be_plan_spec spec = {.graph = r->graph,
                                .layout = r->layout,
                                .precision = r->info.master,
                                .pass = pass,
                                .n = STEP_N,
                                .groups = STEP_GROUPS,
                                .output = r->graph->embedding};
    OK(r->be->plan_create(&plan, r->dev, &spec, &err));
    return plan;
}

static void make_memory(struct step_rig *r)
{
    size_t slab = r->be->layout_bytes(r->layout), stats = (size_t)r->graph->stat_total * r->info.real_bytes;
    struct be_plan_bytes query, key;
    struct be_memory *slabs[] = {&r->q, &r->k, &r->momentum, &r->gradients};
    struct be_memory *all_stats[] = {&r->running_q, &r->running_k, &r->stage_q, &r->stage_k};
    struct be_memory *rows[] = {&r->embedding, &r->keys, &r->in_order, &r->d_query};
    for (int i = 0; i < 4; i++) {
        take(r, slabs[i], slab);
        take(r, all_stats[i], stats);
        take(r, rows[i], vectors(r));
    }
    take(r, &r->queue, (size_t)STEP_QUEUE * STEP_DIM * r->info.real_bytes);
    take(r, &r->key_block, r->be->key_bytes(r->layout));
    take(r, &r->scratch, r->be->infonce_scratch(r->dev, STEP_N, STEP_DIM, STEP_QUEUE));
    r->be->plan_bytes(r->query, &query);
    r->be->plan_bytes(r->key, &key);
    take(r, &r->slab, query.slab > key.slab ? query.slab : key.slab);
    OK(r->be->plan_bind(r->query, r->slab.at, &err));
    OK(r->be->plan_bind(r->key, r->slab.at, &err));
}

void step_rig_write(struct step_rig *r, const struct be_memory *to, const double *values, int count)
{
    if (r->info.real_bytes == sizeof(double)) {
        OK(r->be->write(r->dev, to->at, values, (size_t)count * sizeof *values, &err));
        return;
    }
    float *narrow = malloc((size_t)count * sizeof *narrow);
    assert_non_null(narrow);
    for (int i = 0; i < count; i++)
        narrow[i] = (float)values[i];
    OK(r->be->write(r->dev, to->at, narrow, (size_t)count * sizeof *narrow, &err));
    free(narrow);
}

/* Weights as a new network has them, and a queue of unit rows. Arrays are freed at once: they were read. */
static void fill(struct step_rig *r)
{
    for (int p = 0; p < r->graph->param_count; p++) {
        double *values = malloc((size_t)r->graph->params[p].count * sizeof *values);
        assert_non_null(values);
        init_param(r->graph, p, 5, values);
        OK(r->be->param_set(r->layout, r->q.at, p, values, &err));
        OK(r->be->param_set(r->layout, r->k.at, p, values, &err));
        free(values);
    }
    double rows[STEP_QUEUE * STEP_DIM];
    for (int i = 0; i < STEP_QUEUE; i++) {
        struct rng rng;
        double squares = 0;
        rng_init(&rng, 5, STREAM_ROWS, (uint64_t)i, 0, RNG_TEST);
        for (int c = 0; c < STEP_DIM; c++) {
            double x = rng_normal(&rng);
            rows[i * STEP_DIM + c] = x;
            squares += x * x;
        }
        for (int c = 0; c < STEP_DIM; c++)
            rows[i * STEP_DIM + c] /= sqrt(squares);
    }
    step_rig_write(r, &r->queue, rows, STEP_QUEUE * STEP_DIM);
}

void step_rig_open(struct step_rig *r, const struct backend *be, int replay)
{
    struct net_config config = {.depth = 18,
                                .width = 1.0 / 32,
                                .stem = STEM_SMALL,
                                .head = HEAD_MLP,
                                .dim = STEP_DIM,
                                .image_h = STEP_IMAGE,
                                .image_w = STEP_IMAGE,
                                .mean = {0.5, 0.5, 0.5},
                                .std = {0.2, 0.2, 0.2},
                                .seed = 5};
    size_t view = (size_t)STEP_N * STEP_IMAGE * STEP_IMAGE * 3;
    memset(r, 0, sizeof *r);
    r->be = be;
    OK(ctx_create(&r->ctx, &(struct ctx_options){.threads = 1}, &err));
    OK(be->open(&r->dev, r->ctx, be->name, &err));
    be->info(r->dev, &r->info);
    OK(net_build(&r->graph, r->ctx, &config, &err));
    OK(be->layout_create(&r->layout, r->dev, r->graph, r->info.master, &err));
    assert_int_equal(be->reader_bytes(r->layout, 1), 0);
    r->query = plan_of(r, BE_TRAIN);
    r->key = plan_of(r, BE_KEY);
    make_memory(r);
    struct be_program_spec spec = {.layout = r->layout,
                                   .view_bytes = view,
                                   .views = 2,
                                   .index_count = 2 * STEP_N,
                                   .range_count = 1,
                                   .replay = replay};
    OK(be->program_create(&r->program, r->dev, &spec, &err));
    for (int v = 0; v < 2; v++)
        assert_non_null(r->view[v] = malloc(view));
    fill(r);
}

void step_rig_close(struct step_rig *r)
{
    struct be_memory *all[] = {&r->q,     &r->k,        &r->momentum,  &r->gradients, &r->running_q, &r->running_k,
                               &r->queue, &r->slab,     &r->key_block, &r->stage_q,   &r->stage_k,   &r->embedding,
                               &r->keys,  &r->in_order, &r->d_query,   &r->scratch};
    r->be->program_free(r->program);
    r->be->plan_free(r->query);
    r->be->plan_free(r->key);
    r->be->layout_free(r->layout);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        r->be->release(r->dev, all[i]);
    graph_free(r->graph);
    r->be->close(r->dev);
    int64_t live = r->ctx->live_bytes;
    ctx_unref(r->ctx);
    free(r->view[0]);
    free(r->view[1]);
    assert_int_equal(live, 0);
}

/* ---- what a step is given ---- */

static void draw_order(int64_t step, int part, int32_t order[STEP_N])
{
    struct rng rng;
    rng_init(&rng, 5, STREAM_ORDER, (uint64_t)step, (uint64_t)part, RNG_TEST);
    for (int i = 0; i < STEP_N; i++)
        order[i] = i;
    for (int i = STEP_N - 1; i > 0; i--) {
        int j = (int)(rng_uniform(&rng) * (i + 1)) % (i + 1);
        int32_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

void step_rig_draw(struct step_rig *r, int64_t step, struct be_scalars *scalars, struct be_range ranges[1])
{
    for (int v = 0; v < 2; v++) {
        struct rng rng;
        rng_init(&rng, 5, STREAM_IMAGES, (uint64_t)step, (uint64_t)v, RNG_TEST);
        for (size_t i = 0; i < (size_t)STEP_N * STEP_IMAGE * STEP_IMAGE * 3; i++)
            r->view[v][i] = (uint8_t)(rng_u32(&rng) >> 24);
        draw_order(step, v, r->index + v * STEP_N);
    }
    ranges[0] = (struct be_range){2, 3, 0.5 + 0.1 * (double)step, 1e-3 * (double)step, 0};
    *scalars = (struct be_scalars){.lr = 0.02 * (double)(step + 1),
                                   .sgd_momentum = 0.9 - 0.01 * (double)step,
                                   .weight_decay = 1e-4 * (double)(step + 1),
                                   .trust = 0.001,
                                   .key_momentum = 0.9 + 0.01 * (double)(step % 9),
                                   .temperature = 0.2 + 0.01 * (double)step,
                                   .loss_scale = 1,
                                   .gradient_limit = INFINITY,
                                   .step = step,
                                   .queue_row = step * STEP_N % STEP_QUEUE,
                                   .ranges = ranges,
                                   .range_count = 1};
}

/* ---- a step ---- */

moco_status step_rig_begin(struct step_rig *r, const struct be_scalars *scalars, struct be_input *at, int *skip,
                           struct err *err)
{
    struct be_input input = {.view = {r->view[0], r->view[1]}, .index = r->index};
    return r->be->program_begin(r->program, scalars, &input, at, skip, err);
}

static moco_status make_keys(struct step_rig *r, const struct be_input *at, struct err *err)
{
    struct be_forward io = {.images = at->view[1],
                            .index = at->index,
                            .weights = r->key_block.at,
                            .stage = r->stage_k.at,
                            .out = r->embedding.at};
    TRY(r->be->ema_readers(r->program, r->k.at, r->q.at, r->key_block.at, err));
    TRY(r->be->forward(r->key, &io, err));
    TRY(r->be->check_rows(r->program, BE_ROWS_KEY, r->embedding.at, at->index, STEP_N, STEP_DIM, err));
    return r->be->scatter(r->program, r->keys.at, r->embedding.at, at->index, STEP_N, STEP_DIM, err);
}

static moco_status make_queries(struct step_rig *r, const struct be_input *at, struct err *err)
{
    const int32_t *order = at->index + STEP_N;
    struct be_forward io = {.images = at->view[0],
                            .index = order,
                            .weights = r->q.at,
                            .masters = r->q.at,
                            .stage = r->stage_q.at,
                            .out = r->embedding.at};
    struct be_infonce loss = {.q = r->embedding.at,
                              .k = r->in_order.at,
                              .queue = r->queue.at,
                              .n = STEP_N,
                              .dim = STEP_DIM,
                              .length = STEP_QUEUE,
                              .scale = 1.0 / STEP_N,
                              .d_q = r->d_query.at};
    struct be_backward back = {
        .weights = r->q.at, .masters = r->q.at, .d_out = r->d_query.at, .gradients = r->gradients.at};
    TRY(r->be->forward(r->query, &io, err));
    TRY(r->be->check_rows(r->program, BE_ROWS_QUERY, r->embedding.at, order, STEP_N, STEP_DIM, err));
    TRY(r->be->gather(r->program, r->in_order.at, r->keys.at, order, STEP_N, STEP_DIM, err));
    TRY(r->be->infonce(r->program, &loss, r->scratch.at, err));
    TRY(r->be->row_std(r->program, r->embedding.at, STEP_N, STEP_DIM, err));
    return r->be->backward(r->query, &back, err);
}

moco_status step_rig_work(struct step_rig *r, const struct be_input *at, struct err *err)
{
    TRY(r->be->zero(r->dev, r->stage_q.at, r->stage_q.bytes, err));
    TRY(r->be->zero(r->dev, r->stage_k.at, r->stage_k.bytes, err));
    TRY(make_keys(r, at, err));
    TRY(make_queries(r, at, err));
    TRY(r->be->check_slab(r->program, BE_GRADIENT, r->gradients.at, err));
    TRY(r->be->check_stats(r->program, BE_STATS_QUERY, r->graph, r->stage_q.at, err));
    return r->be->check_stats(r->program, BE_STATS_KEY, r->graph, r->stage_k.at, err);
}

moco_status step_rig_commit(struct step_rig *r, struct err *err)
{
    struct be_sgd sgd = {.p = r->q.at, .g = r->gradients.at, .v = r->momentum.at, .k = r->k.at};
    TRY(r->be->sgd(r->program, &sgd, err));
    TRY(r->be->stats_commit(r->program, r->graph, r->running_q.at, r->stage_q.at, STEP_GROUPS, err));
    TRY(r->be->stats_commit(r->program, r->graph, r->running_k.at, r->stage_k.at, STEP_GROUPS, err));
    return r->be->push(r->program, r->queue.at, STEP_QUEUE, r->keys.at, STEP_N, STEP_DIM, err);
}

void step_rig_step(struct step_rig *r, int64_t step, struct step_rig_how *how)
{
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    struct be_outcome so_far;
    int skip;
    step_rig_draw(r, step, &scalars, ranges);
    OK(step_rig_begin(r, &scalars, &at, &skip, &err));
    memset(&scalars, 0xff, sizeof scalars); /* they were read */
    memset(ranges, 0xff, sizeof ranges);
    if (how != NULL)
        how->skipped = skip;
    if (!skip)
        OK(step_rig_work(r, &at, &err));
    if (how != NULL && how->verdict) {
        OK(r->be->verdict(r->program, &so_far, &err));
        assert_true(so_far.bad != BE_NOTHING || isfinite(so_far.loss));
    }
    OK(r->be->decide(r->program, how != NULL ? how->cancel : NULL, how != NULL ? how->veto : 0, &skip, &err));
    if (!skip)
        OK(step_rig_commit(r, &err));
    OK(r->be->program_end(r->program, &err));
    memset(r->index, 0xff, sizeof r->index); /* as the next batch may */
    memset(r->view[0], 0, (size_t)STEP_N * STEP_IMAGE * STEP_IMAGE * 3);
}

struct be_outcome step_rig_outcome(struct step_rig *r)
{
    struct be_outcome out;
    int known;
    OK(r->be->outcome(r->program, 1, &known, &out, &err));
    assert_int_equal(known, 1);
    return out;
}

char *step_rig_state(struct step_rig *r, size_t *bytes)
{
    const struct be_memory *all[] = {&r->q, &r->k, &r->momentum, &r->running_q, &r->running_k, &r->queue};
    size_t count = sizeof all / sizeof all[0], at = 0;
    *bytes = 0;
    for (size_t i = 0; i < count; i++)
        *bytes += all[i]->bytes;
    char *state = malloc(*bytes);
    assert_non_null(state);
    for (size_t i = 0; i < count; at += all[i++]->bytes)
        OK(r->be->read(r->dev, state + at, all[i]->at, all[i]->bytes, &err));
    return state;
}

const char *step_rig_finding_stops(struct step_rig *r, int steps)
{
    const double bad = (double)NAN;
    const char *found = NULL;
    size_t n;
    step_rig_write(r, &r->queue, &bad, 1);
    char *before = step_rig_state(r, &n);
    for (int s = 0; s < steps && found == NULL; s++) {
        step_rig_step(r, s, NULL);
        struct be_outcome o = step_rig_outcome(r);
        char *after = step_rig_state(r, &n);
        if (o.bad != BE_BAD(BE_LOSS, 0) || o.follows || o.cancelled)
            found = "the finding is not told";
        if (o.committed || memcmp(before, after, n) != 0)
            found = "a step commits against its verdict";
        free(after);
    }
    free(before);
    return found;
}

int step_rig_same_state(struct step_rig *a, struct step_rig *b)
{
    size_t na, nb;
    char *x = step_rig_state(a, &na), *y = step_rig_state(b, &nb);
    int same = na == nb && memcmp(x, y, na) == 0;
    free(x);
    free(y);
    return same;
}

int step_rig_same_outcome(const struct be_outcome *a, const struct be_outcome *b)
{
    return a->step == b->step && a->bad == b->bad && a->committed == b->committed && a->cancelled == b->cancelled &&
           a->follows == b->follows && a->finite == b->finite && a->loss == b->loss && a->top1 == b->top1 &&
           a->top5 == b->top5 && a->pos == b->pos && a->neg == b->neg && a->sum_squares == b->sum_squares &&
           a->feature_std == b->feature_std;
}
