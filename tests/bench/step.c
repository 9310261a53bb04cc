/* SPDX-License-Identifier: MIT
 *
 * step: how long a training step takes through the public calls, and what its convolutions alone would take, as one
 * JSON object.
 *
 *   build/bench/step [--arch resnet50] [--size 224] [--group 16] [--groups 1] [--queue 65536] [--precision bf16]
 *                    [--threads N] [--runs 5] [--bound 1] [--convs 0]
 *
 * The bound is the sum over all convolutions of the network of twice forward (query and key), backward data (not of the
 * first) and backward weights, each at oneDNN's best time in its best layout, measured between steps in the same
 * memory; --bound 0 leaves that out; --convs 1 prints every convolution first. img_per_s and the bound are medians over
 * rounds of one step and one sweep; of_conv_bound is the median of the rounds' ratios. What a reader would get wrong:
 * parts are timed from outside, by a backend whose slots wrap the device's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#include <sys/resource.h>

#include "api/handle.h"
#include "backend/cpu/cpu_program.h"
#include "backend/cpu/ops/op_conv.h"
#include "bench/support/conv_bound.h"
#include "bench/support/timing.h"
#include "moco/moco.h"

#define MAX_RUNS 64

enum part { EMA, KEY_FORWARD, QUERY_FORWARD, INFONCE, BACKWARD, CHECK, SGD, PARTS };
static const char *const part_names[PARTS] = {"ema",   "key_forward", "query_forward", "infonce", "backward",
                                              "check", "sgd"};

/* Kinds of backward's steps, in the order in which they are printed. */
enum {
    BACK_L2NORM,
    BACK_LINEAR_WEIGHTS,
    BACK_LINEAR_DATA,
    BACK_GAP,
    BACK_MAXPOOL,
    BACK_RELU,
    BACK_BN,
    BACK_CONV_WEIGHTS,
    BACK_CONV_DATA,
    BACK_SUM,
    BACK_COPY,
    BACK_RECOMPUTE,
    BACK_GATHER,
    BACK_KINDS
};
static const char *const back_names[BACK_KINDS] = {
    "l2norm_back",  "linear_weights", "linear_data", "gap_back", "maxpool_back", "relu_back", "bn_back",
    "conv_weights", "conv_data",      "sum",         "copy",     "recompute",    "gather"};
static const int of_data[OP_KINDS] = {[OP_CONV] = BACK_CONV_DATA,  [OP_BN] = BACK_BN,   [OP_LINEAR] = BACK_LINEAR_DATA,
                                      [OP_MAXPOOL] = BACK_MAXPOOL, [OP_GAP] = BACK_GAP, [OP_L2NORM] = BACK_L2NORM};

struct options {
    const char *arch, *precision;
    int size, group, groups, threads, runs, bound, recompute, convs;
    long queue;
};

/* What the wrapped slots see; the slots have no argument that could carry it. */
static struct {
    double ms[PARTS];
    struct be_plan *key, *query;
    struct be_memory largest;
} seen;

/* ---- the device's slots, timed ---- */

#define TIMED(part, call)                                                                                              \
    double began = now_ms();                                                                                           \
    moco_status status = backend_cpu.call;                                                                             \
    seen.ms[part] += now_ms() - began;                                                                                 \
    return status

static moco_status timed_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err)
{
    moco_status status = backend_cpu.alloc(dev, bytes, out, err);
    if (status == MOCO_OK && bytes > seen.largest.bytes)
        seen.largest = *out;
    return status;
}

static moco_status timed_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                                     struct err *err)
{
    moco_status status = backend_cpu.plan_create(out, dev, spec, err);
    if (status == MOCO_OK && spec->pass == BE_KEY)
        seen.key = *out;
    if (status == MOCO_OK && spec->pass == BE_TRAIN)
        seen.query = *out;
    return status;
}

static moco_status timed_ema_readers(struct be_program *program, const void *k, const void *q, void *out,
                                     struct err *err)
{
    TIMED(EMA, ema_readers(program, k, q, out, err));
}

static moco_status timed_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    TIMED(plan == seen.key ? KEY_FORWARD : QUERY_FORWARD, forward(plan, io, err));
}

static moco_status timed_infonce(struct be_program *program, const struct be_infonce *io, void *scratch,
                                 struct err *err)
{
    TIMED(INFONCE, infonce(program, io, scratch, err));
}

static moco_status timed_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    TIMED(BACKWARD, backward(plan, io, err));
}

static moco_status timed_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err)
{
    TIMED(CHECK, check_slab(program, what, slab, err));
}

static moco_status timed_sgd(struct be_program *program, const struct be_sgd *io, struct err *err)
{
    TIMED(SGD, sgd(program, io, err));
}

/* ---- steps ---- */

struct results {
    double step[MAX_RUNS], bound[MAX_RUNS], ratio[MAX_RUNS], part[PARTS][MAX_RUNS], other[MAX_RUNS];
    double forward[OP_KINDS], backward[BACK_KINDS]; /* of both plans by kind, ms per step */
    double rss_mb;                                  /* before the bound was measured */
};

static int back_kind(const struct program_step *step)
{
    switch (step->kind) {
    case STEP_SUM:
        return BACK_SUM;
    case STEP_COPY:
        return BACK_COPY;
    case STEP_RELU:
        return BACK_RELU;
    case STEP_AGAIN:
        return BACK_RECOMPUTE;
    case STEP_PACK:
        return BACK_GATHER;
    case STEP_WEIGHTS:
        return step->node->op->kind == OP_CONV ? BACK_CONV_WEIGHTS : BACK_LINEAR_WEIGHTS;
    case STEP_DATA:
        break;
    }
    return of_data[step->node->op->kind];
}

static void split(struct results *r, const struct program *plan, int steps)
{
    for (int i = 0; i < plan->node_count; i++)
        r->forward[plan->nodes[i].op->kind] += plan->profile[i] / steps;
    for (int i = 0; i < plan->step_count; i++)
        r->backward[back_kind(&plan->steps[i])] += plan->profile[plan->node_count + i] / steps;
}

/* The query encoder's convolutions one by one: a JSON object a line. */
static void print_convs(const struct program *plan, int steps)
{
    for (int i = 0; i < plan->node_count; i++) {
        const struct graph_op *op = plan->nodes[i].op;
        double data = 0, weights = 0;
        if (plan->nodes[i].op->kind != OP_CONV)
            continue;
        for (int j = 0; j < plan->step_count; j++)
            if (plan->steps[j].node == &plan->nodes[i])
                *(plan->steps[j].kind == STEP_WEIGHTS ? &weights : &data) +=
                    plan->profile[plan->node_count + j] / steps;
        struct shim_conv c = cpu_conv_shape(plan->spec.graph, op, plan->spec.n, 0);
        printf("{\"bench\": \"step_conv\", \"n\": %d, \"ci\": %d, \"co\": %d, \"size\": %d, \"kernel\": %d, "
               "\"stride\": %d, \"own\": %d, \"forward_ms\": %.2f, \"data_ms\": %.2f, \"weights_ms\": %.2f, "
               "\"gflop\": %.3f}\n",
               c.n, c.ci, c.co, c.h, c.kernel, c.stride, ((const struct op_conv *)plan->nodes[i].state)->conv.own,
               plan->profile[i] / steps, data, weights, 2e-9 * c.n * c.oh * c.ow * c.ci * c.co * c.kernel * c.kernel);
    }
}

static double peak_rss_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static int start_profile(struct program *plan)
{
    plan->profile = calloc((size_t)(plan->node_count + plan->step_count), sizeof *plan->profile);
    return plan->profile != NULL;
}

static moco_status measure(moco_trainer *trainer, const moco_batch *batch, const struct options *o, struct results *r)
{
    moco_status status = moco_trainer_step(trainer, batch, 0.03); /* warm up */
    if (status != MOCO_OK)
        return status;
    static struct conv_bound bound;
    static const struct conv_bound_passes passes = {.forward = 2, .data = 1, .weights = 1};
    r->rss_mb = peak_rss_mb();
    if (!start_profile(&seen.key->program) || !start_profile(&seen.query->program))
        return MOCO_ENOMEM;
    if (o->bound && !conv_bound_make(&bound, seen.query, &passes, &seen.largest))
        return MOCO_ENOTSUP;
    for (int run = 0; run < o->runs; run++) {
        memset(seen.ms, 0, sizeof seen.ms);
        double began = now_ms(), parts = 0;
        if ((status = moco_trainer_step(trainer, batch, 0.03)) != MOCO_OK)
            return status;
        r->step[run] = now_ms() - began;
        for (int p = 0; p < PARTS; p++)
            parts += r->part[p][run] = seen.ms[p];
        r->other[run] = r->step[run] - parts;
        if (!o->bound)
            continue;
        r->bound[run] = conv_bound_sweep(&bound) * o->group * o->groups / seen.query->program.spec.n;
        r->ratio[run] = r->bound[run] / r->step[run];
    }
    split(r, &seen.key->program, o->runs);
    split(r, &seen.query->program, o->runs);
    if (o->convs)
        print_convs(&seen.query->program, o->runs);
    if (o->bound)
        conv_bound_free(&bound);
    free(seen.key->program.profile);
    free(seen.query->program.profile);
    seen.key->program.profile = seen.query->program.profile = NULL;
    return MOCO_OK;
}

static void print(const struct options *o, const moco_device *device, const struct results *r)
{
    double images = o->group * o->groups;
    printf(
        "{\"bench\": \"step\", \"arch\": \"%s\", \"precision\": \"%s\", \"size\": %d, \"group\": %d, \"groups\": %d, "
        "\"queue\": %ld, \"threads\": %d, \"isa\": \"%s\", \"library\": \"%s\", \"img_per_s\": %.2f, ",
        o->arch, seen.query->type == SHIM_BF16 ? "bf16" : "f32", o->size, o->group, o->groups, o->queue,
        device->info.threads, device->info.isa, device->info.library, 1e3 * images / median(r->step, o->runs));
    if (o->bound)
        printf("\"conv_bound_img_per_s\": %.2f, \"of_conv_bound\": %.3f, ", 1e3 * images / median(r->bound, o->runs),
               median(r->ratio, o->runs));
    printf("\"peak_rss_mb\": %.0f, \"parts_ms\": {", r->rss_mb);
    for (int p = 0; p < PARTS; p++)
        printf("\"%s\": %.2f, ", part_names[p], median(r->part[p], o->runs));
    printf("\"other\": %.2f}, \"conv_ms\": %.1f, \"bn_ms\": %.1f, \"kinds_ms\": {", median(r->other, o->runs),
           r->forward[OP_CONV] + r->backward[BACK_CONV_WEIGHTS] + r->backward[BACK_CONV_DATA],
           r->forward[OP_BN] + r->backward[BACK_BN]);
    for (int k = 0; k < OP_KINDS; k++)
        printf("\"%s\": %.1f, ", graph_kind_name((enum op_kind)k), r->forward[k]);
    for (int k = 0; k < BACK_KINDS; k++)
        printf("\"%s\": %.1f%s", back_names[k], r->backward[k], k < BACK_KINDS - 1 ? ", " : "}}\n");
}

static int fail(const char *what)
{
    fprintf(stderr, "step: %s: %s\n", what, moco_error());
    return 1;
}

static int run(const struct options *o)
{
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_context_options context_options;
    moco_model_options model_options;
    moco_trainer_options options;
    moco_context_options_init(&context_options);
    context_options.threads = o->threads;
    if (moco_context_create(&context, &context_options) != MOCO_OK ||
        moco_device_open(&device, context, "cpu") != MOCO_OK)
        return fail("device");
    struct backend timed = backend_cpu;
    timed.alloc = timed_alloc;
    timed.plan_create = timed_plan_create;
    timed.ema_readers = timed_ema_readers;
    timed.forward = timed_forward;
    timed.infonce = timed_infonce;
    timed.backward = timed_backward;
    timed.check_slab = timed_check_slab;
    timed.sgd = timed_sgd;
    device->backend = &timed;

    moco_model_options_init(&model_options);
    model_options.arch = o->arch;
    model_options.stem = o->size >= 64 ? "imagenet" : "cifar";
    model_options.image_size = o->size;
    moco_trainer_options_init(&options);
    options.batch_size = o->group * o->groups;
    options.bn_group_size = o->group;
    options.recompute = o->recompute;
    options.image_h = options.image_w = o->size;
    options.precision = strcmp(o->precision, "bf16") == 0 ? MOCO_PRECISION_BF16 : MOCO_PRECISION_F32;
    if (moco_model_create(&model, device, &model_options) != MOCO_OK ||
        moco_queue_create(&queue, device, model_options.dim, o->queue, 1) != MOCO_OK ||
        moco_trainer_create(&trainer, model, queue, &options) != MOCO_OK)
        return fail("trainer");

    size_t bytes = (size_t)options.batch_size * (size_t)o->size * (size_t)o->size * 3;
    uint8_t *images = malloc(2 * bytes);
    if (images == NULL)
        return 1;
    uint32_t state = 1;
    for (size_t i = 0; i < 2 * bytes; i++) {
        state = state * 1664525u + 1013904223u;
        images[i] = (uint8_t)(state >> 24);
    }
    moco_batch batch;
    moco_batch_init(&batch);
    batch.n = options.batch_size;
    batch.h = batch.w = o->size;
    batch.views = 2;
    batch.view[0] = images;
    batch.view[1] = images + bytes;
    static struct results results;
    if (measure(trainer, &batch, o, &results) != MOCO_OK)
        return fail("step");
    print(o, device, &results);
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    free(images);
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {.arch = "resnet50",
                        .precision = "bf16",
                        .size = 224,
                        .group = 16,
                        .groups = 1,
                        .runs = 5,
                        .bound = 1,
                        .queue = 65536};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--arch") == 0)
            o.arch = value;
        else if (strcmp(name, "--precision") == 0)
            o.precision = value;
        else if (strcmp(name, "--size") == 0)
            o.size = atoi(value);
        else if (strcmp(name, "--group") == 0)
            o.group = atoi(value);
        else if (strcmp(name, "--groups") == 0)
            o.groups = atoi(value);
        else if (strcmp(name, "--queue") == 0)
            o.queue = atol(value);
        else if (strcmp(name, "--threads") == 0)
            o.threads = atoi(value);
        else if (strcmp(name, "--runs") == 0)
            o.runs = atoi(value);
        else if (strcmp(name, "--recompute") == 0)
            o.recompute = atoi(value);
        else if (strcmp(name, "--bound") == 0)
            o.bound = atoi(value);
        else if (strcmp(name, "--convs") == 0)
            o.convs = atoi(value);
        else {
            fprintf(stderr, "step: unknown option %s\n", name);
            return 2;
        }
    }
    if (o.runs < 1 || o.runs > MAX_RUNS || o.size < 8 || o.group < 1 || o.groups < 1 || o.queue < 1)
        return 2;
    return run(&o);
}

#else

int main(void)
{
    printf("{\"bench\": \"step\", \"skipped\": \"this build has no cpu device\"}\n");
    return 0;
}

#endif
