/* SPDX-License-Identifier: MIT
 *
 * host_program: see host_program.h. */
#include "backend/host_program.h"

#include <math.h>
#include <string.h>

#include "backend/scalars.h"

/* ---- making ---- */

moco_status host_program_create(struct be_program **out, struct ctx *ctx, struct be_device *dev,
                                const struct be_program_spec *spec, size_t real_bytes, int params, struct err *err)
{
    *out = NULL;
    if (spec->views < 0 || spec->views > BE_VIEWS || spec->index_count < 0 || spec->range_count < 0)
        return err_set(err, MOCO_EINVAL, "a program of %d views, %d indices and %d ranges is not possible", spec->views,
                       spec->index_count, spec->range_count);
    struct be_program *program = mem_zalloc(ctx, sizeof *program, err);
    if (program == NULL)
        return MOCO_ENOMEM;
    program->ctx = ctx;
    program->dev = dev;
    program->spec = *spec;
    program->real_bytes = real_bytes;
    program->params = params;
    if (spec->range_count > 0) {
        program->ranges = mem_array(ctx, (size_t)spec->range_count, sizeof *program->ranges, err);
        if (program->ranges == NULL) {
            host_program_free(program);
            return MOCO_ENOMEM;
        }
    }
    *out = program;
    return MOCO_OK;
}

void host_program_free(struct be_program *program)
{
    if (program == NULL)
        return;
    mem_free(program->ctx, program->ranges);
    mem_free(program->ctx, program);
}

void host_program_reset(struct be_program *program)
{
    program->phase = HOST_IDLE; /* nothing is recorded */
    program->untold = 0;
}

moco_status host_cancel_alloc(struct ctx *ctx, _Atomic int **out, struct err *err)
{
    *out = mem_alloc(ctx, sizeof **out, err);
    if (*out == NULL)
        return MOCO_ENOMEM;
    atomic_init(*out, 0);
    return MOCO_OK;
}

void host_cancel_free(struct ctx *ctx, _Atomic int *cancel)
{
    mem_free(ctx, cancel);
}

/* ---- one step after another ---- */

moco_status host_program_begin(struct be_program *program, const struct be_scalars *scalars,
                               const struct be_input *input, struct be_input *at, int *skip, struct err *err)
{
    *skip = 0;
    if (program->phase != HOST_IDLE)
        return err_set(err, MOCO_ESTATE, "a step of this program was begun and has not ended");
    if (program->untold)
        return err_set(err, MOCO_ESTATE, "the outcome of step %lld has not been fetched",
                       (long long)program->so_far.step);
    TRY(scalars_check_ranges(scalars, program->spec.range_count, program->params, err));
    for (int v = 0; input != NULL && v < program->spec.views; v++)
        if (input->made[v] != NULL)
            return err_set(err, MOCO_ENOTSUP, "view %d is to be made of pictures, and this device keeps none", v);
    program->now = *scalars;
    program->now.ranges = program->ranges;
    if (scalars->range_count > 0)
        memcpy(program->ranges, scalars->ranges, (size_t)scalars->range_count * sizeof *program->ranges);
    program->so_far = (struct be_outcome){.step = scalars->step, .bad = BE_NOTHING};
    program->phase = HOST_WORK;
    program->part = 0;
    program->may = 0;
    if (at != NULL)
        *at = input != NULL ? *input : (struct be_input){.index = NULL};
    return MOCO_OK;
}

moco_status host_in_work(const struct be_program *program, const char *call, struct err *err)
{
    if (program->phase != HOST_WORK)
        return err_set(err, MOCO_ESTATE, "%s belongs between program_begin and decide", call);
    return MOCO_OK;
}

moco_status host_may(const struct be_program *program, const char *call, int *may, struct err *err)
{
    *may = program->may;
    if (program->phase != HOST_COMMIT)
        return err_set(err, MOCO_ESTATE, "%s belongs between decide and program_end", call);
    return MOCO_OK;
}

int host_found(const struct be_program *program)
{
    return program->so_far.bad != BE_NOTHING;
}

moco_status host_part(struct be_program *program, struct err *err)
{
    TRY(host_in_work(program, "part", err));
    TRY(scalars_check_part(&program->spec, program->part + 1, 0, err));
    program->part++;
    return MOCO_OK;
}

moco_status host_verdict(struct be_program *program, struct be_outcome *out, struct err *err)
{
    TRY(host_in_work(program, "verdict", err));
    *out = program->so_far;
    return MOCO_OK;
}

moco_status host_decide(struct be_program *program, be_cancel *cancel, uint32_t veto, int *skip, struct err *err)
{
    *skip = 0;
    TRY(host_in_work(program, "decide", err));
    TRY(scalars_check_part(&program->spec, program->part, 1, err));
    if (veto != 0)
        host_bad(program, BE_VETO, veto);
    program->so_far.cancelled = cancel != NULL && atomic_load(cancel) != 0;
    program->may = program->so_far.bad == BE_NOTHING && !program->so_far.cancelled;
    program->phase = HOST_COMMIT;
    return MOCO_OK;
}

moco_status host_program_end(struct be_program *program, struct err *err)
{
    int may;
    TRY(host_may(program, "program_end", &may, err));
    program->so_far.committed = may;
    program->phase = HOST_IDLE;
    program->untold = 1;
    return MOCO_OK;
}

void host_program_drop(struct be_program *program)
{
    program->phase = HOST_IDLE;
}

moco_status host_outcome(struct be_program *program, int wait, int *known, struct be_outcome *out, struct err *err)
{
    (void)wait;
    *known = program->untold;
    if (!program->untold)
        return err_set(err, MOCO_ESTATE, "no step has ended whose outcome was not fetched");
    *out = program->so_far;
    program->untold = 0;
    return MOCO_OK;
}

int host_behind(const struct be_program *program)
{
    return program->untold;
}

/* ---- findings and sums ---- */

void host_bad(struct be_program *program, enum be_what what, int64_t index)
{
    uint64_t bad = BE_BAD(what, index);
    if (bad < program->so_far.bad)
        program->so_far.bad = bad;
}

void host_gradient(struct be_program *program, enum be_what what, double sum_squares, int bad)
{
    if (bad >= 0)
        host_bad(program, what, bad);
    if (what != BE_GRADIENT)
        return;
    program->so_far.sum_squares = sum_squares / (program->now.loss_scale * program->now.loss_scale);
    if (bad < 0 && !isfinite(program->so_far.sum_squares))
        host_bad(program, BE_NORM, 0);
    if (sqrt(program->so_far.sum_squares) > program->now.gradient_limit)
        host_bad(program, BE_LIMIT, 0);
}

void host_add_sums(struct be_program *program, const struct host_sums *sums)
{
    struct be_outcome *o = &program->so_far;
    if (!isfinite(sums->loss) || !isfinite(sums->pos) || !isfinite(sums->neg))
        host_bad(program, BE_LOSS, 0);
    o->loss += sums->loss;
    o->top1 += sums->top1;
    o->top5 += sums->top5;
    o->pos += sums->pos;
    o->neg += sums->neg;
}

struct host_rule host_rule_of(const struct be_program *program, int param)
{
    const struct be_scalars *now = &program->now;
    for (int i = 0; i < now->range_count && now->ranges[i].first <= param; i++) {
        const struct be_range *r = &now->ranges[i];
        if (param < r->first + r->count)
            return (struct host_rule){now->lr * r->rate, r->weight_decay, r->frozen};
    }
    return (struct host_rule){now->lr, now->weight_decay, 0};
}

/* ---- rows ---- */

static size_t row_bytes(const struct be_program *program, int dim)
{
    return (size_t)dim * program->real_bytes;
}

moco_status host_gather(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                        struct err *err)
{
    size_t row = row_bytes(program, dim);
    TRY(host_in_work(program, "gather", err));
    for (int j = 0; j < n; j++)
        memcpy((char *)out + (size_t)j * row, (const char *)rows + (size_t)index[j] * row, row);
    return MOCO_OK;
}

moco_status host_scatter(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                         struct err *err)
{
    size_t row = row_bytes(program, dim);
    TRY(host_in_work(program, "scatter", err));
    for (int j = 0; j < n; j++)
        memcpy((char *)out + (size_t)index[j] * row, (const char *)rows + (size_t)j * row, row);
    return MOCO_OK;
}

moco_status host_push(struct be_program *program, void *queue, int64_t length, const void *keys, int n, int dim,
                      struct err *err)
{
    int may;
    size_t bytes = row_bytes(program, dim);
    TRY(host_may(program, "push", &may, err));
    /* What would be overwritten by this very push is never written. */
    int64_t done = n > length ? n - length : 0, row = (program->now.queue_row + done) % length;
    while (may && done < n) {
        int64_t room = length - row, part = n - done < room ? n - done : room;
        memcpy((char *)queue + (size_t)row * bytes, (const char *)keys + (size_t)done * bytes, (size_t)part * bytes);
        row = (row + part) % length;
        done += part;
    }
    return MOCO_OK;
}

static double real_at(const struct be_program *program, const void *reals, size_t i)
{
    return program->real_bytes == sizeof(double) ? ((const double *)reals)[i] : (double)((const float *)reals)[i];
}

/* The first of `count` reals from number `first` on that is not finite; -1: none. */
static int64_t first_bad(const struct be_program *program, const void *reals, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(real_at(program, reals, first + i)))
            return (int64_t)i;
    return -1;
}

moco_status host_check_rows(struct be_program *program, enum be_what what, const void *rows, const int32_t *names,
                            int n, int dim, struct err *err)
{
    TRY(host_in_work(program, "check_rows", err));
    for (int j = 0; j < n; j++)
        if (first_bad(program, rows, (size_t)j * (size_t)dim, (size_t)dim) >= 0)
            host_bad(program, what, names != NULL ? names[j] : j);
    return MOCO_OK;
}

moco_status host_check_stats(struct be_program *program, enum be_what what, const struct graph *graph,
                             const void *stats, struct err *err)
{
    TRY(host_in_work(program, "check_stats", err));
    int64_t bad = first_bad(program, stats, 0, (size_t)graph->stat_total);
    if (bad >= 0)
        host_bad(program, what, bad);
    return MOCO_OK;
}

/* In two passes: exactly 0 when all rows are equal. */
moco_status host_row_std(struct be_program *program, const void *rows, int n, int dim, struct err *err)
{
    TRY(host_in_work(program, "row_std", err));
    double total = 0;
    for (int c = 0; c < dim; c++) {
        double mean = 0, squares = 0;
        for (int i = 0; i < n; i++)
            mean += real_at(program, rows, (size_t)i * (size_t)dim + (size_t)c);
        mean /= (double)n;
        for (int i = 0; i < n; i++) {
            double off = real_at(program, rows, (size_t)i * (size_t)dim + (size_t)c) - mean;
            squares += off * off;
        }
        total += sqrt(squares / (double)n);
    }
    program->so_far.feature_std = total / (double)dim;
    return MOCO_OK;
}
