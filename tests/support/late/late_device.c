/* SPDX-License-Identifier: MIT
 *
 * late_device: opening the late device, its plain memory slots, events between devices, and its table. What a reader
 * would get wrong: `sync` is the only slot that does nothing but wait; all others that wait have work of their own. */
#include <stdio.h>
#include <stdlib.h>

#include "support/late/late.h"

static int64_t opened;
static struct be_device *devices; /* all that are open; with the lock held */

/* As MOCO_LATE_FAULT says. */
static enum late_fault fault_of_all(void)
{
    static const char *const names[LATE_FAULTS] = {
        [LATE_FROZEN] = "frozen",   [LATE_BORROWS] = "borrows",   [LATE_NO_VERDICT] = "no-verdict",
        [LATE_FORGETS] = "forgets", [LATE_NO_AWAIT] = "no-await", [LATE_OLD_INPUT] = "old-input"};
    const char *name = getenv("MOCO_LATE_FAULT");
    if (name == NULL || name[0] == 0)
        return LATE_SOUND;
    for (int f = LATE_SOUND + 1; f < LATE_FAULTS; f++)
        if (strcmp(names[f], name) == 0)
            return (enum late_fault)f;
    fprintf(stderr, "late: MOCO_LATE_FAULT is %s, which is no fault\n", name);
    abort();
}

/* ---- the device ---- */

static moco_status device_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    *out = NULL;
    if (strcmp(name, "late") != 0)
        return err_set(err, MOCO_ENODEV, "late: there is no device \"%.40s\"; its only device is \"late\"", name);
    struct be_device *dev = mem_zalloc(ctx, sizeof *dev, err);
    if (dev == NULL)
        return MOCO_ENOMEM;
    moco_status status = backend_ref.open(&dev->ref, ctx, "ref", err);
    if (status != MOCO_OK) {
        mem_free(ctx, dev);
        return status;
    }
    dev->ctx = ctx;
    status = late_tape_make(&dev->queue, err);
    if (status != MOCO_OK) {
        backend_ref.close(dev->ref);
        mem_free(ctx, dev);
        return status;
    }
    dev->fault = fault_of_all();
    late_lock();
    dev->number = ++opened;
    dev->next = devices;
    devices = dev;
    late_unlock();
    *out = dev;
    return MOCO_OK;
}

static void end_leaking(const struct be_device *dev)
{
    fprintf(stderr, "late: closed while %s is held\n", dev->blocks != NULL ? "its memory" : "a program or flag of it");
    abort();
}

static void device_close(struct be_device *dev)
{
    if (dev == NULL)
        return;
    struct ctx *ctx = dev->ctx;
    late_lock();
    late_drain(dev);
    for (struct be_device **d = &devices; *d != NULL; d = &(*d)->next)
        if (*d == dev) {
            *d = dev->next;
            break;
        }
    late_unlock();
    if (dev->blocks != NULL || dev->programs != NULL || dev->cancels != NULL)
        end_leaking(dev);
    late_tape_free(&dev->queue);
    struct be_device *ref = dev->ref;
    mem_free(ctx, dev);
    backend_ref.close(ref); /* which holds the context */
}

static void device_info(const struct be_device *dev, struct be_info *info)
{
    backend_ref.info(dev->ref, info);
    info->behind = LATE_BEHIND;
    info->own_memory = 1;
    snprintf(info->library, sizeof info->library, "late (tests only)");
}

static moco_status device_precision(const struct be_device *dev, int wanted, enum be_precision *out, struct err *err)
{
    return backend_ref.precision(dev->ref, wanted, out, err);
}

static moco_status device_ready(struct be_device *dev, struct err *err)
{
    TRY(backend_ref.ready(dev->ref, err)); /* first: in a forked child the lock may be held for ever */
    late_lock();
    moco_status status = late_lost(dev, err);
    late_unlock();
    return status;
}

/* ---- memory ---- */

static moco_status device_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err)
{
    late_lock();
    *out = (struct be_memory){0};
    moco_status status = late_lost(dev, err);
    if (status == MOCO_OK)
        status = late_map(dev, bytes, out, err);
    dev->live += (int64_t)out->bytes;
    late_unlock();
    return status;
}

static void device_release(struct be_device *dev, struct be_memory *memory)
{
    if (memory == NULL || memory->at == NULL)
        return;
    late_lock();
    late_drain(dev);
    dev->live -= (int64_t)memory->bytes;
    late_unmap(dev, memory);
    late_unlock();
}

static moco_status device_memory(struct be_device *dev, int64_t *live, int64_t *available, struct err *err)
{
    (void)err;
    late_lock();
    *live = dev->live;
    *available = -1;
    late_unlock();
    return MOCO_OK;
}

struct bytes_args {
    void *to;
    const void *from;
    size_t bytes;
};

static moco_status run_zero(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct bytes_args *a = args;
    (void)call;
    return backend_ref.zero(dev->ref, a->to, a->bytes, err);
}

static moco_status device_zero(struct be_device *dev, void *at, size_t bytes, struct err *err)
{
    struct bytes_args args = {at, NULL, bytes};
    struct late_call call = {.name = "zero", .run = run_zero, .when = LATE_STEP, .range = {{"at", at, bytes, 0}}};
    return late_queue(dev, &call, &args, sizeof args, err);
}

static moco_status run_copy(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct bytes_args *a = args;
    (void)call;
    return backend_ref.copy(dev->ref, a->to, a->from, a->bytes, err);
}

static int overlap(const void *a, const void *b, size_t bytes)
{
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return bytes > 0 && (x < y ? y - x : x - y) < bytes;
}

static moco_status device_copy(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
    if (overlap(to, from, bytes))
        return err_set(err, MOCO_EINVAL, "late: copy of %zu bytes onto themselves", bytes);
    struct bytes_args args = {to, from, bytes};
    struct late_call call = {
        .name = "copy", .run = run_copy, .when = LATE_STEP, .range = {{"to", to, bytes, 0}, {"from", from, bytes, 0}}};
    return late_queue(dev, &call, &args, sizeof args, err);
}

static moco_status device_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err)
{
    TRY(late_wait(dev, "read", err));
    moco_status status = late_touch(dev, "read", at, bytes, err);
    if (status == MOCO_OK)
        status = backend_ref.read(dev->ref, host, at, bytes, err);
    late_waited(dev);
    return status;
}

static moco_status run_write(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct bytes_args *a = args;
    return backend_ref.write(dev->ref, a->to, a->from != NULL ? a->from : late_tail(call, args), a->bytes, err);
}

static moco_status device_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err)
{
    struct bytes_args args = {at, dev->fault == LATE_BORROWS ? host : NULL, bytes};
    struct late_call call = {
        .name = "write", .run = run_write, .args = sizeof args, .tail = bytes, .range = {{"at", at, bytes, 0}}};
    void *tail;
    TRY(late_queue_begin(dev, &call, &args, &tail, err));
    if (bytes > 0)
        memcpy(tail, host, bytes);
    return late_queued(err);
}

static moco_status device_sync(struct be_device *dev, struct err *err)
{
    TRY(late_wait(dev, "sync", err));
    late_waited(dev);
    return MOCO_OK;
}

static moco_status cancel_alloc(struct be_device *dev, _Atomic int **out, struct err *err)
{
    struct late_cancel *cancel = mem_alloc(dev->ctx, sizeof *cancel, err);
    *out = NULL;
    if (cancel == NULL)
        return MOCO_ENOMEM;
    atomic_init(&cancel->flag, 0);
    late_lock();
    cancel->next = dev->cancels;
    dev->cancels = cancel;
    late_unlock();
    *out = &cancel->flag;
    return MOCO_OK;
}

static void cancel_free(struct be_device *dev, _Atomic int *flag)
{
    struct late_cancel *cancel = NULL;
    late_lock();
    late_drain(dev); /* a decide may look at it yet */
    for (struct late_cancel **c = &dev->cancels; *c != NULL; c = &(*c)->next)
        if (&(*c)->flag == flag) {
            cancel = *c;
            *c = cancel->next;
            break;
        }
    late_unlock();
    mem_free(dev->ctx, cancel);
}

static moco_status host_alloc(struct be_device *dev, size_t bytes, void **out, struct err *err)
{
    (void)dev;
    *out = late_take(bytes > 0 ? bytes : 1);
    return *out != NULL ? MOCO_OK : err_set(err, MOCO_ENOMEM, "late: out of host memory for %zu bytes", bytes);
}

static void host_free(struct be_device *dev, void *memory, size_t bytes)
{
    (void)dev;
    late_give(memory, bytes > 0 ? bytes : 1);
}

static size_t infonce_scratch(struct be_device *dev, int n, int dim, int64_t length)
{
    return backend_ref.infonce_scratch(dev->ref, n, dim, length);
}

static size_t batch_loss_scratch(struct be_device *dev, int n, int keys, int dim)
{
    return backend_ref.batch_loss_scratch(dev->ref, n, keys, dim);
}

/* ---- events ---- */

static moco_status run_mark(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    (void)err;
    memcpy(&dev->reached, late_tail(call, args), sizeof dev->reached);
    return MOCO_OK;
}

static moco_status device_mark(struct be_device *dev, void **event, struct err *err)
{
    int none = 0;
    void *tail;
    struct late_call call = {
        .name = "mark", .run = run_mark, .when = LATE_MARK, .args = sizeof none, .tail = sizeof dev->marked};
    TRY(late_queue_begin(dev, &call, &none, &tail, err));
    struct late_event *out = &dev->events[++dev->marked % LATE_EVENTS]; /* numbers are in the order of the queue */
    *out = (struct late_event){dev, dev->number, dev->marked};
    memcpy(tail, &dev->marked, sizeof dev->marked);
    *event = out;
    return late_queued(err);
}

int late_reached(const struct late_event *event)
{
    const struct be_device *d = devices;
    while (d != NULL && d != event->dev)
        d = d->next;
    /* One that is closed has done all. */
    return d == NULL || d->number != event->device || d->reached >= event->number;
}

/* The other device's works run here, as far as the event: nobody else may ask it to. */
static moco_status run_await(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct late_event *event = args;
    (void)call;
    while (dev->fault != LATE_NO_AWAIT && !late_reached(event))
        if (event->dev->running || !late_run_one(event->dev))
            return err_set(err, MOCO_ESTATE, "the event is never reached");
    return MOCO_OK;
}

static moco_status device_await(struct be_device *dev, void *event, struct err *err)
{
    struct late_event args = *(const struct late_event *)event;
    struct late_call call = {.name = "await", .run = run_await};
    return late_queue(dev, &call, &args, sizeof args, err);
}

/* ---- for tests ---- */

int64_t late_pending(struct be_device *dev)
{
    late_lock();
    int64_t pending = dev->pending;
    late_unlock();
    return pending;
}

int64_t late_repeats(struct be_device *dev)
{
    late_lock();
    int64_t repeats = dev->repeats;
    late_unlock();
    return repeats;
}

int64_t late_repeated(void)
{
    int64_t repeats = 0;
    late_lock();
    for (const struct be_device *d = devices; d != NULL; d = d->next)
        repeats += d->repeats;
    late_unlock();
    return repeats;
}

int64_t late_live(void)
{
    int64_t live = 0;
    late_lock();
    for (const struct be_device *d = devices; d != NULL; d = d->next)
        live += d->live;
    late_unlock();
    return live;
}

void late_plant(struct be_device *dev, enum late_fault fault)
{
    late_lock();
    dev->fault = fault;
    late_unlock();
}

void late_break(struct be_device *dev)
{
    late_lock();
    dev->breaks = 1;
    late_unlock();
}

const struct backend backend_late = {
    .abi = BACKEND_ABI,
    .name = "late",
    .open = device_open,
    .close = device_close,
    .info = device_info,
    .precision = device_precision,
    .ready = device_ready,
    .alloc = device_alloc,
    .release = device_release,
    .memory = device_memory,
    .zero = device_zero,
    .copy = device_copy,
    .read = device_read,
    .write = device_write,
    .sync = device_sync,
    .cancel_alloc = cancel_alloc,
    .cancel_free = cancel_free,
    .layout_create = late_layout_create,
    .layout_free = late_layout_free,
    .layout_bytes = late_layout_bytes,
    .param_at = late_param_at,
    .param_get = late_param_get,
    .param_set = late_param_set,
    .measure = late_measure,
    .reader_bytes = late_reader_bytes,
    .readers = late_readers,
    .key_bytes = late_key_bytes,
    .weights_create = late_weights_create,
    .weights_free = late_weights_free,
    .weights_bytes = late_weights_bytes,
    .weights_fold = late_weights_fold,
    .plan_create = late_plan_create,
    .plan_free = late_plan_free,
    .plan_bytes = late_plan_bytes,
    .plan_bind = late_plan_bind,
    .forward = late_forward,
    .backward = late_backward,
    .program_create = late_program_create,
    .program_free = late_program_free,
    .program_reset = late_program_reset,
    .program_begin = late_program_begin,
    .found = late_found,
    .part = late_part,
    .verdict = late_verdict,
    .decide = late_decide,
    .program_end = late_program_end,
    .program_drop = late_program_drop,
    .outcome = late_outcome,
    .behind = late_behind,
    .ema_readers = late_ema_readers,
    .gather = late_gather,
    .scatter = late_scatter,
    .check_rows = late_check_rows,
    .check_slab = late_check_slab,
    .check_stats = late_check_stats,
    .row_std = late_row_std,
    .infonce_scratch = infonce_scratch,
    .infonce = late_infonce,
    .batch_loss_scratch = batch_loss_scratch,
    .batch_loss = late_batch_loss,
    .sgd = late_sgd,
    .stats_commit = late_stats_commit,
    .push = late_push,
    .host_alloc = host_alloc,
    .host_free = host_free,
    .mark = device_mark,
    .await = device_await,
    .ranks_id = late_ranks_id,
    .ranks_open = late_ranks_open,
};
