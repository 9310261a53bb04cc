/* SPDX-License-Identifier: MIT
 *
 * failing_device: see failing_device.h. */
#include "support/devices/failing_device.h"

#include <pthread.h>
#include <string.h>

#include "support/late/late_device.h"

static struct backend failing;
static const struct backend *base = &backend_ref;
static _Thread_local int calls, fail_at = -1, fail_half;
static _Thread_local void (*at_call)(void *arg);
static _Thread_local void *at_call_arg;

void failing_device_arm(int call, int half)
{
    calls = 0;
    fail_at = call;
    fail_half = half;
    at_call = NULL;
}

void failing_device_call(int call, void (*then)(void *arg), void *arg)
{
    failing_device_arm(call, 0);
    at_call = then;
    at_call_arg = arg;
}

int failing_device_calls(void)
{
    return calls;
}

static moco_status count(struct err *err)
{
    int call = calls++;
    if (call == fail_at && at_call != NULL)
        return at_call(at_call_arg), MOCO_OK;
    return call == fail_at ? err_set(err, MOCO_EDEVICE, "the device was told to fail at call %d", call) : MOCO_OK;
}

#define FAILING(name, params, args)                                                                                    \
    static moco_status failing_##name params                                                                           \
    {                                                                                                                  \
        TRY(count(err));                                                                                               \
        return base->name args;                                                                                        \
    }

FAILING(ready, (struct be_device * dev, struct err *err), (dev, err))
FAILING(read, (struct be_device * dev, void *host, const void *at, size_t bytes, struct err *err),
        (dev, host, at, bytes, err))
FAILING(zero, (struct be_device * dev, void *at, size_t bytes, struct err *err), (dev, at, bytes, err))
FAILING(program_begin,
        (struct be_program * program, const struct be_scalars *scalars, const struct be_input *input,
         struct be_input *at, int *skip, struct err *err),
        (program, scalars, input, at, skip, err))
FAILING(part, (struct be_program * program, struct err *err), (program, err))
FAILING(verdict, (struct be_program * program, struct be_outcome *out, struct err *err), (program, out, err))
FAILING(ema_readers, (struct be_program * program, const void *k, const void *q, void *out, struct err *err),
        (program, k, q, out, err))
FAILING(forward, (struct be_plan * plan, const struct be_forward *io, struct err *err), (plan, io, err))
FAILING(gather,
        (struct be_program * program, void *out, const void *rows, const int32_t *index, int n, int dim,
         struct err *err),
        (program, out, rows, index, n, dim, err))
FAILING(scatter,
        (struct be_program * program, void *out, const void *rows, const int32_t *index, int n, int dim,
         struct err *err),
        (program, out, rows, index, n, dim, err))
FAILING(check_rows,
        (struct be_program * program, enum be_what what, const void *rows, const int32_t *names, int n, int dim,
         struct err *err),
        (program, what, rows, names, n, dim, err))
FAILING(check_slab, (struct be_program * program, enum be_what what, const void *slab, struct err *err),
        (program, what, slab, err))
FAILING(check_stats,
        (struct be_program * program, enum be_what what, const struct graph *graph, const void *stats, struct err *err),
        (program, what, graph, stats, err))
FAILING(row_std, (struct be_program * program, const void *rows, int n, int dim, struct err *err),
        (program, rows, n, dim, err))
FAILING(infonce, (struct be_program * program, const struct be_infonce *io, void *scratch, struct err *err),
        (program, io, scratch, err))
FAILING(batch_loss, (struct be_program * program, const struct be_batch_loss *io, void *scratch, struct err *err),
        (program, io, scratch, err))

/* Passes on what backward tells, the first half of it. */
struct half {
    const struct be_backward *io;
    int told;
};

static void tell_half(void *user, int first, int count)
{
    struct half *h = user;
    if (h->told < 30) /* of the 62 of a ResNet-18 with a head of two layers */
        h->io->on_grad(h->io->user, first, count);
    h->told += count;
}

static moco_status failing_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    struct be_backward halved = *io;
    struct half h = {.io = io};
    moco_status status = count(err);
    if (status == MOCO_OK)
        return base->backward(plan, io, err);
    if (!fail_half || io->on_grad == NULL)
        return status;
    halved.on_grad = tell_half;
    halved.user = &h;
    base->backward(plan, &halved, err);
    return status;
}

static moco_status failing_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    *out = NULL;
    if (strcmp(name, "failing") != 0)
        return err_set(err, MOCO_ENODEV, "there is one device failing, and no \"%.40s\"", name);
    return base->open(out, ctx, base->name, err);
}

static void fill(void)
{
    failing = *base;
    failing.name = "failing";
    failing.open = failing_open;
    failing.ready = failing_ready;
    failing.read = failing_read;
    failing.zero = failing_zero;
    failing.program_begin = failing_program_begin;
    failing.part = failing_part;
    failing.verdict = failing_verdict;
    failing.ema_readers = failing_ema_readers;
    failing.forward = failing_forward;
    failing.backward = failing_backward;
    failing.gather = failing_gather;
    failing.scatter = failing_scatter;
    failing.check_rows = failing_check_rows;
    failing.check_slab = failing_check_slab;
    failing.check_stats = failing_check_stats;
    failing.row_std = failing_row_std;
    failing.infonce = failing_infonce;
    failing.batch_loss = failing_batch_loss;
}

void failing_device_over(const char *name, int ranks)
{
    base = strcmp(name, "late") == 0 ? &backend_late : &backend_ref;
    fill();
    if (ranks == 0) {
        failing.ranks_id = NULL;
        failing.ranks_open = NULL;
    }
}

const struct backend *backend_failing(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
    return &failing;
}
