/* SPDX-License-Identifier: MIT
 *
 * net_harness: see net_harness.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/rigs/net_harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "philox.h"
#include "support/not_tested.h"
#include "support/test_device.h"

/* Streams of the harness: the epoch of an RNG_TEST stream. */
enum { STREAM_PARAM = 0, STREAM_IMAGE = 100000, STREAM_KEY, STREAM_QUEUE };

void harness_ok(moco_status status, const struct err *err)
{
    if (status != MOCO_OK)
        fail_msg("status %d: %s", (int)status, err->text);
}

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct err err = {0};                                                                                          \
        harness_ok((call), &err);                                                                                      \
    } while (0)

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

struct net_config harness_net(int depth, double width, enum net_stem stem, enum net_head head, int dim, int image)
{
    return (struct net_config){.depth = depth,
                               .width = width,
                               .stem = stem,
                               .head = head,
                               .dim = dim,
                               .image_h = image,
                               .image_w = image,
                               .mean = {0.49, 0.48, 0.45},
                               .std = {0.2, 0.21, 0.22},
                               .seed = 7};
}

/* ---- reals and memory ---- */

void harness_read(struct harness *h, const void *at, size_t count, double *values)
{
    OK(h->be->read(h->dev, values, at, count * h->info.real_bytes, &err));
    if (h->info.real_bytes == sizeof(float))
        for (size_t i = count; i-- > 0;) { /* from the end: the floats lie in front of the doubles they become */
            float value;
            memcpy(&value, (const char *)values + i * sizeof value, sizeof value);
            values[i] = (double)value;
        }
}

void harness_write(struct harness *h, void *at, const double *values, size_t count)
{
    if (h->info.real_bytes == sizeof(double)) {
        OK(h->be->write(h->dev, at, values, count * sizeof(double), &err));
        return;
    }
    float *single = take(count, sizeof *single);
    for (size_t i = 0; i < count; i++)
        single[i] = (float)values[i];
    OK(h->be->write(h->dev, at, single, count * sizeof(float), &err));
    free(single);
}

struct be_memory harness_alloc(struct harness *h, size_t bytes)
{
    struct be_memory memory;
    OK(h->be->alloc(h->dev, bytes, &memory, &err));
    return memory;
}

struct be_memory harness_reals(struct harness *h, size_t count)
{
    return harness_alloc(h, count * h->info.real_bytes);
}

void harness_copy(struct harness *h, void *to, const void *from)
{
    for (int p = 0; p < h->graph->param_count; p++) {
        double *values = take((size_t)h->graph->params[p].count, sizeof *values);
        OK(h->be->param_get(h->layout, from, p, values, &err));
        OK(h->be->param_set(h->layout, to, p, values, &err));
        free(values);
    }
}

/* ---- what the seed decides ---- */

/* Weights as a fresh network has them; BN and biases moved off their special values. All are f32 numbers. */
static void fill_params(struct harness *h)
{
    for (int p = 0; p < h->graph->param_count; p++) {
        const struct graph_param *param = &h->graph->params[p];
        double *values = take((size_t)param->count, sizeof *values);
        init_param(h->graph, p, h->spec.seed, values);
        struct rng rng;
        rng_init(&rng, h->spec.seed, (uint64_t)(STREAM_PARAM + p), 0, 0, RNG_TEST);
        for (int64_t i = 0; i < param->count; i++) {
            if (param->kind == PARAM_BN_WEIGHT)
                values[i] += 0.3 * (rng_uniform(&rng) - 0.5);
            if (param->kind == PARAM_BN_BIAS)
                values[i] += 0.4 * (rng_uniform(&rng) - 0.5);
            values[i] = (double)(float)values[i];
        }
        OK(h->be->param_set(h->layout, h->masters.at, p, values, &err));
        free(values);
    }
}

static size_t image_bytes(const struct harness *h)
{
    return (size_t)h->spec.config.image_h * (size_t)h->spec.config.image_w * 3;
}

static void fill_images(struct harness *h)
{
    size_t area = (size_t)h->spec.config.image_h * (size_t)h->spec.config.image_w * 3;
    h->images = take((size_t)h->batch * area, 1);
    for (size_t n = 0; n < (size_t)h->batch; n++) {
        struct rng rng;
        rng_init(&rng, h->spec.seed, STREAM_IMAGE, n, 0, RNG_TEST);
        double level = 255 * rng_uniform(&rng), range = 255 * rng_uniform(&rng);
        for (size_t i = 0; i < area; i++) {
            double value = level + range * (rng_uniform(&rng) - 0.5);
            h->images[n * area + i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
    }
}

static void fill_unit_rows(struct harness *h, struct be_memory *to, int rows, uint64_t stream)
{
    double *values = take((size_t)rows * (size_t)h->dim, sizeof *values);
    for (int r = 0; r < rows; r++) {
        struct rng rng;
        double sum = 0, *row = values + (size_t)r * (size_t)h->dim;
        rng_init(&rng, h->spec.seed, stream, (uint64_t)r, 0, RNG_TEST);
        for (int i = 0; i < h->dim; i++) {
            row[i] = rng_normal(&rng);
            sum += row[i] * row[i];
        }
        for (int i = 0; i < h->dim; i++)
            row[i] = (double)(float)(row[i] / sqrt(sum));
    }
    harness_write(h, to->at, values, (size_t)rows * (size_t)h->dim);
    free(values);
}

/* ---- open and close ---- */

static moco_status build_graph(struct harness *h, struct err *err)
{
    const struct net_config *config = &h->spec.config;
    if (h->spec.build == NULL)
        return net_build(&h->graph, h->ctx, config, err);
    TRY(graph_create(&h->graph, h->ctx, err));
    int input = graph_input(h->graph, config->image_h, config->image_w, config->mean, config->std);
    struct harness_outputs outputs = h->spec.build(h->graph, input, h->spec.user);
    return graph_freeze(h->graph, outputs.features, outputs.projection, outputs.embedding, err);
}

static int open_device(struct harness *h)
{
    struct err err = {0};
    moco_status status = backend_find(&h->be, h->spec.device, &err);
    if (status == MOCO_OK)
        status = h->be->open(&h->dev, h->ctx, h->spec.device, &err);
    if (status == MOCO_OK) {
        h->be->info(h->dev, &h->info);
        status = h->be->precision(h->dev, h->spec.precision, &h->precision, &err);
    }
    if (status == MOCO_ENOTSUP) {
        /* ref computes in every precision, and the device cpu where it has the instructions. */
        if (h->dev != NULL && h->spec.precision == BE_BF16 && strcmp(h->spec.device, "cpu") == 0)
            not_tested_here(NO_BF16);
        if (h->dev != NULL)
            h->be->close(h->dev);
        ctx_unref(h->ctx);
        memset(h, 0, sizeof *h);
        return 0;
    }
    harness_ok(status, &err);
    return 1;
}

int harness_try_open(struct harness *h, const struct harness_spec *spec)
{
    memset(h, 0, sizeof *h);
    h->spec = *spec;
    if (h->spec.launches == 0)
        h->spec.launches = 1;
    if (h->spec.temperature == 0)
        h->spec.temperature = 0.2;
    if (h->spec.loss_scale == 0)
        h->spec.loss_scale = 1;
    const struct ctx_options context = {
        .threads = spec->threads, .tuning_file = spec->tuning_file, .log = spec->log, .user = spec->log_user};
    OK(ctx_create(&h->ctx, &context, &err));
    if (!open_device(h))
        return 0;
    OK(h->be->ready(h->dev, &err));
    OK(build_graph(h, &err));
    OK(h->be->layout_create(&h->layout, h->dev, h->graph, h->precision, &err));
    h->dim = h->graph->values[h->graph->embedding].c;
    h->batch = h->spec.n * h->spec.launches;
    size_t bytes = h->be->layout_bytes(h->layout), vectors = (size_t)h->batch * (size_t)h->dim;
    h->masters = harness_alloc(h, bytes);
    h->gradients = harness_alloc(h, bytes);
    h->momentum = harness_alloc(h, bytes);
    if (h->be->reader_bytes(h->layout, 1) > 0)
        h->readers = harness_alloc(h, h->be->reader_bytes(h->layout, 1));
    h->stage = harness_reals(h, (size_t)h->graph->stat_total);
    h->running = harness_reals(h, (size_t)h->graph->stat_total);
    h->keys = harness_reals(h, vectors);
    h->out = harness_reals(h, vectors);
    h->d_out = harness_reals(h, vectors);
    h->queue = harness_reals(h, (size_t)h->spec.queue * (size_t)h->dim);
    h->scratch = harness_alloc(h, h->be->infonce_scratch(h->dev, h->spec.n, h->dim, h->spec.queue));
    fill_params(h);
    fill_images(h);
    h->images_at = harness_alloc(h, (size_t)h->batch * image_bytes(h));
    h->index_at = harness_alloc(h, (size_t)h->batch * sizeof(int32_t));
    struct be_program_spec program = {.layout = h->layout, .range_count = 8};
    OK(h->be->program_create(&h->program, h->dev, &program, &err));
    fill_unit_rows(h, &h->keys, h->batch, STREAM_KEY);
    fill_unit_rows(h, &h->queue, h->spec.queue, STREAM_QUEUE);
    struct be_plan_spec plan = {.graph = h->graph,
                                .layout = h->layout,
                                .precision = h->precision,
                                .pass = BE_TRAIN,
                                .recompute = h->spec.recompute,
                                .n = h->spec.n,
                                .groups = h->spec.groups,
                                .output = h->graph->embedding};
    OK(h->be->plan_create(&h->train, h->dev, &plan, &err));
    struct be_plan_bytes plan_bytes;
    h->be->plan_bytes(h->train, &plan_bytes);
    h->slab = harness_alloc(h, plan_bytes.slab);
    OK(h->be->plan_bind(h->train, h->slab.at, &err));
    harness_refresh(h);
    return 1;
}

void harness_open(struct harness *h, const struct harness_spec *spec)
{
    if (!harness_try_open(h, spec))
        fail_msg("device %s with precision %d is not there", spec->device, spec->precision);
}

int harness_has(const char *device, enum be_precision precision)
{
    struct harness h = {.spec = {.device = device, .precision = (int)precision}};
    OK(ctx_create(&h.ctx, &(struct ctx_options){.threads = 1}, &err));
    if (!open_device(&h))
        return 0;
    h.be->close(h.dev);
    ctx_unref(h.ctx);
    return 1;
}

const char *harness_oracle(const char *device)
{
    struct harness_spec spec = {.device = device, .threads = 1, .n = 1, .groups = 1};
    struct harness h;
    spec.config = harness_net(18, 0.125, STEM_CIFAR, HEAD_LINEAR, 2, 8);
    harness_open(&h, &spec);
    const char *oracle = h.info.rounds_products ? "ref:1" : "ref";
    harness_close(&h);
    return oracle;
}

int harness_subjects(struct harness_subject subjects[HARNESS_SUBJECTS])
{
    const char *names[2];
    int count = 0, devices = test_devices(names);
    for (int i = 0; i < devices; i++)
        for (int p = BE_F32; p <= BE_TF32; p++)
            if (harness_has(names[i], (enum be_precision)p))
                subjects[count++] = (struct harness_subject){names[i], (enum be_precision)p};
    return count;
}

void harness_close(struct harness *h)
{
    if (h->ctx == NULL)
        return;
    struct be_memory *all[] = {&h->masters, &h->gradients, &h->momentum,  &h->readers, &h->slab,
                               &h->stage,   &h->running,   &h->keys,      &h->queue,   &h->out,
                               &h->d_out,   &h->scratch,   &h->images_at, &h->index_at};
    h->be->program_free(h->program);
    h->be->plan_free(h->train);
    h->be->layout_free(h->layout);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        h->be->release(h->dev, all[i]);
    graph_free(h->graph);
    h->be->close(h->dev);
    int64_t live = h->ctx->live_bytes;
    ctx_unref(h->ctx);
    free(h->images);
    memset(h, 0, sizeof *h);
    assert_int_equal(live, 0);
}

/* ---- running ---- */

const void *harness_weights(const struct harness *h)
{
    return h->readers.bytes > 0 ? h->readers.at : h->masters.at;
}

void harness_refresh(struct harness *h)
{
    if (h->readers.bytes > 0)
        OK(h->be->readers(h->layout, 1, h->masters.at, h->readers.at, &err));
}

/* Where row `row` of an array of embeddings starts. */
static void *row_at(const struct harness *h, const struct be_memory *memory, int row)
{
    return (char *)memory->at + (size_t)row * (size_t)h->dim * h->info.real_bytes;
}

void harness_begin(struct harness *h, const struct be_scalars *scalars)
{
    const struct be_scalars usual = {
        .temperature = h->spec.temperature, .loss_scale = h->spec.loss_scale, .gradient_limit = (double)INFINITY};
    struct be_input at;
    int skip;
    OK(h->be->program_begin(h->program, scalars != NULL ? scalars : &usual, NULL, &at, &skip, &err));
    assert_int_equal(skip, 0);
}

struct be_outcome harness_drop(struct harness *h)
{
    struct be_outcome found;
    OK(h->be->verdict(h->program, &found, &err));
    h->be->program_drop(h->program);
    return found;
}

void harness_decide(struct harness *h)
{
    int skip;
    OK(h->be->decide(h->program, NULL, 0, &skip, &err));
    assert_int_equal(skip, 0);
}

struct be_outcome harness_end(struct harness *h)
{
    struct be_outcome outcome;
    int known;
    OK(h->be->program_end(h->program, &err));
    OK(h->be->outcome(h->program, 1, &known, &outcome, &err));
    assert_true(known);
    return outcome;
}

const void *harness_images(struct harness *h)
{
    OK(h->be->write(h->dev, h->images_at.at, h->images, (size_t)h->batch * image_bytes(h), &err));
    return h->images_at.at;
}

void harness_forward(struct harness *h, int launch, const int32_t *index)
{
    const char *images = harness_images(h);
    if (index != NULL)
        OK(h->be->write(h->dev, h->index_at.at, index, (size_t)h->spec.n * sizeof *index, &err));
    struct be_forward io = {.images = images + (index == NULL ? (size_t)(launch * h->spec.n) * image_bytes(h) : 0),
                            .index = index != NULL ? h->index_at.at : NULL,
                            .weights = harness_weights(h),
                            .masters = h->masters.at,
                            .stage = h->stage.at,
                            .out = row_at(h, &h->out, launch * h->spec.n)};
    OK(h->be->forward(h->train, &io, &err));
}

/* Forward and InfoNCE of one launch: h->out, h->d_out, sums of the open step. */
static void forward_and_loss(struct harness *h, int launch)
{
    int row = launch * h->spec.n;
    harness_forward(h, launch, NULL);
    if (h->spec.watch != NULL)
        h->spec.watch(h, launch, h->spec.watch_user);
    struct be_infonce loss = {.q = row_at(h, &h->out, row),
                              .k = row_at(h, &h->keys, row),
                              .queue = h->queue.at,
                              .n = h->spec.n,
                              .dim = h->dim,
                              .length = h->spec.queue,
                              .scale = 1.0 / h->batch,
                              .d_q = row_at(h, &h->d_out, row)};
    OK(h->be->infonce(h->program, &loss, h->scratch.at, &err));
}

static void start_batch(struct harness *h)
{
    harness_begin(h, NULL);
    OK(h->be->zero(h->dev, h->stage.at, h->stage.bytes, &err));
}

static void end_batch(struct harness *h)
{
    struct be_outcome found = harness_drop(h);
    h->loss = found.loss;
    h->top1 = found.top1;
    h->top5 = found.top5;
    h->pos = found.pos;
    h->neg = found.neg;
}

double harness_loss(struct harness *h)
{
    start_batch(h);
    for (int launch = 0; launch < h->spec.launches; launch++)
        forward_and_loss(h, launch);
    end_batch(h);
    return h->loss / h->batch;
}

void harness_train(struct harness *h)
{
    start_batch(h);
    for (int launch = 0; launch < h->spec.launches; launch++) {
        forward_and_loss(h, launch);
        struct be_backward back = {.weights = harness_weights(h),
                                   .masters = h->masters.at,
                                   .d_out = row_at(h, &h->d_out, launch * h->spec.n),
                                   .gradients = h->gradients.at,
                                   .accumulate = launch > 0};
        OK(h->be->backward(h->train, &back, &err));
    }
    end_batch(h);
}

void harness_sgd(struct harness *h, double lr, double momentum, double weight_decay, int first)
{
    struct be_scalars scalars = {
        .lr = lr, .sgd_momentum = momentum, .weight_decay = weight_decay, .loss_scale = h->spec.loss_scale};
    struct be_sgd io = {.p = h->masters.at,
                        .g = h->gradients.at,
                        .v = h->momentum.at,
                        .readers = h->readers.bytes > 0 ? h->readers.at : NULL};
    if (first)
        OK(h->be->zero(h->dev, h->momentum.at, h->momentum.bytes, &err));
    harness_begin(h, &scalars);
    harness_decide(h);
    OK(h->be->sgd(h->program, &io, &err));
    assert_true(harness_end(h).committed);
}

void harness_follow(struct harness *h, void *k, void *q, double m)
{
    size_t bytes = h->be->layout_bytes(h->layout);
    struct be_memory g = harness_alloc(h, bytes), v = harness_alloc(h, bytes);
    struct be_scalars scalars = {.key_momentum = m, .loss_scale = 1};
    struct be_sgd io = {.p = q, .g = g.at, .v = v.at, .k = k};
    harness_begin(h, &scalars);
    harness_decide(h);
    OK(h->be->sgd(h->program, &io, &err));
    assert_true(harness_end(h).finite);
    h->be->release(h->dev, &g);
    h->be->release(h->dev, &v);
}

void harness_commit(struct harness *h)
{
    int groups = h->spec.groups * h->spec.launches;
    harness_begin(h, NULL);
    harness_decide(h);
    OK(h->be->stats_commit(h->program, h->graph, h->running.at, h->stage.at, groups, &err));
    assert_true(harness_end(h).committed);
}

void harness_settle(struct harness *h)
{
    for (int i = 0; i < 20; i++)
        harness_commit(h);
}

struct be_weights *harness_folded(struct harness *h)
{
    struct be_weights *weights;
    OK(h->be->weights_create(&weights, h->dev, h->graph, h->layout, h->precision, &err));
    OK(h->be->weights_fold(weights, h->masters.at, h->running.at, &err));
    return weights;
}

/* A plan that lives for one forward of launch 0. */
static void run_once(struct harness *h, struct be_plan_spec *spec, struct be_forward *io, double *out)
{
    struct be_plan *plan;
    struct be_plan_bytes bytes;
    size_t count = (size_t)h->spec.n * (size_t)h->graph->values[spec->output].c;
    OK(h->be->plan_create(&plan, h->dev, spec, &err));
    h->be->plan_bytes(plan, &bytes);
    struct be_memory slab = harness_alloc(h, bytes.slab), result = harness_reals(h, count);
    OK(h->be->plan_bind(plan, slab.at, &err));
    io->out = result.at;
    OK(h->be->forward(plan, io, &err));
    harness_read(h, result.at, count, out);
    h->be->plan_free(plan);
    h->be->release(h->dev, &slab);
    h->be->release(h->dev, &result);
}

void harness_key(struct harness *h, const void *k, const void *q, double m, int output, double *out)
{
    struct be_memory block = harness_alloc(h, h->be->key_bytes(h->layout));
    struct be_memory stage = harness_reals(h, (size_t)h->graph->stat_total);
    struct be_scalars scalars = {.key_momentum = m, .loss_scale = 1};
    harness_begin(h, &scalars);
    OK(h->be->ema_readers(h->program, k, q, block.at, &err));
    harness_drop(h);
    struct be_plan_spec spec = {.graph = h->graph,
                                .layout = h->layout,
                                .precision = h->precision,
                                .pass = BE_KEY,
                                .n = h->spec.n,
                                .groups = h->spec.groups,
                                .output = output};
    struct be_forward io = {.images = harness_images(h), .weights = block.at, .stage = stage.at};
    run_once(h, &spec, &io, out);
    h->be->release(h->dev, &block);
    h->be->release(h->dev, &stage);
}

void harness_infer(struct harness *h, int output, const float *f32_images, double *out)
{
    struct be_plan_spec spec = {.graph = h->graph,
                                .layout = h->layout,
                                .precision = h->precision,
                                .pass = BE_INFER,
                                .n = h->spec.n,
                                .groups = 1,
                                .output = output,
                                .weights = harness_folded(h),
                                .f32_input = f32_images != NULL};
    struct be_forward io = {.images = f32_images != NULL ? (const uint8_t *)(const void *)f32_images : h->images};
    run_once(h, &spec, &io, out);
    h->be->weights_free(spec.weights);
}

/* ---- everything by name ---- */

struct harness_tensor *harness_add(struct harness_tensors *t, size_t count, const char *name)
{
    t->tensor = realloc(t->tensor, (size_t)(t->count + 1) * sizeof *t->tensor);
    assert_non_null(t->tensor);
    struct harness_tensor *tensor = &t->tensor[t->count++];
    memset(tensor, 0, sizeof *tensor);
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->count = count;
    tensor->values = take(count, sizeof(double));
    return tensor;
}

/* `scale`: what its numbers were multiplied by. */
static void add_slab(struct harness *h, struct harness_tensors *t, const char *kind, const void *slab, double scale)
{
    for (int p = 0; p < h->graph->param_count; p++) {
        const struct graph_param *param = &h->graph->params[p];
        char name[112];
        snprintf(name, sizeof name, "%s%s", kind, param->name);
        struct harness_tensor *tensor = harness_add(t, (size_t)param->count, name);
        OK(h->be->param_get(h->layout, slab, p, tensor->values, &err));
        for (size_t i = 0; i < tensor->count; i++)
            tensor->values[i] /= scale;
    }
}

static void add_stats(struct harness *h, struct harness_tensors *t, const char *kind, const void *stats)
{
    double *all = take((size_t)h->graph->stat_total, sizeof *all);
    harness_read(h, stats, (size_t)h->graph->stat_total, all);
    for (int s = 0; s < h->graph->stat_count; s++) {
        const struct graph_stat *stat = &h->graph->stats[s];
        for (int part = 0; part < 2; part++) {
            char name[112];
            snprintf(name, sizeof name, "%s%s.%s", kind, stat->name, part == 0 ? "mean" : "var");
            struct harness_tensor *tensor = harness_add(t, (size_t)stat->channels, name);
            memcpy(tensor->values, all + stat->offset + part * stat->channels, tensor->count * sizeof *all);
        }
    }
    free(all);
}

struct harness_tensors harness_collect(struct harness *h, int what)
{
    struct harness_tensors t = {0};
    if (what & HARNESS_STEP) {
        size_t vectors = (size_t)h->batch * (size_t)h->dim;
        const double scalars[5] = {h->loss, h->top1, h->top5, h->pos, h->neg};
        memcpy(harness_add(&t, 5, "scalars")->values, scalars, sizeof scalars);
        harness_read(h, h->out.at, vectors, harness_add(&t, vectors, "out")->values);
        double *d_out = harness_add(&t, vectors, "d_out")->values;
        harness_read(h, h->d_out.at, vectors, d_out);
        for (size_t i = 0; i < vectors; i++)
            d_out[i] /= h->spec.loss_scale;
        add_stats(h, &t, "stage.", h->stage.at);
        add_slab(h, &t, "grad.", h->gradients.at, h->spec.loss_scale);
    }
    if (what & HARNESS_STATE) {
        add_slab(h, &t, "weight.", h->masters.at, 1);
        add_slab(h, &t, "momentum.", h->momentum.at, 1);
        add_stats(h, &t, "running.", h->running.at);
    }
    return t;
}

void harness_tensors_free(struct harness_tensors *t)
{
    for (int i = 0; i < t->count; i++)
        free(t->tensor[i].values);
    free(t->tensor);
    *t = (struct harness_tensors){0};
}

const struct harness_tensor *harness_find(const struct harness_tensors *t, const char *name)
{
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->tensor[i].name, name) == 0)
            return &t->tensor[i];
    fail_msg("there is no tensor %s", name);
    return NULL;
}

double harness_error(size_t count, const double *a, const double *b)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    double error = size > 0 ? sqrt(difference / size) : sqrt(difference);
    return isnan(error) ? INFINITY : error;
}

double harness_expect(const struct harness_tensors *a, const struct harness_tensors *b, const char *prefix,
                      double tolerance)
{
    double worst = 0;
    int seen = 0, bad = 0;
    for (int i = 0; i < a->count; i++) {
        const struct harness_tensor *x = &a->tensor[i];
        if (strncmp(x->name, prefix, strlen(prefix)) != 0)
            continue;
        const struct harness_tensor *y = harness_find(b, x->name);
        assert_int_equal(x->count, y->count);
        double error = harness_error(x->count, x->values, y->values);
        worst = error > worst ? error : worst;
        seen++;
        if (error > tolerance) {
            bad++;
            print_error("%s: relative error %.3g, tolerance %.3g\n", x->name, error, tolerance);
        }
    }
    if (seen == 0 || bad > 0)
        fail_msg("%d of %d tensors \"%s*\" are off", bad, seen, prefix);
    return worst;
}
