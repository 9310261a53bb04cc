/* SPDX-License-Identifier: MIT
 *
 * pictures: from JPEG files to vectors by moco_encoder_embed_files, as one JSON object:
 *
 *   build/bench/pictures [--arch resnet50] [--size 224] [--n 64] [--processors 2] [--rounds 3] DIR
 *
 * In each round the same N pictures of DIR in turn: decode_ms and network_ms are the processor time of one picture that
 * a loader decodes and crops, and that moco_encoder_embed embeds in a launch, each in one thread; bound is the rate of
 * `processors` that do nothing else. callers_of_bound: that many threads, each of which asks for its part of the
 * pictures and decodes them itself (workers 0), in a context of one compute thread; callers_cpu_of_bound is
 * decode_ms and network_ms over the processor time that a picture took there. call_of_bound: one call, with as
 * many compute threads as processors and one worker. All are medians of ratios of a round. What a reader would get
 * wrong: an embedding of a picture is in the page cache and the file was read before; a disk has its own bound. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/support/encoder_file.h"
#include "bench/support/timing.h"
#include "moco/moco.h"

enum { PROCESSORS_MAX = 64, PATH = 4096 };

struct options {
    const char *arch, *folder;
    int size, n, processors, rounds;
};

static struct {
    moco_context *context;
    moco_dataset *set; /* of the folder */
    moco_augment_options recipe;
    char (*path)[PATH]; /* [n] */
    const char **paths;
    int dim;
} it;

static void must(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "pictures: %s\n", moco_error());
    exit(1);
}

static void *memory(size_t count, size_t size)
{
    void *at = calloc(count, size);
    if (at == NULL) {
        fprintf(stderr, "pictures: out of memory\n");
        exit(1);
    }
    return at;
}

static moco_tensor rows_of(float *out, int n)
{
    moco_tensor rows;
    moco_tensor_init(&rows);
    rows.dtype = MOCO_F32;
    rows.ndim = 2;
    rows.shape[0] = n;
    rows.shape[1] = it.dim;
    rows.data = out;
    return rows;
}

/* An encoder of its own context: how many threads compute is the context's. */
struct engine {
    moco_context *context;
    moco_device *device;
    moco_encoder *encoder;
};

static struct engine engine_of(const struct options *o, const char *file, int threads)
{
    struct engine e;
    moco_context_options options;
    moco_encoder_options how;
    moco_context_options_init(&options);
    moco_encoder_options_init(&how);
    options.threads = threads;
    how.workspaces = o->processors;
    must(moco_context_create(&e.context, &options));
    must(moco_device_open(&e.device, e.context, "cpu"));
    must(moco_encoder_open(&e.encoder, e.device, file, &how));
    return e;
}

static void engine_free(struct engine *e)
{
    moco_encoder_free(e->encoder);
    moco_device_free(e->device);
    moco_context_free(e->context);
}

/* ---- one after the other ---- */

/* Decodes all pictures in this thread, into `pixels`. Returns the processor time of one, in ms. */
static double decode(const struct options *o, uint8_t *pixels)
{
    moco_loader *loader;
    moco_loader_options options;
    moco_batch batch;
    size_t image = (size_t)o->size * (size_t)o->size * 3;
    int done = 0;
    moco_loader_options_init(&options);
    options.batch_size = 8;
    options.workers = 0;
    options.permuted = options.drop_last = 0;
    options.recipe[0] = &it.recipe;
    must(moco_loader_create(&loader, it.set, &options));
    must(moco_loader_start(loader, 0));
    moco_batch_init(&batch);
    double cpu = cpu_ms();
    while (done < o->n) {
        must(moco_loader_next(loader, &batch));
        int n = batch.n < o->n - done ? batch.n : o->n - done;
        memcpy(pixels + (size_t)done * image, batch.view[0], (size_t)n * image);
        done += n;
    }
    cpu = cpu_ms() - cpu;
    moco_loader_free(loader);
    return cpu / o->n;
}

static double network(const struct options *o, const struct engine *e, uint8_t *pixels, float *out)
{
    moco_tensor in, rows = rows_of(out, o->n);
    moco_tensor_init(&in);
    in.dtype = MOCO_U8;
    in.ndim = 4;
    in.shape[0] = o->n;
    in.shape[1] = in.shape[2] = o->size;
    in.shape[3] = 3;
    in.data = pixels;
    double cpu = cpu_ms();
    must(moco_encoder_embed(e->encoder, &in, MOCO_FEATURES, &rows));
    return (cpu_ms() - cpu) / o->n;
}

/* ---- at once ---- */

struct caller {
    pthread_t thread;
    moco_encoder *encoder;
    int first, n, workers;
    float *out;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    moco_tensor rows = rows_of(c->out + (size_t)c->first * (size_t)it.dim, c->n);
    moco_encode_options options;
    moco_encode_options_init(&options);
    options.workers = c->workers;
    options.recipe = &it.recipe;
    must(moco_encoder_embed_files(c->encoder, it.paths + c->first, c->n, &options, MOCO_FEATURES, &rows, NULL));
    return NULL;
}

/* Pictures a second; *cpu: processor time of one, in ms. */
static double embed(const struct options *o, const struct engine *e, int callers, int workers, float *out, double *cpu)
{
    struct caller c[PROCESSORS_MAX];
    double began = now_ms(), before = cpu_ms();
    for (int i = 0; i < callers; i++) {
        int first = o->n * i / callers, end = o->n * (i + 1) / callers;
        c[i] = (struct caller){.encoder = e->encoder, .first = first, .n = end - first, .workers = workers, .out = out};
        if (pthread_create(&c[i].thread, NULL, call, &c[i]) != 0)
            exit(1);
    }
    for (int i = 0; i < callers; i++)
        pthread_join(c[i].thread, NULL);
    *cpu = (cpu_ms() - before) / o->n;
    return 1e3 * o->n / (now_ms() - began);
}

static void measure(const struct options *o, const char *file)
{
    struct engine single = engine_of(o, file, 1), all = engine_of(o, file, o->processors);
    moco_encoder_info info;
    moco_encoder_info_init(&info);
    must(moco_encoder_describe(single.encoder, &info));
    it.dim = info.feature_dim;
    uint8_t *pixels = memory((size_t)o->n, (size_t)o->size * (size_t)o->size * 3);
    float *out = memory((size_t)o->n, (size_t)it.dim * sizeof *out);
    double of[4][TIMING_MAX], of_bound[3][TIMING_MAX], cpu;
    embed(o, &single, o->processors, 0, out, &cpu); /* workspaces are made, files are read */
    embed(o, &all, 1, 1, out, &cpu);
    for (int r = 0; r < o->rounds; r++) {
        of[0][r] = decode(o, pixels);
        of[1][r] = network(o, &single, pixels, out);
        of[2][r] = embed(o, &single, o->processors, 0, out, &cpu);
        of_bound[2][r] = (of[0][r] + of[1][r]) / cpu;
        of[3][r] = embed(o, &all, 1, 1, out, &cpu);
        double bound = 1e3 * o->processors / (of[0][r] + of[1][r]);
        of_bound[0][r] = of[2][r] / bound;
        of_bound[1][r] = of[3][r] / bound;
    }
    printf(
        "{\"bench\": \"pictures\", \"arch\": \"%s\", \"size\": %d, \"n\": %d, \"processors\": %d, \"decode_ms\": %.2f, "
        "\"network_ms\": %.2f, \"bound\": %.2f, \"callers_per_s\": %.2f, \"call_per_s\": %.2f, "
        "\"callers_of_bound\": %.3f, \"call_of_bound\": %.3f, \"callers_cpu_of_bound\": %.3f}\n",
        o->arch, o->size, o->n, o->processors, median(of[0], o->rounds), median(of[1], o->rounds),
        1e3 * o->processors / (median(of[0], o->rounds) + median(of[1], o->rounds)), median(of[2], o->rounds),
        median(of[3], o->rounds), median(of_bound[0], o->rounds), median(of_bound[1], o->rounds),
        median(of_bound[2], o->rounds));
    free(pixels);
    free(out);
    engine_free(&single);
    engine_free(&all);
}

/* ---- making ---- */

static void open_pictures(struct options *o)
{
    must(moco_dataset_open_folder(&it.set, it.context, o->folder));
    int64_t count = moco_dataset_count(it.set);
    o->n = count < o->n ? (int)count : o->n;
    must(moco_augment_options_preset(&it.recipe, "eval", o->size));
    it.path = memory((size_t)o->n, sizeof *it.path);
    it.paths = memory((size_t)o->n, sizeof *it.paths);
    for (int i = 0; i < o->n; i++) {
        must(moco_dataset_path(it.set, i, it.path[i], sizeof it.path[i]));
        it.paths[i] = it.path[i];
    }
}

static void make_file(const char *path, const struct options *o)
{
    moco_device *device;
    must(moco_device_open(&device, it.context, "cpu"));
    must(encoder_file_make(device, path, o->arch, o->size));
    moco_device_free(device);
}

static int parse(struct options *o, int argc, char **argv)
{
    int i = 1;
    for (; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--arch") == 0)
            o->arch = value;
        else if (strcmp(name, "--size") == 0)
            o->size = atoi(value);
        else if (strcmp(name, "--n") == 0)
            o->n = atoi(value);
        else if (strcmp(name, "--processors") == 0)
            o->processors = atoi(value);
        else if (strcmp(name, "--rounds") == 0)
            o->rounds = atoi(value);
        else
            return 0;
    }
    o->folder = i < argc ? argv[i] : NULL;
    return o->folder != NULL && o->size >= 8 && o->n >= 1 && o->processors >= 1 && o->processors <= PROCESSORS_MAX &&
           o->rounds >= 1 && o->rounds <= TIMING_MAX;
}

int main(int argc, char **argv)
{
    struct options o = {.arch = "resnet50", .size = 224, .n = 64, .processors = 2, .rounds = 3};
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "pictures: see the top of tests/bench/pictures.c\n");
        return 2;
    }
    char file[64];
    snprintf(file, sizeof file, "/tmp/pictures-%.0f.safetensors", 1e3 * now_ms());
    must(moco_context_create(&it.context, NULL));
    open_pictures(&o);
    make_file(file, &o);
    measure(&o, file);
    remove(file);
    free(it.path);
    free(it.paths);
    moco_dataset_free(it.set);
    moco_context_free(it.context);
    return 0;
}
