/* SPDX-License-Identifier: MIT
 *
 * start: from the start of a process to its first finished step on a tiny model, as one JSON object.
 *
 *   build/bench/start [--precision auto] [--threads N] [--runs 15]
 *
 * The program starts itself again for every run and takes the time before fork, so that loading the libraries counts.
 * ms is the median of the runs and parts_ms the medians of their parts: load (fork, exec, dynamic linking until main),
 * device (context and device), model, trainer (with the queue: plans, primitives, memory), step (the first one);
 * second_step_ms is what a step costs afterwards. What a reader would get wrong: the first run, which may read the
 * libraries from the disk, is not counted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/support/timing.h"
#include "moco/moco.h"

enum { SIZE = 32, GROUP = 8, GROUPS = 2, QUEUE = 512 };
enum part { LOAD, DEVICE, MODEL, TRAINER, STEP, SECOND_STEP, PARTS };
static const char *const part_names[PARTS] = {"load", "device", "model", "trainer", "step", "second step"};

struct options {
    const char *precision;
    int threads, runs;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "start: %s: %s\n", what, why);
    return 1;
}

/* ---- the measured process: times since its parent forked, one a part ---- */

static double lap(double *at)
{
    double before = *at;
    *at = now_ms();
    return *at - before;
}

static int child(const struct options *o, double forked)
{
    double ms[PARTS], at = forked;
    ms[LOAD] = lap(&at);

    moco_context *context;
    moco_device *device;
    moco_context_options context_options;
    moco_context_options_init(&context_options);
    context_options.threads = o->threads;
    if (moco_context_create(&context, &context_options) != MOCO_OK ||
        moco_device_open(&device, context, "cpu") != MOCO_OK)
        return fail("device", moco_error());
    ms[DEVICE] = lap(&at);

    moco_model *model;
    moco_model_options model_options;
    moco_model_options_init(&model_options);
    model_options.arch = "resnet18";
    model_options.stem = "small";
    model_options.width = 0.125;
    model_options.image_size = SIZE;
    if (moco_model_create(&model, device, &model_options) != MOCO_OK)
        return fail("model", moco_error());
    ms[MODEL] = lap(&at);

    moco_queue *queue;
    moco_trainer *trainer;
    moco_trainer_options options;
    moco_trainer_options_init(&options);
    options.batch_size = GROUP * GROUPS;
    options.bn_group_size = GROUP;
    options.image_h = options.image_w = SIZE;
    options.precision = strcmp(o->precision, "bf16") == 0  ? MOCO_PRECISION_BF16
                        : strcmp(o->precision, "f32") == 0 ? MOCO_PRECISION_F32
                                                           : MOCO_PRECISION_AUTO;
    if (moco_queue_create(&queue, device, model_options.dim, QUEUE, 1) != MOCO_OK ||
        moco_trainer_create(&trainer, model, queue, &options) != MOCO_OK)
        return fail("trainer", moco_error());
    ms[TRAINER] = lap(&at);

    enum { VIEW = GROUP * GROUPS * SIZE * SIZE * 3 };
    static uint8_t images[2 * VIEW];
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)(i * i >> 3);
    moco_batch batch;
    moco_batch_init(&batch);
    batch.n = GROUP * GROUPS;
    batch.h = batch.w = SIZE;
    batch.views = 2;
    batch.view[0] = images;
    batch.view[1] = images + VIEW;
    for (int part = STEP; part <= SECOND_STEP; part++) {
        if (moco_trainer_step(trainer, &batch, 0.03) != MOCO_OK)
            return fail("step", moco_error());
        ms[part] = lap(&at);
    }
    for (int part = 0; part < PARTS; part++)
        printf("%.4f ", ms[part]);
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}

/* ---- the parent ---- */

static int run_child(const struct options *o, double ms[PARTS])
{
    int ends[2];
    if (pipe(ends) != 0)
        return fail("pipe", strerror(errno));
    double began = now_ms();
    pid_t pid = fork();
    if (pid < 0)
        return fail("fork", strerror(errno));
    if (pid == 0) {
        char forked[32], threads[16];
        snprintf(forked, sizeof forked, "%.4f", began);
        snprintf(threads, sizeof threads, "%d", o->threads);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "start", "--child", forked, "--threads", threads, "--precision", o->precision, NULL);
        _exit(fail("exec", strerror(errno)));
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    int got = 0, status = 0;
    while (out != NULL && got < PARTS && fscanf(out, "%lf", &ms[got]) == 1)
        got++;
    if (out != NULL)
        fclose(out);
    waitpid(pid, &status, 0);
    return status != 0 || got != PARTS;
}

static int parent(const struct options *o)
{
    static double total[TIMING_MAX], parts[PARTS][TIMING_MAX];
    for (int run = -1; run < o->runs; run++) {
        double ms[PARTS];
        if (run_child(o, ms) != 0)
            return 1;
        for (int part = 0; part < PARTS && run >= 0; part++)
            parts[part][run] = ms[part];
        if (run >= 0)
            total[run] = ms[LOAD] + ms[DEVICE] + ms[MODEL] + ms[TRAINER] + ms[STEP];
    }
    printf("{\"bench\": \"start\", \"precision\": \"%s\", \"threads\": %d, \"runs\": %d, \"ms\": %.1f, \"parts_ms\": {",
           o->precision, o->threads, o->runs, median(total, o->runs));
    for (int part = 0; part < SECOND_STEP; part++)
        printf("\"%s\": %.1f%s", part_names[part], median(parts[part], o->runs), part < STEP ? ", " : "");
    printf("}, \"second_step_ms\": %.1f}\n", median(parts[SECOND_STEP], o->runs));
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {.precision = "auto", .runs = 15};
    double forked = 0;
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value != NULL && strcmp(name, "--child") == 0)
            forked = strtod(value, NULL);
        else if (value != NULL && strcmp(name, "--precision") == 0)
            o.precision = value;
        else if (value != NULL && strcmp(name, "--threads") == 0)
            o.threads = atoi(value);
        else if (value != NULL && strcmp(name, "--runs") == 0)
            o.runs = atoi(value);
        else {
            fprintf(stderr, "start [--precision auto|f32|bf16] [--threads N] [--runs N]\n");
            return 2;
        }
    }
    if (o.runs < 1 || o.runs > TIMING_MAX)
        return fail("--runs", "1 to 64");
    return forked > 0 ? child(&o, forked) : parent(&o);
}
