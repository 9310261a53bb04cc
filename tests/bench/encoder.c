/* SPDX-License-Identifier: MIT
 *
 * encoder: how long moco_encoder_embed takes for given numbers of pictures, one JSON object a line:
 *
 *   build/bench/encoder [--arch resnet50] [--size 224] [--n 1,8] [--threads N] [--precision f32|bf16] [--u8 0]
 *                       [--projection 0] [--deterministic 1] [--ms 1000] [--ops 0] [--dump DIR] [--serve 0]
 *
 * Calls with each number of --n for --ms milliseconds: the median call, and its processor time. --ops 1: also the median of each op of its plan,
 * with oneDNN's name of what computes it. --dump DIR: the network as DIR/net.onnx, the largest number of images as
 * DIR/images.f32 ([n,3,h,w], normalised; not with --u8) and the vectors of each number as DIR/vectors-N.f32. --serve 1:
 * for each line "N MS" of stdin a line of JSON, so that somebody can measure others in turn with this process.
 *
 * What a reader would get wrong: the running statistics are not those of a fresh network but noise, so that what is
 * folded is not nothing; and vectors are compared with others' by whoever asked for a dump. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#include "api/objects.h"
#include "backend/cpu/cpu_program.h"
#include "backend/cpu/ops/op_conv.h"
#include "bench/support/timing.h"
#include "moco/moco.h"

enum { SIZES = 8 };

struct options {
    const char *arch, *precision, *dump;
    int size, threads, u8, projection, deterministic, ms, ops, serve;
    int n[SIZES], count;
};

/* One number of pictures. */
struct launch {
    int n;
    struct be_plan *plan;
    float *out;
};

static struct {
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_encoder *encoder;
    void *images; /* of the largest launch */
    struct launch launch[SIZES];
    struct be_plan *made; /* last */
    int largest, dim;
} it;

static void stop(const char *why)
{
    fprintf(stderr, "encoder: %s\n", why);
    exit(1);
}

static void check(moco_status status)
{
    if (status != MOCO_OK)
        stop(moco_error());
}

static void *memory(size_t bytes)
{
    void *at = malloc(bytes);
    if (at == NULL)
        stop("out of memory");
    return at;
}

/* ---- the network ---- */

static int ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Means in -0.5 .. 0.5, variances in 1 .. 3: features neither vanish nor explode. */
static void set_statistics(void)
{
    moco_model_info info;
    moco_model_info_init(&info);
    check(moco_model_describe(it.model, &info));
    uint32_t seed = 1;
    for (int i = 0; i < info.tensor_count; i++) {
        const char *name = moco_model_tensor_name(it.model, i);
        int mean = ends_in(name, ".running_mean");
        if (!mean && !ends_in(name, ".running_var"))
            continue;
        moco_tensor t;
        moco_tensor_init(&t);
        check(moco_model_get(it.model, name, &t));
        float *values = memory((size_t)t.shape[0] * sizeof *values);
        for (int64_t j = 0; j < t.shape[0]; j++) {
            seed = seed * 1664525u + 1013904223u;
            float uniform = (float)(seed >> 8) / 16777216.0f;
            values[j] = mean ? uniform - 0.5f : 1.0f + 2.0f * uniform;
        }
        t.dtype = MOCO_F32;
        t.data = values;
        check(moco_model_set(it.model, name, &t));
        free(values);
    }
}

/* The encoder's plans are the device's: here are their ops. */
static moco_status seen_plan(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                             struct err *err)
{
    moco_status status = backend_cpu.plan_create(out, dev, spec, err);
    if (status == MOCO_OK)
        it.made = *out;
    return status;
}

static void make_encoder(const struct options *o)
{
    static struct backend wrapped;
    moco_model_options options;
    moco_encoder_options how;
    moco_encoder_info info;
    moco_model_options_init(&options);
    options.arch = o->arch;
    options.stem = o->size >= 64 ? "imagenet" : "cifar";
    options.image_size = o->size;
    check(moco_model_create(&it.model, it.device, &options));
    set_statistics();
    wrapped = backend_cpu;
    wrapped.plan_create = seen_plan;
    it.device->backend = &wrapped;
    moco_encoder_options_init(&how);
    how.precision = strcmp(o->precision, "bf16") == 0 ? MOCO_PRECISION_BF16 : MOCO_PRECISION_F32;
    how.deterministic = o->deterministic;
    how.workspaces = 1;
    check(moco_encoder_create(&it.encoder, it.model, &how));
    moco_encoder_info_init(&info);
    check(moco_encoder_describe(it.encoder, &info));
    it.dim = o->projection ? info.dim : info.feature_dim;
}

static void make_images(const struct options *o)
{
    size_t count = (size_t)it.largest * 3 * (size_t)o->size * (size_t)o->size;
    uint8_t *bytes = memory(count);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    it.images = bytes;
    if (o->u8)
        return;
    float *floats = memory(count * sizeof *floats);
    for (size_t i = 0; i < count; i++)
        floats[i] = ((float)bytes[i] / 255.0f - 0.5f) / 0.25f;
    free(bytes);
    it.images = floats;
}

/* ---- measuring ---- */

static double run(const struct launch *l, const struct options *o)
{
    moco_tensor in, out;
    moco_tensor_init(&in);
    moco_tensor_init(&out);
    in.dtype = o->u8 ? MOCO_U8 : MOCO_F32;
    in.ndim = 4;
    in.shape[0] = l->n;
    in.shape[1] = o->u8 ? o->size : 3;
    in.shape[2] = o->size;
    in.shape[3] = o->u8 ? 3 : o->size;
    in.data = it.images;
    out.dtype = MOCO_F32;
    out.ndim = 2;
    out.shape[0] = l->n;
    out.shape[1] = it.dim;
    out.data = l->out;
    double began = now_ms();
    check(moco_encoder_embed(it.encoder, &in, o->projection ? MOCO_PROJECTION : MOCO_FEATURES, &out));
    return now_ms() - began;
}

static void make_launch(struct launch *l, const struct options *o)
{
    l->out = memory((size_t)l->n * (size_t)it.dim * sizeof *l->out);
    it.made = NULL;
    run(l, o);
    l->plan = it.made;
    if (l->plan == NULL || l->plan->program.spec.n != l->n)
        stop("--n wants different powers of 2, each small enough for one launch");
}

/* The median, of at least three and at most as many launches as timing takes a median of; more are run in the time
 * that is left, and every so many are one value. */
static double run_for(const struct launch *l, const struct options *o, double ms, double *best, double *cpu)
{
    double values[TIMING_MAX], of_cpu[TIMING_MAX], once = run(l, o);
    int each = (int)(ms / once / TIMING_MAX) + 1, count = 0;
    double end = now_ms() + ms;
    *best = once;
    do {
        double sum = 0, before = cpu_ms();
        for (int i = 0; i < each; i++) {
            double took = run(l, o);
            sum += took;
            *best = took < *best ? took : *best;
        }
        of_cpu[count] = (cpu_ms() - before) / each;
        values[count++] = sum / each;
    } while (count < TIMING_MAX && (count < 3 || now_ms() < end));
    *cpu = median(of_cpu, count);
    return median(values, count);
}

static void print_op(const struct graph *graph, const struct program_node *node, double ms, double best, int n)
{
    const struct graph_value *out = &graph->values[node->out];
    printf("{\"op\": \"%s\", \"ms\": %.4f, \"best_ms\": %.4f, \"out\": [%d, %d, %d]", node->op->name, ms, best, out->c,
           out->h, out->w);
    if (node->op->kind == OP_CONV) {
        const struct op_conv *state = node->state;
        const struct graph_value *in = &graph->values[node->in];
        double work =
            2e-6 * n * out->c * out->h * out->w * (double)in->c * node->op->kernel * node->op->kernel; /* MFLOP */
        printf(", \"in\": [%d, %d, %d], \"kernel\": %d, \"stride\": %d, \"add\": %d, \"gflops\": %.1f, \"by\": \"%s\"",
               in->c, in->h, in->w, node->op->kernel, node->op->stride, node->other != NONE, work / best,
               state->conv.wino.tile != 0 ? "ours, Winograd" : state->conv.run.name);
    }
    printf("}");
}

static void print_ops(const struct launch *l, const struct options *o, double ms)
{
    struct program *p = &l->plan->program;
    int count = p->node_count;
    double *all = memory((size_t)count * TIMING_MAX * sizeof *all), *now = memory((size_t)count * sizeof *now);
    double end = now_ms() + ms;
    int runs = 0;
    p->profile = now;
    for (int i = 0; i < TIMING_MAX && (i < 5 || now_ms() < end); i++, runs++) {
        memset(now, 0, (size_t)count * sizeof *now);
        run(l, o);
        for (int j = 0; j < count; j++)
            all[j * TIMING_MAX + i] = now[j];
    }
    p->profile = NULL;
    printf(", \"ops\": [");
    for (int j = 0; j < count; j++) {
        double best = all[j * TIMING_MAX];
        for (int i = 1; i < runs; i++)
            best = all[j * TIMING_MAX + i] < best ? all[j * TIMING_MAX + i] : best;
        printf("%s", j == 0 ? "\n" : ",\n");
        print_op(p->spec.graph, &p->nodes[j], median(all + j * TIMING_MAX, runs), best, l->n);
    }
    printf("]");
    free(all);
    free(now);
}

static void report(const struct launch *l, const struct options *o, double ms)
{
    const struct be_info *info = &it.device->info;
    double best, cpu, middle = run_for(l, o, ms, &best, &cpu);
    printf(
        "{\"bench\": \"encoder\", \"arch\": \"%s\", \"size\": %d, \"n\": %d, \"precision\": \"%s\", \"threads\": %d, "
        "\"isa\": \"%s\", \"library\": \"%s\", \"ms\": %.3f, \"best_ms\": %.3f, \"cpu_ms\": %.3f, \"img_per_s\": %.1f, "
        "\"slab_mb\": %.1f",
        o->arch, o->size, l->n, o->precision, info->threads, info->isa, info->library, middle, best, cpu,
        1e3 * l->n / middle, 1e-6 * (double)l->plan->program.bytes.slab);
    if (o->ops)
        print_ops(l, o, ms);
    printf("}\n");
    fflush(stdout);
}

static void serve(const struct options *o)
{
    int n = 0;
    double ms = 0;
    printf("{\"ready\": \"encoder\"}\n");
    fflush(stdout);
    while (scanf("%d %lf", &n, &ms) == 2)
        for (int i = 0; i < o->count; i++)
            if (it.launch[i].n == n)
                report(&it.launch[i], o, ms);
}

/* ---- files ---- */

static void write_file(const struct options *o, const char *name, const void *data, size_t bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", o->dump, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0)
        stop("a file of --dump cannot be written");
}

static void dump(const struct options *o)
{
    char path[1024], name[64];
    snprintf(path, sizeof path, "%s/net.onnx", o->dump);
    check(moco_model_export(it.model, path, NULL));
    if (!o->u8)
        write_file(o, "images.f32", it.images, (size_t)it.largest * 3 * (size_t)o->size * (size_t)o->size * 4);
    for (int i = 0; i < o->count; i++) {
        struct launch *l = &it.launch[i];
        run(l, o);
        snprintf(name, sizeof name, "vectors-%d.f32", l->n);
        write_file(o, name, l->out, (size_t)l->n * (size_t)it.dim * sizeof(float));
    }
}

/* ---- options ---- */

static void read_sizes(struct options *o, const char *text)
{
    o->count = 0;
    for (char *end = NULL; o->count < SIZES; text = end + 1) {
        o->n[o->count++] = (int)strtol(text, &end, 10);
        if (end == text || o->n[o->count - 1] < 1 || (*end != ',' && *end != 0))
            stop("--n wants numbers with commas between them");
        if (*end == 0)
            return;
    }
    stop("too many sizes in --n");
}

static void read_options(struct options *o, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        struct {
            const char *name;
            int *to;
        } numbers[] = {{"--size", &o->size},
                       {"--threads", &o->threads},
                       {"--u8", &o->u8},
                       {"--ms", &o->ms},
                       {"--ops", &o->ops},
                       {"--serve", &o->serve},
                       {"--projection", &o->projection},
                       {"--deterministic", &o->deterministic}};
        int known = 1;
        if (strcmp(name, "--arch") == 0)
            o->arch = value;
        else if (strcmp(name, "--precision") == 0)
            o->precision = value;
        else if (strcmp(name, "--dump") == 0)
            o->dump = value;
        else if (strcmp(name, "--n") == 0)
            read_sizes(o, value);
        else
            known = 0;
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++)
            if (strcmp(name, numbers[j].name) == 0) {
                *numbers[j].to = atoi(value);
                known = 1;
            }
        if (!known)
            stop("unknown option");
    }
    if (argc % 2 == 0 || o->size < 8 || o->ms < 1)
        stop("options come with a value each; --size is at least 8, --ms at least 1");
}

int main(int argc, char **argv)
{
    struct options o = {
        .arch = "resnet50", .precision = "f32", .size = 224, .deterministic = 1, .ms = 1000, .n = {1, 8}, .count = 2};
    moco_context_options options;
    read_options(&o, argc, argv);
    moco_context_options_init(&options);
    options.threads = o.threads;
    check(moco_context_create(&it.context, &options));
    check(moco_device_open(&it.device, it.context, "cpu"));
    make_encoder(&o);
    for (int i = 0; i < o.count; i++)
        it.largest = o.n[i] > it.largest ? o.n[i] : it.largest;
    make_images(&o);
    for (int i = 0; i < o.count; i++) {
        it.launch[i].n = o.n[i];
        make_launch(&it.launch[i], &o);
    }
    if (o.dump != NULL)
        dump(&o);
    if (o.serve)
        serve(&o);
    for (int i = 0; i < o.count && !o.serve; i++)
        report(&it.launch[i], &o, o.ms);
    for (int i = 0; i < o.count; i++)
        free(it.launch[i].out);
    moco_encoder_free(it.encoder);
    free(it.images);
    moco_model_free(it.model);
    moco_device_free(it.device);
    moco_context_free(it.context);
    return 0;
}

#else

int main(void)
{
    printf("{\"bench\": \"encoder\", \"skipped\": \"this build has no cpu device\"}\n");
    return 0;
}

#endif
