/* SPDX-License-Identifier: MIT
 *
 * late_calls: the calls of a step, each of which is queued with a copy of its arguments and done by ref later. What a
 * reader would get wrong: an index is device memory here, as everything that a repeated step may find changed; a host
 * pointer among the arguments is refused by name. */
#include "support/late/late.h"

#define REALS(count) ((size_t)(count) * sizeof(double))

static size_t slab_bytes(const struct be_program *p)
{
    return late_layout_bytes(p->layout);
}

/* Each kind of call: its arguments, how ref is called with them, and the slot. */

/* ---- keys ---- */

struct ema_args {
    const void *k, *q;
    void *out;
};

static moco_status run_ema(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct ema_args *a = args;
    (void)dev;
    return backend_ref.ema_readers(call->program->ref, a->k, a->q, a->out, err);
}

moco_status late_ema_readers(struct be_program *p, const void *k, const void *q, void *out, struct err *err)
{
    struct ema_args args = {k, q, out};
    struct late_call call = {
        .name = "ema_readers",
        .run = run_ema,
        .when = LATE_WORK,
        .program = p,
        .range = {{"k", k, slab_bytes(p), 0}, {"q", q, slab_bytes(p), 0}, {"out", out, late_key_bytes(p->layout), 0}}};
    return late_queue(p->dev, &call, &args, sizeof args, err);
}

/* ---- rows ---- */

struct rows_args {
    enum be_what what;
    void *out;
    const void *rows;
    const int32_t *index;
    int n, dim;
};

static moco_status run_gather(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct rows_args *a = args;
    (void)dev;
    return backend_ref.gather(call->program->ref, a->out, a->rows, a->index, a->n, a->dim, err);
}

static moco_status run_scatter(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct rows_args *a = args;
    (void)dev;
    return backend_ref.scatter(call->program->ref, a->out, a->rows, a->index, a->n, a->dim, err);
}

static moco_status run_check_rows(struct be_device *dev, const struct late_call *call, const void *args,
                                  struct err *err)
{
    const struct rows_args *a = args;
    (void)dev;
    return backend_ref.check_rows(call->program->ref, a->what, a->rows, a->index, a->n, a->dim, err);
}

static moco_status run_row_std(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct rows_args *a = args;
    (void)dev;
    return backend_ref.row_std(call->program->ref, a->rows, a->n, a->dim, err);
}

/* The side that the index chooses rows of has as many as the caller says, which the device is not told. */
static moco_status queue_rows(struct be_program *p, const char *name, late_run *run, const struct rows_args *a,
                              struct err *err)
{
    int by_index = run == run_gather, into_index = run == run_scatter;
    struct late_call call = {.name = name,
                             .run = run,
                             .when = LATE_WORK,
                             .program = p,
                             .range = {{"out", a->out, into_index ? 1 : REALS(a->n) * (size_t)a->dim, 0},
                                       {"rows", a->rows, by_index ? 1 : REALS(a->n) * (size_t)a->dim, 0},
                                       {"index", a->index, (size_t)a->n * sizeof *a->index, 0}}};
    return late_queue(p->dev, &call, a, sizeof *a, err);
}

moco_status late_gather(struct be_program *p, void *out, const void *rows, const int32_t *index, int n, int dim,
                        struct err *err)
{
    struct rows_args args = {BE_VETO, out, rows, index, n, dim};
    return queue_rows(p, "gather", run_gather, &args, err);
}

moco_status late_scatter(struct be_program *p, void *out, const void *rows, const int32_t *index, int n, int dim,
                         struct err *err)
{
    struct rows_args args = {BE_VETO, out, rows, index, n, dim};
    return queue_rows(p, "scatter", run_scatter, &args, err);
}

moco_status late_check_rows(struct be_program *p, enum be_what what, const void *rows, const int32_t *names, int n,
                            int dim, struct err *err)
{
    struct rows_args args = {what, NULL, rows, names, n, dim};
    return queue_rows(p, "check_rows", run_check_rows, &args, err);
}

moco_status late_row_std(struct be_program *p, const void *rows, int n, int dim, struct err *err)
{
    struct rows_args args = {BE_VETO, NULL, rows, NULL, n, dim};
    return queue_rows(p, "row_std", run_row_std, &args, err);
}

/* ---- slabs and statistics ---- */

struct check_args {
    enum be_what what;
    const void *at;
};

static moco_status run_check_slab(struct be_device *dev, const struct late_call *call, const void *args,
                                  struct err *err)
{
    const struct check_args *a = args;
    (void)dev;
    return backend_ref.check_slab(call->program->ref, a->what, a->at, err);
}

moco_status late_check_slab(struct be_program *p, enum be_what what, const void *slab, struct err *err)
{
    struct check_args args = {what, slab};
    struct late_call call = {.name = "check_slab",
                             .run = run_check_slab,
                             .when = LATE_WORK,
                             .program = p,
                             .range = {{"the slab", slab, slab_bytes(p), 0}}};
    return late_queue(p->dev, &call, &args, sizeof args, err);
}

struct stats_args {
    enum be_what what;
    void *running;
    const void *stage;
    int groups, count;
    int64_t total;
};

/* Of a graph a device needs what its statistics are: a copy, behind the arguments. */
static struct graph graph_of(const struct late_call *call, const void *args)
{
    const struct stats_args *a = args;
    return (struct graph){.stats = late_tail(call, args), .stat_count = a->count, .stat_total = a->total};
}

static moco_status run_check_stats(struct be_device *dev, const struct late_call *call, const void *args,
                                   struct err *err)
{
    const struct stats_args *a = args;
    struct graph graph = graph_of(call, args);
    (void)dev;
    return backend_ref.check_stats(call->program->ref, a->what, &graph, a->stage, err);
}

static moco_status run_stats_commit(struct be_device *dev, const struct late_call *call, const void *args,
                                    struct err *err)
{
    const struct stats_args *a = args;
    struct graph graph = graph_of(call, args);
    (void)dev;
    return backend_ref.stats_commit(call->program->ref, &graph, a->running, a->stage, a->groups, err);
}

static moco_status queue_stats(struct be_program *p, struct late_call *call, const struct graph *graph,
                               struct stats_args *args, struct err *err)
{
    void *tail;
    args->count = graph->stat_count;
    args->total = graph->stat_total;
    call->program = p;
    call->args = sizeof *args;
    call->tail = (size_t)graph->stat_count * sizeof *graph->stats;
    call->range[0] = (struct late_range){"stats", args->stage, REALS(graph->stat_total), 0};
    call->range[1] = (struct late_range){"running", args->running, REALS(graph->stat_total), 0};
    TRY(late_queue_begin(p->dev, call, args, &tail, err));
    if (call->tail > 0)
        memcpy(tail, graph->stats, call->tail);
    return late_queued(err);
}

moco_status late_check_stats(struct be_program *p, enum be_what what, const struct graph *graph, const void *stats,
                             struct err *err)
{
    struct stats_args args = {.what = what, .stage = stats};
    struct late_call call = {.name = "check_stats", .run = run_check_stats, .when = LATE_WORK};
    return queue_stats(p, &call, graph, &args, err);
}

moco_status late_stats_commit(struct be_program *p, const struct graph *graph, void *running, const void *stage,
                              int groups, struct err *err)
{
    struct stats_args args = {.running = running, .stage = stage, .groups = groups};
    struct late_call call = {.name = "stats_commit", .run = run_stats_commit, .when = LATE_COMMIT};
    if (groups < 1)
        return err_set(err, MOCO_EINVAL, "late: statistics of %d groups cannot be averaged", groups);
    return queue_stats(p, &call, graph, &args, err);
}

/* ---- losses ---- */

struct infonce_args {
    struct be_infonce io;
    void *scratch;
};

static moco_status run_infonce(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct infonce_args *a = args;
    (void)dev;
    return backend_ref.infonce(call->program->ref, &a->io, a->scratch, err);
}

moco_status late_infonce(struct be_program *p, const struct be_infonce *io, void *scratch, struct err *err)
{
    if (io->n < 1 || io->dim < 1 || io->length < 0 || !(p->temperature > 0))
        return err_set(err, MOCO_EINVAL,
                       "late: InfoNCE of %d queries of %d numbers against %lld keys, or its temperature, is not "
                       "possible",
                       io->n, io->dim, (long long)io->length);
    struct infonce_args args = {*io, scratch};
    size_t rows = REALS(io->n) * (size_t)io->dim;
    size_t bytes = backend_ref.infonce_scratch(p->dev->ref, io->n, io->dim, io->length);
    struct late_call call = {.name = "infonce",
                             .run = run_infonce,
                             .when = LATE_WORK,
                             .program = p,
                             .range = {{"q", io->q, rows, 0},
                                       {"k", io->k, rows, 0},
                                       {"queue", io->queue, REALS(io->length) * (size_t)io->dim, 0},
                                       {"d_q", io->d_q, rows, 0},
                                       {"scratch", scratch, bytes, 0}}};
    return late_queue(p->dev, &call, &args, sizeof args, err);
}

struct batch_args {
    struct be_batch_loss io;
    void *scratch;
};

static moco_status run_batch_loss(struct be_device *dev, const struct late_call *call, const void *args,
                                  struct err *err)
{
    const struct batch_args *a = args;
    (void)dev;
    return backend_ref.batch_loss(call->program->ref, &a->io, a->scratch, err);
}

moco_status late_batch_loss(struct be_program *p, const struct be_batch_loss *io, void *scratch, struct err *err)
{
    int fits = io->k == NULL ? io->n % 2 == 0 && io->keys == 0 && io->d_k == NULL
                             : io->first >= 0 && io->keys >= io->n && io->first <= io->keys - io->n;
    if (io->n < 1 || io->dim < 1 || !(p->temperature > 0) || !fits)
        return err_set(err, MOCO_EINVAL,
                       "late: a loss of %d queries of %d numbers against %d keys from %d on, or its temperature, is "
                       "not possible",
                       io->n, io->dim, io->keys, io->first);
    struct batch_args args = {*io, scratch};
    size_t rows = REALS(io->n) * (size_t)io->dim, keys = REALS(io->keys) * (size_t)io->dim;
    size_t bytes = backend_ref.batch_loss_scratch(p->dev->ref, io->n, io->keys, io->dim);
    struct late_call call = {.name = "batch_loss",
                             .run = run_batch_loss,
                             .when = LATE_WORK,
                             .program = p,
                             .range = {{"q", io->q, rows, 0},
                                       {"k", io->k, keys, 0},
                                       {"d_q", io->d_q, rows, 0},
                                       {"d_k", io->d_k, keys, 0},
                                       {"scratch", scratch, bytes, 0}}};
    return late_queue(p->dev, &call, &args, sizeof args, err);
}

/* ---- the commit ---- */

static moco_status run_sgd(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    (void)dev;
    return backend_ref.sgd(call->program->ref, args, err);
}

moco_status late_sgd(struct be_program *p, const struct be_sgd *io, struct err *err)
{
    size_t bytes = slab_bytes(p);
    if (io->trial && p->phase != LATE_JUDGED)
        return err_set(err, MOCO_ESTATE, "late: a trial of sgd belongs between verdict and decide");
    struct late_call call = {.name = "sgd",
                             .run = run_sgd,
                             .when = io->trial ? LATE_WORK : LATE_COMMIT,
                             .program = p,
                             .range = {{"p", io->p, bytes, 0},
                                       {"g", io->g, bytes, 0},
                                       {"v", io->v, bytes, 0},
                                       {"k", io->k, bytes, 0},
                                       {"readers", io->readers, late_reader_bytes(p->layout, 1), 0}}};
    return late_queue(p->dev, &call, io, sizeof *io, err);
}

struct push_args {
    void *queue;
    int64_t length;
    const void *keys;
    int n, dim;
};

static moco_status run_push(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct push_args *a = args;
    (void)dev;
    return backend_ref.push(call->program->ref, a->queue, a->length, a->keys, a->n, a->dim, err);
}

moco_status late_push(struct be_program *p, void *queue, int64_t length, const void *keys, int n, int dim,
                      struct err *err)
{
    struct push_args args = {queue, length, keys, n, dim};
    struct late_call call = {
        .name = "push",
        .run = run_push,
        .when = LATE_COMMIT,
        .program = p,
        .range = {{"queue", queue, REALS(length) * (size_t)dim, 0}, {"keys", keys, REALS(n) * (size_t)dim, 0}}};
    return late_queue(p->dev, &call, &args, sizeof args, err);
}
