/* SPDX-License-Identifier: MIT
 *
 * serve: one moco_encoder in a service, as one JSON object a line.
 *
 *   build/bench/serve [--arch resnet50] [--size 224] [--file PATH] [--callers 2] [--seconds 5] [--compute-threads 1]
 *                     [--precision auto] [--serve 0]
 *
 * Opens an encoder from a file (PATH, or a fresh one), and tells open_ms (the file is in the page cache),
 * first_ms (its first vector, compiling included), pictures_per_second of one caller and of all of them at once, each
 * with one picture a call, their ratio, and what memory there is: weights, one workspace, growth of the process by the
 * other callers. What ends in cpu_ms is processor time, of callers a picture: nearly the same on a machine that others
 * use too. --serve 1: instead of measuring callers, for each line "CALLERS SECONDS" of stdin a line of JSON, so that
 * somebody can measure other processes in turn or at once with this one. For how long memory stays flat there is
 * tests/robust/tool_soak.c. What a reader would get wrong: callers compute beside each other only with as many
 * processors as callers. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/support/encoder_file.h"
#include "bench/support/timing.h"
#include "moco/moco.h"

enum { CALLERS_MAX = 64 };

struct options {
    const char *arch, *precision, *file;
    int size, callers, compute_threads, serve;
    double seconds;
};

static void must(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "serve: %s\n", moco_error());
    exit(1);
}

static double resident_mb(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL && fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file != NULL)
        fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static moco_encoder_info info_of(const moco_encoder *encoder)
{
    moco_encoder_info info;
    moco_encoder_info_init(&info);
    must(moco_encoder_describe(encoder, &info));
    return info;
}

/* ---- callers ---- */

struct caller {
    pthread_t thread;
    moco_encoder *encoder;
    int size;
    double until; /* ms */
    long long done;
};

static void embed(const struct caller *c, const uint8_t *pixels, float *out)
{
    moco_tensor in, rows;
    moco_tensor_init(&in);
    moco_tensor_init(&rows);
    in.dtype = MOCO_U8;
    in.ndim = 4;
    in.shape[0] = 1;
    in.shape[1] = in.shape[2] = c->size;
    in.shape[3] = 3;
    in.data = (void *)(uintptr_t)pixels;
    rows.dtype = MOCO_F32;
    rows.ndim = 2;
    rows.shape[0] = 1;
    rows.shape[1] = info_of(c->encoder).feature_dim;
    rows.data = out;
    must(moco_encoder_embed(c->encoder, &in, MOCO_FEATURES, &rows));
}

static void *run(void *arg)
{
    struct caller *c = arg;
    size_t image = (size_t)c->size * (size_t)c->size * 3;
    uint8_t *pixels = malloc(image);
    float *out = malloc(8192 * sizeof *out);
    if (pixels == NULL || out == NULL)
        exit(1);
    for (size_t i = 0; i < image; i++)
        pixels[i] = (uint8_t)((i * 2654435761u) >> 13);
    for (; now_ms() < c->until; c->done++)
        embed(c, pixels, out);
    free(pixels);
    free(out);
    return NULL;
}

/* Pictures in `seconds`. */
static long long all_run(moco_encoder *encoder, const struct options *o, int callers, double seconds)
{
    static struct caller c[CALLERS_MAX];
    long long done = 0;
    for (int i = 0; i < callers; i++) {
        c[i] = (struct caller){.encoder = encoder, .size = o->size, .until = now_ms() + seconds * 1e3};
        if (pthread_create(&c[i].thread, NULL, run, &c[i]) != 0)
            exit(1);
    }
    for (int i = 0; i < callers; i++) {
        pthread_join(c[i].thread, NULL);
        done += c[i].done;
    }
    return done;
}

/* ---- what is measured ---- */

struct start {
    double open_ms, first_ms, open_cpu, first_cpu; /* ms */
};

static moco_encoder *open_and_embed(moco_device *device, const char *path, const moco_encoder_options *options,
                                    const struct options *o, struct start *took)
{
    moco_encoder *encoder;
    double began = now_ms(), cpu = cpu_ms();
    must(moco_encoder_open(&encoder, device, path, options));
    took->open_ms = now_ms() - began;
    took->open_cpu = cpu_ms() - cpu;
    struct caller one = {.encoder = encoder, .size = o->size};
    uint8_t *pixels = calloc((size_t)o->size * (size_t)o->size, 3);
    float *out = malloc(8192 * sizeof *out);
    if (pixels == NULL || out == NULL)
        exit(1);
    began = now_ms(), cpu = cpu_ms();
    embed(&one, pixels, out);
    took->first_ms = now_ms() - began;
    took->first_cpu = cpu_ms() - cpu;
    free(pixels);
    free(out);
    return encoder;
}

struct rate {
    double per_second, cpu_ms; /* of a picture */
};

static struct rate rate_of(moco_encoder *encoder, const struct options *o, int callers, double seconds)
{
    double began = now_ms(), cpu = cpu_ms();
    double pictures = (double)all_run(encoder, o, callers, seconds);
    return (struct rate){1e3 * pictures / (now_ms() - began), (cpu_ms() - cpu) / pictures};
}

static void print_start(const moco_encoder *encoder, const struct options *o, const struct start *took)
{
    moco_encoder_info info = info_of(encoder);
    printf("{\"ready\":\"serve\",\"arch\":\"%s\",\"size\":%d,\"precision\":%d,\"compute_threads\":%d,\"open_ms\":%.1f,"
           "\"first_ms\":%.1f,\"open_cpu_ms\":%.1f,\"first_cpu_ms\":%.1f,\"weights_mb\":%.1f,\"workspace_mb\":%.1f",
           info.arch, o->size, info.precision, o->compute_threads, took->open_ms, took->first_ms, took->open_cpu,
           took->first_cpu, (double)info.weight_bytes / 1e6, (double)info.largest_workspace / 1e6);
}

static void answer(moco_encoder *encoder, const struct options *o)
{
    int callers;
    double seconds;
    while (scanf("%d %lf", &callers, &seconds) == 2 && callers >= 1 && callers <= o->callers && seconds > 0) {
        struct rate rate = rate_of(encoder, o, callers, seconds);
        printf("{\"callers\":%d,\"pictures_per_second\":%.3f,\"cpu_ms\":%.3f}\n", callers, rate.per_second,
               rate.cpu_ms);
        fflush(stdout);
    }
}

static void measure(moco_device *device, const char *path, const moco_encoder_options *options, const struct options *o)
{
    struct start took;
    moco_encoder *encoder = open_and_embed(device, path, options, o, &took);
    double before = resident_mb();
    print_start(encoder, o, &took);
    if (o->serve) {
        printf("}\n");
        fflush(stdout);
        answer(encoder, o);
        moco_encoder_free(encoder);
        return;
    }
    struct rate one = rate_of(encoder, o, 1, o->seconds);
    rate_of(encoder, o, o->callers, 0.1); /* all workspaces are made */
    double grown = resident_mb() - before;
    struct rate all = rate_of(encoder, o, o->callers, o->seconds);
    printf(",\"one_caller\":%.2f,\"one_caller_cpu_ms\":%.2f,\"callers\":%d,\"all_callers\":%.2f,"
           "\"all_callers_cpu_ms\":%.2f,\"ratio\":%.3f,\"workspaces\":%d,\"grown_mb\":%.1f}\n",
           one.per_second, one.cpu_ms, o->callers, all.per_second, all.cpu_ms, all.per_second / one.per_second,
           info_of(encoder).workspaces, grown);
    moco_encoder_free(encoder);
}

static moco_precision precision_of(const char *name)
{
    return strcmp(name, "f32") == 0    ? MOCO_PRECISION_F32
           : strcmp(name, "bf16") == 0 ? MOCO_PRECISION_BF16
                                       : MOCO_PRECISION_AUTO;
}

static int parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--arch") == 0)
            o->arch = value;
        else if (strcmp(name, "--precision") == 0)
            o->precision = value;
        else if (strcmp(name, "--file") == 0)
            o->file = value;
        else if (strcmp(name, "--size") == 0)
            o->size = atoi(value);
        else if (strcmp(name, "--callers") == 0)
            o->callers = atoi(value);
        else if (strcmp(name, "--compute-threads") == 0)
            o->compute_threads = atoi(value);
        else if (strcmp(name, "--serve") == 0)
            o->serve = atoi(value);
        else if (strcmp(name, "--seconds") == 0)
            o->seconds = atof(value);
        else
            return 0;
    }
    return argc % 2 == 1 && o->size >= 8 && o->callers >= 1 && o->callers <= CALLERS_MAX && o->seconds > 0;
}

int main(int argc, char **argv)
{
    struct options o = {
        .arch = "resnet50", .precision = "auto", .size = 224, .callers = 2, .compute_threads = 1, .seconds = 5};
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "serve: every option has a value; see the top of tests/bench/serve.c\n");
        return 2;
    }
    char path[] = "/tmp/serve-XXXXXX";
    int file = o.file == NULL ? mkstemp(path) : -1;
    moco_context *context;
    moco_device *device;
    moco_context_options context_options;
    moco_encoder_options options;
    moco_context_options_init(&context_options);
    moco_encoder_options_init(&options);
    context_options.threads = o.compute_threads;
    options.precision = precision_of(o.precision);
    options.workspaces = o.callers;
    must(moco_context_create(&context, &context_options));
    must(moco_device_open(&device, context, "cpu"));
    if (o.file == NULL)
        must(encoder_file_make(device, path, o.arch, o.size));
    measure(device, o.file != NULL ? o.file : path, &options, &o);
    moco_device_free(device);
    moco_context_free(context);
    if (file >= 0) {
        close(file);
        unlink(path);
    }
    return 0;
}
