/* SPDX-License-Identifier: MIT
 *
 * eval: how long evaluation takes through the public calls, each part as one JSON object a line:
 *
 *   build/bench/eval [--part knn|probe|embed|all] [--arch resnet18] [--size 32] [--threads N] [--runs 5]
 *
 * Part knn: 10,000 queries over 50,000 x 128, k 200; of_gemm is its rate (2 * queries * bank * dim operations) over
 * that of a product of 2048 x 2048 x 2048 in f32, measured in turn with it.
 *
 * Part probe: seconds of 100 epochs on 50,000 x 512, 10 classes, batch 256, with one learning rate and with ten at
 * once.
 *
 * Part embed: images a second of moco_encoder_embed (features, u8 images, f32) over the bound of its forward convolutions.
 *
 * Ratios are medians of runs in turn; best_of_bound compares each step of a launch at its best of many with each
 * convolution at its best, for a machine that is busy with other things. What a reader would get wrong: the probe's
 * features are noise, which costs what real ones cost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#include "api/objects.h"
#include "backend/fallback.h"
#include "bench/support/conv_bound.h"
#include "bench/support/timing.h"
#include "moco/moco.h"

enum { QUERIES = 10000, BANK = 50000, KNN_DIM = 128, CLASSES = 10, PROBE_DIM = 512, GEMM = 2048, EMBED = 512 };

struct options {
    const char *part, *arch;
    int size, threads, runs;
};

static moco_context *context;
static moco_device *device;

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "eval: %s\n", moco_error());
    exit(1);
}

static void *room(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        fprintf(stderr, "eval: out of memory\n");
        exit(1);
    }
    return memory;
}

static float *noise(size_t count, uint32_t seed)
{
    float *values = room(count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)seed / 2147483648.0f;
    }
    return values;
}

static int32_t *labels_of(int count)
{
    int32_t *labels = room((size_t)count * sizeof *labels);
    for (int i = 0; i < count; i++)
        labels[i] = i * 7 % CLASSES;
    return labels;
}

static moco_tensor rows_of(float *data, int64_t n, int64_t dim)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_F32;
    t.ndim = 2;
    t.shape[0] = n;
    t.shape[1] = dim;
    t.data = data;
    return t;
}

static void print_machine(const char *part)
{
    printf("{\"bench\": \"eval\", \"part\": \"%s\", \"threads\": %d, \"isa\": \"%s\", \"library\": \"%s\", ", part,
           device->info.threads, device->info.isa, device->info.library);
}

/* ---- kNN ---- */

static double gemm_ms(const float *a, const float *b, float *c)
{
    double began = now_ms();
    if (backend_gemm_nt(device->backend, device->dev, GEMM, GEMM, GEMM, a, b, c, NULL) != MOCO_OK)
        exit(1);
    return now_ms() - began;
}

static void bench_knn(const struct options *o)
{
    moco_knn *knn;
    double ms[TIMING_MAX], gflops[TIMING_MAX], ratio[TIMING_MAX], work = 2e-6 * QUERIES * BANK * KNN_DIM;
    float *bank = noise((size_t)BANK * KNN_DIM, 1), *queries = noise((size_t)QUERIES * KNN_DIM, 2);
    float *a = noise((size_t)GEMM * GEMM, 3), *b = noise((size_t)GEMM * GEMM, 4), *c = noise((size_t)GEMM * GEMM, 5);
    int32_t *labels = labels_of(BANK), *found = labels_of(QUERIES);
    moco_tensor all = rows_of(bank, BANK, KNN_DIM), asked = rows_of(queries, QUERIES, KNN_DIM);
    check(moco_knn_create(&knn, device, KNN_DIM, 200, 0.1));
    check(moco_knn_add(knn, &all, labels));
    check(moco_knn_classify(knn, &asked, found)); /* warm up */
    gemm_ms(a, b, c);
    for (int run = 0; run < o->runs; run++) {
        double before = gemm_ms(a, b, c), began = now_ms();
        check(moco_knn_classify(knn, &asked, found));
        ms[run] = now_ms() - began;
        double after = gemm_ms(a, b, c);
        gflops[run] = 2e-6 * GEMM * GEMM * GEMM / (0.5 * (before + after));
        ratio[run] = work / ms[run] / gflops[run];
    }
    print_machine("knn");
    printf("\"queries\": %d, \"bank\": %d, \"dim\": %d, \"k\": 200, \"ms\": %.1f, \"queries_per_s\": %.0f, "
           "\"gemm_gflops\": %.1f, \"of_gemm\": %.3f}\n",
           QUERIES, BANK, KNN_DIM, median(ms, o->runs), 1e3 * QUERIES / median(ms, o->runs), median(gflops, o->runs),
           median(ratio, o->runs));
    moco_knn_free(knn);
    free(bank);
    free(queries);
    free(a);
    free(b);
    free(c);
    free(labels);
    free(found);
}

/* ---- probe ---- */

static double fit_seconds(const moco_tensor *rows, const int32_t *labels, int rates)
{
    moco_probe *probe;
    moco_probe_options options;
    moco_probe_options_init(&options);
    options.dim = PROBE_DIM;
    options.classes = CLASSES;
    options.rates = rates;
    options.lr[0] = 0.1;
    check(moco_probe_create(&probe, device, &options));
    double began = now_ms();
    check(moco_probe_fit(probe, rows, labels, NULL));
    double seconds = 1e-3 * (now_ms() - began);
    moco_probe_free(probe);
    return seconds;
}

static void bench_probe(void)
{
    float *features = noise((size_t)BANK * PROBE_DIM, 6);
    int32_t *labels = labels_of(BANK);
    moco_tensor rows = rows_of(features, BANK, PROBE_DIM);
    double one = fit_seconds(&rows, labels, 1), ten = fit_seconds(&rows, labels, 0);
    print_machine("probe");
    printf("\"rows\": %d, \"dim\": %d, \"classes\": %d, \"epochs\": 100, \"batch\": 256, \"one_rate_s\": %.1f, "
           "\"ten_rates_s\": %.1f}\n",
           BANK, PROBE_DIM, CLASSES, one, ten);
    free(features);
    free(labels);
}

/* ---- embed ---- */

/* What the wrapped slot sees; it has no argument that could carry it. */
static struct {
    struct be_plan *plan;
} seen;

#define BOUND_BYTES ((size_t)256 << 20) /* that the bound computes in: maps, weights and scratch of any convolution */

static moco_status seen_plan(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                             struct err *err)
{
    moco_status status = backend_cpu.plan_create(out, dev, spec, err);
    if (status == MOCO_OK)
        seen.plan = *out;
    return status;
}

static moco_tensor images_of(const struct options *o, int n)
{
    size_t bytes = (size_t)n * (size_t)o->size * (size_t)o->size * 3;
    uint8_t *pixels = room(bytes);
    moco_tensor t;
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 13);
    moco_tensor_init(&t);
    t.dtype = MOCO_U8;
    t.ndim = 4;
    t.shape[0] = n;
    t.shape[1] = t.shape[2] = o->size;
    t.shape[3] = 3;
    t.data = pixels;
    return t;
}

/* One launch at a time, and each of its steps at its best: the sum is a launch that nobody disturbed. */
static double best_launch(moco_encoder *encoder, int32_t dim, const struct options *o, struct conv_bound *bound)
{
    int chunk = seen.plan->program.spec.n, steps = seen.plan->program.node_count;
    double *best = room((size_t)steps * sizeof *best), total = 0;
    moco_tensor images = images_of(o, chunk), out = rows_of(noise((size_t)chunk * (size_t)dim, 7), chunk, dim);
    seen.plan->program.profile = room((size_t)steps * sizeof *best);
    for (int run = 0; run < 3 * o->runs; run++) {
        conv_bound_sweep(bound);
        for (int i = 0; i < steps; i++)
            seen.plan->program.profile[i] = 0;
        check(moco_encoder_embed(encoder, &images, MOCO_FEATURES, &out));
        for (int i = 0; i < steps; i++)
            best[i] = run == 0 || seen.plan->program.profile[i] < best[i] ? seen.plan->program.profile[i] : best[i];
    }
    for (int i = 0; i < steps; i++)
        total += best[i];
    free(seen.plan->program.profile);
    seen.plan->program.profile = NULL;
    free(best);
    free(images.data);
    free(out.data);
    return total;
}

static void bench_embed(const struct options *o)
{
    static struct conv_bound bound;
    static const struct conv_bound_passes passes = {.forward = 1};
    static struct backend wrapped;
    moco_model *model;
    moco_model_options options;
    moco_model_info info;
    moco_encoder *encoder;
    moco_encoder_options how;
    int n = o->size >= 64 ? 64 : EMBED;
    double rate[TIMING_MAX], bounds[TIMING_MAX], ratio[TIMING_MAX];
    wrapped = backend_cpu;
    wrapped.plan_create = seen_plan;
    device->backend = &wrapped;
    moco_model_options_init(&options);
    options.arch = o->arch;
    options.stem = o->size >= 64 ? "imagenet" : "cifar";
    options.image_size = o->size;
    check(moco_model_create(&model, device, &options));
    moco_model_info_init(&info);
    check(moco_model_describe(model, &info));
    moco_encoder_options_init(&how);
    how.precision = MOCO_PRECISION_F32;
    check(moco_encoder_create(&encoder, model, &how));
    moco_model_free(model);
    struct be_memory memory;
    struct err err = {0};
    check(backend_cpu.alloc(device->dev, BOUND_BYTES, &memory, &err));
    moco_tensor images = images_of(o, n);
    moco_tensor out = rows_of(noise((size_t)n * (size_t)info.feature_dim, 7), n, info.feature_dim);
    check(moco_encoder_embed(encoder, &images, MOCO_FEATURES, &out)); /* warm up */
    if (!conv_bound_make(&bound, seen.plan, &passes, &memory)) {
        fprintf(stderr, "eval: a convolution has no bound\n");
        exit(1);
    }
    int chunk = seen.plan->program.spec.n;
    for (int run = 0; run < o->runs; run++) {
        double before = conv_bound_sweep(&bound), began = now_ms();
        check(moco_encoder_embed(encoder, &images, MOCO_FEATURES, &out));
        rate[run] = 1e3 * n / (now_ms() - began);
        double after = conv_bound_sweep(&bound);
        bounds[run] = 1e3 * chunk / (0.5 * (before + after));
        ratio[run] = rate[run] / bounds[run];
    }
    print_machine("embed");
    printf("\"arch\": \"%s\", \"size\": %d, \"chunk\": %d, \"img_per_s\": %.1f, \"conv_bound_img_per_s\": %.1f, "
           "\"of_conv_bound\": %.3f, ",
           o->arch, o->size, chunk, median(rate, o->runs), median(bounds, o->runs), median(ratio, o->runs));
    double launch = best_launch(encoder, info.feature_dim, o, &bound), floor = conv_bound_best(&bound);
    printf("\"best_launch_ms\": %.2f, \"best_bound_ms\": %.2f, \"best_of_bound\": %.3f}\n", launch, floor,
           floor / launch);
    conv_bound_free(&bound);
    backend_cpu.release(device->dev, &memory);
    free(images.data);
    free(out.data);
    moco_encoder_free(encoder);
}

int main(int argc, char **argv)
{
    struct options o = {.part = "all", .arch = "resnet18", .size = 32, .runs = 5};
    moco_context_options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--part") == 0)
            o.part = value;
        else if (strcmp(name, "--arch") == 0)
            o.arch = value;
        else if (strcmp(name, "--size") == 0)
            o.size = atoi(value);
        else if (strcmp(name, "--threads") == 0)
            o.threads = atoi(value);
        else if (strcmp(name, "--runs") == 0)
            o.runs = atoi(value);
        else {
            fprintf(stderr, "eval: unknown option %s\n", name);
            return 2;
        }
    }
    if (o.runs < 1 || o.runs > TIMING_MAX || o.size < 8)
        return 2;
    moco_context_options_init(&options);
    options.threads = o.threads;
    check(moco_context_create(&context, &options));
    check(moco_device_open(&device, context, "cpu"));
    int all = strcmp(o.part, "all") == 0;
    if (all || strcmp(o.part, "knn") == 0)
        bench_knn(&o);
    if (all || strcmp(o.part, "probe") == 0)
        bench_probe();
    if (all || strcmp(o.part, "embed") == 0)
        bench_embed(&o);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}

#else

int main(void)
{
    printf("{\"bench\": \"eval\", \"skipped\": \"this build has no cpu device\"}\n");
    return 0;
}

#endif
