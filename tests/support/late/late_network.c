/* SPDX-License-Identifier: MIT
 *
 * late_network: layouts and plans of the late device: those of ref, whose calls are queued. What a reader would get
 * wrong: what ref would refuse has to be refused when the call is given, since a work that fails later costs the
 * device. */
#include "support/late/late.h"

/* ---- layouts ---- */

moco_status late_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                               enum be_precision precision, struct err *err)
{
    *out = NULL;
    struct be_layout *layout = mem_zalloc(dev->ctx, sizeof *layout, err);
    if (layout == NULL)
        return MOCO_ENOMEM;
    layout->dev = dev;
    layout->params = graph->param_count;
    layout->count = mem_array(dev->ctx, (size_t)graph->param_count, sizeof *layout->count, err);
    moco_status status = MOCO_ENOMEM;
    if (layout->count != NULL)
        status = backend_ref.layout_create(&layout->ref, dev->ref, graph, precision, err);
    if (status != MOCO_OK) {
        late_layout_free(layout);
        return status;
    }
    for (int i = 0; i < graph->param_count; i++)
        layout->count[i] = graph->params[i].count;
    *out = layout;
    return MOCO_OK;
}

void late_layout_free(struct be_layout *layout)
{
    if (layout == NULL)
        return;
    late_lock();
    late_drain(layout->dev);
    late_unlock();
    if (layout->ref != NULL)
        backend_ref.layout_free(layout->ref);
    mem_free(layout->dev->ctx, layout->count);
    mem_free(layout->dev->ctx, layout);
}

size_t late_layout_bytes(const struct be_layout *layout)
{
    return backend_ref.layout_bytes(layout->ref);
}

size_t late_param_at(const struct be_layout *layout, int index)
{
    return backend_ref.param_at(layout->ref, index);
}

size_t late_reader_bytes(const struct be_layout *layout, int backward)
{
    return backend_ref.reader_bytes(layout->ref, backward);
}

size_t late_key_bytes(const struct be_layout *layout)
{
    return backend_ref.key_bytes(layout->ref);
}

moco_status late_param_get(const struct be_layout *layout, const void *slab, int index, double *values, struct err *err)
{
    TRY(late_wait(layout->dev, "param_get", err));
    moco_status status = late_touch(layout->dev, "param_get", slab, late_layout_bytes(layout), err);
    if (status == MOCO_OK)
        status = backend_ref.param_get(layout->ref, slab, index, values, err);
    late_waited(layout->dev);
    return status;
}

moco_status late_measure(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                         struct err *err)
{
    TRY(late_wait(layout->dev, "measure", err));
    moco_status status = late_touch(layout->dev, "measure", slab, late_layout_bytes(layout), err);
    if (status == MOCO_OK)
        status = backend_ref.measure(layout->ref, slab, sum_squares, bad, err);
    late_waited(layout->dev);
    return status;
}

struct param_set_args {
    const struct be_layout *layout;
    void *slab;
    int index;
    const double *borrowed; /* LATE_BORROWS */
};

static moco_status run_param_set(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct param_set_args *a = args;
    (void)dev;
    return backend_ref.param_set(a->layout->ref, a->slab, a->index,
                                 a->borrowed != NULL ? a->borrowed : late_tail(call, args), err);
}

moco_status late_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err)
{
    if (index < 0 || index >= layout->params)
        return err_set(err, MOCO_EINVAL, "late: there is no parameter %d", index);
    struct be_device *dev = layout->dev;
    struct param_set_args args = {layout, slab, index, dev->fault == LATE_BORROWS ? values : NULL};
    struct late_call call = {.name = "param_set",
                             .run = run_param_set,
                             .args = sizeof args,
                             .tail = (size_t)layout->count[index] * sizeof *values,
                             .range = {{"the slab", slab, late_layout_bytes(layout), 0}}};
    void *tail;
    TRY(late_queue_begin(dev, &call, &args, &tail, err));
    memcpy(tail, values, call.tail);
    return late_queued(err);
}

struct readers_args {
    const struct be_layout *layout;
    int backward;
    const void *masters;
    void *out;
};

static moco_status run_readers(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct readers_args *a = args;
    (void)dev;
    (void)call;
    return backend_ref.readers(a->layout->ref, a->backward, a->masters, a->out, err);
}

moco_status late_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err)
{
    struct readers_args args = {layout, backward, masters, out};
    struct late_call call = {.name = "readers",
                             .run = run_readers,
                             .range = {{"masters", masters, late_layout_bytes(layout), 0},
                                       {"out", out, late_reader_bytes(layout, backward), 0}}};
    return late_queue(layout->dev, &call, &args, sizeof args, err);
}

/* ---- folded weights: the host's memory of ref ---- */

moco_status late_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                                const struct be_layout *layout, enum be_precision precision, struct err *err)
{
    *out = NULL;
    struct be_weights *weights = mem_zalloc(dev->ctx, sizeof *weights, err);
    if (weights == NULL)
        return MOCO_ENOMEM;
    *weights = (struct be_weights){.dev = dev, .layout = layout, .stats = graph->stat_total};
    moco_status status = backend_ref.weights_create(&weights->ref, dev->ref, graph, layout->ref, precision, err);
    if (status != MOCO_OK) {
        mem_free(dev->ctx, weights);
        return status;
    }
    *out = weights;
    return MOCO_OK;
}

void late_weights_free(struct be_weights *weights)
{
    if (weights == NULL)
        return;
    late_lock();
    late_drain(weights->dev);
    late_unlock();
    backend_ref.weights_free(weights->ref);
    mem_free(weights->dev->ctx, weights);
}

size_t late_weights_bytes(const struct be_weights *weights)
{
    return backend_ref.weights_bytes(weights->ref);
}

struct fold_args {
    struct be_weights *weights;
    const void *masters, *stats;
};

static moco_status run_fold(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    const struct fold_args *a = args;
    (void)dev;
    (void)call;
    return backend_ref.weights_fold(a->weights->ref, a->masters, a->stats, err);
}

moco_status late_weights_fold(struct be_weights *weights, const void *masters, const void *stats, struct err *err)
{
    struct fold_args args = {weights, masters, stats};
    struct late_call call = {.name = "weights_fold",
                             .run = run_fold,
                             .range = {{"masters", masters, late_layout_bytes(weights->layout), 0},
                                       {"stats", stats, (size_t)weights->stats * sizeof(double), 0}}};
    TRY(late_queue(weights->dev, &call, &args, sizeof args, err));
    weights->folded = 1;
    return MOCO_OK;
}

/* ---- plans ---- */

moco_status late_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                             struct err *err)
{
    *out = NULL;
    struct be_plan *plan = mem_zalloc(dev->ctx, sizeof *plan, err);
    if (plan == NULL)
        return MOCO_ENOMEM;
    struct be_plan_spec inside = *spec;
    inside.layout = spec->layout->ref;
    if (spec->weights != NULL)
        inside.weights = spec->weights->ref;
    moco_status status = backend_ref.plan_create(&plan->ref, dev->ref, &inside, err);
    if (status != MOCO_OK) {
        mem_free(dev->ctx, plan);
        return status;
    }
    const struct graph *g = spec->graph;
    const struct graph_value *input = &g->values[g->input];
    struct be_plan_bytes bytes;
    backend_ref.plan_bytes(plan->ref, &bytes);
    plan->dev = dev;
    plan->layout = spec->layout;
    plan->pass = spec->pass;
    plan->n = spec->n;
    plan->f32_input = spec->f32_input;
    plan->weights = spec->weights;
    const struct graph_value *output = &g->values[spec->output];
    plan->dim = output->c * output->h * output->w;
    plan->image = (size_t)input->h * (size_t)input->w * 3 * (spec->f32_input ? sizeof(float) : 1);
    plan->stats = g->stat_total;
    plan->slab_bytes = bytes.slab;
    *out = plan;
    return MOCO_OK;
}

/* What was recorded of it may not be repeated. */
static void forget(struct be_plan *plan, const char *why)
{
    for (struct be_program *p = plan->dev->programs; p != NULL; p = p->next)
        if (late_program_has(p, plan))
            p->stale = why;
}

void late_plan_free(struct be_plan *plan)
{
    if (plan == NULL)
        return;
    late_lock();
    late_drain(plan->dev);
    forget(plan, "plan_free");
    late_unlock();
    backend_ref.plan_free(plan->ref);
    mem_free(plan->dev->ctx, plan);
}

void late_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes)
{
    backend_ref.plan_bytes(plan->ref, bytes);
}

moco_status late_plan_bind(struct be_plan *plan, void *slab, struct err *err)
{
    TRY(late_wait(plan->dev, "plan_bind", err));
    moco_status status = late_touch(plan->dev, "plan_bind", slab, plan->slab_bytes, err);
    if (status == MOCO_OK)
        status = backend_ref.plan_bind(plan->ref, slab, err);
    if (status == MOCO_OK) {
        if (plan->slab != slab)
            forget(plan, "plan_bind");
        plan->slab = slab;
        memset(slab, 0x5a, plan->slab_bytes); /* as the contract allows */
    }
    late_waited(plan->dev);
    return status;
}

static moco_status check_bound(const struct be_plan *plan, const char *name, struct err *err)
{
    if (plan->slab == NULL)
        return err_set(err, MOCO_ESTATE, "late: %s of a plan that was not bound to memory", name);
    return MOCO_OK;
}

/* ---- launches ---- */

static moco_status run_forward(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    struct be_forward io = *(const struct be_forward *)args;
    (void)dev;
    if (call->plan->pass == BE_INFER)
        io.images = late_tail(call, args);
    return backend_ref.forward(call->plan->ref, &io, err);
}

/* Images of an inference, from host memory, in the order in which the launch has them. */
static void copy_images(const struct be_plan *plan, const struct be_forward *io, char *to)
{
    for (int j = 0; j < plan->n; j++) {
        const char *from = io->images;
        size_t row = io->index != NULL ? (size_t)io->index[j] : (size_t)j;
        if (io->second != NULL && j >= plan->n / 2) {
            from = io->second;
            row = io->index != NULL ? row : (size_t)(j - plan->n / 2);
        }
        memcpy(to + (size_t)j * plan->image, from + row * plan->image, plan->image);
    }
}

static moco_status infer(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    if (!plan->weights->folded)
        return err_set(err, MOCO_ESTATE, "late: inference runs before its weights were folded");
    struct be_forward args = {.out = io->out};
    struct late_call call = {.name = "forward",
                             .run = run_forward,
                             .plan = plan,
                             .args = sizeof args,
                             .tail = (size_t)plan->n * plan->image,
                             .range = {{"out", io->out, (size_t)plan->n * (size_t)plan->dim * sizeof(double), 0},
                                       {"the plan's slab", plan->slab, plan->slab_bytes, 0}}};
    void *tail;
    TRY(late_queue_begin(plan->dev, &call, &args, &tail, err));
    copy_images(plan, io, tail);
    return late_queued(err);
}

/* Bytes of what a launch reads as weights. */
static size_t weight_bytes(const struct be_plan *plan)
{
    size_t readers = late_reader_bytes(plan->layout, 1);
    if (plan->pass == BE_KEY)
        return late_key_bytes(plan->layout);
    return readers > 0 ? readers : late_layout_bytes(plan->layout);
}

moco_status late_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    TRY(check_bound(plan, "forward", err));
    if (plan->pass == BE_INFER)
        return infer(plan, io, err);
    struct be_forward args = *io;
    args.cancel = NULL; /* looked at by decide */
    struct late_call call = {.name = "forward",
                             .run = run_forward,
                             .when = LATE_STEP,
                             .plan = plan,
                             .range = {{"images", io->images, plan->image, 0},
                                       {"second", io->second, plan->image, 0},
                                       {"index", io->index, (size_t)plan->n * sizeof *io->index, 0},
                                       {"weights", io->weights, weight_bytes(plan), 0},
                                       {"masters", io->masters, late_layout_bytes(plan->layout), 0},
                                       {"stage", io->stage, (size_t)plan->stats * sizeof(double), 0},
                                       {"out", io->out, (size_t)plan->n * (size_t)plan->dim * sizeof(double), 0},
                                       {"the plan's slab", plan->slab, plan->slab_bytes, 0}}};
    return late_queue(plan->dev, &call, &args, sizeof args, err);
}

static moco_status run_backward(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    (void)dev;
    return backend_ref.backward(call->plan->ref, args, err);
}

moco_status late_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    TRY(check_bound(plan, "backward", err));
    if (plan->pass != BE_TRAIN)
        return err_set(err, MOCO_ESTATE, "late: only a plan for training runs backward");
    struct be_backward args = *io;
    args.cancel = NULL;
    args.on_grad = NULL;
    struct late_call call = {.name = "backward",
                             .run = run_backward,
                             .when = LATE_STEP,
                             .plan = plan,
                             .range = {{"weights", io->weights, weight_bytes(plan), 0},
                                       {"masters", io->masters, late_layout_bytes(plan->layout), 0},
                                       {"d_out", io->d_out, (size_t)plan->n * (size_t)plan->dim * sizeof(double), 0},
                                       {"gradients", io->gradients, late_layout_bytes(plan->layout), 0},
                                       {"the plan's slab", plan->slab, plan->slab_bytes, 0}}};
    TRY(late_queue(plan->dev, &call, &args, sizeof args, err));
    /* All is queued now, so that any order is right: the one in which gradients become final, as a device would that
     * tells of them one by one. */
    for (int p = plan->layout->params - 1; p >= 0 && io->on_grad != NULL; p--)
        io->on_grad(io->user, p, 1);
    return MOCO_OK;
}

void late_masks_read(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks)
{
    if (late_wait(plan->dev, "masks", NULL) != MOCO_OK)
        return;
    if (late_touch(plan->dev, "masks", plan->slab, plan->slab_bytes, NULL) == MOCO_OK)
        relu_masks_read_ref(plan->ref, graph, masks);
    late_waited(plan->dev);
}
