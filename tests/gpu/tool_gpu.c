/* SPDX-License-Identifier: MIT
 *
 * tool_gpu: what tests/gpu/run asks of a GPU, one JSON object a call.
 *
 *   tool_gpu describe DEVICE [FILE]    name, library, memory; FILE gets the properties as cuDNN writes them down, which
 *                                      tool_plans reads (of a real GPU alone)
 *   tool_gpu copy DEVICE MIB           bytes a second: from the host, within the device, to the host
 *   tool_gpu step DEVICE ARCH IMAGE BATCH GROUP WIDTH QUEUE SECONDS PRECISION
 *                                      training steps of pictures of noise for so long: pictures a second, of steps that
 *                                      are queued call by call and of steps that are repeated from a recording; ends
 *                                      with 1 if both have not come to the same bits after the first few
 *   tool_gpu engines DEVICE IMAGES     median milliseconds of the engines of every convolution of ResNet-50: the first five
 *                                      that may be taken in bf16 and fp16, the first in tf32 and f32
 *   tool_gpu products DEVICE           the same of a large product of matrices, which no convolution is faster than
 *
 * Durations are of the host's clock, between points where the device has nothing left to do; those of engines are the
 * GPU's own, between two events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/handle.h"
#include "backend/cuda/cuda.h"
#include "moco/moco.h"
#include "net/net.h"
#include "support/cudasim/sim_dnn.h"
#include "support/cudasim/sim_driver.h"

enum { TIMED = 20, MOST_STEPS = 10000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "tool_gpu: %s: %s\n", what, why);
    return 1;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

/* ---- describe ---- */

/* cuDNN's own words for a GPU: needs the driver's context, which it makes for itself. */
static int write_properties(int number, const char *path)
{
    enum { DEVICE_ID = 2700, INT32 = 23 };
    static char text[1 << 16];
    struct cuda_driver cu;
    struct dnn_library lib;
    struct err err = {0};
    dnn_descriptor device = NULL;
    int version = 0;
    int32_t id = number;
    int64_t count = 0;
    if (cuda_driver_load(&cu, &err) != MOCO_OK || dnn_library_load(&lib, NULL, 0, &version, &err) != MOCO_OK)
        return fail("properties", err.text);
    if (lib.make(DNN_THING_DEVICE, &device) != DNN_OK || lib.set(device, DEVICE_ID, INT32, 1, &id) != DNN_OK ||
        lib.finalize(device) != DNN_OK ||
        lib.get(device, DNN_DEVICE_JSON, DNN_TYPE_CHAR, (int64_t)sizeof text - 1, &count, text) != DNN_OK) {
        char why[256];
        lib.last_error(why, sizeof why);
        return fail("properties", why);
    }
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        return fail(path, "it cannot be written");
    return 0;
}

static int describe(moco_device *device, const char *name, const char *path)
{
    moco_device_info info;
    int64_t live = -1, available = -1;
    moco_device_info_init(&info);
    if (moco_device_describe(device, &info) != MOCO_OK || moco_device_memory(device, &live, &available) != MOCO_OK)
        return fail("describe", moco_error());
    printf("{\"device\": \"%s\", \"library\": \"%s\", \"isa\": \"%s\", \"precisions\": %d, \"live_bytes\": %lld, "
           "\"available_bytes\": %lld}\n",
           info.name, info.library, info.isa, info.precisions, (long long)live, (long long)available);
    return path == NULL ? 0 : write_properties(cuda_number(name), path);
}

/* ---- copy ---- */

static int copy(moco_device *device, long mib)
{
    const struct backend *be = device->backend;
    size_t bytes = (size_t)mib << 20;
    struct be_memory a = {0}, b = {0};
    struct err err = {0};
    double seconds[3][TIMED];
    char *host = calloc(1, bytes);
    int bad = host == NULL || be->alloc(device->dev, bytes, &a, &err) != MOCO_OK ||
              be->alloc(device->dev, bytes, &b, &err) != MOCO_OK;
    for (int i = 0; i < TIMED && !bad; i++) {
        double begin = now();
        bad |= be->write(device->dev, a.at, host, bytes, &err) != MOCO_OK || be->sync(device->dev, &err) != MOCO_OK;
        seconds[0][i] = now() - begin;
        begin = now();
        bad |= be->copy(device->dev, b.at, a.at, bytes, &err) != MOCO_OK || be->sync(device->dev, &err) != MOCO_OK;
        seconds[1][i] = now() - begin;
        begin = now();
        bad |= be->read(device->dev, host, b.at, bytes, &err) != MOCO_OK;
        seconds[2][i] = now() - begin;
    }
    be->release(device->dev, &a);
    be->release(device->dev, &b);
    free(host);
    if (bad)
        return fail("copy", err.text);
    printf("{\"mib\": %ld, \"in_bytes_per_s\": %.3e, \"within_bytes_per_s\": %.3e, \"out_bytes_per_s\": %.3e}\n", mib,
           (double)bytes / median(seconds[0], TIMED), 2 * (double)bytes / median(seconds[1], TIMED),
           (double)bytes / median(seconds[2], TIMED));
    return 0;
}

/* ---- step ---- */

enum { COMPARED = 6 }; /* steps: the first is never recorded, and two are */

static void no_progress(void *user, int done, int of)
{
    (void)user;
    (void)done;
    (void)of;
}

/* *report: behind the first COMPARED steps. */
static int run_steps(moco_trainer *trainer, const moco_batch *batch, double limit, moco_step_report *report)
{
    static double seconds[MOST_STEPS];
    moco_step_report last_report;
    moco_step_report_init(report);
    moco_step_report_init(&last_report);
    int count = 0;
    for (int i = 0; i < COMPARED; i++)
        if (moco_trainer_step(trainer, batch, 0.03) != MOCO_OK)
            return fail("step", moco_error());
    if (moco_trainer_report(trainer, report) != MOCO_OK)
        return fail("step", moco_error());
    double begin = now(), last = begin;
    while (count < MOST_STEPS && (count < 2 || now() - begin < limit)) {
        if (moco_trainer_step(trainer, batch, 0.03) != MOCO_OK)
            return fail("step", moco_error());
        seconds[count++] = now() - last;
        last = now();
    }
    if (moco_trainer_report(trainer, &last_report) != MOCO_OK) /* waits for what is queued */
        return fail("step", moco_error());
    double whole = now() - begin;
    printf("\"steps\": %d, \"img_per_s\": %.2f, \"call_ms_median\": %.3f, \"loss\": %.9g, \"grad_norm\": %.9g}\n",
           count, count * batch->n / whole, 1e3 * median(seconds, count), report->loss, report->grad_norm);
    return 0;
}

/* One training from the same begin. A trainer with a callback between its launches is never recorded. */
static int train(moco_device *device, char **argv, int recorded, moco_step_report *report)
{
    moco_model *model = NULL;
    moco_queue *queue = NULL;
    moco_trainer *trainer = NULL;
    moco_model_options network;
    moco_trainer_options training;
    moco_batch batch;
    moco_model_options_init(&network);
    moco_trainer_options_init(&training);
    moco_batch_init(&batch);
    network.arch = argv[0];
    network.image_size = batch.h = batch.w = training.image_h = training.image_w = atoi(argv[1]);
    network.stem = batch.h >= 64 ? "imagenet" : "cifar";
    batch.n = training.batch_size = atoi(argv[2]);
    training.bn_group_size = atoi(argv[3]);
    network.width = atof(argv[4]);
    training.precision = atoi(argv[7]);
    training.progress = recorded ? NULL : no_progress;
    size_t bytes = (size_t)batch.n * (size_t)batch.h * (size_t)batch.w * 3;
    uint8_t *images = malloc(2 * bytes);
    for (size_t i = 0; images != NULL && i < 2 * bytes; i++)
        images[i] = (uint8_t)((i * 2654435761u) >> 13);
    batch.views = 2;
    batch.view[0] = images;
    batch.view[1] = images == NULL ? NULL : images + bytes;
    int failed = 1;
    if (moco_model_create(&model, device, &network) != MOCO_OK ||
        moco_queue_create(&queue, device, network.dim, atoll(argv[5]), 1) != MOCO_OK ||
        moco_trainer_create(&trainer, model, queue, &training) != MOCO_OK) {
        fail("trainer", moco_error());
    } else {
        printf("{\"arch\": \"%s\", \"image\": %d, \"batch\": %d, \"group\": %d, \"queue\": %s, \"precision\": %s, "
               "\"recorded\": %d, ",
               argv[0], batch.h, batch.n, training.bn_group_size, argv[5], argv[7], recorded);
        failed = run_steps(trainer, &batch, atof(argv[6]), report);
    }
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    free(images);
    return failed;
}

static int step(moco_device *device, char **argv)
{
    moco_step_report eager, recorded;
    if (train(device, argv, 0, &eager) != 0 || train(device, argv, 1, &recorded) != 0)
        return 1;
    if (eager.loss == recorded.loss && eager.grad_norm == recorded.grad_norm &&
        eager.feature_std == recorded.feature_std)
        return 0;
    return fail("step", "steps that are repeated from a recording have other bits than steps that are not");
}

/* ---- engines ---- */

struct place {
    struct be_device *dev;
    int runs;
    cu_event event[2];
    struct be_memory x, w, y, workspace;
};

static size_t number_bytes(const struct dnn_conv *c)
{
    return c->precision == BE_BF16 || c->precision == BE_F16 ? 2 : 4;
}

static moco_status run_once(const struct place *p, struct dnn_plan *plan, double *ms, struct err *err)
{
    const struct cuda_driver *cu = p->dev->cu;
    float took = 0;
    TRY(cuda_said(p->dev, cu->event_record(p->event[0], p->dev->stream), "cuEventRecord", err));
    TRY(cuda_dnn_run(p->dev, plan, p->x.at, p->w.at, p->y.at, p->workspace.at, err));
    TRY(cuda_said(p->dev, cu->event_record(p->event[1], p->dev->stream), "cuEventRecord", err));
    TRY(cuda_said(p->dev, cu->event_sync(p->event[1]), "cuEventSynchronize", err));
    TRY(cuda_said(p->dev, cu->event_elapsed(&took, p->event[0], p->event[1]), "cuEventElapsedTime", err));
    *ms = took;
    return MOCO_OK;
}

/* The first two runs are not counted. */
static moco_status time_engine(const struct place *p, struct dnn_plan *plan, double *ms, struct err *err)
{
    double each[TIMED], ignored;
    for (int i = -2; i < p->runs; i++)
        TRY(run_once(p, plan, i < 0 ? &ignored : &each[i], err));
    *ms = median(each, p->runs);
    return MOCO_OK;
}

/* A line for each engine, in the order in which cuDNN names them. `count`: channels that count as work. */
static moco_status time_conv(const struct place *p, const struct dnn_conv *c, const char *name, int count,
                             struct err *err)
{
    struct dnn_plan plan = {0};
    double flops = 2.0 * c->n * c->oh * c->ow * c->co * c->kernel * c->kernel * count;
    moco_status status = cuda_enter(p->dev, err);
    if (status != MOCO_OK)
        return status;
    status = dnn_choose(&plan, &p->dev->dnn, c, number_bytes(c) == 2 ? DNN_ENGINES : 1, NULL, err);
    for (int i = 0; i < plan.count && status == MOCO_OK; i++) {
        double ms = 0;
        plan.taken = i;
        status = time_engine(p, &plan, &ms, err);
        if (status == MOCO_OK)
            printf("{\"conv\": \"%s\", \"precision\": \"%s\", \"pass\": %d, \"n\": %d, \"number_bytes\": %zu, "
                   "\"place\": %d, \"engine\": \"%s\", \"workspace\": %zu, \"ms\": %.4f, \"tflops\": %.4g}\n",
                   name, backend_precision_name((int)c->precision), (int)c->pass, c->n, number_bytes(c), i,
                   plan.engine[i].name, plan.engine[i].workspace, ms, flops / ms * 1e-9);
    }
    dnn_plan_free(&plan);
    cuda_leave(p->dev);
    return status;
}

static const enum be_precision timed_precisions[] = {BE_BF16, BE_F16, BE_TF32, BE_F32};
enum { TIMED_PRECISIONS = sizeof timed_precisions / sizeof *timed_precisions };

/* Bytes of the three tensors. */
static moco_status take_place(struct place *p, size_t x, size_t w, size_t y, int simulated, struct err *err)
{
    p->runs = simulated ? 1 : TIMED;
    TRY(cuda_alloc(p->dev, x, &p->x, err));
    TRY(cuda_alloc(p->dev, w, &p->w, err));
    TRY(cuda_alloc(p->dev, y, &p->y, err));
    TRY(cuda_alloc(p->dev, simulated ? 2 * SIM_DNN_WORKSPACE : dnn_reserve(BE_F32), &p->workspace, err));
    TRY(cuda_enter(p->dev, err));
    moco_status status = MOCO_OK;
    for (int i = 0; i < 2 && status == MOCO_OK; i++)
        status = cuda_said(p->dev, p->dev->cu->event_create(&p->event[i], CU_EVENT_WITH_TIME), "cuEventCreate", err);
    cuda_leave(p->dev);
    return status;
}

static void leave_place(struct place *p)
{
    cuda_enter_lost(p->dev);
    for (int i = 0; i < 2; i++)
        if (p->event[i] != NULL)
            p->dev->cu->event_destroy(p->event[i]);
    cuda_leave(p->dev);
    cuda_release(p->dev, &p->x);
    cuda_release(p->dev, &p->w);
    cuda_release(p->dev, &p->y);
    cuda_release(p->dev, &p->workspace);
}

static moco_status time_network(const struct place *p, const struct graph *g, int n, struct err *err)
{
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (op->kind != OP_CONV)
            continue;
        const struct graph_value *in = &g->values[op->in[0]], *out = &g->values[op->out];
        for (int k = 0; k < TIMED_PRECISIONS; k++)
            for (int pass = DNN_FORWARD; pass <= DNN_WEIGHTS; pass++) {
                const struct dnn_conv c = {.pass = (enum dnn_pass)pass,
                                           .precision = timed_precisions[k],
                                           .n = n,
                                           .h = in->h,
                                           .w = in->w,
                                           .ci = dnn_channels(timed_precisions[k], in->c),
                                           .oh = out->h,
                                           .ow = out->w,
                                           .co = out->c,
                                           .kernel = op->kernel,
                                           .stride = op->stride,
                                           .pad = op->pad};
                if (op->in[0] != g->input || pass != DNN_DATA) /* pictures have no gradient */
                    TRY(time_conv(p, &c, op->name, in->c, err));
            }
    }
    return MOCO_OK;
}

static moco_status time_engines(struct be_device *dev, struct ctx *ctx, int n, int simulated, struct err *err)
{
    struct net_config config = {.dim = 128, .width = simulated ? 0.125 : 1, .seed = 1, .std = {1, 1, 1}};
    struct place p = {.dev = dev};
    struct graph *g = NULL;
    size_t most = 0, weights = 0;
    config.image_h = config.image_w = simulated ? 32 : 224;
    TRY(net_config_parse(&config, "resnet50", "imagenet", "mlp", err));
    TRY(net_build(&g, ctx, &config, err));
    for (int i = 0; i < g->value_count; i++) {
        size_t bytes = (size_t)n * (size_t)g->values[i].c * (size_t)g->values[i].h * (size_t)g->values[i].w * 4;
        most = bytes > most ? bytes : most;
    }
    for (int i = 0; i < g->param_count; i++) {
        size_t bytes = (size_t)g->params[i].count * 4 * 3; /* the first convolution's, for pictures of 8 channels */
        weights = bytes > weights ? bytes : weights;
    }
    moco_status status = take_place(&p, 3 * most, weights, most, simulated, err); /* pictures of 8 channels */
    if (status == MOCO_OK)
        status = time_network(&p, g, n, err);
    leave_place(&p);
    graph_free(g);
    return status;
}

/* A convolution with a kernel of one pixel is a product of matrices: [n h w][c] by [c][c]. */
static moco_status time_products(struct be_device *dev, int simulated, struct err *err)
{
    const int n = simulated ? 2 : 64, side = simulated ? 4 : 16, channels = simulated ? 16 : 4096;
    const size_t map = (size_t)n * (size_t)side * (size_t)side * (size_t)channels * 4;
    struct place p = {.dev = dev};
    moco_status status = take_place(&p, map, (size_t)channels * (size_t)channels * 4, map, simulated, err);
    for (int k = 0; k < TIMED_PRECISIONS && status == MOCO_OK; k++)
        for (int pass = DNN_FORWARD; pass <= DNN_WEIGHTS && status == MOCO_OK; pass++) {
            const struct dnn_conv c = {.pass = (enum dnn_pass)pass,
                                       .precision = timed_precisions[k],
                                       .n = n,
                                       .h = side,
                                       .w = side,
                                       .ci = channels,
                                       .oh = side,
                                       .ow = side,
                                       .co = channels,
                                       .kernel = 1,
                                       .stride = 1};
            status = time_conv(&p, &c, "product", channels, err);
        }
    leave_place(&p);
    return status;
}

/* The module's devices are behind its table; this opens one of its own, without kernels. `n`: images; 0: products. */
static int engines(const char *name, int n)
{
    static struct cuda_driver driver;
    static struct dnn_library lib;
    const int simulated = strncmp(name, "cudasim", 7) == 0;
    struct cuda_tables tables = {.cu = &sim_driver, .image = NULL, .dnn = &sim_dnn, .without = ""};
    struct ctx *ctx = NULL;
    struct be_device *dev = NULL;
    struct err err = {0};
    int version = 0;
    moco_status status = ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err);
    if (status == MOCO_OK && !simulated) {
        tables.cu = &driver;
        tables.dnn = &lib;
        status = cuda_driver_load(&driver, &err);
        if (status == MOCO_OK)
            status = dnn_library_load(&lib, NULL, 0, &version, &err);
    }
    if (status == MOCO_OK)
        status = cuda_open(&dev, ctx, &tables, name, cuda_number(name), &err);
    if (status == MOCO_OK)
        status = n > 0 ? time_engines(dev, ctx, n, simulated, &err) : time_products(dev, simulated, &err);
    cuda_close(dev);
    ctx_unref(ctx);
    return status == MOCO_OK ? 0 : fail("engines", err.text);
}

int main(int argc, char **argv)
{
    moco_context *context;
    moco_device *device;
    int status;
    if (argc < 3)
        return fail("Usage", "tool_gpu describe | copy | step | engines | products DEVICE ...");
    if (strcmp(argv[1], "engines") == 0 && argc == 4 && atoi(argv[3]) > 0)
        return engines(argv[2], atoi(argv[3]));
    if (strcmp(argv[1], "products") == 0 && argc == 3)
        return engines(argv[2], 0);
    if (moco_context_create(&context, NULL) != MOCO_OK || moco_device_open(&device, context, argv[2]) != MOCO_OK)
        return fail(argv[2], moco_error());
    if (strcmp(argv[1], "describe") == 0)
        status = describe(device, argv[2], argc > 3 ? argv[3] : NULL);
    else if (strcmp(argv[1], "copy") == 0 && argc == 4)
        status = copy(device, atol(argv[3]));
    else if (strcmp(argv[1], "step") == 0 && argc == 11)
        status = step(device, argv + 3);
    else
        status = fail(argv[1], "no such command, or other arguments");
    moco_device_free(device);
    moco_context_free(context);
    return status;
}
